"""Runs exact versions: integer programs whose roots are recomputed from the weights before serving.

Inputs and outputs carry the sample as their first axis: `[samples, rows, cols]`.
"""

from collections.abc import Mapping

from oracle.exact import quantisation, version
from oracle.exact.version import ExactVersion
from oracle.protocol.manifest import Manifest
from oracle.types import Bytes32
from worker.exact.kernels.executor import Executor
from worker.runtimes.base import Array, Files, Params
from worker.runtimes.tensors import running


class ExactModel:
    """A loaded program."""

    def __init__(self, manifest: Manifest, loaded: ExactVersion, device: str) -> None:
        assert manifest.exact is not None
        self._inputs = [quantisation.input_from_json(code).name for code in manifest.exact.inputs]
        self._output = quantisation.output_from_json(manifest.exact.outputs[0]).name
        self._executor = Executor(loaded.program, loaded.constants, device)
        self.nbytes = sum(loaded.constants.tree(n).stored.nbytes for n in loaded.constants)

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one batch (see `base.Runtime`); exact versions take parameters as an input."""
        with running("the program"):
            return {self._output: self._executor.run([inputs[name] for name in self._inputs])}


def load(manifest: Manifest, files: Files, model_root: Bytes32, device: str) -> ExactModel:
    """Load program and constants.

    Raises:
        DigestMismatch, ProgramInvalid, InputInvalid: see `oracle.exact.version.read`.
        ModelUnsupported: the device does not add integers exactly (see the fast executor).
    """
    return ExactModel(manifest, version.read(manifest, files, model_root), device)
