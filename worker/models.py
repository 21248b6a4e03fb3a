"""Models that are loaded: fetched, checked against the chain, kept on the device, least used first
out.

```
 digest on chain ─▶ manifest (raw block) ─▶ files (cache) ─▶ Runtime on the device
```
One pool per process. A model holds the lease of its files for as long as it is loaded.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oracle.errors import DigestMismatch, PermanentError, TallystickError
from oracle.exact import form
from oracle.exact.form import Form
from oracle.ipfs.port import CidUnresolved, Ipfs
from oracle.protocol import cid
from oracle.protocol.canonical import sha256
from oracle.protocol.manifest import MAX_BYTES, Manifest
from oracle.types import Bytes32
from worker.cache import FileCache, Lease
from worker.runtimes.base import Files, Runtime

Load = Callable[[Manifest, Files, Bytes32, str], Runtime]
REMEMBER = 10.0  # seconds in which a model that was refused is not fetched again
_KEEP_MANIFESTS = 256
_KEEP_REFUSED = 1024


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A manifest and its runtime."""

    manifest: Manifest
    model_root: Bytes32  # that its weights have
    form: Form
    runtime: Runtime
    lease: Lease


class ModelPool:
    """Loaded models of one process, bounded by their bytes on the device."""

    def __init__(
        self,
        ipfs: Ipfs,
        cache: FileCache,
        load: Load,
        *,
        device: str,
        max_bytes: int,
        log: Any,
        require: Callable[[Manifest, Runtime], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold no model yet.

        Args:
            require: refuses a model that was loaded, with ModelRefused.
        """
        self._ipfs = ipfs
        self._cache = cache
        self._load, self._require = load, require
        self._device = device
        self._max_bytes = max_bytes
        self._log = log
        self._manifests: OrderedDict[Bytes32, Manifest] = OrderedDict()
        self._models: OrderedDict[Bytes32, LoadedModel] = OrderedDict()
        self._clock = clock
        self._refused: OrderedDict[tuple[Bytes32, Bytes32], tuple[float, TallystickError]] = (
            OrderedDict()
        )

    def get(self, manifest_digest: Bytes32, model_root: Bytes32) -> LoadedModel:
        """Return the model that a version's record names.

        Raises:
            DigestMismatch: manifest, weights or `model_root` are not what the chain says.
            InputInvalid: the manifest breaks a rule of `oracle.protocol.manifest`.
            ModelRefused, CacheFull, DeviceFull: see `cache` and `runtimes`.
            CidUnresolved, Unavailable: IPFS does not give the bytes.
        """
        model = self._models.get(manifest_digest)
        if model is None:
            model = self._fetch_unless_refused(manifest_digest, model_root)
        _check_root(model.model_root, model_root)
        self._models.move_to_end(manifest_digest)
        return model

    def manifest(self, manifest_digest: Bytes32) -> Manifest:
        """Return a manifest by the digest that is on chain. Errors as in `get`."""
        if manifest_digest not in self._manifests:
            data = self._ipfs.fetch_bytes(cid.raw_cid(manifest_digest), MAX_BYTES)
            if sha256(data) != manifest_digest:
                raise DigestMismatch(
                    f"the manifest has digest 0x{sha256(data).hex()}, "
                    f"the chain says 0x{manifest_digest.hex()}"
                )
            self._manifests[manifest_digest] = Manifest.parse(data)
            while len(self._manifests) > _KEEP_MANIFESTS:
                self._manifests.popitem(last=False)
        return self._manifests[manifest_digest]

    def close(self) -> None:
        """Unload everything and let its files go."""
        while self._models:
            self._unload()

    def _fetch_unless_refused(self, manifest_digest: Bytes32, model_root: Bytes32) -> LoadedModel:
        """Fetch a model; one that is bad or lost is not fetched anew for every request."""
        key = (manifest_digest, model_root)  # another record may name the same manifest rightly
        until, known = self._refused.get(key, (0.0, None))
        if known is not None and self._clock() < until:
            raise known.with_traceback(None)
        self._refused.pop(key, None)
        try:
            return self._fetch(manifest_digest, model_root)
        except (PermanentError, CidUnresolved) as error:
            self._refused[key] = (self._clock() + REMEMBER, error)
            while len(self._refused) > _KEEP_REFUSED:
                self._refused.popitem(last=False)
            raise

    def _fetch(self, manifest_digest: Bytes32, model_root: Bytes32) -> LoadedModel:
        manifest = self.manifest(manifest_digest)
        if manifest.exact is None:  # an exact program is held against its root when it is read
            _check_root(manifest.model_root(), model_root)
        needed = sum(entry.size for entry in manifest.files)
        while self._models and self._used() + needed > self._max_bytes:
            self._unload()
        lease = self._cache.lease(manifest.files)
        try:
            version = form.of(manifest, lambda entry: lease.paths[entry.path])
            runtime = self._load(manifest, lease.paths, model_root, self._device)
            self._require(manifest, runtime)
        except BaseException:
            lease.release()
            raise
        model = LoadedModel(manifest, model_root, version, runtime, lease)
        self._models[manifest_digest] = model
        self._log.info(
            "model.loaded",
            name=manifest.name,
            manifest=manifest_digest.hex(),
            bytes=runtime.nbytes,
            device=self._device,
        )
        return model

    def _used(self) -> int:
        return sum(model.runtime.nbytes for model in self._models.values())

    def _unload(self) -> None:
        digest, model = self._models.popitem(last=False)
        if (close := getattr(model.runtime, "close", None)) is not None:
            close()  # it has a process of its own
        model.lease.release()
        self._log.info("model.unloaded", name=model.manifest.name, manifest=digest.hex())


def _check_root(found: Bytes32, model_root: Bytes32) -> None:
    if found != model_root:
        raise DigestMismatch(
            f"the weights in the manifest have root 0x{found.hex()}, the version's record says "
            f"0x{model_root.hex()}",
            hint="the owner must publish a version whose parts agree",
        )
