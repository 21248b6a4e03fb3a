"""`tallystick key …`: who may ask on the gateway's account, what, and for how much."""

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Annotated

import typer

from oracle.cli import commands, options, output
from oracle.cli.session import Session, command
from oracle.services.amounts import format_amount, format_time
from oracle.types import Amount, Timestamp

if TYPE_CHECKING:
    from oracle.store import Store

Name = Annotated[str, typer.Argument(help="Name of the key.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "key")
    command(
        group, "create",
        example="tallystick key create web --budget 5\n"
        "tallystick key create lab --budget 20 --per-minute 60 --model digits-cnn",
    )(_create)  # fmt: skip
    command(group, "list", example="tallystick key list --json")(_list)
    command(group, "revoke", example="tallystick key revoke web")(_revoke)


def _create(
    session: Session,
    name: Name,
    budget: Annotated[Amount, options.amount("--budget", "What it may spend in all.")],
    per_minute: Annotated[
        int, typer.Option("--per-minute", metavar="N", min=0, help="Requests; 0 = unlimited.")
    ] = 0,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="That it may ask; repeatable, default all."),
    ] = None,
) -> None:
    """Make a key; its secret is shown this once and kept by nobody."""
    from oracle.gateway import api_keys  # noqa: PLC0415
    from oracle.services import models  # noqa: PLC0415 - web3 takes 0.3 s to import

    ids = tuple(models.select(session.network, text).model_id for text in model or ())
    with _store(session) as store:
        minted = api_keys.mint(store, name, budget, per_minute=per_minute, models=ids)
    session.show(minted, minted.secret)


def _list(session: Session) -> None:
    """List all keys, revoked ones too."""
    from oracle.gateway import api_keys  # noqa: PLC0415

    with _store(session) as store:
        found = api_keys.listed(store)
    rows = [
        (
            key.name,
            f"{format_amount(key.spent)} of {format_amount(key.budget)}",
            key.per_minute or "unlimited",
            ", ".join(map(str, key.models)) or "all",
            "revoked" if key.revoked_at else format_time(Timestamp(int(key.created_at))),
        )
        for key in found
    ]
    session.show(
        found, output.table(("name", "spent", "a minute", "models", "since"), rows, "no API keys")
    )


def _revoke(session: Session, name: Name) -> None:
    """Let a key do nothing any more; what it asked before is still answered."""
    from oracle.gateway import api_keys  # noqa: PLC0415

    with _store(session) as store:
        api_keys.revoke(store, name)
    session.show({"revoked": name}, f"{name} is revoked")


def _store(session: Session) -> AbstractContextManager["Store"]:
    from oracle.gateway import gateway  # noqa: PLC0415
    from oracle.store import Store  # noqa: PLC0415

    return closing(Store.open(gateway.store_url(session.settings)))
