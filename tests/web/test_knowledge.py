"""The index that a version names: what a page asks of it, and what it refuses. Opens no sockets."""

import json
from typing import Any

import pytest

from oracle.errors import InputInvalid
from oracle.web import knowledge
from tests.services.conftest import World
from tests.web.conftest import Browse

GOOD: dict[str, Any] = {
    "request": "0x" + 64 * "a", "question": "When?", "messages": [{"role": "user", "content": "x"}]
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"question": " "}, {"question": 5}, {"question": "\ud800"}, {"messages": None},
        {"messages": [5]}, {"messages": [{"role": "user"}]}, {"request": None},
        {"messages": [{"role": "king", "content": "x"}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
    ],
)  # fmt: skip
def test_read__malformed__refused(change: dict[str, Any]) -> None:
    assert knowledge._read(json.dumps(GOOD).encode())[1] == "When?"
    with pytest.raises(InputInvalid):
        knowledge._read(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_read__no_object__refused(data: bytes) -> None:
    with pytest.raises(InputInvalid):
        knowledge._read(data)


@pytest.mark.real
def test_knowledge__version_that_names_none__is_404(world: World, browse: Browse) -> None:
    world.publish()
    place = {"model": 1, "version": 1}
    found = browse().get("/page/knowledge", params=place)
    assert (found.status_code, found.json()["title"]) == (404, "NotFound")
    asked = browse().post("/page/passages", params=place, content=json.dumps(GOOD))
    assert asked.status_code == 404


@pytest.mark.real
@pytest.mark.parametrize("named", ["../secrets", "/etc", "https://example.org"])
def test_knowledge__option_that_is_no_cid__opens_nothing(
    world: World, browse: Browse, named: str
) -> None:
    path = world.folder / "model.json"
    described = json.loads(path.read_text())
    described["runtime"]["options"] = {"knowledge": named}
    path.write_text(json.dumps(described))
    world.publish()
    found = browse().get("/page/knowledge", params={"model": 1, "version": 1})
    assert (found.status_code, found.json()["title"]) == (422, "InputInvalid")
