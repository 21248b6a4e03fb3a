"""Transactions that a visitor's wallet signs, one at a time, as the services would send them.

```
 page                         here                                   the visitor's wallet
  │ act, account ───────────▶ the service runs with a wallet          │
  │                           that only names its first call          │
  │ ◀─── to, data, value ──── nothing is sent                         │
  │ ──────────────────────────────────────────────────────────────▶ signs, sends
  │ the same act again, until nothing is left to send
```
A service may be repeated at any point: what is done stays done.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oracle.chain.codec import interface
from oracle.chain.contract import Call
from oracle.chain.rpc import Node
from oracle.chain.transactions import Receipt
from oracle.chain.wallet import Wallet
from oracle.errors import InputInvalid
from oracle.services import balances, committee, disputes, operators, publishing, requests
from oracle.services.amounts import parse_address, parse_amount, parse_duration, parse_request_id
from oracle.services.data import contributions
from oracle.services.network import Network
from oracle.services.publishing import Check, SaleTerms
from oracle.services.receipts import send
from oracle.types import Address

FIRST = (  # calls after which an act goes on
    ("TestDollar", "approve"),
    ("ModelRegistry", "registerModel"),
    ("ProgramRegistry", "registerProgram"),
    ("DisputeGame", "releaseBond"),
    ("Committee", "withdrawBond"),
)


@dataclass(frozen=True, slots=True)
class Given:
    """What a visitor gave for an act."""

    values: Mapping[str, str]
    files: Sequence[Path] = ()  # a folder for `publish`, the files of a data set for `submit`
    check: Check | None = None  # runs a model that is to be published


Act = Callable[[Network, Wallet, Given], object]


class Unsent(Exception):
    """The call that a service would send next."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.label)
        self.call = call


class UnsigningWallet(Wallet):
    """A wallet without a key: it simulates a call, and raises it instead of sending it."""

    def __init__(self, rpc: Node, address: Address, chain_id: int) -> None:
        super().__init__(rpc, SimpleNamespace(address=address), chain_id=chain_id)  # type: ignore[arg-type] # the address is all that is asked of it

    def send(self, call: Call) -> Receipt:
        """Raise the call.

        Raises:
            Unsent: always, unless the chain would refuse (ContractError).
        """
        self.simulate(call)
        raise Unsent(call)


def next_call(network: Network, act: str, account: Address, given: Given) -> Call | None:
    """Return what the account has to sign next for an act; None = nothing is left.

    Raises:
        InputInvalid: no such act, or a value is missing or none.
        ContractError: the chain would refuse. Whatever the service raises.
    """
    if act not in ACTS:
        raise InputInvalid(f"{act!r:.40} is nothing that this page does")
    wallet = UnsigningWallet(network.rpc, account, network.contracts.chain_id)
    try:
        ACTS[act](network, wallet, given)
    except Unsent as unsent:
        return unsent.call
    except (KeyError, ValueError) as missing:
        raise InputInvalid(f"{act}: a value is missing, or none: {missing}") from missing
    return None


def described(call: Call | None) -> dict[str, Any]:
    """Return a call as JSON; `last` says whether the act is done with it."""
    if call is None:
        return {"last": True}
    return {
        "to": call.to,
        "data": "0x" + call.data.hex(),
        "value": hex(call.value),
        "label": call.label,
        "last": all(interface(c)[name].selector != call.data[:4] for c, name in FIRST),
    }


# ── The acts ────────────────────────────────────────────────────────────────────────────────────
def _publish(network: Network, wallet: Wallet, given: Given) -> None:
    sale = SaleTerms(
        fee=parse_amount(given.values["fee"]),
        challenge_window=parse_duration(given.values["window"])
        if given.values.get("window")
        else None,
    )
    (folder,) = given.files
    publishing.publish(network, wallet, folder, sale, check=given.check)


def _authorize(network: Network, wallet: Wallet, given: Given) -> None:
    model, operator = int(given.values["model"]), parse_address(given.values["operator"])
    if not network.operators.is_authorized(model, operator):
        operators.authorize(network, wallet, model, operator)


def _register(network: Network, wallet: Wallet, given: Given) -> None:
    operators.register(network, wallet, given.values["endpoint"])


def _stake(network: Network, wallet: Wallet, given: Given) -> None:
    operators.stake(network, wallet, parse_amount(given.values["amount"]))


def _unstake(network: Network, wallet: Wallet, given: Given) -> None:
    operators.start_unstake(network, wallet, parse_amount(given.values["amount"]))


def _submit(network: Network, wallet: Wallet, given: Given) -> None:
    model = int(given.values["model"])
    prepared = contributions.prepare(network, wallet.address, model, given.files)
    contributions.submit(network, wallet, prepared)


def _challenge(network: Network, wallet: Wallet, given: Given) -> None:
    committee.challenge(network, wallet, parse_request_id(given.values["request"]))


def _demand(network: Network, wallet: Wallet, given: Given) -> None:
    request_id = parse_request_id(given.values["request"])
    bond = requests.bond_needed(network, wallet, request_id)
    requests.demand(network, wallet, request_id, bond)


def _settle(network: Network, wallet: Wallet, given: Given) -> None:
    committee.settle(network, wallet, parse_request_id(given.values["request"]))


def _bonds(network: Network, wallet: Wallet, _given: Given) -> None:
    committee.withdraw(network, wallet)
    disputes.withdraw(network, wallet)


def _cancel(network: Network, wallet: Wallet, given: Given) -> None:
    requests.cancel(network, wallet, parse_request_id(given.values["request"]))


def _finalize(network: Network, wallet: Wallet, given: Given) -> None:
    requests.finalize(network, wallet, [parse_request_id(given.values["request"])])


def _prepay(network: Network, wallet: Wallet, given: Given) -> None:
    amount, to = parse_amount(given.values["amount"]), parse_address(given.values["to"])
    balances.allow(network, wallet, network.market.address, amount)
    send(wallet, network.market.deposit(to, amount))


ACTS: Mapping[str, Act] = {
    "publish": _publish,
    "authorize": _authorize,
    "register": _register,
    "stake": _stake,
    "unstake": _unstake,
    "submit": _submit,
    "challenge": _challenge,
    "demand": _demand,
    "settle": _settle,
    "bonds": _bonds,
    "cancel": _cancel,
    "finalize": _finalize,
    "prepay": _prepay,
}
