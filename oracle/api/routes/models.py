"""Models: versions, manifests, history and its verification, access."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from oracle.api.documents import Limit, Offset, address_of, listed, show
from oracle.api.problems import Rejected
from oracle.api.state import StateDep
from oracle.services import access, model_history, models, operators, quoting
from oracle.services.models import Selected
from oracle.types import VersionRecord

router = APIRouter(prefix="/api/models", tags=["models"])


@router.get("")
async def list_models(
    request: Request, state: StateDep, limit: Limit = 50, offset: Offset = 0, owner: str = ""
) -> Response:
    """List all models, or those of one owner."""
    whose = address_of(owner) if owner else None
    return await listed(
        request, state, lambda: models.list_models(state.network, whose), limit, offset
    )


@router.get("/{model}")
async def model(request: Request, state: StateDep, model: str) -> Response:
    """Show a model with its versions and the newest manifest; MODEL@3 shows that of version 3."""
    return await show(
        request, state, lambda: models.show(state.network, models.select(state.network, model))
    )


@router.get("/{model}/versions")
async def versions(
    request: Request, state: StateDep, model: str, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """List a model's versions, oldest first."""
    network = state.network
    return await listed(
        request,
        state,
        lambda: models.versions(network, models.select(network, model).model_id),
        limit,
        offset,
    )


@router.get("/{model}/history")
async def history(
    request: Request, state: StateDep, model: str, limit: Limit = 50, offset: Offset = 0
) -> Response:
    """List the records of the model's hash chain, as the registry logged them."""
    network = state.network

    def read() -> list[VersionRecord]:
        return models.records(network, models.select(network, model).model_id)

    return await listed(request, state, read, limit, offset)


@router.get("/{model}/verification")
async def verify(
    request: Request,
    state: StateDep,
    model: str,
    with_bytes: Annotated[
        bool, Query(alias="bytes", description="Read every file as well, not the records alone.")
    ] = False,
) -> Response:
    """Recompute the hash chain; a history that does not fit is a problem that names the record.

    You need not believe this server: `tallystick model verify` does the same on your machine.
    """
    network = state.network
    if state.verifying.locked() and with_bytes:
        raise Rejected(503, "Busy", "other verifications are running", {"Retry-After": "5"})
    async with state.verifying:
        return await show(
            request,
            state,
            lambda: model_history.verify(
                network, models.select(network, model).model_id, with_bytes=with_bytes
            ),
        )


@router.get("/{model}/access")
async def rules(request: Request, state: StateDep, model: str) -> Response:
    """Show the policy, the admins, and everybody who applied, was granted, denied or revoked."""
    network = state.network
    return await show(
        request, state, lambda: access.show(network, models.select(network, model).model_id)
    )


@router.get("/{model}/access/{address}")
async def access_of(request: Request, state: StateDep, model: str, address: str) -> Response:
    """Show one wallet's access, and why it would be refused."""
    network, who = state.network, address_of(address)
    return await show(
        request,
        state,
        lambda: access.of_wallet(network, models.select(network, model).model_id, who),
    )


@router.get("/{model}/limits")
async def limits(request: Request, state: StateDep, model: str) -> Response:
    """Show what each run-time parameter may be."""
    network = state.network
    return await show(request, state, lambda: access.limits(network, models.select(network, model)))


@router.get("/{model}/operators")
async def candidates(request: Request, state: StateDep, model: str) -> Response:
    """List who may serve the model, with what the scheduler weighs."""
    network = state.network
    return await show(
        request,
        state,
        lambda: operators.candidates(network, models.select(network, model).model_id),
    )


@router.get("/{model}/assurance")
async def assurance(request: Request, state: StateDep, model: str) -> Response:
    """Say in one sentence what protects a requester from a wrong answer."""
    network = state.network

    def read() -> dict[str, object]:
        selected: Selected = models.select(network, model)
        version = models.current_version(network, selected)
        terms = network.registry.terms_of(selected.model_id, version)
        return {
            "version": version,
            "assurance": terms.assurance,
            "meaning": quoting.assurance_meaning(network, terms.assurance),
            "challenge_window": terms.challenge_window,
            "insured_multiple": terms.insured_multiple,
        }

    return await show(request, state, read)
