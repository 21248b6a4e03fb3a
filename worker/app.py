"""The Celery application: `celery -A worker.app worker -Q op1.infer` (docs/worker.md).

Every task of every role is registered here; a process opens what the queues need that it takes
from (`worker/process.py`). Nothing is read or connected when this module is imported: Celery asks
for its configuration when it starts.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import click
from celery import Celery, signals  # type: ignore[import-untyped]  # it ships no types

from oracle.config import Settings
from oracle.errors import TallystickError
from oracle.operator import submit_process
from worker.process import WorkerProcess
from worker.tasks import audit, infer, respond, value, watch


class SettingsInvalid(click.ClickException):
    """A setting is missing or wrong, told by Celery's command line as its own errors are."""

    def __init__(self, error: TallystickError) -> None:
        super().__init__(f"{error}\n  {error.hint}" if error.hint else str(error))
        self._exit_code = error.exit_code

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click's is one number for a class
        """What the process ends with."""
        return self._exit_code


def create(process: WorkerProcess) -> Celery:
    """Add all tasks to a process's application, and fit its workers to their queues."""
    app = process.app
    infer.register(app, lambda: process.pipeline)
    audit.register(app, process)
    respond.register(app, process)
    value.register(app, process)
    watch.register(app, process)
    submit_process.register(app, lambda: process.key)

    def prepare(sender: Any, **_: Any) -> None:
        if sender.app is app:
            _or_exit(lambda: process.prepare(sender))

    signals.setup_logging.connect(lambda **_: process.configure_logs(), weak=False)
    signals.worker_init.connect(prepare, weak=False)
    signals.worker_process_init.connect(lambda **_: process.warm_up(), weak=False)
    signals.worker_ready.connect(lambda **_: _or_exit(process.start), weak=False)
    signals.worker_shutdown.connect(lambda **_: process.close(), weak=False)
    return app


def _or_exit(step: Callable[[], None]) -> None:
    """End the process with a sentence and a code: Celery only logs what receivers raise."""
    try:
        step()
    except TallystickError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        print(f"{type(error).__name__}: {error}{hint}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


def _load() -> Settings:
    try:
        return Settings.load(os.environ)
    except TallystickError as error:
        raise SettingsInvalid(error) from error


app = create(WorkerProcess(_load))
