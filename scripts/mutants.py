"""Change the contracts one place at a time and see whether a test fails.

    python scripts/mutants.py                        240 mutants, the same ones every time
    python scripts/mutants.py --sample 0 --only Committee     every mutant of one file
    python scripts/mutants.py --sample 0 --line block.timestamp      those of all such lines
    python scripts/mutants.py --sample 0 --where 'refusedAt|Channels.claim'   of such functions
    python scripts/mutants.py --tests tests/contracts/payment_channels    by some tests first
    python scripts/mutants.py --list                 what would be tried

A mutant flips a comparison, an arithmetic operator or a boolean one, leaves out a guard, a
statement, a modifier or one side of a condition, swaps the arms of `? :`, or adds one to a number.
It is compiled as the contracts are, and the contract tests run on it in this process, on an EVM in
memory. It is killed when one fails. What survives is in tests/contracts/survivors.json with the
reason; exit 1 when fewer than 95 % are killed or a survivor has no reason there. Mutants that do
not compile are not counted. build/mutants.jsonl keeps the outcomes: a run that was stopped goes on,
and after a change of the tests only survivors are tried again. Without that file all are.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compile as solidity
import pytest
import solcx
from rich.progress import Progress
from solcx.exceptions import SolcError

from oracle.chain import artifacts

ROOT = Path(__file__).resolve().parent.parent
OUTCOMES = ROOT / "build" / "mutants.jsonl"
OUTPUT = ROOT / "build" / "mutants"  # a log per process: of its last run of the tests
TESTS = ("tests/contracts", "tests/exact_evm")
REASONS = ROOT / "tests" / "contracts" / "survivors.json"
SAMPLE = 240
ENOUGH = 0.95
SKIPPED = ("contracts/mocks/", "contracts/interfaces/")
FLIPS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&",
    "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "+=": "-=", "-=": "+=", "<<": ">>",
    ">>": "<<",
}  # fmt: skip
Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file. `start` and `end` are byte offsets."""

    path: str
    where: str  # contract.function
    start: int
    end: int
    old: str
    new: str
    around: str  # the source line, for people, and to know the mutant again

    @property
    def key(self) -> str:
        """Name it in a way that other edits of the file do not change."""
        return f"{self.where}: {self.around} | {self.old} → {self.new or 'nothing'}"

    def apply(self, text: str) -> str:
        """Return the file with the change."""
        data = text.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()


class Finder:
    """Walks a file's syntax tree and finds what can be changed."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.data, self.where = path, text.encode(), ""
        self.found: dict[tuple[int, int, str], Mutant] = {}

    def walk(self, node: Any, name: str = "") -> None:
        """Visit a node and what is below it."""
        if isinstance(node, list):
            for one in node:
                self.walk(one, name)
        elif isinstance(node, dict):
            kind = node.get("nodeType", "")
            if kind in ("ContractDefinition", "FunctionDefinition", "ModifierDefinition"):
                name = f"{name}.{node['name'] or node.get('kind', '')}".strip(".")
            self.where = name
            self._change(kind, node)
            for child in node.values():
                if isinstance(child, dict | list):
                    self.walk(child, name)

    def _change(self, kind: str, node: Node) -> None:
        match kind:
            case "BinaryOperation":
                left, right = span(node["leftExpression"]), span(node["rightExpression"])
                self._flip(left[1], right[0], node["operator"])
                if node["operator"] in ("&&", "||"):
                    for side in (left, right):
                        self._replace(*span(node), self._text(*side))
            case "Assignment":
                left, right = span(node["leftHandSide"]), span(node["rightHandSide"])
                self._flip(left[1], right[0], node["operator"])
            case "IfStatement":
                self._replace(*span(node["condition"]), "false")
            case "Conditional":
                yes, no = span(node["trueExpression"]), span(node["falseExpression"])
                between = self._text(yes[1], no[0])
                self._replace(yes[0], no[1], self._text(*no) + between + self._text(*yes))
            case "Literal":
                start, end = span(node)
                if re.fullmatch(r"[\d_]+", text := self._text(start, end)):
                    self._replace(start, end, str(int(text.replace("_", "")) + 1))
            case "ExpressionStatement":
                called = node["expression"].get("expression", {}).get("name")
                if called not in ("revert", "require", "assert"):
                    self._leave_out(node)
            case "EmitStatement":
                self._leave_out(node)
            case "ModifierInvocation" if node.get("kind") == "modifierInvocation":
                self._replace(*span(node), "")

    def _leave_out(self, node: Node) -> None:
        start, end = span(node)
        self._replace(start, self.data.index(b";", end) + 1, "{}")

    def _flip(self, start: int, end: int, operator: str) -> None:
        if new := FLIPS.get(operator):
            at = self.data.index(operator.encode(), start, end)
            self._replace(at, at + len(operator), new)

    def _replace(self, start: int, end: int, new: str) -> None:
        old = self._text(start, end)
        line = self.data[self.data.rindex(b"\n", 0, start) + 1 : self.data.index(b"\n", start)]
        mutant = Mutant(
            self.path, self.where, start, end, " ".join(old.split()), new, line.decode().strip()
        )
        self.found[start, end, new] = mutant

    def _text(self, start: int, end: int) -> str:
        return self.data[start:end].decode()


def span(node: Node) -> tuple[int, int]:
    """Return the byte offsets of a node's source."""
    start, length, _ = map(int, node["src"].split(":"))
    return start, start + length


def mutants(trees: dict[str, Node], only: str, line: str, where: str) -> list[Mutant]:
    """Return all mutants of the contracts, bases and libraries, on lines with some text, in
    functions of some names."""
    every: list[Mutant] = []
    for path, text in solidity.sources().items():
        if not path.startswith(SKIPPED) and only in path:
            finder = Finder(path, text)
            finder.walk(trees[path]["ast"])
            every += finder.found.values()
    return [one for one in every if line in one.around and re.search(where, one.where)]


def sample(every: list[Mutant], size: int) -> list[Mutant]:
    """Choose by digest: the choice stays when code elsewhere changes."""
    drawn = sorted(every, key=lambda mutant: hashlib.sha256(mutant.key.encode()).digest())
    return drawn[: size or None]


def users(output: dict[str, Any], changed: str) -> dict[str, list[str]]:
    """Return the contracts whose code a file is part of: path → names."""
    imports = {
        path: {n["absolutePath"] for n in tree["ast"]["nodes"] if "absolutePath" in n}
        for path, tree in output["sources"].items()
    }
    reached, before = {changed}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {path for path, named in imports.items() if named & reached}
    own = {path for path in reached if re.fullmatch(r"contracts/\w+\.sol", path)}
    return {path: list(output["contracts"][path]) for path in own}


def build(mutant: Mutant, affected: dict[str, list[str]]) -> dict[str, bytes] | None:
    """Compile the contracts that a mutant changes: name → bytecode, None when it is no Solidity."""
    texts = solidity.sources()
    texts[mutant.path] = mutant.apply(texts[mutant.path])
    wanted = {path: {name: ["evm.bytecode.object"] for name in affected[path]} for path in affected}
    request = {
        "language": "Solidity",
        "sources": {path: {"content": text} for path, text in texts.items()},
        "settings": solidity.SETTINGS | {"outputSelection": wanted},
    }
    try:
        output = solcx.compile_standard(request, solc_binary=solidity.compiler(), base_path=ROOT)
    except SolcError:
        return None
    return {
        name: bytes.fromhex(output["contracts"][path][name]["evm"]["bytecode"]["object"])
        for path, names in affected.items()
        for name in names
    }


class Order:
    """Puts the tests that a mutant most likely fails first, state machines last."""

    def __init__(self, names: list[str]) -> None:
        self.folders = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in names}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort what tests/conftest.py has put in its own order."""
        items.sort(key=lambda i: ("machine" in i.path.name, i.path.parent.name not in self.folders))


def survives(code: dict[str, bytes], tests: Sequence[str]) -> bool:
    """Run contract tests on changed bytecode in a child process; tell whether all pass."""
    log = OUTPUT / f"{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"pytest ended with {status}: see {log}")
        return status == pytest.ExitCode.OK
    genuine = artifacts.load

    def load(name: str) -> artifacts.Artifact:
        found = genuine(name)
        return artifacts.Artifact(name, found.abi, code.get(name, found.bytecode))

    artifacts.load = load  # type: ignore[assignment]
    with log.open("wb") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os._exit(int(run_tests("-x", "--hypothesis-seed=0", tests=tests, plugins=[Order(list(code))])))


def run_tests(*arguments: str, tests: Sequence[str], plugins: list[object] | None = None) -> int:
    """Run contract tests in this process; return pytest's exit status."""
    always = ("-q", "-p", "no:pytest-brownie", "-p", "no:cacheprovider")
    return int(pytest.main([*always, *arguments, *tests], plugins=plugins))


def attempt(mutant: Mutant, affected: dict[str, list[str]], tests: Sequence[str]) -> str:
    """Say what became of a mutant: killed, survived, or no Solidity."""
    code = build(mutant, affected)
    if code is None:
        return "invalid"
    return "survived" if survives(code, tests) else "killed"


def outcomes(contracts: str, tests: str) -> dict[str, str]:
    """Read what earlier runs found on these contracts; survivors of other tests are left out."""
    lines = OUTCOMES.read_text().splitlines() if OUTCOMES.exists() else []
    if not lines or json.loads(lines[0]) != contracts:
        OUTCOMES.parent.mkdir(exist_ok=True)
        OUTCOMES.write_text(json.dumps(contracts) + "\n")
        return {}
    found = {key: (outcome, on) for key, outcome, on in map(json.loads, lines[1:])}
    return {
        key: outcome for key, (outcome, on) in found.items() if outcome != "survived" or on == tests
    }


def digest(texts: Iterable[str]) -> str:
    """Name a version of the contracts or of the tests."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def run(
    chosen: list[Mutant], output: dict[str, Any], jobs: int, folders: Sequence[str]
) -> dict[str, str]:
    """Try all mutants that have no outcome yet; return all outcomes by key."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    tests = digest(path.read_text() for path in paths)
    known = outcomes(digest(solidity.sources().values()), tests)
    left = [mutant for mutant in chosen if mutant.key not in known]
    fork = multiprocessing.get_context("fork")
    with (
        OUTCOMES.open("a") as file,
        Progress() as progress,
        ProcessPoolExecutor(jobs, mp_context=fork) as pool,
    ):
        task = progress.add_task("mutants", total=len(chosen), completed=len(chosen) - len(left))
        tried = {pool.submit(attempt, one, users(output, one.path), folders): one for one in left}
        for done in as_completed(tried):
            known[tried[done].key] = done.result()
            file.write(json.dumps([tried[done].key, done.result(), tests]) + "\n")
            file.flush()
            progress.advance(task)
    return {mutant.key: known[mutant.key] for mutant in chosen}


def report(found: dict[str, str]) -> int:
    """Print the share of killed mutants and who survived; return the exit status."""
    reasons: dict[str, str] = json.loads(REASONS.read_text())
    survivors = sorted(key for key, outcome in found.items() if outcome == "survived")
    valid = [outcome for outcome in found.values() if outcome != "invalid"]
    share = valid.count("killed") / len(valid)
    for key in survivors:
        print(
            f"survived: {key}\n  {reasons.get(key, 'no reason in tests/contracts/survivors.json')}"
        )
    print(f"{valid.count('killed')} of {len(valid)} mutants killed ({share:.1%})")
    return int(share < ENOUGH or not reasons.keys() >= set(survivors))


def main() -> int:
    """Find, choose, try, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=SAMPLE, help="how many; 0 is all")
    parser.add_argument("--only", default="", help="part of the paths of the files to change")
    parser.add_argument("--line", default="", help="part of the source lines to change")
    parser.add_argument("--where", default="", help="which CONTRACT.FUNCTION to change: a pattern")
    parser.add_argument(
        "--tests", nargs="+", default=TESTS, help="folders of tests; all by default"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--list", action="store_true", help="only print them")
    chosen = parser.parse_args()
    output = solidity.compile_contracts()
    found = mutants(output["sources"], chosen.only, chosen.line, chosen.where)
    drawn = sample(found, chosen.sample)
    if chosen.list:
        print("\n".join(mutant.key for mutant in drawn))
        return 0
    with redirect_stdout(io.StringIO()):
        # imports the tests once, for all processes to come
        run_tests("--collect-only", tests=chosen.tests)
    if not survives({}, chosen.tests):
        sys.exit(f"the tests fail on the contracts as they are: see {OUTPUT}")
    return report(run(drawn, output, chosen.jobs, chosen.tests))


if __name__ == "__main__":
    sys.exit(main())
