"""Options that several commands share, and how their text becomes values."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer

from oracle.errors import InputInvalid, did_you_mean
from oracle.services import amounts
from oracle.services.data.credits import parse_credits

T = TypeVar("T")


def named(flag: str, parse: Callable[[str], T]) -> Callable[[Any], T]:
    """Return the parser with the option's name in front of its complaints."""

    def convert(value: Any) -> T:
        if not isinstance(value, str):  # a default, parsed already
            return value  # type: ignore[no-any-return]
        try:
            return parse(value)
        except InputInvalid as error:
            raise InputInvalid(f"{flag}: {error}", hint=error.hint) from error

    convert.__name__ = parse.__name__
    return convert


def amount(flag: str, text: str) -> Any:
    """Return an option in dollars."""
    return typer.Option(flag, parser=named(flag, amounts.parse_amount), metavar="USD", help=text)


def duration(flag: str, text: str, shown: str | bool = True) -> Any:
    """Return an option like 90s, 5m, 2h; `shown` is how its default reads."""
    return typer.Option(
        flag,
        parser=named(flag, amounts.parse_duration),
        metavar="TIME",
        help=text,
        show_default=shown,
    )


def share(flag: str, text: str) -> Any:
    """Return an option like 70%."""
    return typer.Option(flag, parser=named(flag, amounts.parse_share), metavar="PERCENT", help=text)


def rate(flag: str, text: str) -> Any:
    """Return an option like 10/1h."""
    return typer.Option(flag, parser=named(flag, amounts.parse_rate), metavar="N/TIME", help=text)


def amount_argument(text: str) -> Any:
    """Return an argument in dollars."""
    return typer.Argument(parser=named("AMOUNT", amounts.parse_amount), metavar="AMOUNT", help=text)


def request_argument(text: str) -> Any:
    """Return an argument that is a request's id."""
    return typer.Argument(
        parser=named("REQUEST", amounts.parse_request_id), metavar="REQUEST", help=text
    )


def credits_argument(text: str) -> Any:
    """Return an argument in credits, as test rows answered right."""
    return typer.Argument(parser=named("CREDITS", parse_credits), metavar="CREDITS", help=text)


def choice(flag: str, known: Mapping[str, T]) -> Callable[[Any], T]:
    """Return a parser of one of the known words; complaints say the closest one."""

    def parse(text: str) -> T:
        if text.lower() in known:
            return known[text.lower()]
        raise InputInvalid(
            f"{text!r} is not known", hint=f"{did_you_mean(text, known)}one of {', '.join(known)}"
        )

    return named(flag, parse)


def assignments(flag: str, values: list[str]) -> dict[str, str]:
    """Read `name=value` given several times.

    Raises:
        InputInvalid: no `=`, or a name given twice.
    """
    result: dict[str, str] = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not sign or not name or not text:
            raise InputInvalid(f"{flag} {value!r} is not NAME=VALUE")
        if name in result:
            raise InputInvalid(f"{flag} names {name} twice")
        result[name] = text
    return result


def number(flag: str, text: str) -> float:
    """Read a number, whole ones as int.

    Raises:
        InputInvalid: it is none.
    """
    try:
        return int(text) if text.lstrip("+-").isdecimal() else float(text)
    except ValueError as error:
        raise InputInvalid(f"{flag}: {text!r} is not a number") from error
