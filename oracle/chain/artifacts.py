"""The generated ABIs and bytecode of the contracts, written by scripts/compile.py.

Knows nothing of how they were compiled; a test checks that they are current.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from oracle.errors import NotFound


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract; interfaces have empty bytecode."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes  # of creation, without constructor arguments


@cache
def load(name: str) -> Artifact:
    """Read `<name>.json`.

    Raises:
        NotFound: no contract of that name was compiled.
    """
    path = files("oracle.chain") / "abi" / f"{name}.json"
    if not path.is_file():
        raise NotFound(
            f"no artifact of a contract {name!r}", hint="run `python scripts/compile.py`"
        )
    body = json.loads(path.read_text(encoding="utf-8"))
    return Artifact(name, body["abi"], bytes.fromhex(body["bytecode"].removeprefix("0x")))


def names() -> list[str]:
    """Return the names of all compiled contracts, sorted."""
    folder = files("oracle.chain") / "abi"
    found = (path.name for path in folder.iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))
