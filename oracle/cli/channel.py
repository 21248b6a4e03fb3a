"""`tallystick channel …`: pay one operator for many answers, and get back what is left."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from oracle.cli import commands, options, output
from oracle.cli.offer import Offer, price
from oracle.cli.receipts import read_bytes, read_receipt
from oracle.cli.session import Session, command
from oracle.errors import ConfigInvalid, NotFound, Refused, TransientError
from oracle.services import wallets
from oracle.services.amounts import format_amount, format_time
from oracle.services.channels import asking, claims, deposits, offers, summons
from oracle.services.channels.deposits import ChannelInfo, ChannelState
from oracle.services.channels.kept import KeptChannel
from oracle.services.channels.offers import OfferInfo, OfferState
from oracle.types import Address, Amount

Channel = Annotated[
    str, typer.Argument(metavar="CHANNEL", help="Its id, or the beginning of the id.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "channel")
    command(
        group, "list", key=True,
        example="tallystick channel list --key alice\ntallystick channel list --payer bob --all",
    )(_list)  # fmt: skip
    command(
        group, "open", spends=True,
        example="tallystick channel open digits-cnn 5 --key alice\n"
        "tallystick channel open 0x7a3f09 5 --signer laptop --key alice",
    )(_open)  # fmt: skip
    command(
        group, "top-up", spends=True, example="tallystick channel top-up 0x51c2 5 --key alice"
    )(_top_up)  # fmt: skip
    command(
        group, "close", key=True,
        example="tallystick channel close 0x51c2 --key alice\n"
        "tallystick channel close 0x51c2 --agreed --key alice",
    )(_close)  # fmt: skip
    command(
        group, "withdraw", key=True,
        example="tallystick channel withdraw --key alice\n"
        "tallystick channel withdraw 0x51c2 --key alice",
    )(_withdraw)  # fmt: skip
    command(
        group, "summon", spends=True,
        example="tallystick channel summon 0x51c2/7 --key alice\n"
        "tallystick channel summon receipt.json --input question.tensors --key alice",
    )(_summon)  # fmt: skip
    command(group, "void", key=True, example="tallystick channel void 0x51c2 --key alice")(_void)


def _list(
    session: Session,
    payer: Annotated[
        str, typer.Option("--payer", metavar="WALLET", help="Whose; --key by default.")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Empty ones as well.")] = False,
) -> None:
    """List a payer's channels and the money in them."""
    who = payer or session.settings.key
    if not who:
        raise ConfigInvalid("no payer was named", hint="`tallystick channel list --payer NAME`")
    address = wallets.resolve(session.settings, who)
    found = deposits.list_channels(session.network, address, every=every)
    rows = [
        (offers.name(c.channel_id)[:10], f"{c.offer.model}@{c.offer.version}", c.offer.operator,
         format_amount(c.left), format_amount(c.claimed), _stands(c))
        for c in found
    ]  # fmt: skip
    columns = ("channel", "model", "operator", "left", "claimed", "state")
    session.show(found, output.table(columns, rows, "no channels with money"))


def _open(
    session: Session,
    offer: Offer,
    amount: Annotated[Amount, options.amount_argument("Dollars to put in.")],
    signer: Annotated[
        str,
        typer.Option("--signer", metavar="WALLET", help="Whose vouchers count; a key kept here."),
    ] = "",
    payer: Annotated[
        str, typer.Option("--for", metavar="WALLET", help="Whose channel it is; yours.")
    ] = "",
) -> None:
    """Put money into a channel for an offer: of the prepaid balance, then of the wallet."""
    info = offers.find(session.network, offer)
    owner = wallets.resolve(session.settings, payer) if payer else session.wallet.address
    named = wallets.resolve(session.settings, signer) if signer else None
    session.confirm(_question(info, amount))
    key = named or _kept_signer(session, info, owner)
    found = deposits.fund(session.network, session.wallet, info, amount, payer=owner, signer=key)
    session.show(found, _facts(found))


def _kept_signer(session: Session, offer: OfferInfo, payer: Address) -> Address:
    """Return whose vouchers count: the key with which `infer --channel` asks, if it is kept here.

    Raises:
        InputInvalid: the channel's folder is of another deployment.
    """
    if payer != session.wallet.address:
        return payer
    home, contracts = session.settings.home, session.network.contracts
    return KeptChannel.make(home, contracts, offer.offer, payer).channel.signer


def _top_up(
    session: Session,
    channel: Channel,
    amount: Annotated[Amount, options.amount_argument("Dollars to add.")],
) -> None:
    """Put more money into a channel of yours."""
    wallet = session.wallet
    info = deposits.find(session.network, wallet.address, channel)
    session.confirm(_question(info.offer, amount))
    found = deposits.fund(session.network, wallet, info.offer, amount, signer=info.signer)
    session.show(found, _facts(found))


def _close(
    session: Session,
    channel: Channel,
    agreed: Annotated[
        bool, typer.Option("--agreed", help="Ask the operator's endpoint: paid back at once.")
    ] = False,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Of that endpoint; else as announced.")
    ] = "",
) -> None:
    """Start closing a channel of yours; until you withdraw, the operator can still claim.

    With --agreed it is closed and paid back at once, if the operator agrees; else closing starts.
    """
    info = deposits.find(session.network, session.wallet.address, channel)
    if agreed:
        try:
            done = asking.close(session.network, session.wallet, info, url)
        except (NotFound, Refused, TransientError) as error:
            session.note(f"not agreed: {error}")
        else:
            session.show(done, f"{format_amount(done.amount)} came back; the channel is closed")
            return
    found = deposits.close(session.network, session.wallet, info)
    session.show(found, _facts(found))


def _withdraw(
    session: Session,
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="Only this one; else all closed.")
    ] = None,
) -> None:
    """Bring what closed channels have left back into the prepaid balance."""
    wallet = session.wallet
    if channel:
        infos: tuple[ChannelInfo, ...] = (deposits.find(session.network, wallet.address, channel),)
    else:
        every = deposits.list_channels(session.network, wallet.address)
        infos = tuple(info for info in every if info.state is ChannelState.CLOSED)
        if not infos:
            raise NotFound(
                "no channel of yours is closed and holds money",
                hint="`tallystick channel list`; `tallystick channel close` starts a close",
            )
    done = [deposits.withdraw(session.network, wallet, info) for info in infos]
    total = Amount(sum(one.amount for one in done))
    session.show(done, f"{format_amount(total)} came back from {len(done)} channel(s)")


def _summon(
    session: Session,
    receipt: Annotated[
        str, typer.Argument(metavar="RECEIPT", help="CHANNEL/N as kept, a file, or - for stdin.")
    ],
    source: Annotated[
        str, typer.Option("--input", metavar="FILE", help="The question, when it has none.")
    ] = "",
) -> None:
    """Write a signed answer of a channel of yours into the market, where it can be disputed."""
    file = read_receipt(session, receipt)
    if source:
        file = replace(file, input=read_bytes(source))
    summons.require_input(file)
    session.confirm(
        f"Pay {format_amount(file.channel.offer.terms.fee)} once more? It comes back when the "
        "answer is convicted, and the question becomes public."
    )
    done = summons.summon(session.network, session.wallet, file)
    session.show(
        done,
        f"request {output.hexed(done.request_id)} can be disputed now: "
        f"`tallystick verify {output.hexed(done.request_id)}` says how it stands",
    )


def _void(session: Session, channel: Channel) -> None:
    """Bring claims of an exhausted offer back into the channels of all its payers."""
    wallet = session.wallet
    info = deposits.find(session.network, wallet.address, channel)
    done = claims.void(session.network, wallet, info.offer)
    found = deposits.find(session.network, wallet.address, channel)
    session.show(
        done,
        f"{format_amount(done.total)} of {len(done.voided)} claim(s) went back; "
        f"your channel has {format_amount(found.left)} now",
    )


def _question(offer: OfferInfo, amount: Amount) -> str:
    return (
        f"Put {format_amount(amount)} into a channel for {offer.model} version {offer.version}, "
        f"an answer {price(offer)}, {offer.locks} × {format_amount(offer.lock)} of "
        "stake behind all of them?"
    )


def _stands(info: ChannelInfo) -> str:
    if info.offer.state is OfferState.EXHAUSTED:
        return "its offer is exhausted: void, close, withdraw"
    closing = info.state is ChannelState.CLOSING
    return f"closes {format_time(info.closes_at)}" if closing else info.state.name.lower()


def _facts(info: ChannelInfo) -> Any:
    return output.facts(
        [
            ("channel", offers.name(info.channel_id)),
            ("state", f"{_stands(info)}: {info.state.value}"),
            ("offer", offers.name(info.offer.offer_id)),
            ("model", f"{info.offer.model} version {info.offer.version}"),
            ("operator", info.offer.operator),
            ("endpoint", info.offer.endpoint or "none announced"),
            ("an answer", price(info.offer)),
            ("signer", "the payer" if info.signer == info.payer else info.signer),
            ("deposit", format_amount(info.deposit)),
            ("claimed", format_amount(info.claimed)),
            ("left", format_amount(info.left)),
        ]
    )
