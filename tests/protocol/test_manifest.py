"""What a manifest may say. Every rule has a case that breaks it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import InputInvalid
from oracle.protocol import canonical, manifest
from oracle.protocol.cid import Codec, make, raw_cid
from oracle.protocol.manifest import (
    DerivedFrom,
    FeatureSpec,
    FileEntry,
    Image,
    Manifest,
    ParameterSpec,
    RuntimeSpec,
    TensorSpec,
    Tokenizer,
    TrainingData,
)
from oracle.types import ZERO32, Bytes32

A, B = Bytes32(b"a" * 32), Bytes32(b"b" * 32)
GOOD = Manifest(
    name="m",
    runtime=RuntimeSpec("safetensors", "weights/m.safetensors", architecture="mlp"),
    files=(
        FileEntry("weights/m.safetensors", make(Codec.DAG_PB, A), B, 2**40),
        FileEntry("tokenizer.json", raw_cid(A), A, 0),
    ),
    inputs=(TensorSpec("ids", "I64", (None, None)), TensorSpec("x", "F32", (None, 2))),
    outputs=(TensorSpec("y", "F32", (None, 3)),),
    parameters=(ParameterSpec(lane=0, name="top", minimum=1, maximum=9, default=3),),
    preprocess=Tokenizer(file="tokenizer.json", max_length=128),
    labels=("a", "b", "c"),
)
TABLE = replace(GOOD, inputs=(TensorSpec("x", "F32", (None, 2)),), preprocess=None)
Document = dict[str, Any]


def document() -> Document:
    """Return the good manifest as JSON, to be spoiled."""
    parsed: Document = json.loads(GOOD.to_bytes())
    return parsed


def put(*path: str | int, value: object) -> Callable[[Document], None]:
    """Return a change that sets one value, or drops it when it is `...`."""

    def change(target: Any) -> None:
        for step in path[:-1]:
            target = target[step]
        if value is ...:
            del target[path[-1]]
        else:
            target[path[-1]] = value

    return change


def file(path: str) -> FileEntry:
    return FileEntry(path, raw_cid(A), A, 1)


TYPE_FAULTS = {
    "unknown field": put("more", value=1),
    "unknown field inside": put("files", 0, "mode", value=7),
    "missing field": put("runtime", value=...),
    "schema of another kind": put("schema", value="tallystick/manifest/2"),
    "name not text": put("name", value=1),
    "format unknown": put("runtime", "format", value="pickle"),
    "size as text": put("files", 0, "size", value="1"),
    "size as fraction": put("files", 0, "size", value=1.5),
    "size as boolean": put("files", 0, "size", value=True),
    "sha256 of 31 bytes": put("files", 0, "sha256", value="0x" + "ab" * 31),
    "sha256 too short": put("files", 0, "sha256", value="0x00"),
    "sha256 upper case": put("files", 0, "sha256", value="0x" + "A" * 64),
    "sha256 without 0x": put("files", 0, "sha256", value="a" * 64),
    "shape of fractions": put("inputs", 0, "shape", value=[1.5]),
    "shape of text": put("inputs", 0, "shape", value=["batch"]),
    "preprocess unknown": put("preprocess", "kind", value="eval"),
    "option a list": put("runtime", "options", value={"a": [1]}),
    "tolerance negative": put("tolerance", value=-1),
}
RULE_FAULTS: dict[str, Manifest] = {
    "name empty": replace(GOOD, name=""),
    "name long": replace(GOOD, name="x" * 65),
    "text long": replace(GOOD, description="x" * 4097),
    "label long": replace(GOOD, labels=("x" * 4097,)),
    "features of two inputs": replace(GOOD, features=(FeatureSpec(name="x"),)),
    "too few features": replace(TABLE, features=(FeatureSpec(name="x"),)),
    "features of one name": replace(TABLE, features=(FeatureSpec(name="x"),) * 2),
    "feature without a name": replace(
        TABLE, features=(FeatureSpec(name=""), FeatureSpec(name="y"))
    ),
    "feature of no range": replace(
        TABLE, features=(FeatureSpec(name="x", minimum=2, maximum=2), FeatureSpec(name="y"))
    ),
    "categories of one name": replace(
        TABLE, features=(FeatureSpec(name="x", categories=("a", "a")), FeatureSpec(name="y"))
    ),
    "others than none": replace(
        TABLE, features=(FeatureSpec(name="x", other=True), FeatureSpec(name="y"))
    ),
    "labels none": replace(GOOD, labels=()),
    "labels too many": replace(GOOD, labels=("x",) * 1025),
    "output zero": replace(GOOD, max_output_bytes=0),
    "output above 64 KiB": replace(GOOD, max_output_bytes=65537),
    "tolerance wide": replace(GOOD, tolerance=2**53),
    "no files": replace(GOOD, files=()),
    "65 files": replace(GOOD, files=GOOD.files + tuple(file(f"{i}.txt") for i in range(63))),
    "entry not listed": replace(GOOD, runtime=replace(GOOD.runtime, entry="x.safetensors")),
    "entry of another format": replace(GOOD, runtime=RuntimeSpec("onnx", "weights/m.safetensors")),
    "architecture missing": replace(GOOD, runtime=replace(GOOD.runtime, architecture=None)),
    "architecture not wanted": replace(
        GOOD,
        files=(*GOOD.files, file("m.onnx")),
        runtime=RuntimeSpec("onnx", "m.onnx", architecture="mlp"),
    ),
    "tokenizer not listed": replace(GOOD, preprocess=Tokenizer(file="t.json", max_length=1)),
    "max_length zero": replace(GOOD, preprocess=Tokenizer(file="tokenizer.json", max_length=0)),
    "image of no rows": replace(GOOD, preprocess=Image(height=0, width=1, channels=1)),
    "image of two channels": replace(GOOD, preprocess=Image(height=1, width=1, channels=2)),
    "mean per channel": replace(GOOD, preprocess=Image(height=1, width=1, channels=3, mean=(1,))),
    "std of zero": replace(GOOD, preprocess=Image(height=1, width=1, channels=1, std=(0,))),
    "no inputs": replace(GOOD, inputs=()),
    "no outputs": replace(GOOD, outputs=()),
    "input twice": replace(GOOD, inputs=GOOD.inputs * 2),
    "dtype unknown": replace(GOOD, inputs=(TensorSpec("x", "F16", (1,)),)),
    "dimension zero": replace(GOOD, inputs=(TensorSpec("x", "F32", (0,)),)),
    "dimension wide": replace(GOOD, inputs=(TensorSpec("x", "F32", (2**31,)),)),
    "rank nine": replace(GOOD, inputs=(TensorSpec("x", "F32", (1,) * 9),)),
    "input name": replace(GOOD, inputs=(TensorSpec("a b", "F32", (1,)),)),
    "parameter default": replace(GOOD, parameters=(ParameterSpec(lane=0, name="a", minimum=1),)),
    "digest and cid disagree": replace(
        GOOD, files=(*GOOD.files, FileEntry("a.txt", raw_cid(A), B, 1))
    ),
    "cid malformed": replace(GOOD, files=(*GOOD.files, FileEntry("a.txt", "bafk", B, 1))),  # type: ignore[arg-type]
    "size negative": replace(GOOD, files=(*GOOD.files, replace(file("a.txt"), size=-1))),
    "size above 2**40": replace(GOOD, files=(*GOOD.files, replace(file("a.txt"), size=2**40 + 1))),
    "path twice": replace(GOOD, files=(*GOOD.files, file("tokenizer.json"))),
    "path twice but for case": replace(GOOD, files=(*GOOD.files, file("Tokenizer.json"))),
    "file as folder": replace(GOOD, files=(*GOOD.files, file("tokenizer.json/a.txt"))),
}
BAD_PATHS = [
    "",
    "/etc/passwd.txt",
    "../a.txt",
    "a/../b.txt",
    "a/./b.txt",
    "./a.txt",
    "a//b.txt",
    "a/",
    "a\\b.txt",
    "C:a.txt",
    "~/a.txt",
    "a\0.txt",
    "a\n.txt",
    "a b.txt",
    "-rf.txt",
    ".hidden.txt",
    "é.txt",
    "x" * 256 + ".txt",
    "CON",
    "noextension",
    *(f"m{suffix}" for suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")),
    "m.npy",
    "m.h5",
    "m.py",
    "m.so",
    "m.safetensors.pkl",
    "m.PKL",
]


@pytest.mark.parametrize("name", TYPE_FAULTS)
def test_parse__wrong_type__refused(name: str) -> None:
    spoiled = document()
    TYPE_FAULTS[name](spoiled)

    with pytest.raises(InputInvalid):
        Manifest.parse(canonical.dumps(spoiled))


def test_to_bytes__features__are_kept_and_their_absence_changes_no_digest() -> None:
    named = replace(
        TABLE, features=(FeatureSpec(name="x", unit="g", minimum=0), FeatureSpec(name="y"))
    )
    assert Manifest.parse(named.to_bytes()) == named
    assert b"features" not in TABLE.to_bytes()
    spoiled = json.loads(TABLE.to_bytes()) | {"features": []}
    with pytest.raises(InputInvalid, match="no features"):
        Manifest.parse(canonical.dumps(spoiled))


@pytest.mark.parametrize("written", [{"categories": []}, {"other": False}])
def test_to_bytes__categories__are_kept_and_their_absence_is_written_in_one_way(
    written: dict[str, Any],
) -> None:
    words = FeatureSpec(name="x", categories=("red", "blue"), other=True)
    named = replace(TABLE, features=(words, FeatureSpec(name="y")))
    assert Manifest.parse(named.to_bytes()) == named
    spoiled = json.loads(named.to_bytes())
    assert set(spoiled["features"][1]) == {"name", "unit", "minimum", "maximum"}
    spoiled["features"][1] |= written
    with pytest.raises(InputInvalid, match="no categories"):
        Manifest.parse(canonical.dumps(spoiled))


def test_to_bytes__derived_from__is_kept_and_its_absence_changes_no_digest() -> None:
    derived = DerivedFrom(model_root=Bytes32(bytes([1]) * 32), method="int8")
    smaller = replace(GOOD, derived_from=derived)
    named = replace(derived, manifest_digest=derived.model_root, model_id=7, version=2)
    whole = json.loads(replace(GOOD, derived_from=named).to_bytes())["derived_from"]
    assert (whole["model_id"], whole["version"]) == (7, 2)
    assert (
        b"version" not in replace(GOOD, derived_from=derived).to_bytes().split(b"derived")[1][:140]
    )
    assert Manifest.parse(smaller.to_bytes()) == smaller
    assert b"derived_from" not in GOOD.to_bytes()
    for spoilt, why in (
        (None, "derived_from is null"),
        ({"method": "int8"}, "derived_from.model_root: Field required"),
        ({"model_root": "0x" + "01" * 32, "method": ""}, "method has 0 characters"),
        ({"model_root": "01" * 32, "method": "int8"}, "not 0x and 64"),
        ({**whole, "version": 0}, "names no version"),
        ({**whole, "model_id": None}, "names no version"),
        ({**whole, "manifest_digest": None}, "names no version"),
        (
            {"model_root": "0x" + "01" * 32, "method": "int8", "of": 1},
            "Unexpected keyword",
        ),
    ):
        body = json.loads(GOOD.to_bytes()) | {"derived_from": spoilt}
        with pytest.raises(InputInvalid, match=why):
            Manifest.parse(canonical.dumps(body))


@pytest.mark.parametrize("name", RULE_FAULTS)
def test_to_bytes__rule_broken__refused(name: str) -> None:
    with pytest.raises(InputInvalid):
        RULE_FAULTS[name].to_bytes()


@pytest.mark.parametrize("path", BAD_PATHS)
def test_to_bytes__path_or_kind_not_allowed__refused(path: str) -> None:
    with pytest.raises(InputInvalid):
        replace(GOOD, files=(*GOOD.files, file(path))).to_bytes()


def test_to_bytes__pickle__says_what_to_do() -> None:
    with pytest.raises(InputInvalid) as caught:
        replace(GOOD, files=(*GOOD.files, file("m.pkl"))).to_bytes()
    assert "convert them to .safetensors" in caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b" " + GOOD.to_bytes(),
        GOOD.to_bytes() + b"\n",
        json.dumps(json.loads(GOOD.to_bytes())).encode(),
        GOOD.to_bytes().replace(b'"name":"m"', b'"name":"m","name":"m"'),
    ],
)
def test_parse__not_canonical__refused(data: bytes) -> None:
    with pytest.raises(InputInvalid):
        Manifest.parse(data)


def test_parse__above_256_kib__refused_before_parsing() -> None:
    with pytest.raises(InputInvalid, match="above the limit"):
        Manifest.parse(b"[" * (manifest.MAX_BYTES + 1))


def test_to_bytes__field_of_the_wrong_python_type__refused() -> None:
    with pytest.raises(InputInvalid):
        replace(GOOD, name=b"m").to_bytes()  # type: ignore[arg-type]


IDS = np.zeros((1, 4), "<i8")
X = np.zeros((1, 2), "<f4")


@pytest.mark.parametrize(
    ("inputs", "says", "hint"),
    [
        ({"ids": IDS}, "input x is missing", "x F32 [?, 2]"),
        ({"ids": IDS, "x": X, "z": X}, "input z is not one of this model's", "ids I64 [?, ?]"),
        ({"ids": IDS.astype("i4"), "x": X}, "input ids: given dtype int32", "I64"),
        ({"ids": IDS, "x": X.astype("f8")}, "input x: given dtype float64", "F32"),
        ({"ids": IDS, "x": X[0]}, r"input x: given shape \[2\]", "[?, 2]"),
        ({"ids": IDS, "x": np.zeros((1, 3), "f4")}, r"given shape \[1, 3\]", "[?, 2]"),
        ({"ids": IDS, "x": np.zeros((0, 2), "f4")}, r"given shape \[0, 2\]", "[?, 2]"),
        ({"ids": IDS, "x": X + np.nan}, r"x: element \[0, 0\] is nan", "NaN"),
    ],
)
def test_validate_inputs__does_not_fit__says_what_was_given_and_what_is_wanted(
    inputs: dict[str, Any], says: str, hint: str
) -> None:
    with pytest.raises(InputInvalid, match=says) as caught:
        GOOD.validate_inputs(inputs)
    assert hint in caught.value.hint


def test_validate_outputs__wrong_shape__names_the_output() -> None:
    with pytest.raises(InputInvalid, match="output y: given shape"):
        GOOD.validate_outputs({"y": np.zeros((1, 4), "f4")})


def test_validate_inputs__fits__accepted() -> None:
    GOOD.validate_inputs({"x": np.ones((7, 2), ">f4"), "ids": np.ones((7, 9), "i8")})


def test_file__not_listed__refused() -> None:
    with pytest.raises(InputInvalid, match=r"no file x\.txt"):
        GOOD.file("x.txt")


def test_parse__what_to_bytes_gave__the_same_manifest() -> None:
    assert Manifest.parse(GOOD.to_bytes()) == GOOD
    assert GOOD.file("tokenizer.json") is GOOD.files[1]


def test_parse__only_what_must_be_said__the_rest_is_default() -> None:
    small = Manifest(
        name="m",
        runtime=RuntimeSpec("onnx", "m.onnx"),
        files=tuple(file(name) for name in ["m.onnx", *(f"{i}.txt" for i in range(63))]),
        inputs=GOOD.inputs,
        outputs=GOOD.outputs,
    )

    assert Manifest.parse(small.to_bytes()) == small
    assert (small.labels, small.preprocess, small.max_output_bytes) == (None, None, 65536)


def test_pack_params__named__as_the_lanes_say() -> None:
    word = GOOD.pack_params({"top": 5})

    assert word[:4] == b"\0\0\0\5"
    assert GOOD.unpack_params(word) == {"top": 5}
    assert GOOD.unpack_params(ZERO32) == {"top": 3}


@given(st.data())
def test_parse__mutated__refused_or_the_same_bytes(data: Any) -> None:
    mutated = bytearray(GOOD.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at] = data.draw(st.sampled_from(b'0123456789abcdef{}[],:". ') | st.integers(0, 255))
    try:
        parsed = Manifest.parse(bytes(mutated))
    except InputInvalid:
        return
    assert parsed.to_bytes() == bytes(mutated)


# ── Training data ───────────────────────────────────────────────────────────────────────────────
DATA = TrainingData(columns=("a", "b"), offset=(0.0, 0.5), scale=(1.0, 0.25), labels=("x", "y"))


def test_to_bytes__no_training_data__leaves_the_field_out() -> None:
    assert b'"data"' not in GOOD.to_bytes()
    assert Manifest.parse(GOOD.to_bytes()).data is None


def test_parse__training_data__reads_back() -> None:
    manifest = replace(GOOD, data=DATA)
    assert Manifest.parse(manifest.to_bytes()) == manifest


@pytest.mark.parametrize("field", ["columns", "scale", "schema"])
def test_parse__training_data_that_is_none__is_refused(field: str) -> None:
    body = json.loads(replace(GOOD, data=DATA).to_bytes())
    body["data"][field] = [] if field != "schema" else "tallystick/training-data/9"
    with pytest.raises(InputInvalid):
        Manifest.parse(canonical.dumps(body))


def test_parse__training_data_null__is_refused() -> None:
    with pytest.raises(InputInvalid, match="data is null"):
        Manifest.parse(canonical.dumps(document() | {"data": None}))
