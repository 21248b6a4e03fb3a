"""Chapters on trouble: weights are tampered with, an operator dies, nobody serves."""

import os
import time
from collections.abc import Callable

from oracle.chain.bindings.inference_market import Claimed
from oracle.demo import tamper
from oracle.demo.answers import ask_digit
from oracle.demo.asking import Ordered, order, settle
from oracle.demo.stage import DemoContext
from oracle.errors import TallystickError
from oracle.patience import busy
from oracle.services import model_history, requests
from oracle.services.amounts import format_amount
from oracle.store.job import AttemptFailure, JobState
from oracle.store.store import Store
from oracle.types import Amount, RequestId

PRIORITY = 3  # seconds in which only the operator that was named may deliver
LIFETIME = 600  # seconds: an answer that a loaded machine takes minutes for is still in time
PATIENCE = 30.0  # seconds


def tampered_weights(stage: DemoContext) -> Ordered:
    """One byte of a weight file changes in the store: the worker refuses, and so does `verify`."""
    model = stage.models["sentences"]
    weights = max(model.files, key=lambda file: file.size)
    repo = stage.devnet.ipfs_repo
    assert repo is not None
    with tamper.one_byte_changed(repo, stage.folder / "minilm" / weights.path):
        stage.screen.tell(f"one byte of {weights.path} was changed in the IPFS node's store")
        asked = order(
            stage, "sentences", "a word", '["tally"]', "alpha", priority=LIFETIME, lifetime=LIFETIME
        )
        failure = _await_failure(stage, "alpha", asked.request_id)
        stage.screen.tell(f"alpha reports {failure.error}: {failure.message}", "yellow")
        stage.expect(
            "alpha's worker refused the weights", failure.error == "DigestMismatch", failure.error
        )
        try:
            with stage.screen.working("tallystick model verify") as update:
                model_history.verify(
                    stage.network,
                    model.model_id,
                    progress=lambda _n, done, total: update(done, total),
                )
        except TallystickError as error:
            stage.refusal("tallystick model verify", error, "HistoryBroken")
            stage.expect(f"verify names {weights.path}", weights.path in str(error), error)
        else:
            stage.expect("verify finds the tampered file", False)
    verified = model_history.verify(stage.network, model.model_id)
    stage.expect("with the byte changed back everything fits", verified.bytes_checked)
    return asked


def operator_dies(stage: DemoContext) -> Ordered:
    """alpha is named, starts, and is killed; beta claims after the priority window and delivers.

    Returns a request that alpha alone may answer, made when it was dead.
    """
    network, requester = stage.network, stage.wallet("requester")
    # First what delivers: however fast alpha computes and however late we look, it dies in between
    stage.devnet.kill_operator("alpha", "submitter")
    asked, explain = ask_digit(stage, 2, "alpha", priority=PRIORITY, lifetime=LIFETIME)
    _await_job(stage, "alpha", asked.request_id)
    stage.devnet.kill_operator("alpha")
    stage.screen.tell("alpha had taken the request up and was killed")
    before = network.market.balance_of(requester.address)
    unserved, _ = ask_digit(stage, 3, "alpha", priority=PRIORITY, lifetime=PRIORITY)
    escrowed = Amount(before - network.market.balance_of(requester.address))
    stage.screen.tell(f"alpha alone may answer another; {format_amount(escrowed)} are in escrow")
    stage.expect("the fee left the balance", escrowed == unserved.fee > 0, escrowed)
    stage.reach(requests.show(network, asked.request_id).priority_until)
    info = settle(stage, asked, explain)
    claims = [moment for moment in info.timeline if moment.event == Claimed.__name__]
    stage.expect("beta claimed it after the priority window", len(claims) >= 1)
    stage.expect(
        "beta delivered and was paid", info.answered_by == stage.address("beta"), info.answered_by
    )
    return unserved


def nobody_serves(stage: DemoContext, *left: Ordered) -> None:
    """Requests that nobody answered expire, and the requester has everything back."""
    network, requester = stage.network, stage.wallet("requester")
    before = network.market.balance_of(requester.address)
    for asked in left:
        stage.reach(requests.show(network, asked.request_id).expires_at)
        _await_expiry(stage, asked.request_id)
        requests.cancel(network, stage.wallet("beta"), asked.request_id)
    after = network.market.balance_of(requester.address)
    stage.expect(
        "all of them were refunded to the last unit, cancelled by a stranger to them",
        after == before + sum(asked.fee for asked in left),
        f"{format_amount(before)} → {format_amount(after)}",
    )


def _await_failure(stage: DemoContext, operator: str, request_id: RequestId) -> AttemptFailure:
    """Wait for what an operator's worker reports, in the operator's own store."""
    store = Store.open(stage.devnet.store_url(operator))
    try:
        failures: list[AttemptFailure] = []

        def reported() -> bool:
            with store.read() as transaction:
                failures[:] = transaction.failures_of(request_id)
            return bool(failures)

        _until(stage, f"waiting for {operator}'s worker", reported)
        return failures[0]
    finally:
        store.close()


def _await_job(stage: DemoContext, operator: str, request_id: RequestId) -> None:
    """Wait until an operator has put a request on its queue."""
    store = Store.open(stage.devnet.store_url(operator))
    try:

        def taken_up() -> bool:
            with store.read() as transaction:
                job = transaction.job(request_id)
            return job is not None and job.state in (JobState.QUEUED, JobState.DELIVERING)

        _until(stage, f"waiting for {operator} to take it up", taken_up)
    finally:
        store.close()


def _await_expiry(stage: DemoContext, request_id: RequestId) -> None:
    _until(
        stage,
        "waiting for the request to expire",
        lambda: requests.show(stage.network, request_id).expired,
    )


def _until(stage: DemoContext, what: str, done: Callable[[], bool]) -> None:
    patience = busy(os.getpid(), PATIENCE)
    with stage.screen.working(what):
        while not done():
            if patience.over():
                stage.record.expect(f"{what} ends", False, f"not after {patience.elapsed:.0f} s")
            time.sleep(0.05)
