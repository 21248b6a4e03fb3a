"""What contracts are asked and refuse, in words: calls and revert data. They are in sentences/."""

import functools
import re
import string
import time
from collections.abc import Callable, Mapping
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature, get_abi_input_types
from eth_utils.crypto import keccak

from oracle.chain import artifacts, codec
from oracle.chain.codec import NAMES, address
from oracle.chain.rpc import RpcError
from oracle.chain.sentences import CALLS, SENTENCES
from oracle.errors import Refused
from oracle.types import TOKEN_DECIMALS, Timestamp

_BUILT_IN: tuple[dict[str, Any], ...] = (  # of Solidity itself, in no ABI
    {"type": "error", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)
_PANICS = {
    0x01: "an assertion does not hold",
    0x11: "a number overflows",
    0x12: "a division by zero",
    0x21: "a value outside its enumeration",
    0x31: "an empty array",
    0x32: "an index outside its array",
    0x41: "too much memory",
}
_TURNS = ("nobody's", "the challenger's", "the trace", "a node or leaves", "a step")
_STATUSES = ("unknown", "committed", "revealed", "excluded", "displaced", "closed")
_POLICIES = ("open", "allow-list", "on-request")
_REVERTED = 3  # JSON-RPC code of a reverted execution
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class ContractError(Refused):
    """A contract said no.

    Attributes:
        name: the error's name in Solidity, "" when the contract gave no reason we know.
        values: its arguments by name.
        retry_at: unix seconds from which a repeat may succeed, 0 when time heals it at an unknown
            moment, None when time does not heal it.
    """

    def __init__(
        self,
        name: str,
        values: Mapping[str, Any],
        message: str,
        *,
        hint: str = "",
        retry_at: Timestamp | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.values = dict(values)
        self.retry_at = retry_at

    @property
    def permanent(self) -> bool:
        """Whether the same call will be refused for ever."""
        return self.retry_at is None


def decode(data: bytes, clock: Callable[[], float] = time.time) -> ContractError:
    """Return the error that revert data stands for; never raises.

    Args:
        data: as the node reports it; may be empty.
        clock: unix seconds, for "in 5 minutes".
    """
    entry = _table().get(data[:4])
    if entry is None:
        shown = f"0x{data[:36].hex()}" if data else "no reason"
        return ContractError(
            "",
            {},
            f"The contract refused with {shown}.",
            hint="is it deployed on this chain, in the version of this program?",
        )
    name, names, types = entry
    try:
        raw = codec.decode(types, data[4:])
    except DecodingError:
        return ContractError(name, {}, f"The contract refused: {name} (arguments unreadable).")
    values: dict[str, Any] = {
        argument: address(value) if kind == "address" else value
        for argument, kind, value in zip(names, types, raw, strict=True)
    }
    sentence = SENTENCES.get(name)
    if sentence is None:  # an error newer than this program
        return ContractError(name, values, f"The contract refused: {name} {values}.")
    words = _Words(clock)
    retry_at = None
    if sentence.heals_at is not False:
        retry_at = Timestamp(0 if sentence.heals_at is True else values[str(sentence.heals_at)])
    return ContractError(
        name,
        values,
        words.format(sentence.message, *values.values(), **values),
        hint=words.format(sentence.hint, *values.values(), **values),
        retry_at=retry_at,
    )


def from_rpc(error: RpcError) -> ContractError | None:
    """Return the contract's error inside a node's error; None when it is not a revert.

    Nodes differ: data is the 0x-hex itself, or an object that holds it, or only the text says
    "revert".
    """
    data = error.data
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return decode(bytes.fromhex(data[2:]))
        except ValueError:
            return decode(b"")
    if error.code == _REVERTED or "revert" in error.message.lower():
        return decode(b"")
    return None


def describe(function: str, arguments: Mapping[str, Any]) -> str:
    """Return what a call of `Contract.function` does, as CALLS or else its name says it."""
    sentence = CALLS.get(function)
    if sentence is None:
        return re.sub(r"(?=[A-Z])", " ", function.partition(".")[2]).lower()
    return _Words(time.time).format(sentence, **arguments)


class _Words(string.Formatter):
    """Formats values as sentences/ names the ways."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "time":
            return moment(value, self._clock())
        if "|" in format_spec:
            return format_spec.split("|")[not value]
        return _SHOWN[format_spec](value) if format_spec in _SHOWN else str(value)


def dollars(amount: int) -> str:
    """Return token units as dollars, exactly: at least two decimals, at most six."""
    whole, part = divmod(amount, 10**TOKEN_DECIMALS)
    decimals = f"{part:0{TOKEN_DECIMALS}d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{decimals}"


def span(seconds: int) -> str:
    """Return a duration in its largest fitting unit: "90 seconds", "2 hours"."""
    for size, unit in _SPANS:
        if seconds >= 2 * size or (seconds == size and size > 1):
            count = seconds / size
            return f"{count:.1f}".removesuffix(".0") + f" {unit}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def moment(timestamp: int, now: float) -> str:
    """Return unix seconds as UTC and relative to now."""
    if timestamp >= 2**40 - 1:  # the largest uint40
        return "the end of time"
    utc = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(timestamp, 253402300799)))
    away = round(timestamp - now)
    return f"{utc} (in {span(away)})" if away >= 0 else f"{utc} ({span(-away)} ago)"


_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "count": lambda items: str(len(items)),
    "usd": dollars,
    "eth": lambda wei: f"{wei / 10**18:.6f}".rstrip("0").rstrip(".") + " ETH",
    "span": span,
    "id": lambda digest: f"0x{digest.hex()[:8]}…{digest.hex()[-4:]}",
    "key": lambda digest: f"0x{digest.hex()}",
    "policy": lambda policy: _POLICIES[policy],
    "turn": lambda turn: _TURNS[turn],
    "mover": lambda mover: ("nobody's", "the challenger's", "the valuator's")[mover],
    "round": lambda stage: ("unknown", "collecting", "being valued", "settled", "void")[stage],
    "contribution": lambda status: _STATUSES[status],
    "stage": lambda stage: ("undisputed", "waiting for the draw", "voting", "closed")[stage],
    "part": lambda part: part.name.lower(),
    "panic": lambda code: _PANICS.get(code, f"panic {code:#04x}"),
}


@functools.cache
def _table() -> dict[bytes, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    items: list[Any] = [*_BUILT_IN]
    for contract in NAMES:
        items += [item for item in artifacts.load(contract).abi if item["type"] == "error"]
    return {
        keccak(text=abi_to_signature(item))[:4]: (
            item["name"],
            tuple(i["name"] for i in item["inputs"]),
            tuple(get_abi_input_types(item)),
        )
        for item in items
    }
