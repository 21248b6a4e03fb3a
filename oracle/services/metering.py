"""What an answer of a metered version costs: at most the fee, by its units. Pure."""

from dataclasses import dataclass

from oracle.errors import InputInvalid
from oracle.services.amounts import format_amount
from oracle.types import Amount, Delivery, Terms

THOUSAND = 1_000


@dataclass(frozen=True, slots=True)
class Bill:
    """What becomes of a fee once its answer is settled; `used` and `returned` add up to it."""

    fee: Amount  # escrowed with the request
    max_units: int  # that it is the price of; 0 = flat
    units: int  # as delivered
    used: Amount
    returned: Amount

    def __str__(self) -> str:
        """Say it in a line: `5 of 64 units: $0.01 used, $0.09 returned`."""
        used, returned = format_amount(self.used), format_amount(self.returned)
        return f"{self.units:,} of {self.max_units:,} units: {used} used, {returned} returned"


def bill(terms: Terms, delivery: Delivery) -> Bill:
    """Return what a delivery costs under its terms."""
    used = terms.price(delivery.stamp.units)
    returned = Amount(terms.fee - used)
    return Bill(terms.fee, terms.max_units, delivery.stamp.units, used, returned)


def cap(price: Amount, per: int, max_units: int) -> Amount:
    """Return the fee of a version whose units cost `price` for `per` of them, rounded up.

    Raises:
        InputInvalid: the version has no units, or `per` is none.
    """
    if not max_units:
        raise InputInvalid(
            "--per prices units, and each answer of this version costs the same",
            hint='name what is counted in model.json: "unit": {"output": NAME, "maximum": N}',
        )
    if per < 1:
        raise InputInvalid(f"--per {per} is no number of units", hint="for example --per 1000")
    return Amount(-(-price * max_units // per))


def price_text(fee: Amount, max_units: int) -> str:
    """Say what answers cost: `$0.05`, or `at most $0.05: 64 units, $0.78125 per 1,000`."""
    if not max_units:
        return format_amount(fee)
    rate = format_amount(Amount(round(fee * THOUSAND / max_units)))
    return f"at most {format_amount(fee)}: {max_units:,} units, {rate} per {THOUSAND:,}"
