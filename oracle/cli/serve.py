"""`tallystick serve`: the REST gateway, in the foreground."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated

import typer

from oracle import logs
from oracle.cli import options
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.types import Address, Amount

DEFAULT = "127.0.0.1:8551"

Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where to answer; loopback by default.")
]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Without an account: show the chain, ask nothing.")
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--cors-origin", metavar="URL", help="Page of others that may ask; repeatable."),
]


Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host", metavar="NAME", help="Name that browsers know it by; repeatable. Else addresses."
    ),
]
PageBudget = Annotated[
    Amount | None,
    options.amount("--page-budget", "What visitors of the page may spend; else they need wallets."),
]

X402 = Annotated[
    bool, typer.Option("--x402", help="Let who has no API key pay each answer by x402.")
]
Surcharge = Annotated[
    Amount,
    options.amount("--x402-surcharge", "Above a model's fee, for the gas of a payment by x402."),
]
Channels = Annotated[
    bool,
    typer.Option("--channels", help="Pay operators over payment channels, where one announced it."),
]
ChannelDeposit = Annotated[
    Amount, options.amount("--channel-deposit", "That a channel is opened and topped up with.")
]
ChannelLimit = Annotated[
    Amount, options.amount("--channel-limit", "Of all deposits of one channel together.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app, "serve", key=True,
        example="tallystick serve --key gateway\ntallystick serve --read-only --listen 0.0.0.0:80 "
        "--host models.example.org",
    )(_serve)  # fmt: skip


def _serve(
    session: Session,
    *,
    listen: Listen = DEFAULT,
    read_only: ReadOnly = False,
    host: Hosts = None,
    cors_origin: Origins = None,
    page_budget: PageBudget = None,
    x402: X402 = False,
    x402_surcharge: Surcharge = Amount(0),  # noqa: B008 -- a number with a name
    channels: Channels = False,
    channel_deposit: ChannelDeposit = Amount(10**6),  # noqa: B008
    channel_limit: ChannelLimit = Amount(20 * 10**6),  # noqa: B008
) -> None:
    """Answer KServe v2, OpenAI's API and /api over HTTP until stopped.

    The wallet of --key pays for what clients with API keys ask (`tallystick key create`): it needs
    a prepaid balance, some currency for gas, and access to the models. Nobody else may send with
    it. With --x402 it is paid by who has no key, and pays their requests; what was not served
    goes back. With --channels answers come signed from operators' endpoints, without a
    transaction; where that fails, on the chain. TLS belongs to a proxy in front of it.
    """
    address, _, port = listen.rpartition(":")
    if not address or not port.isdecimal() or int(port) > 65535:
        raise InputInvalid(f"--listen {listen!r} is not HOST:PORT", hint=DEFAULT)
    logs.configure(replace(session.settings, operator=""), role="gateway")
    from oracle.api import serving  # noqa: PLC0415 - FastAPI takes 0.4 s to import
    from oracle.api.config import ApiConfig  # noqa: PLC0415
    from oracle.gateway.channels import ChannelSettings  # noqa: PLC0415

    names = (*(host or ()), address.strip("[]"))
    config = ApiConfig(
        hosts=tuple(map(str.lower, names)), cors_origins=tuple(cors_origin or ()),
        x402=x402, x402_surcharge=x402_surcharge,
    )  # fmt: skip
    account = None
    with ExitStack() as held:
        if not read_only:
            from oracle.agents.folder import locked_account  # noqa: PLC0415
            from oracle.services import wallets  # noqa: PLC0415

            settings = session.settings
            account = wallets.unlock(settings, settings.key or "gateway", session.password())
            held.enter_context(locked_account(settings.home, Address(account.address)))
        serving.serve(
            session.network, account, config, address.strip("[]"), int(port),
            page_budget=page_budget,
            paying=ChannelSettings(channel_deposit, channel_limit) if channels else None,
        )  # fmt: skip
