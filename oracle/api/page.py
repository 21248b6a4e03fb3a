"""The web page inside the app, and who pays for what its visitors ask."""

import secrets
import threading
import time
from collections import OrderedDict
from contextlib import suppress

from fastapi import FastAPI

from oracle.api.state import AppState
from oracle.chain.outbox import AlreadyPending
from oracle.errors import Refused
from oracle.gateway import api_keys
from oracle.gateway.gateway import Gateway, NotYet, RequestFailed
from oracle.gateway.sponsor import Question
from oracle.services import inputs, quoting
from oracle.services.inference import Asked
from oracle.services.quoting import Ask
from oracle.services.receipts import Sent
from oracle.store.outbox import add_in
from oracle.types import Address, Amount, RequestId
from oracle.web import pages
from oracle.web.rendering import PageOptions
from oracle.web.sponsor import KeyExists

KEY = "page"  # name of the API key whose budget visitors spend
APPLICATION = "apply"  # kind of transaction
QUESTIONS = 100  # of one visit
_VISITS = 4096  # that are remembered
_PATIENCE = 30.0  # seconds until a request is on the chain


class PageSponsor:
    """Implements the page's port over the gateway: one sender for the page and for REST."""

    def __init__(self, gateway: Gateway, budget: Amount, questions: int = QUESTIONS) -> None:
        """Take the gateway; `budget` is that of a new key, one that is there keeps its own."""
        self._gateway = gateway
        self._key = api_keys.own(gateway.store, KEY, budget)
        self._questions = questions
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def address(self) -> Address:
        """The requester that the chain will see."""
        return self._gateway.address

    def left(self, visit: str) -> int:
        """Return how many questions a visit may still ask."""
        with self._lock:
            return self._questions - self._asked.get(visit, 0)

    def apply(self, model_id: int, note: str) -> None:
        """Apply for access in the gateway's name.

        Raises:
            ContractError: the model takes no applications, or has one already.
        """
        gateway = self._gateway
        call = gateway.network.access.submit_application(model_id, note)
        gas = gateway.sender.gas_of(call)
        ticket = RequestId(model_id.to_bytes(32))
        with gateway.store.begin() as tx, suppress(AlreadyPending):
            add_in(tx, APPLICATION, [ticket], call, gas=gas, estimated_at=time.time())
        gateway.dispatcher.wake()

    def mint(self, name: str, budget: Amount, replacing: str = "") -> str:
        """Make an API key of this gateway, or renew it; return its secret.

        Raises:
            KeyExists: there is a key of that name.
            KeyRefused: `replacing` is not the mark of its secret.
        """
        store = self._gateway.store
        if replacing:
            return api_keys.renew(store, name, replacing)
        if mark := api_keys.mark(store, name):
            raise KeyExists(mark)
        return api_keys.mint(store, name, budget).secret

    def ask(self, visit: str, ask: Ask) -> Asked:
        """Ask in the gateway's name.

        Raises:
            Refused: the visit has used up its questions, or the budget is spent.
            InputInvalid, NotFound, ContractError: as for any client.
        """
        if self.left(visit) <= 0:
            raise Refused(
                f"this visit has asked its {self._questions} sponsored questions",
                hint="connect a wallet to go on",
            )
        gateway, model = self._gateway, ask.model
        listing = gateway.catalogue.find(str(model.model_id), str(model.version or ""))
        manifest = listing.manifest
        prepared = inputs.prepare(
            ask.source,
            manifest,
            lambda entry: quoting.fetch_file(gateway.network, entry, None),
            bytes,
        )
        # Each click is a question of its own: the key is that of all visitors
        click = secrets.token_hex(16)
        question = Question(listing, prepared, manifest.pack_params(ask.params), click)
        ticket = gateway.sponsor.accept(self._key, question)
        with self._lock:
            self._asked[visit] = self._asked.pop(visit, 0) + 1
            while len(self._asked) > _VISITS:
                self._asked.popitem(last=False)
        deadline = time.monotonic() + _PATIENCE
        while (outcome := gateway.dispatcher.outcome(ticket.id)) is None:
            if time.monotonic() > deadline:
                raise NotYet("the request is not on the chain yet", ticket.id)
            time.sleep(0.005)
        if outcome.request_id is None:
            raise RequestFailed(f"the request was refused: {outcome.error}")
        sent = Sent("request an answer", outcome.transaction, outcome.block or 0, 0)
        return Asked(outcome.request_id, ticket.fee, listing.operator, sent)


def mount(app: FastAPI, state: AppState, budget: Amount | None, options: PageOptions) -> None:
    """Add the page; with a budget its visitors can ask without a wallet."""
    sponsor = None
    if state.gateway is not None and budget:
        sponsor = PageSponsor(state.gateway, budget)
    app.include_router(pages.router(state.network, options, sponsor))
