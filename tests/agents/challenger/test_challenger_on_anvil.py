"""A challenger against real contracts: what lies is convicted, what is honest is left alone."""

import pytest

from oracle.agents.challenger.challenger import ChallengerReport
from oracle.chain.wallet import Wallet
from oracle.exact.commitments import trace_root
from oracle.services import disputes, requests
from oracle.services.request_timeline import RequestState
from oracle.services.served_traces import SignedReceipt
from oracle.store.agent_repository import CaseState
from oracle.types import ZERO32, RequestId
from tests.agents.challenger.conftest import CHALLENGER, OTHER, Arena
from tests.services.conftest import DOLLAR

pytestmark = pytest.mark.real
ME = CHALLENGER.address


def what(report: ChallengerReport) -> list[str]:
    assert all(t.mined for t in report.transactions), report.transactions
    return [t.what.split(" of operator")[0] for t in report.transactions]


def state(arena: Arena, request_id: RequestId) -> RequestState:
    return requests.show(arena.world.network, request_id).state


def game_gas(arena: Arena, request_id: RequestId) -> tuple[int, int]:
    """Return the transactions of a game, all parties', and their gas."""
    moves = disputes.show(arena.world.network, request_id).moves
    hashes = dict.fromkeys("0x" + move.transaction.hex() for move in moves)
    rpc = arena.world.network.rpc
    receipts = [rpc.call("eth_getTransactionReceipt", each) for each in hashes]
    return len(receipts), sum(int(receipt["gasUsed"], 16) for receipt in receipts)


def wei(arena: Arena, address: str) -> int:
    return int(arena.world.network.rpc.call("eth_getBalance", address, "latest"), 16)


# ── Honest answers ──────────────────────────────────────────────────────────────────────────────
def test_once__honest_delivery__nothing_is_sent(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.honest)
    before = wei(arena, ME)
    with arena.challenger() as challenger:
        report = challenger.once()
    assert (report.looked_at, report.right, report.transactions) == (1, 1, ())
    assert wei(arena, ME) == before
    assert state(arena, request_id) is RequestState.DELIVERED


def test_once__lie_in_the_trace_alone__nobody_is_wronged(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_in_the_trace)
    arena.serve(request_id)
    with arena.challenger() as challenger:
        assert challenger.once().transactions == ()


def test_once__own_delivery__is_not_looked_at(arena: Arena) -> None:
    from oracle.chain.anvil import dev_account

    arena.deliver(arena.example.lie_inside)
    with arena.challenger(account=dev_account(1)) as challenger:
        assert challenger.once().looked_at == 0


# ── Served traces ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("lie", ["lie_inside", "lie_at_the_end"])
def test_once__liar_serves_its_trace__convicted_in_two_transactions(arena: Arena, lie: str) -> None:
    requester = arena.world.requester.address
    paid = arena.balance(requester)
    request_id = arena.deliver(getattr(arena.example, lie))
    arena.serve(request_id)
    with arena.challenger() as challenger:
        report = challenger.once()
    assert what(report) == ["challenge an answer", "prove a fault", "withdraw bonds"]
    assert state(arena, request_id) is RequestState.CONVICTED
    assert arena.balance(requester) == paid + 10 * DOLLAR  # fee back, and ten times the fee
    assert arena.balance(ME) == 6 * DOLLAR  # 30 % of a lock of 20 dollars
    assert report.games[0].state is CaseState.OVER
    transactions, gas = game_gas(arena, request_id)
    assert transactions == 2
    print(f"\nserved: 2 transactions, {gas:,} gas")
    assert arena.world.network.game.bond_of(ME) == 0


def test_once__receipt_of_somebody_else__trace_is_demanded(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    signed = arena.shop.receipts[request_id]
    forged = arena.sign(request_id, signed.receipt.output_root, signed.receipt.trace_root, who=7)
    arena.shop.receipts[request_id] = SignedReceipt(forged, signed.leaves)
    with arena.challenger() as challenger:
        assert what(challenger.once()) == ["challenge an answer"]
    assert arena.world.network.game.challenge_of(request_id, ME).witness == ZERO32


def test_once__two_signed_outputs__convicted_without_a_bond(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    honest = arena.example.honest
    receipt = arena.sign(request_id, honest.output_root, trace_root(honest.trace_leaves))
    arena.shop.receipts[request_id] = SignedReceipt(receipt, honest.trace_leaves)
    with arena.challenger() as challenger:
        report = challenger.once()
    assert what(report) == ["prove an equivocation"]
    assert state(arena, request_id) is RequestState.CONVICTED


# ── Withheld traces ─────────────────────────────────────────────────────────────────────────────
def test_once__trace_withheld__convicted_within_nine_transactions(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside, bytes_too=False)
    done: list[str] = []
    gas = sent = 0
    while state(arena, request_id) is RequestState.DELIVERED:
        with arena.challenger() as challenger:  # a new process for every move
            done += [w for w in what(challenger.once()) if w != "withdraw bonds"]
        if state(arena, request_id) is RequestState.DELIVERED:
            gas += arena.reply(request_id, ME)
            sent += 1
    assert done == [
        "challenge an answer",
        "demand node 0 at level 0",
        "demand node 37 at level 6",
        "prove a fault",
    ]
    transactions, total = game_gas(arena, request_id)
    assert transactions == len(done) + sent == 7
    assert gas < total < 1_200_000
    print(f"\nwithheld: {transactions} transactions, {total:,} gas, {gas:,} of it the operator's")
    assert arena.world.network.game.bond_of(ME) == 0  # withdrawn


def test_once__trace_on_chain_and_tensors_served__one_demand(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    with arena.challenger() as challenger:
        assert what(challenger.once()) == ["challenge an answer"]
    arena.reply(request_id, ME)
    arena.serve(request_id)
    with arena.challenger() as challenger:
        assert what(challenger.once()) == ["demand node 1 at level 1"]
    arena.reply(request_id, ME)
    with arena.challenger() as challenger:
        assert "prove a fault" in what(challenger.once())


def test_once__operator_silent__convicted_after_its_turn(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    with arena.challenger() as challenger:
        assert what(challenger.once()) == ["challenge an answer"]
        assert challenger.once().transactions == ()
        arena.world.pass_time(120)
        assert what(challenger.once())[0] == "convict: silent"
    assert state(arena, request_id) is RequestState.CONVICTED


def test_once__root_without_preimage__convicted_after_silence(arena: Arena) -> None:
    """An output root that is no tensor's cannot be opened: the demand for it is not answered."""
    lie = arena.example.lie_at_the_end
    lie._leaves[len(arena.example.program.ops)] = b"\x42" * 32
    try:
        request_id = arena.deliver(lie, bytes_too=False)
    finally:
        lie._leaves.clear()
    with arena.challenger() as challenger:
        challenger.once()
        arena.reply(request_id, ME)
        assert what(challenger.once()) == ["demand node 0 at level 0"]
        arena.world.pass_time(120)
        assert what(challenger.once())[0] == "convict: silent"


# ── Others ──────────────────────────────────────────────────────────────────────────────────────
def test_once__convicted_by_another__bond_comes_back(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    with arena.challenger() as mine:
        mine.once()
        arena.serve(request_id)
        arena.reply(request_id, ME)
        with arena.challenger("other", OTHER) as other:
            assert "prove a fault" in what(other.once())
        assert what(mine.once()) == ["release a challenger's bond", "withdraw bonds"]
    assert arena.balance(ME) == 3 * DOLLAR  # the oldest challenger's half of the bounty
    assert arena.balance(OTHER.address) == 3 * DOLLAR


def test_open__second_process_of_an_account__is_refused(arena: Arena) -> None:
    from oracle.errors import ConfigInvalid

    with arena.challenger(), pytest.raises(ConfigInvalid, match="another challenger uses"):
        arena.challenger()


def test_once__memory_lost_after_an_open_challenge__goes_on(arena: Arena) -> None:
    request_id = arena.deliver(arena.example.lie_inside)
    with arena.challenger() as challenger:
        challenger.once()
    arena.reply(request_id, ME)
    with arena.challenger("elsewhere") as challenger:
        assert what(challenger.once()) == ["demand node 0 at level 0"]


def test_once__poor_account__says_what_is_missing(arena: Arena) -> None:
    from eth_account import Account

    request_id = arena.deliver(arena.example.lie_inside)
    arena.serve(request_id)
    poor = Account.from_key("0x" + "77" * 32)
    assert isinstance(Wallet(arena.world.network.rpc, poor), Wallet)
    with arena.challenger(account=poor) as challenger:
        report = challenger.once()
    assert report.transactions == ()
    assert "send it currency" in report.games[0].note or "of bond" in report.games[0].note
