"""The OperatorRegistry contract; IOperatorRegistry.sol says what each function means."""

from dataclasses import dataclass

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.revert import dollars
from oracle.chain.rpc import BlockId
from oracle.types import ZERO32, Address, Amount, Bytes32, Stake, Timestamp


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Stake on its way out; an amount of 0 means there is none."""

    amount: Amount
    release_at: Timestamp


class OperatorRegistry(Contract):
    """Operators: profile, stake, and for which models they are authoritative."""

    NAME = "OperatorRegistry"

    # ── Operator's own ──────────────────────────────────────────────────────────────────────────
    def register(self, encryption_key: Bytes32 = ZERO32, endpoint: str = "") -> Call:
        """Register the caller."""
        label = "register as an operator"
        return self._call("register", encryption_key, endpoint, label=label)

    def update_profile(self, encryption_key: Bytes32, endpoint: str) -> Call:
        """Change the caller's profile."""
        label = "update the operator's profile"
        return self._call("updateProfile", encryption_key, endpoint, label=label)

    def stake(self, operator: Address, amount: Amount) -> Call:
        """Move tokens of the caller, approved before, into an operator's stake."""
        label = f"stake {dollars(amount)} for {operator}"
        return self._call("stake", operator, amount, label=label)

    def start_unstake(self, amount: Amount) -> Call:
        """Start the unbonding delay for free stake of the caller."""
        return self._call("startUnstake", amount, label=f"start to unstake {dollars(amount)}")

    def finish_unstake(self) -> Call:
        """Pay out what has unbonded."""
        return self._call("finishUnstake", label="finish to unstake")

    # ── Model owner's and market's ──────────────────────────────────────────────────────────────
    def authorize(self, model_id: int, operator: Address, authorized: bool = True) -> Call:
        """Make an operator authoritative for a model, or no longer."""
        label = f"{'authorize' if authorized else 'dismiss'} {operator} for model {model_id}"
        return self._call("authorize", model_id, operator, authorized, label=label)

    def lock_for(self, model_id: int, operator: Address, amount: Amount) -> Call:
        """Lock stake; only the market may."""
        return self._call("lockFor", model_id, operator, amount)

    def unlock(self, operator: Address, amount: Amount) -> Call:
        """Free locked stake; only the market may."""
        return self._call("unlock", operator, amount)

    def slash(self, operator: Address, amount: Amount, burned: Amount) -> Call:
        """Take locked stake; only the market may."""
        return self._call("slash", operator, amount, burned)

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def stake_of(self, operator: Address, block: BlockId = "latest") -> Stake:
        """Return an operator's stake."""
        return Stake(*self._read("stakeOf", operator, block=block))

    def unbonding_of(self, operator: Address, block: BlockId = "latest") -> Unbonding:
        """Return the stake that is on its way out."""
        return Unbonding(*self._read("unbondingOf", operator, block=block))

    def free_stake_of(self, operator: Address, block: BlockId = "latest") -> Amount:
        """Return the stake that is neither locked nor unbonding."""
        return Amount(self._read("freeStakeOf", operator, block=block))

    def is_authorized(self, model_id: int, operator: Address, block: BlockId = "latest") -> bool:
        """Return whether the operator is authoritative for the model."""
        return bool(self._read("isAuthorized", model_id, operator, block=block))

    def encryption_key_of(self, operator: Address, block: BlockId = "latest") -> Bytes32:
        """Return the operator's public encryption key; zero when it has none."""
        return Bytes32(self._read("encryptionKeyOf", operator, block=block))

    def unbonding_delay(self, block: BlockId = "latest") -> int:
        """Return the seconds between the start and the end of unstaking."""
        return int(self._read("unbondingDelay", block=block))

    def market(self, block: BlockId = "latest") -> Address:
        """Return the only contract that may lock and slash."""
        return address(self._read("market", block=block))

    def token(self, block: BlockId = "latest") -> Address:
        """Return the token that is staked."""
        return address(self._read("token", block=block))

    def burn_address(self, block: BlockId = "latest") -> Address:
        """Return where burned stake goes."""
        return address(self._read("burnAddress", block=block))
