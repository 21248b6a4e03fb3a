"""`tallystick operator offer …`: stake behind answers that are paid through channels."""

from typing import Annotated, Any

import typer

from oracle.cli import commands, output
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.services import models, wallets
from oracle.services.amounts import format_amount, format_duration, format_time
from oracle.services.channels import claims, offers
from oracle.services.channels.claims import HeldClaim
from oracle.services.channels.offers import OfferInfo
from oracle.types import Amount

Offer = Annotated[
    str,
    typer.Argument(
        metavar="OFFER", help="Its id or the beginning of it; or a model with one open offer."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group below `operator`."""
    group = commands.group(app, "offer", "Sell answers through channels, with stake behind them.")
    command(
        group, "list",
        example="tallystick operator offer list\n"
        "tallystick operator offer list digits-cnn --operator op1 --all",
    )(_list)  # fmt: skip
    command(group, "show", example="tallystick operator offer show digits-cnn")(_show)
    command(
        group, "cover", spends=True,
        example="tallystick operator offer cover digits-cnn 8 --key op1\n"
        "tallystick operator offer cover 0x7a3f09 4 --key op1",
    )(_cover)  # fmt: skip
    command(
        group,
        "uncover",
        spends=True,
        example="tallystick operator offer uncover 0x7a3f09 --key op1",
    )(_uncover)
    command(
        group, "release", key=True, example="tallystick operator offer release 0x7a3f09 --key op1"
    )(_release)
    command(
        group, "collect", key=True,
        example="tallystick operator offer collect --key op1\n"
        "tallystick operator offer collect 0x7a3f09 --key op1",
    )(_collect)  # fmt: skip


def _list(
    session: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Only of this one: id or name.")
    ] = None,
    operator: Annotated[
        str, typer.Option("--operator", metavar="WALLET", help="Only of this one.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
) -> None:
    """List offers: what an answer costs, and how many convictions stake is left for."""
    found = offers.list_offers(
        session.network,
        operator=wallets.resolve(session.settings, operator) if operator else None,
        model_id=models.select(session.network, model).model_id if model else None,
        every=every,
    )
    rows = [
        (offers.name(o.offer_id)[:10], f"{o.model}@{o.version}", o.operator, price(o),
         f"{o.locks} × {format_amount(o.lock)}", o.convicted, o.state.name.lower(),
         o.endpoint or "none")
        for o in found
    ]  # fmt: skip
    columns = (
        "offer", "model", "operator", "an answer", "locks", "convicted", "state", "endpoint",
    )  # fmt: skip
    session.show(found, output.table(columns, rows, "no offers"))


def _show(session: Session, offer: Offer) -> None:
    """Show an offer: its terms, the stake behind it, and the claims that it holds."""
    info = offers.find(session.network, offer)
    held = claims.list_claims(session.network, (info,))
    session.show({"offer": info, "claims": held}, _facts(info, held))


def _cover(
    session: Session,
    offer: Annotated[
        str, typer.Argument(metavar="MODEL|OFFER", help="Model of a new one, or id of one to grow.")
    ],
    locks: Annotated[
        int, typer.Argument(metavar="LOCKS", min=1, help="Convictions to put stake behind.")
    ],
    number: Annotated[
        int | None,
        typer.Option("--number", metavar="N", min=0, help="Of a new one; the next by default."),
    ] = None,
) -> None:
    """Put stake behind an offer at a version's present terms, or more behind one that is open."""
    wallet = session.wallet
    info = offers.draft(session.network, wallet.address, offer, number)
    stake = Amount(locks * info.lock)
    session.confirm(
        f"Lock {format_amount(stake)} of your stake behind answers of {info.model} version "
        f"{info.version} at {format_amount(info.fee)}?"
    )
    offers.cover(session.network, wallet, info, locks)
    found = offers.show(session.network, info.offer_id)
    session.show(found, _facts(found))


def _uncover(session: Session, offer: Offer) -> None:
    """End an offer: no new channels now, its stake stays for two challenge windows."""
    info = offers.find(session.network, offer)
    session.confirm("End the offer for ever? Claim what payers signed before its stake is free.")
    offers.uncover(session.network, session.wallet, info)
    found = offers.show(session.network, info.offer_id)
    session.show(found, _facts(found))


def _release(session: Session, offer: Offer) -> None:
    """Free the stake of an offer that has ended; anyone may."""
    info = offers.find(session.network, offer)
    offers.release(session.network, session.wallet, info)
    found = offers.show(session.network, info.offer_id)
    session.show(found, _facts(found))


def _collect(
    session: Session,
    offer: Annotated[
        str | None, typer.Argument(metavar="[OFFER]", help="Only of this one; else all of --key.")
    ] = None,
) -> None:
    """Settle claims whose challenge window has passed, and summoned answers that are over."""
    wallet = session.wallet
    if offer:
        infos: tuple[OfferInfo, ...] = (offers.find(session.network, offer),)
    else:
        infos = offers.list_offers(session.network, operator=wallet.address)
        if not infos:
            raise InputInvalid(
                f"{wallet.address} has no offers", hint="name an offer to settle it for another"
            )
    done = claims.collect(session.network, wallet, infos)
    lines = [f"{len(done.settled)} claim(s) settled, {format_amount(done.earned)} earned"]
    lines += [
        f"{format_amount(c.total)}, window until {format_time(c.ready_at)}: {c.state.value}"
        for c in done.waiting
    ]
    session.show(done, "\n".join(lines))


def price(info: OfferInfo) -> str:
    """Return what an answer costs, as people read it; an offer keeps its price."""
    return format_amount(info.fee) + ("" if info.current else ", an earlier price")


def _facts(info: OfferInfo, held: tuple[HeldClaim, ...] = ()) -> Any:
    lines: list[tuple[str, Any]] = [
        ("offer", offers.name(info.offer_id)),
        ("state", f"{info.state.name.lower()}: {info.state.value}"),
        ("model", f"{info.model} version {info.version}, number {info.number}"),
        ("operator", info.operator),
        ("endpoint", info.endpoint or "none announced"),
        ("an answer", price(info)),
        ("insured", format_amount(info.insured)),
        ("challenge window", format_duration(info.challenge_window)),
        ("locks", f"{info.locks} of {format_amount(info.lock)}"),
        ("summoned", f"{info.open} open, {info.convicted} convicted"),
    ]
    if info.ends_at:
        lines += [
            ("answers until", format_time(info.answers_until)),
            ("ends", format_time(info.ends_at)),
        ]
    if held:
        columns = ("claim", "window ends", "")
        rows = [(format_amount(c.total), format_time(c.ready_at), c.state.value) for c in held]
        lines.append(("held", output.table(columns, rows)))
    return output.facts(lines)
