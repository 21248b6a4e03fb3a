"""`tallystick verify`: re-execute one answer, and say what to do when it is wrong."""

import sys
from typing import Annotated, Any

import typer

from oracle import logs
from oracle.cli import options, output
from oracle.cli.session import Session, command
from oracle.services import answer_check
from oracle.services.amounts import format_time
from oracle.services.answer_check import AnswerCheck, CheckOutcome, ElementDifference
from oracle.services.served_traces import EndpointTraces
from oracle.types import RequestId

WRONG, UNDECIDED = 3, 4  # exit codes


def register(app: typer.Typer) -> None:
    """Add the command."""
    some = "0x" + "ab" * 32
    command(
        app, "verify",
        example=f"tallystick verify {some}\ntallystick verify {some} --input digit.png --json",
    )(_verify)  # fmt: skip


def _verify(
    session: Session,
    request_id: Annotated[RequestId, options.request_argument("Id of an answered request.")],
    source: Annotated[
        str,
        typer.Option("--input", metavar="FILE", help="The input, when IPFS no longer has it."),
    ] = "",
) -> None:
    """Re-execute an answer of an exact version: right, or where it first differs.

    Exit code 0: right; 3: wrong; 4: a float model's, which nobody can re-execute to the bit.
    """
    logs.configure(session.settings, role="verify")
    traces = EndpointTraces()
    with session.bars() as bars:
        found = answer_check.verify(
            session.network,
            request_id,
            traces,
            source=source,
            stdin=sys.stdin.buffer.read,
            progress=bars.bytes_done,
        )
    session.show(found, _text(found))
    code = {CheckOutcome.RIGHT: 0, CheckOutcome.WRONG: WRONG, CheckOutcome.COMMITTEE: UNDECIDED}[
        found.verdict
    ]
    if code:
        raise typer.Exit(code)


def _text(found: AnswerCheck) -> Any:
    lines: list[tuple[str, Any]] = [
        ("request", output.hexed(found.request_id)),
        ("verdict", _verdict(found)),
        ("model", f"{found.model_id} version {found.version}"),
        ("operator", found.operator),
        ("delivered", output.hexed(found.output_root)),
    ]
    if found.verdict is CheckOutcome.WRONG:
        assert found.expected_root is not None
        lines += [
            ("right is", output.hexed(found.expected_root)),
            ("answer", _differs(found.output) if found.output else "its bytes are not to be had"),
            ("trace", found.trace.value),
        ]
        if found.first is not None:
            lines.append(("first fault", f"{_place(found.first)}: {_differs(found.first)}"))
    lines.append(("next", _next(found)))
    return output.facts(lines)


def _verdict(found: AnswerCheck) -> str:
    if found.verdict is CheckOutcome.RIGHT:
        return "right: every integer is what the model gives"
    if found.verdict is CheckOutcome.WRONG:
        return "WRONG"
    return str(found.verdict.value)


def _place(first: ElementDifference) -> str:
    rows, cols = first.shape
    kind = f"{first.dtype} {rows} × {cols}"
    return f"operator {first.op} ({first.name}), tensor {first.tensor}, {kind}"


def _differs(at: ElementDifference) -> str:
    return f"element [{at.row}, {at.col}] is {at.got}, not {at.expected}"


def _next(found: AnswerCheck) -> str:
    request = output.hexed(found.request_id)
    if found.verdict is CheckOutcome.RIGHT:
        return "nothing to do"
    if found.verdict is CheckOutcome.COMMITTEE:
        return (
            "operators drawn at random compare it within the model's tolerance when it is "
            "challenged (docs/committee.md)"
        )
    if found.challengeable:
        return (
            f"`tallystick challenger run --request {request} --key NAME` convicts the operator; "
            f"the window closes {format_time(found.final_at)}"
        )
    return f"too late to challenge: {found.state.value}"
