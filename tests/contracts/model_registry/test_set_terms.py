"""ModelRegistry.setTerms and retireVersion: what an owner may change after publishing."""

import pytest

from tests.contracts.market import FEE, WINDOW, publication, refuses

TERMS = (2 * FEE, 1, 2, 6, WINDOW + 1)
RETIRED = 1 << 216


def test_set_terms__by_somebody_else__reverts(model, registry, admin):
    with refuses("CallerNotModelOwner", 1, admin):
        registry.setTerms(1, 1, *TERMS, {"from": admin})


def test_set_terms__unknown_version__reverts(model, registry, owner):
    with refuses("VersionUnknown", 1, 2):
        registry.setTerms(1, 2, *TERMS, {"from": owner})


def test_set_terms__retired_version__reverts(model, registry, owner):
    registry.retireVersion(1, 1, {"from": owner})
    with refuses("VersionAlreadyRetired", 1, 1):
        registry.setTerms(1, 1, *TERMS, {"from": owner})


def test_set_terms__shares_too_high__reverts(model, registry, owner):
    with refuses("SharesTooHigh", 9_001, 9_000):
        registry.setTerms(1, 1, FEE, 9_000, 1, 5, WINDOW, {"from": owner})


@pytest.mark.parametrize(("multiple", "window"), [(4, WINDOW), (5, WINDOW - 1)])
def test_set_terms__less_protection_than_published__reverts(
    model, registry, owner, multiple, window
):
    with refuses("ProtectionLowered", 1, 1):
        registry.setTerms(1, 1, FEE, 0, 0, multiple, window, {"from": owner})


def test_set_terms__in_order__keeps_assurance_and_tolerance(model, registry, owner):
    transaction = registry.setTerms(1, 1, *TERMS, {"from": owner})
    word = 2 * FEE | 1 << 64 | 2 << 80 | 6 << 96 | 61 << 112 | 1_000 << 144 | 1 << 208
    assert registry.termsOf(1, 1) == word
    assert transaction.events["TermsSet"]["terms"] == word


def test_set_terms__metered_version__keeps_its_units(model, registry, owner):
    registry.publishVersion(1, registry.headOf(1), publication(maxUnits=2**32 - 1), {"from": owner})
    for version in (1, 2):
        registry.setTerms(1, version, *TERMS, {"from": owner})
    assert registry.termsOf(1, 2) == registry.termsOf(1, 1) | (2**32 - 1) << 224


def test_retire__by_somebody_else__reverts(model, registry, bob):
    with refuses("CallerNotModelOwner", 1, bob):
        registry.retireVersion(1, 1, {"from": bob})


def test_retire__unknown_version__reverts(model, registry, owner):
    with refuses("VersionUnknown", 1, 7):
        registry.retireVersion(1, 7, {"from": owner})


def test_retire__twice__reverts(model, registry, owner):
    registry.retireVersion(1, 1, {"from": owner})
    with refuses("VersionAlreadyRetired", 1, 1):
        registry.retireVersion(1, 1, {"from": owner})


def test_retire__in_order__sets_one_bit_and_keeps_history(model, registry, owner):
    before, head = registry.termsOf(1, 1), registry.headOf(1)
    transaction = registry.retireVersion(1, 1, {"from": owner})
    assert registry.termsOf(1, 1) == before | RETIRED
    assert registry.headOf(1) == head
    assert dict(transaction.events["VersionRetired"]) == {"modelId": 1, "version": 1}


def test_retire__open_request__settles_as_usual(market, registry, owner):
    request = market.request()
    registry.retireVersion(1, 1, {"from": owner})
    delivery = market.deliver(request)
    assert "Finalized" in market.finalize(request, delivery).events
