"""`tallystick infer MODEL`: ask, on the chain or through a channel, and bring the answer back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli import options, output
from oracle.cli.asking import infer_channel
from oracle.cli.asking.answers import answer_text
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.services import inference, models, outputs, quoting, wallets
from oracle.services.amounts import format_amount, format_duration
from oracle.services.formats import MAX_RAW
from oracle.services.metering import price_text
from oracle.services.quoting import Ask, Quote
from oracle.services.request_timeline import RequestState
from oracle.types import Amount, RequestId

_STATES = {"delivered": RequestState.DELIVERED, "settled": RequestState.SETTLED}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app, "infer", spends=True,
        example="tallystick infer digits-cnn --input digit.png --max-fee 0.05 --wait --key alice\n"
        "tallystick infer minilm --input '[\"a cat\", \"a kitten\"]' --wait --yes --key alice\n"
        "tallystick infer 1 --input - --consumer 0x5FbDB2315678afecb367f032d93F642f64180aa3 "
        "--callback-gas 80000 --yes --key alice\n"
        "tallystick infer digits-cnn --input digit.png --channel auto --key alice\n"
        "cat input.npz | tallystick infer 1 --input - --param temperature=0.7 --yes --key alice",
    )(_infer)  # fmt: skip


def _infer(
    session: Session,
    model: Model,
    *,
    source: Annotated[
        str,
        typer.Option("--input", metavar="FILE|JSON|-", help="JSON, NPZ, safetensors, image, text."),
    ],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Run-time parameter; repeatable."),
    ] = None,
    max_fee: Annotated[
        Amount | None, options.amount("--max-fee", "Most to pay; the fee as shown by default.")
    ] = None,
    operator: Annotated[
        str, typer.Option("--operator", metavar="WALLET", help="Preferred; chosen by default.")
    ] = "",
    priority: Annotated[
        int | None, options.duration("--priority", "How long only that operator may answer.", "30s")
    ] = None,
    lifetime: Annotated[
        int, options.duration("--lifetime", "After it without an answer: money back.", "10m")
    ] = quoting.LIFETIME,
    consumer: Annotated[
        str, typer.Option("--consumer", metavar="ADDRESS", help="Contract to call with the answer.")
    ] = "",
    callback_gas: Annotated[
        int | None,
        typer.Option(
            "--callback-gas",
            metavar="N",
            min=0,
            show_default=f"{quoting.CALLBACK_GAS:,}",
            help="Gas of that call, which comes after settlement.",
        ),
    ] = None,
    channel: infer_channel.Channel = "",
    limit: infer_channel.Limit = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer and show it.")] = False,
    until: Annotated[
        RequestState,
        typer.Option(
            "--until",
            metavar="delivered|settled",
            parser=options.choice("--until", _STATES),
            show_default="delivered",
            help="What --wait waits for.",
        ),
    ] = RequestState.DELIVERED,
    timeout: Annotated[
        int | None, options.duration("--timeout", "Give up waiting; the request goes on.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Save the answer (with --wait).")
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", help="Labels shown per row.")] = 3,
) -> None:
    """Ask a model; shows price and assurance, and asks you, before money is spent.

    With --channel the answer comes in milliseconds, with a receipt that the operator signed. The
    channel is opened or topped up for it, for 20 answers at a time unless --limit is less.
    """
    if limit is not None and not channel:
        raise InputInvalid("--limit needs --channel: nothing is put in otherwise")
    if save and not wait and not channel:
        raise InputInvalid("--output needs --wait: there is no answer yet to save")
    if callback_gas is not None and not consumer:
        raise InputInvalid("--callback-gas needs --consumer: nobody is to be called")
    given = options.assignments("--param", param or [])
    ask = Ask(
        model=models.select(session.network, model),
        source=source,
        params={n: options.number(f"--param {n}", v) for n, v in given.items()},
        max_fee=max_fee,
        operator=wallets.resolve(session.settings, operator) if operator else None,
        priority=priority,
        lifetime=lifetime,
        consumer=wallets.resolve(session.settings, consumer) if consumer else None,
        callback_gas=quoting.CALLBACK_GAS if callback_gas is None else callback_gas,
    )
    if channel:
        chain_only = {
            "--operator": operator, "--priority": priority, "--consumer": consumer,
            "--lifetime": lifetime != quoting.LIFETIME,
            "--until": until is not RequestState.DELIVERED,
        }  # fmt: skip
        for flag, given_one in chain_only.items():
            if given_one:
                raise InputInvalid(f"{flag} is for requests on the chain, not for --channel")
        infer_channel.ask(
            session, ask, channel, limit=limit, timeout=timeout, save=save, top=top,
            stdin=_read_stdin,
        )  # fmt: skip
        return
    wallet = session.wallet
    with session.bars() as bars:
        prepayment = quoting.quote(
            session.network, wallet.address, ask,
            stdin=_read_stdin, progress=bars.bytes_done,
        )  # fmt: skip
    output.print_human(offer_text(prepayment.quote), stderr=True)
    most = "at most " if prepayment.quote.max_units else ""
    session.confirm(f"Pay {most}{format_amount(prepayment.quote.fee)}?")
    with session.bars() as bars, _reports(session, wait) as reported:
        asked = inference.ask(session.network, wallet, prepayment)
        session.note(f"request 0x{asked.request_id.hex()}")
        if not wait:
            session.show(asked, f"look with `tallystick request show 0x{asked.request_id.hex()}`")
            return
        info = inference.wait(
            session.network,
            asked.request_id,
            until=until,
            timeout=timeout,
            since=asked.transaction.block,
            say=bars.say,
            failure=reported,
        )
        answer, data = inference.answer(
            session.network, info, prepayment.manifest, prepayment.prepared, top
        )
    if save:
        outputs.save(data, prepayment.manifest, save)
        session.note(f"saved to {save}")
    session.show(answer, answer_text(answer))


@contextmanager
def _reports(session: Session, wait: bool) -> Iterator[Callable[[RequestId], str | None]]:
    """Give what says why an operator cannot answer; heard only where its queue is."""
    if not wait:
        yield lambda _: None
        return
    from oracle.gateway import worker_progress  # noqa: PLC0415 - only who waits listens

    with worker_progress.listening(session.settings) as heard:
        yield heard.reason


def _read_stdin() -> bytes:
    """Return all of stdin, or one byte more than is allowed."""
    return sys.stdin.buffer.read(MAX_RAW + 1)


def offer_text(quote: Quote) -> Any:
    """Return what an answer on the chain costs and is worth."""
    params = ", ".join(f"{n} = {v:.12g}" for n, v in quote.params.items())
    called = "nobody"
    if quote.consumer:
        called = f"{quote.consumer} with {quote.callback_gas:,} gas"
        called += f"; {quote.callback_bond / 10**18:.6g} ether go along for it, the rest comes back"
    return output.facts(
        [
            ("model", f"{quote.model_id} version {quote.version}: {quote.name}"),
            ("fee", price_text(quote.fee, quote.max_units)),
            ("prepaid", format_amount(quote.balance)),
            ("assurance", f"{quote.assurance.name.lower()}: {quote.meaning}"),
            (
                "insured",
                f"{format_amount(quote.insured)}, challenged within "
                f"{format_duration(quote.challenge_window)}",
            ),
            ("operator", f"{quote.operator}: {quote.operator_reason}"),
            ("input", ", ".join(f"{n} {list(s)}" for n, s in quote.shapes.items())),
            ("parameters", params or "none"),
            ("callback", called),
            *(("clamped", str(one)) for one in quote.outside),
        ]
    )
