"""Every door that a file of another library comes in by: none opens it in an unconfined process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import skops.io
from sklearn.datasets import load_wine
from sklearn.tree import DecisionTreeClassifier

ROOT = Path(__file__).parents[3]
# A loader that does what a hostile file would make it do
HOSTILE = """
import os, sys
from pathlib import Path
from worker.exact import __main__ as compiler
from worker.exact.trees import importer

def read(path, missing):
    for reach in (lambda: Path({private!r}).read_text(), os.fork, lambda: os.remove(path)):
        try:
            reach()
        except PermissionError:
            print("refused", flush=True)
    return library(path, missing)

library, importer.read = importer.read, read
sys.exit(compiler.main([{source!r}, {out!r}]))
"""
DESCRIBED = """
import json, sys
from pathlib import Path
from worker.describe import describe
said = describe(Path({source!r}))
print(json.dumps([said["runtime"]["format"], "skops" in sys.modules, "sklearn" in sys.modules]))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rows, labels = load_wine(return_X_y=True)
    (tmp_path / "owner").mkdir()
    path = tmp_path / "owner" / "tree.skops"
    skops.io.dump(DecisionTreeClassifier(max_depth=3).fit(rows, labels), path)
    return path


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_exact__loader_that_reaches_out__may_not_and_the_program_is_written(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "private").write_text("a key")
    out = tmp_path / "out"
    done = run(HOSTILE.format(private=str(tmp_path / "private"), source=str(tree), out=str(out)))
    assert (done.returncode, done.stdout.count("refused")) == (0, 3), done.stderr
    assert json.loads((out / "model.json").read_text())["runtime"]["format"] == "exact"
    assert tree.exists()


def test_describe__file_of_trees__its_library_never_comes_here(tree: Path) -> None:
    done = run(DESCRIBED.format(source=str(tree)))
    assert json.loads(done.stdout) == ["scikit-learn", False, False], done.stderr
