"""Metrics: served where they are asked for, and in nobody's way."""

import socket

import httpx
import pytest
import structlog
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from oracle.metrics import SubmitterMetrics, WatcherMetrics, serving
from oracle.ports import free_port


@pytest.mark.real
def test_serving__port_taken__is_logged_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as lines:
        port = taken.getsockname()[1]
        with serving(WatcherMetrics().registry, port, structlog.get_logger()):
            pass
    assert [line["event"] for line in lines] == ["metrics_not_served"]


def test_serving__no_port__opens_no_socket() -> None:
    with serving(WatcherMetrics().registry, 0, structlog.get_logger()):
        pass


@pytest.mark.real
def test_serving__port__answers_until_the_end() -> None:
    metrics, port = SubmitterMetrics(), free_port()
    metrics.ended("deliver", "mined")
    url = f"http://127.0.0.1:{port}/metrics"
    with serving(metrics.registry, port, structlog.get_logger()):
        text = httpx.get(url, trust_env=False).text
    assert 'tallystick_transactions_total{kind="deliver",outcome="mined"} 1.0' in text
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_registries__of_two_processes_in_one__do_not_meet() -> None:
    first, second = WatcherMetrics(), WatcherMetrics()
    first.sent("infer")
    assert b'step="infer"' not in generate_latest(second.registry)
