"""Logs: wrong settings, secrets, bytes, both formats, foreign loggers. Opens no sockets."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from oracle import logs
from oracle.config import Settings
from oracle.errors import ConfigInvalid


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def settings(**values: str) -> Settings:
    return Settings(home=Path("home"), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"log_level": "loud"}, {"log_format": "xml"}])
def test_configure__unknown_value__raises_config_invalid(values: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        logs.configure(settings(**values), io.StringIO())
    assert caught.value.hint.startswith("one of: ")


def test_configure__secret_field__is_masked() -> None:
    stream = io.StringIO()
    logs.configure(settings(log_format="json"), stream)
    structlog.get_logger().info("opened", password="hunter2", private_key=b"\x01")
    assert "hunter2" not in stream.getvalue()
    assert json.loads(stream.getvalue())["private_key"] == "***"


def test_configure__level_below__writes_nothing() -> None:
    stream = io.StringIO()
    logs.configure(settings(log_level="warning"), stream)
    structlog.get_logger().info("seen")
    logging.getLogger("celery").info("seen")
    assert stream.getvalue() == ""


def test_configure__json__one_object_a_line_with_ids() -> None:
    stream = io.StringIO()
    logs.configure(settings(log_format="json", operator="alpha"), stream, role="watcher")
    structlog.get_logger().info("job queued", request_id=b"\xab" * 32)
    logging.getLogger("celery").warning("late by %d s", 3)
    own, foreign = map(json.loads, stream.getvalue().splitlines())
    assert own["request_id"] == "0x" + "ab" * 32
    assert (own["operator"], own["role"], own["level"]) == ("alpha", "watcher", "info")
    assert (foreign["event"], foreign["logger"]) == ("late by 3 s", "celery")


def test_configure__console__carries_event_and_fields() -> None:
    stream = io.StringIO()
    logs.configure(settings(), stream)
    structlog.get_logger().info("delivered", model_id=1)
    assert "delivered" in stream.getvalue()
    assert "model_id=1" in stream.getvalue()
