"""Faults on purpose, for demonstrations and tests: what a lying operator does. Off unless asked.

`TALLYSTICK_FAULT` names them, separated by commas:

* `output-byte`: one byte of every exact answer is changed, and of the trace that stands behind it;
* `withhold`: no traces or tables are served and no demands answered;
* `false-value`: a valuator inflates the value of the worst contribution (worker/valuation/lies.py).

Whoever sets it loses stake. Every process that obeys says so when it starts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oracle.errors import ConfigInvalid
from oracle.exact.dtypes import Array
from oracle.protocol.manifest import Manifest
from oracle.types import Bytes32
from worker.models import Load
from worker.runtimes.base import Files, Params, Runtime

OUTPUT_BYTE = "output-byte"
WITHHOLD = "withhold"
FALSE_VALUE = "false-value"
NONE: frozenset[str] = frozenset()
_KNOWN = (OUTPUT_BYTE, WITHHOLD, FALSE_VALUE)


def parse(setting: str, log: Any) -> frozenset[str]:
    """Read the setting, and say loudly when it asks for anything.

    Raises:
        ConfigInvalid: a fault that there is not.
    """
    names = frozenset(name.strip() for name in setting.split(",") if name.strip())
    if unknown := names - set(_KNOWN):
        raise ConfigInvalid(
            f"TALLYSTICK_FAULT: {', '.join(sorted(unknown))}", hint=f"known: {', '.join(_KNOWN)}"
        )
    if names:
        log.error("FAULTS_ON", faults=sorted(names), hint="this operator lies: it will be slashed")
    return names


def spoil(output: Array) -> Array:
    """Return integers of which the last differs in its lowest bit; the rest is as it was."""
    spoiled = np.array(output)
    spoiled[..., -1, -1] ^= 1
    return spoiled


def spoil_trace(tensors: Sequence[Array]) -> tuple[Array, ...]:
    """Return a trace whose output, the last tensor, is spoiled."""
    return (*tensors[:-1], spoil(tensors[-1]))


def lying(load: Load) -> Load:
    """Make exact versions answer with spoiled outputs; float models answer as ever."""

    def loaded(manifest: Manifest, files: Files, model_root: Bytes32, device: str) -> Runtime:
        runtime = load(manifest, files, model_root, device)
        return runtime if manifest.exact is None else _Liar(runtime)

    return loaded


class _Liar:
    """A runtime whose outputs are spoiled."""

    def __init__(self, honest: Runtime) -> None:
        self._honest = honest
        self.nbytes = honest.nbytes

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one batch wrongly (see `runtimes.base.Runtime`)."""
        outputs = self._honest.run(inputs, params)
        return {name: spoil(output) for name, output in outputs.items()}
