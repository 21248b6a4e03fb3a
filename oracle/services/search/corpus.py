"""Passages out of what people have: a folder of texts, a CSV, or lines of JSON.

A folder of knowledge may come from anyone, and what is in it is only ever read. It is refused as a
whole when it holds anything but plain texts: scripts, binaries, links, hidden files.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from oracle.errors import InputInvalid, NotFound
from oracle.protocol.search_index import MAX_PASSAGES, Passage

TEXTS = (".txt", ".md", ".rst")
TABLES = (".csv", ".jsonl")  # with a column or field "text", and perhaps "source"
MAX_FILE = 256 * 2**20  # bytes
MAX_FILES = 20_000
LENGTH = 600  # characters of a passage: some 150 tokens
# A line of Markdown, some of them, or a line that is underlined
_HEADING = re.compile(
    r"#{1,6}[ \t][^\n]*(\n#{1,6}[ \t][^\n]*)*|([=~^*+-]{3,}\n)?[^\n]+\n([=~^*+-])\3{2,}"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class KnowledgeRefused(InputInvalid):
    """A folder of knowledge holds what is not plain text."""


def read(source: Path) -> tuple[Passage, ...]:
    """Return the passages of a folder or a file, in the order of their names.

    Raises:
        NotFound: there is no such folder or file.
        KnowledgeRefused: it holds a script, a binary, a link or a hidden file, or too much.
        InputInvalid: a table has no texts, or there is no passage at all.
    """
    if not source.exists():
        raise NotFound(f"there is no {source}", hint="give a folder of texts, a CSV or JSON lines")
    paths = sorted(source.rglob("*")) if source.is_dir() and not source.is_symlink() else [source]
    if len(paths) > MAX_FILES:
        raise KnowledgeRefused(f"{source} has {len(paths)} files, above {MAX_FILES}")
    root = source if source.is_dir() else source.parent
    found: list[Passage] = []
    for path in paths:
        text = _text(path, path.relative_to(root).as_posix())
        if text is not None:
            found += _passages(path, path.relative_to(root).as_posix(), text)
    if not 1 <= len(found) <= MAX_PASSAGES:
        raise InputInvalid(f"{source} has {len(found)} passages, not 1 to {MAX_PASSAGES:,}")
    return tuple(found)


def _text(path: Path, name: str) -> str | None:
    """Return what a file says, or None for a folder; opens nothing that is refused by its name."""
    if path.is_symlink():
        raise KnowledgeRefused(f"{name} is a link", hint="put the file itself there")
    if path.name.startswith("."):
        raise KnowledgeRefused(f"{name} is hidden", hint="take it out")
    if path.is_dir():
        return None
    if not path.is_file() or path.suffix.lower() not in (*TEXTS, *TABLES):
        raise KnowledgeRefused(f"{name} is no text", hint=f"kinds: {' '.join((*TEXTS, *TABLES))}")
    found = path.stat()
    if found.st_mode & 0o111:
        raise KnowledgeRefused(f"{name} may be executed", hint=f"chmod -x {name}, if it is a text")
    if found.st_size > MAX_FILE:
        raise KnowledgeRefused(f"{name} has {found.st_size} bytes, above {MAX_FILE}")
    data = path.read_bytes()
    if data.startswith(b"#!"):
        raise KnowledgeRefused(f"{name} is a script")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KnowledgeRefused(f"{name} is not UTF-8 text: {error}") from error
    if "\0" in text:
        raise KnowledgeRefused(f"{name} is binary: it holds a zero byte")
    return text


def _passages(path: Path, name: str, text: str) -> Iterator[Passage]:
    match path.suffix.lower():
        case ".csv":
            rows = _table(name, text)
        case ".jsonl":
            rows = _lines(name, text)
        case _:
            rows = ((name, paragraph) for paragraph in _paragraphs(text))
    for source, said in rows:
        for piece in _pieces(" ".join(said.split())):
            yield Passage(source, piece)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs, each with the headings above it; headings with nothing below are left out.

    A heading alone would be found before the text that it is of.
    """
    above: list[str] = []
    for part in re.split(r"\n\s*\n", text):
        if _HEADING.fullmatch(part.strip()):
            above.append(part)
        elif part.strip():
            yield "\n".join([*above, part])
            above = []


def _table(name: str, text: str) -> Iterator[tuple[str, str]]:
    rows = csv.DictReader(io.StringIO(text))
    try:
        if "text" not in (rows.fieldnames or ()):
            raise InputInvalid(f"{name} has no column text", hint="its first line names columns")
        for number, row in enumerate(rows):
            yield row.get("source") or f"{name}:{number + 2}", row["text"] or ""
    except csv.Error as error:
        raise InputInvalid(f"{name} is not CSV: {error}") from error


def _lines(name: str, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines()):
        try:
            body = json.loads(line)
            yield str(body.get("source", f"{name}:{number + 1}")), body["text"] + ""
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputInvalid(
                f"{name}:{number + 1} is no object with a text", hint='{"text": "…"}'
            ) from error


def _pieces(text: str) -> Iterator[str]:
    """Cut at ends of sentences, and in a sentence that is too long at a space."""
    held = ""
    for sentence in _SENTENCE.split(text):
        while len(sentence) > LENGTH:
            cut = sentence.rfind(" ", 1, LENGTH) if " " in sentence[1:LENGTH] else LENGTH
            if held:
                yield held
                held = ""
            yield sentence[:cut]
            sentence = sentence[cut:].lstrip()  # noqa: PLW2901 - what is left of it
        if held and len(held) + len(sentence) >= LENGTH:
            yield held
            held = ""
        held = f"{held} {sentence}".strip()
    if held:
        yield held
