"""What is refused before a version is fetched, let alone converted."""

import pytest

from oracle.errors import InputInvalid, NotFound
from oracle.services.model_files import exporting


def export(out):
    """Ask nobody: without a network, anything that is fetched fails the test."""
    nobody = None
    exporting.export(nobody, nobody, "1@1", to="onnx", out=out, progress=nobody)


def test_export__file_that_is_there__is_kept(tmp_path):
    (tmp_path / "m.onnx").write_text("mine")
    with pytest.raises(InputInvalid, match="already"):
        export(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_text() == "mine"


def test_export__no_folder_for_the_file__is_not_found(tmp_path):
    with pytest.raises(NotFound, match="there is no folder") as caught:
        export(tmp_path / "none" / "m.onnx")
    assert "mkdir" in caught.value.hint
