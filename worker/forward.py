"""Inputs through a loaded model, together and then alone, and its outputs as canonical bytes.

Text models write several texts at once, each with parameters of its own: no rows are joined.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from oracle.errors import InputInvalid, TallystickError
from oracle.protocol import text
from oracle.protocol.manifest import Manifest
from worker import batching
from worker.batching import Tensors
from worker.errors import ModelFailed, OutputInvalid, OutputTooLarge
from worker.models import LoadedModel
from worker.runtimes.base import Array

Outputs = dict[str, Array]


def run(
    model: LoadedModel, params: dict[str, float], inputs: Sequence[Tensors], log: Any
) -> list[Outputs | TallystickError]:
    """Return the outputs of inputs that may share a pass (`batching.plan`), or what was wrong."""
    try:
        outputs = model.runtime.run(batching.join(inputs), params)
        parts = batching.split(outputs, inputs)
    except Exception as error:
        if len(inputs) == 1:
            return [failure(error)]
        # Whose fault was it? Ask one by one
        log.warning("batch.retry_singly", size=len(inputs), error=str(error)[:300])
        return [run(model, params, [one], log)[0] for one in inputs]
    log.debug("batch.run", size=len(inputs), model=model.manifest.name)
    return [*parts]


def run_texts(
    model: LoadedModel,
    params: Sequence[Mapping[str, float]],
    inputs: Sequence[Tensors],
    heard: Sequence[Callable[[str], object]],
) -> list[Outputs | TallystickError]:
    """Return the answers of a text model, or what was wrong with each question.

    Args:
        heard: who is told each piece of each text.
    """
    answers = model.runtime.run_all(inputs, params, heard)  # type: ignore[attr-defined]  # see `is_text`
    return [failure(one) if isinstance(one, Exception) else one for one in answers]


def is_text(manifest: Manifest) -> bool:
    """Whether a model's runtime is `worker.runtimes.gguf.TextModel`."""
    return manifest.runtime.format == text.FORMAT


def encode(model: LoadedModel, outputs: Outputs) -> bytes:
    """Return outputs as the bytes that a digest is of.

    Raises:
        OutputInvalid, OutputTooLarge: the model does not keep to its manifest.
    """
    try:
        data = model.form.encode_outputs(outputs)
    except InputInvalid as error:  # the same rules; here it is the model that broke them
        raise OutputInvalid(f"the model's {error}", hint=error.hint) from error
    limit = model.manifest.max_output_bytes
    if len(data) > limit:
        raise OutputTooLarge(
            f"output of {len(data)} bytes is above the manifest's {limit}",
            hint="ask for fewer rows in one request",
        )
    return data


def failure(error: Exception) -> TallystickError:
    """Return an error as one of ours: what a library raised is the model's failure."""
    if isinstance(error, TallystickError):
        return error
    wrapped = ModelFailed(f"{type(error).__name__}: {str(error)[:300]}")
    wrapped.__cause__ = error
    return wrapped
