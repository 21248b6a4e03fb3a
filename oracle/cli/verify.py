"""`tallystick verify`: is an answer right, what stands behind it, and what to do if not."""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Group

from oracle import logs
from oracle.cli import output
from oracle.cli.receipts import read_bytes, read_receipts
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.services import amounts, answer_check
from oracle.services.amounts import format_amount, format_time
from oracle.services.answer_check import AnswerCheck, CheckOutcome, ElementDifference
from oracle.services.channels import kept, offers, receipt_check
from oracle.services.channels.receipt_check import ReceiptCheck, ReceiptsCheck
from oracle.services.channels.receipt_findings import CheckResult, ReceiptFinding
from oracle.services.served_traces import EndpointTraces
from oracle.types import RequestId

WRONG, UNDECIDED = 3, 4  # exit codes
_SHOWN = 10  # receipts that are shown whole


def register(app: typer.Typer) -> None:
    """Add the command."""
    some = "0x" + "ab" * 32
    command(
        app, "verify",
        example=f"tallystick verify {some}\ntallystick verify {some} --input digit.png --json\n"
        "tallystick verify receipt.json\ntallystick verify receipt.json other.json --offline\n"
        "tallystick verify 0x51c2/7\ntallystick verify 0x51c2 --recompute",
    )(_verify)  # fmt: skip


def _verify(
    session: Session,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="REQUEST|RECEIPT…",
            help="A request's id; or receipts: files, - for stdin, CHANNEL/N or CHANNEL as kept.",
        ),
    ],
    source: Annotated[
        str,
        typer.Option("--input", metavar="FILE", help="The input, when it is not to be had."),
    ] = "",
    recompute: Annotated[
        bool,
        typer.Option("--recompute", help="Re-execute several receipts; one is without saying so."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no chain: say what receipts say by themselves.")
    ] = False,
) -> None:
    """Re-execute an answer of an exact version, and check receipts: each line says what was found.

    Exit code 0: right; 3: something is wrong; 4: nothing is wrong, but the answer itself is not
    known to be right: a float model's, or not re-executed.
    """
    if (request_id := _request(session, what)) is not None:
        if offline or recompute:
            raise InputInvalid("--offline and --recompute are for receipts")
        _verify_request(session, request_id, source)
        return
    files = [file for text in what for file in read_receipts(session, text)]
    if source:
        if len(files) != 1:
            raise InputInvalid("--input is the input of one receipt")
        files = [replace(files[0], input=read_bytes(source))]
    found = receipt_check.verify(
        files, None if offline else lambda: session.network,
        recompute=recompute or len(files) == 1, kept=partial(kept.leaves, session.settings.home),
    )  # fmt: skip
    session.show(found, _receipts_text(found))
    if not found.right:
        raise typer.Exit(WRONG if found.wrong else UNDECIDED)


def _request(session: Session, what: Sequence[str]) -> RequestId | None:
    """Return the request that is meant, or None when it is receipts."""
    if len(what) != 1 or not re.fullmatch("0x[0-9a-fA-F]{64}", what[0]):
        return None
    known = {offers.name(one.channel.channel_id) for one in kept.list_kept(session.settings.home)}
    return None if what[0].lower() in known else amounts.parse_request_id(what[0])


def _verify_request(session: Session, request_id: RequestId, source: str) -> None:
    logs.configure(session.settings, role="verify")
    with session.bars() as bars:
        found = answer_check.verify(
            session.network,
            request_id,
            EndpointTraces(),
            source=source,
            stdin=sys.stdin.buffer.read,
            progress=bars.bytes_done,
        )
    session.show(found, _text(found))
    code = {CheckOutcome.RIGHT: 0, CheckOutcome.COMMITTEE: UNDECIDED}.get(found.verdict, WRONG)
    if code:
        raise typer.Exit(code)


# ── Receipts ────────────────────────────────────────────────────────────────────────────────────
def _receipts_text(found: ReceiptsCheck) -> Any:
    """Show every receipt, or of many those that are wrong."""
    many = len(found.receipts) > _SHOWN
    shown = [r for r in found.receipts if r.wrong][:_SHOWN] if many else found.receipts
    parts = [_receipt_text(receipt) for receipt in shown]
    if many:
        wrong = sum(receipt.wrong for receipt in found.receipts)
        right = sum(receipt.verdict is CheckOutcome.RIGHT for receipt in found.receipts)
        counts = f"{len(found.receipts)} receipts: {wrong} wrong, {right} re-executed and right"
        parts.append(output.facts([("in all", counts)]))
    if found.together:
        parts.append(_checks(found.together))
    return Group(*parts)


def _receipt_text(found: ReceiptCheck) -> Any:
    return Group(
        output.facts(
            [
                ("receipt", f"{found.index} of channel {offers.name(found.channel_id)}"),
                ("signed by", f"{found.operator} at {format_time(found.answered_at)}"),
                ("for", f"{found.payer}, {format_amount(found.fee)}"),
                ("model", f"{found.model_id} version {found.version}"),
                ("request", output.hexed(found.request_id)),
            ]
        ),
        _checks(found.checks),
        output.facts([("next", found.next)]),
    )


def _checks(checks: Sequence[ReceiptFinding]) -> Any:
    rows = [(check.what, check.result.value.upper() if check.result is CheckResult.WRONG
             else check.result.value, check.why) for check in checks]  # fmt: skip
    return output.table(("check", "result", "why"), rows)


# ── Requests ────────────────────────────────────────────────────────────────────────────────────
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
        todo = f"`tallystick challenger run --request {request} --key NAME` convicts the operator"
        if found.verdict is CheckOutcome.UNITS:
            todo = f"`tallystick committee challenge {request} --key NAME` has it judged"
        return f"{todo}; the window closes {format_time(found.final_at)}"
    return f"too late to challenge: {found.state.value}"
