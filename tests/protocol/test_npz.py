"""NPZ files that are damaged, hostile or no archives: one typed error, and nothing is unpacked."""

import io
import zipfile

import numpy as np
import pytest

from oracle.errors import InputInvalid
from oracle.protocol import npz


def archive(save=np.savez, **arrays):
    made = io.BytesIO()
    save(made, **arrays)
    return bytearray(made.getvalue())


def damaged():
    data = archive(np.savez_compressed, a=np.arange(1000))
    data[120:140] = b"\xff" * 20
    return data


def encrypted():
    data = archive(a=np.arange(9))
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return data


def one_array():
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    return made.getvalue()


def longer_than_its_bytes():
    data = archive(a=np.zeros(9))
    return data.replace(b"(9,)", b"(8,)").replace(b"'descr': '<f8'", b"'descr': '<c9'")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PK\x03\x04 and no more", one_array(), damaged(), encrypted(),
        longer_than_its_bytes(), archive(a=np.array([None])),
    ],
    ids=["empty", "cut short", "NPY", "damaged", "encrypted", "header that lies", "objects"],
)  # fmt: skip
def test_read__no_archive_of_plain_arrays__is_refused(data):
    with pytest.raises(InputInvalid, match="no NPZ of plain arrays") as caught:
        npz.read(io.BytesIO(data))
    assert "np.savez" in caught.value.hint


def test_read__text_among_arrays__has_no_shape():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as written:
        written.writestr("image", "a text")
    assert npz.read(made)["image"].shape == ()


def test_read__name_that_is_not_there__is_refused():
    file = io.BytesIO(archive(a=np.arange(3), b=np.arange(4)))
    assert list(npz.read(file, names=["b"])) == ["b"]
    with pytest.raises(InputInvalid, match="c"):
        npz.read(file, names=["c"])


def test_read__more_than_it_may_unpack_to__is_refused():
    data = archive(np.savez_compressed, a=np.zeros(10_000))
    with pytest.raises(InputInvalid, match="unpacks to 80128 bytes, above 80127"):
        npz.read(io.BytesIO(data), most=80_127)
    assert npz.read(io.BytesIO(data), most=80_128)["a"].sum() == 0
