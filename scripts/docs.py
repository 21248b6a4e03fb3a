"""The generated parts of the documentation; a hook of MkDocs (mkdocs.yml) and a command.

    python scripts/docs.py           write docs/settings.md
    python scripts/docs.py --check   exit 1 when it is not what the sources give

When the site is built, pages are added that nobody types: one for each interface of contracts/
(from the compiler's syntax tree and its natspec), the routes of the REST server (from OpenAPI),
the Python packages (mkdocstrings), and the documents that stand in the root of the repository.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
INTERFACES = ROOT / "contracts" / "interfaces"
SETTINGS = DOCS / "settings.md"
# Documents of the root, by their page on the site
ROOT_PAGES = {
    "README.md": "first-answer.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
PYTHON_PAGES = (
    "oracle.protocol.manifest",
    "oracle.protocol.tensor",
    "oracle.protocol.cid",
    "oracle.protocol.records",
    "oracle.types",
    "oracle.errors",
)


# ── Settings ────────────────────────────────────────────────────────────────────────────────────
def settings_page() -> str:
    """Return docs/settings.md: every field of the two settings classes with its docstring."""
    rows = [
        (f"`TALLYSTICK_{name.upper()}`", default, text)
        for name, default, text in fields_of(ROOT / "oracle" / "config.py", "Settings")
        if name != "contracts"
    ]
    bounds = [
        (f"`{name}`", default, text)
        for name, default, text in fields_of(ROOT / "oracle" / "api" / "config.py", "ApiConfig")
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Written by `python scripts/docs.py` from `oracle/config.py` and "
            "`oracle/api/config.py`; a test",
            "fails when it is not current.",
            "",
            "A process reads its settings once, when it starts. Later sources win: defaults, then",
            "`network.json` in the home folder, then variables. An unknown variable that begins",
            "with `TALLYSTICK_` is an error, so that a mistyped name is noticed.",
            "",
            *_table("variable", rows),
            "",
            "## Bounds of the REST server",
            "",
            "These are fields of `ApiConfig`, for applications that include the server. "
            "`tallystick serve`",
            "uses the defaults; `--cors-origin` sets `cors_origins`.",
            "",
            *_table("field", bounds),
            "",
        ]
    )


def fields_of(path: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield (field, default as text, docstring) of a dataclass, read from its source.

    Raises:
        ValueError: a field has no docstring.
    """
    (found,) = (
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    for node, following in zip(found.body, [*found.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))):
                default = "" if node.value is None else _default(ast.unparse(node.value))
                yield node.target.id, default, " ".join(text.split())
            case _:
                raise ValueError(f"{path.name}: {name}.{node.target.id} has no docstring")


def _default(source: str) -> str:
    """Return a default as a reader writes it: bytes in MiB or GiB, nothing for an empty value."""
    if match := re.fullmatch(r"(\d+) \* 2 \*\* (20|30)", source):
        return f"{match[1]} {'MiB' if match[2] == '20' else 'GiB'}"
    value = ast.literal_eval(source)
    return "" if value in ("", ()) else f"`{value}`"


def _table(first: str, rows: list[tuple[str, str, str]]) -> list[str]:
    return [f"| {first} | default | meaning |", "|---|---|---|"] + [
        f"| {name} | {default} | {text} |" for name, default, text in rows
    ]


# ── Contracts ───────────────────────────────────────────────────────────────────────────────────
def contract_pages() -> dict[str, str]:
    """Return the natspec of each interface as Markdown, by its path on the site."""
    import solcx  # noqa: PLC0415 - the compiler is needed for the site alone

    remapping = "@openzeppelin/contracts=node_modules/@openzeppelin/contracts"
    output = solcx.compile_standard(
        {
            "language": "Solidity",
            "sources": {
                path.relative_to(ROOT).as_posix(): {"content": path.read_text()}
                for path in sorted(INTERFACES.glob("*.sol"))
            },
            "settings": {"remappings": [remapping], "outputSelection": {"*": {"": ["ast"]}}},
        },
        solc_binary=next((ROOT / ".solcx").glob("solc-v*")),
        base_path=ROOT,
    )
    return {
        f"reference/contracts/{path.stem}.md": _interface(
            path, output["sources"][path.relative_to(ROOT).as_posix()]["ast"]
        )
        for path in sorted(INTERFACES.glob("*.sol"))
    }


def _interface(path: Path, tree: dict[str, Any]) -> str:
    source = path.read_bytes()
    (contract,) = (node for node in tree["nodes"] if node["nodeType"] == "ContractDefinition")
    tags = _natspec(contract)
    parts = [f"# {path.stem}", tags.get("title", ""), tags.get("notice", ""), tags.get("dev", "")]
    parts.append(f"Source: `contracts/interfaces/{path.name}`")
    kinds = {
        "Functions": ("FunctionDefinition",),
        "Events": ("EventDefinition",),
        "Errors": ("ErrorDefinition",),
        "Types": ("StructDefinition", "EnumDefinition", "UserDefinedValueTypeDefinition"),
    }
    for title, names in kinds.items():
        nodes = [n for n in (*tree["nodes"], *contract["nodes"]) if n["nodeType"] in names]
        parts += [f"## {title}"] if nodes else []
        for node in nodes:
            parts += _definition(node, source)
    return "\n\n".join(part for part in parts if part) + "\n"


def _definition(node: dict[str, Any], source: bytes) -> Iterator[str]:
    start, length, _ = (int(number) for number in node["src"].split(":"))
    tags = _natspec(node)
    yield f"### {node['name']}"
    yield tags.get("notice", "")
    yield f"```solidity\n{source[start : start + length].decode()}\n```"
    named = [f"| `{name}` | {text} |" for name, text in tags.get("param", [])]
    named += [f"| returns | {text} |" for text in tags.get("return", [])]
    if named:
        yield "\n".join(["| | |", "|---|---|", *named])
    yield tags.get("dev", "")


def _natspec(node: dict[str, Any]) -> dict[str, Any]:
    """Return a definition's tags: text of notice, dev and title; lists of param and return."""
    documentation = node.get("documentation") or {}
    text = re.sub(r"^ *\* ?", "", documentation.get("text", ""), flags=re.MULTILINE)
    text = text.strip() if text.strip()[:1] == "@" else f"@notice {text.strip()}"
    found: dict[str, Any] = {}
    for tag, body in re.findall(r"@(\w+)\s(.*?)(?=\n\s*@|\Z)", text, re.DOTALL):
        diagram = "```" in body
        words = body.strip() if diagram else " ".join(body.split()).replace("|", "\\|")
        if tag == "param":
            name, _, rest = words.partition(" ")
            found.setdefault(tag, []).append((name, rest))
        elif tag == "return":
            found.setdefault(tag, []).append(words)
        elif words:
            found[tag] = f"{found[tag]} {words}" if tag in found else words
    return found


# ── REST and Python ─────────────────────────────────────────────────────────────────────────────
def rest_page() -> str:
    """Return the routes of the REST server, from its OpenAPI document."""
    from oracle.api.app import create_app  # noqa: PLC0415 - for the site alone

    document = create_app(None).openapi()  # type: ignore[arg-type] # no route runs
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            said = operation.get("description", operation.get("summary", ""))
            given = ", ".join(
                f"`{p['name']}`" for p in operation.get("parameters", []) if p["in"] != "path"
            )
            groups.setdefault(operation["tags"][0], []).append(
                f"| `{method.upper()} {path}` | {' '.join(said.split())} | {given} |"
            )
    parts = [
        "# REST routes",
        "Written from the server's OpenAPI document, which a running server has at "
        "`/openapi.json`. How to pay, headers and errors are in [REST](../rest.md).",
    ]
    for tag, rows in groups.items():
        parts += [
            f"## {tag}",
            "\n".join(["| route | does | query and headers |", "|---|---|---|", *rows]),
        ]
    return "\n\n".join(parts) + "\n"


def python_page() -> str:
    """Return the page that mkdocstrings fills from docstrings."""
    public = ["tallystick"] if (ROOT / "tallystick").is_dir() else []
    return "# Python\n\n" + "\n".join(f"::: {name}\n" for name in (*public, *PYTHON_PAGES))


# ── The hook ────────────────────────────────────────────────────────────────────────────────────
def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """Fill the parts of the navigation that follow from files."""
    decisions = [
        {path.read_text().partition("\n")[0].removeprefix("# "): f"adr/{path.name}"}
        for path in sorted((DOCS / "adr").glob("*.md"))
    ]
    contracts = [
        {path.stem: f"reference/contracts/{path.stem}.md"}
        for path in sorted(INTERFACES.glob("*.sol"))
    ]
    for section in config.nav or []:
        for item in (*section.get("Reference", []), *section.get("Project", [])):
            for name, pages in (("Contracts", contracts), ("Decisions", decisions)):
                if name in item:
                    item[name] = pages
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are generated for the site alone."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - `make lint` needs no MkDocs

    pages = {
        **contract_pages(),
        "reference/rest-routes.md": rest_page(),
        "reference/python.md": python_page(),
        **{page: _of_the_root(name) for name, page in ROOT_PAGES.items()},
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def _of_the_root(name: str) -> str:
    """Return a document's text for the site: of the README what the start page does not say."""
    text = (ROOT / name).read_text().replace("](docs/", "](")
    if name != "README.md":
        return text
    begin, end = text.index("## Two commands"), text.index("## Where to go")
    return f"# Two commands, and a first answer\n\n{text[begin:end]}"


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Let links to documents in the repository's root lead to pages of the site."""
    up = "../" * page.file.src_uri.count("/")
    for name, target in ROOT_PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{name}(#[^)]*)?\)", rf"]({up}{target}\1)", markdown)
    folder = (DOCS / page.file.src_uri).parent

    def unlinked(link: re.Match[str]) -> str:
        """Name what is in the repository and not on the site, instead of linking it."""
        target = (folder / link[2]).resolve()
        outside = target.exists() and not target.is_relative_to(DOCS)
        return f"`{link[1].strip('`')}`" if outside else link[0]

    return re.sub(r"\[([^\]]*)\]\((\.\./[^)#]+)\)", unlinked, markdown)


def main() -> int:
    """Write or check the files that are kept in the repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when stale")
    text = settings_page()
    if parser.parse_args().check:
        current = SETTINGS.exists() and SETTINGS.read_text() == text
        if not current:
            print("docs/settings.md is not current; run scripts/docs.py", file=sys.stderr)
        return 0 if current else 1
    SETTINGS.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
