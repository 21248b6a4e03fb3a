"""The ModelAccess contract; IModelAccess.sol says what each function means."""

from dataclasses import dataclass

from oracle.chain.codec import address
from oracle.chain.contract import Call, Contract
from oracle.chain.rpc import BlockId
from oracle.types import Address, Bytes32, Grant, GrantStatus, Policy, Timestamp

_NEVER = Timestamp(0)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """A model's policy, with the rate limit of wallets that use it without a grant."""

    policy: Policy
    max_per_window: int  # 0 = unlimited
    window: int  # seconds


@dataclass(frozen=True, slots=True)
class Bounds:
    """Per-lane limits of the parameter word; a maximum of zero means no bounds."""

    minimum: Bytes32
    maximum: Bytes32


class ModelAccess(Contract):
    """Who may use which model, how often, with which parameters."""

    NAME = "ModelAccess"

    # ── Rules of a model ────────────────────────────────────────────────────────────────────────
    def set_admin(self, model_id: int, admin: Address, enabled: bool) -> Call:
        """Make a wallet an admin of the model, or no longer."""
        label = f"{'make' if enabled else 'unmake'} {admin} an admin of model {model_id}"
        return self._call("setAdmin", model_id, admin, enabled, label=label)

    def set_policy(
        self, model_id: int, policy: Policy, max_per_window: int = 0, window: int = 0
    ) -> Call:
        """Set the policy and the rate limit of wallets without a grant."""
        label = f"set the policy of model {model_id} to {policy.name}"
        return self._call("setPolicy", model_id, int(policy), max_per_window, window, label=label)

    def set_bounds(self, model_id: int, minimum: Bytes32, maximum: Bytes32) -> Call:
        """Set per-lane bounds of the parameters; a maximum of zero lifts them."""
        label = f"bound the parameters of model {model_id}"
        return self._call("setBounds", model_id, minimum, maximum, label=label)

    # ── Grants ──────────────────────────────────────────────────────────────────────────────────
    def submit_application(self, model_id: int, note: str = "") -> Call:
        """Ask for access to a model that is used on request."""
        label = f"apply for model {model_id}"
        return self._call("submitApplication", model_id, note, label=label)

    def grant(
        self,
        model_id: int,
        requester: Address,
        expiry: Timestamp = _NEVER,
        max_per_window: int = 0,
        window: int = 0,
    ) -> Call:
        """Give a wallet access; expiry 0 = never, max_per_window 0 = unlimited."""
        label = f"grant {requester} access to model {model_id}"
        return self._call("grant", model_id, requester, expiry, max_per_window, window, label=label)

    def deny(self, model_id: int, requester: Address) -> Call:
        """Refuse a wallet, even if the model is open."""
        label = f"deny {requester} access to model {model_id}"
        return self._call("deny", model_id, requester, label=label)

    def revoke(self, model_id: int, requester: Address) -> Call:
        """Put a wallet back to having no grant."""
        label = f"revoke the access of {requester} to model {model_id}"
        return self._call("revoke", model_id, requester, label=label)

    def consume(self, model_id: int, requester: Address, params: Bytes32) -> Call:
        """Check and count one request; only the market may."""
        return self._call("consume", model_id, requester, params)

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def check(
        self, model_id: int, requester: Address, params: Bytes32, block: BlockId = "latest"
    ) -> None:
        """Return if a request would be let through.

        Raises:
            ContractError: the error that the request would meet.
        """
        self._read("check", model_id, requester, params, block=block)

    def is_admin(self, model_id: int, account: Address, block: BlockId = "latest") -> bool:
        """Return whether the account is the model's owner or an admin."""
        return bool(self._read("isAdmin", model_id, account, block=block))

    def policy_of(self, model_id: int, block: BlockId = "latest") -> AccessPolicy:
        """Return the model's policy."""
        policy, max_per_window, window = self._read("policyOf", model_id, block=block)
        return AccessPolicy(Policy(policy), max_per_window, window)

    def bounds_of(self, model_id: int, block: BlockId = "latest") -> Bounds:
        """Return the bounds of the model's parameters."""
        minimum, maximum = self._read("boundsOf", model_id, block=block)
        return Bounds(minimum, maximum)

    def grant_of(self, model_id: int, requester: Address, block: BlockId = "latest") -> Grant:
        """Return one wallet's access to one model."""
        status, *rest = self._read("grantOf", model_id, requester, block=block)
        return Grant(GrantStatus(status), *rest)

    def market(self, block: BlockId = "latest") -> Address:
        """Return the only caller of `consume`."""
        return address(self._read("market", block=block))
