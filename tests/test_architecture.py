"""Which way imports go, and what modules may not do: read from the source, nothing is imported.

```
worker.endpoint ─► worker, oracle.{api, services}
worker ─► oracle.{operator, queue, exact, training, valuation, chain, ipfs, store, protocol, …}
tallystick, oracle.{cli, api, web, demo} ─► {agents, gateway, devnet} ─► services
         ─► {operator, scheduling} ─► queue
         ─► {chain, ipfs, store} ─► {exact, training, valuation} ─► protocol ─► {types, errors}
```
A package may import itself and what is below it; siblings know each other by ports alone. No
modules import each other in a circle, and no two classes share a name (but `SAME_NAME`).
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for package in ("oracle", "tallystick", "worker")
    for path in (ROOT / package).rglob("*.py")
    if "__pycache__" not in path.parts
)


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PORTS = words("oracle.chain oracle.ipfs oracle.store")  # to the outside
# Lowest first. A module not named here (a new one) fails the test until it is given its place.
LAYERS = (
    words(
        "oracle.types oracle.errors oracle.grouping oracle.patience oracle.ports oracle.rate_limit"
        " oracle.whole_file oracle.private_files"
    ),
    words(
        "oracle.config oracle.logs oracle.merkle oracle.metrics oracle.origins oracle.protocol"
        " oracle.stopping"
    ),
    words("oracle.exact oracle.training oracle.valuation"),
    PORTS,
    words("oracle.queue"),
    words("oracle.operator oracle.scheduling"),
    words("oracle.services"),
    words("oracle.agents oracle.gateway oracle.devnet"),
    words("oracle.cli oracle.api oracle.web oracle.demo tallystick"),
)
# Siblings of one layer that may know each other: by a port or by pure data.
SIBLINGS = frozenset(
    {
        ("oracle.store", "oracle.chain.outbox"),  # implements the sender's port
        ("oracle.store", "oracle.chain.contract"),  # the `Call` of that port
    }
)
WORKER_MAY = words(
    "oracle.operator oracle.queue oracle.exact oracle.training oracle.valuation oracle.chain "
    "oracle.ipfs oracle.store oracle.protocol oracle.config oracle.types oracle.errors oracle.logs "
    "oracle.metrics oracle.merkle oracle.origins oracle.whole_file oracle.private_files "
    "oracle.rate_limit"
)
# It answers over HTTP, is paid, and signs: the one place where models meet services and a key
ENDPOINT_MAY = WORKER_MAY | words("oracle.api oracle.services")
# Class names that stand for two things, each with its reason.
SAME_NAME = {
    "Eip712Domain": "generated with the bindings of each contract that checks signatures",
    "Receipt": "of a transaction, as Ethereum says; of an answer, as DisputeGame says",
}
FILES_IN_FOLDER = 36  # modules of one folder: past that a stranger no longer finds one by its name
HEAVY = words("torch onnxruntime onnx transformers sklearn tensorflow")
FORBIDDEN_IN_PROTOCOL = words(
    "socket ssl http urllib requests httpx aiohttp subprocess os shutil tempfile time datetime "
    "random secrets threading asyncio multiprocessing sqlite3 sqlalchemy redis celery logging "
    "structlog"
)
IMPURE_CALLS = words("open print input exec eval __import__ breakpoint")
IMPURE_METHODS = words(
    "open read_text read_bytes write_text write_bytes exists mkdir unlink iterdir glob stat"
)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module or name in it) of every import, also inside functions."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def unit_of(module: str) -> str | None:
    """Return what the layers speak of: the first two parts of a module, or `tallystick`."""
    parts = module.split(".")
    if parts[0] == "tallystick":
        return "tallystick"
    return ".".join(parts[:2]) if parts[0] in ("oracle", "worker") and len(parts) > 1 else None


def layer_of(unit: str) -> int | None:
    return next((level for level, units in enumerate(LAYERS) if unit in units), None)


def complaint(path: Path, line: int, imported: str) -> str | None:
    """Say what is wrong with an import of one of our modules, or nothing."""
    unit, target = unit_of(module_of(path)), unit_of(imported)
    if target is None or unit == target or unit is None:
        return None
    where = f"{path.relative_to(ROOT)}:{line} imports {imported}"
    if module_of(path).startswith("worker"):
        may = ENDPOINT_MAY if unit == "worker.endpoint" else WORKER_MAY
        fine = target.startswith("worker") or target in may
        return None if fine else f"{where}: {unit} may import {sorted(may)}"
    if target.startswith("worker"):
        return f"{where}: oracle enqueues by task name, it never imports worker"
    own, other = layer_of(unit), layer_of(target)
    if own is None or other is None:
        return f"{where}: give {unit if own is None else target} its place in LAYERS"
    if other > own:
        return f"{where}: it lies above {unit}"
    port = ".".join(imported.split(".")[:3])
    if other == own and {unit, target} <= PORTS and (unit, port) not in SIBLINGS:
        return f"{where}: siblings know each other by ports alone (SIBLINGS)"
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports__of_a_module__go_downwards(path: Path) -> None:
    found = [complaint(path, line, name) for line, name in imports_of(path)]

    assert [text for text in found if text] == []


def graph_of(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return which of these modules each one imports, also inside functions."""
    modules = {module_of(path): path for path in files}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        graph[module] = set()
        for _, imported in imports_of(path):
            target = imported  # a module, or a name in one
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target not in ("", module) and modules[target].read_text().strip():
                graph[module].add(target)
    return graph


def circle_in(graph: Mapping[str, Iterable[str]]) -> tuple[str, ...] | None:
    """Return modules that import each other in a circle; None when no module does."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return tuple(error.args[1])
    return None


def test_imports__of_all_modules__go_in_no_circle() -> None:
    assert circle_in(graph_of(FILES)) is None


def classes_of(files: Iterable[Path]) -> dict[str, list[str]]:
    """Return where each class name is defined, nested classes included."""
    found: dict[str, list[str]] = {}
    for path in files:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(f"{module_of(path)}:{node.lineno}")
    return found


def test_classes__of_all_modules__have_names_of_their_own() -> None:
    twice = {name: places for name, places in classes_of(FILES).items() if len(places) > 1}

    assert {name: places for name, places in twice.items() if name not in SAME_NAME} == {}
    assert set(SAME_NAME) - set(twice) == set(), "no longer defined twice: take it off the list"


def test_folders__of_all_modules__hold_few_files() -> None:
    held = Counter(path.parent for path in FILES)

    assert {str(folder): n for folder, n in held.items() if n > FILES_IN_FOLDER} == {}


def test_services__modules__are_use_cases_that_end() -> None:
    """What runs until it is stopped is an operator, an agent, a gateway or a network."""
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FILES
        if module_of(path).startswith("oracle.services")
        for line, name in imports_of(path)
        if name.split(".")[0] in ("signal", "asyncio") or name.startswith("oracle.stopping")
    ]

    assert found == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module__docstring__says_why_the_file_exists(path: Path) -> None:
    tree = tree_of(path)
    if not tree.body:
        assert path.name == "__init__.py"  # an empty one marks a package
        return
    assert ast.get_docstring(tree), "its first line says its one reason to exist"


def test_oracle__heavy_libraries__never_imported() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FILES
        if module_of(path).startswith("oracle")
        for line, name in imports_of(path)
        if name.split(".")[0] in HEAVY
    ]

    assert found == []


def impurities(path: Path) -> Iterator[str]:
    for line, name in imports_of(path):
        if name.split(".")[0] in FORBIDDEN_IN_PROTOCOL or name == "pathlib.Path":
            yield f"{path.name}:{line} imports {name}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in IMPURE_CALLS:
                yield f"{path.name}:{node.lineno} calls {function.id}"
            if isinstance(function, ast.Attribute) and function.attr in IMPURE_METHODS:
                yield f"{path.name}:{node.lineno} calls .{function.attr}"


def test_protocol__pure__no_files_sockets_clocks_or_chance() -> None:
    found = [text for path in FILES if "protocol" in path.parts for text in impurities(path)]

    assert found == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("oracle/protocol/x.py", "from oracle.store import Store"),
        ("oracle/protocol/x.py", "from ..chain import rpc"),
        ("oracle/chain/x.py", "def f():\n    import oracle.services.amounts"),
        ("oracle/chain/x.py", "from oracle.store import Store"),
        ("oracle/store/x.py", "from oracle import watcher"),
        ("oracle/services/x.py", "import worker.tasks.infer"),
        ("oracle/novelty/x.py", "from oracle import types"),
        ("worker/x.py", "from oracle.services import amounts"),
        ("worker/x.py", "import tallystick"),
        ("oracle/services/x.py", "from tallystick import connect"),
        ("tallystick/x.py", "import worker.models"),
    ],
)
def test_complaint__import_that_goes_up__is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(source)

    assert any(complaint(path, line, imported) for line, imported in imports_of(path))


def test_circle_in__modules_that_import_each_other__is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    paths = [tmp_path / "oracle" / "chain" / f"{name}.py" for name in "abc"]
    paths[0].parent.mkdir(parents=True)
    paths[0].write_text("from oracle.chain import b")
    paths[1].write_text("def late():\n    from oracle.chain.c import thing")
    paths[2].write_text("if TYPE_CHECKING:\n    from .a import thing")

    assert set(circle_in(graph_of(paths)) or ()) == {f"oracle.chain.{name}" for name in "abc"}
    assert circle_in(graph_of(paths[:2])) is None


def test_classes_of__one_name_in_two_files__is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    paths[0].write_text("class Node:\n    class Kind: ...")
    paths[1].write_text("def f():\n    class Node: ...")

    assert classes_of(paths) == {"Node": ["a:1", "b:2"], "Kind": ["a:2"]}


@pytest.mark.parametrize(
    "source",
    ["import socket", "from pathlib import Path", "open('x')", "x.read_bytes()", "import time"],
)
def test_impurities__input_or_output__is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "x.py"
    path.write_text(source)

    assert list(impurities(path))
