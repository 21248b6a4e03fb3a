"""`tallystick model compress`: smaller versions of a model in one table, and one to publish."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli import model_file, options, output
from oracle.cli.session import Session, command
from oracle.services.amounts import format_amount
from oracle.types import Amount

if TYPE_CHECKING:
    from oracle.services.model_files.compressing import Compression, Figure, SmallerVersion

_AGREEMENT = {"classes": "same class", "numbers": "explained", "vectors": "cosine"}


def register(group: typer.Typer) -> None:
    """Add the command to `tallystick model`."""
    command(
        group, "compress",
        example="tallystick model compress build/digits --samples digits.npz\n"
        "tallystick model compress build/digits --samples digits.npz --choose int8\n"
        "tallystick model compress forest.ubj --samples rows.npz --method rounds-25",
    )(_compress)  # fmt: skip


def _compress(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="PATH", help=model_file.PATH)],
    *,
    samples: Annotated[
        Path,
        typer.Option(
            "--samples", metavar="FILE.npz",
            help="Inputs by name, and `labels` where known; half tune, half are reported on.",
        ),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", metavar="METHOD",
            help="int8, int4, prune-90, low-rank-25, distil; of trees trees-50, rounds-50, depth-4."
            " May be repeated; all for this kind of model by default.",
        ),
    ] = None,
    choose: Annotated[
        str, typer.Option("--choose", metavar="METHOD", help="Write PATH-METHOD, to publish.")
    ] = "",
    of: Annotated[
        str,
        typer.Option("--of", metavar="MODEL", help="The published version that PATH holds."),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="For all versions; PATH-compressed."),
    ] = None,
    student: Annotated[
        str,
        typer.Option(
            "--student", metavar="NAME:OPTION=N",
            help="For distil: a registered architecture; half of the model by default.",
        ),
    ] = "",
    steps: Annotated[
        int | None, typer.Option("--steps", min=0, metavar="N", help="Of tuning; 300.")
    ] = None,
    missing: model_file.Missing = None,
    machine_hour: Annotated[
        Amount | None, options.amount("--machine-hour", "What the machine costs in an hour; $1.")
    ] = None,
    operator_share: Annotated[
        int | None, options.share("--operator-share", "Operator's part.")
    ] = None,
) -> None:  # fmt: skip
    """Make smaller versions of a model, and measure each as an operator would serve it.

    A run that was stopped goes on where it was. `tallystick model publish` publishes what
    --choose writes, and names the version that it was made from.
    """
    from oracle.services.model_files import compressing  # noqa: PLC0415 - NumPy takes 0.15 s to import
    from oracle.services.model_files.compressing import CompressOptions  # noqa: PLC0415

    origin = compressing.origin_of(session.network, of) if of else None
    told = CompressOptions(tuple(method or ()), student, steps, missing)
    with session.bars() as bars:
        bars.say("measuring smaller versions; it goes on where it was when it is stopped")
        found = compressing.compress(
            path, samples, told,
            lambda done, total: bars.bytes_done("versions", done, total), bars.bytes_done,
            out=out, choose=choose, origin=origin,
            operator_bps=model_file.share_of(operator_share),
            machine_hour=model_file.hour_of(machine_hour),
        )  # fmt: skip
    session.show(found, table(found))
    for sentence in notes(found):
        session.note(sentence)


def notes(found: "Compression") -> list[str]:
    """Return what the table does not say by itself."""
    said = [
        f"on {found.reported_on} samples that no method saw, with 95 % intervals; tuned with "
        f"{found.tuned_with}, chosen with {found.chosen_with}"
    ]
    if found.rows[0].accuracy is None:
        said.append("accuracy is not known: the samples have no labels")
    reasons = dict.fromkeys(row.exact_why for row in found.rows if row.exact_why)
    said += [f"not exact: {why}" for why in reasons]
    said += [f"{row.method}: {row.refused}" for row in found.rows if row.refused]
    if found.untuned_why:
        said.append(f"not tuned: {found.untuned_why}")
    if found.chosen is not None:
        folder = str(found.chosen)
    else:
        made = [row for row in found.rows[1:] if not row.refused]
        said += [f"{row.method} is in {row.folder}" for row in made]
        folder = "FOLDER" if made else ""
    if folder:
        said.append(f"now `tallystick model publish {folder} --fee AMOUNT --key WALLET`")
    return said


def table(found: "Compression") -> Any:
    """Return one line for each version that was made."""
    columns = (
        "version", "bytes", "accuracy", _AGREEMENT[found.kind], "ms", "exact", "1,000 rows",
    )  # fmt: skip
    rows = [_row(row, found.rows[0]) for row in found.rows if not row.refused]
    return output.table(columns, rows)


def _row(row: "SmallerVersion", original: "SmallerVersion") -> tuple[str, ...]:
    name = f"{row.method}, {row.kept}" if row.kept else row.method
    share = f"{row.bytes / original.bytes:.0%}"
    return (
        name,
        f"{row.bytes:,} ({share})",
        _figure(row.accuracy),
        _figure(row.agreement),
        f"{1000 * row.seconds:.2f}",
        "yes" if row.exact else "no",
        "" if row.break_even is None else format_amount(row.break_even),
    )


def _figure(figure: "Figure | None") -> str:
    """Return a figure with its interval; accuracy that nobody can know is unknown."""
    if figure is None:
        return "unknown"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
