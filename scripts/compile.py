"""Compile the contracts and write what Python needs of them to oracle/chain/abi/.

    python scripts/compile.py           write the generated files
    python scripts/compile.py --check   exit 1 when they are not what the sources give

The compiler is a native solc of the pinned version when there is one (py-solc-x's folder, PATH),
else npm's WebAssembly build through scripts/solc/solc.js. Both give the same bytes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "oracle" / "chain" / "abi"
SOLC = "0.8.30"
SETTINGS: dict[str, Any] = {
    "evmVersion": "prague",
    "optimizer": {"enabled": True, "runs": 1_000},
    # No hash of comments and file names in the code: it changes when the code does.
    "metadata": {"bytecodeHash": "none"},
    "remappings": ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"],
}
OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"]
MAX_CODE_BYTES = 24_576  # EIP-170


def sources() -> dict[str, str]:
    """Return every Solidity file of ours by its path from the root."""
    paths = sorted((ROOT / "contracts").rglob("*.sol"))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def compiler() -> list[str]:
    """Return the command that speaks standard JSON, the native one first."""
    folders = [os.environ.get("SOLCX_BINARY_PATH", ""), str(Path.home() / ".solcx")]
    candidates = [str(Path(folder) / f"solc-v{SOLC}") for folder in folders if folder]
    candidates += [found] if (found := shutil.which("solc")) else []
    for candidate in candidates:
        if Path(candidate).exists() and _version(candidate) == SOLC:
            return [candidate]
    script = ROOT / "scripts" / "solc" / "solc.js"
    return ["node", str(script), str(ROOT / "node_modules" / "solc")]


def _version(command: str) -> str:
    """Return x.y.z of a solc, or "" when it does not run here."""
    try:
        said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    match = re.search(r"Version: (\d+\.\d+\.\d+)", said.stdout)
    return match[1] if match else ""


def compile_contracts() -> dict[str, Any]:
    """Return solc's standard-JSON output; exits with its messages when there are errors."""
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources().items()},
        "settings": SETTINGS | {"outputSelection": {"*": {"*": OUTPUTS}}},
    }
    command = [*compiler(), "--standard-json", "--base-path", str(ROOT)]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, check=True, cwd=ROOT
    )
    output: dict[str, Any] = json.loads(done.stdout)
    messages = output.get("errors", [])
    for message in messages:
        if message.get("sourceLocation", {}).get("file", "").startswith("node_modules/"):
            continue  # OpenZeppelin's own warnings
        print(message["formattedMessage"], file=sys.stderr)
    if any(message["severity"] == "error" for message in messages):
        sys.exit(1)
    return output


def artifacts(output: dict[str, Any]) -> dict[str, str]:
    """Return the generated files: name → text. Mocks other than the token are for tests only."""
    files = {}
    for path, contracts in output["contracts"].items():
        folder = path.removeprefix("contracts/").rpartition("/")[0]
        if not path.startswith("contracts/") or folder in ("base", "libraries"):
            continue
        if folder == "mocks" and path != "contracts/mocks/TestDollar.sol":
            continue
        for name, contract in contracts.items():
            size = len(contract["evm"]["deployedBytecode"]["object"]) // 2
            if size > MAX_CODE_BYTES:
                sys.exit(f"{name}: {size} bytes of code, {MAX_CODE_BYTES} are allowed")
            version = json.loads(contract["metadata"])["compiler"]["version"]
            body = {
                "contract": name,
                "source": path,
                "compiler": {"solc": version, **SETTINGS},
                "abi": contract["abi"],
                "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            }
            files[f"{name}.json"] = json.dumps(body, indent=1) + "\n"
    return files


def main() -> int:
    """Write or check the generated files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when stale")
    check = parser.parse_args().check
    wanted = artifacts(compile_contracts())
    present = {path.name: path.read_text() for path in TARGET.glob("*.json")}
    stale = sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))
    if check:
        if stale:
            print("not current: " + ", ".join(stale) + "; run scripts/compile.py", file=sys.stderr)
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (TARGET / name).write_text(wanted[name])
        else:
            (TARGET / name).unlink()
    print(f"{len(wanted)} contracts, {len(stale)} files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
