"""How people write money, time and accounts, and how we write them back. Pure."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from oracle.errors import InputInvalid
from oracle.types import TOKEN_DECIMALS, Address, Amount, RequestId, Timestamp, Wei

# 13 digits of dollars: below 2**64 token units, the width of a fee on chain
_AMOUNT = re.compile(
    r"\$?(\d{1,13}|\d{1,3}(?:,\d{3}){1,4})(?:\.(\d+))?(?:\s*(?:usd|dollars?))?",
    re.IGNORECASE | re.ASCII,
)
_ETHER = re.compile(r"(\d{1,9})(?:\.(\d{1,18}))?(?:\s*eth)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d{1,10})\s*(s|m|h|d|w)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?\s*%", re.ASCII)
_RATE = re.compile(r"(\d{1,9})\s*/\s*(.+)", re.ASCII)
MAX_UINT32 = 2**32 - 1


def parse_amount(text: str) -> Amount:
    """Read dollars: `0.05`, `$1,250.05`, `0.05 USD`.

    Raises:
        InputInvalid: not a decimal number, negative, or finer than 6 decimals.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise InputInvalid(
            f"{text!r:.40} is not an amount", hint="write dollars as a decimal, for example 0.05"
        )
    whole, fraction = match[1], match[2] or ""
    if len(fraction.rstrip("0")) > TOKEN_DECIMALS:
        raise InputInvalid(
            f"{text!r:.40} has {len(fraction)} decimals",
            hint=f"a dollar has {TOKEN_DECIMALS}: the smallest amount is 0.000001",
        )
    return Amount(
        int(whole.replace(",", "")) * 10**TOKEN_DECIMALS
        + int(fraction[:TOKEN_DECIMALS].ljust(6, "0"))
    )


def decimal(amount: Amount) -> str:
    """Write token units as a decimal without a unit: at least 2 decimals, at most 6."""
    whole, units = divmod(abs(amount), 10**TOKEN_DECIMALS)
    fraction = f"{units:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{fraction}"


def format_amount(amount: Amount) -> str:
    """Write token units with their unit, as contract errors do: `$1,250.05`."""
    whole, _, fraction = decimal(amount).lstrip("-").partition(".")
    return f"{'-' if amount < 0 else ''}${int(whole):,}.{fraction}"


def format_ether(wei: Wei) -> str:
    """Write the chain's currency, to a millionth; less than that in wei."""
    if 0 < wei < 10**12:
        return f"{wei} wei"
    return f"{wei // 10**12 / 10**6:.6f}".rstrip("0").rstrip(".") + " ETH"


def parse_ether(text: str) -> Wei:
    """Read the chain's currency: `0.05`, `0.05 ETH`.

    Raises:
        InputInvalid: not a decimal number, or finer than a wei.
    """
    match = _ETHER.fullmatch(text.strip())
    if match is None:
        raise InputInvalid(f"{text!r:.40} is not an amount", hint="write it like 0.05, in ETH")
    return Wei(int(match[1]) * 10**18 + int((match[2] or "").ljust(18, "0")))


def parse_duration(text: str) -> int:
    """Read seconds: `90s`, `5m`, `2h`, `1d`, `2w`, or a plain number of seconds.

    Raises:
        InputInvalid: anything else, or more than 2**32 - 1 seconds.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = int(match[1]) * _SECONDS[(match[2] or "s").lower()] if match else -1
    if not 0 <= seconds <= MAX_UINT32:
        raise InputInvalid(
            f"{text!r:.40} is not a duration", hint="write it like 90s, 5m, 2h, 1d or 2w"
        )
    return seconds


def format_duration(seconds: int) -> str:
    """Write seconds in the largest unit that leaves no rest: `90s`, `5m`, `2h`."""
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def counted(number: int, one: str) -> str:
    """Write how many there are: `1 file`, `2 files`."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def format_time(moment: Timestamp) -> str:
    """Write unix seconds as UTC; 0 is `never`."""
    if moment == 0:
        return "never"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def parse_share(text: str) -> int:
    """Read basis points of the fee: `70%`, `2.5%`.

    Raises:
        InputInvalid: not a percentage of 0 to 100 with at most 2 decimals.
    """
    match = _PERCENT.fullmatch(text.strip())
    bps = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else -1
    if not 0 <= bps <= 10_000:
        raise InputInvalid(f"{text!r:.40} is not a share", hint="write it like 70% or 2.5%")
    return bps


def format_share(bps: int) -> str:
    """Write basis points as a percentage."""
    return f"{bps / 100:g}%"


class Rate(NamedTuple):
    """A rate limit; (0, 0) is none."""

    requests: int
    window: int  # seconds


NO_LIMIT = Rate(0, 0)


def parse_rate(text: str) -> Rate:
    """Read a rate limit: `10/1h`, or `none`.

    Raises:
        InputInvalid: anything else.
    """
    if text.strip().lower() == "none":
        return NO_LIMIT
    match = _RATE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise InputInvalid(f"{text!r:.40} is not a rate limit", hint="write it like 10/1h, or none")
    return Rate(int(match[1]), parse_duration(match[2]))


def format_rate(count: int, seconds: int) -> str:
    """Write a rate limit as `parse_rate` reads it."""
    return f"{count}/{format_duration(seconds)}" if count else "none"


def parse_address(text: str) -> Address:
    """Read an account; one in mixed case must have the right EIP-55 checksum.

    Raises:
        InputInvalid: not 20 bytes in hex, or a wrong checksum (a mistyped letter).
    """
    from eth_utils import address as accounts  # noqa: PLC0415 - takes 0.15 s to import

    text = text.strip()
    if not accounts.is_address(text):
        raise InputInvalid(
            f"{text!r:.60} is not an address", hint="0x and 40 hex digits, or the name of a wallet"
        )
    mixed = text[2:] not in (text[2:].lower(), text[2:].upper())
    if mixed and not accounts.is_checksum_address(text):
        raise InputInvalid(f"{text} has a wrong checksum", hint="compare it letter by letter")
    return Address(accounts.to_checksum_address(text))


def parse_request_id(text: str) -> RequestId:
    """Read a request's id.

    Raises:
        InputInvalid: not 0x and 64 hex digits.
    """
    return RequestId(_bytes32(text, "a request id"))


def _bytes32(text: str, what: str) -> bytes:
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", text.strip()):
        raise InputInvalid(f"{text!r:.80} is not {what}", hint="0x and 64 hex digits")
    return bytes.fromhex(text.strip()[2:])
