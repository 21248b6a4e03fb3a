"""`tallystick chat`: at a terminal, in a pipe, over a channel and over the chain."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from oracle.chain import keystore
from oracle.chain.anvil import dev_account
from oracle.config import save_network
from oracle.ipfs import daemon
from oracle.ipfs.client import IpfsClient
from oracle.services.network import Network
from tallystick.connection import Connection
from tests.services.conftest import DOLLAR, World
from tests.support.parrot import NAME, Parrot, write_parrot
from tests.support.waiting import wait_until
from tests.worker.builders import write_digits
from tests.worker.endpoint.conftest import FEE, Shop
from worker import runtimes

pytestmark = pytest.mark.real
TALLYSTICK = (sys.executable, "-c", "import sys; from oracle.cli import main; sys.exit(main())")
SECONDS = 60


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def aviary(world: World, parrot: Parrot, tmp_path: Path) -> Iterator[Shop]:
    """A parrot for sale, with an IPFS node that a command line reaches."""
    with sold(world, write_parrot(tmp_path / "parrot"), tmp_path) as made:
        made.load = parrot.load
        yield made


@contextmanager
def sold(world: World, folder: Path, path: Path) -> Iterator[Shop]:
    node = daemon.start_embedded(path / "ipfs", log=path / "ipfs.log")
    try:
        settings = replace(world.network.settings, ipfs_api=node.api_url)
        ipfs = IpfsClient(node.api_url)
        network = Network.over(settings, world.network.rpc, ipfs)
        sells = replace(world, network=network, ipfs=ipfs, folder=folder)
        sells.publish()
        sells.serve(1)
        sells.prepay(50 * DOLLAR)
        save_network(settings)
        keystore.save(
            settings.home / "keys" / "payer.json", dev_account(2), lambda: "secret", scrypt_n=2
        )
        (settings.home / "password").write_text("secret")
        made = Shop(sells, path / "endpoint")
        made.offer = made.cover()
        yield made
    finally:
        node.stop()


@dataclass
class Words:
    """A command's words and environment."""

    shop: Shop
    words: tuple[str, ...]
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        home = self.shop.world.network.settings.home
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")}
        named = {"HOME": str(home), "PASSWORD_FILE": str(home / "password")}
        self.environ = {**kept, **{f"TALLYSTICK_{k}": v for k, v in named.items()}}
        self.words = (*TALLYSTICK, "chat", NAME, "--key", "payer", *self.words)

    def piped(self, given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words, input=given, env=self.environ, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, words: Words) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            words.words, stdin=theirs, stdout=theirs, stderr=theirs, env=words.environ,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.said = self._unread = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def until(self, text: str) -> None:
        """Read until it says this, after what was read before."""
        end = time.monotonic() + SECONDS
        while text not in self._unread:
            assert time.monotonic() < end, (text, self.said, self._unread)
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    self._unread += os.read(self._ours, 4096).decode()
                except OSError:
                    raise AssertionError(f"it ended: {self.said}{self._unread}") from None
        before, found, self._unread = self._unread.partition(text)
        self.said += before + found

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


def test_chat__piped__answer_alone_on_stdout(aviary: Shop) -> None:
    with aviary.serving() as url:
        done = Words(aviary, ("--channel", url, "--yes", "--param", "seed=4")).piped("say: hello\n")
        assert (done.returncode, done.stdout) == (0, "hello [4]\n"), done.stderr
        assert "$1.00 so far" in done.stderr
        assert "tallystick verify" in done.stderr
        words = ("--channel", url, "--yes", "--system", "Be kind.", "--once", "hi", "--json")
        document = json.loads(Words(aviary, words).piped("").stdout)
        assert document["content"].startswith("hi [")
        assert (document["finish_reason"], document["completion_tokens"]) == ("stop", 3)


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        ((), "hello", "--yes"),
        (("--yes",), " \n", "no question"),
        (("--yes", "--limit", "1"), "hello", "--limit needs --channel"),
        (("--yes", "--param", "temperature=9"), "hello", "out of bounds"),
        (("--yes", "--max-fee", "0.5"), "hello", "above your limit"),
    ],
)
def test_chat__refused__nothing_is_paid(
    aviary: Shop, words: tuple[str, ...], given: str, said: str
) -> None:
    done = Words(aviary, words).piped(given)
    assert done.returncode != 0
    assert (said in done.stderr, done.stdout) == (True, ""), done.stderr
    network = aviary.world.network
    assert network.market.balance_of(aviary.world.requester.address) == 50 * DOLLAR


def test_chat__model_that_writes_no_text__is_refused(world: World, tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits", name=NAME, max_output_bytes=1000)
    with sold(world, folder, tmp_path) as shop:
        shop.load = runtimes.load
        done = Words(shop, ("--yes",)).piped("hello")
    assert done.returncode == 65, done.stderr
    assert "does not write text" in done.stderr


def test_chat__at_a_terminal__streams_stops_and_goes_on(aviary: Shop, parrot: Parrot) -> None:
    with aviary.serving() as url:
        words = Words(aviary, ("--channel", url, "--param", "seed=4"))
        with Terminal(words) as terminal:
            terminal.until("> ")
            terminal.type("one two three\n")
            terminal.until("[y/N]")
            parrot.held_after = 2
            parrot.gate.clear()
            terminal.type("y\n")
            terminal.until("one two")  # shown before it is done
            terminal.interrupt()
            terminal.until("stopped")
            parrot.gate.set()
            parrot.says = "\x1b[31mred\x07 again"
            terminal.type("four\n")
            terminal.until("$2.00 so far")
            assert "[31mred again" in terminal.said
            assert "\x1b[31m" not in terminal.said  # a stranger's colours are not obeyed
            terminal.until("> ")
            terminal.type("\x04")
            assert terminal.process.wait(SECONDS) == 0
        channel = aviary.channel()
        wait_until(lambda: channel.catch_up() or channel.answered == 2, "both receipts")
        assert channel.answered * FEE == 2 * FEE


def test_say__over_a_channel__goes_on_with_what_was_said(aviary: Shop) -> None:
    with aviary.serving() as url:
        world, heard = aviary.world, list[str]()
        with Connection(world.network, world.requester) as network:
            talk = network.chat(NAME, system="Be kind.", channel=url, params={"seed": 4})
            first = talk.say("one two", heard.append)
            assert (first.content, "".join(heard)) == ("one two [4]", "one two [4]")
            second = talk.say("three")
            assert second.prompt_tokens > first.prompt_tokens
            assert [message["role"] for message in talk.messages] == [
                "system", "user", "assistant", "user", "assistant",
            ]  # fmt: skip
            assert (talk.spent, second.proof[-2:]) == (2 * FEE, "/2")
