"""A sealed round on Anvil, and valuators' wallets with stake."""

from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from oracle.chain.anvil import dev_account
from oracle.chain.wallet import Wallet
from tests.agents.valuation.play import Round
from tests.services.conftest import World
from tests.valuation import rounds

HELD = rounds.small(test_rows=20)
_ACCOUNTS = {account.address: account for account in map(dev_account, (11, 12, 13, 14))}


def account_of(wallet: Wallet) -> LocalAccount:
    """Return the key of a wallet of these tests."""
    return _ACCOUNTS[wallet.address]


@pytest.fixture
def round_(world: World, tmp_path: Path) -> Round:
    return Round(world, HELD, tmp_path / "files").seal()


@pytest.fixture
def valuator(round_: Round) -> Wallet:
    wallet = Wallet(round_.network.rpc, dev_account(11))
    round_.stake(wallet)
    return wallet


@pytest.fixture
def rival(round_: Round) -> Wallet:
    wallet = Wallet(round_.network.rpc, dev_account(12))
    round_.stake(wallet)
    return wallet
