"""Every field of model.json stands in docs/publishing.md, with what is right and what is not."""

import json
import re
from dataclasses import fields

import pytest

from oracle.errors import InputInvalid
from oracle.protocol.manifest import Manifest
from oracle.services import folders
from tests.docs.pages import ROOT

ROW = re.compile(r"^\| `(\w+)` \| `(\".+?)` \| `(\".+?)` \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "publishing.md").read_text())
FILES = ("model.onnx", "model.pt2", "model.safetensors", "tokenizer.json")
BASE = {
    "name": "wine",
    "runtime": {"format": "onnx", "entry": "model.onnx"},
    "inputs": [{"name": "measurements", "dtype": "F32", "shape": [None, 13]}],
    "outputs": [{"name": "scores", "dtype": "F32", "shape": [None, 3]}],
}


@pytest.fixture
def read(tmp_path):
    """Read a folder whose model.json has one field as the page writes it."""
    for name in FILES:
        (tmp_path / name).write_bytes(b"weights")

    def reading(fragment):
        body = {**BASE, **json.loads(f"{{{fragment}}}")}
        (tmp_path / "model.json").write_text(json.dumps(body))
        return folders.read(tmp_path, lambda *_: None)

    return reading


def test_publishing__fields_of_a_manifest__all_stand_there():
    assert {field for field, *_ in ROWS} == {field.name for field in fields(Manifest)}


@pytest.mark.parametrize(("field", "right", "wrong", "said"), ROWS)
def test_publishing__field__is_read_and_refused_as_the_page_says(read, field, right, wrong, said):
    assert right.startswith(f'"{field}": ')
    read(right)
    with pytest.raises(InputInvalid) as caught:
        read(wrong)
    assert said in str(caught.value)
