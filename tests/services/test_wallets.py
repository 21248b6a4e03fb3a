"""Keystores by name, and the money behind them."""

import pytest

from oracle.chain import keystore
from oracle.chain.revert import ContractError
from oracle.config import Settings
from oracle.devnet import operator_processes
from oracle.errors import ConfigInvalid, InputInvalid, NotFound
from oracle.services import balances, operators, wallets
from oracle.services.channels import endpoints
from oracle.types import Amount
from tests.services.conftest import DOLLAR

FAST = {"scrypt_n": 2}


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path)


def make(settings, name):
    return keystore.create(settings.home / "keys" / f"{name}.json", lambda: "secret", **FAST)


@pytest.mark.parametrize("name", ["", "../alice", "a/b", ".hidden", ".."])
def test_create__name_that_is_no_file_name__refuses(settings, name):
    with pytest.raises(InputInvalid, match="cannot be the name"):
        wallets.create(settings, name, "secret")


def test_create__name_taken__never_overwrites(settings):
    make(settings, "alice")
    with pytest.raises(InputInvalid, match="exists"):
        wallets.create(settings, "alice", "secret")


def test_find__unknown__lists_the_known(settings):
    make(settings, "alice")
    with pytest.raises(NotFound) as caught:
        wallets.find(settings, "bob")
    assert caught.value.hint == "wallets here: alice"


def test_find__by_path__works(settings):
    address = make(settings, "alice")
    path = settings.home / "keys" / "alice.json"
    assert wallets.find(settings, str(path)).address == address


def test_unlock__wrong_password__says_so_without_repeating_it(settings):
    make(settings, "alice")
    with pytest.raises(InputInvalid, match="wrong password") as caught:
        wallets.unlock(settings, "alice", "hunter2")
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_resolve__name_or_address__returns_the_address(settings):
    address = make(settings, "alice")
    assert wallets.resolve(settings, "alice") == wallets.resolve(settings, address) == address
    with pytest.raises(InputInvalid, match="neither an address nor a wallet"):
        wallets.resolve(settings, "carol")


def test_read_password__no_file_or_empty__refuses(tmp_path):
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        wallets.read_password(tmp_path / "none")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigInvalid, match="is empty"):
        wallets.read_password(tmp_path / "empty")


# ── An operator's processes ─────────────────────────────────────────────────────────────────────
def test_processes__no_password_file__refuses(settings):
    make(settings, "op1")
    with pytest.raises(ConfigInvalid, match="need a password file"):
        operator_processes.processes(settings, wallets.find(settings, "op1"))


def test_processes__key__goes_to_the_submitter_alone(settings, tmp_path):
    from dataclasses import replace

    make(settings, "op1")
    (tmp_path / "pw").write_text("secret\n")
    settings = replace(settings, key="op1", password_file=str(tmp_path / "pw"))
    watcher, infer, submitter, responder = specs = operator_processes.processes(
        settings, wallets.find(settings, "op1")
    )
    for spec in (watcher, infer, responder):
        assert spec.env["TALLYSTICK_KEY"] == spec.env["TALLYSTICK_PASSWORD_FILE"] == ""
    assert submitter.env["TALLYSTICK_KEY"].endswith("op1.json")
    assert submitter.env["TALLYSTICK_PASSWORD_FILE"] == str(tmp_path / "pw")
    assert not any("secret" in v for s in specs for v in s.env.values())
    assert not any("secret" in a for s in specs for a in s.argv)
    child = Settings.load(watcher.env)
    assert child.operator == "op1"
    assert child.operator_address == wallets.find(settings, "op1").address


@pytest.mark.parametrize(
    ("endpoint", "listen", "expected"),
    [
        ("http://127.0.0.1:7001", "", "127.0.0.1:7001"),
        ("http://localhost:7001/base", "", "127.0.0.1:7001"),
        ("https://op.example", "", ""),
        ("http://127.0.0.1:99999", "", ""),
        ("", "", ""),
        ("https://op.example", "0.0.0.0:80", "0.0.0.0:80"),
    ],
)
def test_processes__endpoint__says_where_the_responder_listens(
    settings, tmp_path, endpoint, listen, expected
):
    from dataclasses import replace

    make(settings, "op1")
    (tmp_path / "pw").write_text("secret\n")
    settings = replace(settings, key="op1", password_file=str(tmp_path / "pw"), listen=listen)
    *others, responder = operator_processes.processes(
        settings, wallets.find(settings, "op1"), endpoint=endpoint
    )
    assert responder.env["TALLYSTICK_LISTEN"] == expected
    assert not any("TALLYSTICK_LISTEN" in spec.env for spec in others)


# ── Money ───────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.real
def test_deposit__more_than_in_hand__refuses(world):
    balances.fund(world.network, world.requester.address, Amount(DOLLAR))
    with pytest.raises(ContractError) as caught:
        balances.deposit(world.network, world.requester, Amount(2 * DOLLAR))
    assert caught.value.name == "ERC20InsufficientBalance"


@pytest.mark.real
def test_withdraw__more_than_prepaid__refuses(world):
    world.prepay(DOLLAR)
    with pytest.raises(ContractError) as caught:
        balances.withdraw(world.network, world.requester, Amount(2 * DOLLAR), None)
    assert caught.value.name == "BalanceInsufficient"


@pytest.mark.real
def test_fund__new_account__gets_dollars_and_gas(world):
    account = keystore.create(world.folder / "new.json", lambda: "secret", **FAST)
    found = balances.fund(world.network, account, Amount(3 * DOLLAR))
    assert (found.tokens, found.prepaid) == (3 * DOLLAR, 0)
    assert found.ether == balances.FUND_WEI


@pytest.mark.real
def test_fund__more_than_one_call_of_the_faucet__calls_again(world):
    amount = Amount(world.network.token.faucet_max() + 5)
    assert balances.fund(world.network, world.stranger.address, amount).tokens == amount


@pytest.mark.real
def test_stake__life__is_shown(world):
    world.publish()
    with pytest.raises(NotFound, match="not registered"):
        operators.status(world.network, world.operator.address)
    world.serve(1, stake=40)
    operators.register(world.network, world.operator, "https://op.example")
    endpoints.announce(world.network, world.operator, "https://op.example/channels")
    operators.start_unstake(world.network, world.operator, Amount(10 * DOLLAR))
    found = operators.status(world.network, world.operator.address)
    assert (found.staked, found.free, found.unbonding) == (30 * DOLLAR, 30 * DOLLAR, 10 * DOLLAR)
    assert (found.models, found.endpoint) == ((1,), "https://op.example")
    with pytest.raises(ContractError, match="already unstaking"):
        operators.finish_unstake(world.network, world.operator)
    world.pass_time(world.network.operators.unbonding_delay())
    operators.finish_unstake(world.network, world.operator)
    assert world.network.token.balance_of(world.operator.address) == 10 * DOLLAR
    (listed,) = operators.list_operators(world.network)
    assert listed == operators.status(world.network, world.operator.address)
    assert (listed.staked, listed.announced) == (30 * DOLLAR, "https://op.example/channels")
