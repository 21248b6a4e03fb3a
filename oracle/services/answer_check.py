"""Re-executes one answer and says whether it is right; if not, where it first differs.

Of a float model's answer the units alone are counted, where it is paid by them.

```
 request ─▶ version, input ─▶ execute ─▶ same root? ─yes─▶ RIGHT
                                             └─no──▶ WRONG: element of the output, and, when the
                                                     operator serves its trace, of the first tensor
```
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from oracle.errors import DigestMismatch, InputInvalid, NotFound
from oracle.exact import files, game
from oracle.exact.commitments import trace_root
from oracle.ipfs.port import MAX_BLOCK, CidUnresolved
from oracle.protocol.cid import raw_digest
from oracle.protocol.manifest import Manifest
from oracle.services import exact_faults, inference, inputs, models, quoting, requests
from oracle.services.exact_faults import Fault, HonestTrace, record_size
from oracle.services.network import Network
from oracle.services.operators import endpoint_of
from oracle.services.quoting import BytesProgress
from oracle.services.reexecution import Reexecutor, output_of
from oracle.services.request_timeline import RequestInfo, RequestState
from oracle.services.served_traces import SignedReceipt, TraceSource
from oracle.types import ZERO32, Address, Assurance, Bytes32, RequestId, Timestamp

Result = tuple[Fault, int, int]  # where, got, expected


class CheckOutcome(Enum):
    """What re-executing says."""

    RIGHT = "right"
    WRONG = "wrong"
    UNITS = "WRONG: it is to be paid by other units than its output has"
    COMMITTEE = "a float model's answer: the committee decides"


class TraceStatus(Enum):
    """What the operator shows of its trace; nothing is asked of it when the answer is right."""

    NOT_ASKED = "not asked for"
    SERVED = "served"
    WITHHELD = "not served"
    CONTRADICTS = "the operator signed another output than it delivered"


@dataclass(frozen=True, slots=True)
class ElementDifference:
    """The first element that is not what it should be."""

    op: int  # of the program
    name: str  # of the operator, as docs/exact.md calls it
    tensor: int  # id
    dtype: str
    shape: tuple[int, int]
    row: int
    col: int
    got: int
    expected: int


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """One answer, held against the truth."""

    request_id: RequestId
    state: RequestState
    model_id: int
    version: int
    operator: Address
    verdict: CheckOutcome
    output_root: Bytes32  # as delivered
    expected_root: Bytes32 | None  # None: a float model's
    output: ElementDifference | None  # None: right, or its bytes are not to be had
    trace: TraceStatus
    first: ElementDifference | None  # in the trace, when it is served
    final_at: Timestamp
    challengeable: bool  # the window is open

    @property
    def right(self) -> bool:
        """Whether it is what the model gives."""
        return self.verdict is CheckOutcome.RIGHT


def verify(
    network: Network,
    request_id: RequestId,
    traces: TraceSource,
    *,
    source: str = "",
    stdin: Callable[[], bytes] = bytes,
    progress: BytesProgress | None = None,
) -> AnswerCheck:
    """Re-execute the request and compare.

    Args:
        traces: what operators serve.
        source: the input, as `inputs.prepare` takes it or as the very bytes, when IPFS lost them.
        stdin: reads all of stdin.

    Raises:
        NotFound: no such request, or no answer yet. CidUnresolved: input or version are nowhere.
        DigestMismatch: bytes that are not what the chain names.
    """
    info = requests.show(network, request_id)
    if info.delivery is None or info.final_at is None:
        raise NotFound(
            f"request 0x{request_id.hex()} has no answer: {info.state.value}",
            hint=f"`tallystick request show 0x{request_id.hex()}` says where it stands",
        )
    if info.request.terms.assurance is not Assurance.EXACT:
        return _verification(network, info, _counted(network, info))
    truth = _reexecute(network, info, source, stdin, progress)
    if truth.output_root == info.delivery.output_root:
        return _verification(network, info, CheckOutcome.RIGHT, truth)
    trace, first = _first(network, info, truth, traces)
    return _verification(network, info, CheckOutcome.WRONG, truth, trace=trace, first=first)


def _counted(network: Network, info: RequestInfo) -> CheckOutcome:
    """Say what is to be known of a float model's answer without the model."""
    assert info.delivery is not None
    units = info.delivery.stamp.units
    if not units:
        return CheckOutcome.COMMITTEE
    try:
        manifest = models.manifest(network, info.model_id, info.version)
        answer, _ = inference.answer(network, info, manifest)
    except (CidUnresolved, DigestMismatch, InputInvalid):  # judged by who has the bytes
        return CheckOutcome.COMMITTEE
    return CheckOutcome.COMMITTEE if answer.counted == units else CheckOutcome.UNITS


def _reexecute(
    network: Network,
    info: RequestInfo,
    source: str,
    stdin: Callable[[], bytes],
    progress: BytesProgress | None,
) -> HonestTrace:
    reexecutor = Reexecutor(network, progress)
    if source:
        manifest = reexecutor.load(info.model_id, info.version).manifest
        data = _given(network, source, manifest, stdin)
        return reexecutor.run(info.request, data)
    try:
        return reexecutor.run(info.request)
    except CidUnresolved as error:
        raise CidUnresolved(
            f"request 0x{info.request_id.hex()} cannot be re-executed: {error}",
            hint="if you have the input, say --input FILE",
        ) from error


def _given(network: Network, source: str, manifest: Manifest, stdin: Callable[[], bytes]) -> bytes:
    """Return an input's bytes: the file as it is when it holds records, else what it stands for."""
    path = Path(source).expanduser()
    if source != "-" and path.is_file() and path.stat().st_size <= MAX_BLOCK:
        data = path.read_bytes()
        try:
            files.read_inputs(data)
        except InputInvalid:
            pass
        else:
            return data
    fetch = lambda entry: quoting.fetch_file(network, entry, None)  # noqa: E731
    return inputs.prepare(source, manifest, fetch, stdin).data


def _first(
    network: Network, info: RequestInfo, truth: HonestTrace, traces: TraceSource
) -> tuple[TraceStatus, ElementDifference | None]:
    """Ask the operator for its trace, and find the first tensor that differs."""
    assert info.delivery is not None
    endpoint = endpoint_of(network, info.delivery.operator)
    signed = traces.receipt(endpoint, info.request_id)
    if signed is None or not _whole(signed, truth):
        return TraceStatus.WITHHELD, None
    if signed.receipt.output_root != info.delivery.output_root:
        return TraceStatus.CONTRADICTS, None
    op = game.first_difference(truth.honest, signed.leaves, info.delivery.output_root)
    if op is None or op == len(truth.program.ops) - 1:
        return TraceStatus.SERVED, None
    record = traces.tensor(endpoint, info.request_id, op, record_size(truth.program, op))
    found = None if record is None else exact_faults.tensor_difference(truth, op, record)
    return (
        (TraceStatus.WITHHELD, None)
        if found is None
        else (TraceStatus.SERVED, _named(truth, found))
    )


def _whole(signed: SignedReceipt, truth: HonestTrace) -> bool:
    if len(signed.leaves) != len(truth.program.ops) - 1:
        return False
    return signed.receipt.trace_root in (ZERO32, trace_root(signed.leaves))


def _verification(
    network: Network,
    info: RequestInfo,
    verdict: CheckOutcome,
    truth: HonestTrace | None = None,
    *,
    trace: TraceStatus = TraceStatus.NOT_ASKED,
    first: ElementDifference | None = None,
) -> AnswerCheck:
    assert info.delivery is not None
    assert info.final_at is not None
    output = _output(network, info, truth) if verdict is CheckOutcome.WRONG and truth else None
    return AnswerCheck(
        request_id=info.request_id,
        state=info.state,
        model_id=info.model_id,
        version=info.version,
        operator=info.delivery.operator,
        verdict=verdict,
        output_root=info.delivery.output_root,
        expected_root=truth.output_root if truth else None,
        output=output,
        trace=trace,
        first=first or (output if trace is TraceStatus.SERVED else None),
        final_at=info.final_at,
        challengeable=info.state is RequestState.DELIVERED
        and network.history.now() < info.final_at,
    )


def _output(network: Network, info: RequestInfo, truth: HonestTrace) -> ElementDifference | None:
    assert info.delivery is not None
    try:
        record = output_of(network, _output_cid(info), info.delivery.output_root)
    except (CidUnresolved, DigestMismatch, InputInvalid):
        return None
    return difference(truth, record)


def difference(truth: HonestTrace, record: bytes) -> ElementDifference | None:
    """Return the first element of an answer's record that is wrong; None when none is. Pure."""
    found = exact_faults.tensor_difference(truth, len(truth.program.ops) - 1, record)
    return None if found is None else _named(truth, found)


def _output_cid(info: RequestInfo) -> Bytes32:
    return ZERO32 if info.output_cid is None else raw_digest(info.output_cid)


def _named(truth: HonestTrace, found: Result) -> ElementDifference:
    (op, row, col), got, expected = found
    operator = truth.program.ops[op]
    spec = operator.result
    return ElementDifference(
        op=op,
        name=operator.opcode.name,
        tensor=truth.program.id_of(op),
        dtype=spec.dtype.name.lower(),
        shape=(spec.rows, spec.cols),
        row=row,
        col=col,
        got=got,
        expected=expected,
    )
