"""One answer is re-executed: right, or the very element that is not."""

import json

import pytest

from oracle.errors import DigestMismatch, NotFound
from oracle.exact import files
from oracle.ipfs.port import CidUnresolved
from oracle.services import answer_check, inference, quoting, requests
from oracle.services.answer_check import CheckOutcome, TraceStatus
from oracle.services.models import Selected
from oracle.services.quoting import Ask
from tests.agents.challenger.conftest import Arena
from tests.contracts.exact import FAULT
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real


def verify(arena: Arena, request_id, **options):
    return answer_check.verify(arena.world.network, request_id, arena.shop, **options)


def test_verify__no_answer_yet__says_where_it_stands(arena: Arena) -> None:
    with pytest.raises(NotFound, match="has no answer: waits for an operator"):
        verify(arena, arena.ask())


def test_verify__input_nowhere__says_how_to_bring_it(arena: Arena, tmp_path) -> None:
    request_id = arena.deliver(arena.example.honest)
    data = b"".join([files.record(0, arena.example.honest.tree(0))])
    for cid in list(arena.world.ipfs._files):
        if arena.world.ipfs._files[cid] == data:
            arena.world.ipfs.forget(cid)
    with pytest.raises(CidUnresolved) as caught:
        verify(arena, request_id)
    assert "--input FILE" in caught.value.hint
    (tmp_path / "input.bin").write_bytes(data)
    assert verify(arena, request_id, source=str(tmp_path / "input.bin")).right
    given = tmp_path / "input.json"
    given.write_text(json.dumps(arena.example.honest.tensors[0].tolist()))
    assert verify(arena, request_id, source=str(given)).right


def test_verify__another_input__refuses(arena: Arena, tmp_path) -> None:
    request_id = arena.deliver(arena.example.honest)
    (tmp_path / "other.bin").write_bytes(files.record(0, arena.example.honest.tree(1)))
    with pytest.raises(DigestMismatch, match=r"not that of the request|was asked"):
        verify(arena, request_id, source=str(tmp_path / "other.bin"))


def test_verify__honest_answer__right_and_nobody_is_asked(arena: Arena) -> None:
    found = verify(arena, arena.deliver(arena.example.honest))
    assert (found.verdict, found.trace) == (CheckOutcome.RIGHT, TraceStatus.NOT_ASKED)
    assert found.output_root == found.expected_root


def test_verify__wrong_output_of_a_true_trace__element_of_the_output(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_at_the_end)
    arena.serve(request_id)
    found = verify(arena, request_id)
    true = arena.example.honest.tensors[3][4, 5]
    assert found.verdict is CheckOutcome.WRONG
    assert (found.output.row, found.output.col, found.output.expected) == (4, 5, true)
    assert found.first == found.output
    assert found.challengeable


def test_verify__wrong_inside__names_the_first_tensor_and_element(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    found = verify(arena, request_id)
    assert (found.first.op, found.first.row, found.first.col) == FAULT
    assert (found.first.name, found.first.tensor) == ("DOT", 1)
    assert found.first.expected == arena.example.honest.tensors[1][FAULT[1:]]
    assert found.output.op == 2


def test_verify__nothing_served__says_so(arena: Arena) -> None:
    found = verify(arena, arena.deliver(arena.example.lie_inside, bytes_too=False))
    assert (found.verdict, found.trace) == (CheckOutcome.WRONG, TraceStatus.WITHHELD)
    assert found.output is None
    assert found.first is None


def test_verify__receipt_for_another_output__contradiction(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id, arena.example.honest)
    assert verify(arena, request_id).trace is TraceStatus.CONTRADICTS


def test_verify__float_version__the_committee_decides(arena: Arena) -> None:
    world = arena.world
    model_id = world.publish().model_id
    world.serve(model_id)
    world.prepay(5 * DOLLAR)
    wanted = Ask(Selected(model_id, None), "[[[[0.0, 0.5], [1.0, 0.25]]]]")
    quote = quoting.quote(world.network, world.requester.address, wanted, stdin=bytes)
    asked = inference.ask(world.network, world.requester, quote)
    world.deliver(requests.show(world.network, asked.request_id), [0.1, 0.2, 0.3])
    assert verify(arena, asked.request_id).verdict is CheckOutcome.COMMITTEE
