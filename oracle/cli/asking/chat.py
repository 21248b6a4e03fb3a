"""`tallystick chat MODEL`: a conversation with a model that writes text, streamed and paid."""

import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, TypeAlias

import typer

from oracle.cli import options, output
from oracle.cli.asking import infer, infer_channel
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid, TallystickError
from oracle.protocol.search_index import FoundPassage
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
from oracle.services.search import answering
from oracle.services.search.answering import Knowledge, KnowledgeChat, Retrieved
from oracle.types import Amount

_Heard: TypeAlias = str | ChatAnswer | Exception  # a piece, or how it ended
_LOOK = 0.2  # seconds until a wait is begun anew


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app, "chat", spends=True,
        example="tallystick chat gemma --channel auto --key alice\n"
        'tallystick chat gemma --once "What is a tally stick?" --yes --key alice\n'
        'tallystick chat gemma --system "Be brief." --param temperature=0 --key alice\n'
        "tallystick chat gemma --knowledge manuals/ --embedder all-MiniLM-L6-v2 --key alice\n"
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
    knowledge: Annotated[
        str,
        typer.Option(
            "--knowledge", metavar="FOLDER|CID", help="Texts, or an index, to answer from."
        ),
    ] = "",
    embedder: Annotated[
        str,
        typer.Option("--embedder", metavar="MODEL", help="Model of sentences for --knowledge."),
    ] = "",
) -> None:
    """Talk with a model that writes text; price and assurance are shown before the first answer.

    Answers are shown while they are written. Ctrl-C stops showing one, and ends the chat when none
    is shown; what was asked is paid. Without a terminal, all of stdin is the one question.

    With --knowledge each question is asked together with the passages nearest to it, which are
    shown. Finding them is one paid embedding on the chain, of the model that made the index.
    """
    if limit is not None and not channel:
        raise InputInvalid("--limit needs --channel: nothing is put in otherwise")
    if embedder and not knowledge:
        raise InputInvalid("--embedder needs --knowledge: there are no passages to find")
    given = options.assignments("--param", param or [])
    params = {n: options.number(f"--param {n}", v) for n, v in given.items()}
    ask = Ask(models.select(session.network, model), None, params, max_fee)
    with _payment(session, ask, channel, limit) as payment:
        talk = Conversation(payment, ask)
        if system:
            talk.messages.append({"role": "system", "content": system})
        known = _knowledge(session, talk, knowledge, embedder) if knowledge else None
        _Chat(session, talk, known).run(once)


def _knowledge(session: Session, talk: Conversation, name: str, embedder: str) -> KnowledgeChat:
    network = session.network
    model = models.select(network, embedder) if embedder else None
    with session.bars() as bars:
        index = answering.open_knowledge(
            network, name, model, lambda done, total: bars.bytes_done("passages", done, total)
        )
    return KnowledgeChat(talk, Knowledge(network, session.wallet, index, model))


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

    def __init__(
        self, session: Session, talk: Conversation, knowledge: KnowledgeChat | None
    ) -> None:
        self._session, self._talk, self._agreed = session, talk, False
        self._knowledge = knowledge

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
        session, talk, known = self._session, self._talk, self._knowledge
        prepared = talk.prepare(content)
        looked_up = known.prepare(content) if known else None
        if not self._agreed:
            shown = infer_channel if isinstance(prepared, ChannelPrepayment) else infer
            output.print_human(shown.offer_text(prepared.quote), stderr=True)
            fee = format_amount(prepared.quote.fee)
            if looked_up:
                fee += f", and {format_amount(looked_up.quote.fee)} to find its passages,"
            session.confirm(f"Pay {fee} for each answer?")
            self._agreed = True
        retrieved: Retrieved | None = None
        if known and looked_up:
            retrieved = known.find(looked_up)
            _show_passages(session, retrieved.found)
            prepared = known.prepare_answer(content, retrieved)
        screen = _Screen(hidden=session.as_json)
        keep = known.keep if known else talk.keep
        try:
            found = _in_background(lambda heard: talk.answer(prepared, heard), screen.write)
        except KeyboardInterrupt:
            screen.end()
            if screen.written:
                keep(content, screen.written)
            raise
        screen.finish(found.content)
        keep(content, found.content)
        spent = Amount(talk.spent + (known.spent if known else 0))
        if session.as_json:
            session.show({**_document(found, retrieved), "spent": spent})
            return
        if retrieved:
            session.note(_sources(found, retrieved))
        cut = "; cut at max_tokens" if found.finish_reason == "length" else ""
        session.note(
            f"{format_amount(found.cost)}, {format_amount(spent)} so far; "
            f"{found.prompt_tokens} + {found.completion_tokens} tokens{cut}; `{found.proof}`"
        )


def _show_passages(session: Session, found: tuple[FoundPassage, ...]) -> None:
    rows = [
        (f"[{number}]", one.passage.source, one.passage.text) for number, one in enumerate(found, 1)
    ]
    if not session.as_json:
        output.print_human(output.table(("", "source", "passage"), rows), stderr=True)


def _sources(found: ChatAnswer, retrieved: Retrieved) -> str:
    """Say which passages an answer names; names of passages that were not shown are said, too."""
    named = answering.citations(found.content, len(retrieved.found))
    sources = {n: output.printable(retrieved.found[n - 1].passage.source) for n in named.shown}
    parts = [f"[{n}] {source}" for n, source in sources.items()]
    told = "cites " + ", ".join(parts) if parts else "cites none of the passages"
    unknown = ", ".join(f"[{number}]" for number in named.unknown)
    return f"{told}; {unknown} is no passage" if unknown else told


def _document(found: ChatAnswer, retrieved: Retrieved | None) -> dict[str, Any]:
    answer = {name: getattr(found, name) for name in ChatAnswer.__slots__}
    if retrieved is None:
        return answer
    named = answering.cited(found, retrieved)
    return {**answer, "passages": named.passages, "citations": named.citations}


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
    heard: queue.SimpleQueue[_Heard] = queue.SimpleQueue()

    def work() -> None:
        try:
            heard.put(ask(heard.put))
        except Exception as error:
            heard.put(error)

    threading.Thread(target=work, name="chat", daemon=True).start()
    while isinstance(found := _next(heard), str):
        write(found)
    if isinstance(found, Exception):
        raise found
    return found


def _next(heard: "queue.SimpleQueue[_Heard]") -> _Heard:
    """Return what is heard next. A Ctrl-C that comes just before a wait does not end it."""
    while True:
        with suppress(queue.Empty):
            return heard.get(timeout=_LOOK)


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
