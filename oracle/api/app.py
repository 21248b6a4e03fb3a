"""The app: routes, guard, errors; everything it needs is handed in."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response

from oracle.api import problems
from oracle.api.config import ApiConfig
from oracle.api.guard import Guard
from oracle.api.problems import Problem
from oracle.api.routes import (
    chain,
    data,
    discovery,
    health,
    kserve,
    models,
    openai,
    ordering,
    requests,
)
from oracle.api.state import AppState
from oracle.errors import TallystickError
from oracle.gateway.catalogue import Versions
from oracle.gateway.gateway import Gateway
from oracle.metrics import GatewayMetrics
from oracle.rate_limit import Buckets
from oracle.services.network import Network

ROUTERS = (
    health.router,
    kserve.router,
    openai.router,
    requests.router,
    ordering.router,
    models.router,
    chain.router,
    data.router,
    discovery.router,
)


def create_app(
    network: Network,
    gateway: Gateway | None = None,
    config: ApiConfig | None = None,
    mount: Callable[[FastAPI, AppState], None] = lambda _app, _state: None,
) -> FastAPI:
    """Return the app.

    Args:
        network: the network as services see it.
        gateway: who asks for clients with API keys; started and closed with the app. None = this
            server only shows what there is.
        config: bounds.
        mount: adds more to the app, for example the page.
    """
    config = config or ApiConfig()
    metrics, buckets = GatewayMetrics(), Buckets()
    versions = gateway.catalogue if gateway else Versions(network)
    state = AppState(network, config, metrics, buckets, gateway, versions)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        if gateway is not None:
            await state.blocking(gateway.start)
        yield
        if gateway is not None:
            gateway.close()

    app = FastAPI(
        title="Tallystick",
        version=version("tallystick"),
        summary="Answers from AI models that a contract stands behind",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=life,
        generate_unique_id_function=lambda route: f"{route.name}:{route.path_format}",
    )
    app.state.tallystick = state
    for kind in (TallystickError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _problem)
    for router in ROUTERS:
        app.include_router(router)
    mount(app, state)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["*"],
        )
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)  # level 9 takes longer
    app.add_middleware(
        Guard,
        config=config,
        metrics=metrics,
        buckets=buckets,
        log=structlog.get_logger("tallystick.api"),
    )
    return app


async def _problem(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        found = Problem(422, "RequestInvalid", f"{where}: {first['msg']}")
    else:
        found = problems.of(error)
    return problems.response(found, request.url.path, request.state.request_id)
