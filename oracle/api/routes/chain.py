"""The network itself, its operators, and what accounts have."""

from functools import partial

from fastapi import APIRouter, Request, Response

from oracle.api.documents import Limit, Offset, address_of, listed, show
from oracle.api.state import StateDep
from oracle.services import balances, operators

router = APIRouter(prefix="/api", tags=["network"])


@router.get("")
async def network(request: Request, state: StateDep) -> Response:
    """Say which chain and contracts this is, which account pays for API keys, and its channels."""
    account = state.gateway.address if state.gateway else None
    paying = state.gateway.channels if state.gateway else None
    return await show(
        request,
        state,
        lambda: {
            "contracts": state.network.contracts,
            "now": state.network.history.now(),
            "account": account,
            "relay": state.gateway is not None and state.config.relay,
            "channels": paying.routes() if paying else None,
        },
    )


@router.get("/operators")
async def list_operators(
    request: Request, state: StateDep, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """List everybody who registered, with stake and record."""
    read = partial(operators.list_operators, state.network)
    return await listed(request, state, read, limit, offset)


@router.get("/operators/{address}")
async def operator(request: Request, state: StateDep, address: str) -> Response:
    """Show one operator."""
    who = address_of(address)
    return await show(request, state, lambda: operators.status(state.network, who))


@router.get("/wallets/{address}")
async def wallet(request: Request, state: StateDep, address: str) -> Response:
    """Show what an account has: tokens, prepaid balance, bonds, currency for gas."""
    who = address_of(address)
    return await show(request, state, lambda: balances.balances(state.network, who))
