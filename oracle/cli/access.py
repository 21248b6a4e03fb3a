"""`tallystick access …`: who may use a model, how often, with which parameters."""

from typing import Annotated, Any

import typer

from oracle.chain.bindings.model_access import Policy
from oracle.cli import commands, options, output
from oracle.cli.model import Model
from oracle.cli.session import Session, command
from oracle.errors import InputInvalid
from oracle.services import access, amounts, models, wallets
from oracle.services.access import AccessInfo, ParameterBounds
from oracle.services.amounts import format_rate, format_time
from oracle.types import Address

Who = Annotated[str, typer.Argument(metavar="WALLET", help="Name of a wallet or an address.")]
RateOption = Annotated[
    amounts.Rate | None,
    options.rate("--rate", "Requests per time, like 10/1h; none for no limit."),
]


def _word(policy: Policy) -> str:
    return policy.name.lower().replace("_", "-")


_POLICIES = {_word(policy): policy for policy in Policy}


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = commands.group(app, "access")
    command(
        group, "policy", key=True,
        example="tallystick access policy 1 on-request --key owner\n"
        "tallystick access policy 1 open --rate 100/1h --key owner",
    )(_policy)  # fmt: skip
    command(
        group, "apply", key=True,
        example="tallystick access apply 1 --note 'for a school project' --key alice",
    )(_apply)  # fmt: skip
    command(
        group, "grant", key=True,
        example="tallystick access grant 1 alice --for 30d --rate 10/1h --key owner",
    )(_grant)  # fmt: skip
    command(group, "deny", key=True, example="tallystick access deny 1 mallory --key owner")(_deny)
    command(group, "revoke", key=True, example="tallystick access revoke 1 alice --key owner")(
        _revoke
    )
    command(
        group, "show",
        example="tallystick access show 1\ntallystick access show 1 --wallet alice",
    )(_show)  # fmt: skip
    command(
        group, "limits", key=True,
        example="tallystick access limits 1\n"
        "tallystick access limits 1 --set temperature=0.5:1.5 --key owner",
    )(_limits)  # fmt: skip
    command(group, "admin", key=True, example="tallystick access admin 1 bob --key owner")(_admin)


def _policy(
    session: Session,
    model: Model,
    policy: Annotated[
        Policy,
        typer.Argument(
            metavar="open|allow-list|on-request", parser=options.choice("POLICY", _POLICIES)
        ),
    ],
    rate: RateOption = None,
) -> None:
    """Set who may use a model without being asked about one by one."""
    selected = models.select(session.network, model)
    sent = access.set_policy(
        session.network,
        session.wallet,
        selected.model_id,
        policy,
        rate or amounts.NO_LIMIT,
    )
    session.show(sent, f"model {selected.model_id} is {_word(policy)}")


def _apply(
    session: Session,
    model: Model,
    note: Annotated[str, typer.Option("--note", help="Why; at most 256 bytes, public.")] = "",
) -> None:
    """Ask for access to a model that is used on request."""
    selected = models.select(session.network, model)
    sent = access.apply(session.network, session.wallet, selected.model_id, note)
    session.show(sent, "applied; an admin of the model decides")


def _grant(
    session: Session,
    model: Model,
    who: Who,
    lifetime: Annotated[
        int | None, options.duration("--for", "How long; for ever by default.")
    ] = None,
    rate: RateOption = None,
) -> None:
    """Give a wallet access, whether it applied or not."""
    selected, address = _both(session, model, who)
    sent = access.grant(
        session.network,
        session.wallet,
        selected,
        address,
        lifetime=lifetime,
        rate=rate or amounts.NO_LIMIT,
    )
    session.show(sent, f"{address} may use model {selected}")


def _deny(session: Session, model: Model, who: Who) -> None:
    """Refuse a wallet, even if the model is open."""
    selected, address = _both(session, model, who)
    sent = access.deny(session.network, session.wallet, selected, address)
    session.show(sent, f"{address} may not use model {selected}")


def _revoke(session: Session, model: Model, who: Who) -> None:
    """Put a wallet back to having no grant."""
    selected, address = _both(session, model, who)
    sent = access.revoke(session.network, session.wallet, selected, address)
    session.show(sent, f"{address} has no grant for model {selected}")


def _admin(
    session: Session,
    model: Model,
    who: Who,
    remove: Annotated[bool, typer.Option("--remove", help="No longer an admin.")] = False,
) -> None:
    """Let a wallet decide about access to a model; only its owner may."""
    selected, address = _both(session, model, who)
    sent = access.set_admin(session.network, session.wallet, selected, address, not remove)
    session.show(sent, f"{address} is {'no longer ' if remove else ''}an admin of model {selected}")


def _show(
    session: Session,
    model: Model,
    who: Annotated[
        str, typer.Option("--wallet", metavar="WALLET", help="Only this one's access.")
    ] = "",
) -> None:
    """Show a model's rules, applications and grants."""
    selected = models.select(session.network, model)
    if not who:
        found = access.show(session.network, selected.model_id)
        session.show(found, _rules(found))
        return
    address = wallets.resolve(session.settings, who)
    one = access.of_wallet(session.network, selected.model_id, address)
    session.show(one, f"{address}: {'allowed' if one.allowed else one.reason}")


def _limits(
    session: Session,
    model: Model,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=LOW:HIGH", help="Bound a parameter; repeatable."),
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Remove all bounds.")] = False,
) -> None:
    """Show the bounds of a model's run-time parameters, or set them on chain."""
    selected = models.select(session.network, model)
    if ranges or lift:
        wanted = {} if lift else _ranges(ranges or [])
        access.set_limits(session.network, session.wallet, selected, wanted)
    found = access.limits(session.network, selected)
    session.show(found, _limit_table(found))


def _ranges(values: list[str]) -> dict[str, tuple[float, float]]:
    result = {}
    for name, text in options.assignments("--set", values).items():
        low, colon, high = text.partition(":")
        if not colon:
            raise InputInvalid(f"--set {name}={text} is not NAME=LOW:HIGH")
        result[name] = (options.number("--set", low), options.number("--set", high))
    return result


def _both(session: Session, model: str, who: str) -> tuple[int, Address]:
    address = wallets.resolve(session.settings, who)
    return models.select(session.network, model).model_id, address


def _rules(found: AccessInfo) -> Any:
    rows = [
        (
            w.requester,
            w.status.name.lower(),
            format_time(w.expiry),
            format_rate(w.max_per_window, w.window),
            "yes" if w.allowed else "no",
            w.note,
        )
        for w in found.wallets
    ]
    columns = ("wallet", "status", "expires", "rate", "may ask", "note")
    return output.facts(
        [
            ("model", found.model_id),
            ("policy", _word(found.policy)),
            ("rate", format_rate(found.max_per_window, found.window)),
            ("owner", found.owner),
            ("admins", ", ".join(found.admins) or "none besides the owner"),
            ("wallets", output.table(columns, rows, "nobody applied or was granted")),
        ]
    )


def _limit_table(found: ParameterBounds) -> Any:
    rows = [(p.name, p.minimum, p.maximum, p.default, p.description) for p in found.parameters]
    columns = ("parameter", "least", "most", "default", "meaning")
    return output.table(columns, rows, "this model takes no parameters")
