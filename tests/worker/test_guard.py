"""Hostile weight files are refused by name before a library opens them."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from worker.errors import ArchiveRefused, PickleRefused, WeightsInvalid
from worker.runtimes import guard

GOOD = save({"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.int8)})


def with_header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def torch_save():
    out = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, out)
    return out.getvalue()


BAD_SAFETENSORS = {
    "empty": (b"", WeightsInvalid),
    "pickle": (pickle.dumps({"a": 1}), PickleRefused),
    "pickle_protocol_2": (pickle.dumps([1] * 99, protocol=2), PickleRefused),
    "torch_save": (torch_save(), PickleRefused),
    "cut_in_the_header": (GOOD[:20], WeightsInvalid),
    "cut_in_the_data": (GOOD[:-1], WeightsInvalid),
    "bytes_after_the_end": (GOOD + b"\0", WeightsInvalid),
    "header_bomb": (struct.pack("<Q", 2**40) + b'{"a":1}' * 9, WeightsInvalid),
    "nested_header": (with_header(b"{" + b'"a":[' * 40000), WeightsInvalid),
    "header_is_a_number": (with_header(b"{}1"), WeightsInvalid),
    "unknown_dtype": (with_header(one(dtype="F3"), bytes(8)), WeightsInvalid),
    "dtype_is_a_list": (with_header(one(dtype=[]), bytes(8)), WeightsInvalid),
    "negative_shape": (with_header(one(shape=[-2]), bytes(8)), WeightsInvalid),
    "shape_is_a_float": (with_header(one(shape=[2.0]), bytes(8)), WeightsInvalid),
    "shape_of_other_size": (with_header(one(shape=[3]), bytes(8)), WeightsInvalid),
    "huge_shape": (with_header(one(shape=[2**62, 2**62]), bytes(8)), WeightsInvalid),
    "gap": (with_header(one(data_offsets=[8, 16]), bytes(16)), WeightsInvalid),
    "overlap": (with_header({**one(), "b": one()["a"]}, bytes(8)), WeightsInvalid),
    "entry_is_text": (with_header({"a": "x"}), WeightsInvalid),
}


@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_read_safetensors_header__hostile_file__refused(tmp_path, case):
    body, error = BAD_SAFETENSORS[case]
    path = tmp_path / "w.safetensors"
    path.write_bytes(body)
    with pytest.raises(error) as raised:
        guard.read_safetensors_header(path)
    assert type(raised.value) is error


def test_read_safetensors_header__good_file__lists_its_tensors(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(GOOD)
    assert guard.read_safetensors_header(path) == {
        "a": guard.TensorInfo("F32", (2, 3)),
        "b": guard.TensorInfo("I8", (5,)),
    }


def test_read_safetensors_header__length_that_looks_like_a_pickle__accepted(tmp_path):
    """0x280 bytes of header begin as a pickle of protocol 2 does."""
    text = json.dumps(one()).encode().ljust(0x280)
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 0x280) + text + bytes(8))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert guard.read_safetensors_header(path)["a"].shape == (2,)


def archive(entries, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, body in entries:
            file.writestr(name, body)
    return out.getvalue()


def overlapping():
    """Two directory entries for the same bytes: 2 MB out of 1 MB (Fifield's bomb, in small)."""
    body = bytearray(archive([("m/a", bytes(2**20)), ("m/b", b"")]))
    start = body.rindex(b"PK\x01\x02")
    first = body.index(b"PK\x01\x02")
    body[start + 16 : start + 28] = body[first + 16 : first + 28]  # CRC and both sizes
    body[start + 42 : start + 46] = body[first + 42 : first + 46]  # where it begins
    return bytes(body)


def many_entries():
    """An end record that promises a directory of 1 GiB."""
    body = bytearray(archive([("m/a", b"1")]))
    struct.pack_into("<L", body, body.rindex(b"PK\x05\x06") + 12, 2**30)
    return bytes(body)


BAD_ARCHIVES = {
    "empty": (b"", ArchiveRefused),
    "not_a_zip": (b"x" * 100, ArchiveRefused),
    "pickle": (pickle.dumps({"a": 1}), PickleRefused),
    "cut_short": (archive([("m/a", b"1" * 100)])[:-30], ArchiveRefused),
    "bomb": (archive([("m/a", bytes(2**24))], zipfile.ZIP_DEFLATED), ArchiveRefused),
    "lzma": (archive([("m/a", bytes(2**20))], zipfile.ZIP_LZMA), ArchiveRefused),
    "overlapping": (overlapping(), ArchiveRefused),
    "huge_directory": (many_entries(), ArchiveRefused),
    "absolute_name": (archive([("/etc/passwd", b"1")]), ArchiveRefused),
    "parent_name": (archive([("m/../../x", b"1")]), ArchiveRefused),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_open_archive__hostile_file__refused(tmp_path, case):
    body, error = BAD_ARCHIVES[case]
    path = tmp_path / "w.pt2"
    path.write_bytes(body)
    with pytest.raises(error) as raised:
        guard.open_archive(path)
    assert type(raised.value) is error


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_open_archive__repeated_name__refused(tmp_path):
    path = tmp_path / "w.pt2"
    path.write_bytes(archive([("m/a", b"1"), ("m/a", b"2")]))
    with pytest.raises(ArchiveRefused, match="twice"):
        guard.open_archive(path)


def test_open_archive__stored_archive__opens(tmp_path):
    path = tmp_path / "w.pt2"
    path.write_bytes(archive([("m/a", b"1")]))
    with guard.open_archive(path) as opened:
        assert opened.read("m/a") == b"1"
