"""The family tree of a model's page: versions as nested lists, findings in words, texts escaped."""

import re

import pytest

from oracle.protocol.training_history import Told, TrainingHistory
from oracle.web.locale import LANGUAGES, catalogue
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
from tests.web.conftest import Browse

pytestmark = pytest.mark.real
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def section(page: str) -> str:
    found = re.search(r'<section class="card" aria-labelledby="family">.*?</section>', page, re.S)
    return found[0] if found else ""


def test_model__without_history_or_children__has_no_family(world: World, browse: Browse) -> None:
    publish(world, write(world.folder, WEIGHTS))
    assert section(browse().get("/models/1").text) == ""


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_model__made_by_rounds__shows_its_family_and_what_the_chain_says(
    world: World, browse: Browse, language: str
) -> None:
    publish(world, write(world.folder, WEIGHTS))
    number, state = play_round(world, state_of(WEIGHTS))
    publish(
        world,
        write(world.folder, weights_of(state), based(world, made_by(world, number, state=state))),
    )
    publish(
        world, write(world.folder, WEIGHTS, based(world, Told(text=HOSTILE), "1@2"), name="fork")
    )
    t = catalogue(language)
    shown = section(browse().get("/models/1", headers={"accept-language": language}).text)

    assert shown.count("<li>") - shown.count("</li>") == 0
    assert shown.count("<ul") == shown.count("</ul>")
    assert re.findall(r'href="/models/(\d+\?version=\d+)"', shown) == [
        "1?version=1", "1?version=2", "2?version=1",
    ]  # fmt: skip
    assert t("lineage.step.rounds", count=1, people=2) in shown
    assert shown.count(t("family.finding.FITS")) >= 3, "base, rounds and participants"
    assert t("family.finding.WRONG") not in shown
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;script&gt;" in shown
    child = section(browse().get("/models/2", headers={"accept-language": language}).text)
    assert child.count("<li>") - child.count("</li>") == 0
    assert t("family.shown") in child


def test_model__base_that_does_not_fit__is_called_wrong(world: World, browse: Browse) -> None:
    publish(world, write(world.folder, WEIGHTS))
    history = TrainingHistory(base=elsewhere(world, version=9), made=Told(text="x"))
    smuggle(world, draft(world, write(world.folder, WEIGHTS, history)), 1)
    shown = section(browse().get("/models/1").text)
    assert "wrong" in shown
    assert "there is no model 1 version 9" in shown
