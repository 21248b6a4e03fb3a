"""What stake makes lying a loss: docs/economics.md. Said before files are published."""

from oracle.errors import Refused
from oracle.services.amounts import format_amount
from oracle.services.network import Network
from oracle.types import Amount

_BPS = 10_000
_KEPT = 7_000  # basis points of the stake that a liar with a friend loses: all but the bounty


def least_lock(fee: Amount, operator_bps: int, audit_bps: int) -> Amount:
    """Return the least stake behind an answer, (1 - p) / p * o / 0.7, rounded up.

    Args:
        fee: of an answer.
        operator_bps: the operator's share of it, in basis points.
        audit_bps: share of answers that are computed again, in basis points; above 0.
    """
    share = fee * operator_bps // _BPS
    return Amount(-(-(_BPS - audit_bps) * share * _BPS // (audit_bps * _KEPT)))


def require(network: Network, fee: Amount, operator_bps: int, insured_multiple: int) -> None:
    """Refuse terms that the registry refuses, and show the sum.

    Raises:
        Refused: under these terms lying pays.
    """
    honesty = network.registry.honesty_of()
    if not honesty.audit_bps:
        return
    lock = Amount(max(2 * fee * insured_multiple, honesty.min_lock))
    needed = least_lock(fee, operator_bps, honesty.audit_bps)
    if lock >= needed:
        return
    share = honesty.audit_bps / _BPS
    raise Refused(
        f"under these terms lying pays: an operator earns {format_amount(fee)} × "
        f"{operator_bps / _BPS:.0%} with {1 - share:.0%} of its lies, and loses 70 % of "
        f"{format_amount(lock)} with {share:.0%}; {format_amount(needed)} of stake are needed",
        hint=f"--insured {-(-needed // (2 * fee))}, or a lower fee or operator's share",
    )
