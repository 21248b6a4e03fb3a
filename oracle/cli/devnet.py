"""`tallystick up|down|status|doctor|demo`: a network on this machine, and how it is."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from oracle import logs
from oracle.cli import output
from oracle.cli.session import Session, command
from oracle.devnet import background
from oracle.errors import NotFound, Unavailable

_COLOURS = {
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
    "skipped": "dim",
    "running": "green",
    "waiting": "yellow",
}
_TICK = 0.25  # seconds
_INTERRUPTED = 130

Operators = Annotated[
    str, typer.Option("--operators", metavar="NAMES", help="Operators to run, by comma; or none.")
]
RpcPort = Annotated[int, typer.Option("--rpc-port", help="Port of the chain; 0 = a free one.")]
BlockTime = Annotated[int, typer.Option("--block-time", min=1, help="Seconds between blocks.")]
RestPort = Annotated[
    int, typer.Option("--rest-port", help="Port of REST and the page; 0 = a free one, -1 = none.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for report.json and logs.")]
Keep = Annotated[
    bool, typer.Option("--keep", help="Keep the network and its page running afterwards.")
]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return when it is up.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "up", example="tallystick up\ntallystick up --detach")(_up)
    command(app, "down", example="tallystick down")(_down)
    command(app, "status", example="tallystick status --json")(_status)
    command(app, "demo", example="tallystick demo\ntallystick demo --keep")(_demo)
    command(app, "doctor", example="tallystick doctor\ntallystick doctor --json", key=True)(_doctor)


def _up(
    session: Session,
    *,
    operators: Operators = "alpha,beta",
    rpc_port: RpcPort = 0,
    block_time: BlockTime = 1,
    rest_port: RestPort = 0,
    detach: Detach = False,
) -> None:
    """Run a network on this machine: chain, IPFS, queue, contracts, wallets, two operators, REST.

    The first operator answers what payment channels pay as well. Every start begins a new chain;
    keys and files are kept. Set TALLYSTICK_IPFS_API or
    TALLYSTICK_REDIS_URL to use a server of yours instead of one started here.
    """
    home = session.settings.home.absolute()
    background.refuse_second(home)
    if detach:
        argv = [
            *(*background.command(), "up", "--home", str(home), "--operators", operators),
            *("--rpc-port", str(rpc_port), "--block-time", str(block_time)),
            *("--rest-port", str(rest_port)),
        ]
        session.note("starting the network in the background")
        _show(session, home, background.detach(home, argv, session.note))
        return
    from oracle.devnet.network import DevnetPlan, running  # noqa: PLC0415 - web3: 0.3 s

    names = () if operators == "none" else tuple(operators.split(","))
    plan = DevnetPlan(
        home=home,
        operators=names,
        selling=names[:1],
        rpc_port=rpc_port,
        block_time=block_time,
        ipfs_api=os.environ.get("TALLYSTICK_IPFS_API", ""),
        redis_url=os.environ.get("TALLYSTICK_REDIS_URL", ""),
        rest=rest_port >= 0,
        rest_port=max(0, rest_port),
    )
    try:
        with background.stoppable(), running(plan, os.environ, session.note) as devnet:
            _show(session, home, background.read(home))
            session.note("Ctrl-C stops it")
            _keep(devnet, session)
    except background.Stopped:
        session.note("stopped; nothing is left running")


def _keep(devnet: Any, session: Session) -> None:
    """Restart what ends and show how it is, until a signal comes."""
    console = output.console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            for event in devnet.poll():
                session.note(str(event))
            if console.is_terminal:
                live.update(_overview(devnet))
            time.sleep(_TICK)


def _overview(devnet: Any) -> Group:
    parts = devnet.parts()
    running = sum(part.state == "running" for part in parts)
    line = Text(f"block {devnet.head()}  ", "bold")
    line.append(
        f"{running} of {len(parts)} processes run", "green" if running == len(parts) else "red"
    )
    return Group(line, *(_part(part) for part in parts if part.state != "running"))


def _down(session: Session) -> None:
    """Stop the network that runs in the background (or in another terminal)."""
    home = session.settings.home
    stopped = background.stop(home)
    session.show({"stopped": stopped}, "stopped" if stopped else f"no network runs in {home}")


def _status(session: Session) -> None:
    """Show what runs. Exits with 66 when nothing does, 69 when a part of it does not."""
    home = session.settings.home
    network = background.read(home)
    if network is None:
        raise NotFound(f"no network runs in {home}", hint="start one with `tallystick up`")
    well = network.ready and all(part.state == "running" for part in network.parts)
    _show(session, home, network, well=well)
    if not well:
        raise typer.Exit(Unavailable.exit_code)


def _show(
    session: Session, home: Path, network: background.RunningNetwork | None, *, well: bool = True
) -> None:
    if network is None:
        return
    settings = type(session.settings).load({}, home)
    places = {"rpc": settings.rpc_url, "ipfs": settings.ipfs_api, "redis": settings.shown_redis_url}
    contracts = settings.contracts
    document = {
        "ok": well,
        "home": home,
        "pid": network.pid,
        "urls": places,
        "kinds": network.kinds,
        "contracts": contracts,
        "parts": network.parts,
    }
    facts = [
        ("home", home),
        ("chain", f"{settings.rpc_url}  ({network.kinds.get('chain', '')})"),
        ("IPFS", f"{settings.ipfs_api}  ({network.kinds.get('ipfs', '')})"),
        ("queue", f"{settings.shown_redis_url}  ({network.kinds.get('redis', '')})"),
        ("REST, page", network.kinds.get("rest", "not served")),
        ("channels", network.kinds.get("channels", "not served")),
        ("market", contracts.inference_market if contracts else "not deployed"),
        ("wallets", f"{home / 'keys'}; export TALLYSTICK_PASSWORD_FILE={home / 'password'}"),
    ]
    session.show(document, Group(output.facts(facts), *(_part(part) for part in network.parts)))


def _part(part: background.RunningPart) -> Text:
    line = Text(f"{part.name:<16} ")
    line.append(f"{part.state:<8} ", _COLOURS.get(part.state, "red"))
    line.append(f"pid {part.pid}" if part.pid else "")
    line.append(f"  restarted {part.restarts} times" if part.restarts else "", "yellow")
    return line


def _demo(session: Session, out: Out = Path("build/demo"), keep: Keep = False) -> None:
    """Tell the story of a paid, verified answer on a network of its own, and write a report.

    Takes about a minute, and ends with the page's address and what to try next. Exits with 70 when
    the story goes another way than it has to.
    """
    logs.configure(replace(session.settings, log_level="error"))
    from oracle.demo import story  # noqa: PLC0415 - web3 takes 0.3 s to import
    from oracle.demo.screen import Screen  # noqa: PLC0415

    console = output.console(stderr=session.as_json)
    begun = time.monotonic()
    told = False

    def ended(devnet: Any) -> None:
        nonlocal told
        told = True
        console.print()
        console.print(Text(f"Told in {time.monotonic() - begun:.0f} s; report: {out}/report.json"))
        console.print(_next_steps(devnet, keep))
        if keep:
            session.note("Ctrl-C stops it")
            _keep(devnet, session)

    try:
        with background.stoppable():
            report = story.tell(out, Screen(console), os.environ, ended)
    except background.Stopped:
        if told:
            session.note("stopped; nothing is left running")
            return
        session.note("stopped in the middle of the story; nothing is left running")
        raise typer.Exit(_INTERRUPTED) from None
    if session.as_json:
        sys.stdout.write(report.read_text())


def _next_steps(devnet: Any, kept: bool) -> Text:
    """Say where the page is, and three commands that go on from here."""
    if kept:
        home = devnet.plan.home
        commands = (
            f"export TALLYSTICK_HOME={home} TALLYSTICK_PASSWORD_FILE={home / 'password'}",
            "tallystick wallet deposit 1 --key requester --yes",
            "tallystick infer all-MiniLM-L6-v2 --input '[\"A cat\"]' --wait --key requester --yes",
        )
        where = f"The page: {devnet.rest_url}"
    else:
        commands = (
            "tallystick demo --keep      # the same, and the page stays: draw a digit there",
            "tallystick up --detach      # a network of your own",
            "tallystick doctor           # what this machine has for it",
        )
        where = f"The page was {devnet.rest_url}; it stopped with the story."
    text = Text(f"{where}\nNext:", "bold")
    for line in commands:
        text.append(f"\n  {line}", "not bold")
    return text


def _doctor(session: Session) -> None:
    """Check each part: RPC, chain, contracts, IPFS, Redis, store, key, operator, disk, GPU."""
    from oracle.devnet import doctor  # noqa: PLC0415 - store and queue take 0.5 s to import

    findings = []
    for finding in doctor.examine(session.settings):
        findings.append(finding)
        if not session.as_json:
            line = Text(f"{finding.part:<10} ", "bold")
            line.append(f"{finding.state:<8} ", _COLOURS[finding.state])
            line.append(finding.found)
            if finding.todo:
                line.append(f"\n           → {finding.todo}")
            output.console().print(line)
    broken = [f.part for f in findings if f.state == doctor.FAILED]
    if session.as_json:
        output.print_json({"ok": not broken, "findings": findings})
    raise typer.Exit(Unavailable.exit_code if broken else 0)
