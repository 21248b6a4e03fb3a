"""A development chain: find Anvil, start it on a free loopback port, stop it by its pid.

Knows nothing of contracts. For production chains there is nothing to start.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from oracle.chain.rpc import Rpc
from oracle.errors import ConfigInvalid, Unavailable
from oracle.patience import busy
from oracle.ports import free_port
from oracle.private_files import open_log

# Public: everybody's development mnemonic. Never hold anything of value on these accounts.
MNEMONIC = "test test test test test test test test test test test junk"
CHAIN_ID = 31337
HARDFORK = "prague"  # EIP-2935 is needed
_PROJECT = Path(__file__).resolve().parents[2]
_READY_TIMEOUT = 20.0  # seconds; a cold start takes 0.2
_STOP_TIMEOUT = 10.0  # seconds without use of the processor; it writes the state


def find_anvil(environ: Mapping[str, str], roots: Sequence[Path] = ()) -> Path:
    """Return the Anvil to start: on PATH, else from `node_modules` of a root or below the cwd.

    The npm wrapper script is avoided: it costs 100 ms and writes a lock file.

    Raises:
        ConfigInvalid: there is none.
    """
    if found := shutil.which("anvil", path=environ.get("PATH", "")):
        return Path(found)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@foundry-rs/anvil-{sys.platform}-{machine}"
    for root in (*roots, _PROJECT, Path.cwd(), *Path.cwd().parents):
        if os.access(candidate := root / "node_modules" / package / "bin" / "anvil", os.X_OK):
            return candidate
    raise ConfigInvalid(
        "Anvil is not installed",
        hint=f"run `npm install {package}` here, or install Foundry (https://getfoundry.sh)",
    )


def dev_account(index: int) -> LocalAccount:
    """Return one of the funded accounts of the standard mnemonic."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


class Anvil:
    """One Anvil process.

    ```python
    with Anvil() as anvil:
        anvil.rpc.call("eth_blockNumber")
    ```
    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        port: int | None = None,
        block_time: int | None = None,
        state: Path | None = None,
        log: Path | None = None,
        chain_id: int = CHAIN_ID,
        accounts: int = 10,
        extra: Sequence[str] = (),
    ) -> None:
        """Describe the process; nothing is started.

        Args:
            binary: the program; found by `find_anvil` when left out.
            port: loopback port; a free one when left out.
            block_time: seconds; with it blocks also come by the clock, so that windows pass
                without transactions (`--mixed-mining`). Without, a block per transaction.
            state: file that holds the chain between two runs.
            log: file for the output; dropped when left out.
        """
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.chain_id = chain_id
        self._binary = binary
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._rpc: Rpc | None = None
        self._arguments = [
            *("--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(chain_id)),
            *("--hardfork", HARDFORK, "--accounts", str(accounts), "--mnemonic", MNEMONIC),
            *(("--mixed-mining", "--block-time", str(block_time)) if block_time else ()),
            *(("--state", str(state)) if state else ()),
            *extra,
        ]

    @property
    def command(self) -> list[str]:
        """The command line, for a supervisor that starts it by itself."""
        self._binary = self._binary or find_anvil(os.environ)
        return [str(self._binary), *self._arguments]

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def rpc(self) -> Rpc:
        """A client of this chain."""
        self._rpc = self._rpc or Rpc(self.url)
        return self._rpc

    def start(self) -> "Anvil":
        """Start and wait until it answers.

        Raises:
            ConfigInvalid: there is no Anvil. Unavailable: it does not come up.
        """
        with open_log(self._log) if self._log else Path(os.devnull).open("ab") as sink:
            # its own session: a Ctrl-C meant for us must not end it before we said so
            self._process = subprocess.Popen(  # noqa: S603 -- the program we found
                self.command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                start_new_session=True,
            )  # fmt: skip
        try:
            wait_ready(self.url, self.chain_id, self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the process that `start` started, and wait for it."""
        if self._rpc:
            self._rpc.close()
            self._rpc = None
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGINT)  # the signal on which Anvil writes its state
        patience = busy(process.pid, _STOP_TIMEOUT)
        while process.poll() is None and not patience.over():
            time.sleep(0.005)
        process.kill()  # nothing, when it has ended
        process.wait()

    def __enter__(self) -> "Anvil":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_ready(url: str, chain_id: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a node answers at `url`, and check its chain.

    Raises:
        Unavailable: it ended, or does not answer in time. WrongChain: it is another chain.
    """
    patience = busy(process.pid if process else 0, _READY_TIMEOUT)
    with Rpc(url, timeout=2.0, attempts=1) as rpc:
        while True:
            if process is not None and process.poll() is not None:
                raise Unavailable(
                    f"Anvil ended with code {process.returncode}", hint="is its port taken?"
                )
            try:
                return rpc.expect_chain(chain_id)
            except Unavailable:
                if patience.over():
                    raise
            time.sleep(0.02)
