"""The package without a network: what importing it costs, what it exports, how inputs are read."""

import inspect
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import tallystick
from oracle.errors import InputInvalid
from tallystick.connection import _amount
from tallystick.given import source_of

ROOT = Path(__file__).parents[2]


def test_import__alone__imports_nothing_of_ours_and_no_library():
    code = "import sys; had = set(sys.modules); import tallystick; print(*set(sys.modules) - had)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert not packages & {"numpy", "web3", "requests", "httpx", "sqlalchemy", "celery", "typer"}
    assert "oracle" not in packages


def test_all__every_name__is_there_and_typed():
    for name in tallystick.__all__:
        assert getattr(tallystick, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        tallystick.nothing  # noqa: B018
    assert (ROOT / "tallystick" / "py.typed").exists()


def test_errors__every_one__is_in_the_hierarchy():
    for name in tallystick.errors.__all__:
        assert issubclass(getattr(tallystick.errors, name), tallystick.errors.TallystickError)


@pytest.mark.parametrize(
    ("given", "source", "content"),
    [
        ("a cat", ["a cat"], b""),
        (["a cat", "a dog"], ["a cat", "a dog"], b""),
        (b"\x93NUMPY", "-", b"\x93NUMPY"),
        (Path("/a/b.png"), "/a/b.png", b""),
        ({"x": [1]}, {"x": [1]}, b""),
    ],
)
def test_source__each_kind__as_the_services_take_it(given, source, content):
    assert source_of(given) == (source, content)


def test_source__array__is_not_copied():
    array = np.zeros((2, 2))
    assert source_of(array)[0] is array


@pytest.mark.parametrize(
    ("given", "units"),
    [("0.05", 50_000), (2, 2_000_000), (Decimal("1E-6"), 1), (Decimal("0.10"), 100_000)],
)
def test_amount__dollars__are_exact(given, units):
    assert _amount(given) == units
    assert tallystick.dollars(units) == Decimal(str(given))


def test_amount__too_fine__is_refused():
    with pytest.raises(tallystick.errors.InputInvalid):
        _amount("0.0000001")


def test_value__of_several_outputs__is_an_error_of_ours_that_names_them():
    fields = dict.fromkeys(inspect.signature(tallystick.Answer).parameters)
    answer = tallystick.Answer(**{**fields, "outputs": {"scores": None, "boxes": None}})
    with pytest.raises(tallystick.errors.TallystickError, match="2 outputs: scores, boxes"):
        answer.value  # noqa: B018


@pytest.mark.parametrize("top", [0, 101])
def test_search__more_or_fewer_passages_than_can_be__refused_before_it_is_paid(top):
    nobody = object.__new__(tallystick.Connection)  # it has no network to ask or pay
    with pytest.raises(InputInvalid, match="passages"):
        nobody.search("index", "question", model=1, top=top)
