"""`tallystick model init` and `model check`: from a file of weights to a folder to publish."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.agents.worker_process import run_module
from oracle.cli import options, output
from oracle.cli.session import Session, command
from oracle.services.amounts import format_amount
from oracle.types import Amount

_SHARE = 7000  # basis points: the operator's default part of a fee


def register(group: typer.Typer) -> None:
    """Add the commands to `tallystick model`."""
    command(group, "init", example="tallystick model init wine/model.pt2")(_init)
    command(
        group, "check",
        example="tallystick model check wine\n"
        "tallystick model check wine --machine-hour 0.50 --operator-share 60%",
    )(_check)  # fmt: skip


def _init(
    session: Session,
    weights: Annotated[Path, typer.Argument(metavar="FILE", help=".pt2, .onnx, .safetensors.")],
    name: Annotated[
        str, typer.Option("--name", help="Of the model; its folder's by default.")
    ] = "",
) -> None:
    """Write model.json beside the weights, from what the file says about itself."""
    from oracle.services import model_check  # noqa: PLC0415 - NumPy takes 0.15 s to import

    path, said = model_check.init(partial(run_module, session.settings), weights, name)
    folder = path.parent
    session.show(
        {"path": path, "model": said},
        output.facts(
            [
                ("wrote", path),
                ("inputs", _specs(said["inputs"])),
                ("outputs", _specs(said["outputs"])),
                ("now", "fill in description and license; docs/publishing.md has every field"),
                ("then", f"`tallystick model check {folder}`"),
            ]
        ),
    )


def _check(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with model.json.")],
    *,
    machine_hour: Annotated[
        Amount | None, options.amount("--machine-hour", "What the machine costs in an hour; $1.")
    ] = None,
    operator_share: Annotated[
        int | None, options.share("--operator-share", "Operator's part.")
    ] = None,
) -> None:
    """Run a model as an operator will, and say what a requester would see; publishes nothing."""
    from oracle.services import folders, model_check  # noqa: PLC0415 - see _init

    with session.bars() as bars:
        draft = folders.read(folder, bars.bytes_done)
        bars.say("running the model as an operator will")
        found = model_check.check(partial(run_module, session.settings), draft, folder)
    share = _SHARE if operator_share is None else operator_share
    hour = Amount(10**6) if machine_hour is None else machine_hour
    fee = found.break_even(share, hour)
    lines = [
        ("model", f"{found.name}, {found.format}, on {found.device}"),
        *((f"input {one.name}", _sample(one)) for one in found.inputs),
        *((f"output {one.name}", _sample(one)) for one in found.outputs),
        ("loads in", f"{found.load_seconds:.2f} s, {found.memory / 2**20:,.0f} MiB in all"),
        *(
            (f"{one.rows} rows", f"{1000 * one.seconds:.2f} ms, {one.output_bytes:,} bytes")
            for one in found.runs
        ),
        ("one request", f"up to {found.rows_per_request(draft.max_output_bytes):,} rows"),
        ("spread", f"{found.spread}e-9 between honest answers"),
        ("break-even", f"{format_amount(fee)} a row at {format_amount(hour)} an hour, without gas"),
        ("then", f"`tallystick model publish {folder} --fee AMOUNT --key WALLET`"),
    ]
    session.show(found, output.facts(lines))


def _specs(specs: list[dict[str, Any]]) -> str:
    return ", ".join(f"{spec['name']} {spec['dtype']} {spec['shape']}" for spec in specs)


def _sample(sample: Any) -> str:
    first = ", ".join(f"{value:g}" for value in sample.first)
    return f"{sample.dtype} {list(sample.shape)}, for example {first}"
