"""The documents that people read, and their prose: without code, tables and headings."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = frozenset({ROOT / "docs" / "cli.md", ROOT / "docs" / "settings.md"})
WRITTEN = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("contracts/*.md"),
        *ROOT.glob("deploy/*.md"),
        *ROOT.glob("examples/**/*.md"),
    }
    - GENERATED
)
_END = re.compile(r"""(?<=[.!?])["”’)*_]*\s+(?=["“(*_]*[A-Z0-9`…])""")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def shell(page: str) -> str:
    """Return the shell blocks of a page, in order, without those that make the clone."""
    blocks: list[str] = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    return "\n".join(block for block in blocks if "make " not in block)


def paragraphs(text: str) -> list[str]:
    """Return paragraphs and list items, each on one line, as a reader hears them."""
    text = re.sub(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    found: list[str] = []
    current: list[str] = []
    in_list = False
    for line in [*text.splitlines(), ""]:
        begins = re.match(r"\s*([-*+]|\d+\.)\s+", line)
        in_list = bool(begins) or (in_list and (not line.strip() or line[0] == " "))
        skipped = re.match(r"#|\||!\[|<|:::|---$", line) or (line[:4] == "    " and not in_list)
        if (begins or skipped or not line.strip()) and current:
            found.append(" ".join(current))
            current = []
        if line.strip() and not skipped:
            current.append(line[begins.end() :] if begins else line.strip().lstrip("> "))
    return [_plain(paragraph) for paragraph in found]


def _plain(paragraph: str) -> str:
    paragraph = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
    return re.sub(r"`[^`]+`", "Code", paragraph)


def sentences(text: str) -> list[str]:
    return [s for paragraph in paragraphs(text) for s in _END.split(paragraph) if words(s)]


def words(sentence: str) -> int:
    """Count words; signs and formulas without a letter or digit are none."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())
