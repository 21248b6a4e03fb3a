"""From an original to a folder that can be published: names, digests, what the owner wrote."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.datasets import load_wine
from sklearn.naive_bayes import GaussianNB

from oracle import origins
from oracle.errors import DigestMismatch, InputInvalid
from oracle.services import folders
from worker import describe
from worker.importing import converting
from worker.importing.converted import Converted

COLUMNS = [name.replace("/", " of ") for name in load_wine().feature_names]


@pytest.fixture
def booster(tmp_path: Path) -> Path:
    """A file of XGBoost that knows the names of its columns."""
    rows, labels = load_wine(return_X_y=True)
    data = xgboost.DMatrix(rows, labels, feature_names=COLUMNS)
    options = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    xgboost.train(options, data, 4).save_model(tmp_path / "wine.ubj")
    return tmp_path / "wine.ubj"


def written(path: Path, **changes: Any) -> dict[str, Any]:
    """Write model.json beside a file, as `model init` does."""
    body = {"name": "cultivars", **describe.describe(path), "files": [path.name], **changes}
    (path.parent / "model.json").write_text(json.dumps(body))
    return body


def test_build__file_alone__is_a_folder_that_names_its_origin(booster: Path) -> None:
    out = booster.parent / "wine-onnx"
    report = converting.build(booster, out)

    draft = folders.read(out, lambda *_: None)
    assert (draft.name, draft.runtime.format) == ("wine", "onnx")
    assert [feature.name for feature in draft.features] == COLUMNS
    assert draft.labels == ("0", "1", "2")
    assert draft.origin is not None
    assert (draft.origin.format, draft.origin.version) == ("xgboost", report["version"])
    assert draft.origin.sha256 == origins.digest(booster)
    assert report["rows"] > 0
    assert report["difference"] <= 1e-5


def test_build__model_json_beside_it__keeps_what_the_owner_wrote(booster: Path) -> None:
    written(booster, license="MIT", labels=["Barolo", "Grignolino", "Barbera"])
    converting.build(booster.parent, booster.parent / "out")
    draft = folders.read(booster.parent / "out", lambda *_: None)
    assert (draft.name, draft.license) == ("cultivars", "MIT")
    assert draft.labels == ("Barolo", "Grignolino", "Barbera")


def test_build__original_changed_since_init__says_both_digests(booster: Path) -> None:
    written(booster)
    booster.write_bytes(booster.read_bytes() + b" ")
    with pytest.raises(DigestMismatch, match=r"hashes to .*, model.json says") as caught:
        converting.build(booster.parent, booster.parent / "out")
    assert "model init" in caught.value.hint
    assert not (booster.parent / "out").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": ["red", "white"]}, "2 labels, the file 3 classes"),
        ({"features": [{"name": name} for name in reversed(COLUMNS)]}, "another order"),
    ],
)
def test_words__what_does_not_fit_the_original__says_the_right_order(
    changes: dict[str, Any], says: str
) -> None:
    made = Converted(b"", "xgboost 3.2.0", labels=("0", "1", "2"), columns=tuple(COLUMNS))
    with pytest.raises(InputInvalid, match=says) as caught:
        converting.words(made, changes)
    assert "in the order of the file's" in caught.value.hint


def test_build__missing_of_a_library_without__refused(tmp_path: Path) -> None:
    rows, labels = load_wine(return_X_y=True)
    skops.io.dump(GaussianNB().fit(rows, labels), tmp_path / "bayes.skops")
    with pytest.raises(InputInvalid, match="no missing="):
        converting.build(tmp_path / "bayes.skops", tmp_path / "out", missing=0.0)


def test_describe__skops_that_is_no_tree__is_described_as_it_will_be_served(tmp_path: Path) -> None:
    rows, labels = load_wine(return_X_y=True)
    skops.io.dump(GaussianNB().fit(rows, labels), tmp_path / "bayes.skops")

    said = describe.describe(tmp_path / "bayes.skops")

    assert said["runtime"] == {"format": "scikit-learn", "entry": "bayes.skops"}
    assert said["inputs"] == [{"name": "features", "dtype": "F64", "shape": [None, 13]}]
    assert [spec["name"] for spec in said["outputs"]] == ["probabilities", "class"]
    assert said["origin"]["sha256"] == "0x" + origins.digest(tmp_path / "bayes.skops").hex()


def test_digest__folder__is_that_of_its_lines(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"")
    before = origins.digest(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / ".hidden").write_text("")
    assert origins.digest(tmp_path) == before
    lines = (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n"
        "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  b/one\n"
    )
    (tmp_path / "list").write_text(lines)
    assert origins.digest(tmp_path / "list") == before


def test_digest__link_in_a_folder__refused(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to("/etc/hostname")
    with pytest.raises(InputInvalid, match="is a link"):
        origins.digest(tmp_path)


def test_describe__trees__keep_their_origin(booster: Path) -> None:
    assert np.array_equal(
        bytes.fromhex(describe.describe(booster)["origin"]["sha256"][2:]), origins.digest(booster)
    )
