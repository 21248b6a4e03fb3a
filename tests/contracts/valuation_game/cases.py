"""Valuations as tests challenge them: a sealed round on chain, with tables true or false.

Tables, lies and proofs are those of `oracle/valuation` and its tests; here they meet a chain.
"""

from dataclasses import dataclass, field
from typing import Any

from eth_abi import encode

from oracle.chain.codec import plain
from oracle.merkle import keccak
from oracle.valuation.faults import Code, Fault
from oracle.valuation.rounds import RoundData, Valuation
from oracle.valuation.rules import convicts
from oracle.valuation.table_comparison import _Writer
from oracle.valuation.tables import Tables
from tests.contracts.data_credits.play import (
    ALICE,
    BOB,
    CAROL,
    CHALLENGER,
    CID,
    DAVE,
    REWARD,
    SALT,
    STAKE,
    VALUATOR,
    Data,
    commitment_to_test_set,
)

TYPES = ("uint256", "uint256", "address", "bytes32", "uint8") + ("uint32",) * 5


def shown(held: RoundData, tables: Tables, code: Code, **indices: int) -> Fault:
    """Return the proof of numbers, whether they are wrong or not."""
    writer = _Writer(held, tables, code, indices)
    convicts(code, writer)
    return writer.fault


@dataclass
class Announced:
    """A deployment in whose round somebody shows faults."""

    data: Data = field(default_factory=Data)

    def do(self, caller: str, function: str, *arguments: Any, value: int = 0) -> Any:
        return self.data.world.call(caller, "ValuationGame", function, *arguments, value=value)

    @property
    def round_id(self) -> int:
        return self.data.round_id

    @property
    def attempt(self) -> int:
        return int(self.do(BOB, "caseOf", self.round_id)[2])

    @property
    def published(self) -> bool:
        return bool(self.do(BOB, "caseOf", self.round_id)[5])

    def witness(self, fault: Fault, challenger: str = CHALLENGER, salt: bytes = SALT) -> bytes:
        place = (fault.t, fault.p, fault.i, fault.j, fault.a)
        values = (self.round_id, self.attempt, challenger, salt, fault.code, *place)
        return keccak(encode(TYPES, values))

    def announce(self, fault: Fault, challenger: str = CHALLENGER) -> None:
        """Commit to a fault, a block before it is shown."""
        self.do(challenger, "announce", self.witness(fault, challenger))
        self.data.world.set_time(self.data.world.time + 1)

    def prove(self, valuation: Valuation, fault: Fault, challenger: str = CHALLENGER) -> None:
        self.do(challenger, "prove", self.round_id, valuation, SALT, plain(fault))

    def convict(self, valuation: Valuation, fault: Fault) -> int:
        """Announce and prove; return the gas of the proof."""
        self.announce(fault)
        self.prove(valuation, fault)
        return self.data.gas


@dataclass
class Case(Announced):
    """One round with the real game; its data are those of a `RoundData`."""

    held: RoundData = field(kw_only=True)

    def __post_init__(self) -> None:
        data, held = self.data, self.held
        data.open(
            features=held.test.width,
            neighbours=held.params.k,
            rowTolerance=held.params.tau_row,
            testTolerance=held.params.tau_test,
            testRows=held.test.rows,
            maxContributions=64,
            maxRows=1 << 14,
            reward=REWARD,
            testCommitment=commitment_to_test_set(held.test.root, held.test.rows),
        )
        owners = [(ALICE, BOB, CAROL, DAVE)[c % 4] for c in range(len(held.sets))]
        for owner, held_set in zip(owners, held.sets, strict=True):
            data.submit(owner, held_set.root, held_set.rows)
        data.pass_to("submit")
        for index, held_set in enumerate(held.sets):
            data.reveal(index, held_set.root, held_set.rows)
        data.pass_to("reveal")
        data.reveal_test(held.test.root)
        data.pass_to("test")
        data.do(BOB, "number", data.round_id, 100)
        self.do(VALUATOR, "stake", 100 * STAKE)

    def claim(self, valuator: str = VALUATOR) -> None:
        self.do(valuator, "claim", self.round_id)

    def publish(self, tables: Tables) -> Valuation:
        """Claim the round and publish these tables."""
        self.claim()
        self.do(VALUATOR, "publish", self.round_id, tables.valuation, list(tables.values), CID)
        return tables.valuation

    def pass_window(self) -> None:
        self.data.world.set_time(self.do(BOB, "caseOf", self.round_id)[1])
