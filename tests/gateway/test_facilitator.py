"""x402 payments of a gateway in this process, over a real chain: what is paid, and what goes back.

The test delivers as an operator would, or lets time pass. The payer is a stranger with tokens and
without currency: others send what it signs.
"""

import asyncio
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.model_access import Policy
from oracle.chain.bindings.test_dollar import Transfer
from oracle.chain.contract import Call, split_signature
from oracle.chain.outbox import EntryState
from oracle.chain.revert import ContractError
from oracle.chain.rpc import RpcError
from oracle.chain.wallet import Wallet
from oracle.errors import Unavailable
from oracle.gateway import api_keys
from oracle.gateway.facilitator import KEY, Facilitator, PaymentReturned, PaymentReused
from oracle.gateway.gateway import Gateway, RequestFailed
from oracle.gateway.payment_follower import PaymentFollower
from oracle.gateway.signed_transfers import SignedTransfers
from oracle.protocol.canonical import keccak
from oracle.protocol.x402 import Authorization, PaymentInvalid
from oracle.services import access, balances, models, requests
from oracle.services.event_history import topic
from oracle.store import Store
from oracle.store.gateway_repository import BudgetExhausted
from oracle.store.outbox import SqlOutbox
from oracle.store.payment_repository import PaymentState
from oracle.types import Address, Amount, Bytes32, Timestamp
from tests.contracts.in_process import BUILD
from tests.gateway.conftest import question
from tests.services.conftest import DOLLAR
from tests.support.waiting import wait_until

pytestmark = pytest.mark.real

PAYER = dev_account(7)


@pytest.fixture
def payer(market):
    balances.fund(market.network, PAYER.address, Amount(3 * DOLLAR))
    return Wallet(market.network.rpc, PAYER)


def signed(gateway, account=PAYER, **changes):
    """A payment as an x402 client makes it, signed after the changes."""
    wanted = gateway.facilitator.requirements(Amount(DOLLAR))
    fields = {
        "payer": Address(account.address),
        "to": wanted.pay_to,
        "value": wanted.amount,
        "valid_after": Timestamp(0),
        "valid_before": Timestamp(int(time.time()) + wanted.timeout),
        "nonce": Bytes32(secrets.token_bytes(32)),
    } | changes
    unsigned = Authorization(**fields, signature=b"")
    typed = gateway.facilitator.token.typed(unsigned)
    signature = account.sign_typed_data(full_message=typed).signature
    return replace(unsigned, signature=bytes(signature))


def take(gateway, payment, value=0.5):
    wanted = gateway.facilitator.requirements(Amount(DOLLAR))
    return gateway.facilitator.take(payment, wanted, question(gateway, value))


def settle(gateway, payment, value=0.5):
    return asyncio.run(gateway.facilitator.settled(take(gateway, payment, value), 60))


def ask(gateway, payment, value=0.5):
    """Settle and ask, as a route does; return ticket and request."""
    kept = settle(gateway, payment, value)

    async def asked():
        once = question(gateway, value, kept.id.hex())
        ticket = await gateway.accept(gateway.facilitator.key, once)
        return ticket, await gateway.requested(ticket, 60)

    return asyncio.run(asked())


def state(gateway, payment):
    with gateway.store.read() as tx:
        found = tx.payment(payment.id)
    return found and found.state


def becomes(gateway, payment, wanted):
    """Wait until a payment is in a state; the facilitator need not look by itself meanwhile."""

    def there():
        gateway.payments.look()
        gateway.payments.wake()
        return state(gateway, payment) is wanted

    wait_until(there, f"the payment to be {wanted}")


def tokens(market, account=PAYER.address):
    return market.network.token.balance_of(account)


def call_of(market, payment):
    return market.network.token.transfer_with_authorization_with_v_r_s(
        payment.payer, payment.to, payment.value, payment.valid_after, payment.valid_before,
        payment.nonce, *split_signature(payment.signature),
    )  # fmt: skip


def transfers(market, gateway):
    """What payers have paid this gateway."""
    read, token = market.network.history.read, market.network.token.address
    return read(token, (Transfer,), topic(PAYER.address), topic(gateway.address))


# ── Refusals: nothing is paid, nothing is kept ──────────────────────────────────────────────────
OTHER = dev_account(8)
HALF = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def malleable(payment):
    """The other signature of the same key for the same message."""
    r, s, v = (
        payment.signature[:32],
        int.from_bytes(payment.signature[32:64]),
        payment.signature[64],
    )
    return replace(payment, signature=r + (HALF - s).to_bytes(32) + bytes([55 - v]))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda g: signed(g, to=Address(OTHER.address)), "recipient_mismatch"),
        (lambda g: signed(g, value=Amount(DOLLAR - 1)), "value_mismatch"),
        (lambda g: signed(g, value=Amount(DOLLAR + 1)), "value_mismatch"),
        (lambda g: signed(g, valid_before=Timestamp(int(time.time()))), "valid_before"),
        (lambda g: signed(g, valid_before=Timestamp(2**255)), "valid_before"),
        (lambda g: signed(g, valid_after=Timestamp(int(time.time()) + 60)), "valid_after"),
        (lambda g: signed(g, OTHER, payer=Address(PAYER.address)), "payload_signature"),
        (lambda g: replace(signed(g), value=Amount(DOLLAR // 2)), "payload_signature"),
        (lambda g: replace(signed(g), nonce=Bytes32(bytes(32))), "payload_signature"),
        (lambda g: malleable(signed(g)), "payload_signature"),
        (lambda g: signed(g, OTHER), "insufficient_balance"),
    ],
)
def test_take__does_not_pay__is_refused_in_the_words_of_x402(gateway, payer, make, code):
    payment = make(gateway)
    with pytest.raises(PaymentInvalid) as caught:
        take(gateway, payment)
    assert caught.value.code.endswith(code)
    assert state(gateway, payment) is None


def test_take__cancelled_by_its_payer__is_refused(gateway, payer, market):
    payment = signed(gateway)
    cancel(market, payment)
    with pytest.raises(PaymentInvalid) as caught:
        take(gateway, payment)
    assert caught.value.code == "invalid_exact_evm_nonce_already_used"


def cancel(market, payment):
    typed = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "CancelAuthorization": [
                {"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"},
            ],
        },
        "primaryType": "CancelAuthorization",
        "domain": {
            "name": "Test Dollar", "version": "1", "chainId": market.network.contracts.chain_id,
            "verifyingContract": market.network.token.address,
        },
        "message": {"authorizer": payment.payer, "nonce": payment.nonce},
    }  # fmt: skip
    signature = bytes(PAYER.sign_typed_data(full_message=typed).signature)
    token = market.network.token
    market.stranger.send(
        token.cancel_authorization(payment.payer, payment.nonce, *split_signature(signature))
    )


def test_take__fee_raised_meanwhile__pays_nothing(gateway, payer, market):
    """The market is asked before the token: what it refuses costs nobody a transfer."""
    asked = question(gateway)
    dearer = models.changed_terms(market.network.registry.terms_of(1, 1), fee=2 * DOLLAR)
    models.set_terms(market.network, market.owner, 1, 1, dearer)
    payment, wanted = signed(gateway), gateway.facilitator.requirements(Amount(DOLLAR))
    with pytest.raises(ContractError) as caught:
        gateway.facilitator.take(payment, wanted, asked)
    assert caught.value.name == "FeeAboveMax"
    assert state(gateway, payment) is None
    assert tokens(market) == 3 * DOLLAR


def test_take__payer_without_a_grant__is_refused_and_pays_nothing(gateway, payer, market):
    """Who pays through a gateway is bound by the rules of the model's owner like everybody."""
    network, owner = market.network, market.owner
    access.set_policy(network, owner, 1, Policy.ON_REQUEST)
    access.grant(network, owner, 1, gateway.address)
    payment = signed(gateway)
    with pytest.raises(ContractError) as caught:
        take(gateway, payment)
    assert caught.value.name == "GrantMissing"
    assert state(gateway, payment) is None
    access.grant(network, owner, 1, payment.payer)
    assert settle(gateway, payment).state is PaymentState.SETTLED


def test_take__used_for_another_question__is_refused_and_paid_once(gateway, payer, market):
    payment = signed(gateway)
    settle(gateway, payment)
    with pytest.raises(PaymentReused):
        take(gateway, payment, value=0.25)
    assert tokens(market) == 2 * DOLLAR


def test_take__nonce_of_another_payment__is_refused(gateway, payer):
    """A token takes a nonce once: the second would pass for paid by the first one's transfer."""
    payment = signed(gateway)
    settle(gateway, payment)
    later = Timestamp(payment.valid_before - 1)
    with pytest.raises(PaymentReused):
        take(gateway, signed(gateway, nonce=payment.nonce, valid_before=later))


def test_take__more_payments_at_once_than_the_payer_has__only_those_it_can_pay(market, url, payer):
    """Each alone would be paid, and for every transfer that fails the gateway pays the gas."""
    gateway = Gateway(market.network, dev_account(2), Store.open(url))
    asked = [signed(gateway) for _ in range(8)]

    def one(payment):
        try:
            return take(gateway, payment).state
        except PaymentInvalid as error:
            return error.code

    try:
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(one, asked))
        assert taken.count("invalid_exact_evm_insufficient_balance") == 5
        assert taken.count(PaymentState.SETTLING) == 3
        gateway.start()
        wait_until(lambda: tokens(market) == 0)
    finally:
        gateway.close()


# ── Races between verify and settle ─────────────────────────────────────────────────────────────
@pytest.fixture
def verified(market, url, payer):
    """A payment that was taken by a gateway which sends nothing yet."""
    opened = Gateway(market.network, dev_account(2), Store.open(url))
    payment = signed(opened)
    take(opened, payment)
    yield opened, payment
    opened.close()


def test_settled__payer_spent_its_tokens_meanwhile__serves_nothing_and_forgets(verified, market):
    gateway, payment = verified
    empty(market)
    gateway.start()
    with pytest.raises(PaymentInvalid, match="transfer failed") as caught:
        settle(gateway, payment)
    assert caught.value.code == "transaction_failed"
    market.pass_time(2 * 3600)
    becomes(gateway, payment, PaymentState.VOID)
    assert transfers(market, gateway) == []


def empty(market, amount=3 * DOLLAR):
    call = market.network.token.transfer(market.stranger.address, Amount(amount))
    Wallet(market.network.rpc, PAYER).send(call)


def test_settled__somebody_else_sends_it_first__counts(verified, market):
    gateway, payment = verified
    sent = market.stranger.send(call_of(market, payment))
    gateway.start()
    assert settle(gateway, payment).transaction == sent.tx_hash
    assert len(transfers(market, gateway)) == 1


def test_settled__somebody_else_sends_it_first__waits_until_that_is_final(market, url, payer):
    now, deep = [time.time()], replace(market.network.settings, finality_depth=3)
    network = replace(market.network, settings=deep)
    gateway = Gateway(network, dev_account(2), Store.open(url), clock=lambda: now[0])
    try:
        payment = signed(gateway)
        take(gateway, payment)
        sent = market.stranger.send(call_of(market, payment))
        now[0] += 11  # so that the transfer is tried again before it is sent
        gateway.start()
        outbox = SqlOutbox(gateway.store)
        wait_until(lambda: outbox.of(payment.id)[-1].state is EntryState.FAILED)
        gateway.payments.step()
        assert state(gateway, payment) is PaymentState.SETTLING
        market.network.rpc.call("anvil_mine", "0x3")
        gateway.payments.wake()
        assert settle(gateway, payment).transaction == sent.tx_hash
    finally:
        gateway.close()


def test_settled__cancelled_meanwhile__serves_nothing(verified, market):
    gateway, payment = verified
    cancel(market, payment)
    gateway.start()
    with pytest.raises(PaymentInvalid):
        settle(gateway, payment)


def test_settled__nonce_spent_on_another_transfer_beside_one_to_us__serves_nothing(
    verified, market
):
    """A used nonce and some transfer of the right amount to us are not that payment."""
    gateway, payment = verified
    elsewhere = signed(gateway, to=market.stranger.address, nonce=payment.nonce)
    market.stranger.send(call_of(market, elsewhere))
    token = market.network.token
    Wallet(market.network.rpc, PAYER).send(token.transfer(gateway.address, Amount(DOLLAR)))
    gateway.start()
    with pytest.raises(PaymentInvalid):
        settle(gateway, payment)


def test_expire__sent_by_somebody_after_it_was_refused__goes_back(verified, market):
    gateway, payment = verified
    empty(market)
    gateway.start()
    with pytest.raises(PaymentInvalid):
        settle(gateway, payment)
    balances.fund(market.network, PAYER.address, Amount(DOLLAR))
    market.stranger.send(call_of(market, payment))
    assert tokens(market) == 0
    market.pass_time(2 * 3600)
    becomes(gateway, payment, PaymentState.REFUNDED)
    assert tokens(market) == DOLLAR
    with pytest.raises(PaymentReturned):
        settle(gateway, payment)


# ── Sent by somebody before its payer brought it ────────────────────────────────────────────────
def test_take__sent_before__is_served_and_paid_once(gateway, payer, market):
    payment = signed(gateway)
    sent = market.stranger.send(call_of(market, payment))
    assert settle(gateway, payment).transaction == sent.tx_hash
    assert ask(gateway, payment)[1] == ask(gateway, payment)[1]
    assert len(transfers(market, gateway)) == 1
    assert tokens(market) == 2 * DOLLAR


def test_take__sent_before_and_expired__is_served(gateway, payer, market):
    payment = signed(gateway)
    market.stranger.send(call_of(market, payment))
    market.pass_time(2 * 3600)
    assert settle(gateway, payment).state is PaymentState.SETTLED


def test_take__sent_before_and_in_no_block_yet__is_served(gateway, payer, market):
    payment, rpc = signed(gateway), market.network.rpc
    call = call_of(market, payment)
    rpc.call("evm_setAutomine", False)
    try:
        body = {
            "from": dev_account(9).address, "to": call.to, "data": "0x" + call.data.hex(),
            "gas": hex(200_000), "maxPriorityFeePerGas": hex(10**10), "maxFeePerGas": hex(10**11),
        }  # fmt: skip
        sent = rpc.call("eth_sendTransaction", body)
        assert take(gateway, payment).state is PaymentState.SETTLING
        outbox = SqlOutbox(gateway.store)
        wait_until(lambda: outbox.of(payment.id)[-1].state is EntryState.FAILED)
        gateway.payments.step()
        assert state(gateway, payment) is PaymentState.SETTLING
    finally:
        rpc.call("evm_setAutomine", True)
    rpc.call("evm_mine")
    gateway.payments.wake()
    transaction = settle(gateway, payment).transaction
    assert "0x" + transaction.hex() == sent
    assert tokens(market) == 2 * DOLLAR


def test_take__sent_before_and_another_sum__goes_back_once(gateway, payer, market):
    payment = signed(gateway, value=Amount(DOLLAR // 2))
    market.stranger.send(call_of(market, payment))
    with pytest.raises(PaymentReturned, match="the answer costs 1000000"):
        take(gateway, payment)
    becomes(gateway, payment, PaymentState.REFUNDED)
    assert tokens(market) == 3 * DOLLAR
    with pytest.raises(PaymentReturned):
        take(gateway, payment)


def test_take__sent_before_by_who_has_no_grant__goes_back(gateway, payer, market):
    network, owner = market.network, market.owner
    access.set_policy(network, owner, 1, Policy.ON_REQUEST)
    access.grant(network, owner, 1, gateway.address)
    payment = signed(gateway)
    market.stranger.send(call_of(market, payment))
    with pytest.raises(PaymentReturned, match="no access"):
        take(gateway, payment)
    becomes(gateway, payment, PaymentState.REFUNDED)
    assert tokens(market) == 3 * DOLLAR


def test_take__nonce_used_before_for_another_transfer_to_us__is_refused(gateway, payer, market):
    """Who paid for one question must not have a second one for it."""
    paid = signed(gateway)
    market.stranger.send(call_of(market, paid))
    other = signed(gateway, nonce=paid.nonce, value=Amount(DOLLAR // 2))
    with pytest.raises(PaymentInvalid):
        take(gateway, other)
    assert settle(gateway, paid).state is PaymentState.SETTLED
    with pytest.raises(PaymentReused):
        take(gateway, other)


def test_take__sent_before_and_good_for_ever__goes_back(gateway, payer, market):
    """A time beyond what a database counts in is still one for which the tokens went."""
    payment = signed(gateway, valid_before=Timestamp(2**255))
    with pytest.raises(PaymentInvalid):
        take(gateway, payment)
    market.stranger.send(call_of(market, payment))
    assert settle(gateway, payment).state is PaymentState.SETTLED


def test_settled__sent_by_somebody_in_a_block_that_was_changed__counts(market, url, payer):
    """A chain that reorganises can have the transfer below the block in which it was looked at."""
    network = replace(market.network, settings=replace(market.network.settings, finality_depth=3))
    gateway = Gateway(network, dev_account(2), Store.open(url))
    rpc = market.network.rpc
    try:
        payment = signed(gateway)
        kept = rpc.call("evm_snapshot")
        rpc.call("anvil_mine", "0x2")
        take(gateway, payment)
        rpc.call("evm_revert", kept)
        sent = market.stranger.send(call_of(market, payment))
        gateway.start()

        def settled():
            rpc.call("anvil_mine", "0x1")
            gateway.payments.wake()
            return state(gateway, payment) is not PaymentState.SETTLING

        wait_until(settled)
        assert settle(gateway, payment).transaction == sent.tx_hash
    finally:
        gateway.close()


# ── A payer that is a contract (ERC-1271) ───────────────────────────────────────────────────────
@pytest.fixture
def wallet(market):
    """A wallet that signs what it was told to, whatever the signature is."""
    built = json.loads((BUILD / "TestWallet.json").read_text())
    address = market.stranger.create(bytes.fromhex(built["bytecode"])).contract
    market.stranger.send(market.network.token.faucet(address, Amount(3 * DOLLAR)))
    return address


def approved(gateway, market, wallet, **changes):
    """A payment that the wallet calls its own; the signature says nothing."""
    fields = {"payer": wallet, "signature": b"", **changes}
    payment = replace(signed(gateway), **fields)
    approve(market, wallet, gateway.facilitator.token.digest(payment))
    return payment


def approve(market, wallet, digest):
    market.stranger.send(Call(wallet, keccak(b"approve(bytes32)")[:4] + digest))


@pytest.mark.parametrize("signature", [b"", b"\x07" * 65, b"\x07" * 300])
def test_take__contract_signed__is_settled_and_paid_once(gateway, market, wallet, signature):
    payment = approved(gateway, market, wallet, signature=signature)
    assert ask(gateway, payment)[1] == ask(gateway, payment)[1]
    assert tokens(market, wallet) == 2 * DOLLAR


def test_take__contract_did_not_sign__is_refused(gateway, market, wallet):
    payment = approved(gateway, market, wallet)
    settle(gateway, payment)
    approve(market, wallet, bytes(32))
    for one in (payment, replace(payment, nonce=Bytes32(secrets.token_bytes(32)))):
        with pytest.raises(PaymentInvalid) as caught:  # known, and not: the answer is not public
            take(gateway, one)
        assert caught.value.code == "invalid_exact_evm_payload_signature"


def test_take__wallet_not_deployed__says_so(gateway, payer):
    payment = replace(signed(gateway), signature=bytes(64) + bytes.fromhex("6492" * 16))
    with pytest.raises(PaymentInvalid, match="ERC-6492") as caught:
        take(gateway, payment)
    assert caught.value.code == "invalid_exact_evm_payload_undeployed_smart_wallet"


def test_take__signature_that_costs_too_much_gas__is_refused(gateway, payer, market, url):
    """Who is asked for a signature is the payer's contract: what it burns is on the gateway."""
    transfers_ = SignedTransfers(market.network, gateway.address, lambda _: 300_001)
    payment = signed(gateway)
    call = transfers_.signed(payment, gateway.facilitator.token.digest(payment))
    with pytest.raises(PaymentInvalid, match="300,001 gas"):
        transfers_.gas_of(call)


def test_settled__contract_takes_its_signature_back__serves_nothing(market, url, wallet):
    gateway = Gateway(market.network, dev_account(2), Store.open(url))
    try:
        payment = approved(gateway, market, wallet)
        wanted = gateway.facilitator.requirements(Amount(DOLLAR))
        kept = gateway.facilitator.take(payment, wanted, question(gateway))
        approve(market, wallet, bytes(32))
        gateway.start()
        with pytest.raises(PaymentInvalid, match="transfer failed"):
            asyncio.run(gateway.facilitator.settled(kept, 60))
        assert tokens(market, wallet) == 3 * DOLLAR
    finally:
        gateway.close()


def burn(market, wallet, gas=1_000_000):
    """Let a wallet say yes to every signature, and take much gas for it."""
    count_down = f"62{gas // 26:06x}5b600190038060045763"  # each step takes 26 gas
    code = "0x" + count_down + "1626ba7e60e01b60005260206000f3"
    market.network.rpc.call("anvil_setCode", wallet, code)


@pytest.mark.parametrize(
    ("gas", "code"),
    [(1_000_000, "transaction_simulation_failed"), (10_000_000, "payload_signature")],
)
def test_take__contract_that_burns_gas__is_refused_and_the_node_works_little(
    gateway, market, wallet, gas, code
):
    payment = replace(signed(gateway), payer=wallet, signature=b"")
    burn(market, wallet, gas)
    with pytest.raises(PaymentInvalid) as caught:
        take(gateway, payment)
    assert caught.value.code.endswith(code)


@pytest.fixture
def late(market, url, wallet):
    """A gateway that sends nothing yet, its clock, and a payment by a contract that it took."""
    now = [time.time()]
    gateway = Gateway(market.network, dev_account(2), Store.open(url), clock=lambda: now[0])
    payment = approved(gateway, market, wallet)
    take(gateway, payment)
    yield gateway, now, payment
    gateway.close()


def test_settled__signature_costs_more_by_the_time_it_is_sent__is_not_sent(late, market, wallet):
    """An estimate is made again after ten seconds; a payer's contract may wait for that."""
    gateway, now, payment = late
    burn(market, wallet)
    now[0] += 11
    gateway.start()
    with pytest.raises(PaymentInvalid, match="gas"):
        settle(gateway, payment)
    assert tokens(market, wallet) == 3 * DOLLAR
    assert SqlOutbox(gateway.store).of(payment.id)[-1].hashes == ()


def test_settled__signature_costs_more_when_it_is_priced_again__takes_no_more_gas(
    late, market, wallet
):
    gateway, now, payment = late
    outbox, rpc = SqlOutbox(gateway.store), market.network.rpc
    rpc.call("evm_setAutomine", False)
    try:
        gateway.start()
        wait_until(lambda: outbox.of(payment.id)[-1].hashes)
        burn(market, wallet)
        now[0] += 31
        wait_until(lambda: len(outbox.of(payment.id)[-1].hashes) == 2)
        assert outbox.of(payment.id)[-1].gas <= 300_000
    finally:
        rpc.call("evm_setAutomine", True)
        rpc.call("evm_mine")


# ── Served ──────────────────────────────────────────────────────────────────────────────────────
def test_ask__same_payment_by_many_at_once__is_one_transfer_and_one_request(gateway, payer, market):
    payment = signed(gateway)
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda _: ask(gateway, payment), range(8)))
    assert len({request_id for _, request_id in asked}) == 1
    assert len(transfers(market, gateway)) == 1
    assert tokens(market) == 2 * DOLLAR


def test_take__same_payment_at_two_processes_at_once__is_one_transfer(gateway, payer, market, url):
    """The second opens the store anew and sends nothing: an account is used by one process."""
    second = Gateway(market.network, dev_account(2), Store.open(url))
    payments = [signed(gateway) for _ in range(3)]
    try:
        for payment in payments:
            with ThreadPoolExecutor(8) as pool:
                takers = [gateway, second] * 4
                taken = list(pool.map(lambda one, its=payment: take(one, its).id, takers))
            assert set(taken) == {payment.id}
            settle(gateway, payment)
            assert len(SqlOutbox(second.store).of(payment.id)) == 1
    finally:
        second.close()
    assert len(transfers(market, gateway)) == 3
    assert tokens(market) == 0


def test_take__same_payment_settled_while_it_is_verified__is_the_same(gateway, payer, market):
    """A client that repeats at once: the token calls its nonce used, and it is by itself."""
    payment = signed(gateway)

    def slow(call):
        settle(gateway, payment)
        return gateway.sender.gas_of(call)

    second = Facilitator(
        market.network, gateway.address, gateway.store, gateway.notifier, gateway.sponsor,
        simulate=slow, accepted=gateway.dispatcher.wake,
    )  # fmt: skip
    wanted = gateway.facilitator.requirements(Amount(DOLLAR))
    assert second.take(payment, wanted, question(gateway)).state is PaymentState.SETTLED


def test_ask__answered_and_final__is_served_and_its_money_is_deposited(gateway, payer, market):
    payment = signed(gateway)
    _, request_id = ask(gateway, payment)
    info = requests.show(market.network, request_id)
    assert info.requester == gateway.address
    market.deliver(info, [0.0, 3.0, 2.0])
    answered = asyncio.run(gateway.answer(request_id, 60))
    assert answered.outputs["logits"].tolist() == [[0.0, 3.0, 2.0]]
    market.pass_time(61)
    requests.finalize(market.network, market.stranger, [request_id])
    becomes(gateway, payment, PaymentState.SERVED)
    assert ask(gateway, payment)[1] == request_id  # a replay is the same request for ever
    wait_until(lambda: tokens(market, gateway.address) == 0, "the deposit")
    prepaid = market.network.market.balance_of(gateway.address)
    assert prepaid == 5 * DOLLAR


def test_ask__more_at_once_than_is_prepaid__each_is_asked_or_goes_back(market, url):
    """The prepaid balance pays five; what others paid is deposited, or goes back to them."""
    balances.fund(market.network, PAYER.address, Amount(12 * DOLLAR))
    now = [time.time()]
    gateway = Gateway(market.network, dev_account(2), Store.open(url), clock=lambda: now[0])
    gateway.start()

    def one(number):
        payment = signed(gateway)
        try:
            return ask(gateway, payment, value=number / 16)
        except (ContractError, RequestFailed):
            with gateway.store.read() as tx:
                kept = tx.payment(payment.id)
            if kept is not None:
                gateway.facilitator.give_up(kept, "the gateway cannot pay")
            return None

    def settled():
        now[0] += 5
        gateway.payments.look()
        gateway.payments.wake()
        with gateway.store.read() as tx:
            found = [payment.state for payment in tx.payments()]
        return found.count(PaymentState.SETTLED) == len(asked) and set(found) <= {
            PaymentState.SETTLED,
            PaymentState.REFUNDED,
        }

    try:
        with ThreadPoolExecutor(12) as pool:
            asked = [found for found in pool.map(one, range(12)) if found]
        assert len(asked) >= 5
        wait_until(settled)
        assert tokens(market) == (12 - len(asked)) * DOLLAR
    finally:
        gateway.close()


def test_require_enough__asked_before_the_fee_rose__is_served(gateway, payer):
    payment = signed(gateway)
    _, request_id = ask(gateway, payment)
    gateway.facilitator.require_enough(settle(gateway, payment), Amount(2 * DOLLAR))
    assert ask(gateway, payment)[1] == request_id


# ── Paid back ───────────────────────────────────────────────────────────────────────────────────
def test_refund__nobody_answers__goes_back_once(gateway, payer, market):
    payment = signed(gateway)
    ask(gateway, payment)
    assert tokens(market) == 2 * DOLLAR
    market.pass_time(601)
    wait_until(lambda: gateway.sweeper.sweep() == 1)
    becomes(gateway, payment, PaymentState.REFUNDED)
    assert tokens(market) == 3 * DOLLAR
    with pytest.raises(PaymentReturned):
        settle(gateway, payment)


def test_refund__nobody_asks_in_time__goes_back(market, url, payer):
    now = [time.time()]
    gateway = Gateway(market.network, dev_account(2), Store.open(url), clock=lambda: now[0])
    gateway.start()
    try:
        payment = signed(gateway)
        settle(gateway, payment)
        now[0] += 121
        becomes(gateway, payment, PaymentState.REFUNDED)
        assert tokens(market) == 3 * DOLLAR
    finally:
        gateway.close()


def test_refund__answer_convicted__goes_back_with_the_compensation(gateway, payer, market):
    payment = signed(gateway)
    _, request_id = ask(gateway, payment)
    market.deliver(requests.show(market.network, request_id), [0.0, 3.0, 2.0])
    bond = requests.bond_needed(market.network, market.stranger, request_id)
    demanded = requests.demand(market.network, market.stranger, request_id, bond)
    market.pass_time(demanded.deadline - market.network.history.now())
    conviction = requests.convict(market.network, market.stranger, request_id)
    assert conviction.to_requester > DOLLAR
    becomes(gateway, payment, PaymentState.REFUNDED)
    assert tokens(market) == 2 * DOLLAR + conviction.to_requester


def test_refund__key_of_payers_revoked__takes_nothing_and_gives_back(market, url, payer):
    now = [time.time()]
    gateway = Gateway(market.network, dev_account(2), Store.open(url), clock=lambda: now[0])
    gateway.start()
    try:
        payment = signed(gateway)
        kept = settle(gateway, payment)
        api_keys.revoke(gateway.store, KEY)
        with pytest.raises(Unavailable):
            take(gateway, signed(gateway))
        once = question(gateway, idempotency=kept.id.hex())
        with pytest.raises(BudgetExhausted):
            gateway.sponsor.accept(gateway.facilitator.key, once)
        assert gateway.facilitator.give_up(kept, "revoked")
        becomes(gateway, payment, PaymentState.REFUNDED)
        assert tokens(market) == 3 * DOLLAR
    finally:
        gateway.close()


def test_step__node_cannot_answer_for_one_payment__brings_the_others_on(market, url, payer):
    gateway = Gateway(market.network, dev_account(2), Store.open(url))
    gateway.start()
    try:
        for payment in (first := signed(gateway), second := signed(gateway)):
            settle(gateway, payment)
        gateway.payments.stop()
        for payment in (first, second):
            assert gateway.facilitator.give_up(settle(gateway, payment), "nobody asks")
        refused = []

        def simulate(call):
            if not refused:
                refused.append(call)
                raise RpcError(-32000, "for its own reasons")
            return gateway.sender.gas_of(call)

        follower = PaymentFollower(
            market.network,
            Wallet(market.network.rpc, dev_account(2)),
            gateway.store,
            gateway.notifier,
            gateway.facilitator,
            simulate=simulate,
            accepted=gateway.dispatcher.wake,
        )
        with pytest.raises(RpcError, match="its own reasons"):
            follower.step()
        assert state(gateway, first) is PaymentState.OWED
        assert state(gateway, second) is PaymentState.REFUNDING
    finally:
        gateway.close()


def test_refund__gateway_has_nothing_prepaid__is_owed_until_it_has(market, url, payer):
    now, network, friend = [time.time()], market.network, market.stranger
    gateway = Gateway(network, dev_account(2), Store.open(url), clock=lambda: now[0])
    gateway.start()
    try:
        payment = signed(gateway)
        settle(gateway, payment)
        gateway.payments.look()
        wait_until(lambda: tokens(market, gateway.address) == 0, "the deposit")
        prepaid = network.market.balance_of(gateway.address)
        gateway.sender.submit("test", [], network.market.withdraw(friend.address, prepaid))
        gateway.dispatcher.wake()
        wait_until(lambda: network.market.balance_of(gateway.address) == 0)
        now[0] += 121
        becomes(gateway, payment, PaymentState.OWED)
        gateway.payments.step()
        assert state(gateway, payment) is PaymentState.OWED
        balances.allow(network, friend, network.market.address, Amount(DOLLAR))
        friend.send(network.market.deposit(gateway.address, Amount(DOLLAR)))
        now[0] += 61
        becomes(gateway, payment, PaymentState.REFUNDED)
        assert tokens(market) == 3 * DOLLAR
    finally:
        gateway.close()
