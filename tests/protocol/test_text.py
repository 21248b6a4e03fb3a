"""Questions and answers of text models: one byte string each, and what is none is refused."""

import json
import time
from typing import Any

import numpy as np
import pytest

from oracle.protocol import canonical, logprobs, text
from oracle.protocol.logprobs import LikelyToken, ShownStep
from oracle.protocol.text import AnswerInvalid, QuestionInvalid, TextAnswer, TextQuestion

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
ROW = np.array([[-10, -20, -30, -40, -50, -60, -70, -80]], np.int16)
SHOWN = {"logprobs": [-10], "top": [[5, 107]], "pieces": {"5": " the", "107": "x"}}


def of(data: bytes) -> dict[str, np.ndarray]:
    return {"question": np.frombuffer(data, np.uint8)}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "JSON object"),
        ({}, "messages or a prompt"),
        ({**CHAT, "prompt": "x"}, "one of them"),
        ({"prompt": ""}, "no text"),
        ({"prompt": 3}, "no text"),
        ({"messages": []}, "no messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "no role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "is no text"),
        ({"messages": [{"role": "assistant", "content": None}]}, "is no text"),
        ({**CHAT, "messages": CHAT["messages"] * 4097}, "at most 4096"),
        ({**CHAT, "stop": [""]}, "1 to 256"),
        ({**CHAT, "stop": ["x"] * 17}, "at most 16"),
        ({**CHAT, "stop": 5}, "at most 16"),
        ({**CHAT, "tools": [{"type": "function"}]}, "names no function"),
        ({**CHAT, "tool_choice": "required"}, "`tool_choice` 'required' cannot be held to"),
        ({**CHAT, "tool_choice": {"type": "function"}}, "`tool_choice`"),
        ({**CHAT, "response_format": {"type": "json_object"}}, "`response_format`"),
        ({**CHAT, "response_format": {"type": "json_schema"}}, "`response_format`"),
        ({**CHAT, "logprobs": 9}, "0 to 8"),
        ({**CHAT, "logprobs": True}, "0 to 8"),
        ({**CHAT, "seed": 1}, "unknown field seed"),
    ],
)
def test_parse__no_question__refused(body, says):
    with pytest.raises(QuestionInvalid, match=says):
        TextQuestion.parse(body)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"{",
        b'{ "prompt":"x"}',
        b'{"prompt":"x","prompt":"y"}',
        b'{"prompt":"\\ud800"}',
    ],
    ids=["not_utf8", "cut", "spaces", "twice", "lone_surrogate"],
)
def test_decode_question__other_bytes__refused(data):
    with pytest.raises(QuestionInvalid):
        text.decode_question(of(data))


@pytest.mark.parametrize(
    "body",
    [
        CHAT,
        {"prompt": "Once", "stop": ["\n", "END"], "logprobs": 3},
        {**CHAT, "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
        {"messages": CHAT["messages"] * 1000},
    ],
)
def test_encode_question__question__comes_back(body):
    question = TextQuestion.parse(body)
    assert question.to_json() == body
    assert text.decode_question(text.encode_question(question)) == question


def answer(**changes):
    fields = {
        "content": "Hi", "finish_reason": "stop", "prompt_tokens": 3, "tokens": (5,),
        "logprobs": ROW,
    }  # fmt: skip
    return TextAnswer(**{**fields, **changes})


def test_encode_answer__answer__comes_back_within_two_kilobytes_of_commitment():
    whole = answer(content="ü" * 128, tokens=tuple(range(128)), logprobs=np.repeat(ROW, 128, 0))
    outputs = text.encode_answer(whole)
    assert outputs["logprobs"].nbytes == 2048
    back = text.decode_answer(outputs)
    assert back.head == whole.head
    assert back.tokens == whole.tokens
    np.testing.assert_array_equal(back.logprobs, whole.logprobs)


def test_encode_answer__shown_tokens__come_back_also_half_a_character():
    top = (LikelyToken(5, b" the", -10), LikelyToken(107, b"\xf0\x9f", -20))
    step = ShownStep(LikelyToken(5, b" the", -10), top)
    whole = answer(shown=(step,))
    assert text.decode_answer(text.encode_answer(whole)).shown == (step,)
    assert whole.head["shown"]["pieces"] == {"5": " the", "107": [0xF0, 0x9F]}


@pytest.mark.parametrize("count", [0, 8])
def test_size__tokens_of_a_usual_length__have_room(count):
    steps = []
    for start in range(0, 64 * 9, 9):
        ids = [236000 + start + n for n in range(9)]
        named = [LikelyToken(one, b" tokens", -12345) for one in ids]
        steps.append(ShownStep(named[0], tuple(named[1 : count + 1])))
    rows = np.repeat(ROW, 64, 0)
    ids = tuple(step.written.token for step in steps)
    whole = answer(content=" tokens" * 64, tokens=ids, logprobs=rows, shown=tuple(steps))
    bytes_ = sum(part.nbytes for part in text.encode_answer(whole).values())
    assert bytes_ <= logprobs.size(64, count) + 100


def head(**changes):
    body = {**answer().head, **changes}
    return np.frombuffer(canonical.dumps({k: v for k, v in body.items() if v != "-"}), np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        {"answer": np.frombuffer(b"Hi", np.uint8)},
        {"answer": head(content="-")},
        {"answer": head(prompt_tokens="3")},
        {"answer": head(finish_reason="tired")},
        {"answer": head(more=1)},
        {"answer": head(tool_calls={})},
        {"answer": head(tool_calls=[5])},
        {"answer": head(tool_calls=[{"name": "f", "arguments": {}}])},
        {"answer": head(shown={})},
        {"answer": head(shown=[])},
        {"answer": head(shown={**SHOWN, "logprobs": [1]})},
        {"answer": head(shown={**SHOWN, "logprobs": []})},
        {"answer": head(shown={**SHOWN, "top": [[107, 107]]})},
        {"answer": head(shown={**SHOWN, "top": [list(range(9))]})},
        {"answer": head(shown={**SHOWN, "top": [[{}]]})},
        {"answer": head(shown={**SHOWN, "top": 5})},
        {"answer": head(shown={**SHOWN, "pieces": {"5": " the"}})},
        {"answer": head(shown={**SHOWN, "pieces": {"5": " the", "107": [256]}})},
        {"answer": head(shown={**SHOWN, "pieces": {"5": " the", "107": None}})},
        {"answer": head(shown={**SHOWN, "pieces": {**SHOWN["pieces"], "108": "x"}})},
        {"answer": head(shown={**SHOWN, "pieces": ["5", "107"]})},
        {"answer": head(shown={**SHOWN, "pieces": {"5": " the", "107": 2**52}})},
        {"answer": head(shown={**SHOWN, "pieces": {"5": " the", "107": "x" * 1025}})},
        {"tokens": np.zeros(0, np.int32), "logprobs": ROW[:0]},
        {"tokens": np.zeros(1025, np.int32), "logprobs": np.repeat(ROW, 1025, 0)},
        {"tokens": np.array([5, 6], np.int32)},
        {"logprobs": -ROW},
        {"logprobs": ROW[:, ::-1]},
    ],
)
def test_decode_answer__parts_that_do_not_fit__refused(change):
    with pytest.raises(AnswerInvalid):
        text.decode_answer({**text.encode_answer(answer()), **change})


@pytest.mark.parametrize(("choice", "reason"), [("auto", "tool_calls"), ("none", "stop")])
def test_finish__call__is_one_unless_none_is_to_be_made(choice, reason):
    tools = [{"type": "function", "function": {"name": "f"}}]
    question = TextQuestion.parse({**CHAT, "tools": tools, "tool_choice": choice})
    said = '{"name": "f", "arguments": {}}'
    content, found, calls = text.finish([said.encode(), b""], question, ended=True)
    assert (content, found, bool(calls)) == (said, reason, choice == "auto")


def test_finish__stop_string_across_tokens__is_cut_off():
    question = TextQuestion.parse({"prompt": "x", "stop": ["\n\n", "END"]})
    found = text.finish([b"a", b" E", b"ND ", b"b"], question, ended=False)
    assert found == ("a ", "stop", ())


def test_finish__half_a_character_at_the_end__is_replaced():
    question = TextQuestion("x")
    assert text.finish(["ä".encode()[:1]], question, ended=False) == ("\ufffd", "length", ())


def test_finish__tool_calls__are_taken_when_tools_were_given():
    said = b'<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
    tools = [{"type": "function", "function": {"name": "f"}}]
    _, reason, calls = text.finish([said], TextQuestion.parse({**CHAT, "tools": tools}), ended=True)
    assert (reason, calls) == ("tool_calls", ({"name": "f", "arguments": '{"a": 1}'},))
    assert text.finish([said], TextQuestion.parse(CHAT), ended=True)[1:] == ("stop", ())


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "\\ud800", "arguments": {}}',
        '{"name": "f", "arguments": {"a": NaN}}',
        '{"name": "f", "arguments": {"a": 1e999}}',
        '{"name": ["f"], "arguments": {}}',
        '{"name": "f"}',
        '["name"]',
        '{"name": "f", "arguments": {}} and more',
    ],
)
def test_tool_calls__what_no_answer_can_hold__stays_text(call):
    assert text.tool_calls(f"<tool_call>{call}</tool_call>") == ()
    assert text.tool_calls(call) == ()


def test_tool_calls__several_with_marks_inside_and_space_around__each_found():
    one = '{"name": "f", "arguments": {"a": "</tool_call>"}}'
    said = f"So: <tool_call>\n{one} </tool_call> and <tool_call>no</tool_call><tool_call>{one}"
    assert text.tool_calls(said) == ({"name": "f", "arguments": '{"a": "</tool_call>"}'},)


def nested(depth: int) -> str:
    """Return JSON of so many lists in each other; brackets in texts are none."""
    return "[" * (depth - 1) + '["]\\"]"]' + "]" * (depth - 1)


def test_tool_calls__nested_deeper_than_allowed__stays_text_on_any_interpreter():
    def called(depth: int) -> int:
        return len(text.tool_calls(f'{{"name": "f", "arguments": {{"a": {nested(depth - 2)}}}}}'))

    assert [called(text.MAX_DEPTH), called(text.MAX_DEPTH + 1)] == [1, 0]
    assert text.tool_calls('{"name": "f", "arguments": ' + '{"a":' * 100_000) == ()


def test_tool_calls__number_longer_than_allowed__stays_text_on_any_interpreter():
    def called(digits: int) -> int:
        return len(text.tool_calls(f'{{"name": "f", "arguments": {{"a": {"7" * digits}}}}}'))

    assert [called(text.MAX_DIGITS), called(text.MAX_DIGITS + 1), called(5000)] == [1, 0, 0]


def test_question__nested_deeper_than_allowed__refused_by_who_asks_and_who_answers():
    def tool(depth: int) -> dict[str, Any]:
        parameters = json.loads(nested(depth - 4))  # question, tools, tool, function
        return {"function": {"name": "f", "parameters": parameters}}

    fits = TextQuestion.parse({**CHAT, "tools": [tool(text.MAX_DEPTH)]})
    assert text.decode_question(text.encode_question(fits)) == fits
    deep = TextQuestion.parse({**CHAT, "tools": [tool(text.MAX_DEPTH + 1)]})
    with pytest.raises(QuestionInvalid, match="deeper"):
        text.encode_question(deep)
    data = canonical.dumps(deep.to_json())
    with pytest.raises(QuestionInvalid, match="deeper"):
        text.decode_question(of(data))


def test_question__tools_that_take_an_engine_long__refused_by_who_asks_and_who_answers():
    def asked(count: int) -> TextQuestion:
        parameters = {"properties": {f"p{n}": {"type": "string"} for n in range(count)}}
        tool = {"function": {"name": "f", "parameters": parameters}}
        return TextQuestion.parse({**CHAT, "tools": [tool]})

    fits, long = asked(1000), asked(12_000)
    assert text.decode_question(text.encode_question(fits)) == fits
    with pytest.raises(QuestionInvalid, match="tools have"):
        text.encode_question(long)
    with pytest.raises(QuestionInvalid, match="tools have"):
        text.decode_question(of(canonical.dumps(long.to_json())))


def test_tool_calls__marks_that_are_never_closed__take_time_of_their_length():
    began = time.process_time()
    assert text.tool_calls("<tool_call>{}" * 20_000) == ()
    assert time.process_time() - began < 10  # a search that began anew at each took minutes


@pytest.mark.parametrize(
    ("written", "stops", "wanted"),
    [
        (b"abc", (), 0),
        (b"abc E", ("END",), 1),
        (b"abc EN", ("END", "N!"), 2),
        ("ä".encode()[:1], (), 1),
        ("a🦄".encode()[:-1], (), 3),
        ("a🦄".encode(), (), 0),
        (b"", ("END",), 0),
    ],
)
def test_withheld__what_may_not_stay__is_counted(written, stops, wanted):
    assert text.withheld(written, stops) == wanted
