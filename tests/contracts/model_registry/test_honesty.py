"""ModelRegistry: terms under which lying pays are refused (docs/economics.md)."""

import pytest

from oracle.chain.deploy import DeployConfig
from oracle.config import Settings
from oracle.demo.opening import SALES
from oracle.services.publishing import SaleTerms
from tests.contracts.market import DOLLAR, ZERO, ZERO32, publication, refuses

AUDIT_BPS = 500


def least_lock(fee: int, operator_bps: int, audit_bps: int) -> int:
    """Return (1 − p) / p · o / 0.7, rounded up; o is rounded down as the market pays it."""
    share = fee * operator_bps // 10_000
    return -(-(10_000 - audit_bps) * share * 10_000 // (audit_bps * 7_000))


def lock(fee: int, multiple: int, min_lock: int = DOLLAR) -> int:
    return max(2 * fee * multiple, min_lock)


@pytest.fixture
def publish(ModelRegistry, deployer):
    """Publish terms at a registry of its own."""

    def publish(audit_bps=AUDIT_BPS, **terms):
        registry = ModelRegistry.deploy(
            ZERO, ZERO, 1, 100, audit_bps, DOLLAR, ZERO, {"from": deployer}
        )
        registry.registerModel("model", 0, {"from": deployer})
        registry.publishVersion(1, ZERO32, publication(**terms), {"from": deployer})
        return registry

    return publish


def test_constructor__more_than_all_audited__reverts(ModelRegistry, deployer):
    with refuses("AuditShareInvalid", 10_001, 10_000):
        ModelRegistry.deploy(ZERO, ZERO, 1, 100, 10_001, DOLLAR, ZERO, {"from": deployer})


@pytest.mark.parametrize(
    ("audit_bps", "fee", "operator_bps", "least"),
    [
        (100, DOLLAR, 7_000, 50),
        (200, DOLLAR, 7_000, 25),
        (500, DOLLAR, 7_000, 10),
        (1_000, DOLLAR, 7_000, 5),
        (2_500, DOLLAR, 7_000, 2),
        (500, DOLLAR, 9_000, 13),
        (10_000, DOLLAR, 9_000, 1),
        (500, 50_000, 7_000, 1),  # the least lock is enough
    ],
)
def test_publish__insured_multiple__the_least_of_the_table_is_enough(
    publish, audit_bps, fee, operator_bps, least
):
    terms = {"fee": fee, "operatorBps": operator_bps, "dataBps": 0}
    publish(audit_bps, insuredMultiple=least, **terms)
    if least > 1:
        needed = least_lock(fee, operator_bps, audit_bps)
        with refuses("LyingPays", lock(fee, least - 1), needed):
            publish(audit_bps, insuredMultiple=least - 1, **terms)


def test_publish__unchecked__takes_any_terms(publish):
    publish(0, fee=DOLLAR, operatorBps=9_000, dataBps=0, insuredMultiple=1)


def test_set_terms__dearer_without_more_stake__reverts(publish, deployer):
    registry = publish(fee=DOLLAR, operatorBps=1_000, insuredMultiple=2)
    with refuses("LyingPays", 4 * DOLLAR, least_lock(DOLLAR, 7_000, AUDIT_BPS)):
        registry.setTerms(1, 1, DOLLAR, 7_000, 0, 2, 60, {"from": deployer})


@pytest.mark.parametrize("sale", [SaleTerms(), *SALES.values()], ids=["default", *SALES])
def test_defaults_and_demo__lying__does_not_pay(sale):
    """What a deployment reckons with, what operators do, and what is offered fit together."""
    deployment = DeployConfig()
    share = Settings.__dataclass_fields__["audit_share"].default
    assert share * 10_000 >= deployment.audit_bps > 0
    needed = least_lock(sale.fee, sale.operator_bps, deployment.audit_bps)
    assert lock(sale.fee, sale.insured_multiple, deployment.min_lock) >= needed
