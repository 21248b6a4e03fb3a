"""`tallystick operator …`: register, stake, be authorised, run; offers are in `offer.py`."""

import signal
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from oracle.agents.folder import locked_account
from oracle.cli import commands, offer, options, output
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.devnet import operator_processes
from oracle.devnet.supervisor import ProcessSpec, Supervisor
from oracle.errors import ConfigInvalid
from oracle.services import amounts, models, operators, wallets
from oracle.services.amounts import format_amount, format_time
from oracle.services.channels import endpoints, offers
from oracle.services.operators import OperatorInfo
from oracle.services.wallets import WalletInfo
from oracle.types import Amount

Url = Annotated[
    str, typer.Option("--url", metavar="URL", help="Announce on chain that payers reach it here.")
]
Locks = Annotated[
    int,
    typer.Option("--locks", metavar="N", min=0, help="Put so many behind models without an offer."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "operator")
    command(
        group, "register", key=True,
        example="tallystick operator register --endpoint https://op.example --key op1",
    )(_register)  # fmt: skip
    command(group, "stake", spends=True, example="tallystick operator stake 100 --key op1")(_stake)
    command(
        group, "unstake", spends=True,
        example="tallystick operator unstake 50 --key op1\n"
        "tallystick operator unstake --finish --key op1",
    )(_unstake)  # fmt: skip
    command(
        group, "authorize", key=True, example="tallystick operator authorize 1 op1 --key owner"
    )(_authorize)
    command(
        group, "run", key=True,
        example="tallystick operator run --key op1 --password-file op1.pw\n"
        "tallystick operator run --serve 127.0.0.1:8552 --url https://op.example --locks 8 "
        "--key op1 --password-file op1.pw",
    )(_run)  # fmt: skip
    command(
        group, "serve", key=True,
        example="tallystick operator serve digits-cnn --url https://op.example --key op1 "
        "--password-file op1.pw",
    )(_serve)  # fmt: skip
    command(group, "status", key=True, example="tallystick operator status op1")(_status)
    command(
        group, "list",
        example="tallystick operator list\ntallystick operator list digits-cnn --json",
    )(_list)  # fmt: skip
    offer.register(group)


def _register(
    session: Session,
    endpoint: Annotated[str, typer.Option("--endpoint", metavar="URL", help="Public URL.")] = "",
) -> None:
    """Register the wallet as an operator, or change its endpoint."""
    sent = operators.register(session.network, session.wallet, endpoint)
    session.show(sent, f"{session.wallet.address} is registered")


def _stake(
    session: Session,
    amount: Annotated[Amount, options.amount_argument("Dollars.")],
    operator: Annotated[
        str, typer.Option("--operator", metavar="WALLET", help="Stake for this one.")
    ] = "",
) -> None:
    """Put money behind an operator's answers; it is slashed when one is wrong or withheld."""
    wallet = session.wallet
    target = wallets.resolve(session.settings, operator) if operator else wallet.address
    session.confirm(f"Stake {format_amount(amount)} for {target}?")
    operators.stake(session.network, wallet, amount, target)
    found = operators.status(session.network, target)
    session.show(found, _facts(found))


def _unstake(
    session: Session,
    amount: Annotated[
        Amount | None,
        typer.Argument(
            parser=options.named("AMOUNT", amounts.parse_amount),
            metavar="[AMOUNT]",
            help="Dollars.",
        ),
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Pay out after the delay.")] = False,
) -> None:
    """Start to take free stake out, or finish after the unbonding delay."""
    wallet = session.wallet
    if finish:
        operators.finish_unstake(session.network, wallet)
    elif amount is None:
        raise ConfigInvalid("say how much to unstake, or --finish")
    else:
        operators.start_unstake(session.network, wallet, amount)
    found = operators.status(session.network, wallet.address)
    session.show(found, _facts(found))


def _authorize(
    session: Session,
    model: Model,
    operator: Annotated[str, typer.Argument(metavar="OPERATOR", help="Wallet or address.")],
    remove: Annotated[bool, typer.Option("--remove", help="No longer authorised.")] = False,
) -> None:
    """Authorise an operator for a model; only the model's owner may."""
    address = wallets.resolve(session.settings, operator)
    selected = models.select(session.network, model)
    sent = operators.authorize(
        session.network, session.wallet, selected.model_id, address, not remove
    )
    state = "no longer authorised" if remove else "authorised"
    session.show(sent, f"{address} is {state} for model {selected.model_id}")


def _status(
    session: Session,
    operator: Annotated[
        str | None, typer.Argument(metavar="[OPERATOR]", help="Wallet or address; else --key.")
    ] = None,
) -> None:
    """Show an operator's stake, models and work."""
    name = operator or session.settings.key
    if not name:
        raise ConfigInvalid("no operator was named", hint="`tallystick operator status NAME`")
    found = operators.status(session.network, wallets.resolve(session.settings, name))
    session.show(found, _facts(found))


def _list(
    session: Session,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Only who may serve it: id or name.")
    ] = None,
) -> None:
    """List operators: stake, what they serve, their record, and where they answer channels."""
    network = session.network
    found = operators.list_operators(network)
    if model:
        model_id = models.select(network, model).model_id
        found = tuple(one for one in found if model_id in one.models)
    here = {one.address: one.name for one in wallets.list_wallets(session.settings)}
    names = {i: network.registry.name_of(i) for i in {i for one in found for i in one.models}}
    rows = [
        (one.operator, here.get(one.operator, ""), format_amount(one.staked),
         format_amount(one.free), ", ".join(names[i] for i in one.models) or "nothing",
         one.delivered, one.failed, one.announced or "none")
        for one in found
    ]  # fmt: skip
    columns = (
        "operator", "wallet", "stake", "free", "serves", "delivered", "failures", "channels at",
    )  # fmt: skip
    session.show(found, output.table(columns, rows, "no operators"))


def _run(
    session: Session,
    *,
    name: Annotated[
        str, typer.Option("--name", help="Of queues and folder; the wallet's by default.")
    ] = "",
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Infer processes; 0 = what fits.")
    ] = 0,
    serve: Annotated[
        str,
        typer.Option("--serve", metavar="HOST:PORT", help="Answer what channels pay as well."),
    ] = "",
    url: Url = "",
    locks: Locks = 0,
) -> None:
    """Run an operator in the foreground: watcher, infer worker, submitter, responder.

    With --serve, an endpoint too, as `operator serve` does for all its models.
    """
    if (url or locks) and not serve:
        raise ConfigInvalid("--url and --locks are of an endpoint", hint="say --serve HOST:PORT")
    settings = session.settings
    if not settings.key:
        raise ConfigInvalid("no wallet was named", hint="say --key NAME")
    wallet = wallets.find(settings, settings.key)
    found = _require_operator(session, wallet)
    with locked_account(settings.home, wallet.address):
        specs = operator_processes.processes(
            settings, wallet, name=name, infer_processes=processes, endpoint=found.endpoint
        )
        if serve:
            specs = (*specs, _endpoint(session, wallet, (), serve, name, url=url, locks=locks))
        _supervise(session, specs)


def _serve(
    session: Session,
    model: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL...]", help="With an offer; else all that it may serve."),
    ] = None,
    *,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Loopback by default.")
    ] = "127.0.0.1:8552",
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="Name that clients know it by; repeatable."),
    ] = None,
    url: Url = "",
    locks: Locks = 0,
    name: Annotated[
        str, typer.Option("--name", help="Of the operator's folder; the wallet's by default.")
    ] = "",
) -> None:
    """Answer over HTTP what payment channels pay, in the foreground.

    An answer is paid by a voucher and signed at once: no transaction, no queue. Vouchers are
    claimed every ten minutes, more often where channels close faster, and at the end. TLS belongs
    to a proxy in front of it. Payers find what was announced last with --url.
    """
    if not session.settings.key:
        raise ConfigInvalid("no wallet was named", hint="say --key NAME")
    wallet = wallets.find(session.settings, session.settings.key)
    named = model or ()
    if named and locks:
        raise ConfigInvalid("--locks is for all models", hint="`tallystick operator offer cover`")
    _require_operator(session, wallet)
    for one in named:  # a process that exits is started again: what never works must not start
        offers.sold(session.network, wallet.address, one)
    _supervise(
        session,
        [_endpoint(session, wallet, named, listen, name, hosts=host or (), url=url, locks=locks)],
    )


def _require_operator(session: Session, wallet: WalletInfo) -> OperatorInfo:
    """Return a registered operator, and tell what keeps it from being asked.

    Raises:
        NotFound: it never registered. Nothing has started.
    """
    found = operators.status(session.network, wallet.address)
    for sentence in operators.lacking(session.network, found):
        session.note(f"it will not be asked yet: {sentence}")
    return found


def _endpoint(
    session: Session,
    wallet: WalletInfo,
    named: Sequence[str],
    listen: str,
    name: str,
    *,
    url: str,
    locks: int,
    hosts: Sequence[str] = (),
) -> ProcessSpec:
    """Return the endpoint's process, after announcing where it is."""
    if url:
        hosts = [*hosts, endpoints.parse(url).hostname or ""]
    spec = operator_processes.endpoint_process(
        session.settings, wallet, named, listen, name=name, hosts=hosts, locks=locks
    )
    if url and endpoints.announce(session.network, session.wallet, url):
        session.note(f"announced on chain: {url}")
    return spec


def _supervise(session: Session, specs: Sequence[ProcessSpec]) -> None:
    """Run processes until a signal comes, and say how it ended."""
    supervisor = Supervisor(specs)
    with supervisor:
        supervisor.start(lambda process, what: session.note(f"{process}: {what}"))
        for spec in specs:
            session.note(f"{spec.name}: log in {spec.log_path}")
        number = supervisor.run_until_signalled(lambda event: session.note(str(event)))
    cause = signal.Signals(number).name if number else "all processes ended"
    session.show({"stopped": cause}, f"stopped: {cause}")


def _facts(found: OperatorInfo) -> Any:
    unbonding = "nothing"
    if found.unbonding:
        unbonding = f"{format_amount(found.unbonding)} from {format_time(found.release_at)}"
    return output.facts(
        [
            ("operator", found.operator),
            ("endpoint", found.endpoint or "none"),
            ("channels at", found.announced or "none announced"),
            ("stake", format_amount(found.staked)),
            ("locked", format_amount(found.locked)),
            ("free", format_amount(found.free)),
            ("unbonding", unbonding),
            ("models", ", ".join(map(str, found.models)) or "none"),
            ("answers", f"{found.delivered} delivered, {found.in_flight} under way"),
            ("failures", found.failed),
            ("earned", format_amount(found.earned)),
            ("prepaid", format_amount(found.prepaid)),
        ]
    )
