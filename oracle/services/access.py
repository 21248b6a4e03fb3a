"""Who may use a model: policy, applications, grants, rate limits, bounds of parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from oracle.chain.bindings.model_access import (
    AccessDenied,
    AccessGranted,
    AccessRevoked,
    AdminSet,
    ApplicationSubmitted,
    GrantStatus,
    Policy,
)
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid
from oracle.protocol import params
from oracle.protocol.params import ParameterSpec
from oracle.services import models
from oracle.services.amounts import NO_LIMIT
from oracle.services.event_history import topic
from oracle.services.models import Selected
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import ZERO32, Address, Bytes32, Timestamp


@dataclass(frozen=True, slots=True)
class WalletAccess:
    """One wallet's access to one model, as the market would see it now."""

    requester: Address
    status: GrantStatus
    expiry: Timestamp  # 0 = never
    max_per_window: int  # 0 = unlimited
    window: int  # seconds
    used: int  # in the running window
    note: str  # of the latest application
    allowed: bool
    reason: str  # why not


@dataclass(frozen=True, slots=True)
class Limit:
    """What one parameter may be: by the manifest, and within it by the admins' bounds."""

    lane: int
    name: str
    minimum: float
    maximum: float
    default: float
    description: str


@dataclass(frozen=True, slots=True)
class AccessInfo:
    """A model's rules and everybody who applied, was granted, denied or revoked."""

    model_id: int
    owner: Address
    admins: tuple[Address, ...]
    policy: Policy
    max_per_window: int  # of wallets that use an open model without a grant
    window: int  # seconds
    wallets: tuple[WalletAccess, ...]


@dataclass(frozen=True, slots=True)
class ParameterBounds:
    """The bounds of a model's parameters."""

    model_id: int
    bounded: bool  # whether admins set bounds on chain
    parameters: tuple[Limit, ...]


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────
def show(network: Network, model_id: int) -> AccessInfo:
    """Return a model's rules, and the access of every wallet that ever had to do with them."""
    policy = network.access.policy_of(model_id)
    kinds = (ApplicationSubmitted, AccessGranted, AccessDenied, AccessRevoked)
    notes: dict[Address, str] = {}
    for happened in network.history.read(network.access.address, kinds, topic(model_id)):
        event = happened.event
        assert isinstance(event, kinds)
        note = event.note if isinstance(event, ApplicationSubmitted) else ""
        notes[event.requester] = note or notes.get(event.requester, "")
    owner = network.registry.owner_of(model_id)
    return AccessInfo(
        model_id=model_id,
        owner=owner,
        admins=_admins(network, model_id, owner),
        policy=policy.policy,
        max_per_window=policy.max_per_window,
        window=policy.window,
        wallets=tuple(of_wallet(network, model_id, who, note) for who, note in notes.items()),
    )


def of_wallet(network: Network, model_id: int, requester: Address, note: str = "") -> WalletAccess:
    """Return one wallet's access, and whether a request with default parameters would pass."""
    grant = network.access.grant_of(model_id, requester)
    reason = ""
    try:
        network.access.check(model_id, requester, ZERO32)
    except ContractError as error:
        reason = str(error)
    return WalletAccess(
        requester=requester,
        status=grant.status,
        expiry=grant.expiry,
        max_per_window=grant.max_per_window,
        window=grant.window,
        used=grant.used,
        note=note,
        allowed=not reason,
        reason=reason,
    )


def limits(network: Network, selected: Selected) -> ParameterBounds:
    """Return what each parameter may be.

    Raises:
        NotFound, CidUnresolved: the manifest that names the parameters cannot be had.
    """
    specs = _specs(network, selected)
    bounds = network.access.bounds_of(selected.model_id)
    bounded = any(bounds.maximum)
    low, high = params.unpack(bounds.minimum), params.unpack(bounds.maximum)
    return ParameterBounds(
        selected.model_id,
        bounded,
        tuple(
            Limit(
                lane=spec.lane,
                name=spec.name,
                minimum=spec.real(max(spec.minimum, low[spec.lane]) if bounded else spec.minimum),
                maximum=spec.real(min(spec.maximum, high[spec.lane]) if bounded else spec.maximum),
                default=spec.real(spec.default),
                description=spec.description,
            )
            for spec in specs
        ),
    )


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────
def set_policy(
    network: Network,
    wallet: Wallet,
    model_id: int,
    policy: Policy,
    rate: tuple[int, int] = NO_LIMIT,
) -> Sent:
    """Set who may use the model; the rate limit is that of wallets without a grant."""
    return send(wallet, network.access.set_policy(model_id, policy, *rate))[0]


def set_admin(
    network: Network, wallet: Wallet, model_id: int, admin: Address, enabled: bool
) -> Sent:
    """Make a wallet an admin of the model, or no longer; only the owner may."""
    return send(wallet, network.access.set_admin(model_id, admin, enabled))[0]


def apply(network: Network, wallet: Wallet, model_id: int, note: str) -> Sent:
    """Ask for access to a model that is used on request."""
    return send(wallet, network.access.submit_application(model_id, note))[0]


def grant(
    network: Network,
    wallet: Wallet,
    model_id: int,
    requester: Address,
    *,
    lifetime: int | None = None,
    rate: tuple[int, int] = NO_LIMIT,
) -> Sent:
    """Give a wallet access, for `lifetime` seconds from now or for ever."""
    expiry = Timestamp(0 if lifetime is None else network.history.now() + lifetime)
    return send(wallet, network.access.grant(model_id, requester, expiry, *rate))[0]


def deny(network: Network, wallet: Wallet, model_id: int, requester: Address) -> Sent:
    """Refuse a wallet, even if the model is open."""
    return send(wallet, network.access.deny(model_id, requester))[0]


def revoke(network: Network, wallet: Wallet, model_id: int, requester: Address) -> Sent:
    """Put a wallet back to having no grant."""
    return send(wallet, network.access.revoke(model_id, requester))[0]


def set_limits(
    network: Network,
    wallet: Wallet,
    selected: Selected,
    ranges: Mapping[str, tuple[float, float]],
) -> Sent:
    """Bound parameters on chain, by name and in their own units; no ranges lift all bounds.

    Parameters that are not named keep the manifest's bounds.

    Raises:
        InputInvalid: an unknown parameter, or a value that the manifest does not allow.
    """
    if not ranges:
        return send(wallet, network.access.set_bounds(selected.model_id, ZERO32, ZERO32))[0]
    low, high = pack_ranges(_specs(network, selected), ranges)
    return send(wallet, network.access.set_bounds(selected.model_id, low, high))[0]


def pack_ranges(
    specs: tuple[ParameterSpec, ...], ranges: Mapping[str, tuple[float, float]]
) -> tuple[Bytes32, Bytes32]:
    """Return the words of minima and maxima. Pure; raises InputInvalid as `set_limits`."""
    by_name = {spec.name: spec for spec in specs}
    for name in ranges:
        if name not in by_name:
            raise InputInvalid(
                f"the model has no parameter {name}",
                hint="known: " + (", ".join(by_name) or "none, it takes no parameters"),
            )
    minima, maxima = [0] * params.LANES, [0] * params.LANES
    for name, spec in by_name.items():
        low, high = spec.minimum, spec.maximum
        if name in ranges:
            low, high = (spec.lane_value(value) for value in ranges[name])
        if low > high:
            raise InputInvalid(f"parameter {name}: {ranges[name][0]} is above {ranges[name][1]}")
        minima[spec.lane], maxima[spec.lane] = low, high
    if not any(maxima):
        raise InputInvalid(
            "bounds whose maxima are all zero would lift all bounds",
            hint="leave one parameter a maximum above its lowest step",
        )
    return params.pack(minima), params.pack(maxima)


def _specs(network: Network, selected: Selected) -> tuple[ParameterSpec, ...]:
    """Return the parameters of the version that was named, or of the newest one."""
    version = selected.version or network.registry.version_count(selected.model_id)
    return models.manifest(network, selected.model_id, version).parameters


def _admins(network: Network, model_id: int, owner: Address) -> tuple[Address, ...]:
    """Return who was ever named an admin and still counts as one (they lapse with the owner)."""
    found = network.history.read(network.access.address, (AdminSet,), topic(model_id))
    named = {h.event.admin: None for h in found if isinstance(h.event, AdminSet)}
    return tuple(a for a in named if a != owner and network.access.is_admin(model_id, a))
