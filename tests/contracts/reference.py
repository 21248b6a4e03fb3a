"""The market as a page of Python: what every call must do to the books, or why it is refused.

Written from the interfaces' natspec alone. A call either raises `Reverted` with the typed error's
name and changes nothing, or changes the books.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from tests.support.evm import Reverted

MIN_LOCK, CLAIM_FORFEIT, CLAIM_PERIOD, DEMAND_PERIOD, MAX_DISPUTE_AGE = (
    1_000_000,
    70_000,
    30,
    40,
    300,
)
UNBONDING_DELAY = 700
PROTOCOL_BPS = 333


@dataclass(frozen=True)
class Version:
    fee: int
    operator_bps: int
    data_bps: int
    multiple: int
    window: int
    max_units: int = 0  # metered when above 0

    def price(self, units: int) -> int:
        """Return the fee, or its part for so many units, rounded up."""
        return ceil(Fraction(self.fee * units, self.max_units)) if self.max_units else self.fee

    @property
    def lock(self) -> int:
        return max(2 * self.fee * self.multiple, MIN_LOCK)


@dataclass
class Job:
    """One request, from the order to its end."""

    requester: str
    lane: int
    operator: str | None
    priority_until: int
    expires_at: int
    version: Version
    words: tuple
    phase: str = "requested"  # requested | claimed | delivered | ended
    claim: tuple[str, int] | None = None
    delivery: tuple[str, int, bytes] | None = None
    open: int = 0
    demander: str | None = None
    demand_deadline: int = 0
    posted_until: int = 0  # until when bytes that were posted can be challenged
    bond: int = 0
    annulled: bool = False  # once the demand is answered
    ends: int = 0  # how often it was settled: never more than once

    @property
    def window_end(self) -> int:
        return max((self.delivery[1] & 2**40 - 1) + self.version.window, self.posted_until)


def require(condition: bool, error: str) -> None:
    if not condition:
        raise Reverted(error)


@dataclass
class Books:
    """Balances, stakes, earnings and jobs. Amounts in token units, bonds in wei."""

    owner: str = ""
    treasury: str = ""
    balances: dict = field(default_factory=lambda: defaultdict(int))
    nonces: dict = field(default_factory=lambda: defaultdict(int))
    bonds: dict = field(default_factory=lambda: defaultdict(int))
    staked: dict = field(default_factory=lambda: defaultdict(int))
    locked: dict = field(default_factory=lambda: defaultdict(int))
    unbonding: dict = field(default_factory=dict)
    authorized: dict = field(default_factory=dict)
    owner_fees: int = 0
    data_fees: int = 0
    burned: int = 0
    paused: bool = False  # the token
    blocked: set = field(default_factory=set)  # by the token
    jobs: list = field(default_factory=list)

    # ── Money in and out ────────────────────────────────────────────────────────────────────────
    def _move(self, account: str) -> None:
        """Only what moves tokens meets what the token refuses."""
        require(not self.paused and account not in self.blocked, "Refused")

    def deposit(self, account: str, amount: int) -> None:
        require(amount > 0, "AmountZero")
        self._move(account)
        self.balances[account] += amount

    def withdraw(self, account: str, amount: int) -> None:
        self._debit(account, amount, lambda: self._move(account))

    def _debit(self, account: str, amount: int, check: Callable[[], None] = lambda: None) -> None:
        require(amount > 0, "AmountZero")
        require(amount <= self.balances[account], "BalanceInsufficient")
        check()
        self.balances[account] -= amount

    def transfer(self, account: str, to: str, amount: int) -> None:
        self._debit(account, amount)
        self.balances[to] += amount

    def collect_model(self) -> None:
        require(self.owner_fees + self.data_fees > 0, "AmountZero")
        self.balances[self.owner] += self.owner_fees + self.data_fees
        self.owner_fees = self.data_fees = 0

    def withdraw_bond(self, account: str) -> None:
        require(self.bonds[account] > 0, "AmountZero")
        self.bonds[account] = 0

    # ── Stake ───────────────────────────────────────────────────────────────────────────────────
    def start_unstake(self, operator: str, amount: int, now: int) -> None:
        require(operator not in self.unbonding, "UnbondingPending")
        require(amount <= self.staked[operator] - self.locked[operator], "StakeInsufficient")
        self.staked[operator] -= amount
        self.unbonding[operator] = (amount, now + UNBONDING_DELAY)

    def finish_unstake(self, operator: str, now: int) -> None:
        require(operator in self.unbonding, "UnbondingMissing")
        require(now >= self.unbonding[operator][1], "UnbondingPending")
        self._move(operator)
        del self.unbonding[operator]

    def _check_lock(self, operator: str, amount: int) -> None:
        require(self.authorized.get(operator, False), "OperatorUnauthorized")
        require(amount <= self.staked[operator] - self.locked[operator], "StakeInsufficient")

    def _slash(self, operator: str, amount: int) -> None:
        self.staked[operator] -= amount
        self.locked[operator] -= amount

    # ── The life of a request ───────────────────────────────────────────────────────────────────
    def request(self, job: Job) -> None:
        busy = any(j.requester == job.requester and j.lane == job.lane for j in self.live())
        require(not busy, "LaneBusy")
        require(self.balances[job.requester] >= job.version.fee, "BalanceInsufficient")
        self.balances[job.requester] -= job.version.fee
        self.nonces[job.requester] += 1
        self.jobs.append(job)

    def claim(self, job: Job, operator: str, now: int) -> None:
        require(job.phase in ("requested", "claimed"), "RequestStateMismatch")
        require(now >= job.priority_until, "PriorityWindowOpen")
        require(now < job.expires_at, "RequestExpired")
        require(job.claim is None or now >= job.claim[1], "ClaimActive")
        lapsed = job.claim
        if lapsed and lapsed[0] == operator:  # its lapsed lock is free again before the new one
            spare = self.staked[operator] - self.locked[operator] + job.version.lock - CLAIM_FORFEIT
            require(self.authorized.get(operator, False), "OperatorUnauthorized")
            require(job.version.lock <= spare, "StakeInsufficient")
        else:
            self._check_lock(operator, job.version.lock)
        if lapsed:
            self._forfeit(job)
        self.locked[operator] += job.version.lock
        job.phase, job.claim = "claimed", (operator, min(now + CLAIM_PERIOD, job.expires_at))

    def deliver(self, job: Job, operator: str, root: bytes, units: int, now: int) -> None:
        require(job.phase in ("requested", "claimed"), "RequestStateMismatch")
        most = job.version.max_units
        require(1 <= units <= most if most else units == 0, "UnitsInvalid")
        if job.claim:
            require(operator == job.claim[0], "CallerNotClaimant")
            require(now < job.claim[1], "ClaimLapsed")
        else:
            require(operator == job.operator, "CallerNotPreferredOperator")
            require(now < job.priority_until, "PriorityWindowPassed")
            self._check_lock(operator, job.version.lock)
            self.locked[operator] += job.version.lock
        job.phase, job.delivery = "delivered", (operator, now | units << 40, root)

    def finalize(self, job: Job, now: int) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(now >= job.window_end, "ChallengeWindowOpen")
        require(job.open == 0 and job.demander is None, "DisputesOpen")
        version, operator = job.version, job.delivery[0]
        paid = version.price(job.delivery[1] >> 40)
        operator_fee = paid * version.operator_bps // 10_000
        data_fee = paid * version.data_bps // 10_000
        protocol_fee = paid * PROTOCOL_BPS // 10_000
        self.balances[job.requester] += version.fee - paid
        self.balances[operator] += operator_fee
        self.data_fees += data_fee
        self.balances[self.treasury] += protocol_fee
        self.owner_fees += paid - operator_fee - data_fee - protocol_fee
        self.locked[operator] -= version.lock
        self._end(job)

    def cancel(self, job: Job, now: int) -> None:
        require(job.phase in ("requested", "claimed"), "RequestStateMismatch")
        require(now >= job.expires_at, "RequestNotExpired")
        self.balances[job.requester] += job.version.fee
        if job.claim:
            self._forfeit(job)
        self._end(job)

    def _forfeit(self, job: Job) -> None:
        operator = job.claim[0]
        self._slash(operator, CLAIM_FORFEIT)
        self.locked[operator] -= job.version.lock - CLAIM_FORFEIT
        self.balances[self.treasury] += CLAIM_FORFEIT

    # ── Demands and disputes ────────────────────────────────────────────────────────────────────
    def demand(self, job: Job, challenger: str, bond: int, now: int) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.demand_deadline == 0, "OutputAlreadyDemanded")
        job.demander, job.bond, job.demand_deadline = challenger, bond, now + DEMAND_PERIOD

    def post(self, job: Job, right: bool, now: int) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.demander is not None, "OutputNotDemanded")
        require(now < job.demand_deadline, "DemandExpired")
        require(right, "OutputMismatch")
        # The machine's chain has no base fee and no floor: posting costs nothing.
        self.bonds[job.demander] += job.bond
        job.demander, job.bond = None, 0
        job.posted_until = now + min(job.version.window, DEMAND_PERIOD)
        if job.annulled:
            self._annul(job)

    def convict_withheld(self, job: Job, prover: str, now: int) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.demander is not None, "OutputNotDemanded")
        require(now >= job.demand_deadline, "DemandOpen")
        require(job.open == 0 or now >= job.window_end + MAX_DISPUTE_AGE, "DisputesOpen")
        self._convict(job, job.demander, prover)

    def open_dispute(self, job: Job, now: int) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(now < job.window_end, "ChallengeWindowPassed")
        require(not job.annulled, "DisputeAnnulled")
        job.open += 1

    def close_dispute(self, job: Job) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.open > 0, "DisputesMissing")
        job.open -= 1

    def convict(self, job: Job, challenger: str, prover: str) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.open > 0, "DisputesMissing")
        self._convict(job, challenger, prover)

    def annul(self, job: Job) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.open > 0, "DisputesMissing")
        if job.demander is None:
            self._annul(job)
        else:
            job.open, job.annulled = 0, True

    def annul_stale(self, job: Job, now: int) -> None:
        require(job.phase == "delivered", "RequestStateMismatch")
        require(job.open > 0, "DisputesMissing")
        require(now >= job.window_end + MAX_DISPUTE_AGE, "DisputesNotStale")
        require(job.demander is None, "DemandOpen")
        self._annul(job)

    def _convict(self, job: Job, challenger: str, prover: str) -> None:
        total, insured = job.version.lock, job.version.fee * job.version.multiple
        bounty = total * 3 // 10
        self.balances[job.requester] += job.version.fee + insured
        self.balances[challenger] += bounty // 2
        self.balances[prover] += bounty - bounty // 2
        self.burned += total - insured - bounty
        self._slash(job.delivery[0], total)
        self._end(job)

    def _annul(self, job: Job) -> None:
        self.balances[job.requester] += job.version.fee
        self.locked[job.delivery[0]] -= job.version.lock
        self._end(job)

    def _end(self, job: Job) -> None:
        if job.demander:
            self.bonds[job.demander] += job.bond
            job.demander, job.bond = None, 0
        job.phase = "ended"
        job.ends += 1

    # ── Sums ────────────────────────────────────────────────────────────────────────────────────
    def live(self) -> list[Job]:
        return [job for job in self.jobs if job.phase != "ended"]

    @property
    def escrow(self) -> int:
        return sum(job.version.fee for job in self.live())

    @property
    def custody(self) -> int:
        """Return what the market must hold in tokens."""
        earned = self.owner_fees + self.data_fees
        return sum(self.balances.values()) + self.escrow + earned

    @property
    def stakes(self) -> int:
        return sum(self.staked.values()) + sum(amount for amount, _ in self.unbonding.values())

    def locks_of(self, operator: str) -> int:
        claims = [j for j in self.jobs if j.phase == "claimed" and j.claim[0] == operator]
        waiting = [j for j in self.jobs if j.phase == "delivered" and j.delivery[0] == operator]
        return sum(job.version.lock for job in claims + waiting)
