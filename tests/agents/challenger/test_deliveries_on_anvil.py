"""Deliveries are read once, after restarts and reorgs as well; death and HTTP do not matter."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from oracle.agents.challenger.challenger import Challenger
from oracle.agents.challenger.deliveries import Scope
from oracle.agents.challenger.engine import Budget
from oracle.services import requests
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import EndpointTraces
from oracle.types import RequestId
from tests.agents.challenger.conftest import CHALLENGER, Arena

pytestmark = pytest.mark.real
ME = CHALLENGER.address


# ── Following ───────────────────────────────────────────────────────────────────────────────────
def test_once__again_after_a_restart__looks_at_new_deliveries_alone(arena: Arena) -> None:
    arena.deliver(arena.example.honest)
    with arena.challenger() as challenger:
        assert challenger.once().looked_at == 1
    arena.deliver(arena.example.honest)
    with arena.challenger() as challenger:
        assert challenger.once().looked_at == 1
        assert challenger.once().looked_at == 0


@pytest.mark.parametrize(("share", "looked_at"), [(0.0, 0), (1.0, 1)])
def test_once__fraction_of_none__looks_at_drawn_deliveries_that_nobody_audits(
    arena: Arena, share: float, looked_at: int
) -> None:
    """The model has one operator: nobody else is authorised."""
    world = arena.world
    settings = replace(world.network.settings, audit_share=share)
    network = replace(world.network, settings=settings)
    arena.deliver(arena.example.honest)
    network.rpc.call("evm_mine")  # the block that draws
    with arena.challenger(scope={"fraction": 0.0}, network=network) as challenger:
        assert challenger.once().looked_at == looked_at


def test_once__another_model_is_named__looks_at_nothing(arena: Arena) -> None:
    arena.deliver(arena.example.lie_inside)
    with arena.challenger(scope={"model_id": arena.model_id + 1}) as challenger:
        assert challenger.once().looked_at == 0


def test_once__request_is_named__looked_at_whatever_the_fraction(arena: Arena) -> None:
    arena.deliver(arena.example.honest)
    named = arena.deliver(arena.example.honest)
    with arena.challenger(scope={"fraction": 0.0, "requests": (named,)}) as challenger:
        assert challenger.once().looked_at == 1


def test_once__not_final_yet__is_left_alone(arena: Arena) -> None:
    world = arena.world
    deep = replace(world.network, settings=replace(world.network.settings, finality_depth=3))
    arena.world = replace(world, network=deep)
    arena.deliver(arena.example.lie_inside)
    with arena.challenger() as challenger:
        assert challenger.once().looked_at == 0
        for _ in range(3):
            deep.rpc.call("evm_mine")
        assert challenger.cycle()  # the challenge is sent
        assert challenger._report.wrong == 1


def test_cycle__delivery_vanishes_in_a_reorg__the_new_one_is_judged(arena: Arena) -> None:
    rpc = arena.world.network.rpc
    before = rpc.call("evm_snapshot")
    arena.deliver(arena.example.honest)
    with arena.challenger() as challenger:
        assert challenger.once().right == 1
        assert rpc.call("evm_revert", before)
        rpc.call("evm_mine")
        request_id = arena.deliver(arena.example.lie_inside)  # the same id: another answer to it
        arena.serve(request_id)
        assert challenger.once().wrong == 1
    assert requests.show(arena.world.network, request_id).state is RequestState.CONVICTED


def test_cycle__challenge_vanishes_in_a_reorg__is_opened_again(arena: Arena) -> None:
    rpc = arena.world.network.rpc
    request_id = arena.deliver(arena.example.lie_inside)
    before = rpc.call("evm_snapshot")
    with arena.challenger() as challenger:
        assert [t.what for t in challenger.once().transactions] == ["challenge an answer"]
        assert rpc.call("evm_revert", before)
        rpc.call("evm_mine")
        assert [t.what for t in challenger.once().transactions] == ["challenge an answer"]
    assert arena.world.network.game.first_challenger_of(request_id) == ME


# ── Over HTTP ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def endpoint(arena: Arena) -> Iterator[str]:
    """Serve the operator's shop on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            request_id = RequestId(bytes.fromhex(parts[1][2:]))
            if request_id not in arena.shop.receipts:
                self.send_error(404)
                return
            signed = arena.shop.receipts[request_id]
            receipt = signed.receipt
            body = json.dumps(
                {
                    "request_id": "0x" + request_id.hex(),
                    "output_root": "0x" + receipt.output_root.hex(),
                    "trace_root": "0x" + receipt.trace_root.hex(),
                    "signature": "0x" + receipt.signature.hex(),
                    "leaves": ["0x" + leaf.hex() for leaf in signed.leaves],
                }
            ).encode()
            if len(parts) == 4:
                body = arena.shop.tensors[request_id, int(parts[3])]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_once__served_over_http__convicted_in_two_transactions(arena: Arena, endpoint: str) -> None:
    from oracle.services import operators

    operators.register(arena.world.network, arena.world.operator, endpoint)
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    challenger = Challenger(
        arena.world.network,
        CHALLENGER,
        EndpointTraces(timeout=60, patience=60),
        folder=arena.home / "me",
        scope=Scope(),
        budget=Budget(),
    )
    with challenger:
        report = challenger.once()
    assert [t.what for t in report.transactions][:2] == ["challenge an answer", "prove a fault"]


def test_receipt__no_endpoint_or_nobody_there__is_not_served() -> None:
    traces = EndpointTraces(timeout=1, patience=0)
    for endpoint in ("", "ftp://x", "http://127.0.0.1:1", "http://user@host"):
        assert traces.receipt(endpoint, RequestId(bytes(32))) is None
        assert traces.tensor(endpoint, RequestId(bytes(32)), 0, 100) is None
