// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {DemandBonds} from "./base/DemandBonds.sol";
import {IInferenceMarket} from "./interfaces/IInferenceMarket.sol";
import {
    ITrainingGame,
    SumLeaf,
    TrainingDemand,
    TrainingGameConfig,
    TrainingMover,
    TrainingPart,
    VectorLeaf
} from "./interfaces/ITrainingGame.sol";
import {
    ITrainingRounds,
    TrainingCase,
    TrainingRule,
    TrainingStage,
    TrainingUpdate,
    UpdateStatus
} from "./interfaces/ITrainingRounds.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {TrainingVectors} from "./libraries/TrainingVectors.sol";

/// @title Convicts a wrong aggregate by computing one coordinate again, and whoever does not show its vectors.
/// @dev Rounds, and all that is paid in the payment token, are in TrainingRounds.sol.
contract TrainingGame is ITrainingGame, DemandBonds {
    uint256 private constant OPENED_LEVELS = 6;
    uint256 private constant MAX_DEMANDS = 16;

    ITrainingRounds private immutable ROUNDS;
    uint256 private immutable REPLY;

    /// @dev By keccak256(abi.encode(roundId, attempt, target, challenger)).
    mapping(bytes32 challenge => TrainingDemand) private _demands;

    /// @dev A vector as the chain knows it.
    struct Vector {
        bytes32 root;
        uint256 length; // coordinates; 0 = there is no such vector
        uint256 bits; // log2 of a leaf's coordinates
    }

    constructor(
        TrainingGameConfig memory config_
    ) DemandBonds(IInferenceMarket(ITrainingRounds(config_.rounds).config().market).config().minGasPrice) {
        ROUNDS = ITrainingRounds(config_.rounds);
        REPLY = config_.reply;
        if (ROUNDS.config().game != address(this)) revert ConfigInvalid("rounds");
        if (REPLY == 0) revert ConfigInvalid("reply");
    }

    // ── Prove ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingGame
    function proveSum(
        uint256 roundId,
        uint256 number,
        uint256 coordinate,
        VectorLeaf calldata update,
        SumLeaf calldata sum
    ) external {
        TrainingCase memory case_ = _requireChallengeable(roundId, number);
        _require(case_.update.status != UpdateStatus.None, "number");
        _require(case_.rule == TrainingRule.Mean, "rule");
        int256 addend = _addend(case_, coordinate, update);
        uint256 n = case_.clients;
        (int256 previous, int256 current) = TrainingVectors.shownPair(
            sum,
            case_.sumsRoot,
            case_.parameters * n,
            coordinate * n + number - 1,
            number == 1
        );
        if (current == previous + addend) revert CoordinateRight(coordinate);
        _convict(roundId, case_.attempt, number, coordinate);
    }

    /// @inheritdoc ITrainingGame
    function proveState(
        uint256 roundId,
        uint256 coordinate,
        VectorLeaf calldata base,
        VectorLeaf calldata sum,
        VectorLeaf calldata next
    ) external {
        TrainingCase memory case_ = _requireChallengeable(roundId, 0);
        _require(case_.rule == TrainingRule.Mean, "rule");
        _require(coordinate < case_.parameters, "coordinate");
        uint256 n = case_.clients;
        int256 total = TrainingVectors.shownSum(sum, case_.sumsRoot, case_.parameters * n, coordinate * n + n - 1);
        _requireOther(case_, coordinate, base, next, TrainingVectors.rounded(total, case_.weight));
        _convict(roundId, case_.attempt, 0, coordinate);
    }

    /// @inheritdoc ITrainingGame
    function proveShown(
        uint256 roundId,
        uint256 coordinate,
        VectorLeaf calldata base,
        VectorLeaf calldata next,
        VectorLeaf[] calldata updates
    ) external {
        TrainingCase memory case_ = _requireChallengeable(roundId, 0);
        _require(case_.rule != TrainingRule.Mean, "rule");
        _require(updates.length == case_.counted, "updates");
        int256[] memory values = new int256[](updates.length);
        uint256 number;
        // At most 16 updates, those that do not count included: see `ITrainingRounds.open`.
        for (uint256 i; i < values.length; ++i) {
            do {
                case_.update = ROUNDS.updateOf(roundId, ++number);
            } while (case_.update.status == UpdateStatus.Unserved);
            values[i] = _clipped(case_, coordinate, updates[i]);
        }
        bool median = case_.rule == TrainingRule.Median;
        int256 step = median ? TrainingVectors.median(values) : TrainingVectors.trimmedMean(values, case_.trim);
        _requireOther(case_, coordinate, base, next, step);
        _convict(roundId, case_.attempt, 0, coordinate);
    }

    /// @inheritdoc ITrainingGame
    function proveClip(uint256 roundId, uint256 number, uint256 coordinate, VectorLeaf calldata update) external {
        TrainingCase memory case_ = ROUNDS.caseOf(roundId, number);
        _require(case_.update.status != UpdateStatus.None, "number");
        _require(coordinate < case_.parameters, "coordinate");
        int256 value = TrainingVectors.shown(update, case_.update.root, case_.parameters, coordinate, "update");
        if (value == TrainingVectors.clipped(value, case_.clip)) revert CoordinateRight(coordinate);
        ROUNDS.convictUnclipped(roundId, number, msg.sender);
    }

    /// @dev Refuses a state that is the base moved by this step.
    function _requireOther(
        TrainingCase memory case_,
        uint256 coordinate,
        VectorLeaf calldata base,
        VectorLeaf calldata next,
        int256 step
    ) private pure {
        int256 from = TrainingVectors.shown(base, case_.stateRoot, case_.parameters, coordinate, "base");
        int256 to = TrainingVectors.shown(next, case_.nextRoot, case_.parameters, coordinate, "next");
        if (to == TrainingVectors.moved(from, step)) revert CoordinateRight(coordinate);
    }

    /// @dev A coordinate of an update, as it counts.
    function _clipped(
        TrainingCase memory case_,
        uint256 coordinate,
        VectorLeaf calldata update
    ) private pure returns (int256) {
        _require(coordinate < case_.parameters, "coordinate");
        int256 value = TrainingVectors.shown(update, case_.update.root, case_.parameters, coordinate, "update");
        return TrainingVectors.clipped(value, case_.clip);
    }

    /// @dev An update that was not served adds nothing: nobody may have it, so nobody needs to show it.
    function _addend(
        TrainingCase memory case_,
        uint256 coordinate,
        VectorLeaf calldata update
    ) private pure returns (int256) {
        _require(coordinate < case_.parameters, "coordinate");
        if (case_.update.status == UpdateStatus.Unserved) return 0;
        return int256(uint256(case_.update.weight)) * _clipped(case_, coordinate, update);
    }

    function _convict(uint256 roundId, uint256 attempt, uint256 number, uint256 coordinate) private {
        emit AggregateFaultProven(roundId, msg.sender, attempt, number, coordinate);
        ROUNDS.convictAggregator(roundId, msg.sender);
    }

    // ── Demand ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingGame
    function demand(
        uint256 roundId,
        TrainingPart part,
        uint256 number,
        uint256 level,
        uint256 index
    ) external payable nonReentrant {
        TrainingCase memory case_ = ROUNDS.caseOf(roundId, number);
        Vector memory vector = _vector(case_, part, number);
        bool exists = vector.length != 0 && level <= _depth(vector) && index >> level == 0;
        if (!exists) revert DemandTargetInvalid(part, number, level, index);
        TrainingDemand storage game = _turn(roundId, case_, number);
        (game.part, game.number, game.level, game.index) = (part, uint16(number), uint8(level), uint64(index));
        emit VectorDemanded(roundId, msg.sender, case_.attempt, part, number, level, index, game.deadline);
    }

    /// @dev Takes the bond, begins a challenge where there is none, and gives the turn to the other side.
    function _turn(
        uint256 roundId,
        TrainingCase memory case_,
        uint256 number
    ) private returns (TrainingDemand storage game) {
        uint96 bond = _bond();
        uint256 target = case_.stage == TrainingStage.Published ? 0 : number;
        game = _demands[_requireLive(roundId, case_, target, msg.sender)];
        TrainingMover turn = game.turn;
        if (turn != TrainingMover.None) _requireTurn(roundId, game, msg.sender, TrainingMover.Challenger);
        if (game.count == MAX_DEMANDS) revert VectorDemandsExhausted(roundId, msg.sender);
        game.count += 1;
        game.turn = TrainingMover.Server;
        game.deadline = uint40(block.timestamp + REPLY);
        game.bond += bond;
        if (turn == TrainingMover.None) ROUNDS.beginChallenge(roundId, number);
    }

    /// @inheritdoc ITrainingGame
    function openNode(
        uint256 roundId,
        uint256 target,
        address challenger,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external {
        (TrainingDemand storage game, Vector memory vector) = _demanded(roundId, target, challenger);
        uint256 height = _depth(vector) - game.level;
        uint256 levels = height < OPENED_LEVELS ? height : OPENED_LEVELS;
        bool fits = height != 0 && nodes.length == 1 << levels;
        if (!fits) revert VectorOpeningInvalid(roundId, challenger);
        _answer(roundId, challenger, game, vector.root, Merkle.rootOf(nodes), path);
        emit VectorOpened(roundId, challenger, target, nodes);
    }

    /// @inheritdoc ITrainingGame
    function revealLeaf(
        uint256 roundId,
        uint256 target,
        address challenger,
        bytes calldata data,
        bytes32[] calldata path
    ) external {
        (TrainingDemand storage game, Vector memory vector) = _demanded(roundId, target, challenger);
        bool fits =
            game.level == _depth(vector) &&
                data.length == TrainingVectors.leafBytes(vector.length, vector.bits, game.index);
        if (!fits) revert VectorOpeningInvalid(roundId, challenger);
        bytes32 leaf;
        if (data.length != 0) leaf = Merkle.leaf(data);
        _answer(roundId, challenger, game, vector.root, leaf, path);
        emit VectorLeafRevealed(roundId, challenger, target, data);
    }

    function _answer(
        uint256 roundId,
        address challenger,
        TrainingDemand storage game,
        bytes32 root,
        bytes32 node,
        bytes32[] calldata path
    ) private {
        bool shown = path.length == game.level && Merkle.climb(node, game.index, path) == root;
        if (!shown) revert VectorOpeningInvalid(roundId, challenger);
        game.turn = TrainingMover.Challenger;
        game.deadline = uint40(block.timestamp + REPLY);
    }

    /// @inheritdoc ITrainingGame
    function convictSilent(uint256 roundId, uint256 target, address challenger) external nonReentrant {
        TrainingCase memory case_ = ROUNDS.caseOf(roundId, target);
        bytes32 id = _requireLive(roundId, case_, target, challenger);
        _requireTurnOver(roundId, _demands[id], challenger, TrainingMover.Server);
        _release(roundId, id, challenger);
        if (case_.stage == TrainingStage.Published) {
            emit AggregatorSilent(roundId, challenger, case_.attempt);
            ROUNDS.convictAggregator(roundId, challenger);
            return;
        }
        ROUNDS.endChallenge(roundId);
        // Somebody else's demand may have excluded it already.
        if (case_.update.status != UpdateStatus.Unserved) ROUNDS.convictUnserved(roundId, target, challenger);
    }

    /// @inheritdoc ITrainingGame
    function lapseDemand(uint256 roundId, uint256 target, address challenger) external nonReentrant {
        TrainingCase memory case_ = ROUNDS.caseOf(roundId, target);
        bytes32 id = _requireLive(roundId, case_, target, challenger);
        _requireTurnOver(roundId, _demands[id], challenger, TrainingMover.Challenger);
        if (case_.update.status == UpdateStatus.Unserved) _release(roundId, id, challenger);
        else _forfeit(roundId, id, target, challenger, target == 0 ? case_.aggregator : case_.update.owner);
        ROUNDS.endChallenge(roundId);
    }

    function _forfeit(uint256 roundId, bytes32 id, uint256 target, address challenger, address server) private {
        uint256 bond = _demands[id].bond;
        delete _demands[id];
        (uint256 toServer, uint256 burned) = _forfeitBond(bond, server);
        emit VectorDemandLapsed(roundId, challenger, target, toServer, burned);
    }

    /// @inheritdoc ITrainingGame
    function releaseBond(uint256 roundId, uint256 attempt, uint256 target, address challenger) external {
        bytes32 id = _id(roundId, attempt, target, challenger);
        TrainingMover turn = _demands[id].turn;
        TrainingCase memory case_ = ROUNDS.caseOf(roundId, 0);
        bool live = attempt == case_.attempt && _isDemandable(case_);
        if (live || turn == TrainingMover.None) revert VectorTurnInvalid(roundId, challenger, turn);
        _release(roundId, id, challenger);
    }

    function _release(uint256 roundId, bytes32 id, address challenger) private {
        uint256 amount = _demands[id].bond;
        delete _demands[id];
        _creditBond(challenger, amount);
        emit VectorBondReleased(roundId, challenger, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingGame
    function config() external view returns (TrainingGameConfig memory) {
        return TrainingGameConfig({rounds: address(ROUNDS), reply: uint32(REPLY)});
    }

    /// @inheritdoc ITrainingGame
    function demandOf(
        uint256 roundId,
        uint256 attempt,
        uint256 target,
        address challenger
    ) external view returns (TrainingDemand memory) {
        return _demands[_id(roundId, attempt, target, challenger)];
    }

    // ── What is demanded ────────────────────────────────────────────────────────────────────────

    /// @dev Updates are demanded once, before anything is published; then everything is demanded of the aggregator.
    function _isDemandable(TrainingCase memory case_) private pure returns (bool) {
        if (case_.stage == TrainingStage.Published) return true;
        return case_.stage == TrainingStage.Collecting && case_.attempt == 0;
    }

    function _vector(
        TrainingCase memory case_,
        TrainingPart part,
        uint256 number
    ) private pure returns (Vector memory vector) {
        uint256 length = case_.parameters;
        if (part == TrainingPart.Update) {
            if (case_.update.status == UpdateStatus.None) return vector;
            // An aggregator cannot have what its participant showed nobody.
            bool lost = case_.update.status == UpdateStatus.Unserved && case_.stage == TrainingStage.Published;
            if (lost) return vector;
            return Vector(case_.update.root, length, TrainingVectors.STATE_BITS);
        }
        if (case_.stage != TrainingStage.Published || number != 0) return vector;
        if (part == TrainingPart.State) return Vector(case_.nextRoot, length, TrainingVectors.STATE_BITS);
        if (case_.rule != TrainingRule.Mean) return vector;
        return Vector(case_.sumsRoot, length * case_.clients, TrainingVectors.SUMS_BITS);
    }

    function _depth(Vector memory vector) private pure returns (uint256) {
        return TrainingVectors.depth(vector.length, vector.bits);
    }

    function _demanded(
        uint256 roundId,
        uint256 target,
        address challenger
    ) private view returns (TrainingDemand storage game, Vector memory vector) {
        TrainingCase memory case_ = ROUNDS.caseOf(roundId, target);
        game = _demands[_requireLive(roundId, case_, target, challenger)];
        _requireTurn(roundId, game, challenger, TrainingMover.Server);
        uint256 number = game.number;
        if (number != target) case_.update = ROUNDS.updateOf(roundId, number);
        vector = _vector(case_, game.part, number);
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _requireChallengeable(uint256 roundId, uint256 number) private view returns (TrainingCase memory case_) {
        case_ = ROUNDS.caseOf(roundId, number);
        if (!case_.challengeable) revert AggregateUnchallengeable(roundId);
    }

    function _require(bool holds, string memory part) private pure {
        if (!holds) revert TrainingProofInvalid(part);
    }

    function _id(uint256 roundId, uint256 attempt, uint256 target, address challenger) private pure returns (bytes32) {
        return keccak256(abi.encode(roundId, attempt, target, challenger));
    }

    function _requireLive(
        uint256 roundId,
        TrainingCase memory case_,
        uint256 target,
        address challenger
    ) private pure returns (bytes32) {
        if (!_isDemandable(case_)) revert TrainingStageInvalid(roundId, case_.stage);
        return _id(roundId, case_.attempt, target, challenger);
    }

    function _requireTurn(
        uint256 roundId,
        TrainingDemand storage game,
        address challenger,
        TrainingMover turn
    ) private view {
        if (game.turn != turn) revert VectorTurnInvalid(roundId, challenger, game.turn);
        if (block.timestamp >= game.deadline) revert VectorTurnOver(roundId, game.deadline);
    }

    function _requireTurnOver(
        uint256 roundId,
        TrainingDemand storage game,
        address challenger,
        TrainingMover turn
    ) private view {
        if (game.turn != turn) revert VectorTurnInvalid(roundId, challenger, game.turn);
        if (block.timestamp < game.deadline) revert VectorTurnOpen(roundId, game.deadline);
    }
}
