"""How people write credits, and how we write them back: in test rows answered right. Pure."""

from oracle.errors import InputInvalid
from oracle.types import Credits

ROW = 1 << 40  # credits: one test row answered right, about (docs/valuation.md, section 2)
MAX_ROWS = 1 << 24  # that anybody can be thought to hold


def format_credits(credits: int) -> str:
    """Write credits: `0.516000`."""
    return f"{credits / ROW:.6f}"


def parse_credits(text: str) -> Credits:
    """Read credits in test rows: `0.05`; rounded down to a credit (2⁻⁴⁰ of a row).

    Raises:
        InputInvalid: not a positive decimal.
    """
    whole, _, fraction = text.strip().partition(".")
    digits = whole + fraction
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 24:
        raise InputInvalid(f"{text!r:.40} is no number of credits", hint="write it like 0.05")
    credits = int(digits) * ROW // 10 ** len(fraction)
    if not 0 < credits <= MAX_ROWS * ROW:
        raise InputInvalid(f"{text!r:.40} is no number of credits", hint="write it like 0.05")
    return Credits(credits)
