"""What can be paid for by x402, as the Bazaar extension lists it."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from oracle.api import paying
from oracle.api.documents import Limit, Offset
from oracle.api.problems import Rejected
from oracle.api.state import AppState, StateDep
from oracle.errors import TallystickError
from oracle.protocol import x402
from oracle.services import models

router = APIRouter(tags=["payments (x402)"])


@router.get("/discovery/resources")
async def resources(
    request: Request, state: StateDep, limit: Limit = 50, offset: Offset = 0
) -> dict[str, Any]:
    """List the routes that take payments, with the price of each."""
    if state.gateway is None or not state.config.x402:
        raise Rejected(501, "X402Off", "this server takes no payments by x402")
    base = str(request.base_url)
    found = await state.memory.of(state, ("discovery", base), lambda: _resources(state, base))
    return {
        "x402Version": x402.VERSION,
        "items": found[offset : offset + limit],
        "pagination": {"limit": limit, "offset": offset, "total": len(found)},
    }


def _resources(state: AppState, base: str) -> list[dict[str, Any]]:
    found, registry = [], state.network.registry
    for model_id in range(1, registry.model_count() + 1):
        try:
            listing = state.asking.catalogue.find(str(model_id))
        except TallystickError:  # nothing published, everything retired, or nobody serves it
            continue
        published = models.record_of(state.network, model_id, listing.served.version).timestamp
        url = f"{base}v2/models/{listing.name}/infer"
        found.append(
            {
                "resource": url,
                "type": "http",
                "x402Version": x402.VERSION,
                "accepts": [paying.requirements(state, listing).document()],
                "lastUpdated": datetime.fromtimestamp(published, UTC).isoformat(),
                "description": paying.description(listing),
                "mimeType": "application/json",
            }
        )
    return found
