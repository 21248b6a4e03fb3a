"""A chapter on data: three people bring some, a false valuation is convicted, the honest one pays.

```
  carol  clean images          credit, tier, deposit back, a share of every later fee
  dave   carol's, each moved   near-duplicates: every row cites hers; the deposit is burned
  erin   wrong labels          worth less than nothing: clamped; the deposit is burned
  victor values falsely        convicted by one transaction; vera does it right and is paid
```
Phases last a minute of the chain's time, which is moved on when nothing else is waiting.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from oracle.agents.valuation import checking
from oracle.agents.valuation.challenger import ValuationChallenger
from oracle.agents.valuation.report import Stand, ValuationReport
from oracle.agents.valuation.valuator import Valuator
from oracle.agents.worker_process import value_worker
from oracle.chain.bindings.data_credits import RevenueCredited
from oracle.demo import liars
from oracle.demo.answers import reading, test_image
from oracle.demo.asking import order, settle
from oracle.demo.opening import EXACT_WINDOW
from oracle.demo.report import DataFacts
from oracle.demo.stage import DemoContext
from oracle.ipfs import valuation_tables
from oracle.ipfs.valuation_tables import Index
from oracle.patience import Patience, busy
from oracle.protocol.training import TrainingData
from oracle.services import inference
from oracle.services.amounts import decimal, format_amount
from oracle.services.data import (
    advancing,
    contributions,
    files,
    listing,
    rounds,
    standing,
    valuator_stakes,
)
from oracle.services.data import sealed_rounds as valuations
from oracle.services.data.credits import format_credits
from oracle.services.data.rounds import RoundPhase
from oracle.services.event_history import topic
from oracle.types import Amount

CAROL, DAVE, ERIN = CONTRIBUTORS = ("carol", "dave", "erin")
LIAR, HONEST = VALUATORS = ("victor", "vera")
PEOPLE = (*CONTRIBUTORS, *VALUATORS)
FAULTS = {LIAR: "false-value", HONEST: ""}
CHALLENGER = "challenger"
MODEL = "exact"
LIFETIME = 600  # seconds: an answer that a loaded machine takes minutes for is still in time
IMAGE = 2  # of the test images: asked about at the end
REWARD = Amount(3 * 10**6)
PERIOD = 600  # seconds of the chain's time; it is moved on
PATIENCE = 120.0  # seconds in which nothing uses the processor
CLEAN, COPIED, FLIPPED, TEST = 120, 60, 90, 60  # images
STEP = 1 / 32  # of a pixel's shade; a copy is moved by one
NEAR = 4  # squared distance, in steps, within which a row repeats another


def value_data(stage: DemoContext) -> None:
    """Three people bring images; their worth is computed, disputed, settled."""
    with ExitStack() as running:
        round_id = _collect(stage)
        false = _valuator(stage, running, LIAR)
        _convict(stage, round_id, false)
        _value(stage, round_id, _valuator(stage, running, HONEST))
        _sell(stage)


def claim_share(stage: DemoContext) -> None:
    """What the model earned since belongs in part to who brought its data."""
    network, model_id = stage.network, stage.models[MODEL].model_id
    happened = network.history.read(network.credits.address, (RevenueCredited,), topic(model_id))
    earned = sum(h.event.amount for h in happened if isinstance(h.event, RevenueCredited))
    paid = standing.claim(network, stage.wallet(CAROL), model_id)
    stage.screen.tell(f"{CAROL} claimed {format_amount(paid.revenue)} of fees for her data")
    stage.expect(
        "the data share of a paid answer went to whose data was worth something",
        0 < paid.revenue <= earned <= paid.revenue + 1,  # a unit cannot be split
        f"{decimal(paid.revenue)} of {decimal(Amount(earned))}",
    )
    claimed = decimal(paid.revenue)
    stage.record.data = [replace(facts, claimed=claimed) for facts in stage.record.data]


# ── A round ─────────────────────────────────────────────────────────────────────────────────────
def _collect(stage: DemoContext) -> int:
    """Open a round, let three people contribute, seal it; valuators' workers start meanwhile."""
    network, model_id = stage.network, stage.models[MODEL].model_id
    for name in VALUATORS:
        settings = replace(stage.devnet.settings, operator=name, fault=FAULTS[name])
        stage.devnet.start_beside(name, [value_worker(settings)])
    written = _write(stage)
    schema = _schema()
    held = files.read([written["test"]], schema)
    plan = rounds.RoundPlan(
        row_tolerance=NEAR, test_tolerance=NEAR, max_contributions=8, max_rows=512, reward=REWARD,
        submit_period=PERIOD, reveal_period=PERIOD, test_period=PERIOD,
    )  # fmt: skip
    opened = rounds.open_round(
        network, stage.wallet("owner"), model_id, test=held, data=schema, plan=plan
    )
    round_id = opened.round_id
    stage.screen.tell(f"the owner opened a round for data; {held.rows} test images stay hidden")
    for name in CONTRIBUTORS:
        wallet = stage.wallet(name)
        prepared = contributions.prepare(network, wallet.address, model_id, [written[name]])
        contributions.submit(network, wallet, prepared)
        deposit = format_amount(prepared.deposit)
        stage.screen.tell(f"{name} committed to {prepared.data.rows} images, deposit {deposit}")
    for _ in ("reveal", "test set", "number"):
        stage.pass_time(PERIOD)
        advancing.advance(network, stage.wallet("owner"), round_id)
    info = rounds.show(network, round_id)
    stage.expect(
        "three data sets were revealed and numbered in the order of their commitments",
        info.phase is RoundPhase.VALUE and info.numbered == len(CONTRIBUTORS),
        info.phase,
    )
    return round_id


def _valuator(stage: DemoContext, running: ExitStack, name: str) -> Valuator:
    """A valuator stakes and begins to work."""
    network = stage.network
    valuator_stakes.stake(network, stage.wallet(name), network.valuations.config().stake)
    return running.enter_context(Valuator.of(network, stage.devnet.unlock(name), name))


def _convict(stage: DemoContext, round_id: int, liar: Valuator) -> None:
    """The first valuation is false; whoever computes it again convicts."""
    network = stage.network
    before = network.token.balance_of(stage.address(CHALLENGER))
    _work(stage, liar, f"{LIAR} values the round", partial(_published, stage, round_id, 1))
    with ExitStack() as running:
        challenger = _challenger(stage, running)
        report = challenger.settle_round(round_id, _patience().over, partial(time.sleep, 0.02))
    stage.expect(f"{LIAR} is convicted", report.stand is Stand.CONVICTED, report.stand)
    assert report.fault is not None
    fault, gas = report.fault, max(receipt.gas_used for receipt in report.transactions)
    stage.screen.tell(f"{LIAR}'s valuation is false: fault {fault.code}", "bold")
    stage.screen.fact("where", f"running sum of row {fault.i}, test image {fault.t}")
    stage.screen.fact("proof", f"one transaction, {gas:,} gas")
    gained = network.token.balance_of(stage.address(CHALLENGER)) - before
    stake = network.valuations.config().stake
    stage.expect(
        "the challenger has half of the stake", gained == stake // 2, decimal(Amount(gained))
    )
    stage.expect("a proof takes at most 400,000 gas", gas <= 400_000, gas)
    stage.expect(
        f"{LIAR} has no stake left and the round is wanted again",
        network.valuations.seat_of(stage.address(LIAR)).staked == 0
        and not network.valuations.case_of(round_id).published,
    )
    stage.record.data.append(
        DataFacts(
            round_id=round_id,
            convicted=LIAR,
            fault=fault.code,
            proof_gas=gas,
            bounty=decimal(Amount(gained)),
            burned=decimal(Amount(stake - stake // 2)),
        )
    )


def _value(stage: DemoContext, round_id: int, honest: Valuator) -> None:
    """The second valuation is right; it is settled, and everybody gets what is theirs."""
    network = stage.network
    _work(stage, honest, f"{HONEST} values the round", partial(_published, stage, round_id, 2))
    with ExitStack() as running:
        report: ValuationReport = _challenger(stage, running).step(round_id)
    stage.expect(f"computed again, {HONEST}'s valuation is right", report.stand is Stand.RIGHT)
    said = valuations.published(network, round_id)
    _show(stage, valuation_tables.fetch_index(network.ipfs, said.cid))
    before = network.token.balance_of(stage.address(HONEST))
    stage.pass_time(network.valuations.config().challenge_window)
    _work(stage, honest, f"{HONEST} settles", lambda: not honest.cycle())
    paid = Amount(network.token.balance_of(stage.address(HONEST)) - before)
    fees = len(CONTRIBUTORS) * network.data_rounds.config().fee
    stage.expect(f"{HONEST} has the reward and the fees", paid == REWARD + fees, decimal(paid))
    valuator_stakes.unstake(network, stage.wallet(HONEST), network.valuations.config().stake)
    advancing.advance(network, stage.wallet("owner"), round_id)
    _credit(stage, round_id, paid)


def _credit(stage: DemoContext, round_id: int, paid: Amount) -> None:
    network, model_id = stage.network, stage.models[MODEL].model_id
    found = listing.list_contributions(network, round_id)
    held = [standing.standing(network, model_id, one.owner) for one in found]
    rows = [
        (
            stage.name_of(one.owner), one.rows, format_credits(one.credit or 0),
            info.tier, "lost" if one.lost else "back",
        )
        for one, info in zip(found, held, strict=True)
    ]  # fmt: skip
    stage.screen.table(("contributor", "images", "credit", "tier", "deposit"), rows)
    credits = dict(zip(CONTRIBUTORS, (info.credits for info in held), strict=True))
    stage.expect(f"{CAROL} earned credit and a tier", credits[CAROL] > 0 and held[0].tier > 0)
    stage.expect(
        "near-duplicates and wrong labels earned nothing, and their deposits are lost",
        credits[DAVE] == credits[ERIN] == 0 and [one.lost for one in found] == [False, True, True],
    )
    stage.record.data = [
        replace(
            facts,
            paid=decimal(paid),
            credits={name: format_credits(value) for name, value in credits.items()},
        )
        for facts in stage.record.data
    ]


def _sell(stage: DemoContext) -> None:
    """One more answer is paid: from now on data has a part in every fee."""
    image, _ = test_image(stage, IMAGE)
    ordered = order(
        stage, MODEL, f"test image {IMAGE}", json.dumps([image]), liars.HONEST, priority=LIFETIME,
        lifetime=LIFETIME,
    )  # fmt: skip
    inference.wait(stage.network, ordered.request_id, timeout=busy(os.getpid(), PATIENCE))
    stage.pass_time(EXACT_WINDOW)
    settle(stage, ordered, lambda answer: reading(stage, IMAGE, answer))


def _show(stage: DemoContext, index: Index) -> None:
    """Show values before they are clamped, and what other methods say."""
    one, many = (index.opinions.get(name) for name in ("leave_one_out", "data_shapley"))
    per = index.valuation.T << 40
    rows = [
        (
            name, f"{index.totals[c] / per:+.4f}", f"{index.values[c] / per:.4f}",
            f"{one[c]:+.4f}" if one else "", f"{many[c]:+.4f}" if many else "",
        )
        for c, name in enumerate(CONTRIBUTORS)
    ]  # fmt: skip
    columns = ("in accuracy", "KNN-Shapley", "paid for", "leave one out", "Data Shapley")
    stage.screen.table(columns, rows)
    stage.expect(f"{ERIN}'s images harm, and are clamped", index.totals[2] < 0 == index.values[2])


# ── Helpers ─────────────────────────────────────────────────────────────────────────────────────
def _challenger(stage: DemoContext, running: ExitStack) -> ValuationChallenger:
    network = stage.network
    recompute = checking.Recomputer(network.settings)
    folder = network.settings.home / "challengers" / CHALLENGER / "valuations"
    made = ValuationChallenger(network, stage.devnet.unlock(CHALLENGER), recompute, folder)
    return running.enter_context(made)


def _published(stage: DemoContext, round_id: int, attempt: int) -> bool:
    case = stage.network.valuations.case_of(round_id)
    return case.published and case.attempt == attempt


def _work(stage: DemoContext, valuator: Valuator, what: str, done: Callable[[], bool]) -> None:
    """Let a valuator work until something is so."""
    patience = _patience()
    with stage.screen.working(what):
        while not done():
            if not valuator.cycle():
                time.sleep(0.02)
            if patience.over():
                stage.expect(f"{what} ends", False, f"not after {patience.elapsed:.0f} s")


def _patience() -> Patience:
    return busy(os.getpid(), PATIENCE)


def _schema() -> TrainingData:
    pixels = tuple(f"p{k}" for k in range(64))
    return TrainingData(columns=pixels, offset=(0.5,) * 64, scale=(STEP,) * 64)


def _write(stage: DemoContext) -> dict[str, Any]:
    """Write what each brings as a file: images of scikit-learn's digits."""
    samples = np.load(stage.folder / "samples.npz")
    images = samples["image"].reshape(len(samples["image"]), -1).astype(np.float64)
    labels = samples["labels"]
    half = len(images) // 2  # training images; those for testing follow
    copies = images[:COPIED].copy()
    copies[:, 20] += np.where(copies[:, 20] > 0.5, -STEP, STEP)
    flipped = slice(CLEAN, CLEAN + FLIPPED)
    parts = {
        CAROL: (images[:CLEAN], labels[:CLEAN]),
        DAVE: (copies, labels[:COPIED]),
        ERIN: (images[flipped], (labels[flipped] + 1) % 10),
        "test": (images[half : half + TEST], labels[half : half + TEST]),
    }
    folder = stage.folder / "data"
    folder.mkdir(exist_ok=True)
    for name, (x, y) in parts.items():
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return {name: folder / f"{name}.npz" for name in parts}
