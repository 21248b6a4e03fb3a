"""What the chapters share: the network, the report, the screen, and the models once published."""

from dataclasses import dataclass, field
from pathlib import Path

from oracle.chain.wallet import Wallet
from oracle.demo.report import Record
from oracle.demo.screen import Screen
from oracle.devnet.network import Devnet
from oracle.errors import TallystickError
from oracle.services.network import Network
from oracle.services.publishing import PublishedVersion
from oracle.types import Address


@dataclass(slots=True)
class DemoContext:
    """One performance."""

    devnet: Devnet
    record: Record
    screen: Screen
    folder: Path  # for models while they are built
    models: dict[str, PublishedVersion] = field(default_factory=dict)  # "digits", "sentences"
    _wallets: dict[str, Wallet] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """The network as services see it."""
        return self.devnet.network

    def wallet(self, name: str) -> Wallet:
        """Return a wallet, unlocked once."""
        if name not in self._wallets:
            self._wallets[name] = self.devnet.wallet(name)
        return self._wallets[name]

    def address(self, name: str) -> Address:
        """Return the address of a wallet."""
        return self.devnet.accounts[name]

    def name_of(self, address: Address) -> str:
        """Return the name of an account; the address when it has none."""
        names = {account: name for name, account in self.devnet.accounts.items()}
        return names.get(address, address)

    def reach(self, moment: int) -> None:
        """Move the chain's clock on to a unix time, as nobody wants to sit through a deadline."""
        rpc = self.network.rpc
        block: dict[str, str] = rpc.call("eth_getBlockByNumber", "latest", False)
        if (ahead := moment - int(block["timestamp"], 16)) > 0:
            self.pass_time(ahead)

    def pass_time(self, seconds: int) -> None:
        """Move the chain's clock on."""
        self.network.rpc.call("evm_increaseTime", seconds)
        self.network.rpc.call("evm_mine")

    def expect(self, what: str, holds: bool, seen: object = "") -> None:
        """State what has to be so.

        Raises:
            ExpectationFailed: it is not.
        """
        self.record.expect(what, holds, seen)
        self.screen.well(what)

    def refusal(self, what: str, error: TallystickError, *names: str) -> None:
        """Show an error that had to come, and state that it is one of those named.

        Raises:
            ExpectationFailed: it is another.
        """
        refusal = self.record.refused(what, error)
        self.screen.refused(what, error)
        self.record.expect(
            f"{what}: refused with {' or '.join(names)}", refusal.error in names, error
        )
