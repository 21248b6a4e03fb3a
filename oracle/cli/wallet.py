"""`tallystick wallet …`: keystores, and the money of accounts."""

from pathlib import Path
from typing import Annotated

import typer

from oracle.cli import commands, options, output
from oracle.cli.session import Session, command
from oracle.errors import ConfigInvalid
from oracle.services import amounts, balances, wallets
from oracle.services.amounts import format_amount, format_ether
from oracle.services.balances import Balances
from oracle.types import Amount

Account = Annotated[
    str | None,
    typer.Argument(metavar="[WALLET]", help="Name of a wallet or an address; --key by default."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "wallet")
    command(group, "new", example="tallystick wallet new alice --password-file alice.pw")(_new)
    command(group, "list", example="tallystick wallet list")(_list)
    command(group, "show", key=True, example="tallystick wallet show alice")(_show)
    command(
        group, "balance", key=True, help="The same as `wallet show`.",
        example="tallystick wallet balance alice --json",
    )(_show)  # fmt: skip
    command(group, "fund", example="tallystick wallet fund alice 100")(_fund)
    command(group, "deposit", spends=True, example="tallystick wallet deposit 20 --key alice")(
        _deposit
    )
    command(group, "withdraw", spends=True, example="tallystick wallet withdraw 5 --key alice")(
        _withdraw
    )


def _new(
    session: Session,
    name: Annotated[str, typer.Argument(help="Name of the wallet.")],
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="File with a password.")
    ] = None,
) -> None:
    """Make a key and keep it, encrypted, in home/keys."""
    path = password_file or (
        Path(session.settings.password_file) if session.settings.password_file else None
    )
    password = wallets.read_password(path) if path else session.password(confirm=True)
    made = wallets.create(session.settings, name, password)
    session.show(made, f"{made.address}\nkept in {made.path}; without its password it is lost")


def _list(session: Session) -> None:
    """List the wallets in home/keys."""
    found = wallets.list_wallets(session.settings)
    rows = [(w.name, w.address) for w in found]
    session.show(
        found,
        output.table(("wallet", "address"), rows, "no wallets yet: `tallystick wallet new NAME`"),
    )


def _show(session: Session, account: Account = None) -> None:
    """Show an account's money: in hand, prepaid in the market, for gas."""
    address = wallets.resolve(session.settings, account or _default(session))
    found = balances.balances(session.network, address)
    session.show(found, _facts(found))


def _fund(
    session: Session,
    account: Annotated[str, typer.Argument(metavar="WALLET", help="A wallet or an address.")],
    amount: Annotated[Amount, options.amount_argument("Test dollars.")],
) -> None:
    """Give an account test dollars and gas money (development networks only)."""
    address = wallets.resolve(session.settings, account)
    found = balances.fund(session.network, address, amount)
    session.show(found, _facts(found))


def _deposit(
    session: Session, amount: Annotated[Amount, options.amount_argument("Dollars.")]
) -> None:
    """Move dollars of the wallet into its prepaid balance in the market."""
    wallet = session.wallet
    session.confirm(f"Deposit {format_amount(amount)} of {wallet.address}?")
    balances.deposit(session.network, wallet, amount)
    found = balances.balances(session.network, wallet.address)
    session.show(found, _facts(found))


def _withdraw(
    session: Session,
    amount: Annotated[
        Amount | None,
        typer.Argument(
            parser=options.named("AMOUNT", amounts.parse_amount),
            metavar="[AMOUNT]",
            help="Dollars; everything by default.",
        ),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="WALLET", help="Who gets it.")] = "",
    bonds: Annotated[
        bool, typer.Option("--bonds", help="Withdraw returned bonds instead.")
    ] = False,
) -> None:
    """Pay out of the prepaid balance."""
    wallet = session.wallet
    if bonds:
        balances.withdraw_bonds(session.network, wallet)
    else:
        target = wallets.resolve(session.settings, to) if to else None
        balances.withdraw(session.network, wallet, amount, target)
    found = balances.balances(session.network, wallet.address)
    session.show(found, _facts(found))


def _default(session: Session) -> str:
    if not session.settings.key:
        raise ConfigInvalid("no wallet was named", hint="say which: `tallystick wallet show NAME`")
    return session.settings.key


def _facts(found: Balances) -> object:
    return output.facts(
        [
            ("address", found.address),
            ("in hand", format_amount(found.tokens)),
            ("prepaid", format_amount(found.prepaid)),
            ("for gas", format_ether(found.ether)),
            ("bonds returned", format_ether(found.bonds)),
        ]
    )
