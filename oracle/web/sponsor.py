"""The page's port to whoever pays for what its visitors ask; `oracle.api.page` implements it."""

from typing import Protocol

from oracle.errors import Refused
from oracle.services.inference import Asked
from oracle.services.quoting import Ask
from oracle.types import Address, Amount


class KeyExists(Refused):
    """A deposit has its key already; `mark` tells its secret from earlier and later ones."""

    def __init__(self, mark: str) -> None:
        super().__init__("this deposit has its API key already")
        self.mark = mark


class VisitorSponsor(Protocol):
    """Pays for a visitor's questions. All methods may be called by several threads."""

    @property
    def address(self) -> Address:
        """The requester that the chain will see."""

    def left(self, visit: str) -> int:
        """Return how many questions a visit may still ask."""

    def apply(self, model_id: int, note: str) -> None:
        """Apply for access to a model in the sponsor's name.

        Raises:
            ContractError: the model takes no applications, or has one of the sponsor.
        """

    def mint(self, name: str, budget: Amount, replacing: str = "") -> str:
        """Make an API key for somebody who paid the budget in; return its secret.

        Args:
            replacing: mark of the secret that the key has now and loses: whoever paid lost it.

        Raises:
            KeyExists: there is a key of that name, and `replacing` is empty.
            Refused: `replacing` is not the mark of its secret.
        """

    def ask(self, visit: str, ask: Ask) -> Asked:
        """Ask in the sponsor's name.

        Raises:
            Refused: the visit has used up its questions, or the budget is spent.
            what `quoting.quote` and `inference.ask` raise.
        """
