"""`tallystick model …`: publish, look up, verify, export, price, retire, collect."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from oracle.agents.worker_process import run_module
from oracle.cli import commands, model_compress, model_family, model_file, options, output
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.protocol.manifest import Manifest
from oracle.services import models, parents, wallets
from oracle.services.amounts import (
    counted,
    decimal,
    format_amount,
    format_duration,
    format_share,
    format_time,
)
from oracle.services.metering import cap, price_text
from oracle.services.models import ModelDetail, ModelInfo, VersionInfo
from oracle.types import Amount, Terms

if TYPE_CHECKING:
    from oracle.services.publishing import PublishedVersion

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Id or name; MODEL@3 is version 3.")]
Fee = Annotated[Amount | None, options.amount("--fee", "Price of one answer.")]
OperatorShare = Annotated[int | None, options.share("--operator-share", "Operator's part.")]
DataShare = Annotated[int | None, options.share("--data-share", "Data contributors' part.")]
Per = Annotated[
    int | None,
    typer.Option(
        "--per", metavar="N", help="Units that --fee is the price of; by default the maximum."
    ),
]
Insured = Annotated[
    int | None,
    typer.Option("--insured", metavar="N", help="Times the fee, paid for a convicted answer."),
]
Window = Annotated[
    int | None, options.duration("--challenge-window", "How long an answer can be challenged.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "model")
    model_file.register(group)
    model_compress.register(group)
    command(
        group, "publish",
        key=True,
        example="tallystick model publish build/digits --fee 0.05 --key owner\n"
        "tallystick model publish build/digits --exact --samples digits.npz --key owner\n"
        "tallystick model publish svm.skops --fee 0.05 --key owner\n"
        "tallystick model publish build/writer --fee 0.002 --per 1000 --key owner\n"
        "tallystick model publish forest.ubj --exact --missing 0 --key owner",
    )(_publish)  # fmt: skip
    command(group, "list", example="tallystick model list")(_list)
    command(group, "show", example="tallystick model show digits-cnn")(_show)
    command(group, "versions", example="tallystick model versions 1")(_versions)
    command(group, "verify", example="tallystick model verify 1\ntallystick model verify 1 --json")(
        _verify
    )
    command(
        group, "export",
        example="tallystick model export wine wine.onnx\n"
        "tallystick model export wine@2 wine.safetensors --to safetensors\n"
        "tallystick model export wine wine-tf --to saved-model --samples wine.npz",
    )(_export)  # fmt: skip
    command(
        group, "terms",
        key=True,
        example="tallystick model terms 1@2\ntallystick model terms 1@2 --fee 0.04 --key owner",
    )(_terms)  # fmt: skip
    command(group, "retire", spends=True, example="tallystick model retire 1@1 --key owner")(
        _retire
    )
    command(group, "collect", key=True, example="tallystick model collect 1 --key owner")(_collect)


def _publish(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="PATH", help=model_file.PATH)],
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Publish as a version of this model.")
    ] = "",
    fee: Fee = None,
    per: Per = None,
    operator_share: OperatorShare = None,
    data_share: DataShare = None,
    insured: Insured = None,
    challenge_window: Window = None,
    exact: model_file.Exact = False,
    samples: model_file.Samples = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            "--min-agreement",
            min=0,
            max=1,
            metavar="SHARE",
            help="For --exact: of the float model's answers that the integers must keep; 0.98 by "
            "default.",
        ),
    ] = None,
    missing: model_file.Missing = None,
    answer: model_file.Answer = None,
    update_interval: Annotated[
        int,
        options.duration(
            "--update-interval", "Least time between versions of a new model.", "none"
        ),
    ] = 0,
) -> None:
    """Publish a folder or a file: files and manifest to IPFS, their digest to the chain.

    A file of another library (docs/importing.md) is converted to ONNX first and held to that
    library, or compiled with --exact. `tallystick model init FILE` writes a model.json beside it to
    edit first.
    """
    from oracle.services import publishing  # noqa: PLC0415 - NumPy takes 0.15 s
    from oracle.services.model_files import model_check  # noqa: PLC0415 - NumPy takes 0.15 s
    from oracle.services.model_files.compiling import CompileOptions  # noqa: PLC0415

    wallet = session.wallet
    default = publishing.SaleTerms()
    sale = publishing.SaleTerms(
        fee=default.fee if fee is None else fee,
        per=per,
        operator_bps=default.operator_bps if operator_share is None else operator_share,
        data_bps=default.data_bps if data_share is None else data_share,
        insured_multiple=default.insured_multiple if insured is None else insured,
        challenge_window=challenge_window,
        update_interval=update_interval,
    )
    model_id = models.select(session.network, model).model_id if model else None
    told = CompileOptions(samples, min_agreement, missing, answer)
    folder = model_file.made(session, folder, told, exact=exact)
    with session.bars() as bars:
        done = publishing.publish(
            session.network, wallet, folder, sale,
            model_id=model_id, say=bars.say, progress=bars.bytes_done,
            check=partial(
                model_check.check, partial(run_module, session.settings, say=bars.say)
            ),
        )  # fmt: skip
    lacking = publishing.missing(session.network, done.model_id, done.version)
    notes = _notes(done, models.name_holder(session.network, done.model_id))
    if done.unchanged:
        terms = session.network.registry.terms_of(done.model_id, done.version)
        wanted = models.changed_terms(
            terms,
            fee=_capped(fee, per, terms),
            operator_bps=operator_share,
            data_bps=data_share,
            insured_multiple=insured,
            challenge_window=challenge_window,
        )
        if wanted != terms:
            notes.append(_terms_unchanged(done, terms, wanted))
    session.show(done, _published(done, lacking, notes))


def _list(
    session: Session,
    owner: Annotated[str, typer.Option("--owner", metavar="WALLET", help="Only of this one.")] = "",
) -> None:
    """List the registered models."""
    address = wallets.resolve(session.settings, owner) if owner else None
    found = models.list_models(session.network, address)
    rows = [(m.model_id, m.name, m.versions, _fee(m), _policy(m), m.owner) for m in found]
    session.show(
        found,
        output.table(("id", "name", "versions", "fee", "access", "owner"), rows, "no models yet"),
    )


def _show(session: Session, model: Model) -> None:
    """Show a model: owner, versions, and what its manifest says."""
    found = models.show(session.network, models.select(session.network, model))
    made_from = found.manifest and found.manifest.derived_from
    fault = parents.fault_of(session.network, made_from) if made_from else ""
    session.show(found, _detail(found, fault))


def _versions(session: Session, model: Model) -> None:
    """List a model's versions with their records and terms."""
    selected = models.select(session.network, model)
    found = models.versions(session.network, selected.model_id)
    session.show(found, _version_table(found))


def _verify(
    session: Session,
    model: Model,
    records_only: Annotated[
        bool, typer.Option("--records-only", help="Only the hash chain and the manifests.")
    ] = False,
) -> None:
    """Recompute a model's history from events and bytes; names what does not fit (exit 76)."""
    from oracle.services import model_history  # noqa: PLC0415 - see _publish

    selected = models.select(session.network, model)
    with session.bars() as bars:
        found = model_history.verify(
            session.network, selected.model_id,
            with_bytes=not records_only, progress=bars.bytes_done,
        )  # fmt: skip
    rows = [
        (v.version, f"{counted(v.files, 'file')}, {v.size:,} bytes", output.hexed(v.head))
        for v in found.versions
    ]
    table = output.table(("version", "fits", "head"), rows, "nothing published yet")
    session.show(found, model_family.with_checks(table, found))


def _export(
    session: Session,
    model: Model,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="To be written, of a SavedModel a folder; must not exist."
        ),
    ],
    to: Annotated[
        Literal["onnx", "saved-model", "safetensors"],
        typer.Option(
            "--to", help="The whole model, as ONNX or TensorFlow's, or its weights by name."
        ),
    ] = "onnx",
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples",
            metavar="FILE.npz",
            help="Inputs by name, to compare answers beside rows that are drawn.",
        ),
    ] = None,
) -> None:
    """Write a published version as a file of other tools; answers are compared first."""
    from oracle.services.model_files import exporting  # noqa: PLC0415 - see _publish

    with session.bars() as bars:
        run = partial(run_module, session.settings)
        done = exporting.export(
            session.network,
            run,
            model,
            to=to,
            out=out,
            samples=samples,
            progress=bars.bytes_done,
        )
    said = f"{done.path}: {done.bytes:,} bytes"
    if to != "safetensors":
        said += f"; its answers are within {done.farthest:.1g} of the version's"
    session.show(done, said)


def _terms(
    session: Session,
    model: Model,
    *,
    fee: Fee = None,
    per: Per = None,
    operator_share: OperatorShare = None,
    data_share: DataShare = None,
    insured: Insured = None,
    challenge_window: Window = None,
) -> None:
    """Show a version's terms, or set them for later requests."""
    selected = models.select(session.network, model)
    version = models.current_version(session.network, selected)
    terms = session.network.registry.terms_of(selected.model_id, version)
    changed = models.changed_terms(
        terms,
        fee=_capped(fee, per, terms),
        operator_bps=operator_share,
        data_bps=data_share,
        insured_multiple=insured,
        challenge_window=challenge_window,
    )
    if changed != terms:
        models.set_terms(session.network, session.wallet, selected.model_id, version, changed)
    session.show(
        changed,
        output.facts(
            [
                ("model", f"{selected.model_id} version {version}"),
                ("fee", price_text(changed.fee, changed.max_units)),
                ("operator", format_share(changed.operator_bps)),
                ("data", format_share(changed.data_bps)),
                ("insured", f"{changed.insured_multiple} times the fee"),
                ("challenge window", format_duration(changed.challenge_window)),
                ("assurance", changed.assurance.name.lower()),
                ("retired", "yes" if changed.retired else "no"),
            ]
        ),
    )


def _retire(session: Session, model: Model) -> None:
    """Take a version out of use, for ever; its history stays."""
    selected = models.select(session.network, model)
    if selected.version is None:
        raise InputInvalid(
            "say which version", hint=f"`tallystick model retire {model}@1` retires version 1"
        )
    wallet = session.wallet
    session.confirm(f"Retire model {selected.model_id} version {selected.version} for ever?")
    sent = models.retire(session.network, wallet, selected.model_id, selected.version)
    session.show(sent, f"version {selected.version} takes no new requests")


def _collect(session: Session, model: Model) -> None:
    """Pay a model's earnings to its owner and data contributors; anyone may."""
    selected = models.select(session.network, model)
    done = models.collect(session.network, session.wallet, selected.model_id)
    total = format_amount(Amount(done.owner_fee + done.data_fee))
    session.show(done, f"{total} paid to the balance of {done.to}")


def _capped(fee: Amount | None, per: int | None, terms: Terms) -> Amount | None:
    return fee if fee is None or per is None else cap(fee, per, terms.max_units)


def _fee(model: ModelInfo) -> str:
    return "none in use" if model.fee is None else price_text(model.fee, model.max_units)


def _policy(model: ModelInfo) -> str:
    return model.policy.name.lower().replace("_", "-")


def _notes(done: "PublishedVersion", holder: ModelInfo | None) -> list[str]:
    notes = []
    if holder is not None:
        notes.append(
            f"another model ({holder.model_id}, of {holder.owner}) has this name; "
            f"yours is asked by its id, {done.model_id}"
        )
    if done.differs:
        notes.append(
            f"{', '.join(done.differs)} differ from the version before: who asks without naming "
            "a version gets the new ones"
        )
    return notes


def _terms_unchanged(done: "PublishedVersion", terms: Terms, wanted: Terms) -> str:
    """Say that publishing again sets no terms, with the command that does."""
    options_of = {
        "fee": ("--fee", decimal(wanted.fee)),
        "operator_bps": ("--operator-share", format_share(wanted.operator_bps)),
        "data_bps": ("--data-share", format_share(wanted.data_bps)),
        "insured_multiple": ("--insured", str(wanted.insured_multiple)),
        "challenge_window": ("--challenge-window", format_duration(wanted.challenge_window)),
    }
    changed = (
        f" {flag} {value}"
        for name, (flag, value) in options_of.items()
        if getattr(terms, name) != getattr(wanted, name)
    )
    return (
        f"terms unchanged: `tallystick model terms {done.model_id}@{done.version}"
        f"{''.join(changed)} --key OWNER` sets them"
    )


def _published(done: "PublishedVersion", missing: tuple[str, ...], notes: list[str]) -> Any:
    return output.facts(
        [
            ("model", f"{done.model_id} {done.name}"),
            ("version", f"{done.version}" + (" (published before)" if done.unchanged else "")),
            ("manifest", done.manifest_cid),
            ("digest", output.hexed(done.manifest_digest)),
            ("weights", output.hexed(done.model_root)),
            ("head", output.hexed(done.head)),
            ("files", f"{len(done.files)}, {sum(f.size for f in done.files):,} bytes"),
            *(("note", sentence) for sentence in notes),
            *(("missing", sentence) for sentence in missing),
        ]
    )


def _detail(found: ModelDetail, fault: str) -> Any:
    lines = [
        ("model", f"{found.model.model_id} {found.model.name}"),
        ("owner", found.model.owner),
        ("access", _policy(found.model)),
        (
            "to collect",
            format_amount(Amount(found.model.owner_earnings + found.model.data_earnings)),
        ),
    ]
    if found.manifest is not None:
        lines += [
            ("version", str(found.version)),
            ("description", found.manifest.description),
            ("license", found.manifest.license),
            ("runtime", found.manifest.runtime.format),
            *_derived(found.manifest, fault),
            *model_family.lines(found.family),
            ("inputs", ", ".join(f"{s.name} {s}" for s in found.manifest.inputs)),
            ("outputs", ", ".join(f"{s.name} {s}" for s in found.manifest.outputs)),
            *_unit(found.manifest),
            ("parameters", "; ".join(p.range for p in found.manifest.parameters) or "none"),
        ]
    lines.append(("versions", _version_table(found.versions)))
    return output.facts(lines)


def _derived(manifest: Manifest, fault: str) -> list[tuple[str, str]]:
    """Say which version a smaller one was made from."""
    derived = manifest.derived_from
    if derived is None:
        return []
    if derived.model_id is None:
        return [("made from", f"weights {output.hexed(derived.model_root)} by {derived.method}")]
    said = f"model {derived.model_id} version {derived.version} by {derived.method}"
    said += f", which is not so: {fault}" if fault else ""
    assert derived.manifest_digest is not None  # `DerivedFrom.check`
    return [("made from", said), ("its manifest", output.hexed(derived.manifest_digest))]


def _unit(manifest: Manifest) -> list[tuple[str, str]]:
    """Say what a metered version is paid by."""
    unit = manifest.unit
    return [] if unit is None else [("paid by", f"rows of {unit.output}, {unit.maximum:,} at most")]


def _version_table(found: tuple[VersionInfo, ...]) -> Any:
    rows = [
        (
            v.version,
            price_text(v.fee, v.max_units),
            v.assurance.name.lower(),
            format_duration(v.challenge_window),
            format_time(v.timestamp),
            "retired" if v.retired else v.manifest_cid,
        )
        for v in found
    ]
    columns = ("version", "fee", "assurance", "window", "published", "manifest")
    return output.table(columns, rows, "nothing published yet")
