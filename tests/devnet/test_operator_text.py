"""`tallystick operator run` with an engine by URL: a text is asked, paid by its tokens, replayed.

The engine is llama.cpp's own server, behind a relay that counts its connections.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from oracle.devnet.network import Devnet
from oracle.protocol import tensor, text
from oracle.protocol.text import TextQuestion
from oracle.services import models, publishing, requests
from oracle.services.amounts import parse_request_id
from oracle.services.publishing import SaleTerms
from oracle.services.request_timeline import RequestState
from oracle.types import Amount
from tests.devnet.test_operator_run import (
    employ,
    metrics_port,
    network,
    running_operator,
    tallystick,
)
from tests.support import clock
from tests.system.tcp_proxy import TcpProxy
from tests.worker.text.conftest import model, weights, write_gemma
from tests.worker.text.test_by_url import server
from worker.runtimes.gguf import TextModel
from worker.text import by_url, replay
from worker.text.replay import AnswerTerms, ReplayFault

__all__ = ["metrics_port", "model", "network", "server", "tallystick", "weights"]
pytestmark = pytest.mark.real
HOUR, PRICE = 3600, 32_000  # micro-dollars of an answer of MOST tokens
MOST, TOKENS = 32, 8
TOLERANCE = 0.5
QUESTION = {"prompt": "The capital of France is", "logprobs": 2}


def test_run__engine_by_url__its_text_is_paid_by_tokens_and_passes_the_replay(
    network: Devnet,
    tallystick: Callable[..., Any],
    metrics_port: int,
    server: tuple["subprocess.Popen[str]", str],
    weights: Path,
    model: TextModel,
    tmp_path: Path,
) -> None:
    net, folder = network.network, write_gemma(weights, tmp_path / "g", most=MOST, tokens=TOKENS)
    sale = SaleTerms(fee=Amount(PRICE), challenge_window=HOUR)
    published = publishing.publish(net, network.wallet("owner"), folder, sale)
    employ(tallystick, "writer", published.model_id)
    relay = TcpProxy(urlsplit(server[1]).port or 0)
    engine = {by_url.SETTING: f"http://127.0.0.1:{relay.port}"}
    asked = ("infer", "gemma", "--input", json.dumps(QUESTION), "--param", "seed=4")
    with running_operator(network.plan.home, "writer", metrics_port, **engine):
        shown = tallystick(*asked, "--wait", "--timeout", "10m", "--key", "requester", "--yes")
    assert shown["state"] == "delivered"
    assert relay.connections > TOKENS  # a call for each token that is drawn
    relay.close()

    request_id = parse_request_id(shown["request_id"])
    info = requests.show(net, request_id)
    assert info.output_cid is not None
    output = net.ipfs.fetch_bytes(info.output_cid, 65536)
    answer = text.decode_answer(tensor.decode(output, 65536))
    assert len(answer.shown) == len(answer.tokens) <= TOKENS
    params = models.manifest(net, info.model_id, 1).unpack_params(info.request.params)

    def judged(seed: float) -> ReplayFault | None:
        drawn, question = {**params, "seed": seed}, TextQuestion.parse(QUESTION)
        count, said = model.replay(question, answer.tokens, drawn, TOLERANCE, answer.shown)
        terms = AnswerTerms(question, drawn, count, model.context)
        return replay.compare(terms, answer, said, TOLERANCE)

    assert judged(4) is None
    assert judged(9) is ReplayFault.DRAW

    clock.pass_time(net.rpc, HOUR)
    requests.finalize(net, network.wallet("requester"), [request_id])
    settled = requests.show(net, request_id)
    assert settled.state is RequestState.SETTLED
    assert settled.bill is not None
    assert settled.bill.used == PRICE * len(answer.tokens) // MOST
