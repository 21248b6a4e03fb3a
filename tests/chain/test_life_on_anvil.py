"""A request's whole life through the wrappers, on a real chain."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.anvil import Anvil
from oracle.chain.bindings.inference_market import (
    Cancelled,
    Claimed,
    Delivered,
    Finalized,
    OutputDemanded,
    OutputPosted,
    Requested,
)
from oracle.chain.bindings.model_access import ApplicationSubmitted, GrantStatus, Policy
from oracle.chain.bindings.model_registry import ModelRegistered, Publication, VersionPublished
from oracle.chain.contract import split_signature
from oracle.chain.revert import ContractError
from oracle.chain.transactions import as_object
from oracle.chain.wallet import TransactionReverted
from oracle.config import Settings, save_network
from oracle.protocol import eip712, records
from oracle.types import (
    NO_CLAIM,
    ZERO32,
    Amount,
    Assurance,
    Bytes32,
    Claim,
    Delivery,
    OperatorAnswer,
    Order,
    Request,
    Terms,
    Timestamp,
)
from tests.chain.conftest import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

ROOT_FOLDER = Path(__file__).parents[2]
DOLLAR = 10**6
FEE = Amount(50_000)
ROOT = Bytes32(b"\x0a" * 32)
PUBLICATION = Publication(
    manifest_digest=Bytes32(b"\x01" * 32),
    model_root=Bytes32(b"\x02" * 32),
    assurance=Assurance.COMMITTEE,
    tolerance=1000,
    fee=FEE,
    operator_bps=7000,
    data_bps=500,
    insured_multiple=2,
    challenge_window=10,
    max_units=0,
)


@pytest.fixture(scope="module")
def model(world: World) -> int:
    """A published model, an operator for it, and a requester with a balance."""
    w = world
    created = w.owner.send(w.registry.register_model("digits", 0))
    model_id = created.one(ModelRegistered).model_id
    w.owner.send(w.registry.publish_version(model_id, ZERO32, PUBLICATION))
    for wallet in (w.operator, w.requester):
        wallet.send(w.token.faucet(wallet.address, Amount(500 * DOLLAR)))
    w.operator.send_all(
        [
            w.token.approve(w.operators.address, Amount(100 * DOLLAR)),
            w.operators.register(Bytes32(b"\x05" * 32), "https://operator.example"),
            w.operators.stake(w.operator.address, Amount(100 * DOLLAR)),
        ]
    )
    w.owner.send(w.operators.authorize(model_id, w.operator.address, True))
    w.requester.send_all(
        [
            w.token.approve(w.market.address, Amount(100 * DOLLAR)),
            w.market.deposit(w.requester.address, Amount(100 * DOLLAR)),
        ]
    )
    return model_id


@pytest.fixture
def fresh(world: World, model: int) -> Iterator[World]:
    """The world, put back to what it was after the test."""
    mark = world.snapshot()
    yield world
    assert world.rpc.call("evm_revert", mark)


def order(world: World, model_id: int) -> Order:
    return Order(
        model_id=model_id,
        version=1,
        lane=world.lens.free_lane(world.requester.address, 0),
        input_root=Bytes32(b"\x03" * 32),
        input_cid=ZERO32,
        params=ZERO32,
        max_fee=FEE,
        priority_window=60,
        lifetime=3600,
        operator=world.operator.address,
    )


def ask(world: World, model_id: int) -> Request:
    receipt = world.requester.send(world.market.request(order(world, model_id)))
    return receipt.one(Requested).request


def delivered(world: World, request: Request, claim: Claim = NO_CLAIM) -> Delivery:
    receipt = world.operator.send(
        world.market.deliver(request, claim, OperatorAnswer(ROOT, ZERO32))
    )
    event = receipt.one(Delivered)
    return Delivery(event.operator, event.stamp, event.output_root)


# ── Refusals: they cost nothing and say why ─────────────────────────────────────────────────────
def test_send__contract_refuses__sentence_and_nothing_sent(fresh: World, model: int) -> None:
    nonce = fresh.stranger.next_nonce()
    with pytest.raises(ContractError, match=r"prepaid balance of \$0\.00; \$0\.05 is needed") as e:
        fresh.stranger.send(fresh.market.request(order(fresh, model)))
    assert not isinstance(e.value, TransactionReverted)
    assert fresh.stranger.next_nonce() == nonce


def test_send__stranger_delivers__named(fresh: World, model: int) -> None:
    request = ask(fresh, model)
    with pytest.raises(ContractError, match=fresh.stranger.address) as caught:
        fresh.stranger.send(fresh.market.deliver(request, NO_CLAIM, OperatorAnswer(ROOT, ZERO32)))
    assert caught.value.name == "CallerNotPreferredOperator"


def test_send__second_delivery__state_mismatch(fresh: World, model: int) -> None:
    request = ask(fresh, model)
    delivered(fresh, request)
    with pytest.raises(ContractError, match="not in the state") as caught:
        fresh.operator.send(fresh.market.deliver(request, NO_CLAIM, OperatorAnswer(ROOT, ZERO32)))
    assert caught.value.name == "RequestStateMismatch"


def test_finalize__window_open__when_to_come_back(fresh: World, model: int) -> None:
    request = ask(fresh, model)
    delivery = delivered(fresh, request)
    with pytest.raises(ContractError) as caught:
        fresh.stranger.send(fresh.market.finalize([request], [delivery]))
    assert caught.value.retry_at == delivery.stamp.time + PUBLICATION.challenge_window


def test_publish__stale_head__both_heads(fresh: World, model: int) -> None:
    with pytest.raises(ContractError, match="its head is 0x") as caught:
        fresh.owner.send(fresh.registry.publish_version(model, ZERO32, PUBLICATION))
    assert caught.value.values["current"] == fresh.registry.head_of(model)


def test_read__view_reverts__contract_error(fresh: World, model: int) -> None:
    fresh.owner.send(fresh.access.set_policy(model, Policy.ON_REQUEST, 0, 0))
    with pytest.raises(ContractError, match="has no access"):
        fresh.access.check(model, fresh.requester.address, ZERO32)


def test_send__refused_only_when_mined__reverted_with_the_reason(fresh: World, model: int) -> None:
    rpc = fresh.rpc
    asking = fresh.market.request(order(fresh, model))
    closing = fresh.access.set_policy(model, Policy.ON_REQUEST, 0, 0)
    body = as_object(fresh.owner.address, closing.to, closing.data, closing.value, 300_000)
    dearer = {"maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(10**11)}
    rpc.call("evm_setAutomine", False)
    try:
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(fresh.requester.send, asking)
            wait_until(lambda: rpc.call("txpool_status")["pending"] == "0x1", "the request")
            # it was possible then; the owner pays to be mined before it, and closes the model
            rpc.call("eth_sendTransaction", body | dearer)
            rpc.call("evm_mine")
            with pytest.raises(TransactionReverted, match="has no access") as caught:
                sending.result()
    finally:
        rpc.call("evm_setAutomine", True)
    assert not caught.value.receipt.succeeded


# ── Life ────────────────────────────────────────────────────────────────────────────────────────
def test_life__request_deliver_finalize__paid_to_the_last_unit(fresh: World, model: int) -> None:
    w = fresh
    before = w.market.balance_of(w.requester.address)
    request = ask(w, model)
    request_id = w.market.request_id_of(request)
    assert w.market.balance_of(w.requester.address) == before - FEE
    delivery = delivered(w, request)
    assert w.operators.stake_of(w.operator.address).locked == w.market.lock_of(request.terms).total
    w.pass_time(PUBLICATION.challenge_window)
    receipt = w.stranger.send(w.market.finalize([request], [delivery]))
    paid = receipt.one(Finalized)
    assert paid.request_id == request_id
    assert paid.operator_fee + paid.owner_fee + paid.data_fee + paid.protocol_fee == FEE
    earned = w.market.model_earnings(model)
    assert (earned.owner_fee, earned.data_fee) == (paid.owner_fee, paid.data_fee)
    treasury = w.market.config().treasury
    assert w.market.balance_of(treasury) == paid.protocol_fee
    assert w.market.balance_of(w.operator.address) == paid.operator_fee
    assert w.operators.stake_of(w.operator.address).locked == 0
    assert w.token.balance_of(w.market.address) == 100 * DOLLAR


def test_life__claimed_after_the_priority_window__delivered(fresh: World, model: int) -> None:
    request = ask(fresh, model)
    fresh.pass_time(60)
    claimed = fresh.operator.send(fresh.market.claim(request, NO_CLAIM)).one(Claimed)
    delivery = delivered(fresh, request, Claim(claimed.operator, claimed.until))
    assert delivery.operator == fresh.operator.address


def test_life__nobody_delivers__refunded(fresh: World, model: int) -> None:
    before = fresh.market.balance_of(fresh.requester.address)
    request = ask(fresh, model)
    fresh.pass_time(3601)
    refund = fresh.stranger.send(fresh.market.cancel_expired(request, NO_CLAIM)).one(Cancelled)
    assert refund.refund == FEE
    assert fresh.market.balance_of(fresh.requester.address) == before


def test_deliver_batch__three_answers__one_transaction(fresh: World, model: int) -> None:
    requests = [ask(fresh, model) for _ in range(3)]
    assert len({r.lane for r in requests}) == 3
    call = fresh.market.deliver_batch(requests, [NO_CLAIM] * 3, [OperatorAnswer(ROOT, ZERO32)] * 3)
    assert len(fresh.operator.send(call).all(Delivered)) == 3


def test_demand__output_posted__dispute_closed(fresh: World, model: int) -> None:
    from hashlib import sha256

    w, output = fresh, b"the very bytes"
    request = ask(w, model)
    root = Bytes32(sha256(output).digest())
    event = w.operator.send(w.market.deliver(request, NO_CLAIM, OperatorAnswer(root, ZERO32))).one(
        Delivered
    )
    delivery = Delivery(event.operator, event.stamp, event.output_root)
    demand = w.stranger.send(w.market.demand_output(request, delivery, value=10**18))
    asked = demand.one(OutputDemanded)
    assert w.market.demand_of(asked.request_id).challenger == w.stranger.address
    with pytest.raises(ContractError, match="has digest") as caught:
        w.operator.send(w.market.post_output(request, delivery, b"others"))
    assert caught.value.name == "OutputMismatch"
    posted = w.operator.send(w.market.post_output(request, delivery, output))
    assert posted.one(OutputPosted).output == output
    assert w.market.open_disputes_of(asked.request_id) == 0


def test_access__apply_and_grant__used_and_limited(fresh: World, model: int) -> None:
    w = fresh
    w.owner.send(w.access.set_policy(model, Policy.ON_REQUEST, 0, 0))
    applied = w.requester.send(w.access.submit_application(model, "für Ziffern ✓"))
    assert applied.one(ApplicationSubmitted).note == "für Ziffern ✓"
    w.owner.send(w.access.grant(model, w.requester.address, Timestamp(0), 1, 3600))
    ask(w, model)
    grant = w.access.grant_of(model, w.requester.address)
    assert (grant.status, grant.max_per_window, grant.used) == (GrantStatus.GRANTED, 1, 1)
    with pytest.raises(ContractError) as caught:
        ask(w, model)
    assert caught.value.name == "RateLimitExceeded"
    assert caught.value.retry_at == grant.window_start + 3600


def test_permit__signed_by_the_wallet__deposits_without_an_approval(
    fresh: World, model: int
) -> None:
    w = fresh
    w.stranger.send(w.token.faucet(w.stranger.address, Amount(DOLLAR)))
    deadline = Timestamp(2**40)
    typed = eip712.permit(
        chain_id=w.contracts.chain_id,
        token=w.token.address,
        owner=w.stranger.address,
        spender=w.market.address,
        value=Amount(DOLLAR),
        nonce=w.token.nonces(w.stranger.address),
        deadline=deadline,
    )
    signature = w.stranger.sign_typed(typed)
    w.stranger.send(
        w.market.deposit_with_permit(Amount(DOLLAR), deadline, *split_signature(signature))
    )
    assert w.market.balance_of(w.stranger.address) == DOLLAR


def test_request_for__signed_by_the_requester__sent_by_another(fresh: World, model: int) -> None:
    w = fresh
    wanted, nonce = order(w, model), w.market.nonce_of(w.requester.address)
    typed = eip712.request_authorization(
        chain_id=w.contracts.chain_id,
        market=w.market.address,
        requester=w.requester.address,
        order=wanted,
        nonce=nonce,
        deadline=Timestamp(2**40),
    )
    call = w.market.request_for(
        w.requester.address, wanted, nonce, Timestamp(2**40), w.requester.sign_typed(typed)
    )
    assert w.stranger.send(call).one(Requested).requester == w.requester.address


# ── The same bytes on chain and off ─────────────────────────────────────────────────────────────
def test_request_id__python_and_contract__equal(fresh: World, model: int) -> None:
    receipt = fresh.requester.send(fresh.market.request(order(fresh, model)))
    event = receipt.one(Requested)
    chain_id, market = fresh.contracts.chain_id, fresh.market.address
    assert records.request_id(chain_id, market, event.request) == event.request_id
    extreme = replace(
        event.request,
        nonce=2**64 - 1,
        lane=2**32 - 1,
        expires_at=Timestamp(2**40 - 1),
        callback_gas=2**24 - 1,
        terms=Terms(Amount(2**64 - 1), 65535, 65535, 65535, 2**32 - 1, 2**64 - 1, Assurance.EXACT),
    )
    assert records.request_id(chain_id, market, extreme) == fresh.market.request_id_of(extreme)


def test_version_head__python_and_contract__equal_along_the_chain(fresh: World, model: int) -> None:
    w = fresh
    head = w.registry.head_of(model)
    second = replace(PUBLICATION, manifest_digest=Bytes32(b"\x09" * 32), tolerance=7)
    receipt = w.owner.send(w.registry.publish_version(model, head, second))
    record = receipt.one(VersionPublished).record
    assert record.prev_head == head
    assert record.head == w.registry.head_at(model, 2) == w.registry.head_of(model)
    assert record.head == records.version_head(
        record.prev_head,
        record.model_id,
        record.version,
        record.manifest_digest,
        record.model_root,
        record.assurance,
        record.tolerance,
        record.publisher,
        record.timestamp,
    )
    assert w.registry.manifest_of(model, 2) == second.manifest_digest


# ── Programs of others, as docs/guides/build.md has them ────────────────────────────────────────
@pytest.fixture
def logged(fresh: World, model: int, anvil: Anvil, tmp_path: Path) -> tuple[dict[str, str], str]:
    """An environment in which a program finds this deployment, and what it says of a request."""
    save_network(
        replace(
            Settings.load({"TALLYSTICK_RPC_URL": anvil.url}, tmp_path / ".tallystick"),
            contracts=fresh.contracts,
        )
    )
    request = ask(fresh, model)
    request_id = fresh.market.request_id_of(request).hex()
    return {**os.environ, "HOME": str(tmp_path)}, f"{request_id} {request.requester} {model} {FEE}"


def said(command: list[str], environ: dict[str, str]) -> str:
    """Return what a program of the clone says, its digests and numbers as Python writes them."""
    done = subprocess.run(
        command, cwd=ROOT_FOLDER, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().removeprefix("0x").removesuffix("n")


def program(language: str) -> str:
    page = (ROOT_FOLDER / "docs/guides/build.md").read_text()
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)
    (found,) = (block for block in blocks if "RequestLens" in block)
    return found


def test_web3__logs_of_requested__named_fields(logged: tuple[dict[str, str], str]) -> None:
    environ, expected = logged
    assert said([sys.executable, "-c", program("python")], environ) == expected


@pytest.mark.clients
def test_viem__logs_of_requested__named_fields(
    logged: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    packages = Path(__file__).parent / "viem" / "node_modules"
    if not packages.is_dir():
        pytest.skip("no viem: `make test-clients` installs it")
    (tmp_path / "node_modules").symlink_to(packages)
    (tmp_path / "read.mjs").write_text(program("js"))
    environ, expected = logged
    assert said(["node", str(tmp_path / "read.mjs")], environ) == expected


# ── Reads pinned to a block ─────────────────────────────────────────────────────────────────────
def test_read__pinned_by_number_and_hash__state_of_that_block(fresh: World, model: int) -> None:
    w = fresh
    number = int(w.rpc.call("eth_blockNumber"), 16)
    block_hash = bytes.fromhex(w.rpc.call("eth_getBlockByNumber", hex(number), False)["hash"][2:])
    before = w.market.balance_of(w.requester.address)
    ask(w, model)
    assert w.market.balance_of(w.requester.address) == before - FEE
    assert w.market.balance_of(w.requester.address, block=number) == before
    assert w.market.balance_of(w.requester.address, block=block_hash) == before


def test_reads__every_view_without_arguments__a_value(world: World) -> None:
    w = world
    assert w.access.market() == w.operators.market() == w.market.address
    assert w.operators.token() == w.token.address
    assert w.operators.unbonding_delay() > 0
    assert w.operators.burned() == 0
    assert w.registry.challenge_window_range()[0] == 1
    assert (w.token.decimals(), w.token.symbol(), w.token.version()) == (6, "TUSD", "1")
    assert w.registry.supports_interface(bytes.fromhex("80ac58cd"))
    assert w.market.config().token == w.token.address
