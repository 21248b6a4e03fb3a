"""A thread of the gateway that takes one step again and again, whatever a step runs into.

Between two steps it rests as `Breath` says.
"""

import threading
from collections.abc import Callable

import structlog

from oracle.errors import TallystickError
from oracle.patience import Breath

_TROUBLE = 1.0  # seconds until a step that failed is tried again


class Repeating:
    """Takes a step, pauses as long as the step says, and goes on after an error."""

    def __init__(self, name: str, step: Callable[[], float], pause: float = 0.0) -> None:
        """Take the step, which returns seconds to pause, and the pause before the first."""
        self.stopping = False
        self.troubled = False  # the last step failed
        self._name, self._step, self._pause = name, step, pause
        self._awake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"gateway-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """End the pause."""
        self._awake.set()

    def stop(self) -> None:
        """End after the step at hand."""
        self.stopping = True
        self._stopped.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause, breath = self._pause, Breath()
        while True:
            self._awake.wait(pause)
            self._stopped.wait(breath.left())
            self._awake.clear()
            if self.stopping:
                return
            try:
                with breath.step():
                    pause = self._step()
                self.troubled = False
            except Exception as error:  # a thread that must not die: it says so once and goes on
                if not self.troubled:
                    log = structlog.get_logger("tallystick.gateway")
                    level = "warning" if isinstance(error, TallystickError) else "exception"
                    getattr(log, level)(f"{self._name}.trouble", error=str(error))
                self.troubled, pause = True, _TROUBLE
