"""`tallystick model init` and `model check`: from a file of weights to a folder to publish."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from oracle.agents.worker_process import run_module
from oracle.cli import options, output
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.protocol.manifest import real
from oracle.protocol.shapes import describe_shape
from oracle.services.amounts import counted, format_amount
from oracle.types import Amount

if TYPE_CHECKING:
    from oracle.services.model_files.compiling import CompileOptions


PATH = "Folder with model.json, or what another library wrote (docs/importing.md)."
Exact = Annotated[
    bool, typer.Option("--exact", help="Compile to integers: a contract can convict.")
]
Missing = Annotated[
    float | None,
    typer.Option(
        "--missing",
        metavar="NUMBER",
        help="For XGBoost: the missing= that it was trained with, besides NaN; no file keeps it.",
    ),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples",
        metavar="FILE.npz",
        help="Inputs by name, which the model is held to; labels for --exact, where half of them "
        "calibrate and half are held out. DIR/samples.npz by default; trees need none.",
    ),
]
Answer = Annotated[
    Literal["prediction", "margin", "class"] | None,
    typer.Option("--answer", help="For trees: as the library predicts, by default; or its margin."),
]
_FILES = (
    ".pt2, .onnx, .safetensors, .gguf, .skops, .ubj, .json, .txt, .keras; SavedModel, checkpoint; "
    "a folder of `tallystick train`."
)
_SHARE = 7000  # basis points: the operator's default part of a fee


def register(group: typer.Typer) -> None:
    """Add the commands to `tallystick model`."""
    command(
        group, "init",
        example="tallystick model init wine/model.pt2\ntallystick model init wine/forest.ubj\n"
        "tallystick model init build/training/digits-run --base digits@1",
    )(_init)  # fmt: skip
    command(
        group, "check",
        example="tallystick model check wine\n"
        "tallystick model check svm.skops\n"
        "tallystick model check forest.ubj --exact\n"
        "tallystick model check wine --machine-hour 0.50 --operator-share 60%",
    )(_check)  # fmt: skip


def _init(
    session: Session,
    weights: Annotated[Path, typer.Argument(metavar="FILE", help=_FILES)],
    name: Annotated[str, typer.Option("--name", help="Of the model; its file's by default.")] = "",
    base: Annotated[
        str,
        typer.Option("--base", metavar="MODEL", help="Published version that it was trained from."),
    ] = "",
) -> None:
    """Write model.json beside the weights, from what the file says about itself.

    Of a folder of `tallystick train`, it says how the weights were trained (docs/training.md).
    """
    from oracle.services import parents  # noqa: PLC0415 - NumPy takes 0.15 s to import
    from oracle.services.model_files import model_check  # noqa: PLC0415 - NumPy takes 0.15 s to import

    from_version = parents.named_base(session.network, base) if base else None
    run = partial(run_module, session.settings)
    path, said = model_check.init(run, weights, name, from_version)
    folder = path.parent
    session.show(
        {"path": path, "model": said},
        output.facts(
            [
                ("wrote", path),
                ("inputs", _specs(said["inputs"])),
                ("outputs", _specs(said["outputs"])),
                ("now", _now(said["runtime"]["format"])),
                ("then", f"`tallystick model check {folder}`"),
            ]
        ),
    )


def _check(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="PATH", help=PATH)],
    *,
    exact: Exact = False,
    samples: Samples = None,
    missing: Missing = None,
    answer: Answer = None,
    machine_hour: Annotated[
        Amount | None, options.amount("--machine-hour", "What the machine costs in an hour; $1.")
    ] = None,
    operator_share: Annotated[
        int | None, options.share("--operator-share", "Operator's part.")
    ] = None,
) -> None:
    """Run a model as an operator will, and say what a requester would see; publishes nothing.

    What another library wrote is converted first, or compiled, and held to that library.
    """
    from oracle.services import folders  # noqa: PLC0415 - see _init
    from oracle.services.model_files import model_check  # noqa: PLC0415 - see _init
    from oracle.services.model_files.compiling import CompileOptions  # noqa: PLC0415

    told = CompileOptions(samples, missing=missing, answer=answer)
    folder = made(session, path, told, exact=exact)
    with session.bars() as bars:
        draft = folders.read(folder, bars.bytes_done)
        bars.say("running the model as an operator will")
        run = partial(run_module, session.settings, say=bars.say)
        found = model_check.check(run, draft, folder)
    hour = hour_of(machine_hour)
    fee = found.break_even(share_of(operator_share), hour)
    told_exact = " --exact" if exact else ""
    lines = [
        ("model", f"{found.name}, {found.format}, on {found.device}"),
        *((f"input {one.name}", _sample(one)) for one in found.inputs),
        *((f"output {one.name}", _sample(one)) for one in found.outputs),
        ("loads in", f"{found.load_seconds:.2f} s, {found.memory / 2**20:,.0f} MiB in all"),
        *(
            (counted(one.rows, "row"), f"{1000 * one.seconds:.2f} ms, {one.output_bytes:,} bytes")
            for one in found.runs
        ),
        ("one request", f"up to {found.rows_per_request(draft.max_output_bytes):,} rows"),
        ("spread", f"{real(found.spread)} between honest answers"),
        ("break-even", f"{format_amount(fee)} a row at {format_amount(hour)} an hour, without gas"),
        ("then", f"`tallystick model publish {path}{told_exact} --fee AMOUNT --key WALLET`"),
    ]
    session.show(found, output.facts(lines))


def made(session: Session, path: Path, told: "CompileOptions", *, exact: bool) -> Path:
    """Return the folder to publish: the given one, or one that is compiled or converted first.

    Raises:
        InputInvalid: an option that belongs to another kind of model.
    """
    from oracle.services.model_files import compiling, model_check  # noqa: PLC0415 - see _init

    if path.is_file() and path.suffix != ".gguf" and not compiling.needs_import(path):
        model_check.asked(partial(run_module, session.settings), "worker.describe", path)
    if exact:
        return _compiled(session, path, told)
    for name, value in (("--answer", told.answer), ("--min-agreement", told.min_agreement)):
        if value is not None:
            raise InputInvalid(f"{name} needs --exact: a float version is published as it is")
    if path.suffix == ".gguf":
        return model_check.folder_of(partial(run_module, session.settings), path)
    if not compiling.needs_import(path):
        if words := told.words():
            name = words[0].partition("=")[0]
            raise InputInvalid(f"{name} needs --exact: {path} is published as it is")
        return path
    with session.bars() as bars:
        bars.say("converting it in a process of its own")
        run = partial(run_module, session.settings)
        found = compiling.import_as_onnx(run, path, told.samples, told.missing)
    session.note(compiling.describe_import(found.report))
    return found.folder


def _compiled(session: Session, path: Path, told: "CompileOptions") -> Path:
    """Compile a folder or a file beside it; say what the integers kept of the float model."""
    from oracle.services.model_files import compiling  # noqa: PLC0415 - see _init

    with session.bars() as bars:
        built = compiling.compile_exact(
            path, lambda done, total: bars.bytes_done("compiling", done, total), told
        )
    session.note(compiling.describe(built.report))
    if clamped := compiling.most_clamped(built.report):
        session.note("values within the model that its integers clamp, on these samples:")
        session.note(output.table(("operator", "clamped", "share"), clamped))
    return built.folder


def share_of(told: int | None) -> int:
    """Return the operator's part of a fee in basis points, by default that of a new version."""
    return _SHARE if told is None else told


def hour_of(told: Amount | None) -> Amount:
    """Return what a machine costs in an hour, by default a dollar."""
    return Amount(10**6) if told is None else told


def _now(runtime: str) -> str:
    text = "fill in description and license; docs/publishing.md has every field"
    if runtime == "torch.export":  # its file has the graph's names, not the keys of a dict
        return f"name the outputs, in their order, as people shall see them; {text}"
    return text


def _specs(specs: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{spec['name']} {spec['dtype']} {describe_shape(spec['shape'])}" for spec in specs
    )


def _sample(sample: Any) -> str:
    first = ", ".join(f"{value:g}" for value in sample.first)
    return f"{sample.dtype} {list(sample.shape)}, for example {first}"
