"""A stranger's GGUF header is read with bounds, before a library opens the file."""

import struct

import pytest

from worker.errors import WeightsInvalid
from worker.text import header


def name(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def gguf(*, magic=b"GGUF", version=3, tensors=1, keys=None, values=b"", tensor=None) -> bytes:
    count = 0 if keys is None else keys
    shape = struct.pack("<I2QIQ", 2, 4, 4, 0, 0)
    body = name(b"w") + shape if tensor is None else tensor
    return magic + struct.pack("<IQQ", version, tensors, count) + values + body


TEXT = name(b"general.license") + struct.pack("<I", 8) + name(b"MIT")
ARRAY = name(b"a") + struct.pack("<IIQ", 9, 4, 3) + bytes(12)


def test_read__small_file__says_what_it_is(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf(keys=2, values=TEXT + ARRAY))
    found = header.read(path)
    assert (found.text("general.license"), found.tensors, found.context) == ("MIT", 1, 0)


HOSTILE = {
    "other_magic": gguf(magic=b"PK\x03\x04"),
    "empty": b"",
    "old_version": gguf(version=1),
    "many_keys": gguf(keys=2**63),
    "many_tensors": gguf(tensors=2**40),
    "no_tensors": gguf(tensors=0, tensor=b""),
    "long_name": gguf(keys=1, values=struct.pack("<Q", 2**62)),
    "long_array": gguf(keys=1, values=name(b"a") + struct.pack("<IIQ", 9, 4, 2**60)),
    "array_of_arrays": gguf(keys=1, values=name(b"a") + struct.pack("<IIQI", 9, 9, 1, 9)),
    "unknown_kind": gguf(keys=1, values=name(b"a") + struct.pack("<I", 77)),
    "rank": gguf(tensor=name(b"w") + struct.pack("<I", 9)),
    "shape_overflows": gguf(tensor=name(b"w") + struct.pack("<I2QIQ", 2, 2**40, 2**40, 0, 0)),
    "outside": gguf(tensor=name(b"w") + struct.pack("<I2QIQ", 2, 4, 4, 0, 2**50)),
    "odd_offset": gguf(tensor=name(b"w") + struct.pack("<I2QIQ", 2, 4, 4, 0, 7)),
    "cut": gguf()[:-3],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_read__hostile_file__refused(tmp_path, case):
    path = tmp_path / "x.gguf"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(WeightsInvalid):
        header.read(path)
