"""The ValuationGame contract and its verifier; IValuationGame.sol says what each function means."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import Address, Amount, Bytes32, Timestamp, ValuationPart, ValuationRoots, Wei


class Mover(IntEnum):
    """Whose move it is in a challenge."""

    NONE = 0  # no such challenge, or ended
    CHALLENGER = 1
    VALUATOR = 2


@dataclass(frozen=True, slots=True)
class ValuationConfig:
    """What is fixed at deployment."""

    data_credits: Address
    verifier: Address
    stake: Amount  # locked for one valuation
    forfeit: Amount
    valuing_period: int  # seconds, as all that follow
    claim_period: int
    challenge_window: int
    min_reply: int
    clock: int


@dataclass(frozen=True, slots=True)
class Case:
    """The valuation of one round, as it stands now."""

    valuator: Address  # zero = wanted
    until: Timestamp  # of the valuator's time; of the challenge window once published
    attempt: int  # valuations published so far
    challenges: int  # open
    published: bool
    end_by: Timestamp  # 0 = valuing_period after the round was sealed
    root: Bytes32
    values_root: Bytes32


@dataclass(frozen=True, slots=True)
class Demands:
    """One challenger's demands about one published valuation."""

    turn: Mover
    count: int
    deadline: Timestamp
    challenger_clock: int  # seconds left
    valuator_clock: int
    bond: Wei
    part: ValuationPart
    number: int  # of the contribution whose data set is demanded
    level: int  # 0 = root
    index: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node of one tree of a valuation: of a table, a data set, or the test set."""

    part: ValuationPart
    number: int  # of the contribution, for DATA; else 0
    level: int  # 0 = root
    index: int


@dataclass(frozen=True, slots=True)
class ValuatorSeat:
    """A valuator's money."""

    staked: Amount  # locked part included
    locked: Amount

    @property
    def free(self) -> Amount:
        """What may back another valuation, or be unstaked."""
        return Amount(self.staked - self.locked)


class ValuationGame(Contract):
    """Who values a round, and how a false valuation is convicted.

    A `valuation` is what ValuationRoots names; oracle.valuation.rounds has the same fields. A
    `fault` is oracle.valuation.faults.Fault, above us, `as_tuple`.
    """

    NAME = "ValuationGame"

    # ── Stake and value ─────────────────────────────────────────────────────────────────────────
    def stake(self, amount: Amount) -> Call:
        """Add to the caller's stake."""
        return self._call("stake", amount, label="stake as a valuator")

    def unstake(self, amount: Amount) -> Call:
        """Pay out free stake."""
        return self._call("unstake", amount, label="unstake as a valuator")

    def claim(self, round_id: int) -> Call:
        """Take a sealed round for some time."""
        return self._call("claim", round_id, label="claim a round to value")

    def publish(
        self, round_id: int, valuation: ValuationRoots, values: Sequence[int], cid: Bytes32
    ) -> Call:
        """Publish what the claimant found; `cid` is of the index that serves the tables."""
        arguments = (round_id, valuation, values, cid)
        return self._call("publish", *arguments, label="publish a valuation")

    def lapse_claim(self, round_id: int) -> Call:
        """End a claim without publication."""
        return self._call("lapseClaim", round_id, label="end a valuator's lapsed claim")

    # ── Convict ─────────────────────────────────────────────────────────────────────────────────
    def announce(self, witness: Bytes32) -> Call:
        """Commit to a fault a block before it is shown."""
        return self._call("announce", witness, label="announce a fault of a valuation")

    def prove(self, round_id: int, valuation: ValuationRoots, salt: Bytes32, fault: Any) -> Call:
        """Show a fault and convict."""
        arguments = (round_id, valuation, salt, fault)
        return self._call("prove", *arguments, label="prove a fault of a valuation")

    def demand(self, round_id: int, valuation: ValuationRoots, node: Node, *, bond: Wei) -> Call:
        """Ask for a node of a table or data set that nobody serves; `bond` is sent."""
        arguments = (round_id, valuation, node.part, node.number, node.level, node.index)
        label = f"demand node {node.index} at level {node.level} of {node.part.name.lower()}"
        return self._call("demand", *arguments, value=bond, label=label)

    def open_node(
        self,
        round_id: int,
        valuation: ValuationRoots,
        challenger: Address,
        nodes: Sequence[Bytes32],
        path: Sequence[Bytes32],
    ) -> Call:
        """Show the nodes below the demanded one."""
        arguments = (round_id, valuation, challenger, nodes, path)
        return self._call("openNode", *arguments, label="open a node of a table")

    def reveal_leaf(
        self,
        round_id: int,
        valuation: ValuationRoots,
        challenger: Address,
        data: bytes,
        path: Sequence[Bytes32],
    ) -> Call:
        """Show the bytes of the demanded leaf."""
        arguments = (round_id, valuation, challenger, data, path)
        return self._call("revealLeaf", *arguments, label="reveal a leaf of a table")

    def convict_silent(self, round_id: int, challenger: Address) -> Call:
        """Convict a valuator whose turn is over."""
        return self._call("convictSilent", round_id, challenger, label="convict: silent")

    def lapse(self, round_id: int, challenger: Address) -> Call:
        """End a challenge whose challenger's turn is over."""
        return self._call("lapse", round_id, challenger, label="end a lapsed challenge")

    # ── End ─────────────────────────────────────────────────────────────────────────────────────
    def settle(self, round_id: int, values: Sequence[int]) -> Call:
        """Settle the round by its valuation."""
        return self._call("settle", round_id, values, label="settle a round")

    def void_round(self, round_id: int) -> Call:
        """Void a round that nobody valued in time."""
        return self._call("voidRound", round_id, label="void a round that nobody valued")

    def release_bond(self, round_id: int, attempt: int, challenger: Address) -> Call:
        """Free the bond of a challenge whose valuation was convicted by somebody."""
        arguments = (round_id, attempt, challenger)
        return self._call("releaseBond", *arguments, label="release a challenger's bond")

    def withdraw_bond(self) -> Call:
        """Pay out the caller's bonds in the chain's currency."""
        return self._call("withdrawBond", label="withdraw bonds")

    def withdraw_reward(self) -> Call:
        """Pay out the caller's rewards in the payment token."""
        return self._call("withdrawReward", label="withdraw rewards")

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def config(self, block: BlockId = "latest") -> ValuationConfig:
        """Return what was fixed at deployment."""
        credits, verifier, *rest = self._read("config", block=block)
        return ValuationConfig(address(credits), address(verifier), *rest)

    def case_of(self, round_id: int, block: BlockId = "latest") -> Case:
        """Return a round's valuation."""
        valuator, *rest = self._read("caseOf", round_id, block=block)
        return Case(address(valuator), *rest)

    def demands_of(
        self, round_id: int, attempt: int, challenger: Address, block: BlockId = "latest"
    ) -> Demands:
        """Return a challenge; its turn is NONE when there is none."""
        values = list(self._read("demandsOf", round_id, attempt, challenger, block=block))
        values[0], values[6] = Mover(values[0]), ValuationPart(values[6])
        return Demands(*values)

    def seat_of(self, valuator: Address, block: BlockId = "latest") -> ValuatorSeat:
        """Return a valuator's stake."""
        return ValuatorSeat(*self._read("seatOf", valuator, block=block))

    def announced_at(self, witness: Bytes32, block: BlockId = "latest") -> int:
        """Return the block in which a witness was announced; 0 = it was not."""
        return int(self._read("announcedAt", witness, block=block))

    def bond_needed(self, block: BlockId = "latest") -> Wei:
        """Return what a demand needs at that block's base fee."""
        return Wei(self._read("bondNeeded", block=block))

    def bond_of(self, account: Address, block: BlockId = "latest") -> Wei:
        """Return what the account may withdraw in the chain's currency."""
        return Wei(self._read("bondOf", account, block=block))

    def reward_of(self, account: Address, block: BlockId = "latest") -> Amount:
        """Return what the account may withdraw in the payment token."""
        return Amount(self._read("rewardOf", account, block=block))

    def burn_address(self, block: BlockId = "latest") -> Address:
        """Return who is credited with burned bonds and receives burned stake."""
        return address(self._read("burnAddress", block=block))


class ValuationVerifier(Contract):
    """Computes one number of a valuation again."""

    NAME = "ValuationVerifier"

    def convicts(
        self,
        round_id: int,
        valuation: ValuationRoots,
        salt: Bytes32,
        fault: Any,
        block: BlockId = "latest",
    ) -> bool:
        """Tell whether a fault is one; reverts when its proof does not fit."""
        arguments = (round_id, valuation, salt, fault)
        return bool(self._read("convicts", *arguments, block=block))

    def data_credits(self, block: BlockId = "latest") -> Address:
        """Return what tells it of rounds."""
        return address(self._read("dataCredits", block=block))
