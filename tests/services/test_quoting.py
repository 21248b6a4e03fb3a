"""Everything that can be refused before money is spent is refused then, by the right error."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from oracle.chain.bindings.model_access import Policy
from oracle.chain.revert import ContractError
from oracle.chain.rpc import WrongChain
from oracle.errors import InputInvalid, NotFound, Refused
from oracle.ipfs.port import CidUnresolved
from oracle.services import access, balances, inference, models, operators, quoting
from oracle.services.amounts import Rate
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.quoting import Ask
from oracle.types import ZERO_ADDRESS, Assurance
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real
IMAGE = json.dumps([[[[0.0, 0.5], [1.0, 0.25]]]])


def no_stdin():
    raise AssertionError("stdin was read")


def quote(world, source=IMAGE, **ask):
    ask = Ask(Selected(1, ask.pop("version", None)), source, **ask)
    return quoting.quote(world.network, world.requester.address, ask, stdin=no_stdin)


@pytest.fixture
def market(world):
    """One open model with a version, an operator, and a requester who can pay."""
    world.publish()
    world.serve(1)
    world.prepay(5 * DOLLAR)
    return world


# ── Which model ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", ["0", "2", "99999999999999999999", "nobody", "1@2", "1@0", "1@x"])
def test_select__unknown_model_or_version__not_found(market, text):
    with pytest.raises(NotFound) as caught:
        models.select(market.network, text)
    assert caught.value.hint


def test_select__name_registered_again_by_another__is_the_first_model(market):
    market.stranger.send(market.network.registry.register_model("digits", 0))
    assert models.select(market.network, "digits") == Selected(1, None)
    assert models.name_holder(market.network, 1) is None
    assert models.name_holder(market.network, 2).owner == market.owner.address
    assert models.holder_of(market.network, "digits").model_id == 1
    assert models.holder_of(market.network, "nobody has this") is None


def test_select__name_or_id_with_version__finds_it(market):
    assert models.select(market.network, "digits@1") == Selected(1, 1)
    assert models.select(market.network, "1") == Selected(1, None)


def test_quote__nothing_published__not_found(world):
    world.owner.send(world.network.registry.register_model("empty", 0))
    with pytest.raises(NotFound, match="no version in use"):
        quote(world)


def test_quote__version_retired__refuses(market):
    models.retire(market.network, market.owner, 1, 1)
    with pytest.raises(Refused, match="version 1 of model 1 is retired"):
        quote(market, version=1)
    with pytest.raises(NotFound, match="no version in use"):
        quote(market)


# ── Whom to call with the answer ────────────────────────────────────────────────────────────────
def test_quote__consumer_without_code__refused(market):
    with pytest.raises(InputInvalid, match="is no contract on this chain"):
        quote(market, consumer=market.stranger.address)


def test_quote__callback_gas_above_the_markets_limit__refused_when_asked(market):
    greedy = quote(market, consumer=market.network.contracts.token, callback_gas=2_000_001)
    with pytest.raises(ContractError, match="2000000 is the most") as caught:
        inference.ask(market.network, market.requester, greedy)
    assert caught.value.name == "CallbackGasInvalid"


def test_quote__consumer__is_in_the_order(market):
    token = market.network.contracts.token
    found = quote(market, consumer=token, callback_gas=7)
    assert (found.order.consumer, found.order.callback_gas) == (token, 7)
    assert (found.quote.consumer, found.quote.callback_gas) == (token, 7)


def test_quote__no_consumer__no_gas_for_nobody(market):
    order = quote(market).order
    assert (order.consumer, order.callback_gas) == (ZERO_ADDRESS, 0)


# ── Who, how much, which parameters ─────────────────────────────────────────────────────────────
def test_quote__fee_above_max__names_both(market):
    with pytest.raises(Refused, match=r"the fee is \$1\.00, above your limit of \$0\.99"):
        quote(market, max_fee=990_000)


def test_quote__balance_too_low__says_how_much_is_missing(market):
    balances.withdraw(market.network, market.requester, 4_500_000, None)
    with pytest.raises(Refused, match=r"balance is \$0\.50, the fee \$1\.00") as caught:
        quote(market)
    assert "wallet deposit 0.50" in caught.value.hint


def test_quote__no_grant__says_how_to_apply(market):
    access.set_policy(market.network, market.owner, 1, Policy.ON_REQUEST)
    with pytest.raises(ContractError, match="has no access to model 1") as caught:
        quote(market)
    assert "tallystick access apply 1" in caught.value.hint


def test_quote__grant_expired__refuses(market):
    access.set_policy(market.network, market.owner, 1, Policy.ALLOW_LIST)
    who = market.requester.address
    access.grant(market.network, market.owner, 1, who, lifetime=60)
    quote(market)
    market.pass_time(61)
    with pytest.raises(ContractError) as caught:
        quote(market)
    assert caught.value.name == "GrantExpired"


def test_quote__rate_limit_used_up__refuses(market):
    access.set_policy(market.network, market.owner, 1, Policy.OPEN, Rate(1, 3600))
    inference.ask(market.network, market.requester, quote(market))
    with pytest.raises(ContractError, match="used up the rate limit") as caught:
        quote(market)
    assert caught.value.retry_at


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"temperature": 2.1}, "out of bounds"),
        ({"temperature": 0.55}, "not on a step"),
        ({"temperature": float("nan")}, "not a number"),
        ({"heat": 1}, "unknown parameter heat"),
    ],
)
def test_quote__parameter_does_not_fit_the_manifest__refuses(market, params, why):
    with pytest.raises(InputInvalid, match=why):
        quote(market, params=params)


def test_quote__parameter_beyond_the_admins_bounds__refuses(market):
    access.set_limits(market.network, market.owner, Selected(1, None), {"temperature": (0.5, 1.5)})
    quote(market, params={"temperature": 1.5})
    with pytest.raises(ContractError) as caught:
        quote(market, params={"temperature": 1.6})
    assert caught.value.name == "ParameterOutOfBounds"


# ── Input, manifest, operators ──────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("source", "why"),
    [("[[1.0]]", "shape"), ("[[[[1.0, NaN], [0.0, 0.0]]]]", "NaN"), ('["text"]', "values")],
)
def test_quote__input_does_not_fit__refuses(market, source, why):
    with pytest.raises(InputInvalid, match=why):
        quote(market, source)


def test_quote__manifest_that_nobody_has__is_unresolved(market):
    market.ipfs.forget(models.versions(market.network, 1)[0].manifest_cid)
    with pytest.raises(CidUnresolved):
        quote(market)


def test_quote__no_operator_with_enough_stake__says_why(market):
    models.set_terms(
        market.network, market.owner, 1, 1,
        models.changed_terms(market.network.registry.terms_of(1, 1), insured_multiple=51),
    )  # fmt: skip
    with pytest.raises(NotFound, match="no operator") as caught:
        quote(market)
    assert "free stake" in caught.value.hint


def test_quote__operator_dismissed__is_no_candidate(market):
    operators.authorize(market.network, market.owner, 1, market.operator.address, False)
    with pytest.raises(NotFound, match="no operator"):
        quote(market)


@pytest.mark.parametrize("assurance", Assurance)
def test_assurance_meaning__no_module__says_that_a_wrong_answer_stays(market, assurance):
    config = replace(
        market.network.market.config(), exact_module=ZERO_ADDRESS, committee_module=ZERO_ADDRESS
    )
    bare = SimpleNamespace(market=SimpleNamespace(config=lambda: config))
    assert "no dispute module is deployed here" in quoting.assurance_meaning(bare, assurance)


def test_quote__all_fits__says_price_and_assurance_and_spends_nothing(market):
    before = market.network.market.balance_of(market.requester.address)
    blocks = set(market.ipfs.pinned)
    found = quote(market, params={"temperature": 0.7}).quote
    assert (found.fee, found.balance, found.version) == (DOLLAR, 5 * DOLLAR, 1)
    assert found.assurance is Assurance.COMMITTEE
    assert "honest majority of drawn stake" in found.meaning
    assert found.operator == market.operator.address
    assert found.operator_reason == "has not answered yet"
    assert found.params == {"temperature": 0.7}
    assert market.network.market.balance_of(market.requester.address) == before
    assert market.ipfs.pinned == blocks


def test_quote__operator_named__is_taken_when_it_can_answer(market):
    found = quote(market, operator=market.operator.address).quote
    assert (found.operator, found.operator_reason) == (market.operator.address, "as you said")


def test_quote__operator_named_that_cannot_answer__is_refused_with_the_reason(market):
    stranger = market.stranger.address
    with pytest.raises(NotFound, match=f"{stranger} cannot answer this now: it is not registered"):
        quote(market, operator=stranger)
    operators.register(market.network, market.stranger, "")
    with pytest.raises(NotFound, match="it is not authorised for the model"):
        quote(market, operator=stranger)
    models.set_terms(
        market.network, market.owner, 1, 1,
        replace(market.network.registry.terms_of(1, 1), insured_multiple=100),
    )  # fmt: skip
    with pytest.raises(NotFound, match=r"it lacks 100 dollars of free stake"):
        quote(market, operator=market.operator.address)


# ── The network itself ──────────────────────────────────────────────────────────────────────────
def test_open__node_of_another_chain__refuses(world):
    contracts = replace(world.network.contracts, chain_id=1)
    with pytest.raises(WrongChain, match="serves chain 31337, the contracts are on chain 1"):
        Network.open(replace(world.network.settings, contracts=contracts))


def test_open__chain_started_anew__says_so(world):
    gone = "0x00000000000000000000000000000000000000AA"
    contracts = replace(world.network.contracts, inference_market=gone)
    with pytest.raises(Exception, match="there is no InferenceMarket") as caught:
        Network.open(replace(world.network.settings, contracts=contracts))
    assert "deploy again" in caught.value.hint
