"""A request from its quote to its answer, and every way in which it can end without one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oracle.chain.revert import ContractError
from oracle.errors import DigestMismatch, InputInvalid, NotFound, PermanentError
from oracle.ipfs.port import CidUnresolved
from oracle.protocol import tensor
from oracle.protocol.cid import raw_cid
from oracle.services import balances, inference, models, operators, quoting, requests
from oracle.services.inference import Unanswered
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from oracle.services.request_timeline import RequestState
from oracle.types import NO_CLAIM, ZERO32, OperatorAnswer, RequestId
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real
IMAGE = json.dumps([[[[0.0, 0.5], [1.0, 0.25]]]])


@pytest.fixture
def market(world):
    world.publish()
    world.serve(1)
    world.prepay(5 * DOLLAR)
    return world


def ask(market, **options):
    wanted = Ask(Selected(1, None), IMAGE, **options)
    prepayment = quoting.quote(market.network, market.requester.address, wanted, stdin=lambda: b"")
    return prepayment, inference.ask(market.network, market.requester, prepayment)


def answer(market, prepayment, asked):
    info = requests.show(market.network, asked.request_id)
    return inference.answer(market.network, info, prepayment.manifest)


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────
def test_ask__terms_raised_after_the_quote__spends_nothing(market):
    wanted = Ask(Selected(1, None), IMAGE)
    prepayment = quoting.quote(market.network, market.requester.address, wanted, stdin=lambda: b"")
    dearer = models.changed_terms(market.network.registry.terms_of(1, 1), fee=2 * DOLLAR)
    models.set_terms(market.network, market.owner, 1, 1, dearer)
    with pytest.raises(ContractError) as caught:
        inference.ask(market.network, market.requester, prepayment)
    assert caught.value.name == "FeeAboveMax"
    assert market.network.market.balance_of(market.requester.address) == 5 * DOLLAR


def several(market, count):
    who = market.requester.address
    return [
        quoting.quote(
            market.network, who, Ask(Selected(1, None), json.dumps([[[[0.0, 0.5], [1.0, n / 8]]]])),
            stdin=lambda: b"",
        )
        for n in range(count)
    ]  # fmt: skip


def test_ask_all__several__one_transaction_in_order(market):
    prepayments = several(market, 3)
    asked = inference.ask_all(market.network, market.requester, prepayments)
    assert len({one.transaction.transaction for one in asked}) == 1
    for one, prepayment in zip(asked, prepayments, strict=True):
        info = requests.show(market.network, one.request_id)
        assert info.request.input_root == prepayment.order.input_root
    assert market.network.market.balance_of(market.requester.address) == 2 * DOLLAR


def test_ask_all__money_for_some__none_is_asked(market):
    with pytest.raises(ContractError):
        inference.ask_all(market.network, market.requester, several(market, 6))
    assert market.network.market.balance_of(market.requester.address) == 5 * DOLLAR
    with pytest.raises(InputInvalid, match="do not fit"):
        inference.ask_all(market.network, market.requester, several(market, 1) * 65)


def test_show__unknown_request__not_found(market):
    with pytest.raises(NotFound, match="there is no request"):
        requests.show(market.network, RequestId(b"\1" * 32))


def test_wait__nobody_answers__gives_up_and_says_where_to_look(market):
    _, asked = ask(market)
    with pytest.raises(Unanswered, match=r"not delivered after [0-9.]+ s"):
        inference.wait(market.network, asked.request_id, timeout=0.1)


def test_wait__expired__says_how_the_money_comes_back(market):
    _, asked = ask(market, lifetime=60)
    market.pass_time(61)
    with pytest.raises(Unanswered, match="expired") as caught:
        inference.wait(market.network, asked.request_id)
    assert "request cancel" in caught.value.hint
    requests.cancel(market.network, market.stranger, asked.request_id)
    assert market.network.market.balance_of(market.requester.address) == 5 * DOLLAR
    with pytest.raises(Unanswered, match="refunded"):
        inference.wait(market.network, asked.request_id)


def test_cancel__not_expired__says_when(market):
    _, asked = ask(market)
    with pytest.raises(ContractError, match="can be cancelled from"):
        requests.cancel(market.network, market.requester, asked.request_id)


def test_cancel__answered__refuses(market):
    _, asked = ask(market)
    market.deliver(requests.show(market.network, asked.request_id), [0.0, 1.0, 2.0])
    with pytest.raises(PermanentError, match="answered, may be challenged"):
        requests.cancel(market.network, market.requester, asked.request_id)


def test_finalize__window_open__says_until_when(market):
    _, asked = ask(market)
    market.deliver(requests.show(market.network, asked.request_id), [0.0, 1.0, 2.0])
    with pytest.raises(ContractError, match="can be challenged until"):
        requests.finalize(market.network, market.stranger, [asked.request_id])


def test_finalize__without_an_answer_or_an_id__refuses(market):
    _, asked = ask(market)
    with pytest.raises(PermanentError, match="cannot be finalized: waits for an operator"):
        requests.finalize(market.network, market.stranger, [asked.request_id])
    with pytest.raises(InputInvalid, match="no request was named"):
        requests.finalize(market.network, market.stranger, [])


def test_answer__not_delivered__says_so(market):
    prepayment, asked = ask(market)
    with pytest.raises(Unanswered, match="waits for an operator"):
        answer(market, prepayment, asked)


def test_answer__bytes_that_nobody_serves__is_unresolved(market):
    prepayment, asked = ask(market)
    data = market.deliver(requests.show(market.network, asked.request_id), [0.0, 1.0, 2.0])
    market.ipfs.forget(requests.show(market.network, asked.request_id).output_cid)
    with pytest.raises(CidUnresolved):
        answer(market, prepayment, asked)
    assert data


def test_answer__other_bytes_served__is_a_mismatch(market):
    prepayment, asked = ask(market)
    market.deliver(requests.show(market.network, asked.request_id), [0.0, 1.0, 2.0])
    cid = requests.show(market.network, asked.request_id).output_cid
    market.ipfs.tamper(cid, tensor.encode({"logits": np.array([[9, 9, 9]], np.float32)}))
    with pytest.raises(DigestMismatch):
        answer(market, prepayment, asked)


def test_answer__cid_names_other_bytes_than_the_root__is_a_mismatch(market):
    prepayment, asked = ask(market)
    info = requests.show(market.network, asked.request_id)
    data = tensor.encode({"logits": np.array([[9, 9, 9]], np.float32)})
    other = market.ipfs.publish_bytes(data).sha256
    call = market.network.market.deliver(info.request, NO_CLAIM, OperatorAnswer(b"\7" * 32, other))
    with pytest.raises(ContractError, match="lie under its root, and nowhere else"):
        market.operator.send(call)  # only an exact answer's bytes have another digest
    life = replace(
        info, answered_by=info.operator, output_root=b"\7" * 32, output_cid=raw_cid(other)
    )
    with pytest.raises(DigestMismatch, match=r"0x0707.* was delivered"):
        inference.answer(market.network, life, prepayment.manifest)


def test_answer__outputs_are_not_the_manifests__refuses(market):
    prepayment, asked = ask(market)
    info = requests.show(market.network, asked.request_id)
    root = market.ipfs.publish_bytes(tensor.encode({"x": np.zeros(1, np.float32)})).sha256
    market.operator.send(
        market.network.market.deliver(info.request, NO_CLAIM, OperatorAnswer(root, ZERO32))
    )
    with pytest.raises(InputInvalid, match="output"):
        answer(market, prepayment, asked)


# ── The way it goes ─────────────────────────────────────────────────────────────────────────────
def test_life__answered_and_settled__pays_everybody(market):
    prepayment, asked = ask(market)
    before = requests.show(market.network, asked.request_id)
    assert before.state is RequestState.REQUESTED
    assert before.operator == market.operator.address
    market.deliver(before, [0.0, 3.0, 2.0])
    said = []
    info = inference.wait(market.network, asked.request_id, say=said.append)
    assert info.state is RequestState.DELIVERED
    assert said[0].startswith("delivered by")
    found, data = inference.answer(market.network, info, prepayment.manifest)
    assert found.outputs[0].rows[0].top[0].label == "one"
    assert tensor.digest(data) == found.output_root
    market.pass_time(61)
    requests.finalize(market.network, market.stranger, [asked.request_id])
    after = inference.wait(market.network, asked.request_id, until=RequestState.SETTLED)
    assert [m.event for m in after.timeline] == ["Requested", "Delivered", "Finalized"]
    paid = operators.status(market.network, market.operator.address)
    assert paid.earned == paid.prepaid == 700_000
    collected = models.collect(market.network, market.stranger, 1)
    assert collected.to == market.owner.address
    treasury = market.network.market.balance_of(market.network.market.config().treasury)
    assert collected.owner_fee + paid.earned + treasury == DOLLAR


def test_ask__twice__takes_two_lanes_and_then_the_free_one(market):
    _, first = ask(market)
    _, second = ask(market)
    lanes = [requests.show(market.network, a.request_id).request.lane for a in (first, second)]
    assert lanes == [0, 1]
    market.deliver(requests.show(market.network, first.request_id), [0.0, 1.0, 2.0])
    market.pass_time(61)
    requests.finalize(market.network, market.stranger, [first.request_id])
    _, third = ask(market)
    assert requests.show(market.network, third.request_id).request.lane == 0


def test_ask__lane_taken_by_another_process__takes_the_next(market):
    _, _ = ask(market)

    class Stale(type(market.network.lens)):
        """Says that every lane is free, as a node does that lags behind."""

        def free_lane(self, requester, start=0, block="latest"):
            return start

    from dataclasses import replace

    stale = Stale(market.network.rpc, market.network.lens.address)
    network = replace(market.network, lens=stale)
    wanted = Ask(Selected(1, None), IMAGE)
    prepayment = quoting.quote(network, market.requester.address, wanted, stdin=lambda: b"")
    asked = inference.ask(network, market.requester, prepayment)
    assert requests.show(network, asked.request_id).request.lane == 1


def test_list_requests__filters__by_model_wallet_and_state(market):
    _, first = ask(market)
    _, second = ask(market)
    market.deliver(requests.show(market.network, first.request_id), [0.0, 1.0, 2.0])
    every = requests.list_requests(market.network, model_id=1)
    assert [r.request_id for r in every] == [first.request_id, second.request_id]
    delivered = requests.list_requests(market.network, state=RequestState.DELIVERED)
    assert [r.request_id for r in delivered] == [first.request_id]
    stranger = market.stranger.address
    assert requests.list_requests(market.network, requester=stranger) == ()
    assert requests.list_requests(market.network, model_id=2) == ()


def test_demand__withheld_output__is_demanded_with_a_sufficient_bond(market):
    _, asked = ask(market)
    with pytest.raises(PermanentError, match="no answer to demand"):
        requests.bond_needed(market.network, market.requester, asked.request_id)
    market.deliver(requests.show(market.network, asked.request_id), [0.0, 1.0, 2.0])
    bond = requests.bond_needed(market.network, market.requester, asked.request_id)
    assert bond > 0
    done = requests.demand(market.network, market.requester, asked.request_id, bond)
    assert done.deadline > market.network.history.now()
    assert requests.show(market.network, asked.request_id).timeline[-1].event == "OutputDemanded"


def test_candidates__after_an_answer__know_its_latency(market):
    _, asked = ask(market)
    assert operators.candidates(market.network, 1)[0].in_flight == 1
    market.pass_time(7)
    market.deliver(requests.show(market.network, asked.request_id), [0.0, 1.0, 2.0])
    (found,) = operators.candidates(market.network, 1)
    assert (found.delivered, found.in_flight, found.failed) == (1, 0, 0)
    assert found.latency >= 7


def test_candidates__request_expired__is_held_against_the_preferred(market):
    _, asked = ask(market, lifetime=60)
    market.pass_time(61)
    requests.cancel(market.network, market.stranger, asked.request_id)
    assert operators.candidates(market.network, 1)[0].failed == 1


def test_withdraw__everything__empties_the_balance(market):
    balances.withdraw(market.network, market.requester, None, market.stranger.address)
    assert balances.balances(market.network, market.requester.address).prepaid == 0
    assert balances.balances(market.network, market.stranger.address).tokens == 5 * DOLLAR
