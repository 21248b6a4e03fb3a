"""The golden vectors are what the code makes, and what other libraries make of them."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.numpy
from eth_abi.abi import encode
from eth_abi.packed import encode_packed
from eth_account.messages import _hash_eip191_message, encode_typed_data

from oracle.protocol import params, records, tensor
from oracle.protocol.canonical import keccak, sha256
from oracle.protocol.manifest import Manifest

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_vectors", VECTORS / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


def word(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def test_vectors__committed__are_those_that_the_code_makes(make: ModuleType) -> None:
    for name, content in make.vectors().items():
        assert (VECTORS / name).read_bytes() == content, f"{name}: run tests/vectors/make.py"


def test_tensor_files__read_by_safetensors__as_we_read_them(make: ModuleType) -> None:
    for name, arrays in make.TENSORS.items():
        data = (VECTORS / f"{name}.safetensors").read_bytes()
        theirs, ours = safetensors.numpy.load(data), tensor.decode(data, len(data))
        assert theirs.keys() == ours.keys() == arrays.keys()
        assert all(theirs[key].tobytes() == ours[key].tobytes() for key in ours)


def test_manifest__bytes__parse_to_the_manifest(make: ModuleType) -> None:
    data = (VECTORS / "manifest.json").read_bytes()

    assert Manifest.parse(data) == make.MANIFEST
    assert load("digests")["manifest.json"]["sha256"] == "0x" + sha256(data).hex()


def test_model_root__weights_of_the_manifest__hashed_as_documented() -> None:
    files = json.loads((VECTORS / "manifest.json").read_bytes())["files"]
    (weights,) = (file for file in files if file["path"].endswith(".pt2"))

    text = f'[["{weights["path"]}","{weights["sha256"]}",{weights["size"]}]]'

    assert load("model_root")["modelRoot"] == "0x" + sha256(text.encode()).hex()


def test_params__word__is_solidity_packed() -> None:
    for vector in load("params"):
        lanes = (vector["lanes"] + [0] * 8)[:8]
        assert word(vector["word"]) == encode_packed(["uint32"] * 8, lanes)
        assert params.unpack(word(vector["word"])) == tuple(lanes)


def test_heads__abi_encoded__hash_to_the_head() -> None:
    kinds = ["bytes32", "uint256", "uint32", "bytes32", "bytes32"]
    kinds += ["uint8", "uint64", "address", "uint40"]
    for vector in load("heads"):
        values = [
            word(vector["prevHead"]),
            int(vector["modelId"]),
            int(vector["version"]),
            word(vector["manifestDigest"]),
            word(vector["modelRoot"]),
            int(vector["assurance"]),
            int(vector["tolerance"]),
            vector["publisher"],
            int(vector["timestamp"]),
        ]
        assert "0x" + keccak(encode(kinds, values)).hex() == vector["head"]


def test_requests__words__hash_to_the_id_and_unpack_to_the_fields() -> None:
    names = ["origin", "service", "target", "inputRoot", "inputCid", "params", "envelope", "terms"]
    for vector in load("requests").values():
        packed = b"".join(word(vector["words"][name]) for name in names)
        head = encode(["uint256", "address"], [int(vector["chainId"]), vector["market"]])
        assert "0x" + keccak(head + packed).hex() == vector["requestId"]
        request = records.unpack_request(packed)
        assert str(request.terms.pack()) == vector["fields"]["terms"]
        assert str(request.nonce) == str(vector["fields"]["nonce"])
        assert request.requester == vector["fields"]["requester"]


def test_messages__typed_data__hash_to_the_digest() -> None:
    for vector in load("messages").values():
        signable = encode_typed_data(full_message=vector["typedData"])
        assert "0x" + _hash_eip191_message(signable).hex() == vector["digest"]
