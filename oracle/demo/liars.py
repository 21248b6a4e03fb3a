"""Chapters on exact answers: one is right; two liars are convicted by a contract, each in its way.

```
  mallory  changes one byte, serves its trace   challenge ─▶ prove                       convicted
  oscar    changes one byte, shows nothing      challenge ─▶ (silence) ─▶ convictSilent  convicted
```
The challenger re-executes what others deliver; nobody told it who lies.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence

from oracle.agents.challenger.challenger import Challenger, folder_of
from oracle.agents.challenger.deliveries import Scope
from oracle.agents.challenger.engine import Budget
from oracle.chain.bindings.dispute_game import Turn
from oracle.chain.bindings.inference_market import BountyPaid, Convicted
from oracle.demo import gas
from oracle.demo.answers import reading, test_image
from oracle.demo.asking import Ordered, hexed, order, settle
from oracle.demo.opening import publish
from oracle.demo.report import ConvictionFacts
from oracle.demo.stage import DemoContext
from oracle.devnet.network import STAKE
from oracle.patience import busy
from oracle.services import answer_check, disputes, inference, operators
from oracle.services.amounts import decimal, format_amount
from oracle.services.answer_check import CheckOutcome
from oracle.services.builders import Build
from oracle.services.event_history import topic
from oracle.services.model_files.compiling import describe
from oracle.services.request_timeline import RequestState
from oracle.services.requests import show
from oracle.services.served_traces import EndpointTraces
from oracle.types import Amount, RequestId

SERVES, WITHHOLDS, CHALLENGER = "mallory", "oscar", "challenger"
FAULTS = {SERVES: "output-byte", WITHHOLDS: "output-byte,withhold"}
HONEST = "beta"
PATIENCE = 90.0  # seconds
LIFETIME = 600  # seconds: an answer that a loaded machine takes minutes for is still in time


def start(stage: DemoContext) -> None:
    """Start the processes of two more operators; nobody waits for them yet."""
    for name in FAULTS:
        stage.devnet.start_operator(name)


def publish_exact(stage: DemoContext, compiled: Build) -> None:
    """The owner publishes the CNN once more, as a program of integers."""
    with stage.screen.working("compiling the CNN to a program of integers") as update:
        folder = compiled.wait(update)
    report = json.loads(compiled.last_line)
    publish(stage, "exact", folder)
    stage.screen.tell(describe(report))
    accuracy = report["accuracy"]
    stage.expect(
        "it is right as often as the float model, within half a point",
        accuracy["correct_exact"] >= accuracy["correct_float"] - 0.005,
        accuracy,
    )
    model = stage.models["exact"]
    stage.expect(
        "the contract validated the program", stage.network.programs.is_program(model.model_root)
    )


def join(stage: DemoContext) -> None:
    """Two more operators register; what they do with answers is not to be seen from outside."""
    owner, model = stage.wallet("owner"), stage.models["exact"]
    for name in FAULTS:
        wallet = stage.wallet(name)
        operators.register(stage.network, wallet, stage.devnet.endpoint(name))
        operators.stake(stage.network, wallet, STAKE)
    for name in (HONEST, *FAULTS):
        operators.authorize(stage.network, owner, model.model_id, stage.address(name))
    stage.screen.tell(f"{' and '.join(FAULTS)} registered, staked, and are authorised")


def judge(stage: DemoContext) -> Ordered:
    """Three operators answer the same question; the challenger has the liars convicted.

    Returns the honest one's request, whose challenge window goes on.
    """
    asked = {name: _ask(stage, name) for name in (HONEST, *FAULTS)}
    with stage.screen.working("waiting for three answers"):
        for ordered in asked.values():
            inference.wait(stage.network, ordered.request_id, timeout=busy(os.getpid(), PATIENCE))
    traces = _traces()
    for name, ordered in asked.items():
        found = answer_check.verify(stage.network, ordered.request_id, traces)
        wanted = CheckOutcome.WRONG if name in FAULTS else CheckOutcome.RIGHT
        seen = found.output
        where = (
            f": element [{seen.row}, {seen.col}] is {seen.got}, not {seen.expected}" if seen else ""
        )
        stage.screen.tell(f"tallystick verify: {name}'s answer is {found.verdict.value}{where}")
        stage.expect(f"re-executing finds {name}'s answer {wanted.value}", found.verdict is wanted)
    convict(stage, {name: asked[name].request_id for name in FAULTS})
    for name in FAULTS:
        stage.devnet.dismiss_operator(name)
    return asked[HONEST]


def pay_honest(stage: DemoContext, ordered: Ordered) -> None:
    """The window of the honest answer passes without a challenge."""
    settle(stage, ordered, lambda answer: reading(stage, 0, answer))


def _traces() -> EndpointTraces:
    """Return what fetches traces; who serves one may be slow, who withholds it does not listen."""
    return EndpointTraces(timeout=LIFETIME, patience=LIFETIME)


def _ask(stage: DemoContext, operator: str) -> Ordered:
    image, _ = test_image(stage, 0)
    return order(
        stage, "exact", f"test image 0, asked of {operator}", json.dumps([image]), operator,
        priority=LIFETIME, lifetime=LIFETIME,
    )  # fmt: skip


def convict(stage: DemoContext, accused: Mapping[str, RequestId]) -> None:
    """Let the challenger play all games to their end; state what they cost and who was paid."""
    network, requester = stage.network, stage.wallet("requester").address
    balance = network.market.balance_of(requester)
    stakes = {name: network.operators.stake_of(stage.address(name)).staked for name in accused}
    with stage.screen.working(f"the challenger disputes what {' and '.join(accused)} answered"):
        _play(stage, list(accused.values()))
    owed = 0
    for name, request_id in accused.items():
        verdict = _verdict(stage, name, request_id)
        owed += verdict.refund + verdict.compensation
        lost = Amount(stakes[name] - network.operators.stake_of(stage.address(name)).staked)
        stage.screen.fact(
            "money",
            f"{format_amount(verdict.refund)} back to the requester and "
            f"{format_amount(verdict.compensation)} on top, {format_amount(verdict.bounty)} to the "
            f"challenger, "
            f"{format_amount(verdict.burned)} burned: {format_amount(lost)} of {name}'s stake",
        )
        stage.expect(
            f"all of it comes out of {name}'s stake",
            lost == verdict.compensation + verdict.bounty + verdict.burned > 0,
        )
    stage.expect(
        "the requester has the fees back and the insured amounts on top",
        network.market.balance_of(requester) == balance + owed,
    )


def _verdict(stage: DemoContext, name: str, request_id: RequestId) -> Convicted:
    """State how one game went; return what the market ruled."""
    network, about = stage.network, topic(request_id)
    info = show(network, request_id)
    stage.expect(f"{name} is convicted", info.state is RequestState.CONVICTED, info.state)
    ruled = network.history.read(network.market.address, (Convicted, BountyPaid), about)
    (verdict,) = [h.event for h in ruled if isinstance(h.event, Convicted)]
    paid = {h.event.account for h in ruled if isinstance(h.event, BountyPaid)}
    moves = _moves(stage, request_id)
    stage.record.convictions.append(
        ConvictionFacts(
            request_id=request_id,
            operator=name,
            verdict=verdict.verdict.name,
            transactions=tuple(
                {"function": m.function, "sender": m.sender, "hash": m.hash, "gas": m.gas_used}
                for m in moves
            ),
            refund=decimal(verdict.refund),
            compensation=decimal(verdict.compensation),
            bounty=decimal(verdict.bounty),
            burned=decimal(verdict.burned),
        )
    )
    stage.screen.tell(f"{name} is convicted: {verdict.verdict.name}", "bold")
    stage.screen.table(
        ("transaction", "by", "gas"), [(m.function, m.sender, f"{m.gas_used:,}") for m in moves]
    )
    stage.screen.fact("request", hexed(request_id))
    stage.expect("the challenger has the bounty", paid == {stage.address(CHALLENGER)}, paid)
    if name == SERVES:
        stage.expect("it took two transactions", len(moves) == 2, [m.function for m in moves])
    return verdict


def _moves(stage: DemoContext, request_id: RequestId) -> list[gas.MinedTransaction]:
    """Return the transactions of one game, oldest first."""
    moves = stage.network.history.read(stage.network.game.address, (), topic(request_id))
    hashes = {hexed(move.tx_hash) for move in moves}
    mined = gas.read(stage.network, stage.devnet.accounts)
    return [used for used in mined if used.hash in hashes]


def _play(stage: DemoContext, requests: Sequence[RequestId]) -> None:
    """Run the challenger, as `tallystick challenger run` does, until the games are over."""
    opened = Challenger(
        stage.network,
        stage.devnet.unlock(CHALLENGER),
        _traces(),
        folder=folder_of(stage.network, CHALLENGER),
        scope=Scope(requests=tuple(requests)),
        budget=Budget(),
    )
    patience = busy(os.getpid(), PATIENCE)

    def look() -> bool:  # who is asked for what it withholds says nothing until it is too late
        waiting = disputes.list_games(stage.network, stage.address(CHALLENGER))
        for game in waiting:
            if game.turn in (Turn.TRACE, Turn.NODE, Turn.STEP) and len(waiting) == 1:
                stage.reach(game.deadline)
        return patience.over()

    with opened as running:
        running.run(look, time.sleep, stage.devnet.settings.poll_interval)
        running.report()  # withdraws
