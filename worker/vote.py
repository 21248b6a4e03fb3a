"""What a committee's voter finds: its own output, an activation, and whether the delivery matches.

```
 model, input ─▶ run ─▶ own output ─┬─▶ digest, activation
                delivered output ───┴─▶ within the tolerance? ─▶ MATCH or MISMATCH
```
A text is not written again: the model is run over it (`worker.text.replay`).
Knows nothing of chains or keys: who votes is `oracle.agents.committee.member`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.chain.bindings.committee import Finding
from oracle.errors import DigestMismatch, InputInvalid
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved, Ipfs
from oracle.protocol import tensor, text
from oracle.protocol.canonical import sha256
from oracle.protocol.cid import raw_cid
from oracle.protocol.hexadecimal import parse_bytes32, to_hex
from oracle.types import ZERO32, Activation, Bytes32
from worker import activations
from worker.errors import ModelRefused, OutputInvalid
from worker.models import LoadedModel, ModelPool
from worker.runtimes.base import Array, Params
from worker.text import replay

_NOTHING = Activation(0)
_DIGESTS = (
    "manifest_digest", "model_root", "input_root", "input_cid", "params", "output_root",
    "output_cid", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VoteJob:
    """One delivery to judge."""

    manifest_digest: Bytes32
    model_root: Bytes32
    input_root: Bytes32
    input_cid: Bytes32  # SHA-256 of the raw block that holds the input; 0 = `input_root` is that
    params: Bytes32
    output_root: Bytes32  # as delivered
    output_cid: Bytes32
    seed: Bytes32  # of the activation
    tolerance: int  # absolute and relative, in 1e-9
    units: int = 0  # as delivered; 0 = of a version with a flat fee
    posted: bytes = b""  # the output as it was put on chain, if a demand was answered

    @classmethod
    def parse(cls, payload: Mapping[str, Any]) -> "VoteJob":
        """Read a job.

        Raises:
            InputInvalid: a field is missing or malformed.
        """
        try:
            digests = {name: parse_bytes32(payload[name]) for name in _DIGESTS}
            posted = bytes.fromhex(payload.get("posted", "0x").removeprefix("0x"))
            tolerance, units = int(payload["tolerance"]), int(payload["units"])
            return cls(**digests, tolerance=tolerance, units=units, posted=posted)
        except (KeyError, TypeError, ValueError) as error:
            raise InputInvalid(f"malformed vote job: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Found:
    """What a vote is made of."""

    finding: Finding
    output_digest: Bytes32 = ZERO32  # of the own output
    activation: Activation = _NOTHING

    def payload(self) -> dict[str, Any]:
        """Return it as JSON data; the activation as text, as it may have 39 digits."""
        return {
            "finding": self.finding.name,
            "output_digest": to_hex(self.output_digest),
            "activation": str(self.activation),
        }


def find(job: VoteJob, pool: ModelPool, ipfs: Ipfs) -> Found:
    """Run the model and judge the delivery.

    A model or an input that nobody has, or that this machine cannot run, is INPUT_UNAVAILABLE: who
    challenges has to keep them available. An input that does not fit the model has no answer, so
    whatever was delivered is a MISMATCH.

    Raises:
        Unavailable: IPFS is away. CacheFull, DeviceFull, ModelFailed: try again.
    """
    try:
        model = pool.get(job.manifest_digest, job.model_root)
        data = _input(job, ipfs)
    except (CidUnresolved, DigestMismatch, ModelRefused):
        return Found(Finding.INPUT_UNAVAILABLE)
    try:
        inputs = model.form.decode_inputs(data)
        params = model.manifest.unpack_params(job.params)
        if model.manifest.runtime.format == text.FORMAT:
            return _replayed(job, model, inputs, params, ipfs)
    except ModelRefused:  # it does not go on
        return Found(Finding.INPUT_UNAVAILABLE)
    except InputInvalid:
        return Found(Finding.MISMATCH)
    outputs, activation = activations.run(model.runtime, inputs, params, job.seed)
    try:
        own = model.form.encode_outputs(outputs)
    except InputInvalid as error:
        raise OutputInvalid(f"the model's {error}", hint=error.hint) from error
    finding = _judge(job, model, outputs, ipfs)
    return Found(finding, sha256(own), activation)


def _judge(job: VoteJob, model: LoadedModel, own: dict[str, Array], ipfs: Ipfs) -> Finding:
    try:
        theirs = _delivered(job, model, ipfs)
    except CidUnresolved:
        return Finding.OUTPUT_UNAVAILABLE
    except InputInvalid:
        return Finding.MISMATCH
    return Finding.MATCH if matches(own, theirs, job.tolerance) else Finding.MISMATCH


def _replayed(
    job: VoteJob, model: LoadedModel, inputs: Mapping[str, Array], params: Params, ipfs: Ipfs
) -> Found:
    """Judge a text by its replay; the activation is of the prompt, which no answer shows.

    Raises:
        InputInvalid: nothing can be written after this question.
    """
    runtime: Any = model.runtime
    question, tolerance = text.decode_question(inputs), job.tolerance / 1e9
    _, alone = runtime.replay(question, (), params, 0.0)
    activation = activations.of_outputs({"observed": alone.observed / text.UNIT}, job.seed)
    try:
        answer = text.decode_answer(_delivered(job, model, ipfs))
        count, replayed = runtime.replay(question, answer.tokens, params, tolerance, answer.shown)
    except CidUnresolved:
        return Found(Finding.OUTPUT_UNAVAILABLE, activation=activation)
    except InputInvalid:  # no answer, other units, or a token that the model does not know
        return Found(Finding.MISMATCH, activation=activation)
    asked = replay.AnswerTerms(question, params, count, runtime.context)
    fault = replay.compare(asked, answer, replayed, tolerance)
    return Found(Finding.MATCH if fault is None else Finding.MISMATCH, activation=activation)


def _delivered(job: VoteJob, model: LoadedModel, ipfs: Ipfs) -> dict[str, Array]:
    """Return the outputs that were delivered.

    Raises:
        CidUnresolved: nobody has them.
        InputInvalid: they are not the manifest's, or have other units than are paid for.
    """
    outputs = model.form.decode_outputs(_output(job, ipfs))
    if job.units and job.units != (count := model.manifest.units(outputs)):
        raise InputInvalid(f"the answer has {count} units, and is to be paid by {job.units}")
    return outputs


def _output(job: VoteJob, ipfs: Ipfs) -> bytes:
    """Fetch what was delivered: from the chain, else under its root, which is its CID.

    Where else the delivery says that it lies decides nothing: a liar names 32 random bytes.

    Raises:
        CidUnresolved: nobody has it.
    """
    if job.posted and tensor.digest(job.posted) == job.output_root:
        return job.posted
    try:
        return _block(ipfs, job.output_root)
    except DigestMismatch as error:
        raise CidUnresolved(str(error)) from error


def _input(job: VoteJob, ipfs: Ipfs) -> bytes:
    """Fetch the input from where the request says, else under its root.

    Raises:
        CidUnresolved: nobody has it. DigestMismatch: what is there is something else.
    """
    if job.input_cid not in (ZERO32, job.input_root):
        try:
            return _block(ipfs, job.input_root, job.input_cid)
        except (CidUnresolved, DigestMismatch):
            pass  # who answered may have found it under its root
    return _block(ipfs, job.input_root)


def matches(own: Mapping[str, Array], theirs: Mapping[str, Array], tolerance: int) -> bool:
    """Tell whether two answers are equal within a tolerance (in 1e-9): absolute, plus the same
    relative to our own.

    Names, shapes and dtypes are equal; what is not a number, or infinite, is so in both.
    """
    if own.keys() != theirs.keys():
        return False
    return all(_near(theirs[name], own[name], tolerance / 1e9) for name in own)


def _near(a: Array, b: Array, reach: float) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    x, y = a.astype(np.float64), b.astype(np.float64)
    return bool(np.isclose(x, y, rtol=reach, atol=reach, equal_nan=True).all())


def _block(ipfs: Ipfs, root: Bytes32, located: Bytes32 = ZERO32) -> bytes:
    """Fetch a raw block that has this digest.

    Raises:
        CidUnresolved: nobody has it. DigestMismatch: what is there is something else.
    """
    data = ipfs.fetch_bytes(raw_cid(root if located == ZERO32 else located), MAX_BLOCK)
    if tensor.digest(data) != root:
        raise DigestMismatch(f"the bytes have digest 0x{tensor.digest(data).hex()}")
    return data
