"""Structured logs: one set-up, called by every entry point once and by nothing else.

Lines go to standard error: `console` for people, `json` for machines. Ids travel as fields
(`request_id`, `model_id`, `operator`); bytes are written as 0x-hex; what looks like a secret by its
field's name is masked, as a net under the rule that no code logs one.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from oracle.config import Settings
from oracle.errors import ConfigInvalid

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
SECRET_FIELDS = frozenset({"key", "private_key", "password", "secret", "mnemonic", "keystore"})
NOISY = (
    *("web3", "urllib3", "httpx", "httpcore", "kombu", "amqp", "asyncio", "filelock", "websockets"),
    *("alembic", "celery.worker"),
)


def configure(settings: Settings, stream: TextIO | None = None, **ids: str) -> None:
    """Send the process's logs to `stream` (standard error) in the settings' level and format.

    `ids` are bound to every line, for example `role="watcher"`. The standard library's loggers
    (Celery's, web3's) come out through the same renderer.

    Raises:
        ConfigInvalid: an unknown level or format.
    """
    if settings.log_level not in LEVELS:
        raise ConfigInvalid(
            f"TALLYSTICK_LOG_LEVEL={settings.log_level!r} is not a level",
            hint="one of: " + ", ".join(LEVELS),
        )
    stream = stream or sys.stderr
    renderer = _renderer(settings.log_format, stream)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
        hex_bytes,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.log_level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[settings.log_level])
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    operator = {"operator": settings.operator} if settings.operator else {}
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**(operator | ids))


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the value of every field that is named like a secret."""
    for name in SECRET_FIELDS & event.keys():
        event[name] = "***"
    return event


def hex_bytes(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Write digests and ids as 0x-hex."""
    for name, value in event.items():
        if isinstance(value, bytes):
            event[name] = "0x" + value.hex()
    return event


def _renderer(log_format: str, stream: TextIO) -> structlog.typing.Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(colors=stream.isatty())
    raise ConfigInvalid(
        f"TALLYSTICK_LOG_FORMAT={log_format!r} is not a format", hint="one of: console, json"
    )
