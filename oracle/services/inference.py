"""Asks a model and brings the answer back. What is checked beforehand is in `quoting.py`.

```
  ask                             wait                                     answer
  input to IPFS, a free lane, ─▶  requested ─▶ delivered ─▶ window ─▶  ─▶  bytes by CID, digest as
  `request` escrows the fee       settled                                  on chain, decoded
```
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oracle.chain.bindings.inference_market import Requested
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.errors import DigestMismatch, InputInvalid, PermanentError, TransientError
from oracle.exact import form
from oracle.exact.quantisation import Outside
from oracle.patience import Patience
from oracle.protocol import tensor
from oracle.protocol.manifest import Manifest
from oracle.services import outputs, requests
from oracle.services.amounts import format_amount, format_time
from oracle.services.inputs import PreparedInput
from oracle.services.metering import Bill
from oracle.services.network import Network
from oracle.services.outputs import Output
from oracle.services.quoting import Prepayment
from oracle.services.receipts import Sent, send
from oracle.services.request_timeline import RequestInfo, RequestState
from oracle.types import Address, Amount, Bytes32, RequestId, Say

POLL = 0.2  # seconds
MOST = 64  # requests of one transaction: some 6 M gas
_LANES = 16  # how often another process of the same wallet may take the lane before us


class AnswerFailed(PermanentError):
    """The operator reported that it cannot answer; the request stays open until it expires."""

    def __init__(self, message: str, *, hint: str = "", cause: str = "") -> None:
        """Take the name of the operator's error as `cause`; "" = it is not known."""
        super().__init__(message, hint=hint)
        self.cause = cause


class Unanswered(TransientError):
    """A request ended, or was waited for too long, without an answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is on the chain."""

    request_id: RequestId
    fee: Amount
    operator: Address
    transaction: Sent


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """An answer whose bytes have the digest that the chain names."""

    request_id: RequestId
    state: RequestState
    operator: Address
    output_root: Bytes32
    size: int
    outputs: tuple[Output, ...]
    bill: Bill | None  # None: it was refunded
    counted: int  # units that the output has; others than were delivered make the answer wrong
    outside: tuple[Outside, ...] = ()  # what of the input was clamped, where it is known here


# ── Ask ─────────────────────────────────────────────────────────────────────────────────────────
def ask(network: Network, wallet: Wallet, prepayment: Prepayment) -> Asked:
    """Publish the input and make the request: this escrows the fee.

    Raises:
        ContractError: the market refuses; nothing was spent.
        DigestMismatch: the node stored other bytes.
    """
    _publish(network, prepayment)
    start = 0
    bond = prepayment.quote.callback_bond
    for attempt in range(_LANES):
        lane = network.lens.free_lane(wallet.address, start)
        try:
            call = network.market.request(replace(prepayment.order, lane=lane), value=bond)
            sent, receipt = send(wallet, call)
        except ContractError as error:
            if error.name != "LaneBusy" or attempt == _LANES - 1:
                raise
            start = lane + 1  # another process of this wallet was faster
            continue
        event = receipt.one(Requested)
        return Asked(event.request_id, event.request.terms.fee, event.request.operator, sent)
    raise AssertionError("unreachable")


def ask_all(network: Network, wallet: Wallet, prepayments: Sequence[Prepayment]) -> list[Asked]:
    """Publish the inputs and make all requests in one transaction: this escrows their fees.

    Raises:
        ContractError: the market refuses one, so there is none; nothing was spent.
        InputInvalid: they are more than one transaction takes.
        DigestMismatch: the node stored other bytes.
    """
    if len(prepayments) > MOST:
        raise InputInvalid(
            f"{len(prepayments)} requests do not fit one transaction", hint=f"{MOST} at most"
        )
    for prepayment in prepayments:
        _publish(network, prepayment)
    start = 0
    for attempt in range(_LANES):
        orders = []
        for prepayment in prepayments:
            lane = network.lens.free_lane(wallet.address, start)
            orders.append(replace(prepayment.order, lane=lane))
            start = lane + 1
        try:
            sent, receipt = send(wallet, network.market.request_batch(orders))
        except ContractError as error:
            if error.name != "LaneBusy" or attempt == _LANES - 1:
                raise
            continue  # another process of this wallet was faster
        return [
            Asked(e.request_id, e.request.terms.fee, e.request.operator, sent)
            for e in receipt.all(Requested)
        ]
    raise AssertionError("unreachable")


def _publish(network: Network, prepayment: Prepayment) -> None:
    published = network.ipfs.publish_bytes(prepayment.prepared.data)
    if published.sha256 != tensor.digest(prepayment.prepared.data):
        raise DigestMismatch("the IPFS node names another digest for the input than its bytes have")


# ── Wait ────────────────────────────────────────────────────────────────────────────────────────
def wait(
    network: Network,
    request_id: RequestId,
    *,
    until: RequestState = RequestState.DELIVERED,
    timeout: float | Patience | None = None,
    since: int = 0,
    say: Say | None = None,
    failure: Callable[[RequestId], str | None] = lambda _: None,
) -> RequestInfo:
    """Wait until a request is answered (DELIVERED) or also paid (SETTLED).

    Args:
        timeout: seconds, or a patience; None = as long as the request can still come to that.
        since: block of the request, if known: nothing before it is read again and again.
        failure: returns what an operator said of a request that it cannot answer.

    Raises:
        AnswerFailed: the operator cannot answer, and nobody else did so far.
        Unanswered: it expired, was cancelled, convicted or annulled, or the time is over.
    """
    say, said = say or (lambda _: None), ""
    patience = Patience(timeout) if isinstance(timeout, int | float) else timeout
    while True:
        info = requests.show(network, request_id, since=since)
        text = _progress(info)
        if text != said:
            say(text)
            said = text
        if info.state is RequestState.SETTLED or (info.state is RequestState.DELIVERED is until):
            return info
        name = f"request 0x{request_id.hex()}"
        if not info.open:
            raise Unanswered(f"{name}: {info.state.value}", hint="the fee is in your balance")
        if info.expired:
            raise Unanswered(
                f"{name} expired without an answer",
                hint=f"`tallystick request cancel 0x{request_id.hex()}` brings the fee back",
            )
        if info.state is not RequestState.DELIVERED and (reason := failure(request_id)):
            raise AnswerFailed(
                f"{name} cannot be answered: {reason}",
                hint=f"unless another operator answers, "
                f"`tallystick request cancel 0x{request_id.hex()}` brings the fee back after "
                f"{format_time(info.request.expires_at)}",
            )
        if patience is not None and patience.over():
            raise Unanswered(
                f"{name} is not {until.name.lower()} after {patience.elapsed:.1f} s: "
                f"{info.state.value}",
                hint=f"look again with `tallystick request show 0x{request_id.hex()}`",
            )
        time.sleep(POLL)


# ── Answer ──────────────────────────────────────────────────────────────────────────────────────
def answer(
    network: Network,
    info: RequestInfo,
    manifest: Manifest,
    prepared: PreparedInput | None = None,
    top: int = 3,
) -> tuple[CheckedAnswer, bytes]:
    """Fetch an answer, compare its digest with the chain, decode it; return the bytes too.

    Args:
        prepared: the input, where it was made here.

    Raises:
        Unanswered: there is none yet. CidUnresolved: nobody serves the bytes.
        DigestMismatch: the bytes are not those that were delivered.
        InputInvalid: the bytes are not the outputs that the manifest names.
    """
    if info.output_cid is None or info.output_root is None or info.answered_by is None:
        raise Unanswered(f"request 0x{info.request_id.hex()}: {info.state.value}")
    data = network.ipfs.fetch_bytes(info.output_cid, manifest.max_output_bytes)
    if (found := form.of(manifest).output_root(data)) != info.output_root:
        raise DigestMismatch(
            f"the output's bytes have root 0x{found.hex()}, "
            f"0x{info.output_root.hex()} was delivered",
            hint=f"`tallystick request demand 0x{info.request_id.hex()}` obliges the operator",
        )
    shown = outputs.present(data, manifest, prepared.texts if prepared else (), top)
    return (
        CheckedAnswer(
            request_id=info.request_id,
            state=info.state,
            operator=info.answered_by,
            output_root=info.output_root,
            size=len(data),
            outputs=shown,
            bill=info.bill,
            counted=outputs.units(data, manifest),
            outside=prepared.outside if prepared else (),
        ),
        data,
    )


def _progress(info: RequestInfo) -> str:
    match info.state:
        case RequestState.REQUESTED:
            return f"requested, {format_amount(info.fee)} in escrow: waits for {info.operator}"
        case RequestState.CLAIMED:
            return f"claimed by {info.claim.operator if info.claim else '?'}"
        case RequestState.DELIVERED:
            final = format_time(info.final_at) if info.final_at else "?"
            return f"delivered by {info.answered_by}: final at {final}"
    return str(info.state.value)
