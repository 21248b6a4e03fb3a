"""An operator's endpoint over HTTP, as a payer asks it: a stranger's replies, bounded and typed.

```
 200                    receipt and answer, unchecked
 402                    VoucherNotTaken: the voucher does not pay
 429, 503               EndpointOverloaded: later, as Retry-After says
 other problems         EndpointRefused: about this question
 all else, no reply     Unavailable: it may have answered; the same again brings the same
```
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import requests
import urllib3

from oracle.errors import NotFound, Refused, TransientError, Unavailable
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol import channel_wire
from oracle.protocol.channel_wire import AnswerReceipt
from oracle.protocol.hexadecimal import to_hex
from oracle.protocol.pieces import PieceTeller
from oracle.services.channels import endpoint_events, timely_http
from oracle.services.channels.endpoint_events import EventsBroken, StreamFailure
from oracle.types import Amount, Bytes32, Offer

PATIENCE = 30.0  # seconds for one answer
WRITING = 600.0  # seconds for one that is written, token by token
LATER = 3.0  # seconds until an overloaded endpoint is asked again, unless it says
THREADS = 64  # that ask at the same time without a connection more for each question
MAX_DOCUMENT = 1 << 20  # bytes of JSON: a page of receipts has 400 kB
ELSEWHERE = "try it later, or another one: `tallystick operator offer list` shows endpoints"
MAX_STREAM = 4 * MAX_BLOCK  # bytes of events: pieces, and an answer in base64
_PIECE = 1 << 16
_DIGITS = 39  # of 2^128
_GATEWAY = (502, 504)  # a proxy's word: the endpoint behind it died, or another one answers

T = TypeVar("T")


class VoucherNotTaken(Refused):
    """The endpoint did not take a voucher; `code` is its error, and nothing was charged."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{code}: {message}", hint=hint)
        self.code = code


class EndpointRefused(Refused):
    """The endpoint did not answer; nothing was charged."""


class EndpointOverloaded(TransientError):
    """The endpoint has too much to do; `retry_after` seconds later it may answer."""

    def __init__(self, message: str, hint: str, retry_after: float) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class EndpointClient:
    """One endpoint. Safe for threads."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        """Prepare; nothing is asked. `patience` is seconds for one reply."""
        self.url, self._patience = url, patience
        self.http = timely_http.session(THREADS)
        self.http.headers["Accept-Encoding"] = "identity"  # no bytes grow on the way

    def answer(  # noqa: PLR0917 - what is asked, and who pays
        self, model: str, version: int, voucher: str, encoded: bytes, params: Bytes32,
        heard: Callable[[str], object] | None = None,
    ) -> tuple[str, bytes]:  # fmt: skip
        """Send a question with its voucher's header; return the receipt's header and the answer.

        A connection that breaks is tried once more, and so is a proxy whose endpoint is gone: the
        answer is the same then.

        Args:
            heard: is told each piece of a text while it is written.

        Raises:
            VoucherNotTaken, EndpointRefused, EndpointOverloaded, Unavailable.
        """
        kind = "text/event-stream" if heard else channel_wire.CANONICAL
        pieces = PieceTeller(heard) if heard else None
        for last in (False, True):
            try:
                reply = self.http.post(
                    f"{self.url}/v2/models/{model}/versions/{version}/infer",
                    data=encoded,
                    headers={
                        "Content-Type": channel_wire.CANONICAL,
                        "Accept": kind,
                        channel_wire.VOUCHER: voucher,
                        channel_wire.PARAMS: to_hex(params),
                    },
                    timeout=self._patience, stream=True, allow_redirects=False,
                )  # fmt: skip
                if pieces and reply.headers.get("Content-Type", "").startswith(kind):
                    pieces.again()
                    found = endpoint_events.answer(_pieces(reply, MAX_STREAM), pieces)
                    if isinstance(found, StreamFailure):
                        raise _refusal(found.status, reply.headers, found.content)
                    return found
                content = _read(reply, MAX_BLOCK)
            except EventsBroken as error:
                if last:
                    raise Unavailable(f"{self.url}: {error}", hint="ask the same again") from error
                continue
            except requests.RequestException as error:
                if last or isinstance(error, requests.Timeout):
                    raise Unavailable(_why(self.url, error), hint="ask the same again") from error
                continue
            if reply.status_code == 200:
                return reply.headers.get(channel_wire.RECEIPT, ""), content
            if last or reply.status_code not in _GATEWAY:
                raise _refusal(reply.status_code, reply.headers, content)
        raise AssertionError("unreachable")

    def receipts(self, place: str, after: int) -> list[AnswerReceipt]:
        """Return what the endpoint holds of the channel PAYER/SIGNER/OFFER, or some of it.

        Raises:
            VoucherNotTaken, EndpointRefused, EndpointOverloaded, Unavailable: it does not say.
        """
        found = self._fetch(f"channels/{place}?after={after}", "receipts", list)
        return [channel_wire.receipt_of(one) for one in found]

    def promised(self, place: str) -> Amount:
        """Return what the highest voucher that it keeps promises. Raises: see `receipts`."""
        said = self._fetch(f"channels/{place}", "cumulative", str)
        if not said.isdecimal() or len(said) > _DIGITS:
            raise EndpointRefused(f"its sum is no number: {said!r:.80}")
        return Amount(int(said))

    def agree_to_close(self, place: str, wish: dict[str, Any]) -> bytes:
        """Return the operator's signature under a close. Raises: see `receipts`."""
        signed = self._fetch(f"channels/{place}/close", "signature", str, wish)
        try:
            return bytes.fromhex(signed.removeprefix("0x"))
        except ValueError as error:
            raise EndpointRefused(f"its consent is no signature: {signed:.80}") from error

    def offer(self, model_id: int, version: int) -> Offer:
        """Return what is sold of a version.

        Raises:
            NotFound: nothing. For others see `receipts`.
        """
        for one in self._fetch("channels/offer", "offers", list):
            offer = channel_wire.offer_of(one)
            if (offer.model_id, offer.version) == (model_id, version):
                return offer
        raise NotFound(f"{self.url} does not sell {model_id}@{version}")

    def _fetch(self, path: str, name: str, kind: type[T], body: Any = None) -> T:
        """Return a field of a JSON document."""
        method, url = "GET" if body is None else "POST", f"{self.url}/{path}"
        try:
            reply = self.http.request(
                method, url, json=body, timeout=self._patience, stream=True, allow_redirects=False
            )
            content = _read(reply, MAX_DOCUMENT)
            if reply.status_code != 200:
                raise _refusal(reply.status_code, reply.headers, content)
            if not isinstance(found := json.loads(content)[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
            return found
        except requests.RequestException as error:
            raise Unavailable(_why(self.url, error), hint=ELSEWHERE) from error
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise Unavailable(f"{url}: {error}") from error


def offer_at(url: str, model_id: int, version: int) -> Offer:
    """Return what an endpoint sells of a version. Raises: see `EndpointClient.offer`."""
    client = EndpointClient(url)
    with client.http:
        return client.offer(model_id, version)


def _why(url: str, error: BaseException) -> str:
    """Say why there is no reply: what the system said, without what was tried in between."""
    said: BaseException | None = error
    while said is not None:
        if isinstance(said, OSError) and said.strerror:
            return f"{url} cannot be reached: {said.strerror}"
        inner = said.args[0] if said.args and isinstance(said.args[0], BaseException) else None
        said = inner or getattr(said, "reason", None) or said.__cause__
    return f"{url} did not reply: {error}"


def _read(reply: requests.Response, most: int) -> bytes:
    """Return a body of a stranger: bounded, and not a byte a minute.

    Raises:
        requests.RequestException: it is longer, slower, or breaks off.
    """
    return b"".join(_pieces(reply, most))


def _pieces(reply: requests.Response, most: int) -> Iterator[bytes]:
    """Yield a body as it comes. Raises: see `_read`."""
    length = 0
    try:
        with reply:
            while piece := reply.raw.read1(_PIECE):
                length += len(piece)
                if length > most:
                    raise requests.RequestException(f"the reply has more than {most} bytes")
                yield piece
    except urllib3.exceptions.TimeoutError as error:
        raise requests.Timeout("the reply takes too long") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(str(error)) from error


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> Exception:
    try:
        problem = json.loads(content)
        code, detail = str(problem["code"]), str(problem["detail"])
        hint = str(problem.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        if status not in (429, 503):
            return Unavailable(f"the endpoint said {status}: {content[:200]!r}")
        code, detail, hint = f"status {status}", "it has too much to do", ""
    if status == 402:
        return VoucherNotTaken(code, detail, hint)
    if status in (429, 503):
        return EndpointOverloaded(f"{code}: {detail}", hint, _seconds(headers))
    return EndpointRefused(f"{code}: {detail}", hint=hint)


def _seconds(headers: Mapping[str, str]) -> float:
    """Return what Retry-After says; a date is no number of seconds."""
    said = headers.get("Retry-After", "")
    return float(said) if said.isdecimal() and len(said) < 10 else LATER
