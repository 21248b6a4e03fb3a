"""`tallystick receipts …`: the signed receipts of a payer's channels, as they are kept here."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from oracle import whole_file
from oracle.cli import commands, output
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid, NotFound
from oracle.protocol import receipt_file
from oracle.protocol.receipt_file import ReceiptFile
from oracle.services.amounts import format_amount, format_time
from oracle.services.channels import kept, offers, summons

Receipt = Annotated[
    str, typer.Argument(metavar="CHANNEL/N", help="Beginning of a channel's id, and the index.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "receipts")
    command(
        group, "list",
        example="tallystick receipts list\ntallystick receipts list 0x51c2 --json",
    )(_list)  # fmt: skip
    command(group, "show", example="tallystick receipts show 0x51c2/7")(_show)
    command(
        group, "export",
        example="tallystick receipts export 0x51c2/7 --output receipt.json\n"
        "tallystick receipts export 0x51c2/7 --without-bytes | tallystick verify -",
    )(_export)  # fmt: skip
    command(
        group, "report", key=True,
        example="tallystick receipts report 0x51c2/7 --key owner\n"
        "tallystick receipts report receipt.json --key owner",
    )(_report)  # fmt: skip


def _list(
    session: Session,
    channel: Annotated[
        str | None, typer.Argument(metavar="[CHANNEL]", help="Its receipts; else all channels.")
    ] = None,
) -> None:
    """List the channels whose receipts are kept here, or the receipts of one."""
    home = session.settings.home
    if channel is None:
        infos = [one.info() for one in kept.list_kept(home)]
        rows = [
            (offers.name(i.channel_id)[:10], f"{i.model_id}@{i.version}", i.operator,
             i.receipts, format_amount(i.fee))
            for i in infos
        ]  # fmt: skip
        columns = ("channel", "model", "operator", "receipts", "an answer")
        session.show(infos, output.table(columns, rows, "no receipts are kept"))
        return
    found = kept.find(home, channel)
    receipts = sorted(found.receipts(), key=lambda receipt: receipt.index)
    lines = [
        (r.index, format_time(r.answered_at), output.hexed(r.input_root)[:10],
         output.hexed(r.output_root)[:10])
        for r in receipts
    ]  # fmt: skip
    titles = ("receipt", "answered", "question", "answer")
    session.show(receipts, output.table(titles, lines, "no receipts are kept"))


def _show(session: Session, receipt: Receipt) -> None:
    """Show what an operator signed; `tallystick verify` says whether it holds."""
    (file, *_) = kept.read(session.settings.home, _one(receipt))
    channel, signed = file.channel, file.receipt
    here = [name for name in ("input", "output") if getattr(file, name) is not None]
    facts = {
        "request_id": file.request_id, "channel_id": channel.channel_id,
        "operator": channel.offer.operator, "payer": channel.payer,
        "model_id": channel.offer.model_id, "version": channel.offer.version,
        "receipt": signed, "bytes": here,
    }  # fmt: skip
    session.show(
        facts,
        output.facts(
            [
                ("receipt", f"{signed.index} of channel {offers.name(channel.channel_id)}"),
                ("signed by", channel.offer.operator),
                ("for", channel.payer),
                ("at", format_time(signed.answered_at)),
                ("model", f"{channel.offer.model_id} version {channel.offer.version}"),
                ("price", format_amount(channel.offer.terms.fee)),
                ("question", output.hexed(signed.input_root)),
                ("answer", output.hexed(signed.output_root)),
                ("request", output.hexed(file.request_id)),
                ("bytes here", ", ".join(here) or "none"),
            ]
        ),
    )


def _export(
    session: Session,
    receipt: Receipt,
    save: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where; stdout by default.")
    ] = None,
    without_bytes: Annotated[
        bool, typer.Option("--without-bytes", help="Leave question and answer out.")
    ] = False,
) -> None:
    """Write a receipt as a file that anyone can check with `tallystick verify`."""
    (file, *_) = kept.read(session.settings.home, _one(receipt))
    text = receipt_file.write(file, without_bytes=without_bytes)
    if save is None:
        typer.echo(text, nl=False)
        return
    whole_file.write(save.absolute(), text)
    session.show({"file": save, "request_id": file.request_id}, f"written to {save}")


def _report(
    session: Session,
    receipt: Annotated[
        str, typer.Argument(metavar="RECEIPT", help="CHANNEL/N as kept, a file, or - for stdin.")
    ],
) -> None:
    """Prove that an operator answered somebody whom the model's owner had refused."""
    file = read_receipt(session, receipt)
    done = summons.report(session.network, session.wallet, file)
    session.show(done, f"a lock of {file.channel.offer.operator} was burned")


def _one(text: str) -> str:
    if "/" not in text:
        raise InputInvalid(f"{text!r:.80} names no receipt", hint="say CHANNEL/N, 0x51c2/7")
    return text


# ── For commands that take receipts ─────────────────────────────────────────────────────────────
def read_receipts(session: Session, text: str) -> list[ReceiptFile]:
    """Return the receipts that `FILE`, `-`, `CHANNEL/N` or `CHANNEL` stands for.

    Raises:
        InputInvalid, NotFound: none, and why.
    """
    if text.startswith("0x") and not Path(text).is_file():
        return kept.read(session.settings.home, text)
    return [receipt_file.read(read_bytes(text))]


def read_receipt(session: Session, text: str) -> ReceiptFile:
    """Return the one receipt that a word stands for.

    Raises:
        InputInvalid, NotFound: none or several, and why.
    """
    found = read_receipts(session, text)
    if len(found) != 1:
        raise InputInvalid(
            f"{text} is {len(found)} receipts", hint="name one by its index, CHANNEL/N"
        )
    return found[0]


def read_bytes(text: str) -> bytes:
    """Return a file's bytes, or those of stdin for `-`; of a longer one, one more than is read.

    Raises:
        NotFound: it cannot be read.
    """
    most = receipt_file.MAX_BYTES + 1
    if text == "-":
        return sys.stdin.buffer.read(most)
    try:
        with Path(text).expanduser().open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise NotFound(
            f"{text!r:.80} cannot be read: {error.strerror}",
            hint="a request is 0x and 64 hex digits; `tallystick receipts list` shows receipts",
        ) from error
