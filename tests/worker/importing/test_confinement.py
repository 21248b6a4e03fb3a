"""A confined process: what it may not do, tried by real processes on this machine's kernel."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFINED = """
import sys
from pathlib import Path
sys.path.append({root!r})
from worker.importing.confinement import confine
done = confine(Path({writable!r}), [Path({readable!r})], programs={programs})
assert done, "this kernel has neither Landlock nor seccomp"
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A folder to write to, one to read, and one that is nobody's business."""
    made = tuple(tmp_path / name for name in ("out", "source", "private"))
    for folder in made:
        folder.mkdir()
        (folder / "file").write_text("old")
    return made


def confined(
    code: str, folders: tuple[Path, Path, Path], programs: bool = False
) -> "subprocess.CompletedProcess[str]":
    begin = CONFINED.format(
        root=str(ROOT), writable=str(folders[0]), readable=str(folders[1]), programs=programs
    )
    return subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def test_confine__its_own_folder__can_be_written_and_the_source_read(folders) -> None:
    out, source, _ = folders
    done = confined(
        f"Path({str(out / 'new')!r}).write_text(Path({str(source / 'file')!r}).read_text())\n"
        "import numpy, json, zipfile",
        folders,
    )
    assert (done.returncode, (out / "new").read_text()) == (0, "old"), done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_UNIX)",
        "open('{source}/file', 'w')",
        "open('{source}/new', 'w')",
        "import os; os.unlink('{source}/file')",
        "import os; os.truncate('{source}/file', 0)",
        "open('{private}/file').read()",
        "open('{private}/file', 'a')",
        "import os; os.symlink('{private}/file', '{out}/link')",
        "import os; os.mkfifo('{out}/pipe')",
        "import os; open(f'/proc/{{os.getppid()}}/environ').read()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.fork()",
        "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
        "import os; os.setsid()",
        "import os; os.setpgid(0, 0)",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.kill(0, 0)",  # its group, which is that of whoever started it
        "import os; os.kill(-1, 0)",
        "import os, signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
        "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
    ],
)
def test_confine__what_a_parser_does_not_need__is_refused(code: str, folders) -> None:
    out, source, private = folders
    done = confined(code.format(out=out, source=source, private=private), folders)

    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    assert (source / "file").read_text() == (private / "file").read_text() == "old"
    assert not (source / "new").exists()
    assert [path.name for path in out.iterdir()] == ["file"]


def test_confine__memory__ends_in_an_error_of_its_own(folders) -> None:
    done = confined("bytearray(2**40)", folders)
    assert "MemoryError" in done.stderr


def test_confine__threads__may_be_started(folders) -> None:
    done = confined("import threading; threading.Thread(target=print, args=(3,)).start()", folders)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_confine__itself__may_be_signalled_as_by_what_aborts(folders) -> None:
    begin = "import os, resource, signal, threading\n"
    own = "os.kill(os.getpid(), 0); resource.getrlimit(resource.RLIMIT_CPU)\n"
    thread = "signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True))\n"
    thread += "signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)\n"
    done = confined(begin + own + thread + "os.abort()", folders)
    assert (done.returncode, done.stdout) == (-signal.SIGABRT, "heard\n"), done.stderr


def test_confine__thread_that_ran_before__may_start_no_program_either(folders) -> None:
    begin = "import os, threading\ngo = threading.Event()\n"
    fork = "def late():\n    go.wait()\n    os.fork()\n"
    start = "waiting = threading.Thread(target=late)\nwaiting.start()\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + fork + start + CONFINED.format(
            root=str(ROOT), writable=str(folders[0]), readable=str(folders[1]), programs=False
        ) + "go.set(); waiting.join()"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "PermissionError" in done.stderr


# ── Where a Java machine is needed ──────────────────────────────────────────────────────────────
LOOPBACK = """
import socket, subprocess
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b"hello")
print(client.recv(5).decode(), subprocess.run(["/bin/echo", "there"], stdout=-1).stdout.decode())
"""


def test_confine__programs__start_and_are_heard_on_the_loopback(folders) -> None:
    done = confined(LOOPBACK, folders, programs=True)
    assert done.stdout.split() == ["hello", "there"], done.stderr


def test_confine__programs__are_signalled_and_nobody_else(folders) -> None:
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 6:
        pytest.skip("Landlock scopes signals since Linux 6.12")
    code = "import os, subprocess\nstarted = subprocess.Popen(['sleep', '60'])\nstarted.kill()\n"
    done = confined(
        code + "print(started.wait()); os.kill(os.getppid(), 0)", folders, programs=True
    )
    assert (done.returncode, done.stdout) == (1, "-9\n"), done.stderr
    assert "PermissionError" in done.stderr


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', {port}), 5)", "refused"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), 5)", "unreachable"),
        ("import socket; socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("import os; os.setsid()", "PermissionError"),
        ("import os; os.setpgid(0, 0)", "PermissionError"),
        ("open('{source}/new', 'w')", "PermissionError"),
        ("import subprocess; subprocess.run(['cat', '{private}/file'], check=True)", "denied"),
        ("import subprocess; subprocess.run(['touch', '{source}/new'], check=True)", "denied"),
    ],
)
@pytest.mark.real
def test_confine__programs__reach_neither_the_network_nor_other_files(
    code: str, says: str, folders
) -> None:
    out, source, private = folders
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]
        done = confined(
            code.format(out=out, source=source, private=private, port=port), folders, programs=True
        )
    assert done.returncode == 1
    assert says in done.stderr
    assert not (source / "new").exists()
