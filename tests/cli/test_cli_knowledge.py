"""`tallystick chat --knowledge` and `network.consult`: passages are found, paid, and cited."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.answers import ask
from examples.minilm import build as minilm
from oracle.services import balances, models, operators, publishing
from oracle.services.publishing import SaleTerms
from oracle.services.search import indexes
from oracle.types import Amount
from tallystick.connection import Connection
from tests.services.conftest import DOLLAR, World, anvil, contracts, world
from tests.support.parrot import NAME, Parrot, write_parrot
from tests.support.text_site import Site
from tests.worker.endpoint.conftest import FEE, Shop
from tests.worker.endpoint.test_chat_on_anvil import Words, sold

__all__ = ["anvil", "contracts", "world"]
pytestmark = pytest.mark.real
EMBEDDER = "all-MiniLM-L6-v2"
EMBEDDING_FEE = DOLLAR // 100
QUESTION = "When is the fee refunded?"
TEXTS = {
    "fees.md": "When nobody answers before the request expires, the fee is refunded.",
    "wallets.md": "Nobody can restore a lost password.\n\n<script>alert(1)</script> is a tag.",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of knowledge."""
    made = tmp_path / "manuals"
    made.mkdir()
    for name, text in TEXTS.items():
        (made / name).write_text(text)
    return made


@pytest.fixture
def library(world: World, tmp_path: Path) -> Iterator[tuple[Shop, Parrot]]:
    """A parrot and a model of sentences, which an operator answers with on the chain."""
    with sold(world, write_parrot(tmp_path / "parrot"), tmp_path) as shop:
        terms = SaleTerms(fee=Amount(EMBEDDING_FEE), challenge_window=60)
        folder = minilm.build(tmp_path / "minilm")
        sells = shop.world
        published = publishing.publish(sells.network, sells.owner, folder, terms)
        stake = Amount(200 * DOLLAR)
        balances.fund(sells.network, sells.operator.address, stake)
        operators.stake(sells.network, sells.operator, stake)
        operators.authorize(sells.network, sells.owner, published.model_id, sells.operator.address)
        parrot = Parrot()
        parrot.says = "It is refunded [1]. So is this [9]."
        with Site(sells, parrot, tmp_path / "site").working():
            yield shop, parrot


def test_chat__knowledge__shows_passages_and_what_is_cited(
    library: tuple[Shop, Parrot], folder: Path
) -> None:
    shop, parrot = library
    words = ("--yes", "--knowledge", str(folder), "--embedder", EMBEDDER)
    done = Words(shop, words).piped(QUESTION)
    assert (done.returncode, done.stdout) == (0, parrot.says + "\n"), done.stderr
    assert "cites [1] fees.md; [9] is no passage" in done.stderr
    assert TEXTS["fees.md"] in " ".join(done.stderr.split())
    assert "$1.01 so far" in done.stderr
    told = json.loads(Words(shop, (*words, "--json")).piped(QUESTION).stdout)
    assert told["passages"][0]["passage"] == {"source": "fees.md", "text": TEXTS["fees.md"]}
    assert told["citations"] == {"shown": [1], "unknown": [9]}


def test_consult__two_questions__carry_on_what_was_said_without_passages(
    library: tuple[Shop, Parrot], folder: Path
) -> None:
    shop, parrot = library
    world = shop.world
    with Connection(world.network, world.requester) as network:
        chat = network.consult(network.chat(NAME), folder, embedder=EMBEDDER, top=2)
        first = chat.say(QUESTION)
        assert first.passages[0].passage.source == "fees.md"
        assert first.citations.shown == (1,)
        assert first.cost == FEE + EMBEDDING_FEE
        parrot.says = ""  # it says again what it was asked
        second = chat.say("Who can restore a password?")
        assert second.answer.content.startswith("Who can restore a password?")
        assert second.citations.shown == ()
        assert [message["content"] for message in chat.talk.messages[:2]] == [
            QUESTION, "It is refunded [1]. So is this [9].",
        ]  # fmt: skip
        parrot.says = "So it is [1]."
        shown = str(ask.written(chat, QUESTION))
        assert shown.startswith("So it is [1].\n  [1] fees.md (cited): When nobody answers")
        assert "0.01 dollars" not in shown
        assert "1.01 dollars; proofs: 0x" in shown
        again = network.consult(network.chat(NAME), folder, embedder=EMBEDDER)
        assert again.knowledge.index.document == chat.knowledge.index.document


def test_answer__passages_of_a_word__says_so_and_pays_one_embedding(
    library: tuple[Shop, Parrot], folder: Path, tmp_path: Path
) -> None:
    world = library[0].world
    for path in folder.iterdir():
        path.write_text("Yes.")
    with Connection(world.network, world.requester) as network:
        model = models.select(network.network, EMBEDDER)
        indexes.build(network.network, model, folder, tmp_path / "index", lambda *_: None)
        told = ask.answer(network, str(tmp_path / "index"), QUESTION, EMBEDDER)
        assert (told.sentences, told.cost, len(told.proofs)) == ((), "0.01", 1)
        assert str(told).startswith("The knowledge folder does not say.")


@pytest.mark.parametrize(
    ("spoil", "words", "said"),
    [
        ("run.sh", ("--embedder", EMBEDDER), "run.sh is no text"),
        ("page.html", ("--embedder", EMBEDDER), "page.html is no text"),
        (".env", ("--embedder", EMBEDDER), ".env is hidden"),
        ("ok.md", (), "--embedder"),
        ("ok.md", ("--embedder", NAME), "no model of sentences"),
    ],
)
def test_chat__bad_knowledge__is_refused_before_anything_is_paid(
    library: tuple[Shop, Parrot], folder: Path, spoil: str, words: tuple[str, ...], said: str
) -> None:
    shop, _ = library
    (folder / spoil).write_text("some text")
    done = Words(shop, ("--yes", "--knowledge", str(folder), *words)).piped(QUESTION)
    assert (done.returncode, done.stdout) == (65, ""), done.stderr
    assert said in done.stderr
    network = shop.world.network
    assert network.market.balance_of(shop.world.requester.address) == 50 * DOLLAR
