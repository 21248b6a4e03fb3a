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
AUDIT_BPS, MIN_LOCK = 500, 10**6  # share of answers computed again; token units
MIN_REPLY, CLOCK = 10, 60  # seconds of a dispute game
CLOSE_DELAY = 60  # seconds between a payer's wish to close a channel and its withdrawal
# of the committee: bond (wei), penalty, stake of a vote, seed delay (blocks), five periods
COMMITTEE = (10**14, 10**6, 5 * 10**6, 2, 120, 60, 60, 60, 60)
SEATS = (20 * 10**6, 5, DAY)  # of its members: least stake, seasoning, delay of leaving
# of rounds for data: deposit, fee, longest phase, least interval, least test rows
DATA = (10 * 10**6, 10**6 // 2, 30 * DAY, 1, 4)
MAX_WEIGHT_BPS = 1_000  # of all credits that one round can get
ROW_ANSWERS = 60  # seconds to show demanded rows
# of valuations: stake, forfeit, seconds to value, of a claim, and to challenge
VALUATION = (50 * 10**6, 5 * 10**6, 3_600, 300, 60)
# of rounds of training: longest phase, and seconds of a turn of a challenge
TRAINING_PERIOD, TRAINING_REPLY = 30 * DAY, 60

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
    "CommitteeSeats": "committee_seats",
    "Committee": "committee",
    "DataCredits": "data_credits",
    "DataRounds": "data_rounds",
    "RowDemands": "row_demands",
    "ValuationVerifier": "valuation_verifier",
    "ValuationGame": "valuation_game",
    "PaymentChannels": "payment_channels",
    "RequestLens": "request_lens",
    "TrainingRounds": "training_rounds",
    "TrainingGame": "training_game",
}


def main():
    """Deploy on the development network; on another, attach. Local names are the console's."""
    from brownie import accounts, network  # noqa: PLC0415

    parts = deploy() if network.show_active() == "development" else attach()
    token, registry, access, operators, market, programs = parts[:6]
    verifier, game, seats, committee, data_credits, data_rounds = parts[6:12]
    row_demands, judge, valuations, channels, lens, training, training_game = parts[12:]
    owner, operator, requester, treasury = (*accounts, *[None] * 4)[:4]  # noqa: RUF059 - names
    del accounts, network, parts
    core = (token, registry, access, operators, market, programs, verifier, game, seats)
    data = (data_credits, data_rounds, row_demands, judge, valuations)
    return *core, committee, *data, channels, lens, training, training_game


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
        CommitteeSeats,
        DataCredits,
        DataRounds,
        DisputeGame,
        InferenceMarket,
        ModelAccess,
        ModelRegistry,
        OperatorRegistry,
        PaymentChannels,
        ProgramRegistry,
        RequestLens,
        RowDemands,
        StepVerifier,
        TestDollar,
        TrainingGame,
        TrainingRounds,
        ValuationGame,
        ValuationVerifier,
        accounts,
    )

    owner, treasury = accounts[0], accounts[3]
    token = TestDollar.deploy({"from": owner})
    programs = ProgramRegistry.deploy({"from": owner})
    verifier = StepVerifier.deploy({"from": owner})
    credits_address = created_address(owner, owner.nonce + 7)
    operators_address = created_address(owner, owner.nonce + 2)
    rules = (credits_address, 1, DAY, AUDIT_BPS, MIN_LOCK, operators_address)
    registry = ModelRegistry.deploy(programs, *rules, {"from": owner})
    market_address = created_address(owner, owner.nonce + 2)
    game_address = created_address(owner, owner.nonce + 3)
    committee_address = created_address(owner, owner.nonce + 5)
    rounds_address = created_address(owner, owner.nonce + 7)
    demands_address = created_address(owner, owner.nonce + 8)
    valuations_address = created_address(owner, owner.nonce + 10)
    channels_address = created_address(owner, owner.nonce + 11)
    access = ModelAccess.deploy(registry, market_address, {"from": owner})
    operators = OperatorRegistry.deploy(token, registry, market_address, 3 * DAY, {"from": owner})
    modules = {
        "exactModule": game_address,
        "committeeModule": committee_address,
        "dataCredits": credits_address,
        "channels": channels_address,
    }
    fixed = config(token, registry, access, operators, treasury, **modules)
    market = InferenceMarket.deploy(fixed, {"from": owner})
    rules = (market, registry, verifier, MIN_REPLY, CLOCK)
    game = DisputeGame.deploy(rules, {"from": owner})
    seats = CommitteeSeats.deploy((market, *SEATS), {"from": owner})
    committee = Committee.deploy((market, seats, *COMMITTEE), {"from": owner})
    minting = (market, rounds_address, ZERO, MAX_WEIGHT_BPS)
    data_credits = DataCredits.deploy(minting, {"from": owner})
    fixed = (data_credits, demands_address, valuations_address, *DATA)
    data_rounds = DataRounds.deploy(fixed, {"from": owner})
    row_demands = RowDemands.deploy(data_rounds, ROW_ANSWERS, {"from": owner})
    judge = ValuationVerifier.deploy(data_rounds, {"from": owner})
    fixed = (data_rounds, judge, *VALUATION, MIN_REPLY, CLOCK)
    valuations = ValuationGame.deploy(fixed, {"from": owner})
    channels = PaymentChannels.deploy((market, CLOSE_DELAY), {"from": owner})
    places = (market, game, committee, data_credits, data_rounds, row_demands, valuations, channels)
    computed = (
        *(market_address, game_address, committee_address, credits_address),
        *(rounds_address, demands_address, valuations_address, channels_address),
    )
    assert tuple(place.address for place in places) == computed
    parts = (token, registry, access, operators, market, programs, verifier, game, seats)
    lens = RequestLens.deploy(market, {"from": owner})
    data = (data_credits, data_rounds, row_demands, judge, valuations)
    game_of_training = created_address(owner, owner.nonce + 1)
    fixed = (market, game_of_training, TRAINING_PERIOD)
    training = TrainingRounds.deploy(fixed, {"from": owner})
    training_game = TrainingGame.deploy((training, TRAINING_REPLY), {"from": owner})
    assert training_game.address == game_of_training
    return *parts, committee, *data, channels, lens, training, training_game


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
        "channels": ZERO,
        "treasury": treasury,
        "protocolBps": 250,
        "minLock": MIN_LOCK,
        "claimForfeit": 100_000,
        "claimPeriod": 30,
        "demandPeriod": 60,
        "maxDisputeAge": DAY,
        "minGasPrice": 0,
    }
    assert changes.keys() <= fields.keys()
    return tuple((fields | changes).values())


def created_address(deployer, nonce):
    """Return where the contract created with this nonce will live."""
    return to_checksum_address(
        keccak(rlp.encode([bytes.fromhex(deployer.address[2:]), nonce]))[12:]
    )
