"""How one error reads: the vocabulary of this package."""

from typing import NamedTuple


class Sentence(NamedTuple):
    """How one error reads.

    A placeholder is an argument of the error; what follows the colon says how to show it: `usd` an
    amount of the token, `eth` wei, `time` unix seconds, `span` seconds, `id` a digest (shortened),
    `key` a request id. Where contracts name an argument differently, its position stands for it.
    """

    message: str
    hint: str = ""
    heals_at: str | bool = False  # argument with the time, or True: later, at no known time
