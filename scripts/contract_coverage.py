"""Print the branch coverage of our own contracts, from their tests in this process.

A branch is a way out of a condition, true or false: of an `if`, also in assembly, of `? :`, of
`require`, and of each operand of `&&` and `||`. What an `assert` excludes is no branch, nor are the
compiler's own checks. What several contracts inherit or call counts once.

Each condition is wrapped before the contracts are compiled: then it looks at an account whose
address says which condition it is, and which way. The EVM remembers every account that it loaded,
also when the call reverts or may not write. Looking costs gas: tests that bound it are left out.

What is not reached is in tests/contracts/unreached.json with the reason; exit 1 below 95 %, when
one is not there, or when a test fails.
"""

import functools
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compile as solidity
import pyrevm
import solcx
from mutants import SKIPPED, Finder, Node, run_tests, span

from oracle.chain import artifacts

ROOT = Path(__file__).resolve().parent.parent
REASONS = ROOT / "tests" / "contracts" / "unreached.json"
ENOUGH = 0.95
BOUNDED = (  # by gas
    "tests/contracts/valuation_game/test_limits.py",
    "tests/contracts/payment_channels/test_claim.py::"
    "test_void__each_row__costs_no_more_gas_than_its_claim",
)
FIRST = 0xC0DE << 64  # an address; no test has accounts there
CODE_BYTES = 2**20  # EIP-170 allows less than wrapped contracts have
WRAPPER = "contracts/Reached.sol"
# Both are called when the condition is evaluated: in places the stack is full before that
WRAPPER_TEXT = """pragma solidity 0.8.30;
function yes(uint256 condition) view returns (bool) {
    assembly ("memory-safe") { extcodecopy(add(condition, 1), 0, 0, 0) }
    return true;
}
function no(uint256 condition) view returns (bool) {
    assembly ("memory-safe") { extcodecopy(condition, 0, 0, 0) }
    return false;
}"""


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression with two ways out."""

    path: str
    line: int
    where: str  # contract.function
    text: str

    def key(self, way: int) -> str:
        """Name a way out of it, in a manner that other edits of the file do not change."""
        return f"{self.where}: {self.text} | never {'true' if way else 'false'}"


class Wrapper(Finder):
    """Walks a file's syntax tree and wraps its conditions."""

    def __init__(self, path: str, text: str, conditions: list[Condition]) -> None:
        super().__init__(path, text)
        self.conditions = conditions  # of all files: the place is the number
        self.known: set[tuple[int, int]] = set()
        self.inserted: list[tuple[int, int, str]] = []  # where, rank at the same place, what

    def walk(self, node: Any, name: str = "") -> None:
        """Visit a node and what is below it."""
        if not (isinstance(node, dict) and _called(node) == "assert"):
            super().walk(node, name)

    def _change(self, kind: str, node: Node) -> None:
        match kind:
            case "IfStatement" | "Conditional":
                self._wrap(node["condition"])
            case "BinaryOperation" if node["operator"] in ("&&", "||"):
                self._wrap(node)
            case "FunctionCall" if _called(node) == "require":
                self._wrap(node["arguments"][0])
            case "YulIf":
                start, end = span(node["condition"])
                holds = f"iszero(iszero({self._text(start, end)}))"
                looks = f"extcodecopy(add({self._number(start, end)}, {holds}), 0, 0, 0) "
                self.inserted.append((span(node)[0], 0, looks))

    def _wrap(self, node: Node) -> None:
        start, end = span(node)
        match node["nodeType"], node.get("operator"):
            case "BinaryOperation", "&&" | "||":
                self._wrap(node["leftExpression"])
                self._wrap(node["rightExpression"])
            case "TupleExpression", _:
                self._wrap(node["components"][0])
            case "UnaryOperation", "!":
                self._wrap(node["subExpression"])
            case _ if (start, end) not in self.known:
                self.known.add((start, end))
                number = self._number(start, end)
                self.inserted.append((start, -end, "(("))
                self.inserted.append((end, -start, f") && yes({number}) || no({number}))"))

    def _number(self, start: int, end: int) -> int:
        line = self.data[:start].count(b"\n") + 1
        text = " ".join(self._text(start, end).split())
        self.conditions.append(Condition(self.path, line, self.where, text))
        return FIRST + 2 * (len(self.conditions) - 1)

    def wrapped(self) -> str:
        """Return the file with its conditions wrapped; to look at an account is not pure."""
        data = self.data
        for at, _, text in sorted(self.inserted, reverse=True):
            data = data[:at] + text.encode() + data[at:]
        return data.decode().replace(" pure", " view") + f'import {{yes, no}} from "{WRAPPER}";\n'


def _called(node: Node) -> str:
    """Return the name of what a node calls, empty for all that is no call by name."""
    called = node.get("nodeType") == "FunctionCall" and node["expression"].get("name")
    return str(called or "")


def build() -> tuple[list[Condition], dict[str, bytes]]:
    """Compile the contracts with all conditions wrapped; return these, and bytecode by name."""
    trees = solidity.compile_contracts()["sources"]
    conditions: list[Condition] = []
    texts = {WRAPPER: WRAPPER_TEXT}
    for path, text in solidity.sources().items():
        wrapper = Wrapper(path, text, conditions)
        if not path.startswith(SKIPPED):
            wrapper.walk(trees[path]["ast"])
        texts[path] = wrapper.wrapped()
    request = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in texts.items()},
        "settings": solidity.SETTINGS | {"outputSelection": {"*": {"*": ["evm.bytecode.object"]}}},
    }
    output = solcx.compile_standard(request, solc_binary=solidity.compiler(), base_path=ROOT)
    return conditions, {
        name: bytes.fromhex(contract["evm"]["bytecode"]["object"])
        for path, contracts in output["contracts"].items()
        if path.startswith("contracts/")
        for name, contract in contracts.items()
    }


def reached(code: dict[str, bytes], arguments: list[str]) -> set[int]:
    """Run the contract tests on this bytecode; return the addresses that were looked at."""
    genuine, evm, settings = artifacts.load, pyrevm.EVM, pyrevm.CfgEnv
    machines = []

    def load(name: str) -> artifacts.Artifact:
        found = genuine(name)
        return artifacts.Artifact(name, found.abi, code[name] if found.bytecode else b"")

    def machine(*arguments: Any, **named: Any) -> Any:
        machines.append(evm(*arguments, **named))
        return machines[-1]

    artifacts.load = load  # type: ignore[assignment]
    pyrevm.EVM = machine
    pyrevm.CfgEnv = functools.partial(settings, limit_contract_code_size=CODE_BYTES)
    if status := run_tests(
        "--hypothesis-seed=0", *(f"--deselect={one}" for one in BOUNDED), *arguments
    ):
        sys.exit(f"the tests ended with {status}")
    return {int(address, 16) for one in machines for address in one.db_accounts}


def report(conditions: list[Condition], found: set[int]) -> int:
    """Print the share by contract and the ways that nobody went; return the exit status."""
    reasons: dict[str, str] = json.loads(REASONS.read_text())
    ways: dict[str, list[bool]] = defaultdict(list)
    missed = {}
    for number, condition in enumerate(conditions):
        for way in (0, 1):
            went = FIRST + 2 * number + way in found
            ways[condition.path].append(went)
            if not went:
                missed[condition.key(way)] = f"{condition.path}:{condition.line}"
    for path, each in sorted(ways.items()):
        print(f"{sum(each):5} of {len(each):4}  {sum(each) / len(each):6.1%}  {path}")
    for key, place in missed.items():
        print(f"{place}: {key}\n  {reasons.get(key, f'no reason in {REASONS.name}')}")
    every = [went for each in ways.values() for went in each]
    print(f"{sum(every)} of {len(every)} branches: {sum(every) / len(every):.1%}")
    return int(sum(every) / len(every) < ENOUGH or reasons.keys() != missed.keys())


def main() -> int:
    """Wrap, run, report; arguments go to pytest."""
    conditions, code = build()
    return report(conditions, reached(code, sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
