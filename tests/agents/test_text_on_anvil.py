"""A text on a chain: asked at a cap, written and paid by its tokens, and what a committee finds."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import structlog

from oracle.agents.committee.member import CommitteeMember
from oracle.agents.committee.vote_worker import VoteOpinion
from oracle.chain.bindings.committee import Finding, Stage
from oracle.chain.bindings.inference_market import Requested
from oracle.chain.wallet import Wallet
from oracle.protocol import tensor, text
from oracle.protocol.cid import raw_cid
from oracle.queue.messages import InferMessage
from oracle.services import balances, committee, inference, models, quoting, requests
from oracle.services.conversation import ChainPayment, Conversation
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from oracle.services.request_timeline import RequestState
from oracle.types import NO_CLAIM, ZERO32, Amount, OperatorAnswer
from tests.agents.members import MEMBERS, committed, play, revealed, stage, to_voting
from tests.services.conftest import DOLLAR
from tests.support.waiting import wait_until
from tests.worker.text.conftest import model, weights, write_gemma
from worker.cache import FileCache
from worker.inputs import InputSource
from worker.models import ModelPool
from worker.pipeline import Pipeline
from worker.vote import VoteJob, find

__all__ = ["model", "weights"]
pytestmark = pytest.mark.real
MOST, TOKENS = 32, 12
PRICE = 32_000  # micro-dollars of an answer of MOST tokens


class Replaying:
    """A member's worker, without a process of its own."""

    def __init__(self, pool, ipfs):
        self._pool, self._ipfs = pool, ipfs

    def opinion(self, job):
        found = find(VoteJob.parse(job), self._pool, self._ipfs)
        return VoteOpinion(found.finding, found.output_digest, found.activation)

    def close(self):
        pass


@pytest.fixture
def market(world, weights, tmp_path):
    """Return a world that sells Gemma by the token, with three members."""
    for account in MEMBERS:
        wallet = Wallet(world.network.rpc, account)
        balances.fund(world.network, wallet.address, Amount(100 * DOLLAR))
        committee.enlist(world.network, wallet, Amount(30 * DOLLAR))
    world.pass_time(10)
    folder = write_gemma(weights, tmp_path / "gemma", most=MOST, tokens=TOKENS)
    sells = replace(world, folder=folder)
    sells.publish(fee=PRICE, challenge_window=600)
    sells.serve(1)
    sells.prepay(DOLLAR)
    return sells


@pytest.fixture
def pool(world, model, tmp_path, monkeypatch):
    log = structlog.get_logger()
    cache = FileCache(tmp_path / "cache", 2**30, world.ipfs, log)
    monkeypatch.setattr(model, "close", lambda: None)
    made = ModelPool(world.ipfs, cache, lambda *_: model, device="cpu", max_bytes=2**40, log=log)
    yield made
    made.close()


@pytest.fixture
def voters(market, pool, tmp_path):
    made = [
        CommitteeMember(market.network, account, Replaying(pool, market.ipfs), tmp_path / str(n))
        for n, account in enumerate(MEMBERS)
    ]
    yield made
    for voter in made:
        voter.__exit__(None, None, None)


@pytest.fixture
def written(market, pool):
    """Return a request, what was paid for, and the answer that the worker wrote to it."""
    network, ipfs = market.network, market.ipfs
    question = json.dumps({"prompt": "The capital of France is"})
    wanted = Ask(Selected(1, None), question, {"seed": 4})
    paid = quoting.quote(network, market.requester.address, wanted, stdin=lambda: b"")
    request_id = inference.ask(network, market.requester, paid).request_id
    outcome = work(market, pool, request_id)
    data = ipfs.fetch_bytes(raw_cid(outcome.output_root), 65536)
    return paid, request_id, outcome, text.decode_answer(tensor.decode(data, 65536))


def work(market, pool, request_id):
    """Write an answer as a worker does."""
    network, ipfs = market.network, market.ipfs
    request = requests.show(network, request_id).request
    record = models.record_of(network, request.model_id, request.version)
    job = InferMessage(
        request_id, 1, 1, record.manifest_digest, record.model_root, request.input_root,
        request.input_cid, request.params,
    )  # fmt: skip
    with ThreadPoolExecutor(2) as threads:
        line = Pipeline(ipfs, InputSource(ipfs, ipfs, threads), pool, threads, log=None)
        (outcome,) = line.run([job])
    return outcome


def deliver(market, request_id, root, units):
    request = requests.show(market.network, request_id).request
    answer = OperatorAnswer(root, ZERO32, units)
    market.operator.send(market.network.market.deliver(request, NO_CLAIM, answer))


def judged(market, voters, request_id):
    """Call the committee, let it vote, and return what it found."""
    to_voting(market, voters, request_id)
    play(voters, committed(market, request_id))
    market.pass_time(60)
    play(voters, revealed(market, request_id))
    market.pass_time(60)
    play(voters, lambda: stage(market, request_id) is Stage.CLOSED)
    return committee.show(market.network, request_id).finding


def test_text__written_by_a_worker__is_paid_by_its_tokens(market, written):
    paid, request_id, outcome, answer = written
    network, who = market.network, market.requester.address
    assert (paid.quote.fee, paid.quote.max_units) == (PRICE, MOST)
    assert network.market.balance_of(who) == DOLLAR - PRICE
    assert 1 <= outcome.units == len(answer.tokens) <= TOKENS
    deliver(market, request_id, outcome.output_root, outcome.units)
    info = requests.show(network, request_id)
    shown, _ = inference.answer(network, info, paid.manifest, paid.prepared)
    assert shown.counted == outcome.units
    market.pass_time(600)
    requests.finalize(network, market.stranger, [request_id])
    assert network.market.balance_of(who) == DOLLAR - PRICE * outcome.units // MOST


def test_chat__over_the_chain__costs_what_its_tokens_cost(market, pool):
    network = market.network

    def serve():
        found = []
        wait_until(
            lambda: (
                found.extend(network.history.read(network.market.address, (Requested,))) or found
            ),
            "the question",
        )
        outcome = work(market, pool, found[0].event.request_id)
        deliver(market, found[0].event.request_id, outcome.output_root, outcome.units)

    ask = Ask(Selected(1, None), None)
    talk = Conversation(ChainPayment(network, market.requester, ask), ask)
    with ThreadPoolExecutor(1) as operator:
        served = operator.submit(serve)
        found = talk.say("Hello")
        served.result()
    assert 0 < found.completion_tokens <= TOKENS
    assert talk.spent == found.cost == PRICE * found.completion_tokens // MOST


def test_text__honest__the_committee_finds_it_right(market, written, voters):
    _, request_id, outcome, _ = written
    deliver(market, request_id, outcome.output_root, outcome.units)
    assert judged(market, voters, request_id) is Finding.MATCH
    assert requests.show(market.network, request_id).state is not RequestState.CONVICTED


def test_text__another_word__convicted(market, written, voters):
    _, request_id, outcome, answer = written
    edited = replace(answer, content=answer.content + " indeed")
    root = market.ipfs.publish_bytes(tensor.encode(text.encode_answer(edited))).sha256
    deliver(market, request_id, root, outcome.units)
    assert judged(market, voters, request_id) is Finding.MISMATCH
    assert requests.show(market.network, request_id).state is RequestState.CONVICTED
    who = market.requester.address
    assert market.network.market.balance_of(who) >= DOLLAR  # the whole cap came back


def test_text__paid_for_more_tokens_than_it_has__convicted(market, written, voters):
    _, request_id, outcome, _ = written
    deliver(market, request_id, outcome.output_root, MOST)
    assert judged(market, voters, request_id) is Finding.MISMATCH
    assert requests.show(market.network, request_id).state is RequestState.CONVICTED
