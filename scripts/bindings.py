"""Python bindings of contracts from what solc says of them: one module a contract, as text.

Reads ABIs, natspec and the syntax tree (members of enumerations, comments of fields). Compiles
and writes nothing: that is scripts/compile.py. Every choice that an ABI does not make stands in
the tables below.
"""

import keyword
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]
WIDTH = 100

# The unit of a number or word, by its name in Solidity; `Kind.name` beats the name alone, and a
# result without a name goes by its function's. What no line fits is an int.
UNITS: Sequence[tuple[str, str]] = (
    ("RequestId", r"requestId(Of)?"),
    ("Activation", r"activation|median"),
    ("int", r"ModelRegistry\.balanceOf|nonce\w*|announcedAt"),
    ("Wei", r"TrainingDemand\.bond"),
    ("Wei", r"(Challenge|Draw)\w+\.burned|Demand\w+\.burned|\w*Bond\w*\.amount"),
    ("Amount", r"Training\w+\.(bond|share|participantBond|aggregatorBond)"),
    ("Wei", r"bond\w*|(appeal|callback|challenge)Bond|toOperator|toValuator|weis|weiAmount"),
    ("Amount", r"Decided\.(winners|lost)|Dispute\.(winners|tokens)|bound|depositOf"),
    ("Amount", r"Round\.(matched|mismatched|inputMissing|outputMissing|margin|committed)"),
    ("Credits", r"(Endorse\w*|endorse)\.amount|EndorsementSettled\.re\w+|totalCredits|lost"),
    ("Credits", r"credits?(Of)?|endorsedOf|earned"),
    ("Amount", r"poolAt|weightAt"),
    ("Timestamp", r"\w*([uU]ntil|[eE]xpiry|timestamp|[dD]eadline|[a-z]At|endBy|windowEnd)"),
    ("Timestamp", r"validAfter|validBefore|windowStart"),
    ("Amount", r"(TestDollar|Transfer|Approval)\.value|TestDollar\.(allowance|totalSupply)"),
    ("Amount", r"\w*([aA]mount|[fF]ee|FEE|[dD]eposit|[sS]take|staked|[rR]eward|[rR]efund)"),
    ("Amount", r"locked|total|compensation|bounty|burned|paid\w*|penalty|minLock|\w*[fF]orfeit"),
    ("Amount", r"eligible|tokensEach|FAUCET_MAX|claimable|max_?Fee|\w+Earnings"),
    ("Amount", r"balance|(balance|freeStake|reward)Of"),
)
# What is called otherwise in Python: owner and name in Solidity → class.
RENAMED: Mapping[str, str] = {
    "Committee.Fault": "VoterFault",
    "Committee.Round": "VoteRound",
    "DataRounds.Stage": "RoundStage",
    "DataRounds.Status": "ContributionStatus",
    "DisputeGame.VersionRecord": "VersionPreimage",
    "InferenceMarket.demandOf": "Demand",
    "InferenceMarket.lockOf": "Lock",
    "InferenceMarket.modelEarnings": "Earnings",
    "ModelAccess.boundsOf": "Bounds",
    "ModelAccess.policyOf": "AccessPolicy",
    "ModelRegistry.Approval": "ModelApproval",
    "ModelRegistry.Transfer": "ModelTransferred",
    "ValuationGame.Seat": "ValuatorSeat",
    "ValuationGame.Valuation": "ValuationRoots",
}
# Types that layers below the bindings speak of, or that can do more than hold their fields.
DOMAIN: Mapping[str, str] = {
    "DisputeGame.TensorProof": "oracle.exact.steps.TensorProof",
    "InferenceMarket.Answer": "oracle.types.OperatorAnswer",
    "InferenceMarket.Claim": "oracle.types.Claim",
    "InferenceMarket.Delivery": "oracle.types.Delivery",
    "InferenceMarket.Order": "oracle.types.Order",
    "InferenceMarket.Request": "oracle.types.Request",
    "ModelRegistry.Assurance": "oracle.types.Assurance",
    "StepVerifier.ExactClaim": "oracle.exact.steps.ExactClaim",
    "StepVerifier.Opening": "oracle.exact.steps.TensorOpening",
    "StepVerifier.Slice": "oracle.exact.steps.Slice",
    "StepVerifier.Step": "oracle.exact.steps.ProofStep",
    "ValuationGame.Fault": "oracle.valuation.faults.Fault",
    "PaymentChannels.Offer": "oracle.types.Offer",
    "ValuationGame.Part": "oracle.types.ValuationPart",
}
# contracts/libraries/: types of one word, which those of oracle.types pack.
WORDS = ("Stamp", "Terms")
# An event whose arguments are a record of oracle.types: event → (field, record).
RECORDS: Mapping[str, tuple[str, str]] = {"VersionPublished": ("record", "VersionRecord")}
# Interfaces that are not called after their contract.
OWNERS: Mapping[str, str] = {"Credits": "DataCredits", "Programs": "ProgramRegistry"}


@dataclass(frozen=True, slots=True)
class Definition:
    """A struct or enumeration of the sources."""

    kind: str  # "struct" or "enum"
    name: str
    owner: str  # the contract whose module it stands in
    doc: str
    members: Mapping[str, str]  # name → comment, "" when there is none


@dataclass(frozen=True, slots=True)
class Source:
    """What solc says of one contract."""

    name: str
    path: str
    abi: Sequence[Json]
    devdoc: Json
    userdoc: Json


class Kind(NamedTuple):
    """A Python type, and how it is made of what the codec decodes: `{}` is the decoded value."""

    annotation: str
    make: str


@dataclass
class Module:
    """One module while it is written."""

    source: Source
    definitions: Sequence[Definition]
    imports: dict[str, set[str]] = field(default_factory=dict)
    for_typing: dict[str, set[str]] = field(default_factory=dict)  # of arguments alone
    classes: dict[str, str] = field(default_factory=dict)  # in the order of definition

    # ── Types ───────────────────────────────────────────────────────────────────────────────────
    def kind(self, item: Json, place: str, *, argument: bool = False) -> Kind:  # noqa: PLR0911
        """Return the type of an ABI input or output; `place` is the event or function it is of."""
        base, _, dimensions = item["type"].partition("[")
        if dimensions:
            inner = self.kind(item | {"type": base}, place, argument=argument)
            if argument:
                self.use("collections.abc", "Sequence")
                return Kind(f"Sequence[{inner.annotation}]", "")
            each = inner.make.format("item")
            return Kind(f"tuple[{inner.annotation}, ...]", f"tuple({each} for item in {{}})")
        declared = item.get("internalType", base).partition("[")[0]
        word, _, name = declared.rpartition(" ")
        if declared in WORDS:
            self.use("oracle.types", declared)
            return Kind(declared, f"{declared}.unpack({{}})")
        if word in ("struct", "enum"):
            name = self.defined(word, name.rpartition(".")[2], item, argument=argument)
            return Kind(name, f"struct({name}, {{}})" if word == "struct" else f"{name}({{}})")
        if base == "address":
            self.use("oracle.types", "Address")
            return Kind("Address", "address({})")
        if base in ("bool", "string", "bytes") or (base.startswith("bytes") and base != "bytes32"):
            plain = {"string": "str", "bool": "bool"}.get(base, "bytes")
            return Kind(plain, f"{plain}({{}})")
        unit = unit_of(item["name"] or place.rpartition(".")[2], place)
        if base == "bytes32" and unit != "RequestId":
            unit = "Bytes32"
        if unit != "int":
            self.use("oracle.types", unit)
        return Kind(unit, f"{unit}({{}})")

    def defined(self, word: str, name: str, item: Json, *, argument: bool = False) -> str:
        """Return the class of a struct or enumeration; writes or imports it when need be."""
        found = [d for d in self.definitions if (d.kind, d.name) == (word, name)]
        own = [d for d in found if d.owner == self.source.name]
        if len(own or found) != 1:
            raise LookupError(f"{word} {name}: {len(found)} definitions")
        definition = (own or found)[0]
        key = f"{definition.owner}.{name}"
        if key in DOMAIN:
            module, _, called = DOMAIN[key].rpartition(".")
            if argument and module != "oracle.types":
                self.for_typing.setdefault(module, set()).add(called)
            else:
                self.use(module, called)
            return called
        called = RENAMED.get(key, name)
        if not own:
            self.use(f"oracle.chain.bindings.{snake(definition.owner)}", called)
        elif called not in self.classes:
            text = self.enumeration(definition) if word == "enum" else self.struct(definition, item)
            self.classes[called] = text
        return called

    def use(self, module: str, *names: str) -> None:
        """Import names."""
        if names:
            self.imports.setdefault(module, set()).update(names)

    # ── Classes ─────────────────────────────────────────────────────────────────────────────────
    def enumeration(self, definition: Definition) -> str:
        """Return the class of an enumeration."""
        self.use("enum", "IntEnum")
        name = RENAMED.get(f"{definition.owner}.{definition.name}", definition.name)
        lines = [f"class {name}(IntEnum):", *docstring([definition.doc])]
        for number, (member, comment) in enumerate(definition.members.items()):
            lines += commented(f"{snake(member).upper()} = {number}", comment)
        return "\n".join(lines)

    def struct(self, definition: Definition, item: Json) -> str:
        """Return the class of a struct, its fields in the order of the ABI."""
        name = RENAMED.get(f"{definition.owner}.{definition.name}", definition.name)
        lines = [*self.dataclass(name), *docstring([definition.doc])]
        for part in item["components"]:
            annotation = self.kind(part, definition.name).annotation
            lines += commented(
                f"{argument_name(part)}: {annotation}", definition.members[part["name"]]
            )
        return "\n".join(lines)

    def event(self, item: Json) -> str:
        """Write the class of an event; return its name."""
        place = f"{self.source.name}.{item['name']}"
        name = RENAMED.get(place, item["name"])
        self.use("oracle.chain.event", "Event")
        lines = self.dataclass(name, "(Event)") + docstring(self.docs("events", item))
        if name.startswith("Test"):
            lines.append("    __test__ = False  # no test, whatever pytest takes its name for\n")
        if name in RECORDS:
            called, record = RECORDS[name]
            self.use("oracle.types", record)
            lines.append(f"    {called}: {record}")
        else:
            for part in item["inputs"]:
                annotation = self.kind(part, place).annotation
                lines.append(f"    {argument_name(part)}: {annotation}")
        self.classes[name] = "\n".join(lines)
        return name

    def errors(self) -> str:
        """Return the enumeration of the errors of this contract."""
        self.use("enum", "StrEnum")
        lines = [
            f"class {self.source.name}Error(StrEnum):",
            *docstring(["Names of the errors that a call may revert with: `ContractError.name`."]),
        ]
        for item in sorted(self.items("error"), key=lambda i: str(i["name"])):
            arguments = ", ".join(part["name"] for part in item["inputs"])
            said = " ".join(self.docs("errors", item))
            comment = f"({arguments}) {said}".strip().removeprefix("()").strip()
            lines += commented(f'{item["name"]} = "{item["name"]}"', comment)
        return "\n".join(lines)

    def dataclass(self, name: str, bases: str = "") -> list[str]:
        """Return the head of a frozen dataclass."""
        self.use("dataclasses", "dataclass")
        return ["@dataclass(frozen=True, slots=True)", f"class {name}{bases}:"]

    # ── Functions ───────────────────────────────────────────────────────────────────────────────
    def function(self, item: Json, name: str, called: str) -> str:
        """Return the method of a function, which the ABI calls `name` or by its signature."""
        place = f"{self.source.name}.{item['name']}"
        arguments, passed = ["self"], [f'"{name}"']
        for number, part in enumerate(item["inputs"]):
            variable = argument_name(part) or f"argument_{number}"
            arguments.append(f"{variable}: {self.kind(part, place, argument=True).annotation}")
            passed.append(variable)
        reads = item["stateMutability"] in ("view", "pure")
        otherwise = f"{'Return' if reads else 'Call'} `{item['name']}`."
        doc = docstring(self.docs("methods", item) or [otherwise], 8)
        if not reads:
            if item["stateMutability"] == "payable":
                self.use("oracle.types", "NO_WEI", "Wei")
                arguments += ["*", "value: Wei = NO_WEI"]
                passed.append("value=value")
            self.use("oracle.chain.contract", "Call")
            body, result = f"return self._call({', '.join(passed)})", "Call"
        else:
            self.use("oracle.chain.rpc", "BlockId")
            arguments.append('block: BlockId = "latest"')
            read = f"self._read({', '.join(passed)}, block=block)"
            body, result = self.returned(item, place, read)
        head = f"    def {called}({', '.join(arguments)}) -> {result}:"
        return "\n".join([head, *doc, textwrap.indent(body, " " * 8)])

    def returned(self, item: Json, place: str, read: str) -> tuple[str, str]:
        """Return the body of a view, and the type of its result."""
        kinds = [self.kind(part, place) for part in item["outputs"]]
        if not kinds:
            return read, "None"
        if len(kinds) == 1:
            return f"return {kinds[0].make.format(read)}", kinds[0].annotation
        name = RENAMED.get(place, pascal(item["name"]))
        self.use("typing", "NamedTuple")
        said = self.source.devdoc.get("methods", {}).get(signature(item), {}).get("returns", {})
        lines = [f"class {name}(NamedTuple):", *docstring([f"What `{item['name']}` returns."])]
        for part, kind in zip(item["outputs"], kinds, strict=True):
            lines += commented(
                f"{argument_name(part)}: {kind.annotation}", said.get(part["name"], "")
            )
        self.classes[name] = "\n".join(lines)
        made = [kind.make.format(f"values[{n}]") for n, kind in enumerate(kinds)]
        return f"values = {read}\nreturn {name}({', '.join(made)})", name

    # ── The whole ───────────────────────────────────────────────────────────────────────────────
    def items(self, kind: str) -> list[Json]:
        """Return the entries of one kind of the ABI."""
        return [item for item in self.source.abi if item["type"] == kind]

    def docs(self, section: str, item: Json) -> list[str]:
        """Return the paragraphs of an entry's natspec."""
        found: list[Json] = []
        for document in (self.source.userdoc, self.source.devdoc):
            entry = document.get(section, {}).get(signature(item), {})
            found += entry if isinstance(entry, list) else [entry]
        said = [one[key] for one in found for key in ("notice", "details") if key in one]
        parameters = {name: text for one in found for name, text in one.get("params", {}).items()}
        returns = {name: text for one in found for name, text in one.get("returns", {}).items()}
        if parameters:
            each = (f"    {argument_name({'name': n})}: {text}" for n, text in parameters.items())
            said.append("\n".join(["Args:", *each]))
        if "_0" in returns:
            said.append(("" if said else "Return: ") + returns["_0"])
        return said

    def write(self, taken: Mapping[str, str]) -> str:
        """Return the module; `taken` says which module has an event's class already."""
        name = self.source.name
        events = {}
        for item in self.items("event"):
            called = RENAMED.get(f"{name}.{item['name']}", item["name"])
            if taken.get(called, name) != name:
                self.use(f"oracle.chain.bindings.{snake(taken[called])}", called)
            else:
                self.event(item)
            events[item["name"]] = called
        self.use("oracle.chain.contract", "Contract")
        self.use("oracle.chain.event", "Event")
        self.use("collections.abc", "Mapping")
        methods = [self.function(*one) for one in named(self.items("function"))]
        title = first_sentence(self.source.devdoc.get("title", "")) or f"The contract {name}"
        table = ", ".join(f'"{key}": {value}' for key, value in events.items())
        contract = [
            f"class {name}(Contract):",
            *docstring([f"{title.rstrip('.')}."]),
            f'    NAME = "{name}"\n    EVENTS: ClassVar[Mapping[str, type[Event]]] = {{{table}}}',
            *(
                ["    __test__ = False  # no test, whatever pytest takes its name for"]
                if name.startswith("Test")
                else []
            ),
            *methods,
        ]
        self.use("typing", "ClassVar")
        parts = [self.errors(), *self.classes.values(), "\n\n".join(contract)]
        for module, name_ in (
            ("oracle.chain.codec", "address"),
            ("oracle.chain.contract", "struct"),
        ):
            if f"{name_}(" in "".join(methods):
                self.use(module, name_)
        head = f'"""{name}, as {self.source.path} and its interface declare it.\n\n'
        head += 'Generated by scripts/compile.py: change the contract, then run it.\n"""'
        return "\n\n\n".join(["\n\n".join([head, *self.import_lines()]), *parts]) + "\n"

    def import_lines(self) -> Iterator[str]:
        """Yield the blocks of imports."""
        if self.for_typing:
            self.use("typing", "TYPE_CHECKING")
            yield "from __future__ import annotations"
        standard = {m: n for m, n in self.imports.items() if m.split(".")[0] != "oracle"}
        ours = {m: n for m, n in self.imports.items() if m not in standard}
        for block in (standard, ours):
            yield "\n".join(imported(*one) for one in sorted(block.items()))
        if self.for_typing:
            lines = "\n".join(imported(*one) for one in sorted(self.for_typing.items()))
            yield "if TYPE_CHECKING:\n" + textwrap.indent(lines, "    ")


# ── Names ───────────────────────────────────────────────────────────────────────────────────────
def snake(name: str) -> str:
    """Return modelId → model_id, tokenURI → token_uri, FAUCET_MAX → faucet_max; a letter stays."""
    if len(name) == 1:
        return name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def pascal(name: str) -> str:
    """Return challengeWindowRange → ChallengeWindowRange, traceOf → Trace."""
    return name[0].upper() + name[1:].removesuffix("Of")


def argument_name(part: Json) -> str:
    """Return the name of an argument or field in Python."""
    name = snake(str(part["name"]).strip("_"))
    return f"{name}_" if keyword.iskeyword(name) else name


def unit_of(name: str, place: str) -> str:
    """Return the unit of what is called `name` in `place`: Contract.function, or a struct."""
    called = (name, *(f"{part}.{name}" for part in place.split(".")))
    return next((u for u, pattern in UNITS if any(re.fullmatch(pattern, c) for c in called)), "int")


def named(functions: Sequence[Json]) -> Iterator[tuple[Json, str, str]]:
    """Yield (function, name or signature in the ABI, method) in the order of names.

    Of overloaded functions the one with fewest arguments has the plain name; another is called
    after what it takes beyond that one: safe_transfer_from_with_data.
    """
    for item in sorted(functions, key=lambda i: (i["name"], len(i["inputs"]))):
        same = [other for other in functions if other["name"] == item["name"]]
        least = min(same, key=lambda i: len(i["inputs"]))
        if item is least:
            yield item, item["name"] if len(same) == 1 else signature(item), snake(item["name"])
        else:
            known = {part["name"] for part in least["inputs"]}
            more = [argument_name(p) for p in item["inputs"] if p["name"] not in known]
            yield item, signature(item), "_".join([snake(item["name"]), "with", *more])


def signature(item: Json) -> str:
    """Return the canonical signature of an ABI entry."""
    return f"{item['name']}({','.join(map(_abi_type, item['inputs']))})"


def _abi_type(item: Json) -> str:
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    return f"({','.join(map(_abi_type, item['components']))}){item['type'][5:]}"


def imported(module: str, names: Iterable[str]) -> str:
    """Return an import as ruff sorts it: constants, classes, functions."""
    ordered = sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    return f"from {module} import {', '.join(ordered)}"


# ── Text ────────────────────────────────────────────────────────────────────────────────────────
def first_sentence(text: str) -> str:
    """Return the first sentence, without the blanks of line ends."""
    return re.split(r"(?<=[.:])\s", " ".join(text.split()), maxsplit=1)[0].rstrip(":")


def docstring(paragraphs: Sequence[str], indent: int = 4) -> list[str]:
    """Return a docstring, wrapped; drawings are left to the sources."""
    if not "".join(paragraphs).strip():
        return []
    margin = " " * indent
    wrapped: list[str] = []
    for paragraph in paragraphs:
        text = re.sub(r"```.*?```", "", paragraph, flags=re.DOTALL).replace("\\", "\\\\")
        lines = text.split("\n") if text.startswith("Args:") else [" ".join(text.split())]
        for line in lines:
            start = margin + " " * (len(line) - len(line.lstrip()))
            hanging = start + ("    " if start != margin else "")
            first = '"""' if not wrapped else ""
            wrapped += textwrap.wrap(
                first + line.strip(), WIDTH - 3, initial_indent=start, subsequent_indent=hanging
            )
        wrapped.append("")
    wrapped.pop()
    end = [""] if indent == 4 else []  # before members, not before statements
    if len(wrapped) == 1:
        return [wrapped[0] + '"""', *end]
    return [*wrapped, margin + '"""', *end]


def commented(line: str, comment: str) -> list[str]:
    """Return a member with its comment behind it, or above where the line would be too long."""
    comment = " ".join(comment.split())
    if not comment:
        return [f"    {line}"]
    if len(line) + len(comment) + 8 <= WIDTH:
        return [f"    {line}  # {comment}"]
    return [
        *textwrap.wrap(comment, WIDTH, initial_indent="    # ", subsequent_indent="    # "),
        f"    {line}",
    ]


# ── The syntax tree ─────────────────────────────────────────────────────────────────────────────
def definitions(trees: Mapping[str, Json], texts: Mapping[str, str]) -> list[Definition]:
    """Return the structs and enumerations that interfaces declare.

    Args:
        trees: syntax tree by path. texts: source by path.
    """
    found = []
    for path, tree in trees.items():
        match = re.fullmatch(r"contracts/interfaces/I(\w+)\.sol", path)
        if match is None:
            continue
        source = texts[path].encode()
        for node in tree["nodes"]:
            kind = {"StructDefinition": "struct", "EnumDefinition": "enum"}.get(node["nodeType"])
            if kind is not None:
                said = re.sub(
                    r"\s*@(notice|dev)\s*", " ", node.get("documentation", {}).get("text", "")
                )
                members = {m["name"]: _comment(source, m["src"]) for m in node["members"]}
                owner = OWNERS.get(match[1], match[1])
                found.append(Definition(kind, node["name"], owner, said, members))
    return found


def _comment(source: bytes, place: str) -> str:
    """Return the comment behind a member, in its line; `place` is start:length:file in bytes."""
    start, length, _ = map(int, place.split(":"))
    rest = source[start + length :].split(b"\n", 1)[0].decode()
    return rest.partition("//")[2].strip()


# ── All modules ─────────────────────────────────────────────────────────────────────────────────
def write_all(sources: Sequence[Source], known: Sequence[Definition]) -> dict[str, str]:
    """Return file name → text of every module, formatted.

    An event that several contracts log is a class of the first.

    Raises:
        ValueError: events of one name have different fields.
    """
    taken: dict[str, str] = {}
    fields: dict[str, list[str]] = {}
    for source in sources:
        for item in source.abi:
            if item["type"] != "event":
                continue
            called = RENAMED.get(f"{source.name}.{item['name']}", item["name"])
            first = taken.setdefault(called, source.name)
            own = [f"{_abi_type(part)} {part['name']}" for part in item["inputs"]]
            if (known_as := fields.setdefault(called, own)) != own:
                raise ValueError(
                    f"{first} logs {called}({', '.join(known_as)}), {source.name} logs "
                    f"{called}({', '.join(own)}): rename one of them, in Solidity or in RENAMED"
                )
    modules = {
        "__init__.py": '"""Typed bindings, one module a contract (scripts/bindings.py)."""\n'
    }
    for source in sources:
        modules[f"{snake(source.name)}.py"] = formatted(Module(source, known).write(taken))
    return modules


def formatted(text: str) -> str:
    """Return a module as ruff formats it."""
    command = [sys.executable, "-m", "ruff", "format", "-q", "--stdin-filename", "x.py", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
