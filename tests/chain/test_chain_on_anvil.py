"""Wallet, sender, scan, deployment and Anvil itself, on a real chain."""

import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain import logs
from oracle.chain.anvil import Anvil, dev_account, find_anvil
from oracle.chain.bindings.test_dollar import TestDollar, Transfer
from oracle.chain.contract import Call
from oracle.chain.deploy import PRODUCTION, DeployConfig, DeploymentFailed, deploy, verify
from oracle.chain.outbox import EntryState, MemoryOutbox
from oracle.chain.reorg import common_block
from oracle.chain.revert import ContractError
from oracle.chain.rpc import Rpc, RpcMalformed, RpcUnavailable, WrongChain
from oracle.chain.scan import Scanner
from oracle.chain.sender import Sender
from oracle.chain.wallet import TransactionPending, Wallet
from oracle.errors import ConfigInvalid, Unavailable
from oracle.ports import free_port
from oracle.types import Address, Amount, Bytes32, RequestId, Wei
from tests.chain.conftest import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

DOLLAR = Amount(10**6)


def height(rpc: Rpc) -> int:
    return int(rpc.call("eth_blockNumber"), 16)


@pytest.fixture
def manual(world: World) -> Iterator[World]:
    """The world with blocks only when the test mines them."""
    world.rpc.call("evm_setAutomine", False)
    yield world
    world.rpc.call("evm_mine")
    world.rpc.call("evm_setAutomine", True)


# ── A broken node ───────────────────────────────────────────────────────────────────────────────
@pytest.fixture(params=[b"", b"<html>", b'{"id":0,"result"', b'{"id":0}', b"[]"])
def broken_node(request: pytest.FixtureRequest) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(request.param)))
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_call__node_answers_nonsense__rpc_malformed(broken_node: str) -> None:
    with Rpc(broken_node, attempts=2, backoff=0) as rpc, pytest.raises(RpcMalformed):
        rpc.call("eth_blockNumber")


def test_call__nothing_listens__rpc_unavailable_with_a_hint() -> None:
    with (
        Rpc(f"http://127.0.0.1:{free_port()}", attempts=1) as rpc,
        pytest.raises(RpcUnavailable, match="cannot reach") as caught,
    ):
        rpc.call("eth_blockNumber")
    assert "tallystick up" in caught.value.hint


def test_call__a_proxy_is_set__not_used_for_loopback(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Rpc(anvil.url, attempts=1) as rpc:
        assert rpc.chain_id() == 31337


def test_expect_chain__other_chain__wrong_chain(world: World) -> None:
    with pytest.raises(WrongChain, match="31337"):
        world.rpc.expect_chain(1)


def test_read__no_contract_at_the_address__malformed_not_a_crash(world: World) -> None:
    with pytest.raises(RpcMalformed, match="decimals"):
        TestDollar(world.rpc, Address(dev_account(9).address)).decimals()


# ── Anvil ───────────────────────────────────────────────────────────────────────────────────────
def test_find_anvil__nowhere__config_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("oracle.chain.anvil._PROJECT", tmp_path)
    with pytest.raises(ConfigInvalid) as caught:
        find_anvil({"PATH": str(tmp_path)})
    assert "npm install @foundry-rs/anvil-" in caught.value.hint


def test_find_anvil__on_path__preferred(tmp_path: Path) -> None:
    fake = tmp_path / "anvil"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    assert find_anvil({"PATH": str(tmp_path)}) == fake


def test_start__port_taken__unavailable_and_no_process_left(anvil: Anvil) -> None:
    second = Anvil(port=anvil.port, chain_id=7)
    with pytest.raises((Unavailable, WrongChain)):
        second.start()
    assert second.pid is None


def test_start__program_is_no_node__unavailable() -> None:
    with pytest.raises(Unavailable, match="ended with code"):
        Anvil(binary=Path("/bin/false")).start()


def test_stop__ended__no_process_left() -> None:
    with Anvil() as running:
        pid = running.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_state__kept_between_two_runs__same_chain(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with Anvil(state=state) as first:
        contracts = deploy(Wallet(first.rpc, dev_account(0)))
        at = height(first.rpc)
    with Anvil(state=state) as second:
        verify(second.rpc, contracts)
        assert height(second.rpc) == at


def test_block_time__mixed_mining__blocks_by_the_clock_and_by_transaction() -> None:
    with Anvil(block_time=3600) as running:
        deploy(Wallet(running.rpc, dev_account(0)))  # its transactions do not wait for the clock
        assert height(running.rpc) > 5
    with Anvil(block_time=1) as running:
        wait_until(lambda: height(running.rpc) > 1, "blocks without a transaction")


# ── Deployment ──────────────────────────────────────────────────────────────────────────────────
def test_deploy__windows_do_not_fit__constructor_names_the_field(world: World) -> None:
    with pytest.raises(ContractError, match="unbondingDelay") as caught:
        deploy(world.owner, DeployConfig(unbonding_delay=1))
    assert caught.value.name == "ConfigInvalid"


def test_deploy__no_token_at_the_address__config_invalid(world: World) -> None:
    with pytest.raises(ConfigInvalid, match="no token"):
        deploy(world.owner, DeployConfig(token=Address(dev_account(9).address)))


def test_verify__fresh_chain__says_what_is_missing(world: World) -> None:
    with (
        Anvil() as other,
        pytest.raises(DeploymentFailed, match="no TestDollar") as caught,
    ):
        verify(other.rpc, world.contracts)
    assert "deploy again" in caught.value.hint


def test_deploy__existing_token__used(world: World) -> None:
    contracts = deploy(world.owner, replace(PRODUCTION, token=world.contracts.token))
    assert contracts.token == world.contracts.token
    assert contracts.inference_market != world.contracts.inference_market
    verify(world.rpc, contracts)


# ── Wallet ──────────────────────────────────────────────────────────────────────────────────────
def test_send__never_mined__pending_with_the_hash(manual: World) -> None:
    wallet = Wallet(manual.rpc, dev_account(4), timeout=0.05)
    with pytest.raises(TransactionPending) as caught:
        wallet.send(manual.token.faucet(wallet.address, DOLLAR))
    manual.rpc.call("evm_mine")
    tx_hash = "0x" + caught.value.tx_hash.hex()
    assert manual.rpc.call("eth_getTransactionReceipt", tx_hash)["status"] == "0x1"


def test_send_all__each_needs_the_one_before__one_pipeline(manual: World) -> None:
    w = manual
    wallet = Wallet(w.rpc, dev_account(5))
    calls = [
        w.token.faucet(wallet.address, DOLLAR),
        w.token.approve(w.market.address, DOLLAR),
        w.market.deposit(wallet.address, DOLLAR),
    ]
    miner = threading.Timer(0.3, lambda: Rpc(w.rpc.url).call("evm_mine"))
    miner.start()
    receipts = wallet.send_all(calls)
    miner.join()
    assert len({r.block_number for r in receipts}) == 1
    assert w.market.balance_of(wallet.address) == DOLLAR


def test_send__key_was_used_elsewhere__goes_on_with_the_right_nonce(world: World) -> None:
    first, second = (Wallet(world.rpc, dev_account(6)) for _ in range(2))
    for wallet in (first, second, first, second):
        assert wallet.send(world.token.faucet(wallet.address, DOLLAR)).succeeded
    assert world.token.balance_of(first.address) == 4 * DOLLAR


# ── Sender ──────────────────────────────────────────────────────────────────────────────────────
def test_step__stuck_on_a_real_chain__replaced_and_mined_once(manual: World) -> None:
    w, outbox, now = manual, MemoryOutbox(), [1000.0]
    account = dev_account(7)
    sender = Sender(w.rpc, account, outbox, 31337, stuck_after=30, clock=lambda: now[0])
    to = sender.address
    sender.submit("faucet", [RequestId(bytes(32))], w.token.faucet(to, DOLLAR))
    sender.step()
    sender.step()
    assert len(outbox.entries[1].raws) == 1
    now[0] += 31
    sender.step()
    assert len(outbox.entries[1].raws) == 2
    pool = w.rpc.call("txpool_content")["pending"]
    (waiting,) = next(txs for a, txs in pool.items() if a.lower() == to.lower()).values()
    assert int(waiting["maxFeePerGas"], 16) == outbox.entries[1].max_fee
    w.rpc.call("evm_mine")
    (ended,) = sender.step()
    assert ended.state is EntryState.MINED
    assert w.token.balance_of(to) == DOLLAR


def test_step__nonce_taken_on_a_real_chain__sent_under_the_next(manual: World) -> None:
    w, outbox = manual, MemoryOutbox()
    account = dev_account(8)
    sender = Sender(w.rpc, account, outbox, 31337)
    sender.submit("faucet", [RequestId(bytes(32))], w.token.faucet(sender.address, DOLLAR))
    sender.step()
    hash_ = "0x" + __import__("eth_utils").keccak(outbox.entries[1].raws[0]).hex()
    w.rpc.call("anvil_dropTransaction", hash_)
    hasty = Wallet(w.rpc, account, timeout=0)  # the key is used beside us
    with pytest.raises(TransactionPending):
        hasty.send(Call(sender.address, b"", Wei(1)))
    w.rpc.call("evm_mine")
    for _ in range(3):
        ended = sender.step()
        w.rpc.call("evm_mine")
    assert [e.state for e in ended] == [EntryState.MINED]
    assert outbox.entries[1].nonce == 1


# ── Scan and reorg ──────────────────────────────────────────────────────────────────────────────
def test_scan__real_reorg__common_block_found_and_read_again(world: World) -> None:
    w = world
    scanner = Scanner(w.rpc, [w.token.address], [logs.topic_of(Transfer)])
    for amount in (1, 2, 3, 4):
        w.stranger.send(w.token.faucet(w.stranger.address, Amount(amount)))
    start = height(w.rpc) - 3

    def amounts(first: int, parent: object = None) -> list[int]:
        chunks = scanner.scan(first, scanner.head(), parent)  # type: ignore[arg-type]
        events = [logs.decode(entry) for chunk in chunks for entry in chunk.logs]
        return [e.value for e in events if isinstance(e, Transfer)]

    chunks = list(scanner.scan(start, scanner.head()))
    known = [block for chunk in chunks for block in chunk.blocks][::-1]
    assert amounts(start) == [1, 2, 3, 4]
    w.rpc.call("anvil_reorg", 2, [])
    assert not scanner.has(known[0])
    common = common_block(scanner, known)
    assert common is not None
    assert common.number == start + 1
    assert amounts(start) == [1, 2]
    assert amounts(common.number + 1, common) == []
    w.stranger.send(w.token.faucet(w.stranger.address, Amount(5)))
    assert amounts(start) == [1, 2, 5]


def test_scan__large_range__equals_the_small_ones(world: World) -> None:
    w = world
    for amount in range(1, 6):
        w.stranger.send(w.token.faucet(w.stranger.address, Amount(amount)))
        w.rpc.call("anvil_mine", hex(40))
    scanner = Scanner(w.rpc, [w.token.address])
    whole = [log for chunk in scanner.scan(0, scanner.head()) for log in chunk.logs]
    single = []
    for number in range(scanner.head() + 1):
        single += [log for chunk in scanner.scan(number, number) for log in chunk.logs]
    assert whole == single
    assert len(whole) >= 5
    assert all(len(log.block_hash) == 32 for log in whole)
    assert Bytes32(whole[-1].topics[0]) == logs.topic_of(Transfer)
