"""ModelRegistry.publishVersion: an append-only, hash-chained history."""

import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.contracts.chain import at
from tests.contracts.market import COMMITTEE, EXACT, ZERO, ZERO32, digest, publication, refuses

HEAD_TYPES = ["bytes32", "uint256", "uint32", "bytes32", "bytes32", "uint8", "uint64"]
HEAD_TYPES += ["address", "uint256"]


@pytest.fixture
def fresh(registry, owner):
    """Model 1 without versions, one day between two."""
    registry.registerModel("digits", 86_400, {"from": owner})


def head_after(previous, version, fields, publisher, timestamp):
    manifest, root, assurance, tolerance = fields[:4]
    values = [
        bytes.fromhex(str(previous)[2:]),
        1,
        version,
        bytes.fromhex(manifest[2:]),
        bytes.fromhex(root[2:]),
        assurance,
        tolerance,
        publisher.address,
        timestamp,
    ]
    return "0x" + keccak(encode(HEAD_TYPES, values)).hex()


def test_publish__unknown_model__reverts(registry, owner):
    with refuses("ModelUnknown", 99):
        registry.publishVersion(99, ZERO32, publication(), {"from": owner})


def test_publish__by_somebody_else__reverts(fresh, registry, bob):
    with refuses("CallerNotModelOwner", 1, bob):
        registry.publishVersion(1, ZERO32, publication(), {"from": bob})


def test_publish__head_of_the_past__reverts(fresh, registry, owner):
    registry.publishVersion(1, ZERO32, publication(), {"from": owner})
    with refuses("StaleHead", 1, ZERO32, registry.headOf(1)):
        registry.publishVersion(1, ZERO32, publication(), {"from": owner})


def test_publish__second_too_soon__reverts(fresh, registry, owner):
    time = registry.publishVersion(1, ZERO32, publication(), {"from": owner}).timestamp
    at(time + 86_399)
    with refuses("UpdateTooSoon", 1, time + 86_400):
        registry.publishVersion(1, registry.headOf(1), publication(), {"from": owner})


@pytest.mark.parametrize("field", ["manifestDigest", "modelRoot"])
def test_publish__digest_missing__reverts(fresh, registry, owner, field):
    with refuses("DigestZero"):
        registry.publishVersion(1, ZERO32, publication(**{field: ZERO32}), {"from": owner})


def test_publish__no_assurance__reverts(fresh, registry, owner):
    with refuses("AssuranceUnavailable", 0):
        registry.publishVersion(1, ZERO32, publication(assurance=0), {"from": owner})


def test_publish__exact_without_a_verifier__reverts(ModelRegistry, owner):
    bare = ModelRegistry.deploy(ZERO, ZERO, 10, 60, 0, 0, ZERO, {"from": owner})
    bare.registerModel("digits", 0, {"from": owner})
    with refuses("AssuranceUnavailable", EXACT):
        bare.publishVersion(1, ZERO32, publication(assurance=EXACT), {"from": owner})


def test_publish__exact_program_not_registered__reverts(fresh, registry, owner):
    with refuses("ProgramUnknown", digest("weights")):
        registry.publishVersion(1, ZERO32, publication(assurance=EXACT), {"from": owner})


def test_publish__exact_program_metered__reverts(fresh, registry, programs, owner, bob):
    programs.add(digest("weights"), {"from": bob})
    with refuses("ExactMetered"):
        fields = publication(assurance=EXACT, maxUnits=1)
        registry.publishVersion(1, ZERO32, fields, {"from": owner})


def test_publish__metered__has_its_units_in_the_terms_alone(fresh, registry, owner):
    fields = publication(maxUnits=2**32 - 1)
    transaction = registry.publishVersion(1, ZERO32, fields, {"from": owner})
    assert registry.termsOf(1, 1) >> 224 == 2**32 - 1
    assert registry.headOf(1) == head_after(ZERO32, 1, fields, owner, transaction.timestamp)


@pytest.mark.parametrize(("operator", "data"), [(9_001, 0), (8_000, 1_001), (65_535, 65_535)])
def test_publish__shares_too_high__reverts(fresh, registry, owner, operator, data):
    with refuses("SharesTooHigh", operator + data, 9_000):
        fields = publication(operatorBps=operator, dataBps=data)
        registry.publishVersion(1, ZERO32, fields, {"from": owner})


@pytest.mark.parametrize("multiple", [0, 1_001])
def test_publish__insured_multiple_out_of_range__reverts(fresh, registry, owner, multiple):
    with refuses("InsuredMultipleInvalid", multiple, 1_000):
        fields = publication(insuredMultiple=multiple)
        registry.publishVersion(1, ZERO32, fields, {"from": owner})


@pytest.mark.parametrize("window", [9, 7 * 86_400 + 1])
def test_publish__challenge_window_out_of_range__reverts(fresh, registry, owner, window):
    with refuses("ChallengeWindowInvalid", window, 10, 7 * 86_400):
        fields = publication(challengeWindow=window)
        registry.publishVersion(1, ZERO32, fields, {"from": owner})


def test_publish__float_version_without_tolerance__reverts(fresh, registry, owner):
    """Honest operators would be convicted: float answers of two machines differ."""
    with refuses("ToleranceZero"):
        registry.publishVersion(1, ZERO32, publication(tolerance=0), {"from": owner})


def test_publish__first__starts_the_chain(fresh, registry, owner):
    fields = publication()
    transaction = registry.publishVersion(1, ZERO32, fields, {"from": owner})
    head = head_after(ZERO32, 1, fields, owner, transaction.timestamp)
    assert transaction.return_value == (1, head)
    assert (registry.headOf(1), registry.headAt(1, 1), registry.versionCount(1)) == (head, head, 1)
    assert registry.manifestOf(1, 1) == digest("manifest")
    assert dict(transaction.events["VersionPublished"]) == {
        "modelId": 1,
        "version": 1,
        "publisher": owner,
        "prevHead": ZERO32,
        "head": head,
        "manifestDigest": digest("manifest"),
        "modelRoot": digest("weights"),
        "assurance": COMMITTEE,
        "tolerance": 1_000,
        "timestamp": transaction.timestamp,
    }


def test_publish__terms__are_packed_as_drawn(fresh, registry, owner):
    transaction = registry.publishVersion(1, ZERO32, publication(), {"from": owner})
    word = 250_000 | 7_000 << 64 | 1_000 << 80 | 5 << 96 | 60 << 112 | 1_000 << 144 | 1 << 208
    assert registry.termsOf(1, 1) == word
    expected = {"modelId": 1, "version": 1, "terms": word}
    assert dict(transaction.events["TermsSet"]) == expected


@pytest.mark.life
def test_publish__when_the_interval_is_over__extends_the_chain(fresh, registry, owner):
    first = registry.publishVersion(1, ZERO32, publication(), {"from": owner})
    head = registry.headOf(1)
    fields = publication(manifestDigest=digest("manifest 2"))
    at(first.timestamp + 86_400)
    second = registry.publishVersion(1, head, fields, {"from": owner})
    assert second.return_value == (2, head_after(head, 2, fields, owner, second.timestamp))
    assert registry.headAt(1, 1) == head
    assert registry.manifestOf(1, 1) == digest("manifest")


def test_publish__exact_program_registered__is_accepted(fresh, registry, programs, owner):
    programs.add(digest("weights"), {"from": owner})
    registry.publishVersion(1, ZERO32, publication(assurance=EXACT), {"from": owner})
    assert registry.termsOf(1, 1) >> 208 == EXACT
