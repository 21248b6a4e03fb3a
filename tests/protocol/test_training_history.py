"""What a manifest may say of how a version came to be. Every rule has a case that breaks it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from oracle.errors import InputInvalid
from oracle.protocol import canonical
from oracle.protocol.manifest import DerivedFrom, Manifest
from oracle.protocol.training_history import (
    BaseVersion,
    Made,
    MadeByJob,
    MadeByRounds,
    MadeByRun,
    Told,
    TrainingHistory,
    digest_of,
)
from oracle.types import Bytes32
from tests.protocol.test_manifest import GOOD

A, B = Bytes32(b"a" * 32), Bytes32(b"b" * 32)
PEOPLE = tuple(f"0x{number:040x}" for number in range(1, 4))
CROWD = tuple(f"0x{number:040x}" for number in range(1, 101))
BASE = BaseVersion(
    manifest_digest=A, chain_id=31337, registry="0x" + "ab" * 20, model_id=1, version=2
)
ROUNDS = MadeByRounds(
    chain_id=31337, contract="0x" + "cd" * 20, rounds=(1, 2, 7), participants=3, addresses=PEOPLE,
    state_root=B, scale_bits=16,
)  # fmt: skip
JOB = MadeByJob(
    program=A, samples=A, labels=A, first_state=A, seed=B, batches=4, steps=5, history=B,
    last_path=(A, A, B), state="tokenizer.json",
)  # fmt: skip
RUN = MadeByRun(job=A, data=A, weights=B, order=A, mode="ddp", ranks=2, steps=300)
MADE: dict[str, Made] = {
    "rounds": ROUNDS,
    "crowd": replace(
        ROUNDS, participants=100, addresses=None, addresses_digest=digest_of(CROWD)
    ),
    "job": JOB,
    "run": RUN,
    "run begun with weights": replace(RUN, begun_with=A),
    "told": Told(text="<b>fine-tuned</b> by hand"),
}  # fmt: skip


def trained(made: Made | None, base: BaseVersion | None = BASE) -> Manifest:
    return replace(GOOD, history=TrainingHistory(base=base, made=made))


@pytest.mark.parametrize("name", MADE)
def test_to_bytes__history__is_kept_and_says_nothing_twice(name: str) -> None:
    manifest = trained(MADE[name])
    data = manifest.to_bytes()
    assert Manifest.parse(data) == manifest
    assert b"null" not in canonical.dumps(json.loads(data)["history"])


def test_to_bytes__no_history__digest_stays() -> None:
    assert b"history" not in GOOD.to_bytes()
    assert Manifest.parse(GOOD.to_bytes()).history is None


BROKEN: dict[str, tuple[TrainingHistory, str]] = {
    "nothing": (TrainingHistory(), "says nothing"),
    "rounds without a base": (TrainingHistory(made=ROUNDS), "begin from a version on a chain"),
    "rounds of a base elsewhere": (
        TrainingHistory(base=BaseVersion(manifest_digest=A), made=ROUNDS),
        "begin from a version on a chain",
    ),
    "half a place": (
        TrainingHistory(base=BaseVersion(manifest_digest=A, model_id=1, version=1)),
        "a part of a place",
    ),
} | {
    f"{name} {change}": (TrainingHistory(base=BASE, made=replace(made, **change)), why)
    for name, made, change, why in (
        ("rounds", ROUNDS, {"rounds": ()}, "0 is not 1 to 1024"),
        ("rounds", ROUNDS, {"rounds": tuple(range(1, 10_001))}, "10000 is not 1 to 1024"),
        ("rounds", ROUNDS, {"rounds": (2, 1)}, "not in the order"),
        ("rounds", ROUNDS, {"rounds": (1, 1)}, "not in the order"),
        ("rounds", ROUNDS, {"rounds": (0, 1)}, "an id: 0 is not"),
        ("rounds", ROUNDS, {"scale_bits": 32}, "scale_bits 32"),
        ("rounds", ROUNDS, {"contract": "0x" + "CD" * 20}, "no address"),
        ("rounds", ROUNDS, {"contract": "<script>"}, "no address"),
        ("rounds", ROUNDS, {"participants": 2}, "not those of all participants"),
        ("rounds", ROUNDS, {"participants": 65}, "not named as they should"),
        ("rounds", ROUNDS, {"participants": 0}, "participants: 0 is not"),
        ("rounds", ROUNDS, {"addresses": None}, "not named as they should"),
        ("rounds", ROUNDS, {"addresses_digest": A}, "not named as they should"),
        ("rounds", ROUNDS, {"addresses": PEOPLE[::-1]}, "not those of all participants"),
        ("rounds", ROUNDS, {"addresses": (*PEOPLE[:2], "0x1")}, "no address"),
        ("job", JOB, {"last_path": (A, A)}, "a last_path of 2 hashes for 5 steps"),
        ("job", JOB, {"last_path": (A,) * 10_000}, "above the limit of 262144"),
        ("job", JOB, {"steps": 2**20 + 1}, "steps: 1048577 is not"),
        ("job", JOB, {"batches": 0}, "batches: 0 is not"),
        ("job", JOB, {"state": "nowhere.safetensors"}, "lists no file"),
        ("run", RUN, {"ranks": 0}, "ranks: 0 is not"),
        ("run", RUN, {"steps": 0}, "steps: 0 is not"),
        ("told", Told(text="x"), {"text": ""}, "is no line"),
        ("told", Told(text="x"), {"text": "x" * 257}, "is no line"),
        ("told", Told(text="x"), {"text": "a\nb"}, "is no line"),
        ("told", Told(text="x"), {"text": "a\u202eb"}, "is no line"),
        ("base", Told(text="x"), {"text": "\x1b[2J"}, "is no line"),
    )
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_to_bytes__rule_of_a_history_broken__refused(name: str) -> None:
    history, why = BROKEN[name]
    with pytest.raises(InputInvalid, match=why):
        replace(GOOD, history=history).to_bytes()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"base": None}, "base is null"),
        ({"made": {"kind": "told", "text": "x", "by": "y"}}, "Unexpected keyword"),
        ({"made": {"kind": "magic"}}, "does not match any of the expected tags"),
        ({"made": {"text": "x"}}, "Unable to extract tag"),
        ({"base": {"manifest_digest": "0x00"}}, "not 0x and 64"),
        ({"entries": [{}] * 10_000}, "Unexpected keyword"),
    ],
)
def test_parse__malformed_history__refused(change: dict[str, Any], why: str) -> None:
    body = json.loads(trained(Told(text="x")).to_bytes())
    body["history"] |= change
    with pytest.raises(InputInvalid, match=why):
        Manifest.parse(canonical.dumps(body))


def test_to_bytes__history_beside_derived_from__refused() -> None:
    both = replace(
        trained(RUN), derived_from=DerivedFrom(model_root=Bytes32(bytes(32)), method="int8")
    )
    with pytest.raises(InputInvalid, match="history beside derived_from"):
        both.to_bytes()


@pytest.mark.parametrize("name", ["rounds", "crowd"])
def test_names__participants__in_any_order_and_case(name: str) -> None:
    made = MADE[name]
    assert isinstance(made, MadeByRounds)
    people = PEOPLE if name == "rounds" else CROWD
    assert made.names([address.upper().replace("0X", "0x") for address in people[::-1]])
    assert made.names([*people, people[0]]), "who took part twice is one participant"
    assert not made.names(people[1:])
    assert not made.names([*people[1:], "0x" + "ff" * 20])
