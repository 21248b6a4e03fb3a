"""NPZ files of anybody: plain arrays by name, bounded before anything is unpacked."""

import zipfile
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputInvalid

HINT = "np.savez(file, name=array); arrays of objects are pickles and are refused"


def read(
    file: BinaryIO, *, most: int | None = None, names: Collection[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an open file.

    Args:
        most: bytes that it may unpack to; None = as many as it likes.
        names: of the arrays to read; all by default.

    Raises:
        InputInvalid: no archive of plain arrays, damaged, encrypted, an array of `names` is
            missing, or it unpacks to more than `most`.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if most is not None and unpacked > most:
            raise InputInvalid(f"the archive unpacks to {unpacked} bytes, above {most}")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            wanted = arrays.files if names is None else names
            return {name: np.asarray(arrays[name]) for name in wanted}
    except InputInvalid:
        raise
    except Exception as error:  # zipfile, zlib and NumPy share no class for what is damaged
        raise InputInvalid(f"no NPZ of plain arrays: {error}", hint=HINT) from error
