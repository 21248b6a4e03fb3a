"""`tallystick search …`: indexes of texts, and the passages that answer a question."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oracle.cli import commands, options, output
from oracle.cli.session import Session, command
from oracle.types import Amount

if TYPE_CHECKING:
    from oracle.protocol.search_index import FoundPassage

Index = Annotated[str, typer.Argument(metavar="INDEX", help="CID of an index, or its folder.")]
_SHOWN = 200  # characters of a passage


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "search")
    command(
        group, "build",
        example="tallystick search build manuals/ build/manuals --model all-MiniLM-L6-v2",
    )(_build)  # fmt: skip
    command(group, "publish", example="tallystick search publish build/manuals")(_publish)
    command(
        group, "ask", spends=True,
        example='tallystick search ask build/manuals "how do I reset it?" '
        "--model all-MiniLM-L6-v2 --yes --key requester",
    )(_ask)  # fmt: skip


def _build(
    session: Session,
    source: Annotated[Path, typer.Argument(help="Folder of texts, a CSV, or lines of JSON.")],
    folder: Annotated[Path, typer.Argument(help="Where the index goes.")],
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Model of sentences.")],
) -> None:
    """Embed every passage of a folder on this machine; nothing is paid."""
    from oracle.services import models  # noqa: PLC0415 - numpy and pydantic take their time
    from oracle.services.search import indexes  # noqa: PLC0415

    selected = models.select(session.network, model)
    with session.bars() as bars:
        document, measured = indexes.build(
            session.network, selected, source, folder,
            lambda done, total: bars.bytes_done("passages", done, total),
        )  # fmt: skip
    digest = "0x" + document.digest.hex()
    apart = f"{measured['one_step']:,} of {measured['numbers']:,} numbers one step apart when alone"
    session.show(
        {"digest": digest, "passages": document.count, "measured": measured},
        output.facts(
            [
                ("digest", digest),
                ("passages", f"{document.count:,}"),
                ("measured", apart),
                ("then", f"`tallystick search ask {folder} QUESTION --model {model} --key WALLET`"),
            ]
        ),
    )


def _publish(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="Folder that `search build` wrote.")],
) -> None:
    """Put an index on IPFS; its CID names every passage and every vector."""
    from oracle.services.search import indexes  # noqa: PLC0415

    cid = indexes.publish(session.network, folder)
    session.show({"cid": cid}, f"{cid}: `tallystick search ask {cid} QUESTION --model MODEL`")


def _ask(
    session: Session,
    index: Index,
    question: Annotated[str, typer.Argument(help="A sentence, or a few words.")],
    *,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="That built the index.")],
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, max=100, help="Passages, 1 to 100.")
    ] = 5,
    max_fee: Annotated[
        Amount | None, options.amount("--max-fee", "Most to pay; the fee as shown by default.")
    ] = None,
) -> None:
    """Find the passages nearest to a question: one paid embedding, then anyone finds the same."""
    from oracle.services import inference, models, quoting  # noqa: PLC0415
    from oracle.services.amounts import format_amount  # noqa: PLC0415
    from oracle.services.quoting import Ask  # noqa: PLC0415
    from oracle.services.search import indexes  # noqa: PLC0415

    network, selected = session.network, models.select(session.network, model)
    opened = indexes.open_index(network, index)
    indexes.require_model(network, opened.document, selected)
    ask = Ask(model=selected, source=[question], max_fee=max_fee)
    paid = quoting.quote(network, session.wallet.address, ask, stdin=lambda: b"")
    session.confirm(f"Pay {format_amount(paid.quote.fee)}?")
    asked = inference.ask(network, session.wallet, paid)
    with session.bars() as bars:
        info = inference.wait(
            network, asked.request_id, since=asked.transaction.block, say=bars.say
        )
    _, data = inference.answer(network, info, paid.manifest, paid.prepared)
    found = opened.find(indexes.embedding_of(data, paid.manifest), top)
    session.show(
        {"request": asked.request_id, "index": "0x" + opened.document.digest.hex(), "found": found},
        output.table(("score", "source", "passage"), map(_row, found)),
    )


def _row(one: "FoundPassage") -> tuple[str, str, str]:
    text = one.passage.text
    return (
        f"{one.score:.3f}",
        one.passage.source,
        text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…",
    )
