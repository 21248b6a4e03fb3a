"""A challenger of aggregates: computes each again, and convicts who published another.

What is to be sent follows from the chain alone (`challenging.look`), so nothing is lost with a
process that ends.
"""

from pathlib import Path

from eth_account.signers.local import LocalAccount

from oracle.agents.training.round_agent import MOVE, RoundAgent
from oracle.chain.wallet import Wallet
from oracle.services.network import Network
from oracle.services.training import challenging, rounds, vector_demands
from oracle.services.training.challenging import AggregateStand
from oracle.types import Say


class AggregateChallenger(RoundAgent):
    """One account that checks aggregates of rounds of training."""

    role = "challenger"

    def __init__(
        self, network: Network, account: LocalAccount, folder: Path, *, say: Say | None = None
    ) -> None:
        """Open the challenger's folder.

        Raises:
            ConfigInvalid: another process uses it, or it is another account's.
        """
        super().__init__(network, account, folder, say=say)
        self._wallet = Wallet(network.rpc, account, chain_id=network.contracts.chain_id)
        self._right: set[tuple[int, int]] = set()  # rounds and attempts

    def _round(self, round_id: int) -> None:
        network, subject = self._network, round_id.to_bytes(32)
        info = rounds.show(network, round_id)
        for call in vector_demands.release(network, self._wallet, round_id):
            self.submit(MOVE, subject, call)
            return
        if info.phase in rounds.ENDED:
            self._over.add(round_id)
            return
        if (round_id, info.attempt) in self._right:
            return
        step = challenging.look(network, info, self.address, lambda _done, _total: None)
        if step.calls:
            self.submit(MOVE, subject, step.calls[0])
            self._say(f"round {round_id}: {step.calls[0].label}")
        elif step.stand is AggregateStand.RIGHT:
            self._right.add((round_id, info.attempt))
            self._say(f"round {round_id}: {step.stand.value}")
