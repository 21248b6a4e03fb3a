"""Answers of operators that cheat with a text model, and the weights that some of them cheat with.

Each forger keeps what an honest answer must have where it can: counts, the end, the text of the
tokens, and log-probabilities of a model that really ran.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oracle.protocol import text
from oracle.protocol.text import TextAnswer, TextQuestion
from worker.runtimes.gguf import TextModel

Params = Mapping[str, float]
CUT = 16  # tokens that are saved
KEPT = 12  # blocks of the smaller model


@dataclass(frozen=True)
class Written:
    """A question and an answer to it."""

    question: TextQuestion
    params: Params
    answer: TextAnswer


def write(model: TextModel, asked: Sequence[tuple[TextQuestion, Params]]) -> list[Written]:
    """Have texts written together."""
    found = []
    outputs = model.run_all([text.encode_question(q) for q, _ in asked], [p for _, p in asked])
    for (question, params), one in zip(asked, outputs, strict=True):
        if isinstance(one, Exception):
            raise one
        found.append(Written(question, params, text.decode_answer(one)))
    return found


def forgeries(model: TextModel, honest: Written, other: Written) -> Iterator[tuple[str, Written]]:
    """Yield forgeries that need no other weights; those who make them have run the model.

    Args:
        other: an answer to another question, of which a lazy operator makes use again.
    """
    answer, question, params = honest.answer, honest.question, honest.params
    shorter = replace(answer, tokens=answer.tokens[:-CUT], logprobs=answer.logprobs[:-CUT])
    yield "cut by 16 tokens", _rendered(model, honest, shorter)
    place = len(answer.tokens) // 2
    words = sorted(set(answer.tokens) - {answer.tokens[place]})
    token = random.Random(place).choice(words)
    exchanged = (*answer.tokens[:place], token, *answer.tokens[place + 1 :])
    yield "one token exchanged", _claimed(model, honest, exchanged)
    reseeded = {**params, "seed": params["seed"] + 1}
    yield "another seed", replace(honest, answer=write(model, [(question, reseeded)])[0].answer)
    hot = {**params, "temperature": params["temperature"] + 0.3}
    yield "another temperature", replace(honest, answer=write(model, [(question, hot)])[0].answer)
    yield "another question's answer", _claimed(model, honest, other.answer.tokens)


def _claimed(model: TextModel, honest: Written, tokens: tuple[int, ...]) -> Written:
    """Return an answer of these tokens, with the log-probabilities that the model has for them."""
    count, said = model.replay(honest.question, tokens, honest.params, 0.0)
    answer = replace(
        honest.answer, prompt_tokens=count, tokens=tokens, logprobs=np.asarray(said.logprobs)
    )
    return _rendered(model, honest, answer)


def _rendered(model: TextModel, honest: Written, answer: TextAnswer) -> Written:
    _, said = model.replay(honest.question, answer.tokens, honest.params, 0.0)
    content, reason, calls = text.finish(said.pieces, honest.question, ended=said.ends[-1])
    told = replace(answer, content=content, finish_reason=reason, tool_calls=calls)
    return replace(honest, answer=told)


def forge_weights(path: Path, folder: Path) -> dict[str, Path]:
    """Write cheaper weights: coarser ones (Q4_0), and a model of fewer blocks.

    Raises:
        ModuleNotFoundError: the package gguf is not installed.
    """
    found = {"weights of 4 bits": folder / "q4_0.gguf", "a smaller model": folder / "small.gguf"}
    for name, made in found.items():
        if not made.exists():
            _rewrite(path, made, smaller=name == "a smaller model")
    return found


def _rewrite(path: Path, made: Path, *, smaller: bool) -> None:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter  # noqa: PLC0415
    from gguf.quants import dequantize, quantize  # noqa: PLC0415

    held = GGUFReader(path)
    architecture = held.fields["general.architecture"].contents()
    writer = GGUFWriter(made.with_suffix(".new"), architecture)
    for name, field in held.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = field.contents()
        if smaller and name.endswith(".block_count"):
            value = KEPT
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    coarse = GGMLQuantizationType.Q4_0
    for tensor in held.tensors:
        if smaller and tensor.name.startswith("blk.") and int(tensor.name.split(".")[1]) >= KEPT:
            continue
        data, kind = tensor.data, tensor.tensor_type
        if not smaller and kind is not GGMLQuantizationType.F32:
            data, kind = quantize(dequantize(data, kind), coarse), coarse
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made.with_suffix(".new").rename(made)
