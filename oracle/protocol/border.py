"""How pydantic reads our dataclasses from JSON: strictly, and 32-byte words as 0x-hex."""

import re
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, PlainSerializer

from oracle.types import Bytes32, RequestId

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_HEX32 = re.compile(r"0x[0-9a-f]{64}")


def _from_hex(value: object) -> object:
    if isinstance(value, str):
        if not _HEX32.fullmatch(value):
            raise ValueError("not 0x and 64 lower-case hex digits")
        return bytes.fromhex(value[2:])
    return value


_AS_HEX = (BeforeValidator(_from_hex), PlainSerializer(lambda value: "0x" + value.hex()))
HexBytes32 = Annotated[Bytes32, *_AS_HEX]
HexRequestId = Annotated[RequestId, *_AS_HEX]
