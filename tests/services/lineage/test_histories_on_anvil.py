"""Histories of published versions: what is true fits, each lie is named, the rest says why not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oracle.errors import DigestMismatch
from oracle.protocol.training_history import BaseVersion, MadeByRun, Told, TrainingHistory
from oracle.services import model_history, models
from oracle.services.lineage.findings import HistoryFinding
from oracle.services.lineage.weights import run_digest
from oracle.services.model_history import HistoryBroken
from oracle.services.models import Selected
from oracle.types import Bytes32
from tests.services.conftest import World
from tests.services.lineage.play import (
    WEIGHTS,
    based,
    draft,
    elsewhere,
    made_by,
    play_round,
    publish,
    smuggle,
    state_of,
    weights_of,
    write,
)

pytestmark = pytest.mark.real
A = Bytes32(b"a" * 32)


def findings(world: World, model_id: int = 1, **how: Any) -> dict[str, str]:
    """Return the last version's checks by subject."""
    last = model_history.verify(world.network, model_id, **how).versions[-1]
    return {check.subject: str(check.finding) for check in last.history}


def test_verify__two_rounds__fit_chain_and_weights(world: World) -> None:
    publish(world, write(world.folder, WEIGHTS))
    first, between = play_round(world, state_of(WEIGHTS))
    second, last = play_round(world, between)
    made = made_by(world, first, second, state=last)
    publish(world, write(world.folder, weights_of(last), based(world, made)))

    assert findings(world) == {
        "base": "ok", "rounds": "ok", "participants": "ok", "weights": "ok",
        "training": "not checkable",
    }  # fmt: skip
    assert findings(world, with_bytes=False)["weights"] == "not checkable"
    family = models.show(world.network, Selected(1, 2)).family
    assert family is not None
    assert [(m.version, m.depth, m.how) for m in family.members] == [
        (1, 0, ""), (2, 1, "rounds of training: 2; participants: 2"),
    ]  # fmt: skip
    assert family.members[1].rounds == (first, second)


@pytest.fixture
def trained(world: World) -> tuple[World, int, Any]:
    """A version, and a settled round that began from it."""
    publish(world, write(world.folder, WEIGHTS))
    number, state = play_round(world, state_of(WEIGHTS))
    return world, number, state


ROUND_LIES: dict[str, tuple[Callable[[World, int], dict[str, Any]], str]] = {
    "no such round": (lambda _w, n: {"rounds": (n, n + 9)}, "there is no round"),
    "another next state": (lambda _w, _n: {"state_root": A}, "ended with state root"),
    "other bits": (lambda _w, _n: {"scale_bits": 15}, "has 16 bits of scale, not 15"),
    "one who took no part": (
        lambda w, _n: {
            "addresses": tuple(sorted(x.address.lower() for x in (w.owner, w.operator)))
        },
        "2 accounts revealed updates in these rounds, not those named",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", ROUND_LIES)
def test_verify__lie_about_rounds__is_named(trained: tuple[World, int, Any], lie: str) -> None:
    world, number, state = trained
    change, why = ROUND_LIES[lie]
    made = made_by(world, number, state=state, **change(world, number))
    folder = write(world.folder, weights_of(state), based(world, made))
    smuggle(world, draft(world, folder), 1)

    with pytest.raises(HistoryBroken, match=why) as caught:
        model_history.verify(world.network, 1)
    assert caught.value.subject == "history of version 2"
    family = models.show(world.network, Selected(1, 2)).family
    assert family is not None
    assert HistoryFinding.WRONG in [check.finding for check in family.checks]


def test_verify__rounds_that_do_not_follow_each_other__are_named(
    trained: tuple[World, int, Any],
) -> None:
    world, number, _ = trained
    other, state = play_round(world, state_of(WEIGHTS))  # from the same state again
    made = made_by(world, number, other, state=state)
    publish(world, write(world.folder, weights_of(state), based(world, made)))
    with pytest.raises(HistoryBroken, match=f"round {other} did not begin from the state"):
        model_history.verify(world.network, 1)


def test_verify__round_of_another_model_or_unsettled__is_named(
    trained: tuple[World, int, Any],
) -> None:
    world, number, state = trained
    publish(world, write(world.folder.with_name("b"), WEIGHTS, name="other"))
    made = made_by(world, number, state=state)
    folder = write(world.folder.with_name("b"), weights_of(state), based(world, made, "2@1"),
                   name="other")  # fmt: skip
    publish(world, folder)
    with pytest.raises(HistoryBroken, match="is of model 1 version 1, not of the base"):
        model_history.verify(world.network, 2)

    waiting, following = play_round(world, state_of(WEIGHTS), settle=False)
    made = made_by(world, waiting, state=following)
    publish(world, write(world.folder, weights_of(following), based(world, made)))
    with pytest.raises(HistoryBroken, match=f"round {waiting} is not settled"):
        model_history.verify(world.network, 1)


def test_verify__weights_that_are_not_those_of_the_rounds__are_named(
    trained: tuple[World, int, Any],
) -> None:
    world, number, state = trained
    weights = weights_of(state)
    weights["layer.bias"] += 2.0**-16
    history = based(world, made_by(world, number, state=state))
    publish(world, write(world.folder, weights, history))

    with pytest.raises(HistoryBroken, match="weights: they make a state with root"):
        model_history.verify(world.network, 1)


def test_verify__weights_that_lost_bits__are_not_called_wrong(
    trained: tuple[World, int, Any],
) -> None:
    world, number, state = trained
    weights = weights_of(state)
    weights["layer.bias"][0] = 2.0**10  # 2^26 steps: float32 knows only each eighth of them
    publish(world, write(world.folder, weights, based(world, made_by(world, number, state=state))))
    found = model_history.verify(world.network, 1).versions[-1].history
    (about,) = [check for check in found if check.subject == "weights"]
    assert about.finding is HistoryFinding.UNKNOWN
    assert "float32 keeps too few bits" in about.why


@pytest.mark.parametrize(
    ("change", "finding", "why"),
    [
        ({}, "ok", "model 1 version 1 has the manifest"),
        ({"version": 9}, "wrong", "there is no model 1 version 9"),
        ({"model_id": 7}, "wrong", "there is no model 7"),
        ({"manifest_digest": A}, "wrong", "model 1 version 1 has another manifest"),
        ({"chain_id": 1}, "not checkable", "on chain 1"),
        ({"registry": "0x" + "11" * 20}, "not checkable", "registry 0x11"),
    ],
)
def test_base__as_the_registry_has_it(
    world: World, change: dict[str, Any], finding: str, why: str
) -> None:
    publish(world, write(world.folder, WEIGHTS))
    history = TrainingHistory(base=elsewhere(world, **change), made=Told(text="tuned"))
    folder = write(world.folder, {**WEIGHTS, "layer.bias": np.ones(2, np.float32)}, history)
    smuggle(world, draft(world, folder), 1)
    family = models.show(world.network, Selected(1, 2)).family
    assert family is not None
    (check,) = family.checks
    assert (str(check.finding), check.subject) == (finding, "base")
    assert why in check.why
    assert len(family.members) == (2 if finding == "ok" else 1)
    if finding == "wrong":
        with pytest.raises(DigestMismatch, match=why):
            publish(world, write(world.folder, WEIGHTS, history, description="again"))


def test_base__by_digest_alone__is_found_where_it_is_published(world: World) -> None:
    done = publish(world, write(world.folder, WEIGHTS))
    for digest, finding in ((done.manifest_digest, "ok"), (A, "not checkable")):
        base = BaseVersion(manifest_digest=digest)
        history = TrainingHistory(base=base, made=Told(text=digest.hex()[:8]))
        publish(world, write(world.folder, WEIGHTS, history))
        assert findings(world)["base"] == finding


def test_family__versions_that_name_each_other__end_in_no_circle(world: World) -> None:
    """A digest cannot be known before its manifest, so a circle needs a false one."""
    publish(world, write(world.folder, WEIGHTS))
    for version in (2, 3):  # 2 names 3, which is not there yet; 3 names 2
        base = elsewhere(world, version=5 - version, manifest_digest=A)
        history = TrainingHistory(base=base, made=Told(text=f"{version}"))
        smuggle(world, draft(world, write(world.folder, WEIGHTS, history)), 1)
    family = models.show(world.network, Selected(1, 3)).family
    assert family is not None
    assert [member.version for member in family.members] == [3]
    assert [check.finding for check in family.checks] == [HistoryFinding.WRONG]


def test_family__base_published_later__is_not_believed(world: World) -> None:
    publish(world, write(world.folder, WEIGHTS))
    late = draft(world, write(world.folder, WEIGHTS, description="late"))
    digest = Bytes32(world.ipfs.publish_bytes(late.to_bytes()).sha256)
    base = elsewhere(world, version=3, manifest_digest=digest)
    history = TrainingHistory(base=base, made=None)
    smuggle(world, draft(world, write(world.folder, WEIGHTS, history)), 1)
    smuggle(world, late, 1)
    family = models.show(world.network, Selected(1, 2)).family
    assert family is not None
    assert family.checks[0].why == "model 1 version 3 was published after this one"
    assert len(family.members) == 1


def test_verify__run__has_the_digest_of_its_weights(world: World) -> None:
    done = publish(world, write(world.folder, WEIGHTS))
    trained = {**WEIGHTS, "layer.bias": np.ones(2, np.float32)}
    run = MadeByRun(job=A, data=A, weights=run_digest(trained), order=A, mode="ddp", ranks=2,
                    steps=3, begun_with=done.files[0].sha256)  # fmt: skip
    publish(world, write(world.folder, trained, based(world, run)))
    assert findings(world) == {"base": "ok", "weights": "ok", "training": "not checkable"}

    for number, (change, why) in enumerate(
        (({"begun_with": A}, "no file of it"), ({"weights": A}, "their digest is"))
    ):
        history = based(world, replace(run, **change))
        named = f"run{number}"
        publish(world, write(world.folder, trained, history, name=named))
        with pytest.raises(HistoryBroken, match=why):
            model_history.verify(world.network, 2 + number)


def test_family__descendants__stand_below_with_what_made_them(world: World) -> None:
    publish(world, write(world.folder, WEIGHTS))
    publish(world, write(world.folder, WEIGHTS, based(world, Told(text="<b>x</b>"))))
    publish(world, write(world.folder, WEIGHTS, based(world, None, "1@2"), name="fork"))
    found = models.show(world.network, Selected(1, 1)).family
    assert found is not None
    assert found.searched
    assert [(m.model_id, m.version, m.depth, m.shown, m.how) for m in found.members] == [
        (1, 1, 0, True, ""),
        (1, 2, 1, False, "the publisher says: <b>x</b>"),
        (2, 1, 2, False, "how is not said"),
    ]
    below = models.show(world.network, Selected(2, 1)).family
    assert below is not None
    assert [member.shown for member in below.members] == [False, False, True]


def test_family__manifests_that_nobody_has__end_the_search(world: World) -> None:
    first = publish(world, write(world.folder, WEIGHTS))
    forgotten = []
    for number in range(10):
        done = publish(world, write(world.folder, WEIGHTS, based(world, Told(text=f"{number}"))))
        forgotten.append(done.manifest_cid)
    last = publish(world, write(world.folder, WEIGHTS, based(world, Told(text="last"))))
    for cid in forgotten:
        world.ipfs.forget(cid)
    fresh = type(world.network).over(world.network.settings, world.network.rpc, world.ipfs)
    found = models.show(fresh, Selected(1, first.version)).family
    assert found is not None
    assert not found.searched
    assert [member.version for member in found.members] == [1, last.version]
