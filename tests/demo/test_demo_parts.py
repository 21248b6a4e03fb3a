"""The parts of the demo that can be wrong without a network. Opens no sockets."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from oracle.demo import gas, tamper
from oracle.demo.books import Books, Holding, tabulate
from oracle.demo.gas import GasOf, MinedTransaction
from oracle.demo.report import ExpectationFailed, Record
from oracle.demo.screen import Screen
from oracle.errors import InputInvalid, NotFound, PermanentError
from oracle.ipfs.blockstore import BlockStore
from oracle.ipfs.cid import parse
from oracle.ipfs.unixfs import file_cid
from oracle.services.builders import Build
from oracle.types import Amount


def read(record: Record, path: Path) -> dict[str, object]:
    record.write(path)
    body: dict[str, object] = json.loads(path.read_text())
    return body


def test_expect__does_not_hold__raises_and_the_report_is_not_ok(tmp_path: Path) -> None:
    record = Record()
    with record.chapter("Money"):
        record.expect("two and two are four", True)
        with pytest.raises(ExpectationFailed, match=r"Money.*one is two; seen: 1"):
            record.expect("one is two", False, 1)
    body = read(record, tmp_path / "deep" / "report.json")
    assert body["ok"] is False
    assert [e["holds"] for e in body["expectations"]] == [True, False]  # type: ignore[attr-defined]
    assert ExpectationFailed.exit_code == 70


def test_write__broke_off__is_not_ok(tmp_path: Path) -> None:
    record = Record(failure="Unavailable: no Redis")
    assert read(record, tmp_path / "report.json")["ok"] is False


def test_write__all_well__is_ok_and_writes_bytes_as_hex(tmp_path: Path) -> None:
    record = Record()
    record.refused("a pickle", InputInvalid("no", hint="use safetensors"))
    record.books = {"digest": b"\x01\xff"}
    body = read(record, tmp_path / "report.json")
    assert (body["ok"], body["schema"]) == (True, "tallystick/demo-report/1")
    assert body["books"] == {"digest": "0x01ff"}
    assert body["refusals"][0]["error"] == "InputInvalid"  # type: ignore[index]


def test_one_byte_changed__file_was_not_published__not_found(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    with pytest.raises(NotFound), tamper.one_byte_changed(tmp_path, tmp_path / "weights"):
        pass


def test_one_byte_changed__body_fails__is_one_bit_and_is_undone(tmp_path: Path) -> None:
    data = bytes(range(256)) * 64
    (tmp_path / "weights").write_bytes(data)
    store = BlockStore(tmp_path / "embedded")
    link = parse(file_cid(data).text())
    store.put(link, data)
    seen: list[bytes] = []

    def look_and_fail() -> None:
        with tamper.one_byte_changed(tmp_path, tmp_path / "weights") as block:
            seen.append(block.read_bytes())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_and_fail()
    changed = [(a, b) for a, b in zip(data, seen[0], strict=True) if a != b]
    assert [(a ^ b).bit_count() for a, b in changed] == [1]
    assert store.get(link) == data
    store.close()


def test_wait__program_fails__quotes_its_last_lines(tmp_path: Path) -> None:
    with (
        Build("examples.no_such_model", tmp_path / "model") as build,
        pytest.raises(PermanentError, match="No module named"),
    ):
        build.wait(lambda _done, _total: None)


def test_build__left_early__ends_its_process(tmp_path: Path) -> None:
    with Build("http.server", tmp_path, "--help-me-not") as build:
        pass
    assert build._process.poll() is not None


def books(**holdings: int) -> Books:
    held = {
        name: Holding(Amount(value), Amount(1), Amount(2), Amount(4))
        for name, value in holdings.items()
    }
    total = sum(h.total for h in held.values())
    return Books(1, held, Amount(5), Amount(3), Amount(6), Amount(7), Amount(total + 21))


@pytest.mark.parametrize(("after", "equal"), [(100, True), (101, False)])
def test_tabulate__sums__are_equal_only_when_every_unit_is_there(after: int, equal: bool) -> None:
    before = books(owner=100)
    assert before.sum == 128 == before.supply
    assert tabulate(before, books(owner=after))["equal"] is equal


def test_tabulate__supply_is_not_the_sum__is_not_equal() -> None:
    lost = Books(1, {}, Amount(0), Amount(0), Amount(0), Amount(0), Amount(1))
    assert tabulate(lost, lost)["equal"] is False


def test_by_function__calls__are_counted_with_their_extremes() -> None:
    def call(function: str, used: int) -> MinedTransaction:
        return MinedTransaction(1, "0x", "a", "b", function, used, True)

    calls = [call("request", 7), call("deliver", 3), call("request", 5)]
    assert gas.by_function(calls) == [GasOf("deliver", 1, 3, 3), GasOf("request", 2, 5, 7)]


def test_screen__no_terminal__is_plain_text_without_bars() -> None:
    stream = io.StringIO()
    screen = Screen(Console(file=stream, width=60))
    with screen.working("copying [bold]") as update:
        update(1, 2)
    screen.refused("a pickle", InputInvalid("it is [red]one", hint="use safetensors"))
    text = stream.getvalue()
    assert "copying [bold] …" in text
    assert "it is [red]one" in text
    assert "→ use safetensors" in text
    assert "\x1b" not in text
