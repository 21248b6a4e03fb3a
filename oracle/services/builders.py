"""Builds models in processes of their own, beside whatever else happens meanwhile.

`oracle` never imports torch, so compilers and example programs are run, not imported. They print
`<what> <done>/<total>` lines.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from oracle.errors import PermanentError
from oracle.private_files import make_folder

PROJECT = Path(__file__).resolve().parents[2]  # where `examples` can be imported


Update = Callable[[int, int], None]  # (done, total)


class Build:
    """One model that is being built; use as a context manager."""

    def __init__(
        self, module: str, folder: Path, *options: str, source: Path | None = None
    ) -> None:
        """Start building into `folder`, from `source` if the program takes one."""
        self.folder = folder
        self.module = module
        self._lines: list[str] = []
        self._seen: Update = lambda _done, _total: None
        make_folder(folder.parent)
        places = [str(place) for place in (source, folder) if place is not None]
        self._process = _start([sys.executable, "-m", module, *places, *options])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, update: Update) -> Path:
        """Return the folder once it is complete, reporting progress meanwhile.

        Raises:
            PermanentError: the program failed; its last lines say why.
        """
        self._seen = update
        code = self._process.wait()
        self._reader.join()
        if code != 0:
            tail = "\n".join(self._lines[-8:])
            raise PermanentError(
                f"`python -m {self.module}` exited with {code}:\n{tail}",
                hint="-9 is what a lack of memory does; another signal, a damaged file"
                if code < 0
                else "run it alone; `pip install 'tallystick[worker,compile]'` has its needs",
            )
        return self.folder

    @property
    def last_line(self) -> str:
        """What the program printed last."""
        return self._lines[-1] if self._lines else ""

    def __enter__(self) -> "Build":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, _, counts = line.strip().rpartition(" ")
            done, slash, total = counts.partition("/")
            if what and slash and done.isdecimal() and total.isdecimal():
                self._seen(int(done), int(total))
            else:
                self._lines.append(line.rstrip())


def _start(argv: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - argv is ours, no shell
        argv,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
