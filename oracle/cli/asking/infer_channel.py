"""The other half of `tallystick infer`: an answer through a channel, with its receipt."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli import options, output
from oracle.cli.asking.answers import signed_text
from oracle.cli.session import Session
from oracle.services import outputs
from oracle.services.amounts import format_amount, format_duration
from oracle.services.channels import asking, offers
from oracle.services.channels.asking import ChannelQuote
from oracle.services.quoting import Ask
from oracle.types import Amount

Channel = Annotated[
    str,
    typer.Option(
        "--channel",
        metavar="URL|OFFER|auto",
        help="Ask an operator's endpoint; auto: the cheapest that is announced.",
    ),
]
Limit = Annotated[
    Amount | None,
    options.amount("--limit", "Most to put into the channel in all; as shown by default."),
]


def ask(
    session: Session,
    question: Ask,
    where: str,
    *,
    limit: Amount | None,
    timeout: int | None,
    save: Path | None,
    top: int,
    stdin: Callable[[], bytes],
) -> None:
    """Show what an answer costs, ask before money moves, and print answer and receipt."""
    with session.bars() as bars:
        prepayment = asking.quote(
            session.network, session.wallet, question, where, limit=limit, patience=timeout,
            stdin=stdin, progress=bars.bytes_done,
        )  # fmt: skip
    quote = prepayment.quote
    output.print_human(offer_text(quote), stderr=True)
    first = f"put {format_amount(quote.put_in)} into it first, and " if quote.put_in else ""
    session.confirm(f"Ask through the channel: {first}pay {format_amount(quote.fee)}?")
    answer, data = asking.ask(prepayment, top)
    if save:
        outputs.save(data, prepayment.client.manifest, save)
        session.note(f"saved to {save}")
    session.show(answer, signed_text(answer))


def offer_text(quote: ChannelQuote) -> Any:
    """Return what an answer through the channel costs and is worth."""
    info = quote.offer
    limit = "no limit" if quote.limit is None else f"at most {format_amount(quote.limit)} in all"
    puts = f"{format_amount(quote.put_in)} is put in first" if quote.put_in else "nothing is put in"
    return output.facts(
        [
            ("model", f"{quote.model_id} version {quote.version}: {quote.name}"),
            ("fee", format_amount(quote.fee)),
            ("assurance", f"{quote.assurance.name.lower()}: {quote.meaning}"),
            (
                "insured",
                f"{format_amount(info.insured)}, summoned within "
                f"{format_duration(info.challenge_window)}",
            ),
            ("stake", f"{info.locks} × {format_amount(info.lock)} behind all answers of the offer"),
            ("operator", f"{info.operator} at {quote.url}"),
            ("channel", f"{offers.name(quote.channel_id)[:10]}, {format_amount(quote.left)} left"),
            ("deposit", f"{puts}; {limit}"),
        ]
    )
