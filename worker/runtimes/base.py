"""What every runtime looks like to the pipeline, and how a manifest finds its runtime.

```
 Manifest + files ──load──▶ Runtime ──run(inputs, params)──▶ outputs        arrays in, arrays out
```
Knows nothing of chains, queues or IPFS.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oracle.protocol.manifest import Manifest

Array = NDArray[Any]
Files = Mapping[str, Path]  # path in the manifest → verified file on disk
Params = Mapping[str, float]  # name → real value


class Runtime(Protocol):
    """A model that is loaded and ready."""

    nbytes: int  # on the device

    def run(self, inputs: Mapping[str, Array], params: Params) -> dict[str, Array]:
        """Answer one (batched) input; arrays have the manifest's names, dtypes and shapes.

        Raises:
            ModelFailed: the model raised an error.
            DeviceFull: the device ran out of memory.
        """
        ...


Loader = Callable[[Manifest, Files, str], Runtime]  # device: "cpu", "cuda" or "cuda:N"


def as_scalars(params: Params) -> dict[str, Array]:
    """Return parameters as 0-d float32 arrays: what graphs that take parameters are given."""
    return {name: np.asarray(value, np.float32) for name, value in params.items()}
