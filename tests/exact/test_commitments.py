"""Roots of inputs, output and trace, and the receipt that states them."""

import numpy as np
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from oracle.exact.commitments import Committed, input_root, output_root, trace_root
from oracle.exact.receipt import receipt
from oracle.merkle import climb, keccak, log
from oracle.protocol import eip712
from oracle.types import ZERO32, Address, Bytes32, RequestId
from tests.exact import vectors
from tests.vectors.exact import make


@pytest.fixture(scope="module")
def honest() -> Committed:
    return vectors.load("network")[0].case().committed()


def test_input_root__arrays__as_committed(honest: Committed) -> None:
    inputs = honest.tensors[:2]

    assert input_root(honest.program.inputs, inputs) == honest.input_root


def test_input_root__inputs_exchanged__another_root(honest: Committed) -> None:
    specs, inputs = honest.program.inputs, honest.tensors[:2]

    assert input_root(specs[::-1], inputs[::-1]) != input_root(specs, inputs)


def test_output_root__array__as_committed(honest: Committed) -> None:
    assert output_root(honest.program, honest.tensors[-1]) == honest.output_root


def test_trace_path__every_operator__climbs_to_the_trace_root(honest: Committed) -> None:
    ops = len(honest.program.ops)

    for op in range(ops - 1):
        path = honest.trace_path(op)
        assert len(path) == log(ops - 1)
        assert climb(honest.trace_leaves[op], op, path) == honest.trace_root
    assert honest.trace_path(ops - 1) == ()


def test_trace_root__no_leaves__zero() -> None:
    assert trace_root([]) == ZERO32


def test_operator_path__every_operator__climbs_to_the_graph_root(honest: Committed) -> None:
    program = honest.program

    for op, operator in enumerate(program.ops):
        assert climb(operator.leaf, op, program.operator_path(op)) == program.graph_root


def test_model_root__one_bit_of_any_word__another_root(honest: Committed) -> None:
    preamble, graph = honest.program.preamble, honest.program.graph_root
    words = b"".join(word.to_bytes(32) for word in preamble)

    assert honest.program.model_root == keccak(b"\3" + words + graph)


@pytest.mark.parametrize("number", [0, 1])
def test_receipt__golden__digest_by_eth_account(number: int) -> None:
    golden = vectors.document("receipts")[number]
    message = golden["typedData"]["message"]
    account = Account.from_key(b"\1" * 32)

    typed = receipt(
        chain_id=golden["typedData"]["domain"]["chainId"],
        game=make.GAME,
        request_id=RequestId(vectors.unhex(message["requestId"])),
        output_root=Bytes32(vectors.unhex(message["outputRoot"])),
        trace_root=Bytes32(vectors.unhex(message["traceRoot"])),
    )

    signed = account.sign_message(encode_typed_data(full_message=golden["typedData"]))
    assert eip712.digest(typed) == vectors.unhex(golden["digest"]) == signed.message_hash


def test_receipt__another_chain_or_game__another_digest() -> None:
    root = keccak(b"root")

    def digest(chain_id: int, game: Address) -> bytes:
        typed = receipt(chain_id=chain_id, game=game, request_id=RequestId(root), output_root=root)
        return eip712.digest(typed)

    other = Address("0x90F8bf6A479f320ead074411a4B0e7944Ea8c9C1")
    assert len({digest(1, make.GAME), digest(2, make.GAME), digest(1, other)}) == 3


def test_tensor__altered_element__another_root_and_path_untouched(honest: Committed) -> None:
    tensors = list(honest.tensors)
    tensors[4] = tensors[4].copy()
    tensors[4][0, 0] ^= np.uint8(1)
    liar = Committed(honest.program, tensors)

    assert liar.trace_root != honest.trace_root
    assert liar.output_root == honest.output_root
    assert [a == b for a, b in zip(liar.trace_leaves, honest.trace_leaves, strict=True)].count(
        False
    ) == 1
