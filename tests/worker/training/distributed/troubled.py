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
    """A network that takes 12 MiB for each row, in a rank with a real limit."""

    def __init__(self, spare):
        super().__init__()
        self.widen, self.narrow = nn.Linear(64, 64), nn.Linear(64, 10)
        self._spare = spare

    def forward(self, x):
        if "RANK" in os.environ and self._spare:
            limit = data_bytes() + self._spare
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            self._spare = 0
        hidden = torch.tanh(self.widen(x.flatten(1)).repeat(1, 2**14))
        return self.narrow(hidden.view(len(x), 2**14, 64).mean(1))


def hungry(spare):
    """Return a network that runs out of memory; 0 = no limit."""
    return Hungry(spare)


def limited(pixels, limit):
    """Return a classifier of long rows; a rank that builds it may ask for `limit` bytes."""
    if "RANK" in os.environ:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return nn.Linear(pixels, 10)


def data_bytes():
    """Return how much private memory this process has asked for: what RLIMIT_DATA bounds."""
    status = Path("/proc/self/status").read_text()
    found = next(line for line in status.splitlines() if line.startswith("VmData"))
    return int(found.split()[1]) * 1024
