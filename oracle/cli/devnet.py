"""`tallystick up|down|status|doctor|demo`: a network on this machine, and how it is."""

import typer
from rich.text import Text

from oracle.cli import output
from oracle.cli.session import Session, command
from oracle.errors import Unavailable
from oracle.services import doctor

_COLOURS = {
    doctor.OK: "green",
    doctor.WARNING: "yellow",
    doctor.FAILED: "red",
    doctor.SKIPPED: "dim",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(
        app, "doctor", example="tallystick doctor\ntallystick doctor --json | jq .ok", key=True
    )(_doctor)


def _doctor(session: Session) -> None:
    """Check each part: RPC, chain, contracts, IPFS, Redis, store, key, disk, GPU."""
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
