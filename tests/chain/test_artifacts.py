"""Every contract has an ABI here, and Brownie compiles with the same settings.

That the files are what the sources give is `scripts/compile.py --check`, in `make lint`.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

from oracle.chain import artifacts
from oracle.errors import NotFound

ROOT = Path(__file__).parents[2]


def test_load__no_such_contract__says_what_to_do() -> None:
    with pytest.raises(NotFound, match="Nonsense"):
        artifacts.load("Nonsense")


def test_names__every_contract__has_an_abi() -> None:
    sources = [*ROOT.glob("contracts/*.sol"), *ROOT.glob("contracts/interfaces/*.sol")]
    assert set(artifacts.names()) == {path.stem for path in sources} | {"TestDollar"}
    assert all(artifacts.load(name).abi for name in artifacts.names())


def test_brownie_config__compiler__is_that_of_the_artifacts() -> None:
    config = yaml.safe_load((ROOT / "brownie-config.yaml").read_text())["compiler"]
    compiler = json.loads((ROOT / "oracle/chain/abi/InferenceMarket.json").read_text())["compiler"]
    assert config["evm_version"] == compiler["evmVersion"]
    assert config["solc"]["optimizer"] == compiler["optimizer"]
    assert config["solc"]["remappings"] == compiler["remappings"]
    assert compiler["solc"].startswith(config["solc"]["version"])
    package = json.loads((ROOT / "package.json").read_text())
    pins = package.get("dependencies", {}) | package["devDependencies"]
    assert pins["solc"] == config["solc"]["version"]


def test_pragma__every_source__names_the_pinned_compiler() -> None:
    for path in ROOT.glob("contracts/**/*.sol"):
        assert re.search(r"^pragma solidity 0\.8\.30;$", path.read_text(), re.MULTILINE), path
