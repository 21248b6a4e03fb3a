"""A smaller version through the command line alone: made, published, shown, held to its parent."""

import json

import numpy as np
import pytest

from tests.worker.builders import images, write_digits

pytestmark = pytest.mark.real
SALE = ("--fee", "0.05", "--challenge-window", "1m", "--key", "owner")


@pytest.fixture
def model(tmp_path):
    np.savez(tmp_path / "samples.npz", image=images(40))
    return write_digits(tmp_path / "eight", files=["digits.safetensors"], name="eight")


def compress(tallystick, model, *more):
    samples = ("--samples", model.parent / "samples.npz", "--steps", "0")
    return tallystick("model", "compress", model, *samples, "--choose", "int8", *more)["chosen"]


def test_compress__chosen_and_published__names_the_version_that_it_was_made_from(
    market, tallystick, model
):
    whole = tallystick("model", "publish", model, *SALE)
    smaller = tallystick("model", "publish", compress(tallystick, model), *SALE)
    again = tallystick("model", "publish", f"{model}-int8", *SALE)

    assert (smaller["model_id"], smaller["version"]) == (whole["model_id"], 2)
    assert (again["version"], again["unchanged"]) == (2, True)
    shown = tallystick("model", "show", whole["model_id"])["manifest"]["derived_from"]
    assert shown == {
        "model_root": whole["model_root"], "method": "int8", "version": 1,
        "manifest_digest": whole["manifest_digest"], "model_id": whole["model_id"],
    }  # fmt: skip
    assert len(tallystick("model", "verify", whole["model_id"])["versions"]) == 2


def test_compress__of_a_version_of_another_model__is_held_to_the_registry(
    market, tallystick, model
):
    whole = tallystick("model", "publish", model, *SALE)
    chosen = compress(tallystick, model, "--of", f"{whole['model_id']}@1")
    described = f"{chosen}/model.json"
    with open(described) as file:
        body = json.load(file)
    assert (body["derived_from"]["model_id"], body["derived_from"]["version"]) == (
        whole["model_id"], 1,
    )  # fmt: skip

    # As a model of its own, and then with a parent that is another version
    for change, code in (({}, 0), ({"version": 9}, 76), ({"model_root": "0x" + "11" * 32}, 76)):
        derived = {**body["derived_from"], **change}
        with open(described, "w") as file:
            json.dump({**body, "name": "small", "derived_from": derived}, file)
        done = tallystick("model", "publish", chosen, *SALE, code=code)
    assert "has other weights" in done["message"]
    assert "--of" in done["hint"]
