"""What each queue asks of the process that takes from it."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

from oracle.config import Settings
from oracle.errors import ConfigInvalid
from oracle.queue.messages import QUEUES


class TorchMissing(ConfigInvalid):
    """The process would run models, and PyTorch is not installed."""

    exit_code = 72  # EX_OSFILE


@dataclass(frozen=True, slots=True)
class Role:
    """A queue's needs."""

    torch: bool = True  # runs models
    solo: bool = True  # one process that does one thing after the other, without children
    one_by_one: bool = True  # messages are fetched singly: they take long, or queues take turns


ROLES = {
    "infer": Role(solo=False, one_by_one=False),
    "submit": Role(torch=False, one_by_one=False),  # one owner of the key and its nonces
    "respond": Role(),  # its traces are served by a thread of the same process
    "audit": Role(),
    "value": Role(),
    "watch": Role(torch=False, solo=False, one_by_one=False),
}
assert set(ROLES) == set(QUEUES), "every queue has its role"


def roles_of(queues: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Return the roles of queues, by their full names.

    Raises:
        ConfigInvalid: a queue that no message goes to.
    """
    known = {settings.queue(role): role for role in ROLES}
    if unknown := sorted(set(queues) - set(known)):
        raise ConfigInvalid(
            f"no message ever goes to {', '.join(unknown)}",
            hint=f"TALLYSTICK_OPERATOR={settings.operator!r} has the queues " + ", ".join(known),
        )
    return tuple(known[queue] for queue in queues)


def require_torch(roles: Iterable[str]) -> None:
    """Make sure that models can be run where a role runs them.

    Raises:
        TorchMissing: they cannot.
    """
    needing = [role for role in roles if ROLES[role].torch]
    if needing and importlib.util.find_spec("torch") is None:
        raise TorchMissing(
            f"PyTorch is not installed, and the queues {', '.join(needing)} need it",
            hint="pip install 'tallystick[worker]'; no message was taken",
        )
