"""Whether the server lives and can serve, and its counters."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from oracle.api.problems import Rejected
from oracle.api.state import StateDep

router = APIRouter(tags=["health"])


@router.get("/v2/health/live")
async def live() -> dict[str, bool]:
    """Say that the process answers."""
    return {"live": True}


@router.get("/v2/health/ready")
async def ready(state: StateDep) -> dict[str, bool]:
    """Say whether new requests are taken: the chain answers, and nobody asked us to stop."""
    if state.gateway is not None and not state.gateway.ready:
        raise Rejected(503, "NotReady", "the chain does not answer, or this server is stopping")
    return {"ready": True}


@router.get("/metrics", include_in_schema=False)
async def metrics(state: StateDep) -> Response:
    """Return the counters in Prometheus' text form."""
    if (gateway := state.gateway) is not None:
        counted = await gateway.blocking(gateway.payments.count)
        state.metrics.payments(counted)
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
