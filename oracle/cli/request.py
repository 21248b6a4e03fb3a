"""`tallystick request …`: follow requests, and end those that have to be ended."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli import commands, options, output
from oracle.cli.asking.answers import answer_text
from oracle.cli.session import Session, command
from oracle.services import amounts, inference, models, outputs, requests, wallets
from oracle.services.amounts import format_amount, format_ether, format_time
from oracle.services.metering import price_text
from oracle.services.request_timeline import RequestInfo, RequestState
from oracle.types import ZERO_ADDRESS, RequestId

Id = Annotated[RequestId, options.request_argument("Id of the request.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "request")
    some = "0x" + "ab" * 32
    command(
        group, "show",
        example=f"tallystick request show {some}\n"
        f"tallystick request show {some} --answer --output answer.npz",
    )(_show)  # fmt: skip
    command(
        group, "list", key=True,
        example="tallystick request list --key alice\ntallystick request list --model 1 --json",
    )(_list)  # fmt: skip
    command(group, "cancel", key=True, example=f"tallystick request cancel {some} --key alice")(
        _cancel
    )
    command(group, "finalize", key=True, example=f"tallystick request finalize {some} --key alice")(
        _finalize
    )
    command(
        group, "retry-callback", key=True,
        example=f"tallystick request retry-callback {some} --key alice",
    )(_retry_callback)  # fmt: skip
    command(
        group, "demand", spends=True, example=f"tallystick request demand {some} --yes --key alice"
    )(_demand)
    command(group, "convict", key=True, example=f"tallystick request convict {some} --key alice")(
        _convict
    )


def _show(
    session: Session,
    request_id: Id,
    answer: Annotated[bool, typer.Option("--answer", help="Fetch and check the answer.")] = False,
    save: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Save the answer.")
    ] = None,
) -> None:
    """Show where a request stands and everything that happened to it."""
    info = requests.show(session.network, request_id)
    if not answer and save is None:
        session.show(info, _facts(info))
        return
    manifest = models.manifest(session.network, info.model_id, info.version)
    found, data = inference.answer(session.network, info, manifest)
    if save is not None:
        outputs.save(data, manifest, save)
    session.show(found, answer_text(found))


def _list(
    session: Session,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Only of this one.")] = "",
    requester: Annotated[
        str, typer.Option("--requester", metavar="WALLET", help="Whose; --key by default.")
    ] = "",
    state: Annotated[
        RequestState | None,
        typer.Option(
            "--state",
            metavar="STATE",
            parser=options.choice("--state", {s.name.lower(): s for s in RequestState}),
            help="requested, delivered, settled, …",
        ),
    ] = None,
) -> None:
    """List requests, oldest first."""
    who = requester or session.settings.key
    found = requests.list_requests(
        session.network,
        model_id=models.select(session.network, model).model_id if model else None,
        requester=wallets.resolve(session.settings, who) if who else None,
        state=state,
    )
    rows = [
        (
            output.hexed(r.request_id),
            f"{r.model_id}@{r.version}",
            format_amount(r.fee),
            "expired" if r.expired else r.state.name.lower(),
            format_time(r.expires_at),
        )
        for r in found
    ]
    columns = ("request", "model", "fee", "state", "expires")
    session.show(found, output.table(columns, rows, "no requests"))


def _cancel(session: Session, request_id: Id) -> None:
    """Bring the fee of an expired request back to its requester; anyone may."""
    sent = requests.cancel(session.network, session.wallet, request_id)
    session.show(sent, "cancelled; the fee is back in the requester's balance")


def _finalize(
    session: Session,
    ids: Annotated[
        list[str], typer.Argument(metavar="REQUEST…", help="Ids; settled in one transaction.")
    ],
) -> None:
    """Settle answers whose challenge window has passed; anyone may."""
    parsed = [options.named("REQUEST", amounts.parse_request_id)(text) for text in ids]
    sent = requests.finalize(session.network, session.wallet, parsed)
    session.show(sent, f"settled {len(parsed)} request(s)")


def _retry_callback(session: Session, request_id: Id) -> None:
    """Call a consumer that was skipped because gas cost too much; anyone may, and pays for it."""
    sent = requests.retry_callback(session.network, session.wallet, request_id)
    session.show(sent, "the consumer was called")


def _demand(session: Session, request_id: Id) -> None:
    """Oblige the operator to post an answer's bytes on chain, against a bond."""
    wallet = session.wallet
    bond = requests.bond_needed(session.network, wallet, request_id)
    session.confirm(
        f"Send a bond of {format_ether(bond)}? It pays the operator's gas if it answers, "
        "and comes back if it does not."
    )
    done = requests.demand(session.network, wallet, request_id, bond)
    session.show(done, f"the operator has until {format_time(done.deadline)}")


def _convict(session: Session, request_id: Id) -> None:
    """Convict an operator that did not post a demanded answer in time; anyone may."""
    done = requests.convict(session.network, session.wallet, request_id)
    session.show(
        done,
        f"{done.operator} is convicted: {format_amount(done.to_requester)} to the requester, "
        f"a bounty of {format_amount(done.bounty)} to who demanded and who convicted",
    )


def _facts(info: RequestInfo) -> Any:
    lines: list[tuple[str, Any]] = [
        ("request", output.hexed(info.request_id)),
        ("state", "expired: can be cancelled" if info.expired else info.state.value),
        ("model", f"{info.model_id} version {info.version}"),
        ("requester", info.requester),
        ("preferred", info.operator if info.operator != ZERO_ADDRESS else "nobody"),
        ("fee", price_text(info.fee, info.request.terms.max_units)),
        ("expires", format_time(info.expires_at)),
    ]
    if info.request.consumer != ZERO_ADDRESS:
        lines.append(("callback", f"{info.request.consumer}, {info.request.callback_gas:,} gas"))
    if info.answered_by and info.output_root and info.final_at:
        lines += [
            ("answered by", info.answered_by),
            ("digest", output.hexed(info.output_root)),
            ("output", info.output_cid),
            *((("paid by", str(info.bill)),) if info.bill and info.bill.max_units else ()),
            ("final", format_time(info.final_at)),
            ("disputes", info.disputes),
        ]
    rows = [(format_time(m.time), m.event, m.detail) for m in info.timeline]
    lines.append(("history", output.table(("time", "event", ""), rows)))
    return output.facts(lines)
