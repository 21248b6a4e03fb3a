"""OpenAI's API in front of a channel, inside the program that pays: its client works unchanged.

A WSGI application, which `WSGITransport` of httpx and httpx2 calls without a network, or any server
serves. What a client asks becomes the canonical input here, and the answer comes back only when its
receipt was checked: the endpoint need not be believed.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from oracle.api import embedding, problems
from oracle.api.embedding import Embeddings
from oracle.api.problems import Problem
from oracle.errors import InputInvalid, NotFound, TallystickError
from oracle.protocol import channel_wire
from oracle.services import inputs, quoting
from oracle.services.channels.endpoint_client import VoucherNotTaken
from oracle.services.channels.paid_channel import ChannelClient
from oracle.types import ZERO32

MAX_BODY = 1 << 24  # bytes
_JSON = "application/json"


class OpenAiChannel:
    """The application. Safe for threads, as the channel is."""

    def __init__(self, channel: ChannelClient) -> None:
        """Take the channel that pays."""
        self._channel = channel
        manifest = channel.manifest
        self._encoder = inputs.encoder(
            manifest, lambda entry: quoting.fetch_file(channel.network, entry, None)
        )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request of WSGI (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        try:
            status, headers, content = 200, {"Content-Type": _JSON}, self._answer(path, environ)
        except (TallystickError, ValidationError) as error:
            reply = problems.response(_problem(error), "/v1/", "")
            status, headers, content = reply.status_code, dict(reply.headers), bytes(reply.body)
        start_response(f"{status} {'OK' if status == 200 else 'Error'}", list(headers.items()))
        return [content]

    def _answer(self, path: str, environ: dict[str, Any]) -> bytes:
        name = self._channel.manifest.name
        if (environ["REQUEST_METHOD"], path) == ("POST", "/v1/embeddings"):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            if length > MAX_BODY:
                raise InputInvalid(f"the body has {length} bytes, {MAX_BODY} at most")
            return self._embed(environ["wsgi.input"].read(length))
        entry = {"id": name, "object": "model", "created": 0, "owned_by": "tallystick"}
        if path == "/v1/models":
            return json.dumps({"object": "list", "data": [entry]}).encode()
        if path == f"/v1/models/{name}":
            return json.dumps(entry).encode()
        raise NotFound(f"{path} is not served here", hint="/v1/embeddings and /v1/models are")

    def _embed(self, given: bytes) -> bytes:
        channel = self._channel
        body, manifest = Embeddings.model_validate_json(given), channel.manifest
        if body.model.partition("@")[0] != manifest.name:
            raise NotFound(f"this channel pays for {manifest.name}, not {body.model:.80}")
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


def _problem(error: Exception) -> Problem:
    if isinstance(error, ValidationError):
        return Problem(422, "RequestInvalid", str(error.errors()[0]["msg"]))
    if isinstance(error, VoucherNotTaken):
        return Problem(402, error.code, str(error), error.hint)
    return problems.of(error)
