"""The DataCredits contract; IDataRounds.sol says what each function means."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import Address, Amount, Bytes32, Credits, RoundTerms, Timestamp


class RoundStage(IntEnum):
    """Where a round stands; within COLLECTING the clock decides."""

    NONE = 0
    COLLECTING = 1
    VALUING = 2
    SETTLED = 3
    VOID = 4


class ContributionStatus(IntEnum):
    """Where a contribution stands."""

    NONE = 0
    COMMITTED = 1
    REVEALED = 2
    EXCLUDED = 3  # by the opener; its deposit is given back
    DISPLACED = 4  # the same data set was committed earlier; its deposit is lost
    CLOSED = 5  # deposit, credit or both were dealt with


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is fixed at deployment."""

    market: Address
    game: Address
    deposit: Amount  # of tier 0
    fee: Amount
    max_period: int  # seconds


@dataclass(frozen=True, slots=True)
class Round:
    """A round as it stands now."""

    model_id: int
    submit_until: Timestamp
    reveal_until: Timestamp
    test_until: Timestamp
    stage: RoundStage
    max_contributions: int
    contributions: int  # committed
    revealed: int  # and neither excluded nor displaced
    visited: int  # by `number`
    max_rows: int
    features: int
    neighbours: int
    row_tolerance: int
    test_tolerance: int
    test_rows: int
    rows: int  # numbered so far
    numbered: int  # contributions, so far
    test_revealed: bool
    endorsed: bool
    sealed_at: Timestamp
    opener: Address
    reward: Amount
    test: Bytes32  # commitment, then root of the test set
    values_root: Bytes32
    per_credit: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """One data set that somebody brings to a round."""

    digest: Bytes32  # commitment, from the reveal on root of the data set
    owner: Address
    deposit: Amount
    endorser_bps: int
    rows: int  # 0 = no part of the valuation (yet)
    status: ContributionStatus


@dataclass(frozen=True, slots=True)
class Place:
    """A contribution in the numbering of docs/valuation.md."""

    index: int  # of the contribution, in the order of commitments
    start: int  # its first row
    rows: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account has done for a model."""

    earned: Credits
    kept: int  # deposits
    forfeited: int  # deposits and endorsements
    convictions: int
    round_id: int  # last submitted to
    submissions: int  # to that round
    nonce: int  # of signed submissions


@dataclass(frozen=True, slots=True)
class Endorsement:
    """Credit that an account staked on somebody's contribution; amount 0 = none."""

    amount: Credits
    per_credit: int


@dataclass(frozen=True, slots=True)
class Opening:
    """What a commitment to a data set hides, and where the file is."""

    data_root: Bytes32
    rows: int
    salt: Bytes32
    cid: Bytes32  # SHA-256 of the data set's file
    envelope: Bytes32 = Bytes32(bytes(32))  # noqa: RUF009 -- a digest with a name


@dataclass(frozen=True, slots=True)
class Submission:
    """What an owner signs so that somebody else may commit for it; the nonce is its standing's."""

    owner: Address
    round_id: int
    commitment: Bytes32
    endorser_bps: int
    deadline: Timestamp

    @property
    def fields(self) -> tuple[Address, int, Bytes32, int, Timestamp]:
        """In the order of `submitFor`."""
        return self.owner, self.round_id, self.commitment, self.endorser_bps, self.deadline


class DataCredits(Contract):
    """Contributions of data, the rounds that value them, credits, and what those earn."""

    NAME = "DataCredits"

    # ── A round ─────────────────────────────────────────────────────────────────────────────────
    def open_round(self, model_id: int, terms: RoundTerms) -> Call:
        """Open a round; the model's holder may. Takes the reward."""
        return self._call("openRound", model_id, terms, label="open a round for data")

    def reveal_test(self, round_id: int, root: Bytes32, salt: Bytes32, cid: Bytes32) -> Call:
        """Open the commitment to the test set."""
        return self._call("revealTest", round_id, root, salt, cid, label="reveal the test set")

    def exclude(self, round_id: int, index: int) -> Call:
        """Leave out a contribution whose data nobody serves; the opener may."""
        return self._call("exclude", round_id, index, label="exclude a contribution")

    def number(self, round_id: int, limit: int) -> Call:
        """Number the rows of `limit` more contributions; the last call seals the round."""
        return self._call("number", round_id, limit, label="number contributions")

    def settle(
        self, round_id: int, valuator: Address, values_root: Bytes32, values: Sequence[int]
    ) -> Call:
        """End a round with values; only the game may."""
        arguments = (round_id, valuator, values_root, values)
        return self._call("settle", *arguments, label="settle a round")

    def void_round(self, round_id: int) -> Call:
        """End a round whose test set was not revealed."""
        return self._call("voidRound", round_id, label="void a round")

    def punish(self, model_id: int, valuator: Address) -> Call:
        """Take a convicted valuator's tier away; only the game may."""
        return self._call("punish", model_id, valuator, label="punish a valuator")

    # ── Contribute ──────────────────────────────────────────────────────────────────────────────
    def submit(self, round_id: int, commitment: Bytes32, endorser_bps: int = 0) -> Call:
        """Commit to a data set. Takes fee and deposit."""
        arguments = (round_id, commitment, endorser_bps)
        return self._call("submit", *arguments, label="submit a data set")

    def submit_for(self, submission: Submission, signature: bytes) -> Call:
        """Commit for an owner that signed; the caller pays."""
        return self._call(
            "submitFor", *submission.fields, signature, label="submit a signed data set"
        )

    def reveal(self, round_id: int, index: int, opening: Opening) -> Call:
        """Open a commitment."""
        values = (opening.data_root, opening.rows, opening.salt, opening.cid, opening.envelope)
        return self._call("reveal", round_id, index, *values, label="reveal a data set")

    def endorse(self, round_id: int, index: int, amount: Credits) -> Call:
        """Stake own credit on somebody else's contribution."""
        return self._call("endorse", round_id, index, amount, label="endorse a contribution")

    # ── What it brought ─────────────────────────────────────────────────────────────────────────
    def credit(self, round_id: int, number: int, value: int, path: Sequence[Bytes32]) -> Call:
        """Give a contribution its credit."""
        return self._call("credit", round_id, number, value, path, label="credit a contribution")

    def forfeit(self, round_id: int, index: int) -> Call:
        """Burn the deposit of a contribution that was not revealed, or was displaced."""
        return self._call("forfeit", round_id, index, label="forfeit a deposit")

    def refund(self, round_id: int, index: int) -> Call:
        """Give a deposit back."""
        return self._call("refund", round_id, index, label="refund a deposit")

    def settle_endorsement(
        self, round_id: int, number: int, endorser: Address, value: int, path: Sequence[Bytes32]
    ) -> Call:
        """End an endorsement of a valued contribution."""
        arguments = (round_id, number, endorser, value, path)
        return self._call("settleEndorsement", *arguments, label="settle an endorsement")

    def return_endorsement(self, round_id: int, index: int, endorser: Address) -> Call:
        """End an endorsement of a contribution that is not valued."""
        arguments = (round_id, index, endorser)
        return self._call("returnEndorsement", *arguments, label="return an endorsement")

    # ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    def credit_revenue(self, model_id: int, amount: Amount) -> Call:
        """Divide what came in; only the market may."""
        return self._call("creditRevenue", model_id, amount, label="credit revenue")

    def claim(self, model_id: int) -> Call:
        """Pay what the caller's credits earned."""
        return self._call("claim", model_id, label="claim a share of fees")

    def withdraw(self) -> Call:
        """Pay the caller's deposits and rewards."""
        return self._call("withdraw", label="withdraw deposits and rewards")

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def config(self, block: BlockId = "latest") -> DataConfig:
        """Return what was fixed at deployment."""
        market, game, *rest = self._read("config", block=block)
        return DataConfig(address(market), address(game), *rest)

    def token(self, block: BlockId = "latest") -> Address:
        """Return the token that is paid in."""
        return address(self._read("token", block=block))

    def round_of(self, round_id: int, block: BlockId = "latest") -> Round:
        """Return a round; its stage is NONE when there is none."""
        values = list(self._read("roundOf", round_id, block=block))
        values[4], values[20] = RoundStage(values[4]), address(values[20])
        return Round(*values)

    def round_count(self, block: BlockId = "latest") -> int:
        """Return the number of rounds; ids are 1 … this."""
        return int(self._read("roundCount", block=block))

    def current_round_of(self, model_id: int, block: BlockId = "latest") -> int:
        """Return the model's last round; 0 = none yet."""
        return int(self._read("currentRoundOf", model_id, block=block))

    def contribution_of(self, round_id: int, index: int, block: BlockId = "latest") -> Contribution:
        """Return a contribution; its status is NONE when there is none."""
        values = list(self._read("contributionOf", round_id, index, block=block))
        values[1], values[5] = address(values[1]), ContributionStatus(values[5])
        return Contribution(*values)

    def place_of(self, round_id: int, number: int, block: BlockId = "latest") -> Place:
        """Return where a numbered contribution stands; rows 0 when there is none."""
        return Place(*self._read("placeOf", round_id, number, block=block))

    def head_of(self, model_id: int, block: BlockId = "latest") -> Bytes32:
        """Return the head of the model's chain of contributions."""
        return Bytes32(self._read("headOf", model_id, block=block))

    def standing_of(self, model_id: int, account: Address, block: BlockId = "latest") -> Standing:
        """Return what an account has done for a model."""
        return Standing(*self._read("standingOf", model_id, account, block=block))

    def tier_of(self, model_id: int, account: Address, block: BlockId = "latest") -> int:
        """Return an account's tier, 0 … 3."""
        return int(self._read("tierOf", model_id, account, block=block))

    def requirements_of(
        self, model_id: int, account: Address, block: BlockId = "latest"
    ) -> tuple[Amount, int]:
        """Return the deposit of the next contribution, and how many a round takes."""
        deposit, cap = self._read("requirementsOf", model_id, account, block=block)
        return Amount(deposit), int(cap)

    def endorsement_of(
        self, round_id: int, index: int, endorser: Address, block: BlockId = "latest"
    ) -> Endorsement:
        """Return what somebody staked on a contribution."""
        return Endorsement(*self._read("endorsementOf", round_id, index, endorser, block=block))

    def endorsed_of(self, round_id: int, index: int, block: BlockId = "latest") -> Credits:
        """Return what is staked on a contribution in all."""
        return Credits(self._read("endorsedOf", round_id, index, block=block))

    def credits_of(self, model_id: int, holder: Address, block: BlockId = "latest") -> Credits:
        """Return a holder's credits."""
        return Credits(self._read("creditsOf", model_id, holder, block=block))

    def total_credits(self, model_id: int, block: BlockId = "latest") -> Credits:
        """Return all credits of a model."""
        return Credits(self._read("totalCredits", model_id, block=block))

    def has_credits(self, model_id: int, block: BlockId = "latest") -> bool:
        """Tell whether anybody holds credits of a model."""
        return bool(self._read("hasCredits", model_id, block=block))

    def claimable(self, model_id: int, holder: Address, block: BlockId = "latest") -> Amount:
        """Return what `claim` would pay."""
        return Amount(self._read("claimable", model_id, holder, block=block))

    def balance_of(self, account: Address, block: BlockId = "latest") -> Amount:
        """Return what `withdraw` would pay."""
        return Amount(self._read("balanceOf", account, block=block))

    def burn_address(self, block: BlockId = "latest") -> Address:
        """Return who receives what is burned."""
        return address(self._read("burnAddress", block=block))

    def submission_hash(
        self, submission: Submission, nonce: int, block: BlockId = "latest"
    ) -> Bytes32:
        """Return the digest that a signed submission's signature is over."""
        *fields, deadline = submission.fields
        return Bytes32(self._read("submissionHash", *fields, nonce, deadline, block=block))
