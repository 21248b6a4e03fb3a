"""CPU seconds of a command, its children included, and how that compares with importing web3.

A fresh process each time, in turns with `python -c pass` and `import web3`, on a chain and an IPFS
node of its own; the best of the rounds counts, since others may use the machine. What chain, IPFS
node and operator take is not in it: they are other processes. The keystore is a quick one, as those
of `tallystick up`: opening a standard one takes a second by design.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from oracle.chain import keystore
from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.deploy import DeployConfig, deploy
from oracle.chain.wallet import Wallet
from oracle.config import Settings, save_network
from oracle.errors import TallystickError
from oracle.ipfs import daemon
from oracle.protocol import tensor
from oracle.services import balances, operators, publishing, requests
from oracle.services.network import Network
from oracle.services.publishing import SaleTerms
from oracle.services.request_timeline import RequestState
from oracle.types import NO_CLAIM, ZERO32, Amount, OperatorAnswer

ROUNDS = 5
PASSWORD = "secret"
DOLLAR = 10**6
COMMAND = "import sys; from oracle.cli import main; sys.exit(main())"
WAYS: Mapping[str, tuple[str, ...]] = {
    "python -c pass": ("pass",),
    "import web3": ("import web3",),
    "tallystick --help": (COMMAND, "--help"),
    "tallystick model list": (COMMAND, "model", "list"),
    "tallystick infer --wait": (
        *(COMMAND, "infer", "1", "--input", "[[0.0, 1.0]]", "--wait"),
        *("--timeout", "2m", "--key", "requester", "--yes"),
    ),
}
MODEL = """{"name": "two", "runtime": {"format": "onnx", "entry": "model.onnx"},
"inputs": [{"name": "x", "dtype": "F32", "shape": [null, 2]}],
"outputs": [{"name": "y", "dtype": "F32", "shape": [null, 2]}], "tolerance": 1000}"""


def measure(home: Path, rounds: int = ROUNDS) -> dict[str, float]:
    """Return CPU seconds of each way, the best of the rounds."""
    with Anvil() as anvil:
        node = daemon.start_embedded(home / "ipfs", log=home / "ipfs.log")
        try:
            contracts = deploy(Wallet(anvil.rpc, dev_account(9)), DeployConfig())
            settings = Settings(home, rpc_url=anvil.url, ipfs_api=node.api_url, contracts=contracts)
            save_network(settings)
            network = Network.open(settings)
            operator = _prepare(network, home)
            over = threading.Event()
            serving = threading.Thread(target=_serve, args=(network, operator, over))
            serving.start()
            try:
                return _rounds(home, rounds)
            finally:
                over.set()
                serving.join()
        finally:
            node.stop()


def _prepare(network: Network, home: Path) -> Wallet:
    (home / "password").write_text(PASSWORD)
    for name in ("owner", "operator", "requester"):
        made = keystore.create(home / "keys" / f"{name}.json", lambda: PASSWORD, scrypt_n=2)
        balances.fund(network, made, Amount(50 * DOLLAR))
    owner, operator = (network.wallet(name, PASSWORD) for name in ("owner", "operator"))
    folder = home / "model"
    folder.mkdir()
    (folder / "model.json").write_text(MODEL)
    (folder / "model.onnx").write_bytes(bytes(1000))
    publishing.publish(network, owner, folder, SaleTerms(fee=Amount(1000)))
    operators.register(network, operator, "")
    operators.stake(network, operator, Amount(40 * DOLLAR))
    operators.authorize(network, owner, 1, operator.address)
    balances.deposit(network, network.wallet("requester", PASSWORD), Amount(DOLLAR))
    return operator


def _serve(network: Network, operator: Wallet, over: threading.Event) -> None:
    answer = tensor.encode({"y": np.zeros((1, 2), np.float32)})
    root = network.ipfs.publish_bytes(answer).sha256
    while not over.wait(0.05):
        with suppress(TallystickError):
            for found in requests.list_requests(network, state=RequestState.REQUESTED):
                operator.send(
                    network.market.deliver(found.request, NO_CLAIM, OperatorAnswer(root, ZERO32))
                )


def _rounds(home: Path, rounds: int) -> dict[str, float]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")} | {
        "TALLYSTICK_HOME": str(home),
        "TALLYSTICK_PASSWORD_FILE": str(home / "password"),
    }
    found = [{name: _cpu(way, environ) for name, way in WAYS.items()} for _ in range(rounds + 1)]
    return {name: min(each[name] for each in found[1:]) for name in WAYS}  # the first compiles


def _cpu(way: Sequence[str], environ: Mapping[str, str]) -> float:
    process = subprocess.Popen(
        [sys.executable, "-c", *way], env=dict(environ), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(way[1:])} ended with {process.returncode}: {said}")
    return used.ru_utime + used.ru_stime


def run(report: Callable[[str], None], build: object) -> dict[str, Any]:
    """Measure and report."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        found = measure(Path(home))
    alone, web3 = found["python -c pass"], found["import web3"]
    for name, seconds in found.items():
        report(f"{name:<26}{seconds:>6.2f} s  {seconds / alone:>5.1f} × pass  "
               f"{seconds / web3:>5.2f} × import web3")  # fmt: skip
    report(f"{time.monotonic() - began:.0f} s in all")
    return found
