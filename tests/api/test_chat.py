"""OpenAI's bodies as questions, and answers in OpenAI's shapes; no sockets."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from oracle.api import writing
from oracle.api.chat import ChatBody, CompletionBody, ResponseBody, require_text
from oracle.api.writing import WrittenAnswer
from oracle.errors import Unavailable
from oracle.protocol.logprobs import LikelyToken, ShownStep
from oracle.protocol.text import QuestionInvalid, TextAnswer
from oracle.services import folders
from tests.support.parrot import write_parrot

HELLO = [{"role": "user", "content": "Hello"}]
CALL = {"name": "weather", "arguments": '{"city": "Oslo"}'}
WEATHER = {"name": "weather", "parameters": {"type": "object"}}


def chat(**given: Any) -> ChatBody:
    return ChatBody.model_validate({"model": "m", "messages": HELLO, **given})


def answer(content: str = "Good day", reason: str = "stop", calls: tuple = ()) -> TextAnswer:
    return TextAnswer(content, reason, 7, (1, 2, 3), np.zeros((3, 8), np.int16), calls)


def events(text: str) -> list[Any]:
    """Return the data of events, parsed where it is JSON."""
    found = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in found]


def streamed(body: Any, pieces: list[str], end: TextAnswer | Exception) -> list[Any]:
    """Return what is streamed of an answer that comes in pieces."""

    async def ask(tell: writing.Tell) -> WrittenAnswer:
        for piece in ["", *pieces]:
            tell(piece)
        await asyncio.sleep(0)
        if isinstance(end, Exception):
            raise end
        return WrittenAnswer(end, {"fee": "0.05"})

    async def read() -> str:
        reply = await writing.respond(body.asked(), ask)
        return "".join([part async for part in reply.body_iterator])

    return events(asyncio.run(read()))


# ── Asked ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2), ("best_of", 3), ("presence_penalty", 0.5), ("frequency_penalty", -1),
        ("logit_bias", {"50256": -100}), ("top_logprobs", 3),
        ("functions", [{"name": "f"}]), ("function_call", "auto"), ("modalities", ["audio"]),
        ("reasoning_effort", "high"), ("prediction", {"type": "content"}), ("no_such_field", 1),
    ],
)  # fmt: skip
def test_asked__what_cannot_be_followed__is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(QuestionInvalid, match=f"`{field}`"):
        chat(**{field: value}).asked()


@pytest.mark.parametrize(
    "given",
    [
        {"messages": []}, {"messages": [{"role": "king", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"stop": ["x"] * 17}, {"stop": ""}, {"tools": [{"type": "function"}]},
        {"tool_choice": "required"}, {"response_format": {"type": "json_object"}},
        {"max_tokens": 3, "max_completion_tokens": 4},
    ],
)  # fmt: skip
def test_asked__malformed__is_refused(given: dict) -> None:
    with pytest.raises(QuestionInvalid):
        chat(**given).asked()


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice", {"tool_choice": {"type": "function", "function": {"name": "weather"}}}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("response_format", {"response_format": {"type": "json_schema", "json_schema": {}}}),
    ],
)
def test_asked__what_would_force_an_answer__says_what_to_do_instead(
    field: str, given: dict
) -> None:
    with pytest.raises(QuestionInvalid, match=f"`{field}`") as refused:
        chat(**given).asked()
    assert "in a message" in refused.value.hint


@pytest.mark.parametrize("given", [{"messages": "Hello"}, {"model": ""}, {"stream": "perhaps"}])
def test_chat_body__wrong_types__are_refused(given: dict) -> None:
    with pytest.raises(ValidationError):
        chat(**given)


def test_asked__what_chat_pages_send__is_taken() -> None:
    asked = chat(
        stream=True, stream_options={"include_usage": True}, temperature=0.7, top_p=0.9, n=1,
        presence_penalty=0, frequency_penalty=0.0, user="u", metadata={"a": "b"}, logit_bias=None,
        max_completion_tokens=9, seed=5, stop="\n", tools=[], parallel_tool_calls=True,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hel"},
                                         {"type": "text", "text": "lo"}]},
            {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []},
            {"role": "user", "content": "?", "name": "ann"},
        ],
    ).asked()  # fmt: skip
    assert asked.question.to_json() == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "?", "name": "ann"},
        ],
        "stop": ["\n"],
    }
    assert asked.params == {"max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "seed": 5}
    assert (asked.stream, asked.usage, asked.shape) == (True, True, "chat")


def test_asked__nothing_given__manifest_decides() -> None:
    asked = chat().asked()
    assert (asked.params, asked.stream, asked.usage) == ({}, False, False)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, None), ({"logprobs": False}, None), ({"top_logprobs": 0}, None),
        ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 8}, 8),
    ],
)  # fmt: skip
def test_asked__logprobs_of_a_chat__as_many_as_are_asked_for(given: dict, shown: Any) -> None:
    assert chat(**given).asked().question.logprobs == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, None), ({"top_logprobs": 0}, None), ({"include": []}, None),
        ({"include": ["message.output_text.logprobs"]}, 0), ({"top_logprobs": 3}, 3),
    ],
)  # fmt: skip
def test_asked__logprobs_of_a_response__as_many_as_are_asked_for(given: dict, shown: Any) -> None:
    body = ResponseBody.model_validate({"model": "m", "input": "x", **given})
    assert body.asked().question.logprobs == shown


def test_asked__more_likeliest_than_answers_hold__refused_by_name() -> None:
    for body in (
        chat(logprobs=True, top_logprobs=9),
        CompletionBody.model_validate({"model": "m", "prompt": "x", "logprobs": 9}),
        ResponseBody.model_validate({"model": "m", "input": "x", "top_logprobs": 20}),
    ):
        with pytest.raises(QuestionInvalid, match=r"logprobs`: \d+ is not 0 to 8"):
            body.asked()


def test_asked__thousand_turns__all_are_there() -> None:
    turns = [{"role": role, "content": "x"} for _ in range(1000) for role in ("user", "assistant")]
    assert len(chat(messages=turns).asked().question.messages) == 2000


def test_completion_asked__texts__one_is_taken() -> None:
    for prompt in ("Once", ["Once"]):
        body = CompletionBody.model_validate({"model": "m", "prompt": prompt, "echo": False})
        assert body.asked().question.prompt == "Once"
    for given in ({"prompt": ["a", "b"]}, {"prompt": ""}, {"prompt": "a", "echo": True}):
        with pytest.raises(QuestionInvalid):
            CompletionBody.model_validate({"model": "m", **given}).asked()
    with pytest.raises(ValidationError):
        CompletionBody.model_validate({"model": "m", "prompt": [[1, 2]]})


def test_response_asked__items__are_a_chat() -> None:
    body = ResponseBody.model_validate({
        "model": "m", "instructions": "Be brief.", "max_output_tokens": 5, "store": False,
        "tools": [{"type": "function", **WEATHER, "strict": True}],
        "text": {"format": {"type": "text"}},
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Rain?"}]},
            {"type": "function_call", "call_id": "c1", **CALL},
            {"type": "function_call_output", "call_id": "c1", "output": "no"},
        ],
    })  # fmt: skip
    asked = body.asked()
    assert asked.params == {"max_tokens": 5}
    assert asked.question.tools == ({"type": "function", "function": WEATHER},)
    assert [dict(message) for message in asked.question.messages] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": CALL}]},
        {"role": "tool", "tool_call_id": "c1", "content": "no"},
    ]
    for given in (
        {"previous_response_id": "resp_1"}, {"include": ["reasoning.encrypted_content"]},
        {"input": [{"type": "item_reference", "id": "x"}]}, {"tools": [{"type": "web_search"}]},
        {"background": True}, {"reasoning": {"effort": "high"}}, {"text": {"verbosity": "low"}},
        {"text": {"format": {"type": "json_schema"}}}, {"tool_choice": "required"},
    ):  # fmt: skip
        with pytest.raises(QuestionInvalid):
            ResponseBody.model_validate({"model": "m", "input": "x", **given}).asked()


# ── Answered whole ──────────────────────────────────────────────────────────────────────────────
def whole(body: Any, end: TextAnswer) -> dict[str, Any]:
    return writing.reply_of(body.asked()).whole(end, {"fee": "0.05"})


def test_whole__chat__message_and_usage() -> None:
    found = whole(chat(), answer())
    assert found["choices"][0]["message"]["content"] == "Good day"
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert (found["object"], found["tallystick"]) == ("chat.completion", {"fee": "0.05"})


@pytest.mark.parametrize(
    ("content", "beside"),
    [("Let me see. <tool_call>{}</tool_call>", "Let me see."), ('{"name": "weather"}', None)],
)
def test_whole__calls__are_passed_on_and_their_markup_is_not(content: str, beside: str) -> None:
    found = whole(chat(), answer(content, "tool_calls", (CALL,)))["choices"][0]
    assert (found["finish_reason"], found["message"]["content"]) == ("tool_calls", beside)
    assert found["message"]["tool_calls"][0]["function"] == CALL


def test_whole__response_cut_at_its_limit__is_incomplete() -> None:
    body = ResponseBody.model_validate({"model": "m", "input": "x"})
    found = whole(body, answer("Good", "length"))
    assert found["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (found["status"], found["output"][0]["content"][0]["text"]) == ("incomplete", "Good")


def token(id_: int, piece: bytes, logprob: int) -> LikelyToken:
    return LikelyToken(id_, piece, logprob)


def shown_answer(content: str = "Hé") -> TextAnswer:
    """Three tokens: a letter with half a character, the other half, and one that ends the text."""
    steps = (
        ShownStep(token(1, b"H\xc3", -1024), (token(1, b"H\xc3", -1024), token(9, b"x", -2048))),
        ShownStep(token(2, b"\xa9", -512), (token(2, b"\xa9", -512), token(9, b"x", -3072))),
        ShownStep(token(3, b"", 0), (token(3, b"", 0), token(9, b"x", -32768))),
    )
    return replace(answer(content), shown=steps)


def test_whole__logprobs_of_a_chat__are_those_of_the_text() -> None:
    body = chat(logprobs=True, top_logprobs=2)
    found = whole(body, shown_answer())["choices"][0]["logprobs"]["content"]
    first = {"token": "bytes:\\x48\\xc3", "bytes": [72, 195], "logprob": -1.0}
    other = {"token": "x", "bytes": [120], "logprob": -2.0}
    assert found[0] == {**first, "top_logprobs": [first, other]}
    assert b"".join(bytes(one["bytes"]) for one in found).decode() == "Hé"
    assert whole(chat(), answer())["choices"][0]["logprobs"] is None


def test_whole__logprobs_before_a_stop_string__end_with_the_text() -> None:
    body = chat(logprobs=True, stop="\xe9")
    found = whole(body, shown_answer("H"))["choices"][0]["logprobs"]["content"]
    assert [one["bytes"] for one in found] == [[72, 195]]


def test_whole__logprobs_of_a_completion__in_the_older_form() -> None:
    body = CompletionBody.model_validate({"model": "m", "prompt": "x", "logprobs": 2})
    assert whole(body, shown_answer())["choices"][0]["logprobs"] == {
        "tokens": ["bytes:\\x48\\xc3", "bytes:\\xa9"],
        "token_logprobs": [-1.0, -0.5],
        "top_logprobs": [
            {"bytes:\\x48\\xc3": -1.0, "x": -2.0}, {"bytes:\\xa9": -0.5, "x": -3.0},
        ],
        "text_offset": [0, 1],
    }  # fmt: skip


def test_whole__logprobs_of_a_response__stand_in_its_part() -> None:
    body = ResponseBody.model_validate({"model": "m", "input": "x", "top_logprobs": 2})
    part = whole(body, shown_answer())["output"][0]["content"][0]
    assert [one["logprob"] for one in part["logprobs"]] == [-1.0, -0.5]


@pytest.mark.parametrize(
    ("tokens", "top", "fits"), [(243, 8, True), (244, 8, False), (1024, 0, True)]
)
def test_require_text__logprobs_that_do_not_fit__refused_before_anything_is_paid(
    tokens: int, top: int, fits: bool, tmp_path: Path
) -> None:
    manifest = folders.read(write_parrot(tmp_path), lambda *_: None)
    asked = chat(logprobs=True, top_logprobs=top, max_tokens=tokens).asked()
    if fits:
        require_text(manifest, asked)
    else:
        with pytest.raises(QuestionInvalid, match="room for the log-probabilities of 243 tokens"):
            require_text(manifest, asked)


# ── Streamed ────────────────────────────────────────────────────────────────────────────────────
def test_respond__chat_in_pieces__rest_reason_and_usage_come_with_the_answer() -> None:
    *chunks, usage, done = streamed(
        chat(stream=True, stream_options={"include_usage": True}), ["Good ", "d"], answer()
    )
    said = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert said == ["", "Good ", "d", "ay", None]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * 4 + ["stop"]
    assert chunks[-1]["tallystick"] == {"fee": "0.05"}
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 10, "[DONE]")


def test_respond__logprobs__come_with_the_delivered_answer() -> None:
    body = chat(stream=True, logprobs=True, top_logprobs=2)
    *chunks, last, _done = streamed(body, ["H"], shown_answer())
    assert [chunk["choices"][0]["logprobs"] for chunk in chunks] == [None] * len(chunks)
    assert len(last["choices"][0]["logprobs"]["content"]) == 2
    body = ResponseBody.model_validate(
        {"model": "m", "input": "x", "stream": True, "top_logprobs": 2}
    )
    said = {one["type"]: one for one in streamed(body, ["H"], shown_answer())}
    assert len(said["response.output_text.done"]["logprobs"]) == 2


def test_respond__usage_not_asked__is_not_sent() -> None:
    found = streamed(chat(stream=True), [], answer())
    assert all("usage" not in chunk for chunk in found[:-1])


def test_respond__other_answer_than_was_streamed__ends_with_an_error() -> None:
    *chunks, last = streamed(chat(stream=True), ["Good night"], answer())
    assert last["error"]["code"] == "StreamDiffers"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)


def test_respond__fails_in_the_middle__ends_with_an_error_and_no_reason() -> None:
    *chunks, last = streamed(chat(stream=True), ["Go"], Unavailable("the engine died"))
    assert (last["error"]["code"], "[DONE]" in chunks) == ("Unavailable", False)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None]


def test_respond__refused_before_it_is_accepted__is_no_stream() -> None:
    async def ask(_tell: writing.Tell) -> WrittenAnswer:
        raise QuestionInvalid("no")

    with pytest.raises(QuestionInvalid):
        asyncio.run(writing.respond(chat(stream=True).asked(), ask))


def test_respond__reader_goes_away__asking_is_cancelled() -> None:
    ended: list[str] = []

    async def ask(tell: writing.Tell) -> WrittenAnswer:
        tell("")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        raise AssertionError

    async def play() -> None:
        reply = await writing.respond(chat(stream=True).asked(), ask)
        stream: Iterator = reply.body_iterator
        await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0)

    asyncio.run(play())
    assert ended == ["cancelled"]


def test_respond__with_tools__calls_come_whole_at_the_end() -> None:
    body = chat(stream=True, tools=[{"type": "function", "function": WEATHER}])
    found = streamed(body, ["<tool_", "call>"], answer("<tool_call>…", "tool_calls", (CALL,)))
    deltas = [chunk["choices"][0]["delta"] for chunk in found[:-1]]
    assert [delta.get("content") for delta in deltas] == ["", None, None]
    assert deltas[1]["tool_calls"][0]["function"] == CALL


def test_respond__with_tools_that_are_not_to_be_called__pieces_are_shown() -> None:
    tools = [{"type": "function", "function": WEATHER}]
    found = streamed(chat(stream=True, tools=tools, tool_choice="none"), ["Good "], answer())
    said = [chunk["choices"][0]["delta"].get("content") for chunk in found[:-1]]
    assert said == ["", "Good ", "day", None]


def test_respond__completion__texts_are_pieces() -> None:
    body = CompletionBody.model_validate({"model": "m", "prompt": "x", "stream": True})
    found = streamed(body, ["Good "], answer())
    assert [one["choices"][0]["text"] for one in found[:-1]] == ["Good ", "day", ""]


def test_respond__response__events_in_order() -> None:
    body = ResponseBody.model_validate({"model": "m", "input": "x", "stream": True})
    found = streamed(body, ["Good "], answer())
    assert [one["type"].removeprefix("response.") for one in found] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    assert found[-1]["response"]["usage"]["output_tokens"] == 3
    failed = streamed(body, ["Good "], Unavailable("the engine died"))
    assert (failed[-1]["type"], failed[-1]["code"]) == ("error", "Unavailable")


def test_respond__response_that_calls__call_is_an_item() -> None:
    tools = [{"type": "function", **WEATHER}]
    body = ResponseBody.model_validate({"model": "m", "input": "x", "stream": True, "tools": tools})
    found = streamed(body, ["{"], answer('{"name"…', "tool_calls", (CALL,)))
    (item,) = found[-1]["response"]["output"]
    assert (item["type"], item["name"], item["arguments"]) == (
        "function_call", "weather", CALL["arguments"],
    )  # fmt: skip
    assert "response.function_call_arguments.done" in [one["type"] for one in found]
