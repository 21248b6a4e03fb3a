"""Routes of what a visitor's wallet does from the page: transactions to sign, files, API keys."""

from collections import OrderedDict
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any

from eth_account import Account
from eth_account.messages import encode_defunct
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from oracle.agents.worker_process import run_module
from oracle.chain import logs
from oracle.chain.bindings.inference_market import Deposited
from oracle.chain.rpc import hexbytes, quantity
from oracle.chain.transactions import Receipt, parse_receipt
from oracle.errors import InputInvalid, NotFound, Refused, TallystickError, TransientError
from oracle.protocol.manifest import Manifest
from oracle.services import folders, models
from oracle.services.amounts import format_amount, parse_address, parse_request_id
from oracle.services.documents import jsonable
from oracle.services.model_files import model_check
from oracle.services.model_files.model_check import ModelCheck
from oracle.services.network import Network
from oracle.types import Address
from oracle.web import problems, transactions
from oracle.web.actions import own_page
from oracle.web.drafts import Drafts
from oracle.web.rendering import PageOptions
from oracle.web.sponsor import KeyExists, VisitorSponsor
from oracle.web.transactions import Given

_KEPT = 32  # findings about models
_NAME = Annotated[str, Path(max_length=200)]


def router(network: Network, options: PageOptions, sponsor: VisitorSponsor | None) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/page", include_in_schema=False)
    drafts = Drafts(network.settings.home / "drafts")
    checks = _Checks(network)

    @routes.put("/drafts/{draft}/{path:path}", response_model=None)
    async def keep(request: Request, draft: str, path: _NAME) -> Response:
        """Keep a file of a draft."""
        try:
            own_page(request)
            if not options.uploads:
                raise Refused(
                    "this server takes no files from visitors",
                    hint="use the command line, or a server of your own",
                )
            size = await drafts.keep(draft, path, request.stream())
        except TallystickError as error:
            return problems.as_json(error)
        return JSONResponse({"size": size})

    @routes.post("/drafts/{draft}/check", response_model=None)
    async def check(
        request: Request, draft: str, name: Annotated[str, Query(max_length=64)] = ""
    ) -> Response:
        """Run a draft as an operator will, and say what a requester would see."""

        def run() -> Any:
            own_page(request)
            folder = drafts.folder(draft)
            if not (folder / folders.DESCRIPTION).exists():
                checks.describe(folder, name)
            described = folders.read(folder, lambda *_: None)
            holder = models.holder_of(network, described.name)
            return jsonable(checks(described, folder)) | {"holder": jsonable(holder)}

        try:
            return JSONResponse(await run_in_threadpool(run))
        except TallystickError as error:
            return problems.as_json(error)

    @routes.post("/transactions/{act}", response_model=None)
    async def transact(request: Request, act: str, account: str) -> Response:
        """Return what the account has to sign next."""

        def find() -> dict[str, Any]:
            own_page(request)
            values = dict(request.query_params)
            given = Given(values, _files(drafts, act, values), checks)
            call = transactions.next_call(network, act, parse_address(account), given)
            return transactions.described(call)

        try:
            return JSONResponse(await run_in_threadpool(find))
        except TallystickError as error:
            return problems.as_json(error)

    @routes.post("/keys", response_model=None)
    async def key(
        request: Request,
        transaction: str,
        signature: Annotated[str, Query(max_length=200)],
        replacing: Annotated[str, Query(max_length=64)] = "",
    ) -> Response:
        """Return an API key of the gateway for a deposit that the signer made into its balance.

        Where the deposit has its key already, `exists` is the mark of its secret: whoever paid and
        lost it signs that as well, and is given another secret in its place.
        """

        def mint() -> dict[str, Any]:
            own_page(request)
            if sponsor is None:
                raise Refused("this server asks for nobody, so it has no API keys")
            deposit = _deposit(network, sponsor.address, transaction)
            message = key_message(sponsor.address, transaction, replacing)
            if _signer(message, signature) != deposit.from_:
                raise Refused("this deposit was made by another account than signed")
            name = parse_request_id(transaction).hex()  # one spelling: a deposit makes one key
            try:
                secret = sponsor.mint(name, deposit.amount, replacing)
            except KeyExists as known:
                return {"exists": known.mark}
            return {"key": secret, "budget": format_amount(deposit.amount)}

        try:
            return JSONResponse(await run_in_threadpool(mint))
        except TallystickError as error:
            return problems.as_json(error)

    return routes


class DepositNotFinal(TransientError):
    """The block of a deposit may still be replaced: its money is not certain."""


class _Checks:
    """Runs models in worker processes; what was found of a manifest is kept for the next step."""

    def __init__(self, network: Network) -> None:
        self._run = partial(run_module, network.settings)
        self._found: OrderedDict[bytes, ModelCheck] = OrderedDict()

    def __call__(self, draft: Manifest, folder: FilePath) -> ModelCheck:
        name = draft.to_bytes()
        if name not in self._found:
            self._found[name] = model_check.check(self._run, draft, folder)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return self._found[name]

    def describe(self, folder: FilePath, name: str) -> None:
        """Write model.json from the only file there is.

        Raises:
            InputInvalid: there are several, or no format that is served.
        """
        weights = [one for one in folder.rglob("*") if one.is_file()]
        if len(weights) != 1:
            raise InputInvalid(
                f"there is no {folders.DESCRIPTION} among these {len(weights)} files",
                hint="send it along, or one file of weights and a name",
            )
        model_check.init(self._run, weights[0], name or weights[0].stem)


def key_message(gateway: Address, transaction: str, replacing: str = "") -> str:
    """Return what a wallet signs to be given the key of its deposit, or another in its place."""
    instead = f", in place of {replacing}" if replacing else ""
    return f"Tallystick: an API key of {gateway} for my deposit {transaction}{instead}"


def _files(drafts: Drafts, act: str, values: dict[str, str]) -> list[FilePath]:
    if not (draft := values.get("draft")):
        return []
    folder = drafts.folder(draft)
    return [folder] if act == "publish" else [p for p in folder.rglob("*") if p.is_file()]


def _deposit(network: Network, gateway: Address, transaction: str) -> Deposited:
    digest = parse_request_id(transaction)  # 32 bytes, as that is
    raw = network.rpc.call("eth_getTransactionReceipt", "0x" + digest.hex())
    receipt: Receipt | None = parse_receipt(raw) if raw else None
    if receipt is None or not receipt.succeeded:
        raise NotFound("this transaction is in no block, or was refused")
    head, depth = quantity(network.rpc.call("eth_blockNumber")), network.settings.finality_depth
    if receipt.block_number + depth > head:
        raise DepositNotFinal(f"the deposit counts when {depth} blocks stand on it")
    market = network.market
    for log in receipt.logs:
        event = logs.decode(log) if log.address == market.address else None
        if isinstance(event, Deposited) and event.account == gateway:
            return event
    raise InputInvalid(f"this transaction pays nothing to {gateway} in {market.address}")


def _signer(message: str, signature: str) -> Address:
    try:
        found = Account.recover_message(encode_defunct(text=message), signature=hexbytes(signature))
    except (ValueError, TypeError) as error:
        raise InputInvalid("this is no signature") from error
    return Address(found)
