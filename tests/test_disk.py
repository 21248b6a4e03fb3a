"""Disks that are full, read-only or broken: a sentence, an exit code, and work again afterwards."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oracle import private_files, whole_file
from oracle.cli import app
from oracle.config import Settings, save_network
from oracle.errors import DiskUnusable
from oracle.store import Store
from oracle.types import RequestId

ID = RequestId(b"\1" * 32)
LARGE = "x" * 1_000_000


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# ── Stores ──────────────────────────────────────────────────────────────────────────────────────
def test_store__full_disk__says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    store.record_failure(ID, "First", "kept", False)

    def fill() -> None:
        for number in range(100):
            store.record_failure(ID, "E", LARGE[: 2_000 + number], False, str(number))

    with full_disk(256 * 1024), pytest.raises(DiskUnusable, match=r"store\.db") as caught:
        fill()
    assert caught.value.exit_code == 74
    assert "free or mend the disk" in caught.value.hint
    with store.read() as tx:
        before = tx.failures(ID)
    store.record_failure(ID, "Last", "kept", False)
    with store.read() as tx:
        assert tx.failures(ID)[0] == before[0] + 1
    store.close()


def test_store__full_disk_at_the_first_start__says_so_and_starts_when_there_is_room(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with full_disk(20_000), pytest.raises(DiskUnusable):
        Store.open(url)
    Store.open(url).close()


@pytest.mark.parametrize("at", [0, 40, 8_192])
def test_store__corrupt__says_what_to_do_and_opens_once_a_backup_is_back(
    tmp_path: Path, at: int
) -> None:
    path = tmp_path / "store.db"
    store = Store.open(f"sqlite:///{path}")
    for number in range(50):
        store.record_failure(ID, "E", "message" * 100, False, str(number))
    store.close()
    good = path.read_bytes()
    path.write_bytes(good[:at] + os.urandom(len(good) - at))

    def use() -> None:
        with Store.open(f"sqlite:///{path}").begin() as tx:
            tx.failures(ID)
            tx.record_failure(ID, "E", "message", False, "new")

    with pytest.raises(DiskUnusable) as caught:
        use()
    assert str(path) in str(caught.value)
    assert caught.value.hint
    path.write_bytes(good)
    with Store.open(f"sqlite:///{path}").read() as tx:
        assert tx.failures(ID)[0] == 50


# ── Files ───────────────────────────────────────────────────────────────────────────────────────
def test_write__full_disk__the_old_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole_file.write(path, "old")
    with full_disk(10_000), pytest.raises(OSError, match="File too large") as caught:
        whole_file.write(path, LARGE)
    assert DiskUnusable.of(caught.value)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
    whole_file.write(path, LARGE)


READ_ONLY = """
import sys
from pathlib import Path
from oracle.cli import app
sys.exit(app.run(["wallet", "new", "me", "--home", "/mnt/home", "--password-file", sys.argv[1]]))
"""


def namespaces() -> bool:
    """Say whether this system lets a test mount something of its own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not namespaces(), reason="needs `unshare -rm`: a file system of its own")
@pytest.mark.parametrize(
    ("breaks", "heals", "said"),
    [
        (
            "dd if=/dev/zero of=/mnt/fill bs=4k 2>/dev/null",
            "rm /mnt/fill",
            "No space left on device",
        ),
        ("mount -o remount,ro /mnt", "mount -o remount,rw /mnt", "Read-only file system"),
    ],
)
def test_main__disk_full_or_read_only__sentence_and_exit_code_and_works_once_it_healed(
    tmp_path: Path, breaks: str, heals: str, said: str
) -> None:
    password = tmp_path / "password"
    whole_file.write(password, "secret\n")
    script = f"""mount -t tmpfs -o size=1m none /mnt
    {breaks}
    "$0" -c "$1" "$2"; echo "broken: $?"
    {heals}
    "$0" -c "$1" "$2"; echo "healed: $?" """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, sys.executable, READ_ONLY, str(password)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert said in done.stderr
    assert "broken: 74" in done.stdout, done.stderr
    assert "healed: 0" in done.stdout, done.stderr


# ── Modes ───────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mode & 0o777 for p in folder.rglob("*")}


@pytest.mark.usefixtures("open_umask")
def test_store__any_umask__its_owner_alone_reads_it_and_its_journals(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'a' / 'b' / 'store.db'}")
    store.record_failure(ID, "E", "message", False)
    found = modes(tmp_path)
    store.close()
    assert {"a/b/store.db", "a/b/store.db-wal"} <= set(found)
    assert [name for name, mode in found.items() if mode & 0o077] == []


@pytest.mark.usefixtures("open_umask")
def test_private_files__older_ones_of_ours__closed_to_others(tmp_path: Path) -> None:
    old = tmp_path / "old.log"
    old.write_text("kept\n")
    private_files.open_log(old).close()
    private_files.open_log(tmp_path / "x" / "y" / "new.log").close()
    private_files.make_file(tmp_path / "z" / "store.db")
    save_network(Settings(tmp_path / "home"))
    assert old.read_text() == "kept\n"
    assert [name for name, mode in modes(tmp_path).items() if mode & 0o077] == []


# What a person asked for, or a generator of docs: the umask is theirs
OF_THE_USER = {
    "oracle/services/outputs.py",
    "oracle/agents/worker_process.py",  # in a temporary folder, which has mode 0700
    "oracle/queue/reference.py",
    "oracle/cli/reference.py",
    "oracle/cli/data.py",
    "worker/exact/package.py",
    "oracle/ipfs/memory.py",
    "oracle/ipfs/archive.py",
}
# An owner's models, in folders that were named; what is between is in temporary folders
OF_THE_OWNER = ("oracle/services/model_files/", "worker/compression/", "worker/importing/")
MAKERS = (".mkdir(", ".write_text(", ".write_bytes(", '.open("w', '.open("a', "0o644", "0o666")
ROOT = Path(__file__).parents[1]


def test_source__files_and_folders__made_by_the_helpers_alone() -> None:
    helpers = {"oracle/private_files.py", "oracle/whole_file.py"}
    found = {
        name
        for package in ("oracle", "worker", "tallystick")
        for path in (ROOT / package).rglob("*.py")
        if "demo" not in path.parts and any(maker in path.read_text() for maker in MAKERS)
        if not (name := str(path.relative_to(ROOT))).startswith(OF_THE_OWNER)
    }
    assert found - OF_THE_USER - helpers - {"oracle/chain/anvil.py"} == set()  # os.devnull


def test_main__disk_trouble__sentence_and_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = tmp_path / "password"
    whole_file.write(password, "secret\n")
    arguments = ["wallet", "new", "me", "--home", str(tmp_path / "home")]
    with full_disk(10):
        assert app.run([*arguments, "--password-file", str(password)]) == 74
    assert "File too large" in capsys.readouterr().err
    assert app.run([*arguments, "--password-file", str(password)]) == 0
