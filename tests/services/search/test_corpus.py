"""What a folder of knowledge may hold, and how its texts become passages."""

import pytest

from oracle.errors import InputInvalid, NotFound
from oracle.services.search import corpus
from oracle.services.search.corpus import KnowledgeRefused


def test_read__texts_and_tables__in_the_order_of_their_names(tmp_path):
    (tmp_path / "b.md").write_text("# Reset\n\nHold the\nbutton.\n\n\nIt blinks.")
    (tmp_path / "a.csv").write_text("source,text\nfaq,Open on Monday.\n,Closed on Sunday.\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.jsonl").write_text(
        '{"text": "Call us."}\n{"text":"Or write.","source":"x"}'
    )
    found = [(one.source, one.text) for one in corpus.read(tmp_path)]
    assert found == [
        ("faq", "Open on Monday."), ("a.csv:3", "Closed on Sunday."),
        ("b.md", "# Reset Hold the button."), ("b.md", "It blinks."),
        ("sub/c.jsonl:1", "Call us."), ("x", "Or write."),
    ]  # fmt: skip


def test_read__headings__go_with_the_text_below_and_are_no_passages(tmp_path):
    (tmp_path / "a.rst").write_text("Cat\n===\n\nIt purrs.\n\n====\nEnd\n====\n")
    (tmp_path / "b.md").write_text(
        "# Cat\n## Food\n\n### Dry\n\nFish.\n\n#hashtag\n\n# Dog\nBones.\n\n# Last\n"
    )
    assert [one.text for one in corpus.read(tmp_path)] == [
        "Cat === It purrs.", "# Cat ## Food ### Dry Fish.", "#hashtag", "# Dog Bones.",
    ]  # fmt: skip
    (tmp_path / "c.md").write_text("# " * 50_000 + "\nno heading")  # in no time
    assert "no heading" in corpus.read(tmp_path / "c.md")[-1].text


def test_read__long_texts__are_cut_at_sentences_and_nothing_is_lost(tmp_path):
    text = (
        " ".join(f"Sentence {n} says so." for n in range(100)) + " " + "word " * 300 + "x" * 2_000
    )
    (tmp_path / "long.txt").write_text(text)
    pieces = [one.text for one in corpus.read(tmp_path / "long.txt")]
    assert max(map(len, pieces)) <= corpus.LENGTH
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert pieces[0].endswith("says so.")


def spoil(folder, kind):
    """Put one thing into a folder that does not belong there."""
    path = folder / "guide.md"
    match kind:
        case "script":
            (folder / "run.sh").write_text("rm -rf /")
        case "script under another name":
            path.write_text("#!/bin/sh\nrm -rf /")
        case "HTML":
            (folder / "page.html").write_text("<script>alert(1)</script>")
        case "executable":
            path.write_text("text")
            path.chmod(0o755)
        case "binary":
            path.write_bytes(b"\x7fELF\x00")
        case "not UTF-8":
            path.write_bytes(b"\xff\xfe\x00")
        case "link outside":
            path.symlink_to("/etc/passwd")
        case "link to a folder":
            (folder / "more").symlink_to("/etc")
        case "hidden":
            (folder / ".env").write_text("SECRET=1")
        case "pickle":
            (folder / "model.pkl").write_bytes(b"\x80\x04.")
        case "too long":
            with path.open("wb") as file:
                file.truncate(corpus.MAX_FILE + 1)


@pytest.mark.parametrize(
    "kind",
    [
        "script", "script under another name", "HTML", "executable", "binary", "not UTF-8",
        "link outside", "link to a folder", "hidden", "pickle", "too long",
    ],
)  # fmt: skip
def test_read__folder_with_anything_but_texts__is_refused_as_a_whole(tmp_path, kind):
    (tmp_path / "a.md").write_text("Good text.")
    assert len(corpus.read(tmp_path)) == 1
    spoil(tmp_path, kind)
    with pytest.raises(KnowledgeRefused):
        corpus.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "body\nno\n", "no column text"),
        ("a.jsonl", '{"text": 7}', "a.jsonl:1"),
        ("a.jsonl", "[" * 10_000, "a.jsonl:1"),
        ("a.txt", " \n\n ", "0 passages"),
    ],
)
def test_read__no_passages__says_where(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputInvalid, match=says):
        corpus.read(tmp_path)


def test_read__nothing_there__not_found(tmp_path):
    with pytest.raises(NotFound):
        corpus.read(tmp_path / "nothing")
