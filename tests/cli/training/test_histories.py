"""From training to a version with its history, by the command line alone."""

import json

import pytest

from examples.training import digits

pytestmark = pytest.mark.real
SALE = ("--fee", "0.05", "--challenge-window", "1m", "--key", "owner")


def job(folder, name, **changes):
    """Return a job of the example, of few steps."""
    path = digits.write(folder).with_name(f"{name}.json")
    short = {"steps": 5, "checkpoint_every": 5, "compare_every": 5}
    path.write_text(json.dumps({**json.loads(path.read_text()), **short, **changes}))
    return path


def publish(tallystick, folder, *more):
    tallystick("model", "init", folder, *more)
    return tallystick("model", "publish", folder, *SALE)


def checks(tallystick, model):
    last = tallystick("model", "verify", model)["versions"][-1]
    return {one["subject"]: one["finding"] for one in last["history"]}


def test_train__run_twice_and_published__second_is_the_first_ones_child(
    market, tallystick, tmp_path
):
    first = job(tmp_path / "training", "digits")
    tallystick("train", "run", first)
    one = publish(tallystick, first.with_name("digits-run"), "--name", "trained")
    more = job(tmp_path / "training", "digits", seed=7,
               model={"architecture": "digits_cnn", "options": {"width": 16},
                      "weights": "digits-run/model.safetensors"})  # fmt: skip
    second = tmp_path / "second"
    tallystick("train", "run", more, "--out", second)
    base = f"{one['model_id']}@{one['version']}"
    two = publish(tallystick, second, "--name", "trained", "--base", base)

    assert (two["model_id"], two["version"]) == (one["model_id"], 2)
    shown = tallystick("model", "show", one["model_id"])
    assert shown["manifest"]["history"]["made"]["steps"] == 5
    assert [(m["version"], m["how"]) for m in shown["family"]["members"]] == [
        (1, "a trainer's run; steps: 5, ranks: 1"), (2, "a trainer's run; steps: 5, ranks: 1"),
    ]  # fmt: skip
    assert {one["finding"] for one in shown["family"]["checks"]} == {"fits"}
    assert checks(tallystick, one["model_id"]) == {
        "base": "fits", "weights": "fits", "training": "unknown",
    }  # fmt: skip


def test_train__exact_and_published__state_is_the_last_of_its_history(market, tallystick, tmp_path):
    path = job(tmp_path / "training", "exact")
    tallystick("train", "exact", path, "--trust-builder")
    done = publish(tallystick, path.with_name("exact-exact"))

    assert {entry["path"] for entry in done["files"]} == {"model.pt2", "state.safetensors"}
    assert checks(tallystick, done["model_id"]) == {
        "state": "fits", "weights": "unknown", "training": "unknown",
    }  # fmt: skip


def test_init__base_that_is_not_there__refused(market, tallystick, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    assert tallystick("model", "init", path, "--base", "nobody", code=66)["error"] == "NotFound"
