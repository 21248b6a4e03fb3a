"""Makes the golden vectors: bytes that Python and Solidity must agree on, digit for digit.

`python tests/vectors/make.py` rewrites the files beside it; a test fails when they are not what
this makes, and others hold them against independent implementations. Values are written out, never
drawn, so that no library's random numbers matter.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oracle.protocol import cid, eip712, params, records, tensor
from oracle.protocol.canonical import sha256
from oracle.protocol.manifest import (
    FileEntry,
    Image,
    Manifest,
    ParameterSpec,
    RuntimeSpec,
    TensorSpec,
)
from oracle.protocol.training_history import BaseVersion, MadeByRounds, TrainingHistory
from oracle.types import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    Amount,
    Assurance,
    Bytes32,
    Order,
    Request,
    Terms,
    Timestamp,
)

HERE = Path(__file__).parent
ALICE = Address("0x90F8bf6A479f320ead074411a4B0e7944Ea8c9C1")
BOB = Address("0xFFcf8FDEE72ac11b5c542428B35EEF5769C409f0")
MARKET = Address("0x5b1869D9A4C187F2EAa108f3062412ecf0526b24")
TOKEN = Address("0xCfEB869F69431e42cdB54A4F4f105C19C080A601")
MAX_ADDRESS = Address("0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF")
MAX32 = Bytes32(b"\xff" * 32)


def word(text: str) -> Bytes32:
    """Return a recognisable digest."""
    return sha256(text.encode())


TENSORS: dict[str, dict[str, Any]] = {
    "digit": {"image": np.arange(64, dtype="<f4").reshape(1, 64) / 4},
    "tokens": {
        "attention_mask": np.array([[1, 1, 1], [1, 1, 0]], "<i8"),
        "input_ids": np.array([[101, 2088, 102], [101, 102, 0]], "<i8"),
    },
    "every_dtype": {
        "bool": np.array([True, False, True]),
        "f32": np.array([[1.5, -0.0], [3.4e38, 1e-45]], "<f4"),
        "f64": np.array([0.1, -1e300], "<f8"),
        "i16": np.array([-32768, 32767], "<i2"),
        "i32": np.array(-5, "<i4"),
        "i64": np.array([-(2**63), 2**63 - 1], "<i8"),
        "i8": np.array([-128, 127, 0], "i1"),
        "none": np.zeros((0, 3), "<f4"),
        "u16": np.array([65535], "<u2"),
        "u32": np.array([[[4294967295]]], "<u4"),
        "u8": np.array([255], "u1"),
    },
}

MANIFEST = Manifest(
    name="digits",
    description="Which digit is it? 8×8 pixels, 0 to 16.",
    license="MIT",
    runtime=RuntimeSpec("torch.export", "model.pt2", options={"opset": 1, "scale": 0.5}),
    files=(
        FileEntry("model.pt2", cid.make(cid.Codec.DAG_PB, word("root")), word("weights"), 3 << 20),
        FileEntry("docs/README.md", cid.raw_cid(word("readme")), word("readme"), 120),
    ),
    inputs=(TensorSpec("image", "F32", (None, 64), "row-major"),),
    outputs=(TensorSpec("logits", "F32", (None, 10)),),
    parameters=(
        ParameterSpec(lane=0, name="top_k", minimum=1, maximum=10, default=3),
        ParameterSpec(
            lane=2,
            name="temperature",
            maximum=2000,
            default=1000,
            scale=1000,
            description="softmax",
        ),
        ParameterSpec(lane=7, name="shift", maximum=200, default=100, scale=100, offset=-1),
    ),
    preprocess=Image(height=8, width=8, channels=1, scale=0.0625),
    labels=tuple("0123456789"),
    max_output_bytes=4096,
    tolerance=100_000,
)
TRAINED = replace(
    MANIFEST,
    history=TrainingHistory(
        base=BaseVersion(
            manifest_digest=word("base"),
            chain_id=31337, registry=MARKET.lower(), model_id=7, version=2,
        ),
        made=MadeByRounds(
            chain_id=31337, contract=TOKEN.lower(), rounds=(3, 4, 9), participants=2,
            addresses=(ALICE.lower(), BOB.lower()), state_root=word("state"), scale_bits=16,
        ),
    ),
)  # fmt: skip

TERMS = Terms(
    fee=Amount(2_500_000),
    operator_bps=7000,
    data_bps=500,
    insured_multiple=10,
    challenge_window=3600,
    tolerance=100_000,
    assurance=Assurance.COMMITTEE,
)
MAX_TERMS = Terms(
    fee=Amount(2**64 - 1),
    operator_bps=65535,
    data_bps=65535,
    insured_multiple=65535,
    challenge_window=2**32 - 1,
    tolerance=2**64 - 1,
    assurance=Assurance.EXACT,
    retired=True,
    max_units=2**32 - 1,
)
REQUESTS: dict[str, tuple[int, Address, Request]] = {
    "usual": (
        31337,
        MARKET,
        Request(
            model_id=1,
            version=2,
            lane=3,
            nonce=4,
            requester=ALICE,
            operator=BOB,
            priority_until=Timestamp(1_790_000_060),
            expires_at=Timestamp(1_790_003_600),
            consumer=TOKEN,
            callback_gas=100_000,
            input_root=word("input"),
            input_cid=ZERO32,
            params=params.pack([3, 0, 700]),
            envelope=word("envelope"),
            terms=TERMS,
        ),
    ),
    "largest": (
        2**256 - 1,
        MAX_ADDRESS,
        Request(
            model_id=2**48 - 1,
            version=2**24 - 1,
            lane=2**32 - 1,
            nonce=2**64 - 1,
            requester=MAX_ADDRESS,
            operator=MAX_ADDRESS,
            priority_until=Timestamp(2**40 - 1),
            expires_at=Timestamp(2**40 - 1),
            consumer=MAX_ADDRESS,
            callback_gas=2**24 - 1,
            input_root=MAX32,
            input_cid=MAX32,
            params=MAX32,
            envelope=MAX32,
            terms=MAX_TERMS,
        ),
    ),
}
ORDER = Order(
    model_id=1,
    version=2,
    lane=3,
    input_root=word("input"),
    input_cid=ZERO32,
    params=params.pack([3, 0, 700]),
    max_fee=Amount(3_000_000),
    priority_window=60,
    lifetime=3600,
    operator=BOB,
    consumer=ZERO_ADDRESS,
    callback_gas=0,
    envelope=ZERO32,
)
HEADS: list[tuple[Any, ...]] = [
    (ZERO32, 1, 1, word("m1"), word("r1"), Assurance.COMMITTEE, 100_000, ALICE, 1_790_000_000),
    (word("h"), 2**48 - 1, 2**24 - 1, MAX32, MAX32, Assurance.EXACT, 2**64 - 1, BOB, 2**40 - 1),
]
PARAMS = [[0] * 8, [1], [0, 0, 0, 0, 0, 0, 0, 1], [2**32 - 1] * 8, [3, 0, 700, 0, 0, 0, 0, 250]]
NAMED_PARAMS: list[dict[str, float]] = [
    {},
    {"top_k": 1},
    {"temperature": 0.7, "shift": 0.25},
    {"top_k": 10, "temperature": 2, "shift": -1},
]


def vectors() -> dict[str, bytes]:
    """Return every vector file's bytes by name."""
    files = {f"{name}.safetensors": tensor.encode(arrays) for name, arrays in TENSORS.items()}
    files |= {"manifest.json": MANIFEST.to_bytes(), "manifest_trained.json": TRAINED.to_bytes()}
    documents: dict[str, Any] = {
        "digests": {
            name: {"sha256": _hex(sha256(data)), "cid": cid.raw_cid(sha256(data))}
            for name, data in sorted(files.items())
        },
        "model_root": {"modelRoot": _hex(MANIFEST.model_root())},
        "params": [{"lanes": lanes, "word": _hex(params.pack(lanes))} for lanes in PARAMS],
        "named_params": [
            {
                "values": values,
                "word": _hex(MANIFEST.pack_params(values)),
                "means": MANIFEST.unpack_params(MANIFEST.pack_params(values)),
            }
            for values in NAMED_PARAMS
        ],
        "heads": [_head(*values) for values in HEADS],
        "requests": {name: _request(*values) for name, values in REQUESTS.items()},
        "messages": {name: _message(typed) for name, typed in messages().items()},
    }
    texts = {f"{name}.json": _text(document) for name, document in documents.items()}
    return {**files, **texts}


def messages() -> dict[str, eip712.TypedData]:
    """Return one message of each kind that a wallet signs."""
    return {
        "permit": eip712.permit(
            chain_id=31337,
            token=TOKEN,
            owner=ALICE,
            spender=MARKET,
            value=Amount(5_000_000),
            nonce=0,
            deadline=Timestamp(1_790_000_000),
        ),
        "transfer": eip712.transfer_with_authorization(
            chain_id=31337,
            token=TOKEN,
            sender=ALICE,
            to=BOB,
            value=Amount(1),
            nonce=word("nonce"),
        ),
        "request": eip712.request_authorization(
            chain_id=31337,
            market=MARKET,
            requester=ALICE,
            order=ORDER,
            nonce=4,
            deadline=Timestamp(1_790_000_000),
        ),
    }


def _head(*values: Any) -> dict[str, Any]:
    names = (
        "prevHead modelId version manifestDigest modelRoot assurance tolerance publisher timestamp"
    )
    document = dict(zip(names.split(), map(_plain, values), strict=True))
    return {**document, "head": _hex(records.version_head(*values))}


def _request(chain_id: int, market: Address, request: Request) -> dict[str, Any]:
    packed = records.pack_request(request)
    names = "origin service target inputRoot inputCid params envelope terms"
    words = {name: _hex(packed[i * 32 : i * 32 + 32]) for i, name in enumerate(names.split())}
    fields = {name: _plain(getattr(request, name)) for name in Request.__slots__}
    return {
        "chainId": str(chain_id),
        "market": market,
        "fields": {**fields, "terms": str(request.terms.pack())},
        "words": words,
        "requestId": _hex(records.request_id(chain_id, market, request)),
    }


def _message(typed: eip712.TypedData) -> dict[str, Any]:
    return {"typedData": typed, "digest": _hex(eip712.digest(typed))}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _hex(value)
    # JSON readers may keep 53 bits only
    return str(int(value)) if isinstance(value, int) and value >= 2**53 else value


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _text(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    for file_name, content in vectors().items():
        (HERE / file_name).write_bytes(content)
