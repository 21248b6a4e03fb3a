"""One account as the page shows it: money, requests, access, and what it may decide as an admin."""

from typing import Any

from oracle.services import access, models, requests, wallets
from oracle.services.access import AccessInfo
from oracle.services.amounts import decimal, format_amount, format_ether
from oracle.services.context import Context
from oracle.services.data import standing
from oracle.services.data.credits import format_credits
from oracle.types import Address, GrantStatus

RECENT = 50  # requests that are shown


def account(context: Context, address: Address) -> dict[str, Any]:
    """Return an account as JSON."""
    money = wallets.balances(context, address)
    asked = requests.list_requests(context, requester=address)[-RECENT:]
    rules = [(model, access.show(context, model.model_id)) for model in models.list_models(context)]
    return {
        "address": address,
        "tokens": format_amount(money.tokens),
        "prepaid": format_amount(money.prepaid),
        "prepaidDecimal": decimal(money.prepaid),
        "ether": format_ether(money.ether),
        "bonds": format_ether(money.bonds),
        "requests": [
            {
                "id": "0x" + info.request_id.hex(),
                "model": info.model_id,
                "version": info.version,
                "state": info.state.name,
                "fee": format_amount(info.fee),
                "expired": info.expired,
            }
            for info in reversed(asked)
        ],
        "access": [
            {
                "model": model.model_id,
                "name": model.name,
                "policy": rule.policy.name,
                "status": own.status.name if own else "NONE",
                "reason": own.reason if own else "",
            }
            for model, rule in rules
            for own in [_own(rule, address)]
            if own is not None or rule.policy.name != "OPEN"
        ],
        "decide": [
            {
                "model": model.model_id,
                "name": model.name,
                "requester": wallet.requester,
                "note": wallet.note,
            }
            for model, rule in rules
            if address in (rule.owner, *rule.admins)
            for wallet in rule.wallets
            if wallet.status is GrantStatus.APPLIED
        ],
        "earnings": [
            {
                "model": model.model_id,
                "name": model.name,
                "amount": format_amount(model.owner_earnings),
            }
            for model, _ in rules
            if model.owner == address
        ],
        "shares": [
            {
                "model": model.model_id,
                "name": model.name,
                "tier": share.tier,
                "credits": format_credits(share.credits),
                "claimable": format_amount(share.claimable),
                "pending": format_amount(share.pending),
                "payable": bool(share.claimable or share.pending),
            }
            for model, _ in rules
            for share in [standing.standing(context, model.model_id, address)]
            if share.credits or share.claimable or share.tier
        ],
        "returned": format_amount(context.credits.balance_of(address)),
        "returnable": bool(context.credits.balance_of(address)),
    }


def _own(rule: AccessInfo, address: Address) -> access.WalletAccess | None:
    return next((wallet for wallet in rule.wallets if wallet.requester == address), None)
