"""ModelRegistry.registerModel, transfers and views: models as ERC-721 tokens."""

import base64
import json

import pytest
from eth_utils.abi import function_abi_to_4byte_selector

from oracle.chain import artifacts
from tests.contracts.chain import reverts
from tests.contracts.market import ZERO, ZERO32, digest, publication, refuses

YEAR = 365 * 86_400
ERC721_FUNCTIONS = {  # type(I).interfaceId leaves out what I inherits
    *("balanceOf", "ownerOf", "safeTransferFrom", "transferFrom", "approve"),
    *("setApprovalForAll", "getApproved", "isApprovedForAll", "supportsInterface"),
}
ERC165, ERC721, NOTHING = "0x01ffc9a7", "0x80ac58cd", "0xffffffff"


@pytest.mark.parametrize("length", [0, 65])
def test_register_model__name_too_short_or_long__reverts(registry, owner, length):
    with refuses("NameLengthInvalid", length, 64):
        registry.registerModel("x" * length, 0, {"from": owner})


def test_register_model__interval_above_a_year__reverts(registry, owner):
    with refuses("UpdateIntervalTooLong", YEAR + 1, YEAR):
        registry.registerModel("digits", YEAR + 1, {"from": owner})


def test_register_model__in_order__mints_numbers_from_one(registry, owner, bob):
    count = registry.modelCount()
    for model_id, holder in ((count + 1, owner), (count + 2, bob)):
        transaction = registry.registerModel("x" * 64, YEAR, {"from": holder})
        assert transaction.return_value == model_id
        assert dict(transaction.events["ModelRegistered"]) == {
            "modelId": model_id,
            "owner": holder,
            "name": "x" * 64,
            "updateInterval": YEAR,
        }
        assert registry.ownerOf(model_id) == holder
    assert registry.modelCount() == count + 2
    assert registry.nameOf(model_id) == "x" * 64
    assert registry.updateIntervalOf(model_id) == YEAR
    assert (registry.headOf(model_id), registry.versionCount(model_id)) == (ZERO32, 0)


@pytest.mark.parametrize("view", ["headOf", "versionCount", "nameOf", "updateIntervalOf"])
def test_views__unknown_model__revert(registry, view):
    with refuses("ModelUnknown", 99):
        getattr(registry, view)(99)


@pytest.mark.parametrize("view", ["headAt", "manifestOf"])
def test_views__unknown_version__revert(model, registry, view):
    with refuses("VersionUnknown", 1, 2):
        getattr(registry, view)(1, 2)


def test_terms_of__unknown__is_zero(registry):
    assert registry.termsOf(99, 1) == 0


def test_transfer__sold__the_buyer_publishes_and_the_seller_does_not(model, registry, owner, bob):
    registry.transferFrom(owner, bob, 1, {"from": owner})
    head = registry.headOf(1)
    with refuses("CallerNotModelOwner", 1, owner):
        registry.publishVersion(1, head, publication(), {"from": owner})
    registry.publishVersion(1, head, publication(modelRoot=digest("new")), {"from": bob})
    assert registry.versionCount(1) == 2


def test_transfer__to_nobody__reverts(model, registry, owner):
    with refuses("ERC721InvalidReceiver", ZERO):
        registry.transferFrom(owner, ZERO, 1, {"from": owner})


@pytest.mark.parametrize(
    ("interface", "expected"), [(ERC165, True), (ERC721, True), (NOTHING, False)]
)
def test_supports_interface__says_what_it_is(registry, interface, expected):
    assert registry.supportsInterface(interface) is expected


def test_supports_interface__its_own__is_the_xor_of_its_selectors(registry):
    inherited = {item["name"] for item in artifacts.load("ModelRegistry").abi if "name" in item}
    own = 0
    for item in artifacts.load("IModelRegistry").abi:
        if item["type"] == "function" and item["name"] not in ERC721_FUNCTIONS:
            assert item["name"] in inherited
            own ^= int.from_bytes(function_abi_to_4byte_selector(item), "big")
    assert registry.supportsInterface(f"{own:#010x}")


@pytest.mark.parametrize(("low", "high"), [(0, 10), (11, 10)])
def test_constructor__window_range_empty__reverts(ModelRegistry, deployer, low, high):
    with refuses("ChallengeWindowRangeInvalid", low, high):
        ModelRegistry.deploy(ZERO, ZERO, low, high, 0, 0, ZERO, {"from": deployer})


def test_challenge_window_range__is_what_was_given(registry):
    assert registry.challengeWindowRange() == (10, 7 * 86_400)


def test_transfer__registry_without_operators__asks_nobody(ModelRegistry, deployer, owner, bob):
    registry = ModelRegistry.deploy(ZERO, ZERO, 10, 20, 0, 0, ZERO, {"from": deployer})
    registry.registerModel("digits", 0, {"from": owner})
    registry.transferFrom(owner, bob, 1, {"from": owner})
    assert registry.ownerOf(1) == bob


def test_registry__sent_ether__refuses_it(registry, deployer):
    with reverts():
        deployer.transfer(registry, 1)


def test_token_uri__unknown_model__reverts(registry):
    with refuses("ModelUnknown", 10**6):
        registry.tokenURI(10**6)


@pytest.mark.parametrize("name", ["wine", 'a"b\\c</script>', "line\nbreak\ttab", "酒 🍷"])
def test_token_uri__any_name__is_metadata_that_wallets_read(registry, owner, name):
    registry.registerModel(name, 0, {"from": owner})
    model_id = registry.modelCount()
    head, _, coded = registry.tokenURI(model_id).partition(",")
    assert head == "data:application/json;base64"
    found = json.loads(base64.b64decode(coded, validate=True))
    assert found["name"] == name
    assert found["description"].startswith(f"Model {model_id} on Tallystick. ")
    (versions,) = found["attributes"]
    assert (versions["trait_type"], versions["value"]) == ("Versions", 0)
