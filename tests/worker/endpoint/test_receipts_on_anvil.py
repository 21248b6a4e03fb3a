"""Receipts that an endpoint signed, checked by the command line: alone, together, on chain."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle.chain import keystore
from oracle.chain.anvil import dev_account
from oracle.chain.bindings.model_access import Policy
from oracle.cli import main
from oracle.config import save_network
from oracle.errors import InputInvalid
from oracle.ipfs import daemon
from oracle.protocol import receipt_file, tensor, vouchers
from oracle.protocol.receipt_file import ReceiptFile
from oracle.services import access
from oracle.services.channels import kept, offers, receipt_check
from oracle.types import Bytes32, Timestamp
from tallystick.channel import PaidChannel
from tests.worker.builders import images
from tests.worker.endpoint.conftest import FEE, Shop

pytestmark = pytest.mark.real
Run = Callable[..., Any]
OFFLINE = {"signature": "checked", "question": "checked", "answer": "checked"}


@pytest.fixture
def channel(shop: Shop) -> PaidChannel:
    """A channel with three answers."""
    with shop.serving():
        channel = shop.channel()
        for seed in range(3):
            channel.ask(images(seed=seed))
    return channel


@pytest.fixture
def run(shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command line in the payer's home and gives back its JSON document."""
    settings = shop.world.network.settings
    save_network(settings)
    monkeypatch.setenv("TALLYSTICK_HOME", str(settings.home))

    def call(*words: object, code: int = 0, as_json: bool = True) -> Any:
        returned = main([*map(str, words), *(["--json"] if as_json else [])])
        captured = capsys.readouterr()
        assert returned == code, captured
        return json.loads(captured.out) if as_json else captured.out

    return call


def named(channel: PaidChannel, index: int | None = None) -> str:
    short = "0x" + channel.channel_id.hex()[:8]
    return short if index is None else f"{short}/{index}"


def results(check: Any) -> dict[str, str]:
    return {one["what"]: one["result"] for one in check}


def test_receipts__list_show_export__are_what_was_kept(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    (listed,) = run("receipts", "list")
    assert (listed["receipts"], listed["fee"], listed["payer"]) == (
        3,
        "1.00",
        channel.channel.payer,
    )
    rows = run("receipts", "list", named(channel))
    assert [one["index"] for one in rows] == [1, 2, 3]
    shown = run("receipts", "show", named(channel, 2))
    assert (shown["receipt"]["index"], shown["bytes"]) == (2, ["input", "output"])
    done = run("receipts", "export", named(channel, 2), "--output", tmp_path / "2.json")
    file = receipt_file.read((tmp_path / "2.json").read_bytes())
    assert file.input == tensor.encode({"image": images(seed=1)})
    assert "0x" + file.request_id.hex() == done["request_id"] == shown["request_id"]
    assert "receipt" in run("receipts", "show", named(channel, 2), as_json=False)
    assert "0x" in run("receipts", "list", named(channel), as_json=False)


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (("receipts", "list", "0xzz"), "InputInvalid", 65),
        (("receipts", "list", "0x00"), "NotFound", 66),
        (("receipts", "show", "0x00/1"), "NotFound", 66),
        (("receipts", "export", "0x00"), "InputInvalid", 65),
        (("verify", "0x00/1"), "NotFound", 66),
        (("verify", "no-such-file.json"), "NotFound", 66),
        (("verify", "0x" + "ab" * 32, "--offline"), "InputInvalid", 65),
    ],
)
def test_receipts__bad_words__typed_error(
    channel: PaidChannel, run: Run, words: tuple[str, ...], error: str, code: int
) -> None:
    assert run(*words, code=code)["error"] == error
    for text in (named(channel, 9), named(channel) + "/x"):
        assert run("receipts", "show", text, code=66 if "/9" in text else 65)


def test_verify__kept_receipt__says_what_was_checked_and_what_not(
    channel: PaidChannel, run: Run, shop: Shop
) -> None:
    found = run("verify", named(channel, 2), code=4)
    (receipt,) = found["receipts"]
    checked = dict.fromkeys(
        (
            "root",
            "network",
            "offer",
            "operator",
            "price",
            "access",
            "payment",
            "voucher",
            "summons",
        ),
        "checked",
    )
    assert results(receipt["checks"]) == OFFLINE | checked | {"recomputed": "unknown"}
    assert receipt["verdict"] == "committee"  # a float model's: nobody says that it is right
    why = {one["what"]: one["why"] for one in receipt["checks"]}
    assert "3 convictions" in why["offer"]
    assert "$3.00 cover answers 1 to 3" in why["payment"]  # claimed when the endpoint ended
    assert "tallystick channel summon" in receipt["next"]
    (file,) = kept.read(shop.world.network.settings.home, named(channel, 2))
    shop.world.pass_time(receipt_check.until(file) + 1 - shop.world.network.history.now())
    assert "too late" in run("verify", named(channel, 2), as_json=False, code=4)


def test_verify__offline__asks_no_chain(channel: PaidChannel, run: Run) -> None:
    found = run("verify", named(channel, 3), "--offline", code=4)["receipts"][0]
    assert results(found["checks"]) == OFFLINE | {
        "root": "checked", "network": "unknown", "recomputed": "unknown",
    }  # fmt: skip


def test_verify__node_not_reachable__says_so_and_checks_the_rest(
    channel: PaidChannel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_RPC_URL", "http://127.0.0.1:9")
    found = run("verify", named(channel, 3), code=4)["receipts"][0]
    assert results(found["checks"])["signature"] == "checked"
    assert results(found["checks"])["network"] == "unknown"


def test_verify__whole_channel__order_root_and_no_equivocation(
    channel: PaidChannel, run: Run
) -> None:
    found = run("verify", named(channel), code=4)
    assert len(found["receipts"]) == 3
    assert results(found["together"]) == {"equivocation": "checked", "order": "checked"}
    (order,) = (one for one in found["together"] if one["what"] == "order")
    assert channel._received.tree.root.hex() in order["why"]


def test_verify__voucher_was_claimed__says_which_receipts_its_root_is_over(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    """It was signed with the third question, over the two receipts before."""
    home = channel.network.settings.home
    for index, why in enumerate(("1 of 2 below", "2 of 2 below", "over 1 to 2; this came"), 1):
        assert why in of_voucher(run("verify", named(channel, index), code=4))["why"]
    files = [kept.read(home, named(channel, index))[0] for index in (1, 2, 3)]

    def verify(*given: ReceiptFile, code: int = 4) -> Any:
        paths = [tmp_path / f"{number}.json" for number in range(len(given))]
        for path, file in zip(paths, given, strict=True):
            path.write_text(receipt_file.write(file))
        return of_voucher(run("verify", *paths, code=code))

    other = replace(files[0].receipt, output_root=Bytes32(b"\7" * 32))
    lie = signed(replace(files[0], receipt=other, proof=None))
    assert "is another one" in verify(lie, code=3)["why"]
    channel._kept.folder.rename(tmp_path / "elsewhere")  # as for who got one file of them
    found = verify(files[1])
    assert (found["result"], "0 of them are here" in found["why"]) == ("unknown", True)
    proof = receipt_file.proof_of([file.digest for file in files[:2]], 1)
    assert "1 of 2 below" in verify(replace(files[0], proof=proof))["why"]
    found = verify(lie, *files[1:], code=3)
    assert (found["result"], "over other receipts" in found["why"]) == ("wrong", True)


def of_voucher(found: Any) -> Any:
    (check,) = (one for one in found["receipts"][0]["checks"] if one["what"] == "voucher")
    return check


def test_verify__exported_and_read_from_stdin__is_the_same(
    channel: PaidChannel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run("receipts", "export", named(channel, 2), as_json=False)
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    piped = run("verify", "-", code=4)
    assert piped == run("verify", named(channel, 2), code=4)


def test_verify__file_was_changed__wrong_and_no_accusation(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    (file,) = kept.read(channel.network.settings.home, named(channel, 2))
    forged = replace(file, receipt=replace(file.receipt, output_root=Bytes32(b"\7" * 32)))
    (tmp_path / "forged.json").write_text(receipt_file.write(forged))
    (receipt,) = run("verify", tmp_path / "forged.json", code=3)["receipts"]
    assert results(receipt["checks"])["signature"] == "wrong"
    assert "proves nothing" in receipt["next"]
    foreign = replace(file, channel=replace(file.channel, chain_id=5))
    (tmp_path / "foreign.json").write_text(receipt_file.write(foreign))
    (receipt,) = run("verify", tmp_path / "foreign.json", code=3)["receipts"]
    assert results(receipt["checks"])["network"] == "unknown"


def test_verify__offer_that_nobody_covered__wrong(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    (file,) = kept.read(channel.network.settings.home, named(channel, 1))
    other = replace(file.channel, offer=replace(file.channel.offer, number=77))
    (tmp_path / "made.json").write_text(receipt_file.write(signed(replace(file, channel=other))))
    (receipt,) = run("verify", tmp_path / "made.json", code=3)["receipts"]
    found = results(receipt["checks"])
    assert (found["signature"], found["offer"]) == ("checked", "wrong")


def test_verify__question_of_another__the_input_given_does_not_fit(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    for seed, result in ((0, "wrong"), (1, "checked")):
        path = tmp_path / f"{seed}.tensors"
        path.write_bytes(tensor.encode({"image": images(seed=seed)}))
        code = 3 if result == "wrong" else 4
        (receipt,) = run("verify", named(channel, 2), "--input", path, code=code)["receipts"]
        assert results(receipt["checks"])["question"] == result


def test_verify__two_receipts_of_one_index__equivocation(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    (file,) = kept.read(channel.network.settings.home, named(channel, 2))
    second = signed(replace(file, receipt=replace(file.receipt, output_root=Bytes32(b"\7" * 32))))
    (tmp_path / "second.json").write_text(receipt_file.write(second, without_bytes=True))
    found = run("verify", tmp_path / "second.json", named(channel, 2), code=3)
    (equivocation,) = found["together"]
    assert "two answers are signed for one question, index 2" in equivocation["why"]
    assert "WRONG" in run("verify", tmp_path / "second.json", named(channel), code=3, as_json=False)
    channel._kept.add(second.receipt)  # as a client keeps it that is told another answer
    assert run("verify", named(channel), code=3)["together"] == [equivocation]


def test_report__answer_to_somebody_refused__burns_a_lock(
    channel: PaidChannel, run: Run, shop: Shop, tmp_path: Path
) -> None:
    network, late = shop.world.network, tmp_path / "late.json"
    access.set_policy(network, shop.world.owner, 1, Policy.ALLOW_LIST)
    time = Timestamp(network.history.now() + offers.ACCESS_GRACE)
    (file,) = kept.read(network.settings.home, named(channel, 2))
    moved = replace(file, receipt=replace(file.receipt, index=4, answered_at=time), proof=None)
    refused = signed(moved)
    late.write_text(receipt_file.write(refused))
    paying = paid_by(network.settings.home, tmp_path)[:-1]  # nothing is asked
    for receipt in (named(channel, 2), late):  # before the owner's rule; at a time to come
        (found,) = run("verify", receipt, code=4)["receipts"]
        assert results(found["checks"])["access"] == "unknown"
        refusal = run("receipts", "report", receipt, *paying, code=77)
        assert "is not certain" in refusal["message"]
    shop.world.pass_time(offers.ACCESS_GRACE)
    (found,) = run("verify", late, code=3)["receipts"]
    assert results(found["checks"])["access"] == "wrong"
    assert "tallystick receipts report" in found["next"]

    run("receipts", "report", late, *paying)

    offer_id = vouchers.offer_id(shop.offer)
    assert network.channels.cover_of(offer_id).locks == 2
    assert "proven already" in run("receipts", "report", late, *paying, code=77)["message"]
    assert "is 3 receipts" in run("receipts", "report", named(channel), code=65)["message"]


def paid_by(home: Path, folder: Path) -> tuple[object, ...]:
    """Return the words that let the payer's key pay."""
    password = folder / "password"
    password.write_text("secret")
    keystore.save(home / "keys" / "payer.json", dev_account(2), lambda: "secret", scrypt_n=2)
    return ("--key", "payer", "--password-file", password, "--yes")


def test_summon__kept_receipt__is_disputed_like_a_delivery(
    channel: PaidChannel, run: Run, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paying = paid_by(shop.world.network.settings.home, tmp_path)
    node = daemon.start_embedded(tmp_path / "ipfs", log=tmp_path / "ipfs.log")
    monkeypatch.setenv("TALLYSTICK_IPFS_API", node.api_url)
    try:
        done = run("channel", "summon", named(channel, 2), *paying)
        again = run("channel", "summon", named(channel, 2), *paying, code=77)
    finally:
        node.stop()
    assert "was summoned before" in again["message"]
    (receipt,) = run("verify", named(channel, 2), code=4)["receipts"]
    assert done["request_id"] == receipt["request_id"]
    assert receipt["next"].startswith(f"`tallystick verify {done['request_id']}`")
    assert run("request", "show", done["request_id"])["state"] == "delivered"


def test_summon__nobody_could_dispute_it__refused(
    channel: PaidChannel, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "bare.json").write_text(
        run("receipts", "export", named(channel, 2), "--without-bytes", as_json=False)
    )
    given = ("channel", "summon", tmp_path / "bare.json", "--key", "payer", "--yes")
    (tmp_path / "other").write_bytes(tensor.encode({"image": images(seed=2)}))
    assert "was signed is not here" in run(*given, code=65)["message"]
    assert "is 3 receipts" in run("channel", "summon", named(channel), code=65)["message"]
    assert run(*given, "--input", tmp_path / "other", code=65)["error"] == "InputInvalid"


def test_kept__folder_of_another_deployment__refused(channel: PaidChannel, shop: Shop) -> None:
    network = shop.world.network
    contracts = replace(network.contracts, chain_id=5)
    with pytest.raises(InputInvalid, match="another deployment"):
        kept.KeptChannel.make(network.settings.home, contracts, shop.offer, channel.channel.payer)


def signed(file: ReceiptFile) -> ReceiptFile:
    """Sign a receipt as the operator."""
    signature = vouchers.sign(bytes(dev_account(1).key), file.digest)
    return replace(file, receipt=replace(file.receipt, signature=signature))


assert FEE == 10**6, "sentences above name it"
