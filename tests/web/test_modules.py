"""The page's JavaScript computes the same digests as Python. Runs Node, opens no sockets."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_hash.auto import keccak

from oracle.chain.codec import interface
from oracle.exact import files
from oracle.exact.dtypes import DType, Spec
from oracle.exact.tensors import TensorTree
from oracle.protocol import records
from oracle.protocol.cid import raw_cid
from oracle.types import Address, Amount, Assurance, Bytes32, Order, Timestamp
from oracle.web import pictures

STATIC = Path(pictures.__file__).parent / "static"
NODE = shutil.which("node")
BROWSER = (  # the little of it that page.js touches when it is imported
    "globalThis.window = new EventTarget(); globalThis.document = "
    "{ getElementById: () => ({ textContent: '{}', addEventListener() {} }) };"
)

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node on PATH")


def run(tmp_path: Path, body: str, given: Any) -> Any:
    """Return what a module's body prints as JSON; `given` is there under that name."""
    for module in STATIC.glob("*.js"):
        shutil.copyfile(module, tmp_path / module.name)
    (tmp_path / "package.json").write_text('{"type":"module"}')
    (tmp_path / "main.js").write_text(f"const given = {json.dumps(given)};\n{body}")
    done = subprocess.run(
        [str(NODE), str(tmp_path / "main.js")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_keccak256__every_length_around_a_block__as_in_python(tmp_path: Path) -> None:
    data = [bytes((7 * i + n) % 256 for i in range(n)) for n in (*range(0, 300), 1000, 4097)]
    found = run(
        tmp_path,
        'import { keccak256 } from "./keccak.js"; import { hex, unhex } from "./encoding.js";'
        "console.log(JSON.stringify(given.map((text) => hex(keccak256(unhex(text))))));",
        ["0x" + one.hex() for one in data],
    )
    assert found == ["0x" + keccak(one).hex() for one in data]


def test_raw_cid__digests__as_in_python(tmp_path: Path) -> None:
    digests = [bytes(32), bytes([255] * 32), bytes(range(32))]
    found = run(
        tmp_path,
        'import { rawCid } from "./encoding.js"; console.log(JSON.stringify(given.map(rawCid)));',
        ["0x" + digest.hex() for digest in digests],
    )
    assert found == [raw_cid(Bytes32(digest)) for digest in digests]


ALICE = Address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
CALLS: list[tuple[str, str, str, tuple[Any, ...]]] = [
    ("TestDollar", "approve", "approve(address,uint256)", (ALICE, 5)),
    ("InferenceMarket", "deposit", "deposit(address,uint256)", (ALICE, 2**64)),
    ("InferenceMarket", "withdraw", "withdraw(address,uint256)", (ALICE, 1)),
    ("InferenceMarket", "collectModelEarnings", "collectModelEarnings(uint256)", (3,)),
    ("ModelAccess", "submitApplication", "submitApplication(uint256,string)", (1, "")),
    ("ModelAccess", "submitApplication", "submitApplication(uint256,string)", (1, "é" * 33)),
    ("ModelAccess", "deny", "deny(uint256,address)", (1, ALICE)),
    (
        "ModelAccess",
        "grant",
        "grant(uint256,address,uint40,uint32,uint32)",
        (1, ALICE, 2**39, 10, 3600),
    ),
    ("ModelRegistry", "headOf", "headOf(uint256)", (9,)),
    ("DataCredits", "claim", "claim(uint256)", (2,)),
    ("DataRounds", "withdraw", "withdraw()", ()),
]


def test_calldata__every_call_of_the_page__as_the_abi_says(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        'import { calldata } from "./encoding.js";'
        "console.log(JSON.stringify(given.map(([s, v]) => calldata(s, ...v))));",
        [
            [signature, [str(v) if isinstance(v, int) else v for v in values]]
            for *_, signature, values in CALLS
        ],
    )
    wanted = ["0x" + interface(c)[name].encode(values).hex() for c, name, _, values in CALLS]
    assert found == wanted


def test_calldata__an_order__as_the_abi_says(tmp_path: Path) -> None:
    order = Order(
        model_id=1, version=2, lane=3, input_root=Bytes32(bytes(range(32))),
        input_cid=Bytes32(bytes(32)), params=Bytes32(bytes([1] * 32)), max_fee=Amount(50_000),
        priority_window=30, lifetime=600, operator=ALICE,
    )  # fmt: skip
    from oracle.web.payloads import order_words

    found = run(
        tmp_path,
        'import { requestCalldata } from "./encoding.js";'
        "console.log(JSON.stringify(requestCalldata(given)));",
        order_words(order, lane=3),
    )
    assert found == "0x" + interface("InferenceMarket")["request"].encode((order,)).hex()


def test_topics__of_the_page__are_those_of_the_abi(tmp_path: Path) -> None:
    from oracle.chain import logs
    from oracle.chain.bindings.inference_market import Delivered, Requested
    from oracle.chain.bindings.model_registry import VersionPublished

    found = run(
        tmp_path,
        'import { topicOf } from "./encoding.js"; console.log(JSON.stringify(given.map(topicOf)));',
        [
            "VersionPublished(uint256,uint32,address,bytes32,bytes32,bytes32,bytes32,uint8,uint64,uint40)",
            "Requested(bytes32,uint256,address,(uint256,uint256,uint256,bytes32,bytes32,bytes32,bytes32,uint256))",
            "Delivered(bytes32,address,bytes32,bytes32,uint256)",
        ],
    )
    kinds = (VersionPublished, Requested, Delivered)
    assert found == ["0x" + logs.topic_of(kind).hex() for kind in kinds]


@pytest.mark.parametrize(
    ("dtype", "rows", "cols"),
    [
        (DType.I8, 1, 10), (DType.I32, 1, 10), (DType.I8, 8, 8), (DType.U8, 3, 129),
        (DType.I16, 5, 200), (DType.I32, 7, 97), (DType.U16, 2, 64), (DType.I8, 33, 1),
    ],
)  # fmt: skip
def test_exact_roots__tensors_of_many_shapes__as_in_python(
    tmp_path: Path, dtype: DType, rows: int, cols: int
) -> None:
    stored = np.arange(rows * cols * dtype.size, dtype=np.uint32).astype(np.uint8)
    tree = TensorTree(Spec(dtype, rows, cols), stored.reshape(rows, -1))
    one, both = files.record(7, tree), files.record(0, tree) + files.record(1, tree)
    found = run(
        tmp_path,
        'import { inputRoot, outputRoot } from "./exact.js"; import { unhex } from "./encoding.js";'
        "console.log(JSON.stringify([outputRoot(unhex(given[0])), inputRoot(unhex(given[1]))]));",
        ["0x" + one.hex(), "0x" + both.hex()],
    )
    assert found == ["0x" + files.output_root(one).hex(), "0x" + files.input_root(both).hex()]


def test_notches__drawn_by_browser_and_server__are_mirrored(tmp_path: Path) -> None:
    digest = bytes(range(0, 256, 8))
    found = run(
        tmp_path,
        'import { notches } from "./tally.js"; console.log(JSON.stringify(notches(given)));',
        "0x" + digest.hex(),
    )
    numbers = [
        float(n) for n in found.replace("Z", " ").replace("M", " ").replace("L", " ").split()
    ]
    ours = pictures.notches(digest, down=True)
    wanted = [float(n) for n in ours.replace("Z", " ").replace("M", " ").replace("L", " ").split()]
    assert numbers == pytest.approx(wanted, abs=0.006)
    assert len(wanted) == 32 * 6


def test_principal__points_on_a_line__keep_their_order_and_distance(tmp_path: Path) -> None:
    rows = [[0.0, 0, 0], [3, 4, 0], [6, 8, 0]]
    found = run(
        tmp_path,
        'import { principal, softmax } from "./numbers.js";'
        "console.log(JSON.stringify([principal(given), softmax([0, Math.log(3)])]));",
        rows,
    )
    points, shares = found
    xs = [x for x, _ in points]
    assert sorted(xs) in (xs, xs[::-1])
    assert abs(xs[2] - xs[0]) == pytest.approx(10)
    assert [y for _, y in points] == pytest.approx([0, 0, 0], abs=1e-6)
    assert shares == pytest.approx([0.25, 0.75])


def test_cell__what_a_spreadsheet_would_run__is_text(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        BROWSER + 'const { cell } = await import("./batch.js");'
        "console.log(JSON.stringify(given.map(cell)));",
        ["=cmd|'/C calc'!A0", "+1", "@SUM(A1)", "\tx", 'a "b"', 0.5, None],
    )
    assert found == [
        "\"'=cmd|'/C calc'!A0\"",
        '"\'+1"',
        '"\'@SUM(A1)"',
        '"\'\tx"',
        '"a ""b"""',
        '"0.5"',
        '""',
    ]


def test_head_of__a_record__as_in_python(tmp_path: Path) -> None:
    fields = {
        "prev": bytes(range(32)), "manifest": bytes([2] * 32), "root": bytes([3] * 32),
    }  # fmt: skip
    head = records.version_head(
        prev_head=Bytes32(fields["prev"]), model_id=5, version=2,
        manifest_digest=Bytes32(fields["manifest"]), model_root=Bytes32(fields["root"]),
        assurance=Assurance.COMMITTEE, tolerance=1000, publisher=ALICE,
        timestamp=Timestamp(1_700_000_000),
    )  # fmt: skip
    found = run(
        tmp_path,
        BROWSER + 'const { headOf } = await import("./history.js");'
        "console.log(JSON.stringify(headOf(5, given)));",
        {k: "0x" + v.hex() for k, v in fields.items()}
        | {
            "version": 2,
            "assurance": 1,
            "tolerance": 1000,
            "publisher": ALICE,
            "timestamp": 1_700_000_000,
        },
    )
    assert found == "0x" + head.hex()
