"""Rounds for data, what was contributed to them, and the credits that it earned."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from oracle.api.documents import Limit, Offset, address_of, listed, show
from oracle.api.state import StateDep
from oracle.services import models
from oracle.services.data import listing, rounds, standing

router = APIRouter(prefix="/api", tags=["data"])

Round = Annotated[int, Path(ge=1, lt=2**63)]


@router.get("/rounds")
async def list_rounds(
    request: Request, state: StateDep, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """List all rounds for data."""
    return await listed(request, state, lambda: rounds.list_rounds(state.network), limit, offset)


@router.get("/rounds/{round_id}")
async def show_round(request: Request, state: StateDep, round_id: Round) -> Response:
    """Show a round with everything that happened in it."""
    return await show(request, state, lambda: rounds.show(state.network, round_id))


@router.get("/rounds/{round_id}/contributions")
async def contributions(
    request: Request, state: StateDep, round_id: Round, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """List what was contributed to a round, and what it was found to be worth."""
    return await listed(
        request,
        state,
        lambda: listing.list_contributions(state.network, round_id),
        limit,
        offset,
    )


@router.get("/models/{model}/rounds")
async def rounds_of(
    request: Request, state: StateDep, model: str, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """List the rounds of one model."""
    network = state.network
    return await listed(
        request,
        state,
        lambda: rounds.list_rounds(network, models.select(network, model).model_id),
        limit,
        offset,
    )


@router.get("/models/{model}/credits/{address}")
async def credits_of(request: Request, state: StateDep, model: str, address: str) -> Response:
    """Show one contributor's tier, credits, and what it may claim."""
    network, who = state.network, address_of(address)
    return await show(
        request,
        state,
        lambda: standing.standing(network, models.select(network, model).model_id, who),
    )
