"""Names of addresses: of the wallets in this server's home, and of the network's contracts."""

import re
import time
from collections.abc import Mapping
from dataclasses import fields

from markupsafe import Markup, escape

from oracle.config import Settings
from oracle.errors import TallystickError
from oracle.services import wallets
from oracle.types import Address, Contracts

FRESH = 5.0  # seconds until the keystores are looked at again
_LONG = re.compile(r"0x(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{40})\b")


class Names:
    """Looks names up; safe to share between threads."""

    def __init__(self, settings: Settings, contracts: Contracts) -> None:
        self._settings = settings
        self._contracts = {
            str(getattr(contracts, one.name)): one.name.replace("_", " ")
            for one in fields(contracts)
            if one.type is not int
        }
        self._kept: tuple[float, Mapping[str, str]] = (-FRESH, {})

    def __call__(self, address: Address | str) -> str:
        """Return the name of an address; "" when nobody here knows one."""
        return self._known().get(str(address), "")

    def said(self, text: str) -> Markup:
        """Return a sentence with its addresses and digests as names, or shortened."""
        parts, end = [], 0
        for found in _LONG.finditer(text):
            whole = found.group()
            parts += [escape(text[end : found.start()]), self._shown(whole)]
            end = found.end()
        return Markup("").join([*parts, escape(text[end:])])

    def _shown(self, whole: str) -> Markup:
        name = self(whole)
        shown = name or short(whole, 4)
        return Markup('<code title="{}">{}</code>').format(whole, shown)

    def _known(self) -> Mapping[str, str]:
        read, known = self._kept
        if time.monotonic() - read > FRESH:
            try:
                mine = {str(w.address): w.name for w in wallets.list_wallets(self._settings)}
            except TallystickError:  # a broken keystore: its owner hears of it elsewhere
                mine = {}
            known = {**mine, **self._contracts}
            self._kept = (time.monotonic(), known)
        return known


def short(value: bytes | str, keep: int = 6) -> str:
    """Return the beginning and the end of a digest or an address."""
    text = "0x" + value.hex() if isinstance(value, bytes) else value
    return text if len(text) <= 2 * keep + 3 else f"{text[: keep + 2]}…{text[-keep:]}"
