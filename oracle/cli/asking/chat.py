"""`tallystick chat MODEL`: a conversation with a model that writes text, streamed and paid."""

import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from oracle.cli import options, output
from oracle.cli.asking import infer, infer_channel
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid, TallystickError
from oracle.protocol.text import QuestionInvalid
from oracle.services import models
from oracle.services.amounts import format_amount
from oracle.services.channels.asking import ChannelPrepayment
from oracle.services.conversation import (
    AnswerPayment,
    ChainPayment,
    ChannelPayment,
    ChatAnswer,
    Conversation,
)
from oracle.services.formats import MAX_RAW
from oracle.services.quoting import Ask
from oracle.types import Amount


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app, "chat", spends=True,
        example="tallystick chat gemma --channel auto --key alice\n"
        'tallystick chat gemma --once "What is a tally stick?" --yes --key alice\n'
        'tallystick chat gemma --system "Be brief." --param temperature=0 --key alice\n'
        "cat letter.txt | tallystick chat gemma --system Summarise. --yes --key alice",
    )(_chat)  # fmt: skip


def _chat(
    session: Session,
    model: Model,
    *,
    once: Annotated[
        str, typer.Option("--once", metavar="TEXT", help="Ask this, and end with its answer.")
    ] = "",
    system: Annotated[
        str, typer.Option("--system", metavar="TEXT", help="What the model is told beforehand.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", metavar="NAME=VALUE", help="As max_tokens, temperature; repeatable."
        ),
    ] = None,
    max_fee: Annotated[
        Amount | None, options.amount("--max-fee", "Most to pay for an answer.")
    ] = None,
    channel: infer_channel.Channel = "",
    limit: infer_channel.Limit = None,
) -> None:
    """Talk with a model that writes text; price and assurance are shown before the first answer.

    Answers are shown while they are written. Ctrl-C stops showing one, and ends the chat when none
    is shown; what was asked is paid. Without a terminal, all of stdin is the one question.
    """
    if limit is not None and not channel:
        raise InputInvalid("--limit needs --channel: nothing is put in otherwise")
    given = options.assignments("--param", param or [])
    params = {n: options.number(f"--param {n}", v) for n, v in given.items()}
    ask = Ask(models.select(session.network, model), None, params, max_fee)
    with _payment(session, ask, channel, limit) as payment:
        talk = Conversation(payment, ask)
        if system:
            talk.messages.append({"role": "system", "content": system})
        _Chat(session, talk).run(once)


@contextmanager
def _payment(
    session: Session, ask: Ask, channel: str, limit: Amount | None
) -> Iterator[AnswerPayment]:
    if channel:
        yield ChannelPayment(session.network, session.wallet, ask, channel, limit)
        return
    from oracle.gateway import worker_progress  # noqa: PLC0415 - only who asks on the chain listens

    with worker_progress.listening(session.settings) as heard:
        yield ChainPayment(
            session.network, session.wallet, ask, failure=heard.reason, written=heard.text
        )


class _Chat:
    """The chat at a terminal, or of a pipe."""

    def __init__(self, session: Session, talk: Conversation) -> None:
        self._session, self._talk, self._agreed = session, talk, False

    def run(self, once: str) -> None:
        """Ask once, or as long as somebody does."""
        if once or not sys.stdin.isatty():
            self._one(once or _piped())
            return
        while (content := _typed()) is not None:
            if not content.strip():
                continue
            try:
                self._one(content)
            except KeyboardInterrupt:
                self._session.note("(stopped; what was asked is paid)")
            except TallystickError as error:
                if not self._agreed:
                    raise
                hint = f"\n  → {error.hint}" if error.hint else ""
                self._session.note(f"error: {error}{hint}")

    def _one(self, content: str) -> None:
        session, talk = self._session, self._talk
        prepared = talk.prepare(content)
        if not self._agreed:
            shown = infer_channel if isinstance(prepared, ChannelPrepayment) else infer
            output.print_human(shown.offer_text(prepared.quote), stderr=True)
            session.confirm(f"Pay {format_amount(prepared.quote.fee)} for each answer?")
            self._agreed = True
        screen = _Screen(hidden=session.as_json)
        try:
            found = _in_background(lambda heard: talk.answer(prepared, heard), screen.write)
        except KeyboardInterrupt:
            screen.end()
            if screen.written:
                talk.keep(content, screen.written)
            raise
        screen.finish(found.content)
        talk.keep(content, found.content)
        if session.as_json:
            session.show({**_document(found), "spent": talk.spent})
            return
        cut = "; cut at max_tokens" if found.finish_reason == "length" else ""
        session.note(
            f"{format_amount(found.fee)}, {format_amount(talk.spent)} so far; "
            f"{found.prompt_tokens} + {found.completion_tokens} tokens{cut}; `{found.proof}`"
        )


def _document(found: ChatAnswer) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ChatAnswer.__slots__}


def _piped() -> str:
    data = sys.stdin.buffer.read(MAX_RAW + 1)
    if len(data) > MAX_RAW:
        raise InputInvalid(f"stdin has more than {MAX_RAW} bytes")
    try:
        content = data.decode().strip()
    except UnicodeDecodeError as error:
        raise QuestionInvalid(f"stdin is not UTF-8 text: {error}") from error
    if not content:
        raise QuestionInvalid("stdin holds no question", hint='say --once "…", or pipe one in')
    return content


def _typed() -> str | None:
    """Return a line of the terminal; None = Ctrl-D, or Ctrl-C, ended the chat."""
    import readline  # noqa: F401, PLC0415 - lines can be edited, and called back

    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")
        return None


def _in_background(ask: Any, write: Any) -> ChatAnswer:
    """Return an answer, its pieces written here; Ctrl-C leaves it, and its receipt is kept."""
    heard: queue.SimpleQueue[str | ChatAnswer | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            heard.put(ask(heard.put))
        except Exception as error:
            heard.put(error)

    threading.Thread(target=work, name="chat", daemon=True).start()
    while isinstance(found := heard.get(), str):
        write(found)
    if isinstance(found, Exception):
        raise found
    return found


class _Screen:
    """Writes an answer as it comes; a terminal is sent no control characters of a stranger."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden, self._plain = hidden, sys.stdout.isatty()
        self.written = ""

    def write(self, piece: str) -> None:
        """Show a piece."""
        self.written += piece
        if not self._hidden:
            sys.stdout.write(output.printable(piece) if self._plain else piece)
            sys.stdout.flush()

    def finish(self, content: str) -> None:
        """Show what is missing of the checked answer; another one is shown whole."""
        if not content.startswith(self.written):
            self.write("\n")
            self.written = ""
            output.print_human("(the checked answer is another one:)", stderr=True)
        self.write(content[len(self.written) :])
        self.end()

    def end(self) -> None:
        """End the line."""
        if not self._hidden:
            sys.stdout.write("\n")
            sys.stdout.flush()
