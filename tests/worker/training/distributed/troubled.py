"""Modules that jobs of tests name as their builder: small ones, and a layer that makes trouble.

Trouble comes once: a marker in a folder says that it has been. It comes to a rank when the layer
is called for the n-th time, so that a test says the very step.
"""

import os
import resource
import signal
from pathlib import Path

import torch
from torch import nn


def mlp(width=16):
    """Return a network for 8 × 8 pixels."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 10)
    )  # fmt: skip


def troubled(what, folder, first=-1, second=-1):
    """Return a network with trouble for rank 0 at its call `first`, for rank 1 at `second`."""
    body = list(mlp())
    first, second = (Trouble(what, folder, *at) for at in ((0, first), (1, second)))
    first.near, second.near = [body[1]], [body[4]]
    return nn.Sequential(body[0], first, *body[1:-1], second, body[-1])


class Trouble(nn.Module):
    """Passes its input on, and does something terrible when its call comes."""

    def __init__(self, what, folder, rank, at):
        super().__init__()
        self._does = {
            "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
            "tamper": self._tamper,
            "nan": lambda: self.near[0].weight.data.fill_(torch.nan),
            "raise": self._raise,
        }[what]
        self._mark, self._rank, self._at = Path(folder) / f"{what}-{rank}", rank, at
        self._calls = 0

    def forward(self, x):
        if os.environ.get("RANK") == str(self._rank):
            self._calls += 1
            if self._calls == self._at and not self._mark.exists():
                self._mark.write_text("")
                self._does()
        return x

    def _tamper(self):
        with torch.no_grad():
            self.near[0].weight[0, 0] += 1e-3

    def _raise(self):
        raise RuntimeError("this layer is broken")


class Hungry(nn.Module):
    """A network that takes a mebibyte and more for each row, in a process with a real limit."""

    def __init__(self, width, spare):
        super().__init__()
        self.widen, self.narrow = nn.Linear(64, width), nn.Linear(width, 10)
        self._spare, self._limited = spare, False

    def forward(self, x):
        if "RANK" in os.environ and not self._limited:
            self._limited = True
            limit = data_bytes() + self._spare
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        return self.narrow(torch.relu(self.widen(x.flatten(1))))


def data_bytes():
    """Return how much private memory this process has asked for: what RLIMIT_DATA bounds."""
    status = Path("/proc/self/status").read_text()
    found = next(line for line in status.splitlines() if line.startswith("VmData"))
    return int(found.split()[1]) * 1024


def hungry(width=2**18, spare=2**28):
    """Return a network that runs out of memory."""
    return Hungry(width, spare)
