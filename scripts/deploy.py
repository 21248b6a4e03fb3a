"""`brownie run deploy`: every contract on the development network, wired to each other.

On any other network (`--network NAME`) nothing is deployed: the contracts are those of the
addresses file, `network.json` in TALLYSTICK_HOME.

With --interactive (and so in `brownie console`) the names of `main` are those of the console.
Production deployments go through oracle.chain.deploy.
"""

import json
import os
from pathlib import Path

import rlp
from eth_utils import keccak, to_checksum_address

ZERO = "0x" + "00" * 20
DAY = 86_400
MIN_REPLY, CLOCK = 10, 60  # seconds of a dispute game
# of the committee: bond (wei), least seat, penalty, seasoning, seed delay (blocks), four periods
COMMITTEE = (10**15, 20 * 10**6, 10**6, 5, 2, 120, 60, 60, 60)
DATA = (10 * 10**6, 10**6 // 2, 30 * DAY)  # deposit, fee, longest phase of a round
# of valuations: stake, forfeit, seconds to value, of a claim, and to challenge
VALUATION = (50 * 10**6, 5 * 10**6, 3_600, 300, 60)


# What `main` returns, in this order: the contract, and its name in the addresses file
PARTS = {
    "TestDollar": "token",
    "ModelRegistry": "model_registry",
    "ModelAccess": "model_access",
    "OperatorRegistry": "operator_registry",
    "InferenceMarket": "inference_market",
    "ProgramRegistry": "program_registry",
    "StepVerifier": "step_verifier",
    "DisputeGame": "dispute_game",
    "Committee": "committee",
    "DataCredits": "data_credits",
    "ValuationVerifier": "valuation_verifier",
    "ValuationGame": "valuation_game",
}


def main():
    """Deploy on the development network; on another, attach. Local names are the console's."""
    from brownie import accounts, network  # noqa: PLC0415

    parts = deploy() if network.show_active() == "development" else attach()
    token, registry, access, operators, market, programs = parts[:6]
    verifier, game, committee, data_credits, judge, valuations = parts[6:]
    owner, operator, requester, treasury = (*accounts, *[None] * 4)[:4]  # noqa: RUF059 - names
    del accounts, network, parts
    core = (token, registry, access, operators, market, programs, verifier, game, committee)
    return *core, data_credits, judge, valuations


def attach():
    """Return the contracts of the addresses file; sends nothing."""
    import brownie  # noqa: PLC0415

    home = Path(os.environ.get("TALLYSTICK_HOME", "~/.tallystick")).expanduser()
    path = home / "network.json"
    addresses = json.loads(path.read_text())["contracts"] if path.exists() else None
    if not addresses:
        raise SystemExit(f"{path} names no contracts; nothing is deployed unasked")
    if (here := brownie.web3.eth.chain_id) != addresses["chain_id"]:
        raise SystemExit(f"{path} is of chain {addresses['chain_id']}, this network is {here}")
    for name in PARTS.values():
        if not brownie.web3.eth.get_code(addresses[name]):
            raise SystemExit(f"{path}: no code at {name}; the chain was started anew")
    # Not `Part.at`: Brownie would keep the addresses below build/ for chains started later
    from_abi = brownie.Contract.from_abi
    return tuple(
        from_abi(part, addresses[name], getattr(brownie, part).abi, persist=False)
        for part, name in PARTS.items()
    )


def deploy():
    """Deploy with windows of seconds, as the tests and the demo use them."""
    # The project's contracts are Brownie's only while it runs; tests import this file without it
    from brownie import (  # noqa: PLC0415
        Committee,
        DataCredits,
        DisputeGame,
        InferenceMarket,
        ModelAccess,
        ModelRegistry,
        OperatorRegistry,
        ProgramRegistry,
        StepVerifier,
        TestDollar,
        ValuationGame,
        ValuationVerifier,
        accounts,
    )

    owner, treasury = accounts[0], accounts[3]
    token = TestDollar.deploy({"from": owner})
    programs = ProgramRegistry.deploy({"from": owner})
    verifier = StepVerifier.deploy({"from": owner})
    registry = ModelRegistry.deploy(programs, 1, DAY, {"from": owner})
    market_address = created_address(owner, owner.nonce + 2)
    game_address = created_address(owner, owner.nonce + 3)
    committee_address = created_address(owner, owner.nonce + 4)
    credits_address = created_address(owner, owner.nonce + 5)
    valuations_address = created_address(owner, owner.nonce + 7)
    access = ModelAccess.deploy(registry, market_address, {"from": owner})
    operators = OperatorRegistry.deploy(token, registry, market_address, 3 * DAY, {"from": owner})
    modules = {
        "exactModule": game_address,
        "committeeModule": committee_address,
        "dataCredits": credits_address,
    }
    fixed = config(token, registry, access, operators, treasury, **modules)
    market = InferenceMarket.deploy(fixed, {"from": owner})
    rules = (market, registry, verifier, MIN_REPLY, CLOCK)
    game = DisputeGame.deploy(rules, {"from": owner})
    committee = Committee.deploy((market, *COMMITTEE), {"from": owner})
    data_credits = DataCredits.deploy((market, valuations_address, *DATA), {"from": owner})
    judge = ValuationVerifier.deploy(data_credits, {"from": owner})
    fixed = (data_credits, judge, *VALUATION, MIN_REPLY, CLOCK)
    valuations = ValuationGame.deploy(fixed, {"from": owner})
    places = (market, game, committee, data_credits, valuations)
    computed = (
        *(market_address, game_address, committee_address),
        *(credits_address, valuations_address),
    )
    assert tuple(place.address for place in places) == computed
    parts = (token, registry, access, operators, market, programs, verifier, game, committee)
    return *parts, data_credits, judge, valuations


def config(token, registry, access, operators, treasury, **changes):
    """Return MarketConfig's fields in their order (IInferenceMarket.sol)."""
    fields = {
        "token": token,
        "registry": registry,
        "access": access,
        "operators": operators,
        "dataCredits": ZERO,
        "exactModule": ZERO,
        "committeeModule": ZERO,
        "treasury": treasury,
        "protocolBps": 250,
        "minLock": 1_000_000,
        "claimForfeit": 100_000,
        "claimPeriod": 30,
        "demandPeriod": 60,
        "maxDisputeAge": DAY,
    }
    assert changes.keys() <= fields.keys()
    return tuple((fields | changes).values())


def created_address(deployer, nonce):
    """Return where the contract created with this nonce will live."""
    return to_checksum_address(
        keccak(rlp.encode([bytes.fromhex(deployer.address[2:]), nonce]))[12:]
    )
