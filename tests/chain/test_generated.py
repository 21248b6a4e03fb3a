"""What is written by hand beside the generated bindings fits them: sentences, domain types."""

import importlib
import re
import string
from dataclasses import fields
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import abi_to_signature

from oracle.chain import artifacts, codec, logs
from oracle.chain.sentences import CALLS, SENTENCES
from oracle.cli.app import build
from scripts.bindings import DOMAIN, RECORDS, argument_name, snake

INTERFACES = {"ProgramRegistry": "IPrograms", "DataCredits": "ICredits"}
INTERFACE_FILES = sorted((Path(__file__).parents[2] / "contracts/interfaces").glob("*.sol"))
PACKED = {"Request"}  # into words, by oracle.protocol.records


def items(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (contract, item)
        for contract in codec.NAMES
        for item in artifacts.load(contract).abi
        if item["type"] == kind
    ]


def placeholders(text: str) -> set[str]:
    named = {name for _, name, _, _ in string.Formatter().parse(text) if name}
    return {name.partition(".")[0] for name in named}


def test_contracts__every_interface__is_covered_by_its_contract() -> None:
    for contract in codec.NAMES:
        interface = INTERFACES.get(contract, "I" + contract)
        if contract == "TestDollar":
            continue

        def signatures(name: str) -> set[str]:
            return {
                abi_to_signature(i)
                for i in artifacts.load(name).abi
                if i["type"] in ("function", "event", "error")
            }

        assert signatures(interface) <= signatures(contract)


@pytest.mark.parametrize("contract", codec.NAMES)
def test_bindings__every_event_of_the_abi__has_a_class_and_a_reader(contract: str) -> None:
    readers = logs._readers()  # the table itself is what is to be complete
    made = {reader.make for reader in readers.values()}
    for name, item in items("event"):
        if name == contract:
            module = importlib.import_module(f"oracle.chain.bindings.{logs._snake(contract)}")
            assert getattr(module, contract).EVENTS[item["name"]] in made


@pytest.mark.parametrize("item", [i for _, i in items("error")], ids=lambda i: i["name"])
def test_sentences__every_error_of_every_abi__uses_its_arguments(item: dict[str, Any]) -> None:
    sentence = SENTENCES[item["name"]]
    known = {i["name"] for i in item["inputs"]} | set(map(str, range(len(item["inputs"]))))
    assert placeholders(sentence.message) | placeholders(sentence.hint) <= known
    if isinstance(sentence.heals_at, str):
        assert sentence.heals_at in known


@pytest.mark.parametrize("function", CALLS)
def test_sentences__what_a_call_does__is_a_function_and_uses_its_arguments(function: str) -> None:
    contract, _, name = function.partition(".")
    known = [
        {i["name"] for i in f["inputs"]}
        for c, f in items("function")
        if (c, f["name"]) == (contract, name)
    ]
    assert any(placeholders(CALLS[function]) <= names for names in known)


def hinted_commands() -> set[str]:
    folder = Path(artifacts.__file__).parent
    text = "".join(path.read_text() for path in folder.rglob("*.py"))
    return set(re.findall(r"`tallystick ((?:[a-z]+ ?)+)", text))


@pytest.mark.parametrize("hinted", sorted(hinted_commands()))
def test_hints__a_command__exists(hinted: str) -> None:
    command: Any = build()
    for name in hinted.split():
        command = command.commands[name]


def components(struct: str) -> list[str]:
    """Return the names of a struct's fields, as the first ABI that has it names them."""

    def find(entries: list[dict[str, Any]]) -> list[str] | None:
        for entry in entries:
            kind = entry.get("internalType", "").partition("[")[0]
            inner = entry.get("components", [])
            if kind == f"struct {struct}":
                return [argument_name(part) for part in inner]
            if (deeper := find(inner)) is not None:
                return deeper
        return None

    found = (find([*i["inputs"], *i["outputs"]]) for _, i in items("function"))
    return next(names for names in found if names is not None)


@pytest.mark.parametrize("key", [k for k in DOMAIN if k.rpartition(".")[2] not in PACKED])
def test_domain_types__fields__are_those_of_the_struct_in_its_order(key: str) -> None:
    module, _, name = DOMAIN[key].rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    if isinstance(kind, EnumMeta):
        source = "".join(path.read_text() for path in INTERFACE_FILES)
        body = re.search(rf"enum {key.rpartition('.')[2]} {{(.*?)}}", source, re.DOTALL)[1]
        members = re.findall(r"^ *(\w+)", body, re.MULTILINE)
        assert [m.name for m in kind] == [snake(m).upper() for m in members]
        return
    assert [field.name for field in fields(kind)] == components(key.rpartition(".")[2])


@pytest.mark.parametrize("event", RECORDS)
def test_domain_types__record_of_an_event__has_its_arguments(event: str) -> None:
    inputs = next(i["inputs"] for _, i in items("event") if i["name"] == event)
    kind = getattr(importlib.import_module("oracle.types"), RECORDS[event][1])
    assert {field.name for field in fields(kind)} == {argument_name(part) for part in inputs}
