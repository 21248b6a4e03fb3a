"""Blocks, logs, authorisations, and forgetting them."""

import pytest
from sqlalchemy import event

from oracle.errors import ConfigInvalid
from oracle.store import RewindNeeded, Store
from tests.store.samples import ALICE, BOB, block, log, request_id


def test_bind__another_deployment__refused(store: Store) -> None:
    with store.begin() as tx:
        tx.bind("31337:0xaa")
    with (
        pytest.raises(ConfigInvalid, match="belongs to 31337:0xaa, not to 31337:0xbb"),
        store.begin() as tx,
    ):
        tx.bind("31337:0xbb")
    with store.begin() as tx:
        tx.bind("31337:0xaa")


def test_add_logs__another_block_at_their_number__rewind_needed_and_nothing_added(
    store: Store,
) -> None:
    with store.begin() as tx:
        tx.add_logs([log(5)])
    with pytest.raises(RewindNeeded, match="block 5"), store.begin() as tx:
        tx.add_logs([log(4), log(5, fork="other")])
    with store.read() as tx:
        assert tx.logs_above(-1) == [log(5).log]


def test_add_logs__same_place_twice_in_one_call_with_different_blocks__rewind_needed(
    store: Store,
) -> None:
    with pytest.raises(RewindNeeded), store.begin() as tx:
        tx.add_logs([log(5), log(5, fork="other")])


def test_add_logs__told_again__only_the_new_ones_come_back(store: Store) -> None:
    first, second, third = log(1, about="r"), log(1, 1), log(2, model=7)
    with store.begin() as tx:
        assert tx.add_logs([]) == []
        assert tx.add_logs([first, second, first]) == [first, second]
    with store.begin() as tx:
        assert tx.add_logs([second, third, first]) == [third]
        assert tx.logs_above(-1) == [first.log, second.log, third.log]
        assert tx.logs_above(1) == [third.log]


@pytest.mark.parametrize("count", [1, 2000])
def test_add_logs__any_number__in_two_statements(count: int) -> None:
    store = Store.open("sqlite://")
    statements: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with store.begin() as tx:
        statements.clear()
        tx.add_logs([log(number) for number in range(count)])
        assert len(statements) == 2
    store.close()


def test_logs_of__added_out_of_order__in_the_order_of_the_chain(store: Store) -> None:
    with store.begin() as tx:
        tx.add_logs([log(9, 1, "r"), log(10, 0, "r"), log(9, 0, "r"), log(9, 2, "other"), log(2)])
        found = tx.logs_of_all([request_id("r")])[request_id("r")]

    assert [(item.block_number, item.log_index) for item in found] == [(9, 0), (9, 1), (10, 0)]


def test_logs_of_all__more_than_one_statement_can_name__each_ones_in_the_chains_order(
    store: Store,
) -> None:
    names = [request_id(str(number)) for number in range(1001)]
    with store.begin() as tx:
        tx.add_logs([log(2, index, str(index)) for index in range(1001)])
        tx.add_logs([log(1, 0, "1000"), log(1, 1, "stranger"), log(1, 2)])
        found = tx.logs_of_all([*names, request_id("silent")])

    assert list(found) == [*names, request_id("silent")]
    assert found[names[0]] == [log(2, 0, "0").log]
    assert found[names[1000]] == [log(1, 0, "1000").log, log(2, 1000, "1000").log]
    assert found[request_id("silent")] == []


def test_logs_of_model__one_event__the_others_are_left_out(store: Store) -> None:
    with store.begin() as tx:
        tx.add_logs([log(1, model=7), log(2, model=8)])
        found = tx.logs_of_model(7)

        assert found == [log(1, model=7).log]
        assert tx.logs_of_model(7, found[0].topics[0]) == found
        assert tx.logs_of_model(7, b"\0" * 32) == []


def test_requests_of__several_logs__each_request_once_oldest_first(store: Store) -> None:
    with store.begin() as tx:
        tx.add_logs([log(3, 0, "b", 7), log(1, 0, "z", 7), log(2, 0, "a", 8), log(4, 0, "b", 7)])

        assert tx.requests_of(7) == [request_id("z"), request_id("b")]


def test_blocks__added_replaced_pruned__newest_first(store: Store) -> None:
    with store.begin() as tx:
        tx.prune_blocks(1)  # nothing there yet
        tx.add_blocks([])
        tx.add_blocks([block(1), block(2), block(3)])
        tx.add_blocks([block(2, "fork")])
        assert tx.blocks() == [block(3), block(2, "fork"), block(1)]
        tx.prune_blocks(2)
        assert tx.blocks() == [block(3), block(2, "fork")]


def test_is_authorized__latest_log_decides__also_when_told_in_another_order(store: Store) -> None:
    with store.begin() as tx:
        assert not tx.is_authorized(7, BOB)
        tx.set_authorized(7, BOB, False, 5, 1)
        tx.set_authorized(7, BOB, True, 5, 0)
        assert not tx.is_authorized(7, BOB)
        tx.set_authorized(7, BOB, True, 6, 0)
        assert tx.is_authorized(7, BOB)
        assert not tx.is_authorized(8, BOB)
        assert not tx.is_authorized(7, ALICE)
        tx.rewind(5)
        assert not tx.is_authorized(7, BOB)


def test_rewind__some_blocks__their_facts_go_and_the_requests_are_named(store: Store) -> None:
    with store.begin() as tx:
        tx.add_blocks([block(1), block(2), block(3)])
        tx.add_logs([log(1, about="a"), log(2, about="a"), log(3, about="b"), log(3, 1)])
        tx.set_cursor(3)

        assert tx.rewind(1) == {request_id("a"), request_id("b")}
        assert tx.blocks() == [block(1)]
        assert tx.logs_above(-1) == [log(1).log]
        assert tx.cursor() == 1


def test_rewind__nothing_above__cursor_stays(store: Store) -> None:
    with store.begin() as tx:
        assert tx.rewind(3) == set()
        assert tx.cursor() is None
        tx.set_cursor(2)
        assert tx.rewind(3) == set()
        assert tx.cursor() == 2
