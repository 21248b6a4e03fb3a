"""What the payment token logs."""

from dataclasses import dataclass

from oracle.chain.events.event import Event
from oracle.types import Address, Amount, Bytes32

_event = dataclass(frozen=True, slots=True)


@_event
class Transfer(Event):
    """ERC-20 `Transfer`."""

    from_: Address
    to: Address
    value: Amount


@_event
class Approval(Event):
    """ERC-20 `Approval`."""

    owner: Address
    spender: Address
    value: Amount


@_event
class AuthorizationUsed(Event):
    """EIP-3009."""

    authorizer: Address
    nonce: Bytes32


@_event
class AuthorizationCanceled(Event):
    """EIP-3009."""

    authorizer: Address
    nonce: Bytes32


@_event
class EIP712DomainChanged(Event):
    """ERC-5267; none of our contracts ever changes its domain."""
