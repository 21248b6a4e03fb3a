"""How answers are shown to people."""

from oracle.cli import output
from oracle.cli.asking.answers import answer_text
from oracle.services.inference import CheckedAnswer
from oracle.services.outputs import Output
from oracle.services.request_timeline import RequestState
from oracle.types import ZERO32, Address, RequestId


def shown(capsys, *outputs: Output) -> list[str]:
    answer = CheckedAnswer(
        RequestId(ZERO32), RequestState.DELIVERED, Address("0x01"), ZERO32, 9, outputs, None, 0
    )
    output.print_human(answer_text(answer))
    return capsys.readouterr().out.splitlines()


def test_answer_text__of_a_text_model__text_first_then_why_it_ended_and_its_tokens(capsys):
    call = {"name": "look", "arguments": '{"at": 1}'}
    head = {
        "content": "Paris.\n[b]", "finish_reason": "tool_calls", "prompt_tokens": 1234,
        "tool_calls": [call],
    }  # fmt: skip
    lines = shown(
        capsys, Output("answer", "uint8", (70,), head, text="Paris.\n[b]"),
        Output("tokens", "int32", (4,)), Output("logprobs", "int16", (4, 8)),
    )  # fmt: skip
    assert lines[:3] == ["Paris.", "[b]", ""]
    facts = dict(line.split("  ", 1) for line in lines[3:6])
    assert {name: value.strip() for name, value in facts.items()} == {
        "calls": 'look {"at": 1}', "finish reason": "tool_calls",
        "tokens": "4 written, 1,234 of the prompt",
    }  # fmt: skip
    assert lines[6] == "not shown: tokens, logprobs; save with --output FILE"
    assert "'content'" not in "".join(lines)


def test_answer_text__large_outputs__are_named_once(capsys):
    lines = shown(
        capsys, Output("a", "float32", (2,), [1.0, 2.0]), Output("b", "float32", (99,)),
        Output("c", "float32", (98,)),
    )  # fmt: skip
    assert lines[:2] == ["a  float32 2", "[1.0, 2.0]"]
    assert [line for line in lines if "--output" in line] == [
        "not shown: b, c; save with --output FILE"
    ]
