"""docs/console.md: `brownie console` opens with everything deployed and named, as it says there."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.anvil import Anvil, dev_account
from oracle.chain.deploy import deploy
from oracle.chain.wallet import Wallet
from oracle.config import Settings, save_network

ROOT = Path(__file__).parents[2]
NAMES = (
    *("token", "registry", "access", "operators", "market", "programs", "verifier", "game"),
    *("seats", "committee", "data_credits", "data_rounds", "row_demands"),
    *("judge", "valuations", "channels", "lens", "training", "training_game"),
)
ADDRESSES = (
    *("token", "model_registry", "model_access", "operator_registry", "inference_market"),
    *("program_registry", "step_verifier", "dispute_game", "committee_seats", "committee"),
    *("data_credits", "data_rounds", "row_demands", "valuation_verifier", "valuation_game"),
    *("payment_channels", "request_lens", "training_rounds", "training_game"),
)
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.mark.real
def test_console__transcript_of_the_docs__is_what_happens(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/console.md").read_text(), re.DOTALL)
    lines = "".join(blocks).splitlines()
    script = tmp_path / "transcript"
    script.write_text("".join(line[4:] + "\n" for line in lines if line.startswith(">>> ")))
    done = _brownie("console", script=script)
    assert done.returncode == 0, done.stdout
    _expect(ANSI.sub("", done.stdout), lines)


@pytest.mark.real
def test_console__named_network__attaches_to_the_addresses_file(tmp_path: Path) -> None:
    with Anvil() as anvil:
        contracts = deploy(Wallet(anvil.rpc, dev_account(0)))
        environ = {"TALLYSTICK_HOME": str(tmp_path), "TALLYSTICK_RPC_URL": anvil.url}
        settings = Settings.load(environ)
        save_network(replace(settings, contracts=None))
        before = anvil.rpc.call("eth_blockNumber")

        refused = _brownie("run", "deploy", "--network", "local", home=tmp_path)
        assert refused.returncode != 0, refused.stdout
        assert "names no contracts; nothing is deployed unasked" in refused.stdout

        save_network(replace(settings, contracts=contracts))
        names = dict(zip(NAMES, ADDRESSES, strict=True))
        script = tmp_path / "script"
        script.write_text("".join(f"print('{name}', {name}.address)\n" for name in names))
        console = _brownie("console", "--network", "local", home=tmp_path, script=script)
        assert console.returncode == 0, console.stdout
        for name, part in names.items():
            assert f"{name} {getattr(contracts, part)}" in ANSI.sub("", console.stdout)

        ran = _brownie("run", "deploy", "--network", "local", home=tmp_path)
        assert ran.returncode == 0, ran.stdout
        assert anvil.rpc.call("eth_blockNumber") == before  # nothing was sent


def _brownie(
    *arguments: str, home: Path | None = None, script: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TERM": "dumb", "PYTHONUNBUFFERED": "1"}  # plain lines, in order
    if home:
        environment["TALLYSTICK_HOME"] = str(home)
    with open(script or os.devnull) as stdin:
        return subprocess.run(
            [str(ROOT / ".venv/bin/brownie"), *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment,
            check=False,
        )


def _expect(output: str, lines: list[str]) -> None:
    """Find what each input printed, input by input: the prompt echoes it."""
    at = output.index("Interactive mode enabled")
    for line in lines:
        if line.startswith(">>> "):
            at = output.index(line, at) + len(line)
        else:
            end = output.find(">>> ", at)
            answer = output[at : end if end > 0 else None]
            assert line in answer, f"{line!r} is not in {answer!r}"
