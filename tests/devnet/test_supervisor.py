"""The supervisor with real (tiny) child processes: nothing may be left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oracle.devnet import supervisor as module
from oracle.devnet.supervisor import ProcessFailed, ProcessSpec, Supervisor
from tests.support.waiting import exit_code, wait_until

SLEEP = ("sleep", "3600")


def alive(pid: int) -> bool:
    """True unless the process is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_start__process_exits__quotes_its_log_and_stops_the_others(tmp_path):
    supervisor = Supervisor(
        [
            ProcessSpec("first", SLEEP),
            ProcessSpec(
                "second",
                ("sh", "-c", "echo port is taken; exit 3"),
                log_path=tmp_path / "logs" / "second.log",
                ready=lambda: False,
            ),
        ]
    )
    pids = []

    def note(name, what):
        pids.extend(s.pid for s in supervisor.status() if s.pid)

    with pytest.raises(ProcessFailed, match=r"second exited with 3 .*\n?port is taken"):
        supervisor.start(note)
    assert pids
    assert not any(alive(pid) for pid in pids)


def test_start__nothing_says_ready__is_called_running():
    told = []
    with Supervisor(
        [ProcessSpec("asked", SLEEP, ready=lambda: True), ProcessSpec("mute", SLEEP)]
    ) as supervisor:
        supervisor.start(lambda name, what: told.append((name, what)))
    assert ("asked", "ready") in told
    assert told[-1] == ("mute", "running")


def test_start__never_ready__fails_after_its_time():
    supervisor = Supervisor([ProcessSpec("slow", SLEEP, ready=lambda: False, ready_timeout=0.1)])
    with pytest.raises(ProcessFailed, match=r"slow was not ready after \d+\.\d s"):
        supervisor.start()
    assert supervisor.status()[0].state == "stopped"


def test_supervisor__two_equal_names__refuses():
    with pytest.raises(ValueError, match="same name"):
        Supervisor([ProcessSpec("a", SLEEP), ProcessSpec("a", SLEEP)])


def test_start__environment_given__child_sees_it_over_ours(tmp_path):
    log = tmp_path / "log"
    spec = ProcessSpec(
        "env", ("sh", "-c", "echo $COLOUR; sleep 3600"), {"COLOUR": "teal"}, log,
        ready=lambda: log.exists() and log.read_text() == "teal\n",
    )  # fmt: skip
    with Supervisor([spec]) as supervisor:
        supervisor.start()


def test_poll__process_gives_up__event_says_why(tmp_path):
    go, log = tmp_path / "go", tmp_path / "log"
    script = f"""echo before; until [ -e {go} ]; do sleep 0.02; done
    echo TorchMissing: no PyTorch; echo '  install it'; exit 72"""
    with Supervisor([ProcessSpec("infer", ("sh", "-c", script), log_path=log)]) as supervisor:
        supervisor.start()
        go.touch()
        seen = []
        wait_until(lambda: seen.extend(supervisor.poll()) or seen)
        assert str(seen[0]) == "infer exited with 72:\nTorchMissing: no PyTorch\n  install it"


def test_poll__process_killed__restarts_after_backoff(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_FIRST", 0.05)
    with Supervisor([ProcessSpec("a", SLEEP)]) as supervisor:
        supervisor.start()
        first = supervisor.status()[0].pid
        os.kill(first, signal.SIGKILL)
        seen = []
        wait_until(lambda: seen.extend(supervisor.poll()) or len(seen) >= 2)
        assert [(e.what, e.exit_code) for e in seen] == [("exited", -9), ("restarted", None)]
        status = supervisor.status()[0]
        assert status.state == "running"
        assert status.pid != first
        assert status.restarts == 1


def test_poll__no_restart_wanted__stays_exited():
    with Supervisor([ProcessSpec("a", ("sleep", "0.2"), restart=False)]) as supervisor:
        supervisor.start()
        seen = []
        wait_until(lambda: seen.extend(supervisor.poll()) or seen)
        assert supervisor.poll() == ()
        assert supervisor.status()[0].state == "exited"


def test_stop__process_ignores_sigterm__is_killed(tmp_path):
    log = tmp_path / "log"
    spec = ProcessSpec(
        "deaf", ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"),
        log_path=log, ready=lambda: log.exists() and "up" in log.read_text(), grace=0.2,
    )  # fmt: skip
    supervisor = Supervisor([spec])
    supervisor.start()
    pid = supervisor.status()[0].pid
    supervisor.stop()
    assert not alive(pid)


def test_stop__grandchildren_left__are_swept(tmp_path):
    log = tmp_path / "log"
    spec = ProcessSpec(
        "parent", ("sh", "-c", "sleep 3600 & echo $!; exec sleep 3600"),
        log_path=log, ready=lambda: log.exists() and log.read_text().endswith("\n"),
    )  # fmt: skip
    supervisor = Supervisor([spec])
    supervisor.start()
    grandchild = int(log.read_text())
    assert alive(grandchild)
    supervisor.stop()
    wait_until(lambda: not alive(grandchild))


def test_stop_one__then_start_one__runs_again():
    with Supervisor([ProcessSpec("a", SLEEP), ProcessSpec("b", SLEEP)]) as supervisor:
        supervisor.start()
        before = supervisor.status()[1].pid
        supervisor.stop_one("b")
        assert [s.state for s in supervisor.status()] == ["running", "stopped"]
        assert supervisor.poll() == ()
        supervisor.start_one("b")
        assert supervisor.status()[1].pid != before


RUNNER = """
import sys
from oracle.devnet.supervisor import ProcessSpec, Supervisor
brief = ProcessSpec("brief", ("sleep", "0.1"), restart=False)  # its exit says: handlers are set
s = Supervisor([ProcessSpec("a", ("sleep", "3600")), ProcessSpec("b", ("sleep", "3600")), brief])
s.start()
pids = [x.pid for x in s.status()][:2]
sys.exit(s.run_until_signalled(lambda event: print(*pids, flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_run_until_signalled__any_end__leaves_no_process(number):
    runner = subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.PIPE, text=True)
    pids = [int(p) for p in runner.stdout.readline().split()]
    assert len(pids) == 2
    runner.send_signal(number)
    assert exit_code(runner) == (-9 if number == signal.SIGKILL else number)
    wait_until(lambda: not any(alive(pid) for pid in pids))
    runner.stdout.close()


def test_ask_to_stop__then_stop__signals_each_child_once(tmp_path):
    counting = (
        "import signal, time; n = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: n.append(1))\n"
        "print('ready', flush=True)\n"
        "end = time.monotonic() + 600\n"
        "while not n and time.monotonic() < end: time.sleep(0.01)\n"
        "time.sleep(0.3); print('asked', len(n), flush=True)"
    )
    logs = [tmp_path / name for name in ("a", "b")]
    specs = [
        ProcessSpec(
            path.name,
            (sys.executable, "-c", counting),
            log_path=path,
            ready=lambda path=path: "ready" in path.read_text(),
        )
        for path in logs
    ]
    supervisor = Supervisor(specs)
    supervisor.start(together=True)
    supervisor.ask_to_stop()
    supervisor.ask_to_stop()
    supervisor.stop()
    assert [path.read_text().split() for path in logs] == [["ready", "asked", "1"]] * 2
