"""How people write credits, and how we write them back: in points of accuracy. Pure."""

from oracle.errors import InputInvalid
from oracle.types import Credits

POINT = 1 << 40  # credits: one point of accuracy, about (docs/valuation.md, section 2)
MAX_POINTS = 1 << 12  # that anybody can be thought to hold


def format_credits(credits: int) -> str:
    """Write credits: `0.516000`."""
    return f"{credits / POINT:.6f}"


def parse_credits(text: str) -> Credits:
    """Read credits in points of accuracy: `0.05`; rounded down to a credit (2⁻⁴⁰ of a point).

    Raises:
        InputInvalid: not a positive decimal.
    """
    whole, _, fraction = text.strip().partition(".")
    digits = whole + fraction
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 24:
        raise InputInvalid(f"{text!r:.40} is no number of credits", hint="write it like 0.05")
    credits = int(digits) * POINT // 10 ** len(fraction)
    if not 0 < credits <= MAX_POINTS * POINT:
        raise InputInvalid(f"{text!r:.40} is no number of credits", hint="write it like 0.05")
    return Credits(credits)
