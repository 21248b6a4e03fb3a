"""What the page's modules ask for as JSON: an input as the model sees it, an answer, a request.

Each is thin over a service. What spends the sponsor's money wants a request of this very page.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from oracle.errors import DigestMismatch, InputInvalid, Refused, TallystickError
from oracle.exact import form
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol.cid import raw_cid
from oracle.services import inference, inputs, models, quoting, requests
from oracle.services.amounts import format_amount, parse_address, parse_request_id
from oracle.services.inputs import PreparedInput
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.quoting import Ask
from oracle.web import accounts, payloads, problems, uploads
from oracle.web.knowledge import PageKnowledge
from oracle.web.rendering import PageOptions
from oracle.web.sponsor import VisitorSponsor
from oracle.web.views import input_kind

VISIT_COOKIE = "visit"
_DAY = 86400

ModelId = Annotated[int, Query(ge=1, lt=2**48)]
VersionNumber = Annotated[int, Query(ge=1, lt=2**24)]
FileName = Annotated[str, Query(max_length=200)]
Params = Annotated[str, Query(max_length=2000)]


class TooLarge(InputInvalid):
    """A body above the limit; it was not read to its end."""


async def body_of(request: Request) -> bytes:
    """Read a body of at most `MAX_UPLOAD` bytes.

    Raises:
        TooLarge: there are more.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > uploads.MAX_UPLOAD:
            raise TooLarge(f"the input is larger than {uploads.MAX_UPLOAD} bytes")
    return bytes(data)


def router(network: Network, options: PageOptions, sponsor: VisitorSponsor | None) -> APIRouter:
    """Return the routes of the page's modules."""
    routes = APIRouter(prefix="/page", include_in_schema=False)
    acts = _Actions(network, options, sponsor)
    for method, path, endpoint in (
        ("POST", "/preview", acts.preview),
        ("POST", "/ask", acts.ask),
        ("POST", "/prepare", acts.prepare),
        ("POST", "/encode", acts.encode),
        ("POST", "/decode", acts.decode),
        ("POST", "/apply", acts.apply),
        ("GET", "/knowledge", acts.knowledge),
        ("POST", "/passages", acts.passages),
        ("GET", "/requests/{request_id}", acts.state),
        ("GET", "/requests/{request_id}/question", acts.question),
        ("GET", "/requests/{request_id}/answer", acts.answer),
        ("GET", "/accounts/{address}", acts.account),
    ):
        routes.add_api_route(path, endpoint, methods=[method], response_model=None)
    return routes


class _Actions:
    def __init__(
        self, network: Network, options: PageOptions, sponsor: VisitorSponsor | None
    ) -> None:
        self._network, self._options = network, options
        self._sponsor = sponsor
        self._knowledge = PageKnowledge(network)

    # ── An input, and asking ────────────────────────────────────────────────────────────────────
    async def preview(
        self,
        request: Request,
        model: ModelId,
        version: VersionNumber,
        name: FileName,
    ) -> Response:
        """Return an input as the model will see it. Spends nothing."""

        def act(data: bytes) -> dict[str, Any]:
            manifest = models.manifest(self._network, model, version)
            with uploads.source(data, name) as source:
                prepared = inputs.prepare(source, manifest, self._fetch, bytes)
            return payloads.seen(prepared, manifest)

        return await self._with_body(request, act)

    async def ask(
        self,
        request: Request,
        model: ModelId,
        version: VersionNumber,
        name: FileName,
        params: Params = "{}",
    ) -> Response:
        """Ask in the sponsor's name."""
        visit = request.cookies.get(VISIT_COOKIE, "")
        fresh = "" if 16 <= len(visit) <= 64 else secrets.token_urlsafe(24)

        def act(data: bytes) -> dict[str, Any]:
            if self._sponsor is None:
                raise Refused("nobody sponsors questions here", hint="connect a wallet")
            own_page(request)
            with uploads.source(data, name) as source:
                question = Ask(Selected(model, version), source, payloads.read_params(params))
                asked = self._sponsor.ask(visit or fresh, question)
            return {
                "request": "0x" + asked.request_id.hex(),
                "operator": asked.operator,
                "fee": format_amount(asked.fee),
                "left": self._sponsor.left(visit or fresh),
            }

        response = await self._with_body(request, act)
        if fresh:
            response.set_cookie(
                VISIT_COOKIE,
                fresh,
                max_age=_DAY,
                samesite="strict",
                httponly=True,
                secure=self._options.secure,
            )
        return response

    async def apply(
        self, request: Request, model: ModelId, note: Annotated[str, Query(max_length=200)] = ""
    ) -> Response:
        """Apply for access to a model in the sponsor's name."""

        def act() -> dict[str, Any]:
            if self._sponsor is None:
                raise Refused("nobody sponsors questions here", hint="connect a wallet")
            own_page(request)
            self._sponsor.apply(model, note)
            return {"model": model}

        return await run_in_threadpool(self._json, act)

    async def prepare(  # noqa: PLR0917 - FastAPI passes query values by name
        self,
        request: Request,
        model: ModelId,
        version: VersionNumber,
        name: FileName,
        requester: str,
        params: Params = "{}",
    ) -> Response:
        """Publish an input and return the order that a wallet signs. Spends nothing."""

        def act(data: bytes) -> dict[str, Any]:
            own_page(request)
            with uploads.source(data, name) as source:
                question = Ask(Selected(model, version), source, payloads.read_params(params))
                found = quoting.quote(
                    self._network, parse_address(requester), question, stdin=bytes
                )
            self._network.ipfs.publish_bytes(found.prepared.data)
            lane = self._network.lens.free_lane(parse_address(requester), 0)
            return {
                "order": payloads.order_words(found.order, lane),
                "fee": format_amount(found.quote.fee),
            }

        return await self._with_body(request, act)

    async def encode(
        self,
        request: Request,
        model: ModelId,
        version: VersionNumber,
        name: FileName,
        params: Params = "{}",
    ) -> Response:
        """Return an input as an operator's endpoint takes it. Spends nothing, publishes nothing."""

        def act(data: bytes) -> dict[str, Any]:
            manifest = models.manifest(self._network, model, version)
            with uploads.source(data, name) as source:
                prepared = inputs.prepare(source, manifest, self._fetch, bytes)
            packed = manifest.pack_params(payloads.read_params(params))
            return {
                "input": base64.b64encode(prepared.data).decode(), "params": "0x" + packed.hex(),
            }  # fmt: skip

        return await self._with_body(request, act)

    async def decode(self, request: Request, model: ModelId, version: VersionNumber) -> Response:
        """Return the numbers of an answer that the page was given; it checks the digest itself."""

        def act(data: bytes) -> dict[str, Any]:
            return payloads.answered(data, models.manifest(self._network, model, version))

        return await self._with_body(request, act)

    # ── Passages ────────────────────────────────────────────────────────────────────────────────
    def knowledge(self, model: ModelId, version: VersionNumber) -> Response:
        """Return what the index is that a version names, and what each question costs beside."""
        return self._json(lambda: self._knowledge.about(model, version))

    async def passages(self, request: Request, model: ModelId, version: VersionNumber) -> Response:
        """Return the passages that a paid embedding is nearest to, and the question with them."""

        def act(data: bytes) -> dict[str, Any]:
            return self._knowledge.passages(model, version, data)

        return await self._with_body(request, act)

    # ── A request ───────────────────────────────────────────────────────────────────────────────
    def state(self, request_id: str, since: Annotated[int, Query(ge=0, lt=2**53)] = 0) -> Response:
        """Return where a request stands."""

        def act() -> dict[str, Any]:
            info = requests.show(self._network, parse_request_id(request_id), since=since)
            return {
                "state": info.state.name,
                "open": info.open,
                "expired": info.expired,
                "operator": info.answered_by or (info.claim.operator if info.claim else None),
                "output": "0x" + info.output_root.hex() if info.output_root else None,
                "finalAt": info.final_at,
                "now": self._network.history.now(),
                "disputes": info.disputes,
                "block": info.timeline[0].block,
                "moments": [
                    {"time": m.time, "event": m.event, "transaction": "0x" + m.transaction.hex()}
                    for m in info.timeline
                ],
            }

        return self._json(act)

    def question(self, request_id: str) -> Response:
        """Return what was asked, as the model saw it; its digest is the one on the chain."""

        def act() -> dict[str, Any]:
            info = requests.show(self._network, parse_request_id(request_id))
            manifest = models.manifest(self._network, info.model_id, info.version)
            asked = info.request
            digest = asked.input_cid if any(asked.input_cid) else asked.input_root
            data = self._network.ipfs.fetch_bytes(raw_cid(digest), MAX_BLOCK)
            if form.of(manifest).input_root(data) != asked.input_root:
                raise DigestMismatch("the bytes of the input are not those that were asked about")
            texts = inputs.texts_of(data, manifest, self._fetch)
            return {"kind": input_kind(manifest)} | payloads.seen(
                PreparedInput(data, asked.input_root, {}, texts), manifest
            )

        return self._json(act)

    def answer(self, request_id: str) -> Response:
        """Return an answer's numbers; their digest is the one on the chain."""

        def act() -> dict[str, Any]:
            info = requests.show(self._network, parse_request_id(request_id))
            manifest = models.manifest(self._network, info.model_id, info.version)
            answer, data = inference.answer(self._network, info, manifest)
            root = "0x" + answer.output_root.hex()
            cost = info.bill.used if info.bill else info.fee
            shown = payloads.answered(data, manifest)
            return {**shown, "root": root, "cid": info.output_cid, "cost": cost}

        return self._json(act)

    def account(self, address: str) -> Response:
        """Return what an account has, asked, and may decide."""
        return self._json(lambda: accounts.account(self._network, parse_address(address)))

    # ── Plumbing ────────────────────────────────────────────────────────────────────────────────
    def _fetch(self, entry: Any) -> Any:
        return quoting.fetch_file(self._network, entry, None)

    @staticmethod
    def _json(act: Callable[[], Mapping[str, Any]]) -> Response:
        try:
            return JSONResponse(act(), headers={"Cache-Control": "no-store"})
        except TallystickError as error:
            return problems.as_json(error)

    async def _with_body(
        self, request: Request, act: Callable[[bytes], Mapping[str, Any]]
    ) -> Response:
        try:
            data = await body_of(request)
        except TooLarge as error:
            return problems.as_json(error)
        return await run_in_threadpool(self._json, lambda: act(data))


def own_page(request: Request) -> None:
    """Refuse what another site's page sends with a visitor's cookies.

    Raises:
        Refused: the browser says that it comes from elsewhere.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused("questions are taken from this site's own page only")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("//")[2] != request.headers.get("host"):
        raise Refused("questions are taken from this site's own page only")
