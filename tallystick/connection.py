"""A network as a Python program uses it: a thin layer over `oracle.services`, one wallet at most.

Amounts that go in are dollars (`"0.05"`, `Decimal`, `int`); amounts that come out are whole numbers
of 0.000001 dollar (`Amount`), of which `dollars` makes a `Decimal`. Times are seconds.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from oracle.agents.worker_process import run_module
from oracle.chain import deploy
from oracle.chain.bindings.model_access import Policy
from oracle.chain.rpc import Rpc
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.errors import (
    ConfigInvalid,
    InputInvalid,
    NotFound,
    did_you_mean,
)
from oracle.exact import form
from oracle.gateway import worker_progress
from oracle.protocol.search_index import FoundPassage
from oracle.services import (
    access,
    amounts,
    answer_check,
    balances,
    inference,
    model_history,
    models,
    operators,
    publishing,
    quoting,
    requests,
    wallets,
)
from oracle.services.answer_check import AnswerCheck
from oracle.services.balances import Balances
from oracle.services.channels import asking
from oracle.services.conversation import ChainPayment, ChannelPayment, Conversation
from oracle.services.inputs import PreparedInput
from oracle.services.model_files import compiling, model_check
from oracle.services.model_history import VerifiedHistory
from oracle.services.models import ModelDetail, ModelInfo, Selected, VersionInfo
from oracle.services.network import Network
from oracle.services.publishing import PublishedVersion, SaleTerms
from oracle.services.quoting import Ask, Prepayment, Quote
from oracle.services.receipts import Sent
from oracle.services.request_timeline import RequestInfo, RequestState
from oracle.services.search import answering, indexes
from oracle.services.search.answering import Knowledge, KnowledgeChat
from oracle.services.served_traces import EndpointTraces
from oracle.types import Address, Amount, Assurance, Offer, RequestId
from tallystick.answer import Answer
from tallystick.channel import PaidChannel
from tallystick.given import Input, source_of

if TYPE_CHECKING:
    from web3 import Web3
    from web3.contract import Contract

Dollars = str | int | Decimal


@dataclass(frozen=True, slots=True)
class Model:
    """A model with the terms of the version that is asked when none is named."""

    id: int
    name: str
    version: int | None  # None: nothing is published, or everything is retired
    fee: Amount | None  # of one answer, in 0.000001 dollar
    assurance: Assurance  # how a wrong answer is found out
    challenge_window: int  # seconds in which an answer can be challenged
    policy: Policy  # who may ask
    owner: Address


@dataclass(frozen=True, slots=True)
class Passages:
    """What an index has nearest to a question, and the paid answer that says so."""

    answer: Answer  # the embedding
    found: tuple[FoundPassage, ...]  # the nearest first; equal ones in the order of the index


def dollars(amount: int) -> Decimal:
    """Return whole numbers of 0.000001 dollar as dollars."""
    return Decimal(amounts.decimal(Amount(amount)))


def open_network(path: Path | None, given: Mapping[str, Any]) -> "Connection":
    """See `tallystick.connect`; `given` are settings that stand above all others when not empty."""
    is_file = path is not None and path.is_file()
    settings = Settings.load(os.environ, None if is_file else path, path if is_file else None)
    settings = replace(settings, **{name: value for name, value in given.items() if value})
    network = Network.open(settings)
    if not settings.key:
        return Connection(network)
    if not settings.password_file:
        raise ConfigInvalid(
            f"the wallet {settings.key} has a password and no file holds it",
            hint="say password_file=… or set TALLYSTICK_PASSWORD_FILE",
        )
    password = wallets.read_password(Path(settings.password_file))
    return Connection(network, network.wallet(settings.key, password))


class Connection:
    """An open network; use it as a context manager, or `close` it. Not for several threads.

    Attributes:
        network: what `oracle.services` take, for use cases that have no method here.
    """

    def __init__(self, network: Network, wallet: Wallet | None = None) -> None:
        self.network = network
        self._wallet = wallet

    @property
    def wallet(self) -> Wallet:
        """The wallet that signs.

        Raises:
            ConfigInvalid: the network was opened without one.
        """
        if self._wallet is None:
            raise ConfigInvalid(
                "this needs a wallet", hint="tallystick.connect(wallet=NAME, password_file=FILE)"
            )
        return self._wallet

    # ── Look ────────────────────────────────────────────────────────────────────────────────────
    def models(self) -> tuple[Model, ...]:
        """Return every registered model, oldest first."""
        return tuple(
            _model(info, models.versions(self.network, info.model_id))
            for info in models.list_models(self.network)
        )

    def model(self, model: int | str) -> ModelDetail:
        """Return a model with all versions and the manifest: inputs, outputs, parameters, labels.

        Args:
            model: id or name; `"NAME@3"` is version 3.

        Raises:
            NotFound: no such model or version. CidUnresolved: nobody serves the manifest.
        """
        return models.show(self.network, self._select(model))

    def requests(self, *, everybody: bool = False) -> tuple[RequestInfo, ...]:
        """Return the wallet's requests (or everybody's), oldest first, without timelines."""
        who = None if everybody else self.wallet.address
        return requests.list_requests(self.network, requester=who)

    def request(self, request: str | bytes | Answer) -> RequestInfo:
        """Return where a request stands, with everything that happened to it.

        Raises:
            NotFound: the market never logged it.
        """
        return requests.show(self.network, _id(request))

    # ── Ask ─────────────────────────────────────────────────────────────────────────────────────
    def quote(
        self,
        model: int | str,
        input: Input,
        *,
        params: Mapping[str, float] | None = None,
        max_fee: Dollars | None = None,
        operator: str = "",
        lifetime: int = quoting.LIFETIME,
    ) -> Quote:
        """Check everything that `ask` checks; return price, assurance and operator, spend nothing.

        Arguments and errors are those of `ask`.
        """
        return self._prepay(
            model, input, params=params, max_fee=max_fee, operator=operator, lifetime=lifetime
        ).quote

    def ask(
        self,
        model: int | str,
        input: Input,
        *,
        params: Mapping[str, float] | None = None,
        max_fee: Dollars | None = None,
        operator: str = "",
        lifetime: int = quoting.LIFETIME,
        timeout: float | None = None,
    ) -> Answer:
        """Ask a model, pay its fee from the prepaid balance, wait, and return the answer.

        Args:
            model: id or name; `"NAME@3"` is version 3.
            input: arrays or nested lists (a mapping by input name when the model has several
                inputs; numbers are converted when the wanted dtype holds them), a `str` or list of
                `str` for a model of sentences, a `Path` to a file, or a file's `bytes`: NPZ, NPY,
                safetensors, JSON or a picture.
            params: run-time parameters by name.
            max_fee: the most to pay in dollars; the fee as it is by default.
            operator: wallet name or address to be preferred; the scheduler chooses by default.
            lifetime: seconds after which a request without an answer can be refunded.
            timeout: seconds to wait; as long as the request can be answered by default.

        Raises:
            NotFound: no such model, version or operator that serves it.
            Refused, ContractError: too expensive, no access, rate limit, balance too low.
            InputInvalid: input or parameters do not fit the manifest.
            AnswerFailed: its operator cannot answer, and nobody else did so far.
            Unanswered: it expired, or `timeout` passed; `answer` waits again.
            DigestMismatch: the bytes are not those that were delivered.
        """
        wallet = self.wallet
        prepayment = self._prepay(
            model, input, params=params, max_fee=max_fee, operator=operator, lifetime=lifetime
        )
        with worker_progress.listening(self.network.settings) as heard:
            asked = inference.ask(self.network, wallet, prepayment)
            info = inference.wait(
                self.network,
                asked.request_id,
                timeout=timeout,
                since=asked.transaction.block,
                failure=heard.reason,
            )
        return self._answer(info, prepayment.prepared)

    def ask_many(
        self,
        model: int | str,
        inputs: Sequence[Input],
        *,
        params: Mapping[str, float] | None = None,
        max_fee: Dollars | None = None,
        operator: str = "",
        lifetime: int = quoting.LIFETIME,
        timeout: float | None = None,
    ) -> tuple[Answer, ...]:
        """Ask many inputs in one transaction, wait, and return the answers in the same order.

        All are asked or none: the contract refuses a batch as a whole. 64 inputs at most; other
        arguments and errors are those of `ask`.
        """
        wallet = self.wallet
        prepayments = [
            self._prepay(
                model, one, params=params, max_fee=max_fee, operator=operator, lifetime=lifetime
            )
            for one in inputs
        ]
        if not prepayments:
            return ()
        with worker_progress.listening(self.network.settings) as heard:
            asked = inference.ask_all(self.network, wallet, prepayments)
            infos = [
                inference.wait(
                    self.network, one.request_id, timeout=timeout, since=one.transaction.block,
                    failure=heard.reason,
                )
                for one in asked
            ]  # fmt: skip
        return tuple(
            self._answer(info, prepayment.prepared)
            for info, prepayment in zip(infos, prepayments, strict=True)
        )

    def channel(
        self, model: int | str, url: str = "", *, deposit: Dollars, limit: Dollars | None = None
    ) -> PaidChannel:
        """Return a payment channel to an operator's endpoint; `ask` then needs no transaction.

        Args:
            model: as for `ask`.
            url: of the operator's endpoint; by default what the operator of the cheapest offer
                announced on chain, or the next one's that can be reached.
            deposit: what the channel is opened with, and topped up with when it is used up.
            limit: of all deposits together; `deposit` by default.

        Raises:
            NotFound: no such model, nobody offers it at an endpoint, or `url` does not sell it.
            InputInvalid: `deposit` or `limit` is no amount, or `deposit` is 0.
            Unavailable: no endpoint can be reached.
        """
        step, most = _amount(deposit), _amount(deposit if limit is None else limit)
        if not step:
            raise InputInvalid(
                "a deposit of $0 opens no channel", hint="give what some answers cost together"
            )
        selected = self._select(model)
        version = models.current_version(self.network, selected)
        manifest = models.manifest(self.network, selected.model_id, version)

        def opened(offer: Offer, at: str) -> PaidChannel:
            return PaidChannel(
                self.network, self.wallet, offer, manifest, at,
                deposit=step, limit=most,
            )  # fmt: skip

        where = url or asking.ANNOUNCED
        return asking.open_at(self.network, selected.model_id, version, where, opened)

    def chat(
        self,
        model: int | str,
        *,
        system: str = "",
        params: Mapping[str, float] | None = None,
        max_fee: Dollars | None = None,
        channel: str = "",
        limit: Dollars | None = None,
    ) -> Conversation:
        """Return a chat with a model that writes text; each `say` is paid by itself.

        Args:
            model: as for `ask`.
            system: what the model is told beforehand.
            params: as for `ask`.
            max_fee: as for `ask`.
            channel: an endpoint's URL, an offer's id, or `"auto"`; "" = each is on the chain.
            limit: of all deposits into the channel; by default what 20 answers cost.

        Raises:
            NotFound: no such model. InputInvalid: it writes no text.
        """
        most = None if max_fee is None else _amount(max_fee)
        ask = Ask(self._select(model), None, params or {}, most)
        payment = (
            ChannelPayment(
                self.network, self.wallet, ask, channel, None if limit is None else _amount(limit)
            )
            if channel
            else ChainPayment(self.network, self.wallet, ask)
        )
        said = [{"role": "system", "content": system}] if system else []
        return Conversation(payment, ask, list(said))

    def search(
        self,
        index: str | PathLike[str],
        question: str,
        *,
        model: int | str,
        top: int = 5,
        max_fee: Dollars | None = None,
    ) -> Passages:
        """Find the passages of an index that are nearest to a question.

        The model makes one paid embedding of the question. Anyone who has its answer and the
        index finds the same passages.

        Args:
            index: CID of a published index, or a folder that `tallystick search build` wrote.
            question: a sentence or a few words.
            model: the model whose weights made the index.
            top: passages, 1 to 100.
            max_fee: as for `ask`.

        Raises:
            InputInvalid: `top` is another number. NotFound, CidUnresolved: nobody has the index.
            DigestMismatch: its files are not what it names, or the model has other weights.
            Others: as `ask`.
        """
        indexes.require_top(top)
        opened = indexes.open_index(self.network, str(index))
        indexes.require_model(self.network, opened.document, self._select(model))
        answer = self.ask(model, question, max_fee=max_fee)
        return Passages(answer, opened.find(answer.value.reshape(-1), top))

    def consult(
        self,
        talk: Conversation,
        knowledge: str | PathLike[str],
        *,
        embedder: int | str = "",
        top: int = answering.PASSAGES,
    ) -> KnowledgeChat:
        """Return a chat that answers from an index, and cites the passages that it was shown.

        Each `say` pays two answers: the embedding that finds the passages, and the text.

        Args:
            talk: what `chat` returned.
            knowledge: CID or folder of an index, or a folder of texts, of which one is made.
            embedder: the model whose weights made the index; found by these by default.
            top: passages that the model is shown, 1 to 100.

        Raises:
            KnowledgeRefused: the folder holds anything but texts.
            NotFound, DigestMismatch, InputInvalid: as `search`.
        """
        model = self._select(embedder) if embedder else None
        index = answering.open_knowledge(self.network, str(knowledge), model)
        return KnowledgeChat(talk, Knowledge(self.network, self.wallet, index, model, top=top))

    def answer(self, request: str | bytes, *, timeout: float | None = None) -> Answer:
        """Wait for the answer of a request that was made before.

        Raises:
            NotFound: no such request. Unanswered, DigestMismatch: as `ask`.
        """
        return self._answer(inference.wait(self.network, _id(request), timeout=timeout))

    def settled(
        self, request: str | bytes | Answer, *, timeout: float | None = None
    ) -> RequestInfo:
        """Wait until the challenge window has passed and the operator is paid.

        Raises:
            Unanswered: it was convicted or annulled, or `timeout` seconds passed.
        """
        return inference.wait(
            self.network, _id(request), until=RequestState.SETTLED, timeout=timeout
        )

    # ── Check ───────────────────────────────────────────────────────────────────────────────────
    def verify(self, request: str | bytes | Answer) -> AnswerCheck:
        """Re-execute an answer of an exact version; `right` is False when it differs.

        For a float model `verdict` is `COMMITTEE`: nobody can repeat it to the last bit.

        Raises:
            NotFound: no such request, or no answer yet.
            CidUnresolved: nobody serves input or version.
        """
        return answer_check.verify(self.network, _id(request), EndpointTraces())

    def verify_model(self, model: int | str) -> VerifiedHistory:
        """Recompute a model's history from events, and from every byte on IPFS.

        Raises:
            DigestMismatch: the first record or file that does not fit.
        """
        return model_history.verify(self.network, self._select(model).model_id)

    # ── Sell ────────────────────────────────────────────────────────────────────────────────────
    def publish(
        self,
        path: str | PathLike[str],
        *,
        fee: Dollars = "0.01",
        model: int | str | None = None,
        exact: bool = False,
        samples: str | PathLike[str] | None = None,
        missing: float | None = None,
        answer: Literal["prediction", "margin", "class"] = "prediction",
        challenge_window: int | None = None,
    ) -> PublishedVersion:
        """Publish a folder with `model.json`, or a file of another library (docs/importing.md).

        May be repeated after a failure.

        Args:
            path: the folder or file.
            fee: dollars for one answer.
            model: whose next version it is; the wallet's own model of the manifest's name, which
                is registered when there is none, by default.
            exact: compile to integers first, so that a contract can convict a wrong answer.
            samples: NPZ with inputs by name, which the model is held to; `samples.npz` in the
                folder by default.
            missing: of trees: XGBoost's `missing=`, besides NaN.
            answer: of trees: what the library predicts, its margins, or the place of the class.
            challenge_window: seconds in which an answer can be challenged; about 60 by default.

        Raises:
            NotFound, InputInvalid: the folder is not a model that can be published.
            Refused, ContractError: the model is another owner's, or the terms are out of range.
        """
        folder, run = Path(path), partial(run_module, self.network.settings)
        given = None if samples is None else Path(samples)
        if exact:
            told = compiling.CompileOptions(given, missing=missing, answer=answer)
            folder = compiling.compile_exact(folder, lambda *_: None, told).folder
        elif compiling.needs_import(folder):
            folder = compiling.import_as_onnx(run, folder, given, missing).folder
        sale = SaleTerms(fee=_amount(fee), challenge_window=challenge_window)
        model_id = None if model is None else self._select(model).model_id
        return publishing.publish(
            self.network,
            self.wallet,
            folder,
            sale,
            model_id=model_id,
            check=partial(model_check.check, run),
        )

    def authorize(self, model: int | str, operator: str) -> Sent:
        """Let an operator (wallet name or address) serve a model of this wallet."""
        model_id, who = self._select(model).model_id, self._resolve(operator)
        return operators.authorize(self.network, self.wallet, model_id, who)

    def grant(self, model: int | str, requester: str, *, lifetime: int | None = None) -> Sent:
        """Give a wallet (name or address) access for `lifetime` seconds, or for ever."""
        model_id, who = self._select(model).model_id, self._resolve(requester)
        return access.grant(self.network, self.wallet, model_id, who, lifetime=lifetime)

    # ── Money ───────────────────────────────────────────────────────────────────────────────────
    def balance(self, account: str = "") -> Balances:
        """Return what an account (wallet name or address; the wallet by default) has."""
        who = self._resolve(account) if account else self.wallet.address
        return balances.balances(self.network, who)

    def deposit(self, amount: Dollars) -> Balances:
        """Move dollars of the wallet into its prepaid balance, from which answers are paid.

        Raises:
            ContractError: the wallet has not so many.
        """
        balances.deposit(self.network, self.wallet, _amount(amount))
        return self.balance()

    def withdraw(self, amount: Dollars | None = None) -> Balances:
        """Pay dollars, or all, out of the prepaid balance.

        Raises:
            ContractError: the balance is smaller.
        """
        given = None if amount is None else _amount(amount)
        balances.withdraw(self.network, self.wallet, given, None)
        return self.balance()

    # ── web3.py ─────────────────────────────────────────────────────────────────────────────────
    @property
    def web3(self) -> "Web3":
        """web3.py on this network's node, with our time-outs and retries."""
        from oracle.chain.client import client  # noqa: PLC0415 - web3 takes 0.7 s to import

        return client(self.network.rpc)

    def contract(self, name: str) -> "Contract":
        """Return a contract of this network, "InferenceMarket" for example, as web3.py knows it.

        Raises:
            NotFound: there is none of that name.
        """
        from oracle.chain.client import contract  # noqa: PLC0415 - web3 takes 0.7 s to import

        places = deploy.addresses(self.network.contracts)
        if name not in places:
            raise NotFound(f"no contract is called {name}", hint=did_you_mean(name, places))
        return contract(self.network.rpc, name, places[name])

    # ── End ─────────────────────────────────────────────────────────────────────────────────────
    def close(self) -> None:
        """Close the connections to the node; may be called twice."""
        if isinstance(self.network.rpc, Rpc):
            self.network.rpc.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _select(self, model: int | str) -> Selected:
        return models.select(self.network, str(model))

    def _resolve(self, account: str) -> Address:
        return wallets.resolve(self.network.settings, account)

    def _prepay(
        self,
        model: int | str,
        given: Input,
        *,
        params: Mapping[str, float] | None,
        max_fee: Dollars | None,
        operator: str,
        lifetime: int,
    ) -> Prepayment:
        source, content = source_of(given)
        ask = Ask(
            model=self._select(model),
            source=source,
            params=params or {},
            max_fee=None if max_fee is None else _amount(max_fee),
            operator=self._resolve(operator) if operator else None,
            lifetime=lifetime,
        )
        return quoting.quote(self.network, self.wallet.address, ask, stdin=lambda: content)

    def _answer(self, info: RequestInfo, prepared: PreparedInput | None = None) -> Answer:
        manifest = models.manifest(self.network, info.model_id, info.version)
        found, data = inference.answer(self.network, info, manifest, prepared)
        return Answer(
            request_id="0x" + info.request_id.hex(),
            model_id=info.model_id,
            version=info.version,
            operator=found.operator,
            cost=found.bill.used if found.bill else Amount(0),
            units=found.bill.units if found.bill else 0,
            assurance=info.request.terms.assurance,
            state=info.state,
            output_root=found.output_root,
            outputs=form.of(manifest).decode_outputs(data),
            shown=found.outputs,
            outside=found.outside,
            _data=data,
            _manifest=manifest,
            _verify=self.verify,
        )


def _model(info: ModelInfo, versions: tuple[VersionInfo, ...]) -> Model:
    current = next((v for v in reversed(versions) if not v.retired), None)
    return Model(
        id=info.model_id,
        name=info.name,
        version=current.version if current else None,
        fee=current.fee if current else None,
        assurance=current.assurance if current else Assurance.NONE,
        challenge_window=current.challenge_window if current else 0,
        policy=info.policy,
        owner=info.owner,
    )


def _amount(given: Dollars) -> Amount:
    return amounts.parse_amount(format(given, "f") if isinstance(given, Decimal) else str(given))


def _id(request: str | bytes | Answer) -> RequestId:
    if isinstance(request, bytes):
        return RequestId(request)
    text = request.request_id if isinstance(request, Answer) else request
    return amounts.parse_request_id(text)
