"""Programs that a model's page offers are whole and fit the model. Runs nothing of them."""

import json
import re
from dataclasses import replace

import pytest

from oracle.api import tensors
from oracle.api.chat import ChatBody
from oracle.protocol.manifest import Manifest, RuntimeSpec, TensorSpec, Tokenizer
from oracle.web.snippets import KSERVE, snippets

BASE = "http://127.0.0.1:8551"


def manifest(*inputs: TensorSpec, preprocess: Tokenizer | None = None) -> Manifest:
    return Manifest(
        name='it\'s "one"',
        runtime=RuntimeSpec("onnx", "m.onnx"),
        files=(),
        inputs=inputs,
        outputs=(TensorSpec("scores", "F32", (None, 3)),),
        preprocess=preprocess,
    )


IMAGE = manifest(TensorSpec("image", "F32", (None, 1, 8, 8)))
TWO = manifest(TensorSpec("a", "I64", (None, 2)), TensorSpec("b", "BOOL", (3,)))
TEXT = manifest(
    TensorSpec("input_ids", "I64", (None, None)),
    preprocess=Tokenizer(file="tokenizer.json", max_length=128),
)


@pytest.mark.parametrize("described", [IMAGE, TWO, TEXT])
def test_snippets__python__compile(described: Manifest) -> None:
    found = snippets(BASE, 7, described)
    for language in ("Python", "tritonclient", *(["openai"] if described is TEXT else [])):
        compile(found[language], language, "exec")


def test_snippets__curl__sends_what_the_gateway_reads() -> None:
    text = snippets(BASE, 7, IMAGE)["curl"]
    assert f"{BASE}/v2/models/7/infer" in text
    body = json.loads(re.findall(r"-d '(.*)'$", text)[0])
    (given,) = body["inputs"]
    assert given["datatype"] in tensors.NAMES
    assert len(given["data"]) == 64


def test_kserve__names_of_dtypes__are_the_gateways() -> None:
    assert KSERVE == tensors.DATATYPES


def test_snippets__text__offers_openai_and_numbers_do_not() -> None:
    assert "embeddings.create" in snippets(BASE, 7, TEXT)["openai"]
    assert "openai" not in snippets(BASE, 7, IMAGE)


def test_snippets__server_without_a_gateway__only_python() -> None:
    assert list(snippets("", 7, IMAGE)) == ["Python"]


def test_snippets__model_that_writes_text__is_asked_to_chat() -> None:
    described = replace(IMAGE, runtime=RuntimeSpec("gguf", "m.gguf"))
    found = snippets(BASE, 7, described)
    compile(found["openai"], "openai", "exec")
    body = json.loads(re.findall(r"-d '(.*)'$", found["curl"])[0])
    assert ChatBody.model_validate(body).asked().stream
    assert set(snippets("", 7, described)) == {"Shell"}
