"""Tells the story from an empty folder to equal books; the last word is the report."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from oracle.demo import (
    answers,
    books,
    channels,
    closing,
    contributors,
    liars,
    opening,
    rest_chapter,
    trouble,
    x402_chapter,
)
from oracle.demo.asking import Ordered
from oracle.demo.report import Record
from oracle.demo.screen import Screen
from oracle.demo.stage import DemoContext
from oracle.devnet.network import Devnet, DevnetPlan
from oracle.ipfs.client import IpfsClient
from oracle.services.builders import Build

REPORT = "report.json"
CLOSE_DELAY = 3600  # seconds: an endpoint claims at its end, and not before, however long it takes


def tell(
    folder: Path,
    screen: Screen,
    environ: Mapping[str, str] = os.environ,
    keep: Callable[[Devnet], None] = lambda _devnet: None,
) -> Path:
    """Run the whole demo in `folder` (its home is emptied first); return the report's path.

    Every process that was started has ended when this returns or raises.

    Args:
        keep: is called at the end of the story, while everything still runs.

    Raises:
        ExpectationFailed: the story went another way than it has to.
        TallystickError: something that it needs is missing or broke.
    """
    folder = folder.absolute()  # models are built by processes that stand beside the packages
    record, report = Record(), folder / REPORT
    home, models = folder / "home", folder / "models"
    for old in (home, models):
        shutil.rmtree(old, ignore_errors=True)
    told = False

    def ended(devnet: Devnet) -> None:
        nonlocal told
        told = True
        record.write(report)
        keep(devnet)

    try:
        _perform(
            DevnetPlan(
                home=home,
                faults=liars.FAULTS,
                people=contributors.PEOPLE,
                close_delay=CLOSE_DELAY,
            ),
            models,
            record,
            screen,
            environ,
            told=ended,
        )
    except BaseException as error:
        if not told:
            record.failure = f"{type(error).__name__}: {error}"
            record.write(report)
        raise
    record.write(report)
    for done in (models, home / "ipfs", *home.glob("operators/*/cache")):
        shutil.rmtree(done, ignore_errors=True)  # a third of a gigabyte; logs and stores stay
    return report


def _perform(
    plan: DevnetPlan,
    models: Path,
    record: Record,
    screen: Screen,
    environ: Mapping[str, str],
    *,
    told: Callable[[Devnet], None],
) -> None:
    with ExitStack() as running:
        digits = running.enter_context(
            Build(
                "examples.digits.build",
                models / "digits",
                "--samples",
                str(models / "samples.json"),
                "--calibration",
                str(models / "samples.npz"),
            )
        )
        sentences = running.enter_context(Build("examples.minilm.build", models / "minilm"))
        devnet = Devnet(plan, environ, screen.tell)
        running.callback(devnet.stop)
        stage = DemoContext(devnet, record, screen, models)

        def chapter(title: str, *parts: Callable[[], None]) -> None:
            screen.chapter(title)
            with record.chapter(title):
                for part in parts:
                    part()

        chapter("A chain, an IPFS node, a queue", lambda: _start(stage))
        before = books.take(stage.network, devnet.accounts)
        compiled: list[Build] = []

        def compile_digits() -> None:  # in the background, as soon as there is a float model
            build = Build(
                "worker.exact",
                models / "exact",
                "--samples",
                str(models / "samples.npz"),
                "--name",
                "digits-exact",
                source=models / "digits",
            )
            compiled.append(running.enter_context(build))

        chapter(
            "Two real models",
            lambda: opening.publish_models(stage, digits, sentences, compile_digits),
        )
        chapter("Two operators", lambda: opening.join_operators(stage))
        chapter("A requester asks for access", lambda: opening.grant_access(stage))
        chapter("Two paid answers, verified", lambda: answers.ask_both(stage))
        chapter(
            "A question through REST",
            lambda: rest_chapter.start(stage),
            lambda: rest_chapter.ask(stage),
        )
        chapter("An answer paid by x402", lambda: x402_chapter.pay(stage))
        left: list[Ordered] = []  # what chapters leave to later ones
        chapter(
            "One byte of a weight file is changed",
            lambda: left.append(trouble.tampered_weights(stage)),
        )
        chapter(
            "One operator dies in the middle",
            lambda: liars.start(stage),  # they load while this chapter waits
            lambda: left.append(trouble.operator_dies(stage)),
        )
        chapter("Nobody serves", lambda: trouble.nobody_serves(stage, *left))
        chapter(
            "A model that a contract can judge", lambda: liars.publish_exact(stage, compiled[0])
        )
        chapter(
            "Two wrong operators are convicted",
            lambda: liars.join(stage),
            lambda: channels.start(stage),  # they load while the challenger is at work
            lambda: left.append(liars.judge(stage)),
        )
        chapter(
            "A thousand answers, one transaction",
            lambda: channels.tell(stage),
        )
        chapter("Data has a price", lambda: contributors.value_data(stage))
        chapter("The honest answer is paid", lambda: liars.pay_honest(stage, left[-1]))
        chapter(
            "Where every coin went",
            lambda: closing.pay_out(stage),
            lambda: contributors.claim_share(stage),
        )
        with record.chapter("The books"):
            closing.compare_books(stage, before)
            closing.list_gas(stage)
        told(devnet)
        begun = time.monotonic()
        running.close()
        record.chapters["Everything is stopped"] = round(time.monotonic() - begun, 3)


def _start(stage: DemoContext) -> None:
    devnet = stage.devnet
    devnet.start_servers()
    devnet.deploy()
    devnet.start_operators()
    devnet.publish()
    settings, record = devnet.settings, stage.record
    record.accounts = dict(devnet.accounts)
    record.contracts = asdict(stage.network.contracts)
    record.environment = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{f"{name} is": what for name, what in devnet.kinds.items()},
        "IPFS says": IpfsClient(settings.ipfs_api).version(),
    }
    stage.screen.fact("chain", f"{settings.rpc_url}, {devnet.kinds['chain']}")
    stage.screen.fact("IPFS", f"{settings.ipfs_api}, {devnet.kinds['ipfs']}")
    stage.screen.fact("queue", f"{settings.shown_redis_url}, {devnet.kinds['redis']}")
    stage.screen.fact("market", stage.network.contracts.inference_market)
