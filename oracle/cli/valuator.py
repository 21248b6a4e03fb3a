"""`tallystick valuator …`: stake, and compute what contributed data is worth."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from oracle import logs
from oracle.agents.valuation.valuator import Valuator
from oracle.agents.worker_process import value_worker
from oracle.cli import commands, options, output
from oracle.cli.session import Session, command
from oracle.devnet.supervisor import Supervisor
from oracle.errors import ConfigInvalid
from oracle.services import wallets
from oracle.services.amounts import format_amount, format_ether
from oracle.services.data import valuator_stakes
from oracle.services.data.valuator_stakes import ValuatorInfo
from oracle.stopping import on_signals
from oracle.types import Amount


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "valuator")
    command(group, "stake", spends=True, example="tallystick valuator stake 50 --key val")(_stake)
    command(group, "unstake", spends=True, example="tallystick valuator unstake 50 --key val")(
        _unstake
    )
    command(
        group, "run", key=True, example="tallystick valuator run --key val --password-file val.pw"
    )(_run)
    command(group, "withdraw", key=True, example="tallystick valuator withdraw --key val")(
        _withdraw
    )
    command(group, "status", key=True, example="tallystick valuator status val")(_status)


def _stake(
    session: Session, amount: Annotated[Amount, options.amount_argument("Dollars.")]
) -> None:
    """Put money behind valuations; all of what one locks is lost when it is false."""
    session.confirm(f"Stake {format_amount(amount)}?")
    valuator_stakes.stake(session.network, session.wallet, amount)
    found = valuator_stakes.status(session.network, session.wallet.address)
    session.show(found, _facts(found))


def _unstake(
    session: Session, amount: Annotated[Amount, options.amount_argument("Dollars.")]
) -> None:
    """Take free stake out; there is no delay, as it is locked until its valuation is settled."""
    session.confirm(f"Unstake {format_amount(amount)}?")
    valuator_stakes.unstake(session.network, session.wallet, amount)
    found = valuator_stakes.status(session.network, session.wallet.address)
    session.show(found, _facts(found))


def _run(
    session: Session,
    name: Annotated[
        str, typer.Option("--name", help="Of queue and folder; the wallet's by default.")
    ] = "",
) -> None:
    """Value rounds until stopped: claim, compute, publish, answer demands, settle."""
    network, account = session.network, session.account
    name = name or wallets.find(session.settings, session.settings.key).name
    settings = replace(session.settings, operator=name)
    logs.configure(settings, role="valuator")
    spec = value_worker(settings)
    with on_signals() as stopped, Supervisor((spec,)) as supervisor:
        supervisor.start()
        session.note(f"{spec.name}: log in {spec.log_path}")
        with Valuator.of(network, account, name, session.note) as valuator:
            session.note(f"{valuator.address} values what is sealed")

            def over() -> bool:
                supervisor.poll()  # starts the worker again when it died
                return stopped.is_set()

            valuator.run(over, stopped.wait, max(settings.poll_interval, 0.2))
    session.show({"stopped": True}, "stopped")


def _withdraw(session: Session) -> None:
    """Pay out what valuations and challenges brought."""
    done = valuator_stakes.withdraw(session.network, session.wallet)
    session.show(done, f"{len(done)} payment(s)" if done else "nothing is owed")


def _status(
    session: Session,
    valuator: Annotated[
        str | None, typer.Argument(metavar="[VALUATOR]", help="Wallet or address; else --key.")
    ] = None,
) -> None:
    """Show a valuator's stake, what it is owed, and the rounds it valued."""
    name = valuator or session.settings.key
    if not name:
        raise ConfigInvalid("no valuator was named", hint="`tallystick valuator status NAME`")
    found = valuator_stakes.status(session.network, wallets.resolve(session.settings, name))
    session.show(found, _facts(found))


def _facts(found: ValuatorInfo) -> Any:
    def listed(ids: tuple[int, ...]) -> str:
        return ", ".join(map(str, ids)) or "none"

    return output.facts(
        [
            ("valuator", found.valuator),
            ("stake", format_amount(found.staked)),
            ("locked", format_amount(found.locked)),
            ("free", format_amount(found.free)),
            ("one valuation", f"locks {format_amount(found.needed)}"),
            ("owed", f"{format_amount(Amount(found.balance + found.reward))}, "
             f"{format_ether(found.bond)}"),
            ("published", listed(found.published)),
            ("settled", listed(found.settled)),
            ("convicted", listed(found.convicted)),
            ("lapsed", listed(found.lapsed)),
        ]
    )  # fmt: skip
