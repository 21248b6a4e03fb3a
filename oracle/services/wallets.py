"""Wallets: keystore files in home/keys, their money on the chain and in the market."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eth_account.signers.local import LocalAccount

from oracle.chain import keystore
from oracle.chain.rpc import RpcError, quantity
from oracle.chain.transactions import Receipt, parse_receipt
from oracle.chain.wallet import Wallet
from oracle.config import Settings
from oracle.errors import InputInvalid, NotFound, PermanentError, Unavailable, did_you_mean
from oracle.protocol import eip712
from oracle.services import amounts
from oracle.types import Address, Amount, Timestamp, Wei

if TYPE_CHECKING:
    from oracle.services.network import Context

FUND_WEI = Wei(10 * 10**18)  # of the chain's currency that `fund` brings a wallet up to
FUND_TIMEOUT = 30.0  # seconds until a transfer of the faucet is mined
PERMIT_LIFETIME = 3600  # seconds


@dataclass(frozen=True, slots=True)
class WalletInfo:
    """A keystore and the account it opens."""

    name: str
    address: Address
    path: Path


@dataclass(frozen=True, slots=True)
class Balances:
    """What an account has: tokens in hand, prepaid in the market, bonds, currency for gas."""

    address: Address
    tokens: Amount
    prepaid: Amount
    bonds: Wei
    ether: Wei


# ── Keystores ───────────────────────────────────────────────────────────────────────────────────
def create(settings: Settings, name: str, password: str) -> WalletInfo:
    """Make a key and write it, encrypted, to home/keys.

    Raises:
        InputInvalid: a name that is no file name, a wallet of that name, or an empty password.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise InputInvalid(f"{name!r} cannot be the name of a wallet", hint="letters and digits")
    path = settings.home / "keys" / f"{name}.json"
    return WalletInfo(name, keystore.create(path, lambda: password), path)


def list_wallets(settings: Settings) -> tuple[WalletInfo, ...]:
    """Return the keystores in home/keys, by name."""
    paths = sorted((settings.home / "keys").glob("*.json"))
    return tuple(WalletInfo(path.stem, keystore.address_of(path), path) for path in paths)


def find(settings: Settings, name: str) -> WalletInfo:
    """Return a wallet by its name in home/keys, or by the path of its keystore.

    Raises:
        NotFound: there is none. ConfigInvalid: the file is no keystore.
    """
    path = settings.keystore(name)
    if not path.exists():
        known = [info.name for info in list_wallets(settings)]
        raise NotFound(
            f"there is no wallet {name}",
            hint=did_you_mean(name, known) + f"wallets here: {', '.join(known) or 'none yet'}",
        )
    return WalletInfo(path.stem, keystore.address_of(path), path)


def unlock(settings: Settings, name: str, password: str) -> LocalAccount:
    """Open a keystore.

    Raises:
        NotFound, ConfigInvalid, PasswordWrong: see `oracle.chain.keystore.load`.
    """
    return keystore.load(find(settings, name).path, lambda: password)


def read_password(path: Path) -> str:
    """Read a password file.

    Raises:
        ConfigInvalid: it cannot be read or is empty.
    """
    return keystore.password_file(path.expanduser())()


def resolve(settings: Settings, text: str) -> Address:
    """Return the address that a person means: an address, or the name of a wallet here.

    Raises:
        InputInvalid: neither.
    """
    if text.startswith("0x"):
        return amounts.parse_address(text)
    try:
        return find(settings, text).address
    except NotFound as error:
        raise InputInvalid(
            f"{text!r} is neither an address nor a wallet here", hint=error.hint
        ) from error


# ── Money ───────────────────────────────────────────────────────────────────────────────────────
def balances(context: "Context", account: Address) -> Balances:
    """Read what an account has."""
    return Balances(
        address=account,
        tokens=context.token.balance_of(account),
        prepaid=context.market.balance_of(account),
        bonds=context.market.bond_of(account),
        ether=Wei(quantity(context.rpc.call("eth_getBalance", account, "latest"))),
    )


def fund(context: "Context", account: Address, amount: Amount) -> Balances:
    """Give an account test dollars and, on a development chain, currency for gas.

    The faucet is open, so the first account that the node itself holds pays for the gas.

    Raises:
        PermanentError: this is not a development network.
    """
    try:
        accounts = context.rpc.call("eth_accounts")
        donor = accounts[0]
        have = quantity(context.rpc.call("eth_getBalance", account, "latest"))
        if have < FUND_WEI:
            body = {"from": donor, "to": account, "value": hex(FUND_WEI - have)}
            _mined(context, context.rpc.call("eth_sendTransaction", body))
        left = int(amount)
        largest = context.token.faucet_max()
        while left > 0:
            call = context.token.faucet(account, Amount(min(left, largest)))
            body = {"from": donor, "to": call.to, "data": "0x" + call.data.hex()}
            _mined(context, context.rpc.call("eth_sendTransaction", body))
            left -= largest
    except (RpcError, IndexError) as error:
        raise PermanentError(
            f"this network has no faucet: {error}",
            hint="`fund` is for development networks; get tokens where they are sold",
        ) from error
    return balances(context, account)


def deposit(context: "Context", wallet: Wallet, amount: Amount) -> Receipt:
    """Move tokens of the wallet into its prepaid balance, in one transaction (EIP-2612 permit).

    Raises:
        ContractError: the wallet has not so many tokens.
    """
    signature, deadline = permit(context, wallet, context.market.address, amount)
    return wallet.send(context.market.deposit_with_permit(amount, deadline, signature))


def withdraw(
    context: "Context", wallet: Wallet, amount: Amount | None, to: Address | None
) -> Receipt:
    """Pay out of the prepaid balance; all of it when no amount is given.

    Raises:
        ContractError: the balance is smaller.
    """
    if amount is None:
        amount = context.market.balance_of(wallet.address)
    return wallet.send(context.market.withdraw(to or wallet.address, amount))


def withdraw_bonds(context: "Context", wallet: Wallet) -> Receipt:
    """Pay out the wallet's native bonds that came back."""
    return wallet.send(context.market.withdraw_bond())


def permit(
    context: "Context", wallet: Wallet, spender: Address, amount: Amount
) -> tuple[bytes, Timestamp]:
    """Sign an EIP-2612 permit; return the signature and its deadline."""
    deadline = Timestamp(context.history.now() + PERMIT_LIFETIME)
    message = eip712.permit(
        token=context.contracts.token,
        token_name=context.token.name(),
        token_version=context.token.version(),
        chain_id=context.contracts.chain_id,
        owner=wallet.address,
        spender=spender,
        value=amount,
        nonce=context.token.nonces(wallet.address),
        deadline=deadline,
    )
    return wallet.sign_typed(message), deadline


def _mined(context: "Context", tx_hash: str) -> None:
    """Wait for a transaction that the node signed itself."""
    deadline = time.monotonic() + FUND_TIMEOUT
    while (raw := context.rpc.call("eth_getTransactionReceipt", tx_hash)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"transaction {tx_hash} is not mined after {FUND_TIMEOUT:g} s")
        time.sleep(0.02)
    if not parse_receipt(raw).succeeded:
        raise PermanentError(f"the faucet refused: transaction {tx_hash} reverted")
