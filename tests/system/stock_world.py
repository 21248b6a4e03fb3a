"""A network whose operator is what `celery` starts: a float model on IPFS, and stock workers."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from oracle.chain.bindings.inference_market import Requested
from oracle.chain.bindings.model_registry import ModelRegistered, ModelRegistry, Publication
from oracle.chain.bindings.operator_registry import OperatorRegistry
from oracle.ipfs.client import IpfsClient
from oracle.protocol import tensor
from oracle.protocol.canonical import sha256
from oracle.types import ZERO32, Assurance, Order
from tests.system.world import FEE, LIFETIME, World
from tests.worker.builders import Published, images, write_digits

BIN = Path(sys.executable).parent


class StockWorld(World):
    """A float model whose weights are on IPFS, and workers that `celery` started."""

    def _people(self):
        super()._people()
        self.published = Published(
            IpfsClient(self.ipfs.api_url), write_digits(self.home / "digits")
        )
        registry = ModelRegistry(self.rpc, self.contracts.model_registry)
        made = self.owner.send(registry.register_model("digits", 0)).one(ModelRegistered)
        publication = Publication(
            self.published.digest, self.published.root, Assurance.COMMITTEE, 10**6, FEE, 7000, 0,
            1, self.window, 0,
        )  # fmt: skip
        self.owner.send(registry.publish_version(made.model_id, ZERO32, publication))
        operators = OperatorRegistry(self.rpc, self.contracts.operator_registry)
        self.owner.send(operators.authorize(made.model_id, self.operator.address, True))
        return made.model_id

    def celery(self, *arguments, **more):
        """Run a command of `celery` that ends; return its output."""
        done = subprocess.run(
            [BIN / "celery", "-A", "worker.app", *arguments],
            env=self.environ(**more), cwd=self.home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def worker(self, name, *arguments, **more):
        """Start a worker with the command that Celery's documentation teaches."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [BIN / "celery", "-A", "worker.app", "worker", "-n", f"{name}@%h", *arguments],
                env=self.environ(**more), cwd=self.home, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def close(self):
        """Stop workers with their children: embedded beat outlives a worker that is killed."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(120)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        super().close()

    def log(self, name):
        return self.home / f"{name}.log"

    def ask_digits(self):
        data = tensor.encode({"image": images(seed=3)})
        self.published.ipfs.publish_bytes(data)
        order = self.order(self.requesters[0])
        order = Order(
            order.model_id, 1, order.lane, sha256(data), ZERO32, ZERO32, FEE, LIFETIME, LIFETIME,
            self.operator.address,
        )  # fmt: skip
        return self.requesters[0].send(self.market.request(order)).one(Requested).request_id
