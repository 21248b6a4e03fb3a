"""Writes docs/cli.md from the commands themselves: `python -m oracle.cli.reference docs/cli.md`.

A test compares the file with what this writes, so the reference cannot fall behind.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oracle.cli.app import build

WIDTH = 92  # columns of the help texts
_HEAD = """# The command line

Written by `python -m oracle.cli.reference docs/cli.md`; a test fails when it is not current.

Every command answers with text, or with one JSON document on stdout when `--json` is given; logs,
progress and questions go to stderr. Amounts are dollars as decimals (`0.05`; at most 6 decimals),
durations are like `90s`, `5m`, `2h`, `1d`. Wallets are keystore files in `HOME/keys`, opened with a
typed password or `--password-file`; a key is never an argument. `HOME` is `--home`,
`TALLYSTICK_HOME` or `~/.tallystick`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed for good, or you said no |
| 2 | wrong usage |
| 3 | `verify`: the answer is wrong |
| 4 | `verify`: a float model's answer, for the committee to judge |
| 65 | bad input: shape, dtype, NaN, an amount or a name that is none |
| 66 | not found: model, version, request, wallet, a CID that nobody has |
| 69 | a server cannot be reached (RPC, IPFS, Redis, store) |
| 70 | a process that was started failed |
| 74 | a disk is full, read-only or broken, or a store on it is corrupt |
| 75 | try again later |
| 76 | bytes do not have the digest that the chain or the manifest promises |
| 77 | a contract refused; the message says why and what to do |
| 78 | configuration: settings, keystores, wrong chain |
| 130 | interrupted |
"""


def render() -> str:
    """Return the reference as Markdown."""
    parts = [_HEAD]
    for path, command in _walk(build(), ("tallystick",)):
        title = " ".join(path)
        context = command.context_class(command, info_name=title, terminal_width=WIDTH)
        context.max_content_width = WIDTH
        level = "##" if len(path) <= 2 else "###"
        parts.append(f"{level} {title}\n\n```\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, (*path, name))


def main() -> None:
    """Write the file named on the command line, or stdout."""
    text = render()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
