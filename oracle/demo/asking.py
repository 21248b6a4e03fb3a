"""How the demo's requester asks, waits and checks: the steps that several chapters share."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from oracle.chain.bindings.inference_market import Finalized
from oracle.demo.report import AnswerFacts
from oracle.demo.stage import DemoContext
from oracle.exact import form
from oracle.patience import busy
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from oracle.services import inference, quoting
from oracle.services.amounts import decimal, format_amount
from oracle.services.event_history import topic
from oracle.services.inference import CheckedAnswer
from oracle.services.models import Selected
from oracle.services.quoting import Ask, Prepayment
from oracle.services.request_timeline import RequestInfo, RequestState
from oracle.types import ZERO_ADDRESS, Amount, RequestId

PATIENCE = 120.0  # seconds in which nothing uses the processor

Explain = Callable[[CheckedAnswer], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Ordered:
    """A request of the demo."""

    what: str
    request_id: RequestId
    fee: Amount
    prepayment: Prepayment
    asked_at: float  # of the monotonic clock


def order(
    stage: DemoContext,
    key: str,
    what: str,
    source: str,
    operator: str,
    *,
    priority: int,
    lifetime: int,
) -> Ordered:
    """Ask a model; `operator` "" prefers nobody."""
    network, requester = stage.network, stage.wallet("requester")
    model = stage.models[key]
    ask = Ask(
        model=Selected(model.model_id, model.version),
        source=source,
        operator=stage.address(operator) if operator else ZERO_ADDRESS,
        priority=priority,
        lifetime=lifetime,
    )
    prepayment = quoting.quote(network, requester.address, ask, stdin=bytes)
    begun = time.monotonic()
    asked = inference.ask(network, requester, prepayment)
    whom = f"{operator} for {priority} s" if operator else "whoever claims it"
    stage.screen.tell(
        f"requester asks {model.name} about {what}: {format_amount(asked.fee)} in escrow, {whom}"
    )
    return Ordered(what, asked.request_id, asked.fee, prepayment, begun)


def settle(stage: DemoContext, ordered: Ordered, explain: Explain) -> RequestInfo:
    """Wait for delivery and settlement, fetch the answer again, recompute its digest, show all.

    Args:
        explain: says in lines what the answer means; may state expectations of its own.
    """
    network = stage.network
    with stage.screen.working(f"{ordered.what}: waiting for the answer"):
        info = inference.wait(network, ordered.request_id, timeout=busy(os.getpid(), PATIENCE))
    delivered = time.monotonic() - ordered.asked_at
    with stage.screen.working(f"{ordered.what}: the challenge window passes"):
        stage.reach(info.final_at or 0)
        info = inference.wait(
            network,
            ordered.request_id,
            until=RequestState.SETTLED,
            timeout=busy(os.getpid(), PATIENCE),
        )
    settled = time.monotonic() - ordered.asked_at
    prepayment = ordered.prepayment
    answer, data = inference.answer(network, info, prepayment.manifest, prepayment.prepared)
    assert info.output_root is not None
    assert info.output_cid is not None
    recomputed = form.of(prepayment.manifest).output_root(data)
    paid = _shares(stage, ordered.request_id)
    shown = tuple(explain(answer))
    located = raw_cid(tensor.digest(prepayment.prepared.data))
    stage.record.answers.append(
        AnswerFacts(
            what=ordered.what,
            request_id=ordered.request_id,
            model=prepayment.quote.name,
            operator=stage.name_of(answer.operator),
            input_root=prepayment.order.input_root,
            input_cid=located,
            output_root=info.output_root,
            output_recomputed=recomputed,
            output_cid=info.output_cid,
            fee=decimal(info.fee),
            shares={name: decimal(amount) for name, amount in paid.items()},
            seconds={"delivered": round(delivered, 2), "settled": round(settled, 2)},
            shown=shown,
        )
    )
    screen = stage.screen
    screen.tell(f"{prepayment.quote.name} answered by {stage.name_of(answer.operator)}", "bold")
    for line in shown:
        screen.tell(line)
    screen.fact("request", hexed(ordered.request_id))
    screen.fact("input", located)
    screen.fact("output", info.output_cid)
    screen.fact("digest on chain", hexed(info.output_root))
    screen.fact("digest of the bytes", hexed(recomputed))
    shares = ", ".join(f"{name} {decimal(amount)}" for name, amount in paid.items())
    screen.fact("fee", f"{format_amount(info.fee)}: {shares}")
    screen.fact("took", f"{delivered:.1f} s to delivery, {settled:.1f} s to settlement")
    stage.expect("the output has the digest that the chain names", recomputed == info.output_root)
    stage.expect("the shares add up to the fee", sum(paid.values()) == info.fee)
    return info


def hexed(value: bytes) -> str:
    """Write bytes as 0x-hex."""
    return "0x" + value.hex()


def _shares(stage: DemoContext, request_id: RequestId) -> dict[str, Amount]:
    """Read what settlement paid to whom."""
    network = stage.network
    (happened,) = network.history.read(network.market.address, (Finalized,), topic(request_id))
    event = happened.event
    assert isinstance(event, Finalized)
    return {
        "operator": event.operator_fee,
        "owner": event.owner_fee,
        "data": event.data_fee,
        "protocol": event.protocol_fee,
    }
