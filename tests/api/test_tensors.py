"""KServe bodies to arrays and back, without a server: what is said is compared with what came."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.api import tensors
from oracle.api.tensors import Wanted
from oracle.errors import InputInvalid
from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec, Tokenizer

MANIFEST = Manifest(
    name="both",
    runtime=RuntimeSpec("onnx", "m.onnx"),
    files=(),
    inputs=(TensorSpec("x", "F32", (None, 2)), TensorSpec("flag", "BOOL", (None,))),
    outputs=(TensorSpec("y", "I64", (None,)), TensorSpec("z", "F64", (None, 1))),
)
WRITER = Manifest(
    name="words",
    runtime=RuntimeSpec("onnx", "m.onnx"),
    files=(),
    inputs=(TensorSpec("input_ids", "I64", (None, None)),),
    outputs=(TensorSpec("y", "F32", (None, 2)),),
    preprocess=Tokenizer(file="t.json", max_length=8),
)


def body(*inputs, tail=b"", **fields):
    head = json.dumps({"inputs": inputs, **fields}).encode()
    return head + tail, str(len(head)) if tail else None


def entry(name, datatype, shape, data=None, size=None):
    made = {"name": name, "datatype": datatype, "shape": shape}
    if size is not None:
        return {**made, "parameters": {"binary_data_size": size}}
    return {**made, "data": data}


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────
def test_read__bytes_that_belong_to_nothing__are_refused():
    raw = np.zeros(2, np.float32).tobytes()
    data, length = body(entry("x", "FP32", [1, 2], size=8), tail=raw + b"!")
    with pytest.raises(InputInvalid, match="1 bytes of the body belong to no input"):
        tensors.read(data, length, MANIFEST)


def test_read__bool_byte_of_two__is_refused():
    data, length = body(entry("flag", "BOOL", [2], size=2), tail=b"\1\2")
    with pytest.raises(InputInvalid, match="neither 0 nor 1"):
        tensors.read(data, length, MANIFEST)


@pytest.mark.parametrize(
    "raw", [b"\5\0\0\0abcd", b"\0\0", b"\2\0\0\0\xff\xfe", b"\xff\xff\xff\xff"]
)
def test_read__strings_that_end_too_late_or_are_no_text__are_refused(raw):
    data, length = body(entry("text", "BYTES", [1], size=len(raw)), tail=raw)
    with pytest.raises(InputInvalid):
        tensors.read(data, length, WRITER)


def test_read__sentences_and_ids__are_one_too_many():
    data, _ = body(entry("text", "BYTES", [1], ["a"]), entry("input_ids", "INT64", [1, 1], [[1]]))
    with pytest.raises(InputInvalid, match="not both"):
        tensors.read(data, None, WRITER)


def test_read__text_for_a_model_without_a_tokenizer__is_no_input():
    data, _ = body(entry("text", "BYTES", [1], ["a"]))
    with pytest.raises(InputInvalid, match="has no input text"):
        tensors.read(data, None, MANIFEST)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=8), st.integers(0, 250)))
def test_read__any_bytes__are_read_or_refused(data, length):
    header = str(length) if isinstance(length, int) else length
    with pytest.raises(InputInvalid):
        tensors.read(data, header, MANIFEST)


# ── What fits ───────────────────────────────────────────────────────────────────────────────────
def test_read__binary_behind_json__in_the_order_of_the_inputs():
    x = np.array([[1.5, -2.0]], np.float32)
    data, length = body(
        entry("flag", "BOOL", [1], size=1), entry("x", "FP32", [1, 2], size=8),
        tail=b"\1" + x.tobytes(), outputs=[{"name": "z", "parameters": {"binary_data": True}}],
        id="7",
    )  # fmt: skip
    found = tensors.read(data, length, MANIFEST)
    assert found.arrays["flag"].tolist() == [True]
    assert np.array_equal(found.arrays["x"], x)
    assert (found.id, found.wanted) == ("7", (Wanted("z", True),))


def test_read__json_flat_or_nested__is_the_same():
    for given_data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        data, _ = body(entry("x", "FP32", [2, 2], given_data))
        assert tensors.read(data, None, MANIFEST).arrays["x"].tolist() == [[1, 2], [3, 4]]


def test_read__strings_binary__are_the_texts():
    texts = ("ein Haus", "房子", "")
    raw = b"".join(len(t.encode()).to_bytes(4, "little") + t.encode() for t in texts)
    data, length = body(entry("text", "BYTES", [3], size=len(raw)), tail=raw)
    assert tensors.read(data, length, WRITER).texts == texts


@pytest.mark.parametrize("binary", [(False, False), (True, False), (True, True)])
def test_write__json_and_binary__say_the_same(binary):
    outputs = {"y": np.array([1, 2], np.int64), "z": np.array([[0.1], [0.2]], np.float64)}
    wanted = [Wanted("y", binary[0]), Wanted("z", binary[1])]
    data, length = tensors.write(outputs, wanted, {"model_name": "both"})
    head = json.loads(data[:length])
    at = length or len(data)
    for found, want in zip(head["outputs"], wanted, strict=True):
        array = outputs[want.name]
        if want.binary:
            size = found["parameters"]["binary_data_size"]
            read = np.frombuffer(data[at : at + size], array.dtype).reshape(found["shape"])
            at += size
        else:
            read = np.array(found["data"], array.dtype).reshape(found["shape"])
        assert np.array_equal(read, array)
    assert at == len(data)
