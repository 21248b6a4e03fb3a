"""What the page's modules are sent and send back, as JSON. Pure."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from oracle.errors import InputInvalid
from oracle.exact import form
from oracle.protocol import channel_wire, eip712, text
from oracle.protocol.manifest import Manifest
from oracle.protocol.tensor import Array
from oracle.services.channels.offers import OfferInfo
from oracle.services.inputs import PreparedInput
from oracle.services.models import VersionInfo
from oracle.services.search import answering
from oracle.types import Order
from oracle.web.views import input_kind

MAX_VALUES = 262_144  # numbers of a tensor that a browser is sent


def describe(model_id: int, version: VersionInfo, manifest: Manifest) -> dict[str, Any]:
    """Return what the form's module needs to know about a version."""
    batched = all(spec.shape and spec.shape[0] is None for spec in manifest.inputs)
    return {
        "model": model_id,
        "version": version.version,
        "kind": input_kind(manifest),
        "batched": batched,
        "inputs": [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in manifest.inputs],
        "features": [column.name for column in manifest.features],
        "labels": manifest.labels,
        "name": manifest.name,
        "exact": manifest.exact is not None,
        "fee": version.fee,
        "window": version.challenge_window,
    }


def sale(info: OfferInfo, close_delay: int) -> dict[str, Any]:
    """Return what a channel of this page would pay for; large numbers as text."""
    return {
        "url": info.endpoint.rstrip("/"),
        "offer": {**channel_wire.offer_json(info.offer), "number": str(info.number)},
        "closeDelay": close_delay,
    }


def read_params(given: str) -> dict[str, float]:
    """Return parameters by name.

    Raises:
        InputInvalid: not a JSON object of numbers.
    """
    try:
        values = json.loads(given)
    except ValueError as error:
        raise InputInvalid(f"the parameters are not JSON: {error}") from error
    if not isinstance(values, dict) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()
    ):
        raise InputInvalid("the parameters are not an object of numbers")
    return values


def seen(prepared: PreparedInput, manifest: Manifest) -> dict[str, Any]:
    """Return an input as the model will see it."""
    arrays = form.of(manifest).decode_inputs(prepared.data)
    if input_kind(manifest) == "chat":
        question = text.decode_question(arrays)
        messages = question.messages or ({"role": "user", "content": question.prompt},)
        return {
            "digest": "0x" + prepared.root.hex(), "bytes": len(prepared.data), "texts": (),
            "tensors": (), "messages": [dict(message) for message in messages],
            "passages": [asdict(one) for one in answering.passages_in(question.prompt or "")],
        }  # fmt: skip
    return {
        "digest": "0x" + prepared.root.hex(),
        "bytes": len(prepared.data),
        "texts": prepared.texts,
        "outside": [asdict(one) for one in prepared.outside],
        "tensors": [
            numbers(spec.name, as_given(arrays[spec.name], spec.shape)) for spec in manifest.inputs
        ],
    }


def as_given(array: Array, shape: Sequence[int | None]) -> Array:
    """Return an exact version's matrix in the shape that people gave; others are as they are."""
    if array.ndim == len(shape) or None in shape or array.size != math.prod(n or 1 for n in shape):
        return array
    if array.ndim == 3 and len(shape) == 4 and array.shape[2] == shape[1]:  # pixels × colours
        array = array.transpose(0, 2, 1)
    return array.reshape([n or 1 for n in shape])


def answered(data: bytes, manifest: Manifest) -> dict[str, Any]:
    """Return an answer's numbers, or the text that it is.

    Raises:
        InputInvalid: the bytes are no answer of this model.
    """
    arrays = form.of(manifest).decode_outputs(data)
    if input_kind(manifest) == "chat":
        found = text.decode_answer(arrays)
        return {
            "text": found.content, "finishReason": found.finish_reason,
            "tokens": [found.prompt_tokens, len(found.tokens)],
            "calls": [dict(call) for call in found.tool_calls],
        }  # fmt: skip
    outputs = [numbers(name, array) for name, array in arrays.items()]
    return {"outputs": outputs, "labels": manifest.labels}


def numbers(name: str, array: Array) -> dict[str, Any]:
    flat = array.reshape(-1)
    return {
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "values": flat[:MAX_VALUES].tolist(),
        "complete": flat.size <= MAX_VALUES,
    }


def order_words(order: Order, lane: int) -> dict[str, Any]:
    """Return an order as asking.js encodes it; large numbers as text."""
    return {**eip712.order_message(order), "lane": lane, "maxFee": str(order.max_fee)}
