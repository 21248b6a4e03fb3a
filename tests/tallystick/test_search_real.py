"""Search and answers over a knowledge folder: built, published, asked and paid on a network."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODEL = "all-MiniLM-L6-v2"
KNOWLEDGE = ROOT / "examples" / "answers" / "knowledge"

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def index(script):
    """Return the CID of an index of the example's knowledge; its folder is build/help."""
    script("-m", "examples.minilm.build", "build/minilm")
    script("-m", "examples.python.sell", "build/minilm", "--fee", "0.01")
    built = script(
        "-m", "tallystick", "search", "build", KNOWLEDGE, "build/help", "--model", MODEL, "--json"
    )
    assert json.loads(built)["measured"]["more"] == 0
    script("-c", "import tallystick; tallystick.connect(wallet='requester').deposit(1)")
    published = script("-m", "tallystick", "search", "publish", "build/help", "--json")
    return json.loads(published)["cid"]


def test_search__by_command_and_from_python__finds_the_same_passages(script, index):
    question = "I forgot my password"
    asked = script(
        "-m", "tallystick", "search", "ask", index, question,
        "--model", MODEL, "--yes", "--key", "requester", "--json",
    )  # fmt: skip
    told = json.loads(asked)
    code = f"""
import json, tallystick
with tallystick.connect(wallet="requester") as network:
    found = network.search("build/help", {question!r}, model={MODEL!r}).found
    print(json.dumps([[one.number, one.score] for one in found]))
"""
    found = json.loads(script("-c", code))
    assert [[one["number"], one["score"]] for one in told["found"]] == found
    assert "lost password" in told["found"][0]["passage"]["text"]
    assert told["found"][0]["passage"]["source"] == "wallets.md"


def test_search__model_with_other_weights__is_refused_before_money_is_spent(script, index):
    script("-m", "examples.python.sell", "build/digits", "--fee", "0.05")
    code = f"""
import tallystick
with tallystick.connect(wallet="requester") as network:
    before = network.balance().prepaid
    try:
        network.search({index!r}, "hello", model="digits-cnn")
    except tallystick.errors.DigestMismatch as error:
        print("the index was built with" in str(error), network.balance().prepaid == before)
"""
    assert script("-c", code) == "True True\n"


def test_answers__of_a_knowledge_folder__cite_where_they_stand(script, index):
    told = script("-m", "examples.answers.ask", index, "When is the fee refunded?")
    assert "refunded to your prepaid balance." in told
    assert "  [1] fees.md" in told
    assert "0.02 dollars; proofs: 0x" in told


def test_answers__to_what_the_folder_does_not_say__are_none(script, index):
    told = script("-m", "examples.answers.ask", index, "Who won the chess championship of 1972?")
    assert told.startswith("The knowledge folder does not say.")
