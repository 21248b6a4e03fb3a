"""A request as one JSON text, for the column that keeps it."""

import json
from typing import Any

from oracle.types import Request, Terms


def dump(request: Request) -> str:
    """Return the text; words as hex, terms packed."""
    values: dict[str, Any] = {name: getattr(request, name) for name in Request.__slots__}
    values["terms"] = hex(request.terms.pack())
    return json.dumps(
        {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
    )


def load(text: str) -> Request:
    """Read what `dump` wrote."""
    values = json.loads(text)
    for name in ("input_root", "input_cid", "params", "envelope"):
        values[name] = bytes.fromhex(values[name])
    values["terms"] = Terms.unpack(int(values["terms"], 16))
    return Request(**values)
