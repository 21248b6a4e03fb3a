"""`tallystick committee …`: sit on it, call it, and see what it says about float answers."""

from typing import Annotated, Any

import typer

from oracle import logs
from oracle.agents.committee.member import AppealPolicy, CommitteeMember
from oracle.agents.committee.vote_worker import ProcessVoteWorker
from oracle.cli import commands, options, output
from oracle.cli.session import Session, command
from oracle.errors import ConfigInvalid
from oracle.services import committee, requests, wallets
from oracle.services.amounts import counted, format_amount, format_ether, format_time, parse_ether
from oracle.services.committee import CommitteeInfo, SeatInfo
from oracle.stopping import on_signals
from oracle.types import Amount, RequestId, Timestamp

_LEAST_GAIN = Amount(10**6)

Id = Annotated[RequestId, options.request_argument("Id of the request.")]
Class = Annotated[
    str,
    typer.Option("--class", metavar="FORMAT", help="Runtime class; else the general one."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "committee")
    some = "0x" + "ab" * 32
    command(
        group, "enlist", spends=True,
        example="tallystick committee enlist 50 --key op1\n"
        "tallystick committee enlist 50 --class torch.export --key op1",
    )(_enlist)  # fmt: skip
    command(group, "leave", key=True, example="tallystick committee leave --key op1")(_leave)
    command(group, "seat", key=True, example="tallystick committee seat op1")(_seat)
    command(
        group, "run", key=True,
        example="tallystick committee run --key op1 --password-file op1.pw\n"
        "tallystick committee run --key op1 --password-file op1.pw --appeal-budget 0.05",
    )(_run)  # fmt: skip
    command(
        group,
        "challenge",
        spends=True,
        example=f"tallystick committee challenge {some} --key carol",
    )(_challenge)
    command(group, "draw", key=True, example=f"tallystick committee draw {some} --key carol")(
        _advance
    )
    command(
        group, "tally", key=True, help="The same as `committee draw`: whatever is next is done.",
        example=f"tallystick committee tally {some} --key carol",
    )(_advance)  # fmt: skip
    command(group, "appeal", spends=True, example=f"tallystick committee appeal {some} --key op1")(
        _appeal
    )
    command(group, "settle", key=True, example=f"tallystick committee settle {some} --key op1")(
        _settle
    )
    command(group, "list", example="tallystick committee list --all")(_list)
    command(group, "show", example=f"tallystick committee show {some}")(_show)
    command(group, "withdraw", key=True, example="tallystick committee withdraw --key op1")(
        _withdraw
    )


def _enlist(
    session: Session,
    amount: Annotated[Amount, options.amount_argument("Dollars.")],
    class_: Class = "",
) -> None:
    """Take a seat, or add to it; silence when drawn, and votes without running the model, cost."""
    session.confirm(f"Stake {format_amount(amount)} in the committee?")
    chosen = committee.runtime_class(class_)
    committee.enlist(session.network, session.wallet, amount, chosen)
    found = committee.seat(session.network, session.wallet.address, chosen)
    session.show(found, _facts(found))


def _leave(session: Session, class_: Class = "") -> None:
    """Start to leave a seat; after the delay, take the stake out."""
    chosen = committee.runtime_class(class_)
    committee.leave(session.network, session.wallet, chosen)
    found = committee.seat(session.network, session.wallet.address, chosen)
    session.show(found, _facts(found))


def _seat(
    session: Session,
    member: Annotated[
        str | None, typer.Argument(metavar="[MEMBER]", help="Wallet or address; else --key.")
    ] = None,
    class_: Class = "",
) -> None:
    """Show a member's seat and what it is owed."""
    name = member or session.settings.key
    if not name:
        raise ConfigInvalid("no member was named", hint="`tallystick committee seat NAME`")
    address = wallets.resolve(session.settings, name)
    found = committee.seat(session.network, address, committee.runtime_class(class_))
    session.show(found, _facts(found))


def _run(
    session: Session,
    appeal_budget: Annotated[
        str, typer.Option(metavar="ETH", help="Most that bonds of open and lost appeals may be.")
    ] = "0",
    least_gain: Annotated[
        Amount, options.amount("--least-gain", "What a right appeal must bring: gas costs that.")
    ] = _LEAST_GAIN,
) -> None:
    """Vote on what the wallet is drawn for, until stopped; what was begun is gone on with."""
    network, settings, account = session.network, session.settings, session.account
    logs.configure(settings, role="committee")
    folder = settings.home / "committee" / account.address
    appeals = AppealPolicy(parse_ether(appeal_budget), least_gain)
    worker = ProcessVoteWorker(settings, folder / "worker.log")
    opened = CommitteeMember(network, account, worker, folder, session.note, appeals=appeals)
    with on_signals() as stopped, opened as member:
        session.note(f"{member.address} waits to be drawn")
        member.run(stopped.is_set, stopped.wait, max(settings.poll_interval, 0.2))
    session.show({"stopped": True}, "stopped")


def _challenge(session: Session, request_id: Id) -> None:
    """Call the committee about a float answer; the bond is lost when the answer is right."""
    info = requests.show(session.network, request_id)
    if info.delivery is not None:
        bond = committee.challenge_bond(session.network, info.request, info.delivery)
        session.confirm(f"Bind {format_ether(bond)} as a bond?")
    committee.challenge(session.network, session.wallet, request_id)
    found = committee.show(session.network, request_id)
    session.show(found, _told(found))


def _appeal(session: Session, request_id: Id) -> None:
    """Doubt a finding: twice as many members vote; the bond is lost when they find the same."""
    bond = committee.appeal_bond(session.network, request_id)
    session.confirm(f"Bind {format_ether(bond)} as a bond?")
    committee.appeal(session.network, session.wallet, request_id)
    found = committee.show(session.network, request_id)
    session.show(found, _told(found))


def _settle(session: Session, request_id: Id) -> None:
    """Pay and punish the voters of a dispute that has ended, and free their stake."""
    done = committee.settle(session.network, session.wallet, request_id)
    session.show(done, f"{counted(len(done), 'round')} settled")


def _advance(session: Session, request_id: Id) -> None:
    """Do what anyone may do next: draw the members, tally a round, or end what was missed."""
    sent = committee.advance(session.network, session.wallet, request_id)
    found = committee.show(session.network, request_id)
    session.show(found, output.facts([("done", sent.what), ("stage", found.stage.name.lower())]))


def _list(
    session: Session,
    every: Annotated[bool, typer.Option("--all", help="Closed ones as well.")] = False,
) -> None:
    """List disputes about float answers."""
    found = committee.list_disputes(session.network, every=every)
    columns = ("request", "stage", "round", "finding", "challenger")
    rows = [
        (output.hexed(one.request_id), one.stage.name.lower(), one.round + 1, _said(one),
         one.challenger)
        for one in found
    ]  # fmt: skip
    session.show(found, output.table(columns, rows, "no disputes"))


def _show(session: Session, request_id: Id) -> None:
    """Show a dispute about a float answer, move by move."""
    found = committee.show(session.network, request_id)
    session.show(found, _told(found))


def _withdraw(session: Session) -> None:
    """Pay out bonds and rewards."""
    done = committee.withdraw(session.network, session.wallet)
    session.show(done, f"{len(done)} payment(s)" if done else "nothing is owed")


def _said(found: CommitteeInfo) -> str:
    return committee.FINDINGS[found.finding] if found.finding or _closed(found) else ""


def _closed(found: CommitteeInfo) -> bool:
    return found.stage.name == "CLOSED"


def _when(time: Timestamp) -> str:
    return format_time(time) if time else "-"


def _told(found: CommitteeInfo) -> Any:
    rounds = [
        (one.number + 1, one.size, one.caller, format_ether(one.bond),
         committee.FINDINGS[one.finding])
        for one in found.rounds
    ]  # fmt: skip
    voters = [
        (one.number + 1, v.member, v.state.name.lower(),
         committee.FINDINGS[v.finding] if v.finding else "", format_amount(v.bound))
        for one in found.rounds
        for v in one.voters
    ]  # fmt: skip
    moves = [(format_time(m.time), m.event, m.detail) for m in found.moves]
    columns = ("round", "members", "called by", "bond", "finding")
    of_votes = ("round", "voter", "state", "finding", "binds")
    return output.facts(
        [
            ("request", output.hexed(found.request_id)),
            ("stage", found.stage.name.lower()),
            ("finding", _said(found) or "none yet"),
            ("decides", "an honest majority of the whole pool, if somebody appeals"),
            ("drawn from", format_amount(found.eligible)),
            ("draw or commit until", _when(found.until)),
            ("reveal until", _when(found.reveal_until)),
            ("appeal until", _when(found.appeal_until)),
            ("rounds", output.table(columns, rounds, "none")),
            ("votes", output.table(of_votes, voters, "none")),
            ("history", output.table(("time", "event", ""), moves, "nothing happened")),
        ]
    )


def _facts(found: SeatInfo) -> Any:
    return output.facts(
        [
            ("member", found.member),
            ("stake", format_amount(found.stake)),
            ("bound by votes", format_amount(found.bound)),
            ("leaving", format_time(found.release_at) if found.release_at else "no"),
            ("rewards", format_amount(found.reward)),
            ("bonds", format_ether(found.bonds)),
        ]
    )
