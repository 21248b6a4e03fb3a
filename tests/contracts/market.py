"""The market as a test drives it: orders with defaults, requests as tuples, time to the second.

A request is the tuple of words that `Requested` logs; calls bring it back as it is.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from eth_utils import keccak

from tests.contracts.chain import at, chain, now, reverts

ZERO = "0x" + "00" * 20
ZERO32 = "0x" + "00" * 32
NO_CLAIM = (ZERO, 0)
DOLLAR = 10**6

FEE = 250_000
MULTIPLE = 5
LOCK = 2 * MULTIPLE * FEE  # above the minimum lock of the fixtures
WINDOW = 60  # challenge window, seconds
PRIORITY = 100  # seconds
LIFETIME = 1_000  # seconds
CLAIM_PERIOD = 30
CLAIM_FORFEIT = 100_000
DEMAND_PERIOD = 60
MAX_DISPUTE_AGE = 86_400
MIN_GAS_PRICE = 0  # wei

OUTPUT = b"the answer"
OUTPUT_ROOT = "0x" + hashlib.sha256(OUTPUT).hexdigest()

WRONG_OUTPUT, WITHHELD, EQUIVOCATION = range(3)
COMMITTEE, EXACT = 1, 2
OPEN, ALLOW_LIST, ON_REQUEST = range(3)


def digest(text: str) -> str:
    """Return a digest to use where any will do."""
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def publication(**changes: Any) -> tuple:
    """Return a Publication with these fields changed."""
    fields = {
        "manifestDigest": digest("manifest"),
        "modelRoot": digest("weights"),
        "assurance": COMMITTEE,
        "tolerance": 1_000,
        "fee": FEE,
        "operatorBps": 7_000,
        "dataBps": 1_000,
        "insuredMultiple": MULTIPLE,
        "challengeWindow": WINDOW,
        "maxUnits": 0,
    }
    assert changes.keys() <= fields.keys()
    return tuple((fields | changes).values())


def refuses(error: str, *arguments: Any) -> Any:
    """Expect a revert with exactly this typed error (Brownie wants it as it prints it)."""
    return reverts(f"{error}: " + ", ".join(map(_printed, arguments)))


class Verbatim(str):
    """A text argument of an error; addresses are printed in lower case, texts as they are."""


def _printed(argument: Any) -> str:
    if isinstance(argument, Verbatim):
        return argument
    text = str(getattr(argument, "address", argument))
    if text.startswith("0x") and len(text) == 66:
        return repr(bytes.fromhex(text[2:]))
    return text.lower()


def priority_until(request: tuple) -> int:
    return request[1] >> 160 & (1 << 40) - 1


def expires_at(request: tuple) -> int:
    return request[1] >> 200


@dataclass
class Market:
    """The market contract with the people of a test."""

    contract: Any
    alice: Any  # requester
    operator: Any
    rival: Any  # another operator

    def order(self, **changes: Any) -> tuple:
        fields = {
            "modelId": 1,
            "version": 1,
            "lane": 0,
            "inputRoot": digest("input"),
            "inputCid": ZERO32,
            "params": ZERO32,
            "maxFee": FEE,
            "priorityWindow": PRIORITY,
            "lifetime": LIFETIME,
            "operator": self.operator,
            "consumer": ZERO,
            "callbackGas": 0,
            "envelope": ZERO32,
        }
        assert changes.keys() <= fields.keys()
        return tuple((fields | changes).values())

    def request(self, sender: Any = None, **changes: Any) -> tuple:
        """Make a request and return it."""
        transaction = self.contract.request(self.order(**changes), {"from": sender or self.alice})
        return requested(transaction)

    def claim(self, request: tuple, operator: Any = None) -> tuple:
        """Claim right after the priority window and return the claim."""
        at(max(priority_until(request), now() + 1))
        transaction = self.contract.claim(request, NO_CLAIM, {"from": operator or self.rival})
        event = transaction.events["Claimed"]
        return event["operator"], event["until"]

    def deliver(
        self, request: tuple, claim: tuple = NO_CLAIM, sender: Any = None, units: int = 0
    ) -> tuple:
        """Deliver OUTPUT_ROOT and return the delivery; under a flat fee its stamp is its time."""
        sender = sender or self.operator
        transaction = self.contract.deliver(
            request, claim, (OUTPUT_ROOT, ZERO32, units), {"from": sender}
        )
        return sender.address, transaction.timestamp | units << 40, OUTPUT_ROOT

    def delivered(self, **changes: Any) -> tuple[tuple, tuple]:
        """Make a request, deliver it, and return both."""
        request = self.request(**changes)
        return request, self.deliver(request)

    def finalize(self, request: tuple, delivery: tuple, sender: Any = None) -> Any:
        """Settle right after the challenge window."""
        at(max((delivery[1] & 2**40 - 1) + WINDOW, now() + 1))
        return self.contract.finalize([request], [delivery], {"from": sender or self.rival})

    def id_of(self, request: tuple) -> str:
        """Return the id, computed here: a call would be a transaction when coverage is measured."""
        words = [word if isinstance(word, int) else int(str(word), 16) for word in request]
        prefix = [chain.id, int(self.contract.address, 16)]
        return "0x" + keccak(b"".join(word.to_bytes(32, "big") for word in prefix + words)).hex()

    def commitment(self, lane: int = 0) -> int:
        return int(str(self.contract.commitmentOf(self.alice, lane)), 16)


def requested(transaction: Any) -> tuple:
    """Return the request that a transaction made."""
    return tuple(transaction.events["Requested"]["request"])
