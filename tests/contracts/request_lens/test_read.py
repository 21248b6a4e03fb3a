"""RequestLens.read: names for what the words of a request hold."""

from dataclasses import replace

import pytest

from oracle.chain import artifacts
from oracle.protocol.records import pack_request
from oracle.types import ZERO32, ZERO_ADDRESS, Assurance, Request, Terms
from scripts.bindings import snake
from tests.contracts.market import FEE, LIFETIME, MULTIPLE, PRIORITY, WINDOW, digest

NO_TERMS = Terms(0, 0, 0, 0, 0, 0, Assurance.NONE)
NOTHING = Request(
    *(0, 0, 0, 0, ZERO_ADDRESS, ZERO_ADDRESS, 0, 0, ZERO_ADDRESS, 0),
    *(ZERO32, ZERO32, ZERO32, ZERO32, NO_TERMS),
)
READ = next(one for one in artifacts.load("RequestLens").abi if one.get("name") == "read")
FIELDS = {part["name"]: part["type"] for part in READ["outputs"][0]["components"]}


def widest(name):
    """Return the greatest value of a field."""
    kind = FIELDS[name]
    if name == "assurance":
        return Assurance.EXACT
    if kind == "address":
        return "0x" + "ff" * 20
    return b"\xff" * 32 if kind == "bytes32" else (1 << int(kind.removeprefix("uint"))) - 1


@pytest.mark.parametrize("name", FIELDS)
def test_read__one_field_is_full__it_alone(lens, name):
    full, field = widest(name), snake(name)
    if hasattr(NO_TERMS, field):
        request = replace(NOTHING, terms=replace(NO_TERMS, **{field: full}))
    else:
        request = replace(NOTHING, **{field: full})
    packed = pack_request(request)
    words = [packed[at : at + 32] for at in range(0, len(packed), 32)]
    numbers = [int.from_bytes(word, "big") for word in words]
    seen = {
        n: _number(v) for n, v in dict(lens.read((*numbers[:3], *words[3:7], numbers[7]))).items()
    }
    assert seen == {**dict.fromkeys(FIELDS, 0), name: _number(full)}


def test_read__logged_by_the_market__what_was_ordered(lens, market):
    request = market.request(lane=3)
    made = lens.read(request)
    asked_at = made["priorityUntil"] - PRIORITY
    assert made["expiresAt"] == asked_at + LIFETIME
    assert (made["requester"], made["nonce"], made["lane"]) == (market.alice, 0, 3)
    assert (made["operator"], made["modelId"], made["version"]) == (market.operator, 1, 1)
    assert made["inputRoot"] == digest("input")
    assert (made["fee"], made["insuredMultiple"], made["challengeWindow"]) == (
        FEE,
        MULTIPLE,
        WINDOW,
    )
    assert (made["operatorBps"], made["dataBps"], made["tolerance"]) == (7_000, 1_000, 1_000)
    assert made["assurance"] == Assurance.COMMITTEE


def _number(value):
    """Return a value of any type as the number that its bytes are."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return value if isinstance(value, int) else int(str(value), 16)
