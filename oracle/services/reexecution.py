"""Re-executes the requests of exact versions with the NumPy reference: what the right answer is.

Version files stay in the cache under their SHA-256; their roots are recomputed before use.
"""

from collections import OrderedDict
from dataclasses import dataclass

from oracle.errors import DigestMismatch, InputInvalid, PermanentError
from oracle.exact import files, form, version
from oracle.exact.commitments import Committed
from oracle.exact.reference import execute
from oracle.exact.version import ExactVersion
from oracle.ipfs.port import MAX_BLOCK
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import Manifest
from oracle.services import models, quoting
from oracle.services.exact_faults import HonestTrace
from oracle.services.network import Network
from oracle.services.quoting import BytesProgress
from oracle.types import ZERO32, Bytes32, Request, VersionRecord

_KEPT = 4  # versions in memory


class NotExact(PermanentError):
    """The version is a float model: its answers are not facts, a committee decides about them."""

    def __init__(self, model_id: int, number: int) -> None:
        super().__init__(
            f"version {number} of model {model_id} is a float model: its answers are compared "
            "within a tolerance by operators drawn at random (the committee), not re-executed",
            hint="an exact version's answer can be checked by anyone",
        )


@dataclass(frozen=True)
class Loaded:
    """A version with its record and files."""

    manifest: Manifest
    record: VersionRecord
    version: ExactVersion


class Reexecutor:
    """Runs requests again. Keeps the last few versions loaded."""

    def __init__(self, network: Network, progress: BytesProgress | None = None) -> None:
        self._network = network
        self._progress = progress
        self._loaded: OrderedDict[tuple[int, int], Loaded] = OrderedDict()

    def load(self, model_id: int, number: int) -> Loaded:
        """Return a version.

        Raises:
            NotExact: it is a float model's. NotFound: it was never published.
            CidUnresolved: nobody has a file of it.
            DigestMismatch, ProgramInvalid, InputInvalid: its files are not what the chain names.
        """
        key = (model_id, number)
        if key not in self._loaded:
            self._loaded[key] = self._load(model_id, number)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def inputs(self, request: Request) -> bytes:
        """Fetch a request's input.

        Raises:
            CidUnresolved: nobody has it. DigestMismatch: what is there is not what was asked.
        """
        digest = request.input_cid if request.input_cid != ZERO32 else request.input_root
        return self._network.ipfs.fetch_bytes(raw_cid(digest), MAX_BLOCK)

    def run(self, request: Request, data: bytes | None = None) -> HonestTrace:
        """Return the one honest trace of a request.

        Args:
            data: the input's bytes, when the caller has them; fetched otherwise.

        Raises:
            NotExact, NotFound, CidUnresolved, ProgramInvalid: see `load` and `inputs`.
            DigestMismatch: the input is not the one that was asked about.
        """
        loaded = self.load(request.model_id, request.version)
        data = self.inputs(request) if data is None else data
        try:
            found = form.of(loaded.manifest).input_root(data)
        except InputInvalid as error:
            raise DigestMismatch(f"the input is not that of the request: {error}") from error
        if found != request.input_root:
            raise DigestMismatch(
                f"the input has root 0x{found.hex()}, 0x{request.input_root.hex()} was asked",
                hint="its bytes were changed, or belong to another request",
            )
        program, constants = loaded.version.program, loaded.version.constants
        arrays = [tree.array for tree in files.read_inputs(data)]
        trace = execute(program, constants, arrays)
        return HonestTrace(constants, Committed(program, trace.tensors))

    def _load(self, model_id: int, number: int) -> Loaded:
        network = self._network
        record = models.record_of(network, model_id, number)
        manifest = models.manifest(network, model_id, number)
        if manifest.exact is None:
            raise NotExact(model_id, number)
        wanted = (manifest.runtime.entry, manifest.exact.constants)
        paths = {
            path: quoting.fetch_file(network, manifest.file(path), self._progress)
            for path in wanted
        }
        return Loaded(manifest, record, version.read(manifest, paths, record.model_root))


def output_of(network: Network, output_cid: Bytes32, output_root: Bytes32) -> bytes:
    """Fetch an answer's record.

    Raises:
        CidUnresolved: nobody has it. DigestMismatch: it is not what was delivered.
    """
    digest = output_cid if output_cid != ZERO32 else output_root
    data = network.ipfs.fetch_bytes(raw_cid(digest), MAX_BLOCK)
    try:
        found = files.output_root(data)
    except InputInvalid as error:
        raise DigestMismatch(f"the output's bytes are no tensor: {error}") from error
    if found != output_root:
        raise DigestMismatch(
            f"the output's bytes have root 0x{found.hex()}, 0x{output_root.hex()} was delivered"
        )
    return data
