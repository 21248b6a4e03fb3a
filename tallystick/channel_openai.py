"""OpenAI's API in front of a channel, inside the program that pays: its client works unchanged.

A WSGI application, which `WSGITransport` of httpx and httpx2 calls without a network, or any server
serves. What a client asks becomes the canonical input here, and the answer comes back only when its
receipt was checked: the endpoint need not be believed. A text that is streamed is shown before, and
its end is told only then.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from oracle.api import chat, embedding, event_stream, problems, writing
from oracle.api.chat import AnyBody, ChatBody, CompletionBody, ResponseBody
from oracle.api.chat_replies import OpenAiReply
from oracle.api.embedding import Embeddings
from oracle.api.problems import Problem
from oracle.errors import InputInvalid, NotFound, TallystickError
from oracle.protocol import channel_wire, text
from oracle.protocol.text import TextAnswer
from oracle.services import inputs, quoting
from oracle.services.channels.endpoint_client import VoucherNotTaken
from oracle.services.channels.paid_channel import ChannelClient
from oracle.services.channels.received_receipts import ReceivedAnswer
from oracle.types import ZERO32

MAX_BODY = 1 << 24  # bytes
_JSON = "application/json"
_EMBEDDINGS = "/v1/embeddings"
_BODIES: Mapping[str, type[AnyBody]] = {
    "/v1/chat/completions": ChatBody, "/v1/completions": CompletionBody,
    "/v1/responses": ResponseBody,
}  # fmt: skip


class OpenAiChannel:
    """The application. Safe for threads, as the channel is."""

    def __init__(self, channel: ChannelClient) -> None:
        """Take the channel that pays."""
        self._channel = channel
        manifest = channel.manifest
        self._writes = manifest.runtime.format == text.FORMAT
        if not self._writes:
            self._encoder = inputs.encoder(
                manifest, lambda entry: quoting.fetch_file(channel.network, entry, None)
            )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request of WSGI (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        content: Iterable[bytes]
        try:
            status, headers, found = 200, {"Content-Type": _JSON}, self._answer(path, environ)
            content = [found] if isinstance(found, bytes) else found
            if not isinstance(found, bytes):
                headers = {"Content-Type": event_stream.KIND}
        except (TallystickError, ValidationError) as error:
            reply = problems.response(_problem(error), "/v1/", "")
            status, headers, content = reply.status_code, dict(reply.headers), [bytes(reply.body)]
        start_response(f"{status} {'OK' if status == 200 else 'Error'}", list(headers.items()))
        return content

    def _answer(self, path: str, environ: dict[str, Any]) -> bytes | Iterator[bytes]:
        name = self._channel.manifest.name
        if environ["REQUEST_METHOD"] == "POST" and path in (_EMBEDDINGS, *_BODIES):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if length > MAX_BODY:
                raise InputInvalid(f"the body has {length} bytes, {MAX_BODY} at most")
            given = environ["wsgi.input"].read(length)
            if path == _EMBEDDINGS:
                return self._embed(given)
            return self._write(_BODIES[path].model_validate_json(given))
        entry = {"id": name, "object": "model", "created": 0, "owned_by": "tallystick"}
        if path == "/v1/models":
            return json.dumps({"object": "list", "data": [entry]}).encode()
        if path == f"/v1/models/{name}":
            return json.dumps(entry).encode()
        known = ", ".join((_EMBEDDINGS, *_BODIES, "/v1/models"))
        raise NotFound(f"{path} is not served here", hint=f"served: {known}")

    def _embed(self, given: bytes) -> bytes:
        channel = self._channel
        body, manifest = Embeddings.model_validate_json(given), channel.manifest
        self._require_named(body.model)
        output = embedding.output_of(manifest, body)
        rows = list(dict.fromkeys(embedding.rows_of(body)))
        if len(rows) > (size := embedding.rows_that_fit(manifest, len(rows))):
            raise InputInvalid(f"one answer has room for {size} rows, not {len(rows)}")
        texts = tuple(row for row in rows if isinstance(row, str))
        arrays = embedding.arrays_of(rows, manifest)
        if texts:
            arrays = inputs.tokenize(texts, manifest, self._encoder)
        prepared = inputs.seal(arrays, texts, manifest, channel.form)
        answer = channel.ask_encoded(prepared.data, ZERO32)
        receipt = channel_wire.receipt_json(answer.receipt)
        vectors = answer.outputs[output]
        return embedding.reply(body, rows, vectors, prepared.tokens, {"receipt": receipt})

    def _write(self, body: AnyBody) -> bytes | Iterator[bytes]:
        asked, channel = body.asked(), self._channel
        self._require_named(asked.model)
        chat.require_text(channel.manifest, asked)
        encoded = channel.form.encode_inputs(text.encode_question(asked.question))
        params = channel.manifest.pack_params(asked.params)
        reply = writing.reply_of(asked)
        if asked.stream:
            return _written(reply, lambda heard: channel.ask_encoded(encoded, params, heard))
        answer, extra = _end(channel.ask_encoded(encoded, params))
        return json.dumps(reply.whole(answer, extra)).encode()

    def _require_named(self, model: str) -> None:
        """Return if a body names the model that is paid for. Raises: NotFound."""
        name = self._channel.manifest.name
        if model.partition("@")[0] != name:
            raise NotFound(f"this channel pays for {name}, not {model:.80}")


def _written(
    reply: OpenAiReply, ask: Callable[[Callable[[str], object]], ReceivedAnswer]
) -> Iterator[bytes]:
    """Return the events of a text.

    Raises:
        What `ask` raises before its first piece.
    """
    heard: queue.SimpleQueue[str | ReceivedAnswer | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            heard.put(ask(heard.put))
        except Exception as error:
            heard.put(error)

    threading.Thread(target=work, name="channel-text", daemon=True).start()
    if isinstance(first := heard.get(), Exception):
        raise first

    def events() -> Iterator[str]:
        yield from reply.begin()
        found: str | ReceivedAnswer | Exception = first
        while isinstance(found, str):
            yield from reply.piece(found)
            found = heard.get()
        try:
            if isinstance(found, Exception):
                raise found
            yield from reply.end(*_end(found))
        except TallystickError as error:
            yield reply.fail(problems.openai_error(_problem(error)))

    return map(str.encode, events())


def _end(found: ReceivedAnswer) -> tuple[TextAnswer, dict[str, Any]]:
    return text.decode_answer(found.outputs), {"receipt": channel_wire.receipt_json(found.receipt)}


def _problem(error: Exception) -> Problem:
    if isinstance(error, ValidationError):
        return Problem(422, "RequestInvalid", str(error.errors()[0]["msg"]))
    if isinstance(error, VoucherNotTaken):
        return Problem(402, error.code, str(error), error.hint)
    return problems.of(error)
