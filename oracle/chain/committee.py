"""The Committee contract; ICommittee.sol says what each function means."""

from dataclasses import dataclass
from enum import IntEnum

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import (
    Activation,
    Address,
    Amount,
    Bytes32,
    Delivery,
    Finding,
    Request,
    RequestId,
    Timestamp,
    Wei,
)

GENERAL = Bytes32(bytes(32))  # the runtime class whose members run every format


class Stage(IntEnum):
    """Where a dispute stands."""

    NONE = 0  # never disputed
    CHALLENGED = 1
    VOTING = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class CommitteeConfig:
    """What is fixed when the committee is deployed."""

    market: Address
    bond: Wei
    min_stake: Amount
    penalty: Amount
    seasoning: int  # seconds
    seed_delay: int  # blocks
    draw_period: int  # seconds, as all that follow
    commit_period: int
    reveal_period: int
    tally_period: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A member's stake in one runtime class."""

    stake: Amount
    release_at: Timestamp  # 0 = not leaving


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute about one delivery, as it stands now."""

    stage: Stage
    round: int
    tallied: int  # rounds
    finding: Finding
    challenged_at: Timestamp
    commit_until: Timestamp
    reveal_until: Timestamp
    seed_block: int
    challenger: Address
    bond: Wei
    eligible: Amount
    runtime_class: Bytes32
    seed: Bytes32


@dataclass(frozen=True, slots=True)
class Ballot:
    """One member's vote in one round; its finding is NONE until it is revealed."""

    commitment: Bytes32
    activation: Activation
    finding: Finding
    reported: bool


@dataclass(frozen=True, slots=True)
class Vote:
    """What a voter commits to, salt included, and reveals afterwards."""

    finding: Finding
    output_digest: Bytes32
    activation: Activation
    salt: Bytes32


class Committee(Contract):
    """Disputes about float answers, decided by members drawn at random."""

    NAME = "Committee"

    # ── Seats ───────────────────────────────────────────────────────────────────────────────────
    def enlist(self, runtime_class: Bytes32, amount: Amount) -> Call:
        """Add to the caller's stake in a class."""
        return self._call("enlist", runtime_class, amount, label="enlist in the committee")

    def start_leave(self, runtime_class: Bytes32) -> Call:
        """Start to leave a class with the whole stake."""
        return self._call("startLeave", runtime_class, label="start to leave the committee")

    def finish_leave(self, runtime_class: Bytes32) -> Call:
        """Take the stake out after the delay."""
        return self._call("finishLeave", runtime_class, label="leave the committee")

    def declare_runtime_class(self, model_id: int, version: int, runtime_class: Bytes32) -> Call:
        """Name the class that can run a version; the model's holder may, once."""
        arguments = (model_id, version, runtime_class)
        return self._call("declareRuntimeClass", *arguments, label="declare the runtime class")

    # ── Challenge and draw ──────────────────────────────────────────────────────────────────────
    def challenge(self, request: Request, delivery: Delivery, *, bond: Wei) -> Call:
        """Open the one dispute that a delivery can have; `bond` is sent."""
        return self._call("challenge", request, delivery, value=bond, label="call the committee")

    def draw(self, request_id: RequestId) -> Call:
        """Fix the seed and start the first round."""
        return self._call("draw", request_id, label="draw the committee")

    def lapse(self, request: Request, delivery: Delivery) -> Call:
        """End a dispute whose committee nobody drew in time."""
        return self._call("lapse", request, delivery, label="end a dispute that was never drawn")

    # ── Vote ────────────────────────────────────────────────────────────────────────────────────
    def commit(self, request_id: RequestId, commitment: Bytes32) -> Call:
        """Commit to a vote."""
        return self._call("commit", request_id, commitment, label="commit to a vote")

    def reveal(self, request_id: RequestId, vote: Vote) -> Call:
        """Show the vote that was committed to."""
        arguments = (vote.finding, vote.output_digest, vote.activation, vote.salt)
        return self._call("reveal", request_id, *arguments, label="reveal a vote")

    # ── End ─────────────────────────────────────────────────────────────────────────────────────
    def tally(self, request: Request, delivery: Delivery) -> Call:
        """Count a round that is over, and do what its majority says."""
        return self._call("tally", request, delivery, label="tally a round of votes")

    def report_silence(self, request_id: RequestId, round_: int, member: Address) -> Call:
        """Punish a member that was drawn and never committed."""
        arguments = (request_id, round_, member)
        return self._call("reportSilence", *arguments, label="report a silent member")

    def release_bond(self, request_id: RequestId) -> Call:
        """Free the bond of a dispute whose request ended in another way."""
        return self._call("releaseBond", request_id, label="release a challenger's bond")

    def withdraw_bond(self) -> Call:
        """Pay out the caller's bonds in the chain's currency."""
        return self._call("withdrawBond", label="withdraw bonds")

    def withdraw_reward(self) -> Call:
        """Pay out the caller's rewards in the payment token."""
        return self._call("withdrawReward", label="withdraw rewards")

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def config(self, block: BlockId = "latest") -> CommitteeConfig:
        """Return what was fixed at deployment."""
        market, *rest = self._read("config", block=block)
        return CommitteeConfig(address(market), *rest)

    def token(self, block: BlockId = "latest") -> Address:
        """Return the token that members stake."""
        return address(self._read("token", block=block))

    def leave_delay(self, block: BlockId = "latest") -> int:
        """Return the seconds between the start and the end of leaving."""
        return int(self._read("leaveDelay", block=block))

    def longest_dispute(self, block: BlockId = "latest") -> int:
        """Return the seconds that a dispute lasts at the most."""
        return int(self._read("longestDispute", block=block))

    def bond_needed(self, block: BlockId = "latest") -> Wei:
        """Return what a challenge needs at that block's base fee."""
        return Wei(self._read("bondNeeded", block=block))

    def seat_of(self, runtime_class: Bytes32, member: Address, block: BlockId = "latest") -> Seat:
        """Return a member's seat; its stake is 0 when there is none."""
        return Seat(*self._read("seatOf", runtime_class, member, block=block))

    def weight_at(
        self, runtime_class: Bytes32, member: Address, time: int, block: BlockId = "latest"
    ) -> Amount:
        """Return what a member's stake counted for at a time that is past."""
        return Amount(self._read("weightAt", runtime_class, member, time, block=block))

    def pool_at(self, runtime_class: Bytes32, time: int, block: BlockId = "latest") -> Amount:
        """Return the weight of all members of a class at a time that is past."""
        return Amount(self._read("poolAt", runtime_class, time, block=block))

    def runtime_class_of(
        self, model_id: int, version: int, block: BlockId = "latest"
    ) -> tuple[Bytes32, Timestamp]:
        """Return a version's class and when it was declared; zeros when none was."""
        runtime_class, declared_at = self._read("runtimeClassOf", model_id, version, block=block)
        return Bytes32(runtime_class), Timestamp(declared_at)

    def dispute_of(self, request_id: RequestId, block: BlockId = "latest") -> Dispute:
        """Return the dispute about a request's delivery; its stage is NONE when there is none."""
        values = list(self._read("disputeOf", request_id, block=block))
        values[0], values[3], values[8] = Stage(values[0]), Finding(values[3]), address(values[8])
        return Dispute(*values)

    def draw_until(self, request_id: RequestId, block: BlockId = "latest") -> Timestamp:
        """Return from when on the draw of a dispute is missed."""
        return Timestamp(self._read("drawUntil", request_id, block=block))

    def ballot_of(
        self, request_id: RequestId, round_: int, member: Address, block: BlockId = "latest"
    ) -> Ballot:
        """Return a vote; its commitment is zero when there is none."""
        values = self._read("ballotOf", request_id, round_, member, block=block)
        commitment, activation, finding, reported = values
        return Ballot(commitment, Activation(activation), Finding(finding), reported)

    def voters_of(
        self, request_id: RequestId, round_: int, block: BlockId = "latest"
    ) -> tuple[Address, ...]:
        """Return whose votes count in a round."""
        return tuple(map(address, self._read("votersOf", request_id, round_, block=block)))

    def is_excluded(
        self, request_id: RequestId, member: Address, block: BlockId = "latest"
    ) -> bool:
        """Tell whether somebody has an interest in the dispute."""
        return bool(self._read("isExcluded", request_id, member, block=block))

    def is_drawn(
        self, request_id: RequestId, round_: int, member: Address, block: BlockId = "latest"
    ) -> bool:
        """Tell whether a member is to vote in a round."""
        return bool(self._read("isDrawn", request_id, round_, member, block=block))

    def activation_seed(
        self, request_id: RequestId, round_: int, block: BlockId = "latest"
    ) -> Bytes32:
        """Return what node and element of the activation are drawn from."""
        return Bytes32(self._read("activationSeed", request_id, round_, block=block))

    def commitment_of(
        self,
        request_id: RequestId,
        round_: int,
        member: Address,
        vote: Vote,
        block: BlockId = "latest",
    ) -> Bytes32:
        """Return what a member commits to. Ask no foreign node: it would learn the vote."""
        arguments = (vote.finding, vote.output_digest, vote.activation, vote.salt)
        return Bytes32(
            self._read("commitmentOf", request_id, round_, member, *arguments, block=block)
        )

    def bond_of(self, account: Address, block: BlockId = "latest") -> Wei:
        """Return what the account may withdraw in the chain's currency."""
        return Wei(self._read("bondOf", account, block=block))

    def reward_of(self, account: Address, block: BlockId = "latest") -> Amount:
        """Return what the account may withdraw in the payment token."""
        return Amount(self._read("rewardOf", account, block=block))

    def burn_address(self, block: BlockId = "latest") -> Address:
        """Return who is credited with burned bonds and receives burned stake."""
        return address(self._read("burnAddress", block=block))
