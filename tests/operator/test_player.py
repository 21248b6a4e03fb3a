"""What is signed in a dispute: what is owed and not over, and never two traces."""

from dataclasses import replace

import pytest
import structlog
from eth_account import Account
from eth_account.messages import encode_typed_data

from oracle.chain.anvil import dev_account
from oracle.chain.bindings.dispute_game import DisputeGame
from oracle.chain.outbox import EntryState
from oracle.errors import InputInvalid
from oracle.exact.receipt import receipt
from oracle.operator.player import Player
from oracle.queue.messages import PlayMessage, ReceiptMessage, RespondMessage
from oracle.store.job import SlotPhase
from oracle.store.reply_repository import ReplyKind
from oracle.store.store import Store
from oracle.types import Address, Bytes32, Delivery, Stamp, Timestamp
from tests.contracts.exact import example
from tests.operator.builders import ME, OTHER, ROOT
from tests.operator.test_submitter import Chain
from tests.worker.disputes import ID, NOW, delivered, demand, trace_job
from worker.tasks.respond import answer
from worker.traces import Traced

GAME = Address("0x" + "22" * 20)
THIRD = Address("0x" + "11" * 20)
KEY = dev_account(1)


@pytest.fixture
def store():
    made = Store.open("sqlite://")
    yield made
    made.close()


@pytest.fixture
def chain():
    return Chain()


@pytest.fixture
def player(store, chain):
    return Player(
        store, DisputeGame(None, GAME), chain,
        lambda words: bytes(KEY.sign_typed_data(full_message=words).signature),
        chain_id=31337, me=ME, log=structlog.get_logger(),
    )  # fmt: skip


def move(made=None, committed=None):
    made = made or demand()
    traced = Traced(example().constants, committed or example().honest)
    found = answer(traced, RespondMessage(trace_job(), made))
    return PlayMessage.from_json(found.to_json())  # as it comes from the queue


def signed(store):
    with store.read() as tx:
        stated = tx.statement(ID)
    return stated and stated.signature


@pytest.mark.parametrize(
    ("owed", "changes"),
    [
        ([], {}),
        ([demand(deadline=NOW)], {}),  # over at that second
        ([demand(ReplyKind.STEP)], {}),  # another demand by now
        ([replace(demand(), challenger=THIRD)], {}),
        ([demand()], {"phase": SlotPhase.FINALIZED}),
        ([demand()], {"phase": SlotPhase.REQUESTED, "delivery": None}),
        ([demand()], {"delivery": Delivery(OTHER, Stamp(Timestamp(50)), ROOT)}),
    ],
)
def test_play__not_owed_any_more__ends_quietly(player, store, chain, owed, changes):
    delivered(store, owed=owed, **changes)
    player.play(move(owed[0] if owed and owed[0].deadline == NOW else None))
    assert chain.sent() == []
    assert signed(store) is None


def test_play__second_trace_of_a_request__is_never_sent(player, store, chain):
    delivered(store, owed=[demand()])
    player.play(move(committed=example().lie_inside))
    chain.step()
    player.play(move())
    assert [kind for kind, _, _ in chain.sent()] == ["trace"]


def test_play__trace_other_than_the_signed_one__is_never_sent(player, store, chain):
    delivered(store, owed=[demand()])
    player.receipt(ReceiptMessage(ID, example().honest.trace_root))
    player.play(move(committed=example().lie_inside))
    assert chain.sent() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"function": "proveEquivocation"},
        {"function": "answerStep"},
        {"arguments": ()},
        {"arguments": (1, b"", [b"\1" * 32])},
    ],
)
def test_play__function_or_arguments_that_do_not_fit__refused(player, store, chain, changes):
    delivered(store, owed=[demand()])
    with pytest.raises(InputInvalid):
        player.play(replace(move(), **changes))
    assert chain.sent() == []


@pytest.mark.parametrize(
    ("made", "name", "kind"),
    [
        (demand(), "commitTrace", "trace"),
        (demand(ReplyKind.NODE, 0, 0, 0), "openNode", "reply:"),
        (demand(ReplyKind.NODE, 0, 6, 37), "revealLeaves", "reply:"),
        (demand(ReplyKind.NODE, 0, 40, 2**39), "openNode", "reply:"),  # there is no such node
        (demand(ReplyKind.STEP, 2, 4, 5), "answerStep", "reply:"),
        (demand(ReplyKind.STEP, 2, 2**31, 5), "answerStep", "reply:"),  # nor such an element
    ],
)
def test_play__owed__sends_what_answers_it(player, store, chain, made, name, kind):
    delivered(store, owed=[made])
    found = move(made)
    assert found.function == name
    player.play(found)
    player.play(found)  # twice on the queue: one transaction
    (entry,) = chain.outbox.entries.values()
    assert entry.state is EntryState.INTENT
    assert (entry.to, entry.request_ids) == (GAME, (ID,))
    assert entry.kind.startswith(kind)
    assert len(entry.kind) <= 16  # the outbox's column


def test_play__two_challengers__both_answers_may_be_under_way(player, store, chain):
    first = demand(ReplyKind.STEP, 2, 4, 5)
    second = replace(first, challenger=THIRD)
    delivered(store, owed=[first, second])
    player.play(move(first))
    player.play(move(second))
    assert len(chain.outbox.live()) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": SlotPhase.FINALIZED},
        {"phase": SlotPhase.REQUESTED, "delivery": None},
        {"delivery": Delivery(OTHER, Stamp(Timestamp(50)), ROOT)},
    ],
)
def test_receipt__not_our_delivery_or_over__not_signed(player, store, changes):
    delivered(store, **changes)
    player.receipt(ReceiptMessage(ID, example().honest.trace_root))
    assert not signed(store)


def test_receipt__other_trace_than_the_stated_one__not_signed(player, store):
    delivered(store)
    with store.begin() as tx:
        tx.state(ID, example().honest.trace_root)
    player.receipt(ReceiptMessage(ID, Bytes32(b"\7" * 32)))
    assert not signed(store)


def test_receipt__delivery__is_signed_once_for_this_deployment(player, store):
    delivered(store)
    honest = example().honest
    player.receipt(ReceiptMessage(ID, honest.trace_root))
    before = signed(store)
    player.receipt(ReceiptMessage(ID, honest.trace_root))
    words = receipt(
        chain_id=31337, game=GAME, request_id=ID, output_root=honest.output_root,
        trace_root=honest.trace_root,
    )  # fmt: skip
    message = encode_typed_data(full_message=words)
    assert Account.recover_message(message, signature=before) == KEY.address
    assert signed(store) == before
