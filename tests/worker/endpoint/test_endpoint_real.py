"""`tallystick operator serve` with real processes, and `kill -9` while clients ask."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest

from oracle.devnet import accounts
from oracle.devnet.background import command
from oracle.devnet.network import Devnet
from oracle.errors import TransientError
from oracle.ports import free_port
from oracle.services import balances, operators, publishing
from oracle.services.channels import offers
from oracle.services.publishing import SaleTerms
from oracle.types import Amount
from tallystick import Connection
from tallystick.channel import PaidChannel
from tests.support.waiting import exit_code, wait_until
from tests.system.tcp_proxy import TcpProxy
from tests.worker.builders import images, write_digits

pytestmark = pytest.mark.real
FEE = 10_000
ANSWERS, CLIENTS, KILLS = 60, 6, 1


@dataclass(frozen=True)
class Seller:
    """A model of the development network, with an offer, and the endpoints that sell it."""

    devnet: Devnet
    folder: Path
    model: str

    @contextmanager
    def serving(
        self, port: int, url: str, books_url: str = ""
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run `operator serve`; at the end it is told to end, unless it was killed."""
        log = self.folder / f"serve-{port}.log"
        settings = self.devnet.settings
        argv = [
            *command(), "operator", "serve", self.model, "--listen", f"127.0.0.1:{port}",
            "--url", url, "--name", f"alpha-{port}", "--key", "alpha",
            "--password-file", str(accounts.password_file(settings)),
        ]  # fmt: skip
        env = {**os.environ, "TALLYSTICK_HOME": str(settings.home)}
        env |= {"TALLYSTICK_BOOKS_URL": books_url} if books_url else {}
        with log.open("wb") as file:
            process = subprocess.Popen(argv, env=env, stdout=file, stderr=file)
        try:
            wait_until(partial(ready, port), "the endpoint", process=process, log=log)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert exit_code(process) == 0

    def ask_all(self, channel: PaidChannel, meanwhile: Callable[[int], object]) -> list[int]:
        """Ask from several threads; `meanwhile` is done after a quarter. Return the indices."""

        def ask(number: int) -> int:
            given = images(seed=number)

            def answered() -> int:
                with suppress(TransientError):
                    return channel.ask(given).receipt.index
                return 0

            return wait_until(answered, "an answer")

        with ThreadPoolExecutor(CLIENTS) as askers:
            asked = [askers.submit(ask, number) for number in range(ANSWERS)]
            for kill in range(KILLS):
                some = (kill + 1) * ANSWERS // 4
                wait_until(lambda n=some: sum(one.done() for one in asked) >= n, "some answers")
                meanwhile(kill)
            return [one.result() for one in asked]

    def channel(self) -> PaidChannel:
        payer, most = self.devnet.wallet("requester"), Decimal(2 * ANSWERS * FEE) / 10**6
        return Connection(self.devnet.network, payer).channel(self.model, deposit=most)

    def promised(self, port: int, channel: PaidChannel) -> int:
        """Return what the endpoint's highest voucher of a channel says."""
        place = f"{self.devnet.wallet('requester').address}/{channel.signer}"
        url = f"http://127.0.0.1:{port}/channels/{place}/{offers.name(channel.offer_id)}"
        return int(httpx.get(url, trust_env=False).json()["cumulative"])


def ready(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", trust_env=False).is_success
    return False


@pytest.fixture
def seller(devnet: Devnet, tmp_path: Path) -> Seller:
    network, owner, name = devnet.network, devnet.wallet("owner"), f"sold-{uuid4().hex[:8]}"
    sale = SaleTerms(fee=Amount(FEE), challenge_window=60)
    folder = write_digits(tmp_path / "sold", name=name)
    model_id = publishing.publish(network, owner, folder, sale).model_id
    alpha = devnet.wallet("alpha")
    operators.authorize(network, owner, model_id, alpha.address)
    offers.cover(network, alpha, offers.draft(network, alpha.address, name), 2)
    balances.fund(network, devnet.wallet("requester").address, Amount(100 * 10**6))
    return Seller(devnet, tmp_path, name)


def test_serve__killed_under_load__no_answer_is_lost_or_paid_twice(seller: Seller) -> None:
    port = free_port()
    with seller.serving(port, f"http://127.0.0.1:{port}") as serving:
        channel = seller.channel()  # where it announced

        def kill(_number: int) -> None:
            (child,) = psutil.Process(serving.pid).children()
            os.kill(child.pid, signal.SIGKILL)

        indices = seller.ask_all(channel, kill)
        assert len(set(indices)) == ANSWERS
        wait_until(partial(ready, port), "the endpoint", process=serving)
        channel.catch_up()
        assert channel.answered == max(indices)
        promised = seller.promised(port, channel)
        assert promised >= channel.answered * FEE
    held = seller.devnet.network.channels.channel_of(channel.channel_id)
    assert held.claimed == promised


def test_serve__one_of_two_killed_under_load__the_other_goes_on_and_nothing_is_paid_twice(
    seller: Seller, books_url: str
) -> None:
    ports = free_port(), free_port()
    proxy = TcpProxy(*ports)
    url = f"http://127.0.0.1:{proxy.port}"
    with seller.serving(ports[1], url, books_url), seller.serving(ports[0], url, books_url) as dies:
        channel = seller.channel()

        def kill(_number: int) -> None:
            assert {channel_of_endpoint(books_url)} == {channel.channel_id}
            for process in (psutil.Process(dies.pid), *psutil.Process(dies.pid).children()):
                process.kill()
            dies.wait()

        indices = seller.ask_all(channel, kill)
        assert sorted(indices) == list(range(1, ANSWERS + 1))  # no answer was lost
        channel.catch_up()
        assert channel.answered == ANSWERS
        with psycopg.connect(books_url) as books:
            found = books.execute(
                "SELECT count(*), count(DISTINCT input_root), max(number) FROM endpoint.receipt"
            ).fetchone()
        assert found == (ANSWERS, ANSWERS, ANSWERS)  # no question was paid twice
        promised = seller.promised(ports[1], channel)
    held = seller.devnet.network.channels.channel_of(channel.channel_id)
    assert held.claimed == promised >= ANSWERS * FEE
    proxy.close()


def channel_of_endpoint(books_url: str) -> bytes:
    """Return the one channel in the books."""
    with psycopg.connect(books_url) as books:
        ((found,),) = books.execute("SELECT id FROM endpoint.channel").fetchall()
    return bytes(found)
