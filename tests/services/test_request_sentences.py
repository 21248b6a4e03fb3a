"""Every event of a request's life says its facts in every language. No sockets."""

from dataclasses import fields
from typing import Any

import pytest

from oracle.chain.bindings.inference_market import Verdict
from oracle.chain.event import Event
from oracle.services.request_timeline import LIFE, detail
from oracle.types import Assurance, Request, Terms
from oracle.web.locale import LANGUAGES, catalogue

TERMS = Terms(50_000, 7000, 500, 10, 60, 0, Assurance.EXACT)  # type: ignore[arg-type]
REQUEST = Request(
    1, 2, 0, 0, "0xaa", "0xbb", 1, 2, "0x0", 0, bytes(32), bytes(32), bytes(32), bytes(32), TERMS
)  # type: ignore[arg-type]


def made(kind: type[Event]) -> Event:
    """Return an event of a kind, with values that fit its fields."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        values[field.name] = {
            "request": REQUEST, "verdict": Verdict.WITHHELD, "output_root": bytes(32),
            "output": b"xyz", "success": True,
        }.get(field.name, "0xcc" if "Address" in str(field.type) else 7)  # fmt: skip
    return kind(**values)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("kind", LIFE, ids=lambda kind: kind.__name__)
def test_detail__every_event__is_a_sentence_without_holes(kind: type[Event], language: str) -> None:
    text = detail(made(kind), catalogue(language))
    assert text
    assert "{" not in text


def test_detail__another_event__says_nothing() -> None:
    assert detail(Event(), catalogue("en")) == ""
