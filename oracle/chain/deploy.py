"""Puts all contracts on a chain, wired to each other. Who deploys has no power afterwards."""

from dataclasses import dataclass
from typing import Any

from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from oracle.chain import artifacts
from oracle.chain.bindings.committee import Committee, CommitteeConfig
from oracle.chain.bindings.committee_seats import CommitteeSeats, SeatsConfig
from oracle.chain.bindings.data_credits import CreditsConfig, DataCredits
from oracle.chain.bindings.data_rounds import DataConfig, DataRounds
from oracle.chain.bindings.dispute_game import DisputeGame, GameConfig
from oracle.chain.bindings.inference_market import InferenceMarket, MarketConfig
from oracle.chain.bindings.payment_channels import ChannelsConfig, PaymentChannels
from oracle.chain.bindings.training_game import TrainingGame, TrainingGameConfig
from oracle.chain.bindings.training_rounds import TrainingConfig, TrainingRounds
from oracle.chain.bindings.valuation_game import ValuationConfig, ValuationGame
from oracle.chain.codec import address, encode
from oracle.chain.rpc import Node, RpcError, hexbytes, quantity
from oracle.chain.wallet import Wallet
from oracle.errors import ConfigInvalid, PermanentError
from oracle.types import ZERO_ADDRESS, Address, Amount, Contracts, Wei

_DOLLAR = 10**6
_HOUR = 3600
_DAY = 24 * _HOUR
_GAME_TURNS = 28  # of the longest game, and two to spare: DisputeGame's constructor asks the same
_ROUNDS = 5  # of votes about a float answer, appeals included


class DeploymentFailed(PermanentError):
    """A contract is not where, or not what, it should be."""


@dataclass(frozen=True, slots=True)
class DeployConfig:
    """What is fixed at deployment. The defaults are for development: short windows.

    Attributes:
        token: payment token (ERC-20, 6 decimals); a TestDollar is deployed when left out.
        treasury: receives the protocol's share; the deployer when left out.
        protocol_bps: the protocol's share of every fee, in basis points.
        min_challenge_window, max_challenge_window: seconds; what owners may choose between.
        min_lock: stake locked for one delivery at the least.
        claim_forfeit: what a lapsed claim pays to the treasury; at most min_lock.
        claim_period: seconds that a claim is exclusive. Longer than the slowest answer.
        demand_period: seconds to post a demanded output.
        max_dispute_age: seconds after the challenge window until anyone may annul open disputes.
        unbonding_delay: seconds between the start and the end of unstaking; longer than
            max_challenge_window + max_dispute_age + demand_period, so that no stake leaves
            before its answers are safe.
        min_reply: seconds that every turn of a dispute game lasts at the least.
        clock: seconds of thinking that each side of a game has beyond that. A game ends within
            2 · clock + 26 · min_reply, which max_dispute_age exceeds by at least two turns.
        audit_bps: share of the answers, in basis points, that are taken to be computed again. Terms
            with which lying pays at that share are refused (docs/economics.md); 0 = none are.
        min_gas_price: wei that bonds reckon with for a unit of gas at the least. On chains whose
            base fee is not the cost, what a unit of gas costs there.
        vote_bond: what each vote that is called about a float answer costs beyond gas, in wei.
        min_seat: stake of a committee's member at the least; 20 penalties and 4 votes or more.
        penalty: what silence and a wrong activation cost a voter.
        vote_stake: what a vote binds, and loses when the last finding contradicts it.
        seasoning: seconds until a change of a member's stake counts.
        seed_delay: blocks between a challenge and the block that draws its committee.
        draw_period, commit_period, reveal_period, appeal_period, tally_period: seconds of a round
            of votes; max_dispute_age exceeds them, all rounds taken together.
        data_deposit: what a data set's owner gets back when it was worth something.
        data_fee: what a data set costs; part of the valuator's pay.
        max_period: seconds that a phase of a round for data or of training may last at the most.
        predecessor: DataCredits of the deployment that models may come from, with their credits.
        max_weight_bps: part of all credits of a model that one round can get at the most.
        min_test_rows: rows of every round's test set.
        min_interval: seconds from the last submission to a settled round to the next opening.
        row_answer_period: seconds to show demanded rows of a data set.
        valuation_stake: locked behind each valuation; valuation_forfeit is lost of it by who
            takes a round and publishes nothing, and twice as much by the next who does.
        valuing_period: seconds after which a round that nobody values may be voided.
        valuation_claim_period: seconds that a valuator has for one round.
        valuation_window: seconds in which a valuation can be challenged. min_reply and clock
            hold for its challenges, too.
        close_delay: seconds between a payer's wish to close a channel and its withdrawal: the
            operator claims its last voucher in them.
        training_reply: seconds that every turn of a challenge about a round of training lasts.
    """

    token: Address = ZERO_ADDRESS
    treasury: Address = ZERO_ADDRESS
    protocol_bps: int = 250
    min_challenge_window: int = 1
    max_challenge_window: int = _HOUR
    min_lock: Amount = Amount(_DOLLAR)  # noqa: RUF009 -- a number with a name
    claim_forfeit: Amount = Amount(_DOLLAR // 10)  # noqa: RUF009
    claim_period: int = 30
    demand_period: int = 60
    max_dispute_age: int = _HOUR
    unbonding_delay: int = 3 * _HOUR
    min_reply: int = 10
    clock: int = 60
    audit_bps: int = 500
    min_gas_price: Wei = Wei(0)  # noqa: RUF009
    vote_bond: Wei = Wei(10**14)  # noqa: RUF009
    min_seat: Amount = Amount(20 * _DOLLAR)  # noqa: RUF009
    penalty: Amount = Amount(_DOLLAR)  # noqa: RUF009
    vote_stake: Amount = Amount(5 * _DOLLAR)  # noqa: RUF009
    seasoning: int = 5
    seed_delay: int = 2
    draw_period: int = 120
    commit_period: int = 60
    reveal_period: int = 60
    appeal_period: int = 60
    tally_period: int = 60
    data_deposit: Amount = Amount(10 * _DOLLAR)  # noqa: RUF009
    data_fee: Amount = Amount(_DOLLAR // 2)  # noqa: RUF009
    max_period: int = 30 * _DAY
    predecessor: Address = ZERO_ADDRESS
    max_weight_bps: int = 1_000
    min_test_rows: int = 4
    min_interval: int = 1
    row_answer_period: int = 60
    valuation_stake: Amount = Amount(50 * _DOLLAR)  # noqa: RUF009
    valuation_forfeit: Amount = Amount(5 * _DOLLAR)  # noqa: RUF009
    valuing_period: int = _HOUR
    valuation_claim_period: int = 300
    valuation_window: int = 60
    close_delay: int = 60
    training_reply: int = 60

    def __post_init__(self) -> None:
        longest = 2 * self.clock + _GAME_TURNS * self.min_reply
        if self.max_dispute_age < longest:
            raise ConfigInvalid(
                f"max_dispute_age is {self.max_dispute_age} s; a dispute game needs {longest} s",
                hint="raise it, or lower clock and min_reply",
            )
        voting = self.longest_committee + self.tally_period
        if self.max_dispute_age < voting:
            raise ConfigInvalid(
                f"max_dispute_age is {self.max_dispute_age} s; a committee needs {voting} s",
                hint="raise it, or lower the periods of the committee",
            )

    @property
    def longest_committee(self) -> int:
        """Seconds that a dispute before the committee lasts at the most."""
        voting = self.draw_period + self.commit_period + self.reveal_period
        return _ROUNDS * (voting + self.appeal_period + self.tally_period)


_DEVELOPMENT = DeployConfig()
# Where money is at stake: an operator has ten minutes for its answer to get into a block, however
# full blocks are, and six hours of thinking; windows are hours and days.
PRODUCTION = DeployConfig(
    min_challenge_window=7 * _HOUR,
    max_challenge_window=7 * _DAY,
    claim_period=600,
    demand_period=6 * _HOUR,
    max_dispute_age=7 * _DAY,
    unbonding_delay=21 * _DAY,
    min_reply=600,
    clock=6 * _HOUR,
    min_gas_price=Wei(10**9),
    seasoning=_DAY,
    draw_period=2 * _HOUR,
    commit_period=2 * _HOUR,
    reveal_period=2 * _HOUR,
    appeal_period=6 * _HOUR,
    tally_period=2 * _HOUR,
    min_interval=_DAY,
    row_answer_period=6 * _HOUR,
    valuing_period=2 * _DAY,
    valuation_claim_period=6 * _HOUR,
    valuation_window=_DAY,
    close_delay=_DAY,
    training_reply=6 * _HOUR,
)


def deploy(wallet: Wallet, config: DeployConfig = _DEVELOPMENT) -> Contracts:
    """Deploy everything and check it.

    The market, its registries and the dispute game name each other for ever, so their addresses
    are computed before they exist: keccak(rlp([deployer, nonce])). Nothing else may be sent from
    this account meanwhile.

    Raises:
        DeploymentFailed: the account was used meanwhile, or a contract is not as it should be.
        ContractError: a constructor refused the configuration.
    """
    rpc = wallet.rpc
    chain_id = quantity(rpc.call("eth_chainId"))
    deployed_at = quantity(rpc.call("eth_blockNumber"))
    token = config.token
    if token == ZERO_ADDRESS:
        token = _create(wallet, "TestDollar")
    elif not hexbytes(rpc.call("eth_getCode", token, "latest")):
        raise ConfigInvalid(f"there is no token at {token}")
    programs, verifier = _create(wallet, "ProgramRegistry"), _create(wallet, "StepVerifier")
    nonce = wallet.next_nonce()
    registry, access, operators, market, game, seats, committee, *data = (
        created_address(wallet.address, nonce + i) for i in range(15)
    )
    credits, rounds, demands, judge, valuations, channels, training, training_game = data
    window = (config.min_challenge_window, config.max_challenge_window)
    honesty = (config.audit_bps, config.min_lock)
    _create(wallet, "ModelRegistry", programs, credits, *window, *honesty, operators, at=registry)
    _create(wallet, "ModelAccess", registry, market, at=access)
    stake = (token, registry, market, config.unbonding_delay)
    _create(wallet, "OperatorRegistry", *stake, at=operators)
    terms = MarketConfig(
        token=token,
        registry=registry,
        access=access,
        operators=operators,
        data_credits=credits,
        exact_module=game,
        committee_module=committee,
        channels=channels,
        treasury=wallet.address if config.treasury == ZERO_ADDRESS else config.treasury,
        protocol_bps=config.protocol_bps,
        min_lock=config.min_lock,
        claim_forfeit=config.claim_forfeit,
        claim_period=config.claim_period,
        demand_period=config.demand_period,
        max_dispute_age=config.max_dispute_age,
        min_gas_price=config.min_gas_price,
    )
    _create(wallet, "InferenceMarket", terms, at=market)
    if (found := InferenceMarket(rpc, market).config()) != terms:
        raise DeploymentFailed(f"the market at {market} says {found}, not {terms}")
    rules = GameConfig(market, registry, verifier, config.min_reply, config.clock)
    _create(wallet, "DisputeGame", rules, at=game)
    _create(wallet, "CommitteeSeats", _seats(config, market), at=seats)
    _create(wallet, "Committee", _committee(config, market, seats), at=committee)
    minting = CreditsConfig(market, rounds, config.predecessor, config.max_weight_bps)
    _create(wallet, "DataCredits", minting, at=credits)
    _create(wallet, "DataRounds", _data(config, credits, demands, valuations), at=rounds)
    _create(wallet, "RowDemands", rounds, config.row_answer_period, at=demands)
    _create(wallet, "ValuationVerifier", rounds, at=judge)
    _create(wallet, "ValuationGame", _valuation(config, rounds, judge), at=valuations)
    _create(wallet, "PaymentChannels", ChannelsConfig(market, config.close_delay), at=channels)
    terms_of_training = TrainingConfig(market, training_game, config.max_period)
    _create(wallet, "TrainingRounds", terms_of_training, at=training)
    game_of_training = TrainingGameConfig(training, config.training_reply)
    _create(wallet, "TrainingGame", game_of_training, at=training_game)
    contracts = Contracts(
        chain_id=chain_id,
        token=token,
        model_registry=registry,
        model_access=access,
        operator_registry=operators,
        inference_market=market,
        payment_channels=channels,
        request_lens=_create(wallet, "RequestLens", market),
        program_registry=programs,
        step_verifier=verifier,
        dispute_game=game,
        committee=committee,
        committee_seats=seats,
        data_credits=credits,
        data_rounds=rounds,
        row_demands=demands,
        valuation_verifier=judge,
        valuation_game=valuations,
        training_rounds=training,
        training_game=training_game,
        deployed_at=deployed_at,
    )
    verify(wallet.rpc, contracts)
    return contracts


def created_address(deployer: Address, nonce: int) -> Address:
    """Return where a contract created with this nonce lives (yellow paper, section 7)."""
    import rlp  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; only who deploys needs it

    return address(keccak(rlp.encode([bytes.fromhex(deployer[2:]), nonce]))[12:])


def addresses(contracts: Contracts) -> dict[str, Address]:
    """Return where each contract is, by its name."""
    return {
        "TestDollar": contracts.token,
        "ModelRegistry": contracts.model_registry,
        "ModelAccess": contracts.model_access,
        "OperatorRegistry": contracts.operator_registry,
        "InferenceMarket": contracts.inference_market,
        "PaymentChannels": contracts.payment_channels,
        "RequestLens": contracts.request_lens,
        "ProgramRegistry": contracts.program_registry,
        "StepVerifier": contracts.step_verifier,
        "DisputeGame": contracts.dispute_game,
        "Committee": contracts.committee,
        "CommitteeSeats": contracts.committee_seats,
        "DataCredits": contracts.data_credits,
        "DataRounds": contracts.data_rounds,
        "RowDemands": contracts.row_demands,
        "ValuationVerifier": contracts.valuation_verifier,
        "ValuationGame": contracts.valuation_game,
        "TrainingRounds": contracts.training_rounds,
        "TrainingGame": contracts.training_game,
    }


def verify(rpc: Node, contracts: Contracts) -> None:
    """Check that the contracts are there and name each other.

    Raises:
        DeploymentFailed: they do not.
    """
    places = addresses(contracts)
    codes = rpc.batch([("eth_getCode", place, "latest") for place in places.values()])
    for (name, place), code in zip(places.items(), codes, strict=True):
        if isinstance(code, RpcError):
            raise code
        if not hexbytes(code):
            raise DeploymentFailed(
                f"there is no {name} at {place}", hint="was the chain started anew? deploy again"
            )
    config = InferenceMarket(rpc, contracts.inference_market).config()
    named = (config.token, config.registry, config.access, config.operators)
    modules = (
        *(config.exact_module, config.committee_module),
        *(config.data_credits, config.channels),
    )
    wanted = (
        *(contracts.dispute_game, contracts.committee),
        *(contracts.data_credits, contracts.payment_channels),
    )
    base = (
        contracts.token,
        contracts.model_registry,
        contracts.model_access,
        contracts.operator_registry,
    )
    if named != base or modules != wanted:
        raise DeploymentFailed(f"the market at {contracts.inference_market} names {config}")
    game = DisputeGame(rpc, contracts.dispute_game).config()
    if (game.market, game.verifier) != (contracts.inference_market, contracts.step_verifier):
        raise DeploymentFailed(f"the dispute game at {contracts.dispute_game} names {game}")
    channels = PaymentChannels(rpc, contracts.payment_channels).config()
    if channels.market != contracts.inference_market:
        raise DeploymentFailed(f"the channels at {contracts.payment_channels} name {channels}")
    committee = Committee(rpc, contracts.committee).config()
    if (committee.market, committee.seats) != (
        contracts.inference_market,
        contracts.committee_seats,
    ):
        raise DeploymentFailed(f"the committee at {contracts.committee} names {committee}")
    if CommitteeSeats(rpc, contracts.committee_seats).committee() != contracts.committee:
        raise DeploymentFailed(f"the seats at {contracts.committee_seats} are of another committee")
    minting = DataCredits(rpc, contracts.data_credits).config()
    if (minting.market, minting.rounds) != (contracts.inference_market, contracts.data_rounds):
        raise DeploymentFailed(f"the data credits at {contracts.data_credits} name {minting}")
    data = DataRounds(rpc, contracts.data_rounds).config()
    beside = (contracts.data_credits, contracts.row_demands, contracts.valuation_game)
    if (data.credits, data.demands, data.game) != beside:
        raise DeploymentFailed(f"the rounds for data at {contracts.data_rounds} name {data}")
    values = ValuationGame(rpc, contracts.valuation_game).config()
    if (values.rounds, values.verifier) != (contracts.data_rounds, contracts.valuation_verifier):
        raise DeploymentFailed(f"the valuation game at {contracts.valuation_game} names {values}")
    _verify_training(rpc, contracts)


def _verify_training(rpc: Node, contracts: Contracts) -> None:
    training = TrainingRounds(rpc, contracts.training_rounds).config()
    if (training.market, training.game) != (contracts.inference_market, contracts.training_game):
        raise DeploymentFailed(
            f"the rounds of training at {contracts.training_rounds} name {training}"
        )
    judging = TrainingGame(rpc, contracts.training_game).config()
    if judging.rounds != contracts.training_rounds:
        raise DeploymentFailed(
            f"the game about training at {contracts.training_game} names {judging}"
        )


def _seats(config: DeployConfig, market: Address) -> SeatsConfig:
    return SeatsConfig(
        market=market,
        min_stake=config.min_seat,
        seasoning=config.seasoning,
        leave_delay=config.seasoning + 2 * config.longest_committee,
    )


def _committee(config: DeployConfig, market: Address, seats: Address) -> CommitteeConfig:
    return CommitteeConfig(
        market=market,
        seats=seats,
        bond=config.vote_bond,
        penalty=config.penalty,
        vote_stake=config.vote_stake,
        seed_delay=config.seed_delay,
        draw_period=config.draw_period,
        commit_period=config.commit_period,
        reveal_period=config.reveal_period,
        appeal_period=config.appeal_period,
        tally_period=config.tally_period,
    )


def _data(config: DeployConfig, credits: Address, demands: Address, game: Address) -> DataConfig:
    return DataConfig(
        credits=credits,
        demands=demands,
        game=game,
        deposit=config.data_deposit,
        fee=config.data_fee,
        max_period=config.max_period,
        min_interval=config.min_interval,
        min_test_rows=config.min_test_rows,
    )


def _valuation(config: DeployConfig, rounds: Address, verifier: Address) -> ValuationConfig:
    return ValuationConfig(
        rounds=rounds,
        verifier=verifier,
        stake=config.valuation_stake,
        forfeit=config.valuation_forfeit,
        valuing_period=config.valuing_period,
        claim_period=config.valuation_claim_period,
        challenge_window=config.valuation_window,
        min_reply=config.min_reply,
        clock=config.clock,
    )


def _create(wallet: Wallet, name: str, *arguments: Any, at: Address | None = None) -> Address:
    artifact = artifacts.load(name)
    inputs: list[Any] = next(
        (item["inputs"] for item in artifact.abi if item["type"] == "constructor"), []
    )
    encoded = encode([collapse_if_tuple(i) for i in inputs], arguments)
    receipt = wallet.create(artifact.bytecode + encoded)
    if receipt.contract is None or at not in (None, receipt.contract):
        raise DeploymentFailed(
            f"{name} was created at {receipt.contract}, not at {at}",
            hint="was something else sent from this account meanwhile? deploy again",
        )
    return receipt.contract
