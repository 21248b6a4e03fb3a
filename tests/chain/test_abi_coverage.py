"""The hand-written half (wrappers, events, sentences) against the generated half (ABIs)."""

import re
import string
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from oracle.chain import artifacts, codec, logs
from oracle.chain.committee import Ballot, Committee, CommitteeConfig, Dispute, Seat
from oracle.chain.data_credits import (
    Contribution,
    DataConfig,
    DataCredits,
    Endorsement,
    Place,
    Round,
    Standing,
)
from oracle.chain.dispute_game import Challenge, DisputeGame, GameConfig, Receipt
from oracle.chain.inference_market import InferenceMarket, MarketConfig
from oracle.chain.model_access import ModelAccess
from oracle.chain.model_registry import ModelRegistry, Publication
from oracle.chain.operator_registry import OperatorRegistry
from oracle.chain.program_registry import ProgramRegistry, StepVerifier
from oracle.chain.sentences import SENTENCES
from oracle.chain.test_dollar import TestDollar
from oracle.chain.valuation_game import (
    Case,
    Demands,
    ValuationConfig,
    ValuationGame,
    ValuationVerifier,
)
from oracle.cli.app import build
from oracle.exact.steps import ExactClaim, ProofStep, TensorProof
from oracle.types import Claim, Delivery, Grant, Order, RoundTerms, Stake, ValuationRoots

WRAPPERS = {
    cls.NAME: cls
    for cls in (
        *(ModelRegistry, ModelAccess, OperatorRegistry, InferenceMarket, TestDollar),
        *(ProgramRegistry, StepVerifier, DisputeGame, Committee),
        *(DataCredits, ValuationVerifier, ValuationGame),
    )
}
STRUCTS = {
    "Order": Order,
    "Claim": Claim,
    "Delivery": Delivery,
    "Grant": Grant,
    "Stake": Stake,
    "Publication": Publication,
    "MarketConfig": MarketConfig,
    "GameConfig": GameConfig,
    "CommitteeConfig": CommitteeConfig,
    "Seat": Seat,
    "Dispute": Dispute,
    "Ballot": Ballot,
    "Receipt": Receipt,
    "Challenge": Challenge,
    "Step": ProofStep,
    "TensorProof": TensorProof,
    "ExactClaim": ExactClaim,
    "DataConfig": DataConfig,
    "RoundTerms": RoundTerms,
    "Round": Round,
    "Contribution": Contribution,
    "Place": Place,
    "Standing": Standing,
    "Endorsement": Endorsement,
    "ValuationConfig": ValuationConfig,
    "Valuation": ValuationRoots,
    "Case": Case,
    "Demands": Demands,
}
INTERFACES = {"ProgramRegistry": "IPrograms", "DataCredits": "IDataRounds"}
# of libraries beneath, without a use of their own
NOT_WRAPPED = {"eip712Domain"}


def snake(name: str) -> str:
    if name.isupper():
        return name.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("URI", "uri").lower()


def items(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (contract, item)
        for contract in codec.NAMES
        for item in artifacts.load(contract).abi
        if item["type"] == kind
    ]


@pytest.mark.parametrize(("contract", "function"), [(c, i["name"]) for c, i in items("function")])
def test_wrappers__every_function_of_the_abi__has_a_method(contract: str, function: str) -> None:
    assert function in NOT_WRAPPED or hasattr(WRAPPERS[contract], snake(function))


def test_wrappers__every_interface__is_covered_by_its_contract() -> None:
    for contract in codec.NAMES:
        interface = INTERFACES.get(contract, "I" + contract)
        if contract == "TestDollar":
            continue

        def signatures(name: str) -> set[str]:
            return {
                codec.signature(i)
                for i in artifacts.load(name).abi
                if i["type"] in ("function", "event", "error")
            }

        assert signatures(interface) <= signatures(contract)


@pytest.mark.parametrize(("contract", "item"), items("event"), ids=lambda v: str(v)[:30])
def test_events__every_event_of_the_abi__has_a_class(contract: str, item: dict[str, Any]) -> None:
    readers = logs._readers()  # the table itself is what is to be complete
    indexed = sum(i["indexed"] for i in item["inputs"])
    topic = next(t for (t, n), r in readers.items() if n == indexed + 1 and reads(r, item))
    assert len(topic) == 32


def reads(reader: Any, item: dict[str, Any]) -> bool:
    name = item["name"]
    return reader.make.__name__ in (name, "Model" + name, "ModelTransferred")


@pytest.mark.parametrize("item", [i for _, i in items("error")], ids=lambda i: i["name"])
def test_sentences__every_error_of_every_abi__uses_its_arguments(item: dict[str, Any]) -> None:
    sentence = SENTENCES[item["name"]]
    known = {i["name"] for i in item["inputs"]} | set(map(str, range(len(item["inputs"]))))
    used = {
        name
        for text in (sentence.message, sentence.hint)
        for _, name, _, _ in string.Formatter().parse(text)
        if name
    }
    assert used <= known
    if isinstance(sentence.heals_at, str):
        assert sentence.heals_at in known


def hinted_commands() -> set[str]:
    folder = Path(artifacts.__file__).parent
    text = "".join(path.read_text() for path in folder.rglob("*.py"))
    return set(re.findall(r"`tallystick ((?:[a-z]+ ?)+)", text))


@pytest.mark.parametrize("hinted", sorted(hinted_commands()))
def test_hints__a_command__exists(hinted: str) -> None:
    command: Any = build()
    for name in hinted.split():
        command = command.commands[name]


@pytest.mark.parametrize("struct", STRUCTS)
def test_types__fields_of_a_struct__in_the_order_of_solidity(struct: str) -> None:
    def find(entries: list[dict[str, Any]]) -> list[str] | None:
        for entry in entries:
            if entry.get("internalType", "").removesuffix("[]") == f"struct {struct}":
                return [c["name"] for c in entry["components"]]
        return None

    found = next(
        names
        for _, item in items("function")
        if (names := find([*item["inputs"], *item["outputs"]])) is not None
    )
    ours = [f.name for f in fields(STRUCTS[struct])]
    assert [name if name in ("N", "n", "T") else snake(name) for name in found] == ours
