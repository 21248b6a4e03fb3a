"""Documents are easy to read: short sentences, short lines."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, WRITTEN, name, sentences, words

LONGEST, AVERAGE = 30, 15  # words in a sentence
LINE, ROW = 120, 240  # characters; a row of a table cannot be wrapped
# Its entries are added by every change, and its sentences are lists of names
PROSE = [path for path in WRITTEN if path != ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("document", PROSE, ids=name)
def test_document__sentences__are_short(document: Path) -> None:
    found = sentences(document.read_text())
    long = {s: words(s) for s in found if words(s) > LONGEST}

    assert long == {}
    assert sum(map(words, found)) / len(found) <= AVERAGE


@pytest.mark.parametrize("document", PROSE, ids=name)
def test_document__lines__fit_a_screen(document: Path) -> None:
    lines = enumerate(document.read_text().splitlines(), start=1)
    long = [(at, len(line)) for at, line in lines if len(line) > (ROW if line[:1] == "|" else LINE)]

    assert long == []


def test_sentences__code_tables_and_links__are_left_out() -> None:
    text = (
        "# A title\n\n| a table | of words |\n\n```sh\na command\n```\n\n"
        "One `call of code`, [a link](to/a/page.md).\nTwo words. And\nthree more.\n\n"
        "- An item\n  goes on.\n"
    )

    assert sentences(text) == [
        "One Code, a link.",
        "Two words.",
        "And three more.",
        "An item goes on.",
    ]
    assert words("a = b ‖ c") == 3
