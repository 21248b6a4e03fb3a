"""What every command gets: its settings, its wallet, and the two ways to answer.

`command` registers a function as a command and adds the options that all commands share; it is
the only place where they are spelled.
"""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oracle.cli import commands, output
from oracle.cli.progress import Bars
from oracle.config import Settings
from oracle.errors import ConfigInvalid, InputInvalid

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from oracle.chain.wallet import Wallet
    from oracle.services.network import Network

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Folder of keys and network.json."),
]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
Key = Annotated[
    str, typer.Option("--key", metavar="NAME", help="Wallet to sign with: a keystore in home/keys.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="File with the keystore's password."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")]


class Session:
    """One invocation of one command. Opens nothing before it is asked for."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        home: Path | None = None,
        as_json: bool = False,
        key: str = "",
        password_file: Path | None = None,
        yes: bool = False,
    ) -> None:
        self._environ = environ
        self._home = home
        self._key = key
        self._password_file = password_file
        self.as_json = as_json
        self.yes = yes

    @cached_property
    def settings(self) -> Settings:
        """The settings: network.json and environment below this command's options."""
        settings = Settings.load(self._environ, self._home)
        if self._key:
            settings = replace(settings, key=self._key)
        if self._password_file:
            settings = replace(settings, password_file=str(self._password_file))
        return settings

    @cached_property
    def network(self) -> "Network":
        """The network, opened and checked once."""
        from oracle.services.network import Network  # noqa: PLC0415 - web3 takes 0.3 s to import

        return Network.open(self.settings)

    @cached_property
    def account(self) -> "LocalAccount":
        """The key that signs, unlocked; asks for its password when no file holds it."""
        from oracle.services import wallets  # noqa: PLC0415

        name = self.settings.key
        if not name:
            raise ConfigInvalid(
                "no wallet was named",
                hint="say --key NAME or set TALLYSTICK_KEY; `tallystick wallet list` lists them",
            )
        return wallets.unlock(self.settings, name, self.password())

    @cached_property
    def wallet(self) -> "Wallet":
        """The wallet that signs, on the network."""
        import structlog  # noqa: PLC0415 - takes 0.1 s to import

        from oracle import logs  # noqa: PLC0415
        from oracle.chain.wallet import Wallet  # noqa: PLC0415

        if not structlog.is_configured():  # by itself it writes to stdout, into the JSON document
            logs.configure(replace(self.settings, log_level="error"))
        network, account = self.network, self.account
        return Wallet(network.rpc, account, chain_id=network.contracts.chain_id)

    def password(self, *, confirm: bool = False) -> str:
        """Return the keystore's password, from its file or typed unseen.

        Raises:
            ConfigInvalid: the file cannot be read, or there is none and nobody to ask.
        """
        from oracle.services import wallets  # noqa: PLC0415

        if self.settings.password_file:
            return wallets.read_password(Path(self.settings.password_file))
        if not sys.stdin.isatty():
            raise ConfigInvalid(
                "the wallet has a password and there is no terminal to ask for it",
                hint="say --password-file FILE or set TALLYSTICK_PASSWORD_FILE",
            )
        typed: str = typer.prompt(
            "Password", hide_input=True, confirmation_prompt=confirm, err=True
        )
        return typed

    def bars(self) -> Bars:
        """Return progress bars for this command (on stderr, none when nobody is looking)."""
        return Bars(output.console(stderr=True))

    def note(self, human: Any) -> None:
        """Say something that is not the answer: text, or a rich renderable."""
        output.print_human(human, stderr=True)

    def confirm(self, question: str) -> None:
        """Ask before money is spent, unless --yes.

        Raises:
            InputInvalid: nobody is there to be asked. typer.Abort: the answer is no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise InputInvalid(
                "this spends money and there is no terminal to ask", hint="say --yes to agree"
            )
        typer.confirm(question, abort=True, err=True)

    def show(self, result: Any, human: Any = None) -> None:
        """Answer: `result` as JSON, or `human` (text or a rich renderable) for people."""
        if self.as_json:
            output.print_json(result)
        elif human is not None:
            output.print_human(human)


def command(
    app: typer.Typer,
    name: str,
    *,
    example: str,
    key: bool = False,
    spends: bool = False,
    help: str = "",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function whose first parameter is a Session.

    Args:
        app: where to register.
        name: of the command.
        example: one command line that works, shown by --help; separate several by newlines.
        key: adds --key and --password-file.
        spends: adds --yes as well.
        help: of a command that does what another one does; else the function's docstring.
    """
    shared: dict[str, tuple[Any, Any]] = {"home": (Home, None), "as_json": (Json, False)}
    if key or spends:
        shared |= {"key": (Key, ""), "password_file": (PasswordFile, None)}
    if spends:
        shared |= {"yes": (Yes, False)}

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        extra = [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for n, (kind, default) in shared.items()
        ]

        def invoke(**values: Any) -> None:
            options = {n: values.pop(n) for n in shared}
            function(Session(os.environ, **options), **values)

        parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *extra]
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {p.name: p.annotation for p in parameters}
        invoke.__doc__ = help or inspect.getdoc(function)
        invoke.__name__ = function.__name__
        lines = "\n".join("  " + line.strip() for line in example.splitlines())
        app.command(name, cls=commands.Command, epilog=f"\b\nExample:\n{lines}")(invoke)
        return function

    return register
