"""How a version came to be, as `tallystick model show` and `model verify` print it."""

from typing import TYPE_CHECKING, Any

from rich.console import Group

from oracle.cli import output
from oracle.services.amounts import counted

if TYPE_CHECKING:
    from oracle.services.lineage.tree import Family
    from oracle.services.model_history import VerifiedHistory


def lines(family: "Family | None") -> list[tuple[str, str]]:
    """Return the family as a tree, and what the chain says of it."""
    if family is None:
        return []
    tree = []
    for member in family.members:
        branch = "  " * (member.depth - 1) + "└ " if member.depth else ""
        how = f": {member.how}" if member.how else ""
        shown = " (this one)" if member.shown else ""
        tree.append(f"{branch}{member.model_id}@{member.version} {member.name}{shown}{how}")
    if family.left_out:
        tree.append(f"and {counted(family.left_out, 'version')} more")
    if not family.searched:
        tree.append("later versions may be missing: not all manifests of this chain were read")
    checks = [(f"its {one.subject}", f"{one.finding}: {one.why}") for one in family.checks]
    return [("family", "\n".join(tree)), *checks]


def with_checks(table: Any, found: "VerifiedHistory") -> Any:
    """Return a table, with what was checked of the versions' histories below it."""
    rows = [
        (one.version, check.subject, str(check.finding), check.why)
        for one in found.versions
        for check in one.history
    ]
    if not rows:
        return table
    return Group(table, output.table(("version", "history", "", "reason"), rows))
