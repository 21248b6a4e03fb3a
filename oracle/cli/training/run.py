"""`tallystick train run`: a training job on the devices of one trainer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from oracle.cli import options, output
from oracle.cli.session import Session, command

if TYPE_CHECKING:
    from oracle.services.training.running import TrainedModel


def register(group: typer.Typer) -> None:
    """Add the command to `tallystick train`."""
    command(
        group, "run",
        example="tallystick train run build/training/digits.json --nproc 2\n"
        "tallystick train run build/training/digits.json --nproc 2 --mode fsdp --out build/fsdp\n"
        "tallystick train run build/training/mlp.json --nproc 2 --mode pipeline --trust-builder",
    )(_run)  # fmt: skip


def _run(
    session: Session,
    job: Annotated[Path, typer.Argument(metavar="JOB", help="File of JSON (docs/training.md).")],
    *,
    mode: Annotated[
        Literal["ddp", "fsdp", "pipeline", "diloco"],
        typer.Option("--mode", help="How ranks share a step."),
    ] = "ddp",
    nproc: Annotated[
        int, typer.Option("--nproc", min=1, max=1024, metavar="N", help="Ranks, each a process.")
    ] = 1,
    groups: Annotated[
        int, typer.Option("--groups", min=0, metavar="N", help="Of diloco; 0: each rank is one.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Checkpoints and result; JOB-run."),
    ] = None,
    timeout: Annotated[
        int, options.duration("--timeout", "That ranks wait for each other.", "5m")
    ] = 300,
    max_restarts: Annotated[
        int,
        typer.Option("--max-restarts", min=0, metavar="N", help="Without a new checkpoint."),
    ] = 3,
    trust_builder: Annotated[
        bool, typer.Option("--trust-builder", help="Run the code that the job names.")
    ] = False,
) -> None:  # fmt: skip
    """Train a model, on as many processes as you say; what was stopped goes on where it was.

    Ranks compare digests of what they hold. When one dies, all go on from the last checkpoint, and
    the run ends with the bytes of an undisturbed one.
    """
    from oracle.services.training import running  # noqa: PLC0415 - pydantic takes 0.1 s to import

    told = running.TrainOptions(mode, nproc, groups, timeout, max_restarts, trust_builder)
    with session.bars() as bars:
        bars.say("starting the ranks; the same command goes on when it is stopped")
        found = running.train(
            job, out, told, lambda done, total: bars.bytes_done("steps", done, total)
        )
    for why in found.restarts:
        session.note(f"started again: {why}")
    session.show(found, _facts(found))


def _facts(found: "TrainedModel") -> object:
    lines = [
        ("trained", f"{found.steps:,} steps, {found.mode} on {found.ranks} ranks"),
        ("loss", f"{found.losses[0][1]:.4f} at first, {found.losses[-1][1]:.4f} at the end"),
    ]
    if found.held_out_loss is not None:
        right = "" if found.accuracy is None else f", {found.accuracy:.1%} right"
        lines.append(("held out", f"loss {found.held_out_loss:.4f}{right}"))
    lines += [
        ("weights", str(found.weights)),
        ("digest", found.digest),
        ("optimizer", found.optimizer_digest),
        ("data order", found.order_digest),
    ]
    return output.facts(lines)
