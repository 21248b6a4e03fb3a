"""`tallystick train exact` and `verify`: training that whoever has the data can do again."""

from pathlib import Path
from typing import Annotated

import typer

from oracle.cli import output
from oracle.cli.session import Session, command
from oracle.errors import DigestMismatch


def register(group: typer.Typer) -> None:
    """Add the commands to `tallystick train`."""
    command(
        group, "exact",
        example="tallystick train exact build/training/exact.json --trust-builder",
    )(_exact)  # fmt: skip
    command(group, "verify", example="tallystick train verify build/training/exact-exact")(_verify)


def _exact(
    session: Session,
    job: Annotated[Path, typer.Argument(metavar="JOB", help="File of JSON (docs/training.md).")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="What verifies it; JOB-exact.")
    ] = None,
    trust_builder: Annotated[
        bool, typer.Option("--trust-builder", help="Run the code that the job names.")
    ] = False,
) -> None:
    """Train in integers: each step is a program of which a contract can judge every element.

    The module is a torch.nn.Sequential of Linear, Conv2d, ReLU, AvgPool2d and Flatten, trained by
    plain SGD. The same job is done in float64 first, and its accuracy stands beside.
    """
    from oracle.services.training import exact  # noqa: PLC0415 - pydantic takes 0.1 s to import

    with session.bars() as bars:
        found = exact.train(
            job, out, trust_builder=trust_builder,
            update=lambda done, total: bars.bytes_done("steps", done, total),
        )  # fmt: skip
    lines = [
        ("trained", f"{found.steps:,} steps, {found.parameters:,} parameters"),
        ("weights", str(found.weights)),
        ("history", found.history),
        ("verify", f"tallystick train verify {found.folder}"),
    ]
    if found.accuracy is not None and found.accuracy_float is not None:
        right = f"{found.accuracy:.1%} right, {found.accuracy_float:.1%} in float64"
        lines.insert(1, ("held out", right))
    session.show(found, output.facts(lines))


def _verify(
    session: Session,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="That `tallystick train exact` wrote.")
    ],
) -> None:
    """Do a job of exact steps again, and name its first wrong step.

    Ends with 76 when a step is wrong.
    """
    from oracle.services.training import exact  # noqa: PLC0415 - pydantic takes 0.1 s to import

    with session.bars() as bars:
        found = exact.verify(folder, lambda done, total: bars.bytes_done("steps", done, total))
    if found.wrong_step is not None:
        raise DigestMismatch(
            f"step {found.wrong_step} of {found.steps:,} is wrong: the program gives another trace "
            "or state",
            hint="docs/training.md says how one element of it is proven",
        )
    session.show(
        found,
        output.facts([("right", f"all {found.steps:,} steps"), ("history", found.history)]),
    )
