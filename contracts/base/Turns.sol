// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IDisputeGame, Turn, GameConfig, Challenge} from "../interfaces/IDisputeGame.sol";
import {IInferenceMarket, MarketConfig, Request, Delivery, Verdict} from "../interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Challengers} from "../libraries/Challengers.sol";
import {Clock} from "../libraries/Clock.sol";
import {RequestFields} from "../libraries/RequestFields.sol";
import {RequestState} from "../libraries/RequestState.sol";

/// @title The frame of every game: who may move until when, how it ends, and where the bonds go.
/// @dev Knows nothing of programs and proofs. Holds the open challenges' bonds and what accounts can
/// withdraw, and not a wei more.
abstract contract Turns is IDisputeGame {
    using Challengers for mapping(address challenger => Challenge);
    using RequestFields for Request;
    using SafeCast for uint256;

    /// @dev Gas of the longest game about a program of MiniLM's size, from challenge to conviction.
    uint256 private constant GAME_GAS = 1_200_000;
    uint256 private constant MAX_DEMANDS = 12;
    uint256 private constant MAX_OPEN = 32; // challenges of a request; the bond doubles with each
    /// @dev Turns of the longest game: the first, and two for each demand and the trace; and two more,
    /// so that a conviction by silence gets into a block before the market may annul.
    uint256 private constant MAX_TURNS = 26 + 2;
    address private constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;

    /// @dev What all challenges of a request share.
    struct Case {
        bytes32 traceRoot;
        address first; // oldest open challenger; 0 = none
        uint40 committedAt; // the trace, in unix seconds; 0 = not yet
        uint16 operators; // of the program; known with the trace
        uint16 open; // challenges that did not fail
        uint128 share; // token units of the bounty that each of several open challenges gets
    }

    IInferenceMarket internal immutable MARKET;
    IModelRegistry internal immutable REGISTRY;
    address internal immutable VERIFIER;
    uint256 internal immutable MIN_REPLY;
    uint256 internal immutable CLOCK;
    uint256 private immutable MIN_GAS_PRICE;

    mapping(bytes32 requestId => Case) internal _cases;
    mapping(bytes32 requestId => mapping(address challenger => Challenge)) private _challenges;
    mapping(address account => uint256) private _bonds;

    constructor(GameConfig memory config_) {
        MARKET = IInferenceMarket(config_.market);
        REGISTRY = IModelRegistry(config_.registry);
        VERIFIER = config_.verifier;
        MIN_REPLY = config_.minReply;
        CLOCK = config_.clock;

        MarketConfig memory market = MARKET.config();
        MIN_GAS_PRICE = market.minGasPrice;
        if (market.exactModule != address(this)) revert ConfigInvalid("market");
        if (market.registry != config_.registry) revert ConfigInvalid("registry");
        if (config_.verifier.code.length == 0) revert ConfigInvalid("verifier");
        if (config_.minReply == 0) revert ConfigInvalid("minReply");
        if (market.maxDisputeAge < 2 * CLOCK + MAX_TURNS * MIN_REPLY) revert ConfigInvalid("maxDisputeAge");
    }

    // ── Begin: the challenger ───────────────────────────────────────────────────────────────────

    /// @inheritdoc IDisputeGame
    function challenge(Request calldata request, Delivery calldata delivery, bytes32 witness) external payable {
        bytes32 requestId = RequestState.idAt(address(MARKET), request);
        Case storage case_ = _cases[requestId];
        uint256 needed = _bondAfter(case_.open);
        if (msg.value < needed) revert BondTooLow(msg.value, needed);
        if (case_.open == MAX_OPEN) revert ChallengesExhausted(requestId, MAX_OPEN);
        Challenge storage game = _challenges[requestId][msg.sender];
        if (game.turn != Turn.None) revert ChallengeExists(requestId, msg.sender);
        bool needsTrace = witness == 0 && case_.committedAt == 0;
        uint256 deadline = block.timestamp + Clock.turn(CLOCK, MIN_REPLY);
        game.turn = needsTrace ? Turn.Trace : Turn.Challenger;
        game.deadline = uint40(deadline);
        game.challengerClock = uint32(CLOCK);
        game.operatorClock = uint32(CLOCK);
        game.witnessBlock = witness == 0 ? 0 : uint40(block.number);
        game.bond = msg.value.toUint96();
        game.witness = witness;
        case_.first = _challenges[requestId].join(case_.first, msg.sender);
        case_.open += 1;
        emit Challenged(requestId, msg.sender, witness, msg.value, deadline);
        MARKET.openDispute(request, delivery);
    }

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDisputeGame
    function convictSilent(Request calldata request, Delivery calldata delivery, address challenger) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        Challenge memory game = _requireChallenge(requestId, challenger);
        if (game.turn == Turn.Challenger) revert TurnInvalid(requestId, challenger, game.turn);
        if (block.timestamp < game.deadline) revert TurnOpen(requestId, game.deadline);
        emit SilenceProven(requestId, challenger);
        _convict(requestId, request, delivery, Verdict.Withheld, challenger);
    }

    /// @inheritdoc IDisputeGame
    function lapse(Request calldata request, Delivery calldata delivery, address challenger) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        Challenge memory game = _requireChallenge(requestId, challenger);
        if (game.turn != Turn.Challenger) revert TurnInvalid(requestId, challenger, game.turn);
        if (block.timestamp < game.deadline) revert TurnOpen(requestId, game.deadline);
        _fail(requestId, request, delivery, challenger);
    }

    /// @inheritdoc IDisputeGame
    function releaseBond(bytes32 requestId, address challenger) external {
        _requireChallenge(requestId, challenger);
        // The market counts this challenge until a verdict or annulment ends the request for ever.
        if (MARKET.openDisputesOf(requestId) != 0) revert RequestLive(requestId);
        _release(requestId, challenger);
    }

    /// @inheritdoc IDisputeGame
    function withdrawBond() external {
        uint256 amount = _bonds[msg.sender];
        if (amount == 0) revert AmountZero();
        _bonds[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDisputeGame
    function config() external view returns (GameConfig memory) {
        return
            GameConfig({
                market: address(MARKET),
                registry: address(REGISTRY),
                verifier: VERIFIER,
                minReply: uint32(MIN_REPLY),
                clock: uint32(CLOCK)
            });
    }

    /// @inheritdoc IDisputeGame
    function challengeOf(bytes32 requestId, address challenger) external view returns (Challenge memory) {
        return _challengeOf(requestId, challenger);
    }

    /// @inheritdoc IDisputeGame
    function traceOf(bytes32 requestId) external view returns (bytes32 root, uint256 committedAt) {
        Case storage case_ = _cases[requestId];
        return (case_.traceRoot, case_.committedAt);
    }

    /// @inheritdoc IDisputeGame
    function firstChallengerOf(bytes32 requestId) external view returns (address) {
        return _cases[requestId].first;
    }

    /// @inheritdoc IDisputeGame
    function bondOf(address account) external view returns (uint256) {
        return _bonds[account];
    }

    /// @inheritdoc IDisputeGame
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    /// @inheritdoc IDisputeGame
    function bondNeeded(bytes32 requestId) external view returns (uint256) {
        return _bondAfter(_cases[requestId].open);
    }

    // ── Turns ───────────────────────────────────────────────────────────────────────────────────

    /// @dev A trace that came in time answered every challenge that waited for it.
    function _challengeOf(bytes32 requestId, address challenger) internal view returns (Challenge memory game) {
        game = _challenges[requestId][challenger];
        if (game.turn != Turn.Trace) return game;
        uint256 committedAt = _cases[requestId].committedAt;
        if (committedAt != 0 && committedAt < game.deadline) _turnToChallenger(game, committedAt);
    }

    function _turnToChallenger(Challenge memory game, uint256 time) internal view {
        game.operatorClock = uint32(Clock.spend(game.operatorClock, MIN_REPLY, game.deadline, time));
        game.deadline = uint40(time + Clock.turn(game.challengerClock, MIN_REPLY));
        game.turn = Turn.Challenger;
    }

    function _requireChallenge(bytes32 requestId, address challenger) internal view returns (Challenge memory game) {
        game = _challengeOf(requestId, challenger);
        if (game.turn == Turn.None) revert ChallengeMissing(requestId, challenger);
    }

    function _requireTurn(
        bytes32 requestId,
        address challenger,
        Turn turn
    ) internal view returns (Challenge memory game) {
        game = _requireChallenge(requestId, challenger);
        if (game.turn != turn) revert TurnInvalid(requestId, challenger, game.turn);
        if (block.timestamp >= game.deadline) revert TurnOver(requestId, game.deadline);
    }

    /// @dev How many operators the program has: known with the trace.
    function _operatorsOf(bytes32 requestId) internal view returns (uint256 operators) {
        operators = _cases[requestId].operators;
        if (operators == 0) revert TraceMissing(requestId);
    }

    function _demand(bytes32 requestId, Turn turn, uint96 target) internal returns (uint256 deadline) {
        Challenge memory game = _requireTurn(requestId, msg.sender, Turn.Challenger);
        if (game.demands == MAX_DEMANDS) revert DemandsExhausted(requestId, msg.sender);
        deadline = block.timestamp + Clock.turn(game.operatorClock, MIN_REPLY);
        game.challengerClock = uint32(Clock.spend(game.challengerClock, MIN_REPLY, game.deadline, block.timestamp));
        game.deadline = uint40(deadline);
        game.turn = turn;
        game.demands += 1;
        game.target = target;
        _challenges[requestId][msg.sender] = game;
    }

    function _answer(bytes32 requestId, address challenger, Challenge memory game, uint96 target) internal {
        _turnToChallenger(game, block.timestamp);
        game.target = target;
        _challenges[requestId][challenger] = game;
    }

    // ── Ends ────────────────────────────────────────────────────────────────────────────────────

    /// @dev Half of a failed bond pays for the operator's answers, half is burned: challenging oneself costs.
    function _fail(
        bytes32 requestId,
        Request calldata request,
        Delivery calldata delivery,
        address challenger
    ) internal {
        Case storage case_ = _cases[requestId];
        uint256 bond = _challenges[requestId][challenger].bond;
        uint256 toOperator = bond / 2;
        case_.first = _challenges[requestId].leave(case_.first, challenger);
        case_.open -= 1;
        delete _challenges[requestId][challenger];
        _bonds[delivery.operator] += toOperator;
        _bonds[BURN_ADDRESS] += bond - toOperator;
        emit ChallengeFailed(requestId, challenger, toOperator, bond - toOperator);
        MARKET.closeDispute(request, delivery);
    }

    function _convict(
        bytes32 requestId,
        Request calldata request,
        Delivery calldata delivery,
        Verdict verdict,
        address challenger
    ) internal {
        _endCase(requestId, request, delivery, verdict);
        _release(requestId, challenger);
    }

    /// @dev Convicts. The bounty is for all whose challenges are open, in equal parts, whoever convicts: a
    /// friend of the operator who is quicker takes none of theirs. Without any it is the caller's.
    function _endCase(
        bytes32 requestId,
        Request calldata request,
        Delivery calldata delivery,
        Verdict verdict
    ) internal {
        Case storage case_ = _cases[requestId];
        (address payee, uint256 open) = (case_.first, case_.open);
        if (open == 0) payee = msg.sender;
        if (open > 1) {
            // What is credited, not what should be: behind a summoned answer there may be no lock left.
            uint256 before = MARKET.balanceOf(address(this));
            MARKET.convict(request, delivery, verdict, address(this), address(this));
            uint256 share = (MARKET.balanceOf(address(this)) - before) / open;
            case_.share = uint128(share);
            emit BountyShared(requestId, open, share);
        } else {
            MARKET.convict(request, delivery, verdict, payee, payee);
        }
    }

    /// @dev Only when the request is over or about to be: the queue of challengers is left as it is.
    function _release(bytes32 requestId, address challenger) internal {
        uint256 bond = _challenges[requestId][challenger].bond;
        delete _challenges[requestId][challenger];
        _bonds[challenger] += bond;
        emit BondReleased(requestId, challenger, bond);
        uint256 share = _cases[requestId].share;
        if (share != 0) MARKET.transfer(challenger, share);
    }

    /// @dev Each challenge that is open doubles the next one's bond, so that an operator does not drown in them.
    function _bondAfter(uint256 open) private view returns (uint256) {
        uint256 price = block.basefee > MIN_GAS_PRICE ? block.basefee : MIN_GAS_PRICE;
        return (2 * GAME_GAS * price) << open;
    }

    function _requireDelivered(
        Request calldata request,
        Delivery calldata delivery
    ) internal view returns (bytes32 requestId) {
        requestId = RequestState.idAt(address(MARKET), request);
        bytes32 state = RequestState.deliveredAs(requestId, delivery);
        if (MARKET.commitmentOf(request.requester(), request.lane()) != state) {
            revert IInferenceMarket.RequestStateMismatch(requestId);
        }
    }
}
