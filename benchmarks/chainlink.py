"""Measure Chainlink's `Operator` (request + fulfil, steady state) on the chain that we measure on.

The contracts come from npm (`@chainlink/contracts`) into `build/`, are compiled with the compiler
they name, and never enter this repository.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from web3 import HTTPProvider, Web3
from web3.types import TxReceipt

PACKAGES = ("@chainlink/contracts@1.5.0", "@openzeppelin/contracts@4.8.3", "solc@0.8.19")
SOURCES = {
    "Operator": "src/v0.8/operatorforwarder/Operator.sol",
    "LinkToken": "src/v0.8/shared/token/ERC677/LinkToken.sol",
}
# Compiled in process by node: the package's own compiler, its imports from the three packages.
COMPILE = """
const fs = require("fs"), path = require("path"), root = process.argv[1];
const solc = require(path.join(root, "solc"));
const at = (name) => path.join(root, name
  .replace("@openzeppelin/contracts@4.8.3", "@openzeppelin/contracts"));
const find = (name) => ({ contents: fs.readFileSync(at(name), "utf8") });
const input = JSON.parse(fs.readFileSync(0, "utf8"));
for (const name of Object.keys(input.sources))
  input.sources[name] = { content: find(name).contents };
process.stdout.write(solc.compile(JSON.stringify(input), { import: find }));
"""


def measure(rpc_url: str, build: Path) -> dict[str, int]:
    """Return gas of the second request and the second fulfilment (balances and nonces warm).

    The consumer is an account without code, so the callback costs less than with any contract:
    the comparison favours Chainlink.
    """
    contracts = _compile(_install(build))
    w3 = Web3(HTTPProvider(rpc_url))
    consumer, node = list(w3.eth.accounts)[:2]

    def deploy(name: str, *args: Any) -> Any:
        factory = w3.eth.contract(**contracts[name])
        sent = factory.constructor(*args).transact({"from": consumer})
        return w3.eth.contract(
            address=w3.eth.wait_for_transaction_receipt(sent)["contractAddress"],
            abi=contracts[name]["abi"],
        )

    def gas(call: Any, sender: str) -> TxReceipt:
        receipt = w3.eth.wait_for_transaction_receipt(call.transact({"from": sender}))
        assert receipt["status"] == 1
        return receipt

    link = deploy("LinkToken")
    gas(link.functions.grantMintAndBurnRoles(consumer), consumer)
    gas(link.functions.mint(consumer, 10**20), consumer)
    operator = deploy("Operator", link.address, consumer)
    gas(operator.functions.setAuthorizedSenders([node]), consumer)
    selector = Web3.keccak(
        text="operatorRequest(address,uint256,bytes32,bytes4,uint256,uint256,bytes)"
    )
    fees: dict[str, int] = {}
    for nonce in range(3):
        arguments = (consumer, 0, b"\x11" * 32, b"\x22" * 4, nonce, 2, b"\x33" * 64)
        payload = selector[:4] + encode(
            ["address", "uint256", "bytes32", "bytes4", "uint256", "uint256", "bytes"], arguments
        )
        asked = gas(link.functions.transferAndCall(operator.address, 10**17, payload), consumer)
        event = operator.events.OracleRequest().process_log(asked["logs"][-1])["args"]
        answered = gas(
            operator.functions.fulfillOracleRequest2(
                event["requestId"], event["payment"], event["callbackAddr"],
                event["callbackFunctionId"], event["cancelExpiration"],
                event["requestId"] + b"\x44" * 32,
            ),
            node,
        )  # fmt: skip
        fees = {"request": asked["gasUsed"], "fulfil": answered["gasUsed"]}
    return fees | {"pair": fees["request"] + fees["fulfil"]}


def _install(build: Path) -> Path:
    modules = build / "chainlink"
    for package in PACKAGES:
        name = package.rsplit("@", 1)[0]
        target = modules / name
        if target.exists():
            continue
        target.mkdir(parents=True)
        packed = subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", str(target), package],
            check=True, capture_output=True, text=True,
        ).stdout.strip().splitlines()[-1]  # fmt: skip
        subprocess.run(["tar", "xzf", packed, "--strip-components=1"], cwd=target, check=True)
    for dependency in ("command-exists", "follow-redirects", "memorystream", "semver"):
        (modules / dependency).mkdir(exist_ok=True)  # solc's command line wants them, compile() not
    return modules


def _compile(modules: Path) -> dict[str, dict[str, Any]]:
    sources: dict[str, dict[str, Any]] = {
        f"@chainlink/contracts/{path}": {} for path in SOURCES.values()
    }
    request = {
        "language": "Solidity",
        "sources": sources,
        "settings": {
            "optimizer": {"enabled": True, "runs": 1_000_000},
            "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    answer = subprocess.run(
        ["node", "-e", COMPILE, str(modules.resolve())],
        input=json.dumps(request), check=True, capture_output=True, text=True, env=dict(os.environ),
    ).stdout  # fmt: skip
    output = json.loads(answer)
    errors = [e["formattedMessage"] for e in output.get("errors", ()) if e["severity"] == "error"]
    if errors:
        raise RuntimeError("\n".join(errors))
    return {
        name: {
            "abi": (c := output["contracts"][f"@chainlink/contracts/{path}"][name])["abi"],
            "bytecode": c["evm"]["bytecode"]["object"],
        }
        for name, path in SOURCES.items()
    }
