"""Manifests that the tests of this folder share."""

from dataclasses import replace

from oracle.protocol import canonical
from oracle.protocol.cid import raw_cid
from oracle.protocol.manifest import (
    FileEntry,
    Image,
    Manifest,
    ParameterSpec,
    RuntimeSpec,
    TensorSpec,
    Tokenizer,
)


def entry(path: str, data: bytes) -> FileEntry:
    digest = canonical.sha256(data)
    return FileEntry(path, raw_cid(digest), digest, len(data))


DIGITS = Manifest(
    name="digits",
    runtime=RuntimeSpec("onnx", "model.onnx"),
    files=(entry("model.onnx", b"weights"),),
    inputs=(TensorSpec("image", "F32", (None, 1, 2, 2)),),
    outputs=(TensorSpec("logits", "F32", (None, 3)),),
    parameters=(
        ParameterSpec(lane=0, name="temperature", minimum=1, maximum=20, default=10, scale=10),
    ),
    preprocess=Image(height=2, width=2, channels=1, scale=0.5, mean=(1.0,), std=(2.0,)),
    labels=("zero", "one", "two"),
)
INTEGERS = replace(DIGITS, inputs=(TensorSpec("ids", "U8", (None,)),), preprocess=None)
TWO_INPUTS = replace(
    DIGITS,
    inputs=(TensorSpec("a", "F32", (1,)), TensorSpec("b", "I64", (1,))),
    preprocess=None,
)
SENTENCES = replace(
    DIGITS,
    files=(*DIGITS.files, entry("tokenizer.json", b"{}")),
    inputs=(
        TensorSpec("input_ids", "I64", (None, None)),
        TensorSpec("attention_mask", "I64", (None, None)),
    ),
    outputs=(TensorSpec("embeddings", "F32", (None, 2)),),
    preprocess=Tokenizer(file="tokenizer.json", max_length=4),
    labels=None,
    parameters=(),
)
