"""What agents of rounds share: rounds are looked at until they are over, and what is owed taken."""

from abc import abstractmethod
from functools import partial
from pathlib import Path

from eth_account.signers.local import LocalAccount

from oracle.agents.agent import OWN, Agent
from oracle.services.network import Network
from oracle.types import Say

MOVE = "move"  # the one transaction about a round


class RoundAgent(Agent):
    """One account at work in rounds of training."""

    def __init__(
        self, network: Network, account: LocalAccount, folder: Path, *, say: Say | None = None
    ) -> None:
        """Open the agent's folder.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._over: set[int] = set()

    def look(self) -> None:
        for round_id in range(1, self._network.training.round_count() + 1):
            if round_id not in self._over:
                self.attend(round_id.to_bytes(32), partial(self._round, round_id))
        owed = self._network.training.balance_of(self.address)
        if owed and not self.busy(OWN):
            self.submit("withdraw", OWN, self._network.training.withdraw())
        if self._network.training_game.bond_of(self.address) and not self.busy(OWN):
            self.submit("bonds", OWN, self._network.training_game.withdraw_bond())

    @abstractmethod
    def _round(self, round_id: int) -> None:
        """Submit what is due in a round; put it into `_over` when nothing can come any more."""
