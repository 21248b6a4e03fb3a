"""The whole demo, once, as `make demo` runs it; and stopped in the middle."""

import json
import os
import signal
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from oracle.devnet import background
from tests.support.waiting import assert_gone, wait_until

pytestmark = pytest.mark.real

COMPLETE = 3 + 2 * 4  # servers, processes of two operators
BEGUN = 3 + 2 + 1  # servers, builds of models, an operator's first process
REWARD, DEPOSIT, FEE = Decimal(3), Decimal(10), Decimal("0.5")  # dollars, of the round for data


def demo(out: Path) -> "subprocess.Popen[str]":
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
    return subprocess.Popen(
        [*background.command(), "demo", "--out", str(out)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ,
    )


def await_children(process: "subprocess.Popen[str]", number: int) -> list[psutil.Process]:
    below = psutil.Process(process.pid)

    def enough() -> list[psutil.Process]:
        children = below.children(recursive=True)
        return children if len(children) >= number else []

    children: list[psutil.Process] = wait_until(enough, f"{number} children", process=process)
    return children


@pytest.fixture(scope="module")
def performance(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What the demo printed, and its report; checks that it left no process."""
    out = tmp_path_factory.mktemp("demo")
    process = demo(out)
    children = await_children(process, COMPLETE)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed[-3000:]
    assert_gone(children)
    return printed, json.loads((out / "report.json").read_text())


def test_demo__end__names_the_page_and_what_to_do_next(
    performance: tuple[str, dict[str, Any]],
) -> None:
    printed, _ = performance
    assert "The page was http://127.0.0.1:" in printed
    assert "tallystick demo --keep" in printed


def test_demo__report__holds_every_expectation(performance: tuple[str, dict[str, Any]]) -> None:
    _, report = performance
    assert report["ok"] is True
    assert report["failure"] == ""
    assert len(report["expectations"]) >= 45
    assert len(report["chapters"]) == len(set(report["chapters"])) >= 15
    assert report["environment"]["IPFS says"]


def test_demo__books__add_up_from_the_report_alone(
    performance: tuple[str, dict[str, Any]],
) -> None:
    _, report = performance
    sums = []
    for side in ("before", "after"):
        books = report["books"][side]
        held = sum(
            Decimal(account[kind])
            for account in books["accounts"].values()
            for kind in ("wallet", "prepaid", "stake", "owed")
        )
        rest = sum(Decimal(books[name]) for name in ("escrow", "rounds", "uncollected", "burned"))
        sums.append(held + rest)
    assert sums[0] == sums[1] == Decimal(report["books"]["after"]["supply"])
    paid = {
        name: Decimal(account["total"])
        for name, account in report["books"]["after"]["accounts"].items()
    }
    fees = sum(
        Decimal(answer["fee"]) for answer in report["answers"] if "REST" not in answer["what"]
    ) + sum(Decimal(channel["paid"]) for channel in report["channels"])
    gained = {
        name: sum(Decimal(conviction[name]) for conviction in report["convictions"])
        for name in ("compensation", "bounty", "burned")
    }
    assert paid["requester"] == 10_000 - fees + gained["compensation"]
    (data,) = report["data"]
    assert paid["challenger"] == 10_000 + gained["bounty"] + Decimal(data["bounty"])
    assert paid["mallory"] + paid["oscar"] == 20_000 - sum(gained.values())
    lost = Decimal(data["burned"]) + 2 * DEPOSIT
    assert Decimal(report["books"]["after"]["burned"]) == gained["burned"] + lost
    assert paid["owner"] > 10_000 - REWARD
    for name in ("treasury", "alpha", "beta"):
        assert paid[name] > 10_000


def test_demo__answers__have_the_digest_on_chain_and_name_who_gave_them(
    performance: tuple[str, dict[str, Any]],
) -> None:
    _, report = performance
    served = [a["operator"] for a in report["answers"] if "REST" not in a["what"]]
    assert served[:2] + served[3:] == ["alpha", "beta", "beta", "beta", "beta"]
    assert served[2] in ("alpha", "beta")  # whom the gateway named for the payer by x402
    for answer in report["answers"]:
        assert answer["output_root"] == answer["output_recomputed"]
        assert sum(map(Decimal, answer["shares"].values())) == Decimal(answer["fee"])


def test_demo__x402__one_transfer_paid_the_price_of_one_answer(
    performance: tuple[str, dict[str, Any]],
) -> None:
    printed, report = performance
    (paid,) = report["payments"]
    (answer,) = [a for a in report["answers"] if a["request_id"] == paid["request_id"]]
    assert paid["paid"] == answer["fee"]
    assert paid["pay_to"] == report["accounts"]["gateway"]
    assert paid["payer"] not in report["accounts"].values()
    (sent,) = [t for t in report["transactions"] if t["hash"] == paid["transaction"]]
    assert (sent["function"], sent["sender"]) == (
        "TestDollar.transferWithAuthorization",
        "gateway",
    )
    assert paid["transaction"] in printed


def test_demo__channel__pays_a_thousand_answers_with_one_claim(
    performance: tuple[str, dict[str, Any]],
) -> None:
    _, report = performance
    (channel,) = report["channels"]
    claims = [t for t in report["transactions"] if t["function"] == "PaymentChannels.claim"]
    assert [sent["gas_used"] for sent in claims] == [channel["gas"]["claim"]]
    assert (channel["answers"], channel["paid"]) == (1000, "50.00")
    assert channel["gas_per_answer"] <= 300 < channel["gas_on_chain"] / 100
    (summoned,) = [t for t in report["transactions"] if t["function"] == "PaymentChannels.summon"]
    assert summoned["sender"] == "requester"


def test_demo__liars__are_convicted_for_what_they_did(
    performance: tuple[str, dict[str, Any]],
) -> None:
    _, report = performance
    verdicts = [(found["operator"], found["verdict"]) for found in report["convictions"]]
    of_oscar = ("oscar", "WITHHELD")  # of a delivery, and of a receipt
    assert verdicts == [("mallory", "WRONG_OUTPUT"), of_oscar, of_oscar]
    for found in report["convictions"]:
        assert {sent["sender"] for sent in found["transactions"]} == {"challenger"}


def test_demo__data__pays_who_brought_it_and_costs_who_lied(
    performance: tuple[str, dict[str, Any]],
) -> None:
    _, report = performance
    (data,) = report["data"]
    paid = {
        name: Decimal(account["total"])
        for name, account in report["books"]["after"]["accounts"].items()
    }
    assert (data["convicted"], data["fault"]) == ("victor", 7)
    assert data["proof_gas"] <= 400_000
    assert Decimal(data["credits"]["carol"]) > 0 == Decimal(data["credits"]["dave"])
    assert Decimal(data["claimed"]) > 0
    assert paid["carol"] == 10_000 - FEE + Decimal(data["claimed"])
    assert paid["dave"] == paid["erin"] == 10_000 - FEE - DEPOSIT
    assert paid["vera"] == 10_000 + Decimal(data["paid"]) == 10_000 + REWARD + 3 * FEE
    assert paid["victor"] == 10_000 - Decimal(data["bounty"]) - Decimal(data["burned"])


def test_demo__refusals__are_typed(performance: tuple[str, dict[str, Any]]) -> None:
    _, report = performance
    assert [refusal["error"] for refusal in report["refusals"]] == ["GrantMissing", "HistoryBroken"]


def test_demo__transactions__are_named_and_none_reverted(
    performance: tuple[str, dict[str, Any]],
) -> None:
    _, report = performance
    called = {transaction["function"] for transaction in report["transactions"]}
    for function in ("request", "deliver", "claim", "finalize", "cancelExpired"):
        assert f"InferenceMarket.{function}" in called
    assert all(transaction["succeeded"] for transaction in report["transactions"])
    assert all(transaction["gas_used"] >= 21_000 for transaction in report["transactions"])


def test_demo__screen__shows_class_sentences_and_digests(
    performance: tuple[str, dict[str, Any]],
) -> None:
    printed, report = performance
    assert "the model reads" in printed
    assert "≈ The puppy plays in the grass." in printed
    for answer in report["answers"]:
        assert answer["output_cid"] in printed
    assert "\x1b" not in printed


def test_demo__stopped_in_the_middle__leaves_no_process_and_a_report_that_is_not_ok(
    tmp_path: Path,
) -> None:
    """By one signal: tests of `background.stoppable` hold that all of them do the same.

    As soon as the first operator's processes come: a complete network is stopped by the other test.
    """
    process = demo(tmp_path)
    children = await_children(process, BEGUN)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 130
    assert_gone(children)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ok"] is False
    assert report["failure"] == "Stopped: SIGTERM"
