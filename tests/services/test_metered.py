"""A version that is paid by units, on a chain: asked at a cap, paid by use, the rest returned."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.revert import ContractError
from oracle.cli.asking.answers import answer_text
from oracle.errors import InputInvalid, Refused
from oracle.protocol import tensor
from oracle.services import (
    answer_check,
    inference,
    metering,
    models,
    moving,
    quoting,
    requests,
)
from oracle.services.answer_check import CheckOutcome
from oracle.services.channels import offers
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.quoting import Ask
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import EndpointTraces
from oracle.types import NO_CLAIM, ZERO32, Amount, OperatorAnswer
from tests.services.conftest import DESCRIPTION, DOLLAR

pytestmark = pytest.mark.real
MOST = 8
IMAGES = json.dumps(np.zeros((3, 1, 2, 2)).tolist())


def describe(world, **unit):
    body = {**DESCRIPTION, "unit": {"output": "logits", "maximum": MOST, **unit}}
    (world.folder / "model.json").write_text(json.dumps(body))


@pytest.fixture
def market(world):
    describe(world)
    world.publish()
    world.serve(1)
    world.prepay(5 * DOLLAR)
    return world


@pytest.fixture
def asked(market):
    who = market.requester.address
    wanted = Ask(Selected(1, None), IMAGES)
    prepayment = quoting.quote(market.network, who, wanted, stdin=lambda: b"")
    assert (prepayment.quote.fee, prepayment.quote.max_units) == (DOLLAR, MOST)
    made = inference.ask(market.network, market.requester, prepayment)
    assert market.network.market.balance_of(who) == 4 * DOLLAR
    return prepayment, made.request_id


def deliver(market, request_id, units, rows=3):
    info = requests.show(market.network, request_id)
    data = tensor.encode({"logits": np.ones((rows, 3), np.float32)})
    root = market.ipfs.publish_bytes(data).sha256
    answer = OperatorAnswer(root, ZERO32, units)
    market.operator.send(market.network.market.deliver(info.request, NO_CLAIM, answer))


def shown(answer):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(answer_text(answer))
    return capture.get()


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("unit", "what"),
    [
        ({"output": "tokens"}, "no output"),
        ({"maximum": 0}, "not 1 to"),
        ({"maximum": 2**32}, "not 1 to"),
    ],
)
def test_publish__unit_that_cannot_be_counted__is_refused(world, unit, what):
    describe(world, **unit)
    with pytest.raises(InputInvalid, match=what):
        world.publish()


def test_publish__per_without_a_unit__is_refused(world):
    with pytest.raises(InputInvalid, match="each answer of this version costs the same") as caught:
        world.publish(per=1_000)
    assert "model.json" in caught.value.hint


@pytest.mark.parametrize("units", [0, MOST + 1])
def test_deliver__units_above_the_most_or_none__is_refused(market, asked, units):
    with pytest.raises(ContractError, match=f"has {units} units; its terms allow {MOST}"):
        deliver(market, asked[1], units)


def test_offer__metered__is_refused_before_and_by_the_contract(market):
    """A receipt does not say how many units an answer has."""
    network, operator = market.network, market.operator
    with pytest.raises(Refused, match="paid by units"):
        offers.draft(network, operator.address, "1")
    flat = replace(network.registry.terms_of(1, 1), max_units=0)
    offer = offers.Offer(operator.address, 1, 1, flat, 0)
    with pytest.raises(ContractError) as caught:
        operator.send(network.channels.cover(offer, 1))
    assert caught.value.name == "TermsStale"  # of the terms as they are: VersionMetered
    metered = replace(offer, terms=network.registry.terms_of(1, 1))
    with pytest.raises(ContractError, match="which a receipt does not name"):
        operator.send(network.channels.cover(metered, 1))


# ── From the question to the money ──────────────────────────────────────────────────────────────
def test_life__metered__is_paid_by_use_and_the_rest_comes_back(market, asked):
    prepayment, request_id = asked
    network, who = market.network, market.requester.address
    deliver(market, request_id, units=3)
    info = requests.show(network, request_id)
    answer, _ = inference.answer(network, info, prepayment.manifest, prepayment.prepared)
    assert (answer.counted, answer.bill) == (3, metering.Bill(DOLLAR, MOST, 3, 375_000, 625_000))
    assert "3 of 8 units: $0.375 used, $0.625 returned" in shown(answer)
    assert "wrong" not in shown(answer)

    market.pass_time(60)
    requests.finalize(network, market.stranger, [request_id])
    settled = requests.show(network, request_id)
    assert settled.state is RequestState.SETTLED
    assert settled.timeline[-1].detail.endswith("$0.625 back to the requester")
    assert network.market.balance_of(who) == 5 * DOLLAR - 375_000
    earned = network.market.model_earnings(1)
    operator = network.market.balance_of(market.operator.address)
    assert operator == 375_000 * 7 // 10
    assert operator + earned.owner_fee + earned.data_fee <= 375_000


def test_answer__more_units_named_than_it_has__says_who_judges_that(market, asked):
    prepayment, request_id = asked
    deliver(market, request_id, units=5)
    info = requests.show(market.network, request_id)
    answer, _ = inference.answer(market.network, info, prepayment.manifest)
    assert (answer.counted, answer.bill.units) == (3, 5)
    assert "the output has 3 units" in shown(answer)
    assert f"tallystick committee challenge 0x{request_id.hex()}" in shown(answer)


@pytest.mark.parametrize(
    ("units", "verdict"), [(3, CheckOutcome.COMMITTEE), (5, CheckOutcome.UNITS)]
)
def test_verify__metered__counts_the_units_of_the_output(market, asked, units, verdict):
    deliver(market, asked[1], units)
    assert answer_check.verify(market.network, asked[1], EndpointTraces()).verdict is verdict
    market.ipfs.forget(requests.show(market.network, asked[1]).output_cid)
    lost = answer_check.verify(market.network, asked[1], EndpointTraces())
    assert lost.verdict is CheckOutcome.COMMITTEE


# ── Prices ──────────────────────────────────────────────────────────────────────────────────────
def test_publish__price_per_thousand__is_the_fee_of_the_most_units_rounded_up(world):
    describe(world, maximum=4097)
    world.publish(per=1_000, fee=Amount(2_000))
    terms = world.network.registry.terms_of(1, 1)
    assert (terms.fee, terms.max_units) == (8_194, 4097)
    (version,) = models.versions(world.network, 1)
    text = metering.price_text(version.fee, version.max_units)
    assert text == "at most $0.008194: 4,097 units, $0.002 per 1,000"


def test_move_model__metered__has_its_units_there_too(market, anvil):
    other = deploy(market.stranger, DeployConfig())
    there = Network.over(replace(market.network.settings, contracts=other), anvil.rpc, market.ipfs)
    model_id, _ = moving.move_model(market.network, there, market.owner, 1)
    assert there.registry.terms_of(model_id, 1).max_units == MOST


@pytest.mark.parametrize("per", [0, -1])
def test_cap__no_number_of_units__is_refused(per):
    with pytest.raises(InputInvalid, match="no number of units"):
        metering.cap(Amount(1), per, 5)
