"""One account as the page shows it: money, requests, access, data, what it may decide as an admin.

Only models that the account ever had to do with are looked at; the logs name them.
"""

from typing import Any

from oracle.chain.bindings.data_rounds import ContributionSubmitted
from oracle.chain.bindings.model_access import (
    AccessDenied,
    AccessGranted,
    AccessRevoked,
    AdminSet,
    ApplicationSubmitted,
    GrantStatus,
)
from oracle.chain.bindings.model_registry import ModelTransferred
from oracle.services import access, balances, models, requests
from oracle.services.amounts import format_amount, format_ether
from oracle.services.data import rounds, standing
from oracle.services.data.credits import format_credits
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.types import Address

RECENT = 50  # requests that are shown
_GRANTS = (ApplicationSubmitted, AccessGranted, AccessDenied, AccessRevoked)


def account(network: Network, address: Address) -> dict[str, Any]:
    """Return an account as JSON."""
    money = balances.balances(network, address)
    asked = requests.list_requests(network, requester=address)[-RECENT:]
    returned = network.data_rounds.balance_of(address)
    return {
        "address": address,
        "tokens": format_amount(money.tokens),
        "prepaid": format_amount(money.prepaid),
        "ether": format_ether(money.ether),
        "requests": [
            {
                "id": "0x" + info.request_id.hex(),
                "state": info.state.name,
                "fee": format_amount(info.fee),
            }
            for info in reversed(asked)
        ],
        "access": [_access(network, model_id, address) for model_id in _asked(network, address)],
        "decide": [
            entry
            for model_id in _decided_by(network, address)
            for entry in _applications(network, model_id)
        ],
        "earnings": [
            {
                "model": model.model_id,
                "name": model.name,
                "amount": format_amount(model.owner_earnings),
            }
            for model_id in _owned(network, address)
            if (model := models.info(network, model_id)).owner == address
        ],
        "shares": [
            share
            for model_id in _contributed(network, address)
            if (share := _share(network, model_id, address))
        ],
        "returned": format_amount(returned),
        "returnable": bool(returned),
    }


# ── Which models ────────────────────────────────────────────────────────────────────────────────
def _asked(network: Network, address: Address) -> list[int]:
    """Return the models that the account applied for, or was granted, denied or revoked."""
    found = network.history.read(network.access.address, _GRANTS, None, topic(address))
    return sorted({h.event.model_id for h in found if isinstance(h.event, _GRANTS)})


def _owned(network: Network, address: Address) -> list[int]:
    """Return the models that were ever minted or sent to the account."""
    registry = network.registry.address
    found = network.history.read(registry, (ModelTransferred,), None, topic(address))
    return sorted({h.event.token_id for h in found if isinstance(h.event, ModelTransferred)})


def _decided_by(network: Network, address: Address) -> list[int]:
    """Return the models whose applications the account decides now."""
    found = network.history.read(network.access.address, (AdminSet,), None, topic(address))
    named = {h.event.model_id for h in found if isinstance(h.event, AdminSet)}
    every = sorted(named | set(_owned(network, address)))
    return [model_id for model_id in every if network.access.is_admin(model_id, address)]


def _contributed(network: Network, address: Address) -> list[int]:
    """Return the models that the account ever brought data to."""
    place = network.data_rounds.address
    found = network.history.read(place, (ContributionSubmitted,), None, topic(address))
    ids = {h.event.round_id for h in found if isinstance(h.event, ContributionSubmitted)}
    return sorted({r.model_id for r in rounds.list_rounds(network) if r.round_id in ids})


# ── What about them ─────────────────────────────────────────────────────────────────────────────
def _access(network: Network, model_id: int, address: Address) -> dict[str, Any]:
    status = network.access.grant_of(model_id, address).status
    return {
        "model": model_id,
        "name": network.registry.name_of(model_id),
        "status": status.name,
    }


def _applications(network: Network, model_id: int) -> list[dict[str, Any]]:
    name = network.registry.name_of(model_id)
    return [
        {"model": model_id, "name": name, "requester": wallet.requester, "note": wallet.note}
        for wallet in access.show(network, model_id).wallets
        if wallet.status is GrantStatus.APPLIED
    ]


def _share(network: Network, model_id: int, address: Address) -> dict[str, Any] | None:
    share = standing.standing(network, model_id, address)
    if not (share.credits or share.claimable or share.tier):
        return None
    return {
        "model": model_id,
        "name": network.registry.name_of(model_id),
        "tier": share.tier,
        "credits": format_credits(share.credits),
        "claimable": format_amount(share.claimable),
        "pending": format_amount(share.pending),
        "payable": bool(share.claimable or share.pending),
    }
