"""KServe's Open Inference Protocol v2, with the binary tensor extension."""

from functools import partial
from importlib.metadata import version as version_of
from typing import Any

from fastapi import APIRouter, Request, Response

from oracle.api import asking, paying, tensors
from oracle.api.paying import MaybeKeyDep
from oracle.api.state import AppState, StateDep
from oracle.errors import InputInvalid
from oracle.gateway.catalogue import VersionFacts
from oracle.services import models

router = APIRouter(prefix="/v2", tags=["inference (KServe v2)"])
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name", "shape", "datatype"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "shape": {"type": "array", "items": {"type": "integer"}},
                                    "datatype": {"type": "string"},
                                    "parameters": {"type": "object"},
                                    "data": {"type": "array"},
                                },
                            },
                        },
                        "outputs": {"type": "array", "items": {"type": "object"}},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.get("")
async def server() -> dict[str, Any]:
    """Describe this server."""
    return {
        "name": "tallystick",
        "version": version_of("tallystick"),
        "extensions": [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "statistics",
        ],
    }


@router.post("/repository/index")
async def index(state: StateDep) -> list[dict[str, str]]:
    """List every version; `UNAVAILABLE` is one that takes no requests."""
    network = state.network

    def read() -> list[dict[str, str]]:
        return [
            {
                "name": one.name,
                "version": str(version.version),
                "state": "UNAVAILABLE" if version.retired else "READY",
                "reason": "retired" if version.retired else "",
            }
            for one in models.list_models(network)
            for version in models.versions(network, one.model_id)
        ]

    found: list[dict[str, str]] = await state.memory.of(state, "repository index", read)
    return found


@router.get("/models/stats")
@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{version}/stats")
async def statistics(state: StateDep, name: str = "", version: str = "") -> dict[str, Any]:
    """Say how often and how long models answered since this server began."""
    if not name:
        counted = sorted(state.statistics)
        kept = [await state.blocking(partial(state.versions.version, *one)) for one in counted]
    else:
        kept = [(await state.blocking(lambda: _served(state, name, version)))[0]]
    return {
        "model_stats": [
            state.statistics[one.model_id, one.version].document(one.manifest.name, one.version)
            for one in kept
        ]
    }


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{version}/config")
async def config(state: StateDep, name: str, version: str = "") -> dict[str, Any]:
    """Describe a model in the form of Triton's configurations."""
    served, _ = await state.blocking(lambda: _served(state, name, version))
    manifest = served.manifest
    return {
        "name": manifest.name,
        "platform": manifest.runtime.format,
        "backend": "tallystick",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,  # the first dimension stands in `dims`
        "input": [tensors.configuration(spec) for spec in manifest.inputs],
        "output": [tensors.configuration(spec) for spec in manifest.outputs],
    }


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model(state: StateDep, name: str, version: str = "") -> dict[str, Any]:
    """Describe a model as its manifest does; without a version, the newest that is in use."""
    served, versions = await state.blocking(lambda: _served(state, name, version))
    manifest = served.manifest
    return {
        "name": manifest.name,
        "versions": [str(number) for number in range(1, versions + 1)],
        "platform": manifest.runtime.format,
        "inputs": [tensors.describe(spec) for spec in manifest.inputs],
        "outputs": [tensors.describe(spec) for spec in manifest.outputs],
    }


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def ready(state: StateDep, name: str, version: str = "") -> dict[str, Any]:
    """Say whether an operator can serve the version now."""
    listing = await asking.find(state, name, version)
    return {"name": listing.name, "ready": True}


@router.post("/models/{name}/infer", openapi_extra=_BODY)
@router.post("/models/{name}/versions/{version}/infer", openapi_extra=_BODY)
async def infer(
    request: Request, state: StateDep, key: MaybeKeyDep, name: str, version: str = ""
) -> Response:
    """Ask, pay by API key or x402, and answer when the delivery is on the chain."""
    watch = asking.Stopwatch()
    body = await request.body()
    listing = await asking.find(state, name, version)
    payer = await paying.payer_of(request, state, key, listing)
    inference = await state.blocking(
        lambda: tensors.read(body, request.headers.get(tensors.HEADER), listing.manifest)
    )
    question = await asking.question(
        state,
        listing,
        arrays=inference.arrays,
        texts=inference.texts,
        params=inference.params,
        idempotency=asking.idempotency_of(request),
    )
    watch.mark("prepare")
    served = await paying.ask(request, state, payer, question, watch)
    fields: dict[str, Any] = {
        "model_name": listing.name,
        "model_version": str(listing.served.version),
    }
    if inference.id:
        fields["id"] = inference.id
    fields["parameters"] = {
        "request_id": "0x" + served.answer.request_id.hex(),
        "path": asking.path_of(served.answer),
    }
    if outside := served.question.prepared.outside:
        fields["parameters"]["outside"] = {one.name: one.count for one in outside}
    labels = listing.manifest.labels or ()
    content, head = tensors.write(served.answer.outputs, inference.wanted, fields, labels)
    headers = asking.headers(served)
    if head is None:
        return Response(content, headers=headers, media_type="application/json")
    headers[tensors.HEADER] = str(head)
    return Response(content, headers=headers, media_type="application/octet-stream")


def _served(state: AppState, name: str, version: str) -> tuple[VersionFacts, int]:
    if version and not version.isdecimal():
        raise InputInvalid(f"{version!r:.40} is no version", hint="versions are 1, 2, …")
    network = state.network
    selected = models.select(network, f"{name}@{version}" if version else name)
    number = models.current_version(network, selected)
    count = network.registry.version_count(selected.model_id)
    return state.versions.version(selected.model_id, number), count
