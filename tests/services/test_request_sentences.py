"""Every event of a request's life says its facts in every language. No sockets."""

from dataclasses import fields
from typing import Any

import pytest

from oracle.chain.bindings.inference_market import Verdict
from oracle.chain.event import Event
from oracle.services.request_timeline import LIFE, detail
from oracle.types import Assurance, Stamp, Terms, Timestamp
from oracle.web.locale import LANGUAGES, catalogue
from tests.support import samples

TERMS = Terms(50_000, 7000, 500, 10, 60, 0, Assurance.EXACT)  # type: ignore[arg-type]
REQUEST = samples.request(
    version=2,
    requester="0xaa",
    operator="0xbb",
    priority_until=1,
    expires_at=2,
    consumer="0x0",
    input_root=bytes(32),
    input_cid=bytes(32),
    params=bytes(32),
    envelope=bytes(32),
    terms=TERMS,
)  # type: ignore[arg-type]


def made(kind: type[Event]) -> Event:
    """Return an event of a kind, with values that fit its fields."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        values[field.name] = {
            "request": REQUEST, "verdict": Verdict.WITHHELD, "output_root": bytes(32),
            "output": b"xyz", "success": True, "stamp": Stamp(Timestamp(7), 7),
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
