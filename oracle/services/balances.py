"""An account's money: read, given on a development chain, moved into the market and out of it."""

import time
from dataclasses import dataclass

from oracle.chain.contract import split_signature
from oracle.chain.rpc import RpcError, quantity
from oracle.chain.transactions import Receipt, parse_receipt
from oracle.chain.wallet import Wallet
from oracle.errors import PermanentError, Unavailable
from oracle.protocol import eip712
from oracle.services.network import Network
from oracle.services.receipts import Sent, send
from oracle.types import Address, Amount, Timestamp, Wei

FUND_WEI = Wei(10 * 10**18)  # of the chain's currency that `fund` brings a wallet up to
FUND_TIMEOUT = 30.0  # seconds until a transfer of the faucet is mined
PERMIT_LIFETIME = 3600  # seconds


@dataclass(frozen=True, slots=True)
class Balances:
    """What an account has: tokens in hand, prepaid in the market, bonds, currency for gas."""

    address: Address
    tokens: Amount
    prepaid: Amount
    bonds: Wei
    ether: Wei


def balances(network: Network, account: Address) -> Balances:
    """Read what an account has."""
    return Balances(
        address=account,
        tokens=network.token.balance_of(account),
        prepaid=network.market.balance_of(account),
        bonds=network.market.bond_of(account),
        ether=Wei(quantity(network.rpc.call("eth_getBalance", account, "latest"))),
    )


def fund(network: Network, account: Address, amount: Amount) -> Balances:
    """Give an account test dollars and, on a development chain, currency for gas.

    The faucet is open, so the first account that the node itself holds pays for the gas.

    Raises:
        PermanentError: this is not a development network.
    """
    try:
        accounts = network.rpc.call("eth_accounts")
        donor = accounts[0]
        have = quantity(network.rpc.call("eth_getBalance", account, "latest"))
        if have < FUND_WEI:
            body = {"from": donor, "to": account, "value": hex(FUND_WEI - have)}
            _mined(network, network.rpc.call("eth_sendTransaction", body))
        left = int(amount)
        largest = network.token.faucet_max()
        while left > 0:
            call = network.token.faucet(account, Amount(min(left, largest)))
            body = {"from": donor, "to": call.to, "data": "0x" + call.data.hex()}
            _mined(network, network.rpc.call("eth_sendTransaction", body))
            left -= largest
    except (RpcError, IndexError) as error:
        raise PermanentError(
            f"this network has no faucet: {error}",
            hint="`fund` is for development networks; get tokens where they are sold",
        ) from error
    return balances(network, account)


def allow(network: Network, wallet: Wallet, place: Address, amount: Amount) -> tuple[Sent, ...]:
    """Let a contract take this much of the wallet's tokens, unless it may already."""
    if network.token.allowance(wallet.address, place) >= amount:
        return ()
    return (send(wallet, network.token.approve(place, amount))[0],)


def deposit(network: Network, wallet: Wallet, amount: Amount) -> Receipt:
    """Move tokens of the wallet into its prepaid balance, in one transaction (EIP-2612 permit).

    Raises:
        ContractError: the wallet has not so many tokens.
    """
    signature, deadline = permit(network, wallet, network.market.address, amount)
    return wallet.send(
        network.market.deposit_with_permit(amount, deadline, *split_signature(signature))
    )


def withdraw(
    network: Network, wallet: Wallet, amount: Amount | None, to: Address | None
) -> Receipt:
    """Pay out of the prepaid balance; all of it when no amount is given.

    Raises:
        ContractError: the balance is smaller.
    """
    if amount is None:
        amount = network.market.balance_of(wallet.address)
    return wallet.send(network.market.withdraw(to or wallet.address, amount))


def withdraw_bonds(network: Network, wallet: Wallet) -> Receipt:
    """Pay out the wallet's native bonds that came back."""
    return wallet.send(network.market.withdraw_bond())


def permit(
    network: Network, wallet: Wallet, spender: Address, amount: Amount
) -> tuple[bytes, Timestamp]:
    """Sign an EIP-2612 permit; return the signature and its deadline."""
    deadline = Timestamp(network.history.now() + PERMIT_LIFETIME)
    message = eip712.permit(
        token=network.contracts.token,
        token_name=network.token.name(),
        token_version=network.token.version(),
        chain_id=network.contracts.chain_id,
        owner=wallet.address,
        spender=spender,
        value=amount,
        nonce=network.token.nonces(wallet.address),
        deadline=deadline,
    )
    return wallet.sign_typed(message), deadline


def _mined(network: Network, tx_hash: str) -> None:
    """Wait for a transaction that the node signed itself."""
    deadline = time.monotonic() + FUND_TIMEOUT
    while (raw := network.rpc.call("eth_getTransactionReceipt", tx_hash)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"transaction {tx_hash} is not mined after {FUND_TIMEOUT:g} s")
        time.sleep(0.02)
    if not parse_receipt(raw).succeeded:
        raise PermanentError(f"the faucet refused: transaction {tx_hash} reverted")
