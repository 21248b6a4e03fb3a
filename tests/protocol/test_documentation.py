"""docs/protocol.md says what the code does: its example runs, its words are the code's."""

import re
from pathlib import Path

import pytest

from oracle.protocol import eip712, files, records, tensor

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text()


def test_documentation__python_example__runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

    exec(compile(example, "docs/protocol.md", "exec"), {})


@pytest.mark.parametrize(
    "words",
    [
        records.ORDER_TYPE,
        eip712._AUTHORIZATION,
        eip712._PERMIT,
        eip712._TRANSFER,
        " ".join(tensor.DTYPES),
        " ".join(files.SUFFIXES),
        " ".join(files.WEIGHT_SUFFIXES),
    ],
)
def test_documentation__types_and_kinds__are_those_of_the_code(words: str) -> None:
    assert words in re.sub(r",\n +", ",", TEXT)  # long types are broken after commas


def test_documentation__vectors__are_all_listed() -> None:
    for path in (ROOT / "tests" / "vectors").glob("*.json"):
        assert f"`{path.name}`" in TEXT


def test_order_type__contracts__hash_the_same_words() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "contracts").rglob("*.sol"))

    assert f'"{records.ORDER_TYPE}"' in sources
    assert f'"{eip712._AUTHORIZATION}{records.ORDER_TYPE}"' in sources
