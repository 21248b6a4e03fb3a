"""Pays for visitors with one wallet and its prepaid balance."""

import threading
from collections import OrderedDict

from oracle.chain.wallet import Wallet
from oracle.errors import Refused
from oracle.services import access, inference, quoting
from oracle.services.amounts import format_amount
from oracle.services.inference import Asked
from oracle.services.network import Network
from oracle.services.quoting import Ask
from oracle.types import Address, Amount
from oracle.web.sponsor import KeyExists

_VISITS = 4096  # that are remembered; who comes after so many others begins anew


class WalletSponsor:
    """Implements `VisitorSponsor` with one wallet and its prepaid balance."""

    def __init__(
        self, network: Network, wallet: Wallet, *, questions: int = 100, budget: Amount
    ) -> None:
        """Take the wallet.

        Args:
            questions: that one visit may ask.
            budget: of fees, over the life of this object.
        """
        self._network, self._wallet = network, wallet
        self._questions, self._budget = questions, int(budget)
        self.minted: dict[str, Amount] = {}
        self.secrets = 0
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def address(self) -> Address:
        """The wallet's."""
        return self._wallet.address

    def left(self, visit: str) -> int:
        """Return how many questions a visit may still ask."""
        with self._lock:
            return self._questions - self._asked.get(visit, 0)

    def apply(self, model_id: int, note: str) -> None:
        """Apply for access in the wallet's name."""
        access.apply(self._network, self._wallet, model_id, note)

    def mint(self, name: str, budget: Amount, replacing: str = "") -> str:
        """Note a key; its secret is numbered, and the number its mark."""
        mark = str(self.secrets)
        if name not in self.minted:
            self.minted[name] = budget
        elif not replacing:
            raise KeyExists(mark)
        elif replacing != mark:
            raise Refused("this key was replaced meanwhile")
        self.secrets += 1
        return f"tsk_{self.secrets}"

    def ask(self, visit: str, ask: Ask) -> Asked:
        """Ask in the wallet's name (see `VisitorSponsor`)."""
        prepayment = quoting.quote(self._network, self.address, ask, stdin=bytes)
        fee = prepayment.quote.fee
        self._take(visit, fee)
        try:
            return inference.ask(self._network, self._wallet, prepayment)
        except BaseException:
            self._give_back(visit, fee)
            raise

    def _take(self, visit: str, fee: Amount) -> None:
        with self._lock:
            used = self._asked.pop(visit, 0)
            self._asked[visit] = used
            if used >= self._questions:
                raise Refused(
                    f"this visit has asked its {self._questions} sponsored questions",
                    hint="connect a wallet to go on",
                )
            if fee > self._budget:
                raise Refused(
                    f"the sponsor has {format_amount(Amount(self._budget))} left, "
                    f"the fee is {format_amount(fee)}",
                    hint="connect a wallet to go on",
                )
            self._budget -= fee
            self._asked[visit] = used + 1
            while len(self._asked) > _VISITS:
                self._asked.popitem(last=False)

    def _give_back(self, visit: str, fee: Amount) -> None:
        with self._lock:
            self._budget += fee
            if visit in self._asked:
                self._asked[visit] -= 1
