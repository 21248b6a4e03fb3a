// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDemandBonds} from "./IDemandBonds.sol";
import {TrainingStage} from "./ITrainingRounds.sol";

/// @notice What can be demanded.
enum TrainingPart {
    Update,
    Sums,
    State // the next one
}

/// @notice Whose move it is in a challenge.
enum TrainingMover {
    None, // no such challenge, or ended
    Challenger,
    Server // the participant, or the aggregator once something is published
}

/// @notice Everything that is fixed at deployment.
struct TrainingGameConfig {
    address rounds;
    uint32 reply; // seconds that every turn of a challenge lasts
}

/// @notice A leaf of a vector and its siblings from there up to the root.
struct VectorLeaf {
    bytes data; // its logical bytes
    bytes32[] path;
}

/// @notice The leaf of a running sum. When the sum before it lies in the leaf before, that one too.
struct SumLeaf {
    bytes data;
    bytes32[] path;
    bytes left; // the leaf before; empty when it is not needed
    bytes32[] leftPath; // its siblings, up to the node that stands in `path`
}

/// @notice One challenger's demands.
struct TrainingDemand {
    TrainingMover turn;
    uint8 count; // at most 16
    uint40 deadline; // of the turn, unix seconds
    uint96 bond; // wei
    TrainingPart part;
    uint16 number; // of the update
    uint8 level; // 0 = root
    uint64 index; // of the node in its level
}

/// @title Convicts a wrong aggregate by computing one of its coordinates again, and whoever does not show its vectors.
/// @notice A fault is one transaction. Who finds a vector that nobody serves demands its nodes from the root down:
///
/// ```
///   demand ─▶ openNode (6 levels) ─▶ demand … ─▶ revealLeaf ─▶ the challenger has a leaf that its own lacks: prove…
///      └── silence for `reply`: convictSilent         └── no further demand for `reply`: lapseDemand (bond lost)
/// ```
/// Before an aggregate is published a participant answers for its update; then the aggregator answers for all
/// vectors. Answers prove themselves: anyone may give them. Times are half-open.
interface ITrainingGame is IDemandBonds {
    /// @notice Running sum `number` is wrong at the coordinate, or with number 0 the next state.
    event AggregateFaultProven(
        uint256 indexed roundId,
        address indexed challenger,
        uint256 attempt,
        uint256 number,
        uint256 coordinate
    );
    event AggregatorSilent(uint256 indexed roundId, address indexed challenger, uint256 attempt);
    event VectorDemanded(
        uint256 indexed roundId,
        address indexed challenger,
        uint256 attempt,
        TrainingPart part,
        uint256 number,
        uint256 level,
        uint256 index,
        uint256 deadline
    );
    event VectorOpened(uint256 indexed roundId, address indexed challenger, uint256 target, bytes32[] nodes);
    event VectorLeafRevealed(uint256 indexed roundId, address indexed challenger, uint256 target, bytes data);
    event VectorDemandLapsed(
        uint256 indexed roundId,
        address indexed challenger,
        uint256 target,
        uint256 toServer,
        uint256 burned
    );
    event VectorBondReleased(uint256 indexed roundId, address indexed challenger, uint256 amount);

    error ConfigInvalid(string field);
    error TrainingStageInvalid(uint256 roundId, TrainingStage current);
    error AggregateUnchallengeable(uint256 roundId);
    /// @notice A part of a proof does not fit the round, its roots, or its own shape.
    error TrainingProofInvalid(string part);
    /// @notice The proof is right, and what it shows is not wrong.
    error CoordinateRight(uint256 coordinate);
    error VectorTurnInvalid(uint256 roundId, address challenger, TrainingMover current);
    error VectorTurnOver(uint256 roundId, uint256 deadline);
    error VectorTurnOpen(uint256 roundId, uint256 deadline);
    error VectorDemandsExhausted(uint256 roundId, address challenger);
    error DemandTargetInvalid(TrainingPart part, uint256 number, uint256 level, uint256 index);
    error VectorOpeningInvalid(uint256 roundId, address challenger);

    // ── Convict ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Shows that running sum `number` is not the one before it plus the weighted, clipped update.
    /// @param update is not looked at where the update was excluded: it adds nothing, and nobody may have it.
    function proveSum(
        uint256 roundId,
        uint256 number,
        uint256 coordinate,
        VectorLeaf calldata update,
        SumLeaf calldata sum
    ) external;
    /// @notice Shows that the next state does not follow from the base and the last running sum.
    function proveState(
        uint256 roundId,
        uint256 coordinate,
        VectorLeaf calldata base,
        VectorLeaf calldata sum,
        VectorLeaf calldata next
    ) external;
    /// @notice Shows that the next state does not follow from the base and all updates that count, in their order.
    function proveShown(
        uint256 roundId,
        uint256 coordinate,
        VectorLeaf calldata base,
        VectorLeaf calldata next,
        VectorLeaf[] calldata updates
    ) external;
    /// @notice Shows that a coordinate of an update is out of bounds. Sums take it as clipped all the same.
    function proveClip(uint256 roundId, uint256 number, uint256 coordinate, VectorLeaf calldata update) external;
    /// @notice Asks for a node of a vector: of an update before `serveUntil`, of all vectors once an aggregate is
    /// published, but excluded updates. The first demand opens the challenge; each brings a bond in the chain's
    /// currency.
    /// @param number of the update; 0 of other parts.
    function demand(uint256 roundId, TrainingPart part, uint256 number, uint256 level, uint256 index) external payable;
    /// @notice Shows the nodes 6 levels below the demanded one, or the leaves when fewer are left. Anyone may.
    /// @param target the update's number before an aggregate is published, then 0.
    function openNode(
        uint256 roundId,
        uint256 target,
        address challenger,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external;
    /// @notice Shows the logical bytes of the demanded leaf; none for an absent one. Anyone may.
    function revealLeaf(
        uint256 roundId,
        uint256 target,
        address challenger,
        bytes calldata data,
        bytes32[] calldata path
    ) external;
    /// @notice Convicts who did not show what was demanded: a participant, or the aggregator.
    function convictSilent(uint256 roundId, uint256 target, address challenger) external;
    /// @notice Ends a challenge whose challenger's turn is over: half its bond is the server's, half is burned.
    function lapseDemand(uint256 roundId, uint256 target, address challenger) external;
    /// @notice Gives back the bond of a challenge whose target was convicted by somebody.
    function releaseBond(uint256 roundId, uint256 attempt, uint256 target, address challenger) external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (TrainingGameConfig memory);
    /// @notice A challenge; its turn is NONE when there is none.
    function demandOf(
        uint256 roundId,
        uint256 attempt,
        uint256 target,
        address challenger
    ) external view returns (TrainingDemand memory);
}
