"""Compile the contracts; write oracle/chain/abi/ and the Python of oracle/chain/bindings/.

    python scripts/compile.py           write the generated files
    python scripts/compile.py --check   exit 1 when they are not what the sources give

py-solc-x runs the compiler: a native solc of the pinned version when there is one (~/.solcx,
PATH), else npm's WebAssembly build, which scripts/solc/install.sh puts under solcx's name into
.solcx. Both give the same bytes.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import bindings
import solcx
from solcx.exceptions import SolcError

from oracle.chain.codec import NAMES

ROOT = Path(__file__).resolve().parent.parent
CHAIN = ROOT / "oracle" / "chain"
GENERATED = {"abi": "*.json", "bindings": "*.py"}  # folder of CHAIN → what in it is ours
SOLC = "0.8.30"
SETTINGS: dict[str, Any] = {
    "evmVersion": "prague",
    "optimizer": {"enabled": True, "runs": 800},
    # No hash of comments and file names in the code: it changes when the code does.
    "metadata": {"bytecodeHash": "none"},
    "remappings": ["@openzeppelin/contracts=node_modules/@openzeppelin/contracts"],
}
OUTPUTS = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"]
NATSPEC = ["devdoc", "userdoc"]
MAX_CODE_BYTES = 24_576  # EIP-170
SPARE_BYTES = 2_000  # of that, for mends: a live contract cannot be split any more


def sources() -> dict[str, str]:
    """Return every Solidity file of ours by its path from the root."""
    paths = sorted((ROOT / "contracts").rglob("*.sol"))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def compiler() -> Path:
    """Return the solc to run, a native one first."""
    name = f"solc-v{SOLC}"
    found = [Path.home() / ".solcx" / name, shutil.which("solc"), ROOT / ".solcx" / name]
    for path in [Path(one) for one in found if one]:
        if path.exists() and _runs(path):
            return path
    sys.exit(f"no solc {SOLC}: run scripts/solc/install.sh")


def _runs(solc: Path) -> bool:
    """Tell whether a solc runs here and is of the pinned version."""
    try:
        return bool(str(solcx.wrapper.get_solc_version(solc)) == SOLC)
    except (OSError, SolcError):
        return False


def compile_contracts() -> dict[str, Any]:
    """Return solc's standard-JSON output; exits with its messages when there are errors."""
    outputs = {"*": {"*": [*OUTPUTS, *NATSPEC], "": ["ast"]}}
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources().items()},
        "settings": SETTINGS | {"outputSelection": outputs},
    }
    try:
        output: dict[str, Any] = solcx.compile_standard(
            request, solc_binary=compiler(), base_path=ROOT
        )
    except SolcError as error:
        sys.exit(error.message)
    for message in output.get("errors", []):
        if not message.get("sourceLocation", {}).get("file", "").startswith("node_modules/"):
            print(message["formattedMessage"], file=sys.stderr)  # not OpenZeppelin's warnings
    return output


def artifacts(output: dict[str, Any]) -> dict[str, str]:
    """Return abi/: name → text. Mocks other than the token are for tests only."""
    files = {}
    for path, contracts in output["contracts"].items():
        folder = path.removeprefix("contracts/").rpartition("/")[0]
        if not path.startswith("contracts/") or folder in ("base", "libraries"):
            continue
        if folder == "mocks" and path != "contracts/mocks/TestDollar.sol":
            continue
        for name, contract in contracts.items():
            size = len(contract["evm"]["deployedBytecode"]["object"]) // 2
            most = MAX_CODE_BYTES - SPARE_BYTES
            if size > most:
                sys.exit(f"{name}: {size} bytes of code, {most} are allowed")
            version = json.loads(contract["metadata"])["compiler"]["version"]
            body = {
                "contract": name,
                "source": path,
                "compiler": {"solc": version, **SETTINGS},
                "abi": contract["abi"],
                "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            }
            files[f"abi/{name}.json"] = json.dumps(body, indent=1) + "\n"
    return files


def modules(output: dict[str, Any]) -> dict[str, str]:
    """Return bindings/: name → text."""
    found = []
    for name in NAMES:
        path = f"contracts/{'mocks/' if name == 'TestDollar' else ''}{name}.sol"
        said = output["contracts"][path][name]
        found.append(bindings.Source(name, path, said["abi"], said["devdoc"], said["userdoc"]))
    trees = {path: source["ast"] for path, source in output["sources"].items()}
    written = bindings.write_all(found, bindings.definitions(trees, sources()))
    return {f"bindings/{name}": text for name, text in written.items()}


def main() -> int:
    """Write or check the generated files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when stale")
    check = parser.parse_args().check
    output = compile_contracts()
    wanted = artifacts(output) | modules(output)
    present = {
        path.relative_to(CHAIN).as_posix(): path.read_text()
        for folder, pattern in GENERATED.items()
        for path in (CHAIN / folder).glob(pattern)
    }
    stale = sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))
    if check:
        if stale:
            print("not current: " + ", ".join(stale) + "; run scripts/compile.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path = CHAIN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in wanted:
            path.write_text(wanted[name])
        else:
            path.unlink()
    print(f"{len(NAMES)} contracts, {len(wanted)} files, {len(stale)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
