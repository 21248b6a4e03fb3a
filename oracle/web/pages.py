"""The pages themselves: each asks the services, and a template shows what they say.

`router` returns everything that the page consists of, for an application to include.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from oracle.chain.bindings.inference_market import Delivered
from oracle.chain.bindings.model_access import GrantStatus, Policy
from oracle.errors import NotFound, TallystickError
from oracle.services import access, amounts, disputes, models, operators, requests
from oracle.services.amounts import parse_address, parse_request_id
from oracle.services.channels import endpoints, offers
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.operators import OperatorInfo
from oracle.services.request_timeline import LIFE, RequestInfo, detail
from oracle.types import Address, Amount, Assurance, Bytes32
from oracle.web import acting, actions, bytes_served, payloads, problems, receipts, rounds, snippets
from oracle.web.knowledge import OPTION
from oracle.web.locale import LANGUAGES
from oracle.web.names import Names
from oracle.web.rendering import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    PageOptions,
    Renderer,
    visitor,
)
from oracle.web.sponsor import VisitorSponsor
from oracle.web.views import Views, input_kind

SEED = "seed"  # of a chat: the page draws one for each question
SUGGESTED = 20  # answers that a channel of the page holds, unless the visitor says something else
_YEAR = 365 * 86400
_ANSWERS = 10  # of an operator that are shown
Version = Annotated[int | None, Query(ge=1, lt=2**24)]
Page = Callable[..., Response]


def router(
    network: Network, options: PageOptions | None = None, sponsor: VisitorSponsor | None = None
) -> APIRouter:
    """Return the routes of the page.

    Args:
        network: the network.
        options: how browsers reach the chain and IPFS; by default they use their own wallets.
        sponsor: pays for visitors' questions; None = they need a wallet.
    """
    options = options or PageOptions()
    names = Names(network.settings, network.contracts)
    renderer = Renderer(options, network.contracts, names, sponsor.address if sponsor else "")
    pages = _Pages(network, Views(network), renderer, sponsor)
    routes = APIRouter(include_in_schema=False)
    for path, endpoint in (
        ("/", pages.models),
        ("/models/{model_id}", pages.model),
        ("/models/{model_id}/try", pages.attempt),
        ("/requests/{request_id}", pages.proof),
        ("/operators", pages.operators),
        ("/operators/{address}", pages.operator),
        ("/data", pages.data),
        ("/data/{round_id}", pages.round),
        ("/receipts", pages.receipts),
        ("/account", pages.account),
        ("/publish", pages.publish),
        ("/preferences", pages.preferences),
    ):
        routes.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    routes.include_router(receipts.router(network))
    routes.include_router(bytes_served.router(network, options))
    routes.include_router(actions.router(network, options, sponsor))
    routes.include_router(acting.router(network, options, sponsor))
    return routes


def _shown(page: Page) -> Page:
    """Show a `TallystickError` as a page."""

    @functools.wraps(page)
    def wrapped(self: "_Pages", request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            return page(self, request, *args, **kwargs)
        except TallystickError as error:
            return problems.as_page(self.renderer, request, error)

    return wrapped


class _Pages:
    """One method per page; they run in threads, since the services wait for the chain."""

    def __init__(
        self,
        network: Network,
        views: Views,
        renderer: Renderer,
        sponsor: VisitorSponsor | None,
    ) -> None:
        self.network, self.views, self.renderer = network, views, renderer
        self.sponsor = sponsor

    @_shown
    def models(
        self,
        request: Request,
        q: Annotated[str, Query(max_length=200)] = "",
        page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    ) -> Response:
        """Show all models, or those that fit a search."""
        listing = self.views.listing(q, page)
        return self.renderer.page(request, "models.html", listing=listing, search=q)

    @_shown
    def model(self, request: Request, model_id: str, version: Version = None) -> Response:
        """Show one model: history, terms, access, operators."""
        view = self.views.model(self._number(model_id), version)
        asked_by_key = bool(self.renderer.options.events)  # else nobody asks for clients here
        programs = {}
        if view.manifest is not None:
            base = str(request.base_url).rstrip("/") if asked_by_key else ""
            programs = snippets.snippets(base, view.model.model_id, view.manifest)
        return self.renderer.page(
            request, "model.html", view=view, programs=programs, asked_by_key=asked_by_key
        )

    @_shown
    def attempt(self, request: Request, model_id: str, version: Version = None) -> Response:
        """Show the form that asks a model."""
        view = self.views.model(self._number(model_id), version)
        if view.version is None or view.manifest is None:
            raise NotFound(f"model {model_id} cannot be tried: it has no manifest that can be had")
        number, version_number = view.model.model_id, view.version.version
        sellers = offers.list_offers(self.network, model_id=number)
        announced = [
            info
            for info in offers.announced(self.network, number, version_number)
            if endpoints.origin(self.network, info.endpoint)
        ]
        delay = self.network.channels.config().close_delay
        form = payloads.describe(number, view.version, view.manifest)
        form["sale"] = payloads.sale(announced[0], delay) if announced else None
        kind = input_kind(view.manifest)
        seeds = [limit for limit in view.limits if limit.name == SEED]
        form["knowledge"] = bool(view.manifest.runtime.options.get(OPTION))
        form["seeds"] = [seeds[0].minimum, seeds[0].maximum] if seeds else None
        return self.renderer.page(
            request,
            "chat.html" if kind == "chat" else "try.html",
            # Also of operators who sell no more: what a channel has left comes back through them
            origins=sorted({endpoints.origin(self.network, info.endpoint) for info in sellers}),
            view=view,
            kind=kind,
            limits=[limit for limit in view.limits if limit.name != SEED],
            steps={spec.name: 1 / spec.scale for spec in view.manifest.parameters},
            form=form,
            sellers=sellers,
            suggested=amounts.decimal(Amount(SUGGESTED * view.version.fee)),
            paid=self._paid(number),
        )

    def _paid(self, model_id: int) -> str:
        """Return what the site can do for visitors: ask, apply, wait (applied), or nothing."""
        if self.sponsor is None:
            return ""
        grant = access.of_wallet(self.network, model_id, self.sponsor.address)
        if grant.allowed:
            return "ask"
        if grant.status is GrantStatus.APPLIED:
            return "wait"
        policy = self.network.access.policy_of(model_id).policy
        open_to = policy is Policy.ON_REQUEST and grant.status is not GrantStatus.DENIED
        return "apply" if open_to else "closed"

    @_shown
    def proof(self, request: Request, request_id: str) -> Response:
        """Show one request and everything that proves it."""
        info = requests.show(self.network, parse_request_id(request_id))
        life = self.network.history.read(self.network.market.address, LIFE, topic(info.request_id))
        exact = info.request.terms.assurance is Assurance.EXACT
        dispute = disputes.show(self.network, info.request_id) if exact else None
        gas = self._receipts({moment.transaction for moment in info.timeline})
        return self.renderer.page(
            request,
            "proof.html",
            info=info,
            details=[detail(happened.event, visitor(request).t) for happened in life],
            model=models.info(self.network, info.model_id),
            dispute=dispute,
            gas=gas,
            now=self.network.history.now(),
            disputable=self.views.disputable(info.request.terms.assurance),
        )

    @_shown
    def operators(self, request: Request) -> Response:
        """Show everybody who registered."""
        every = operators.list_operators(self.network)
        return self.renderer.page(
            request, "operators.html", operators=every, model_names=self._model_names(every)
        )

    @_shown
    def operator(self, request: Request, address: str) -> Response:
        """Show one operator."""
        info = operators.status(self.network, parse_address(address))
        return self.renderer.page(
            request,
            "operator.html",
            operator=info,
            model_names=self._model_names([info]),
            answers=self._answers(info.operator),
        )

    @_shown
    def data(self, request: Request) -> Response:
        """Show all rounds, and the tiers."""
        return self.renderer.page(request, "data.html", **rounds.overview(self.network))

    @_shown
    def round(self, request: Request, round_id: str) -> Response:
        """Show one round."""
        found = rounds.one(self.network, self._number(round_id), visitor(request).t)
        model = models.info(self.network, found["round"].model_id)
        return self.renderer.page(request, "round.html", model=model, **found)

    @_shown
    def receipts(self, request: Request) -> Response:
        """Show the form that checks signed receipts of channels."""
        return self.renderer.page(request, "receipts.html")

    @_shown
    def account(self, request: Request) -> Response:
        """Show the page that a connected wallet fills."""
        return self.renderer.page(request, "account.html")

    @_shown
    def publish(self, request: Request) -> Response:
        """Show the form that publishes a model."""
        return self.renderer.page(request, "publish.html")

    def preferences(
        self, request: Request, theme: str = "", language: str = "", back: str = "/"
    ) -> Response:
        """Keep a choice in a cookie and go back; works without scripts."""
        local = back.startswith("/") and not back.startswith(("//", "/\\"))
        response = RedirectResponse(back if local else "/", 303)
        for name, value, known in (
            (THEME_COOKIE, theme, THEMES),
            (LANGUAGE_COOKIE, language, LANGUAGES),
        ):
            if value in known:
                response.set_cookie(
                    name,
                    value,
                    max_age=_YEAR,
                    samesite="lax",
                    httponly=True,
                    secure=self.renderer.options.secure,
                )
        return response

    def _model_names(self, infos: Sequence[OperatorInfo]) -> dict[int, str]:
        """Return the names of the models that operators serve."""
        numbers = sorted({number for info in infos for number in info.models})
        return {number: self.network.registry.name_of(number) for number in numbers}

    def _answers(self, operator: Address) -> list[RequestInfo]:
        """Return an operator's latest answers, newest first."""
        market = self.network.market.address
        found = self.network.history.read(market, (Delivered,), None, topic(operator))
        ids = [h.event.request_id for h in found if isinstance(h.event, Delivered)]
        return [requests.show(self.network, one) for one in reversed(ids[-_ANSWERS:])]

    def _receipts(self, transactions: set[Bytes32]) -> dict[Bytes32, int]:
        """Return the gas that each transaction used."""
        ordered = list(transactions)
        answers = self.network.rpc.batch(
            [("eth_getTransactionReceipt", "0x" + tx.hex()) for tx in ordered]
        )
        return {
            tx: int(answer["gasUsed"], 16)
            for tx, answer in zip(ordered, answers, strict=True)
            if isinstance(answer, dict)
        }

    @staticmethod
    def _number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > 15:
            raise NotFound(f"{text!r:.40} is not a number here")
        return int(text)
