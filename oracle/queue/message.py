"""What every message is: a frozen dataclass whose fields are the arguments of a Celery task.

JSON at the border, read strictly: 32-byte words are 0x-hex, and a field that is not known is
refused, so that sender and receiver cannot drift apart.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from oracle.errors import InputInvalid


class MessageMalformed(InputInvalid):
    """A message is not what its task takes."""


class Message:
    """One call of a task."""

    __slots__ = ()
    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]  # of the task
    queue: ClassVar[str]  # role of the processes that take it; the operator's name comes before it

    def to_json(self) -> dict[str, Any]:
        """Return the task's keyword arguments as JSON data."""
        kind: Any = type(self)
        body: dict[str, Any] = _adapter(kind).dump_python(self, mode="json")
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read a task's keyword arguments.

        Raises:
            MessageMalformed: a field is missing, unknown or malformed.
        """
        kind: Any = cls
        try:
            message: Self = _adapter(kind).validate_python(dict(body))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found)
            raise MessageMalformed(f"{cls.name}: {said:.500}") from error
        return message


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)
