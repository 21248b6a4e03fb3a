// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICredits} from "./interfaces/ICredits.sol";
import {Contribution, IDataRounds, Round, Stage, Status} from "./interfaces/IDataRounds.sol";
import {IInferenceMarket} from "./interfaces/IInferenceMarket.sol";
import {IRowDemands, RowDemand} from "./interfaces/IRowDemands.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Program} from "./libraries/Program.sol";
import {ValuationTables} from "./libraries/ValuationTables.sol";

/// @title Whether a contribution has the rows that it says: who doubts it demands some, and they are shown or it is
/// left out.
contract RowDemands is IRowDemands {
    uint256 private constant CHUNK_BITS = 6; // log2 of a chunk's 64 rows
    uint256 private constant MAX_DEMANDS = 32; // a contribution
    /// @dev Gas of showing a chunk: the transaction, the path, and each row's hash and calldata.
    uint256 private constant ANSWER_GAS = 100_000;
    uint256 private constant GAS_PER_BYTE = 45;

    IDataRounds private immutable ROUNDS;
    uint256 private immutable ANSWER_PERIOD;
    uint256 private immutable MIN_GAS_PRICE;

    mapping(uint256 roundId => mapping(uint256 index => mapping(uint256 chunk => RowDemand))) private _demands;
    mapping(uint256 roundId => mapping(uint256 index => uint256)) private _counts;
    /// @inheritdoc IRowDemands
    mapping(uint256 roundId => mapping(uint256 index => uint256)) public unshownOf;
    mapping(uint256 roundId => uint256) private _unshown;
    /// @inheritdoc IRowDemands
    mapping(address account => uint256) public bondOf;

    constructor(IDataRounds rounds_, uint256 answerPeriod_) {
        ROUNDS = rounds_;
        ANSWER_PERIOD = answerPeriod_;
        MIN_GAS_PRICE = IInferenceMarket(ICredits(ROUNDS.config().credits).config().market).config().minGasPrice;
        if (ROUNDS.config().demands != address(this)) revert ConfigInvalid("rounds");
        if (ANSWER_PERIOD == 0) revert ConfigInvalid("answerPeriod");
    }

    /// @inheritdoc IRowDemands
    function demand(uint256 roundId, uint256 index, uint256 chunk) external payable {
        (Round memory round, Contribution memory contribution) = _revealed(roundId, index);
        if (block.timestamp < round.revealUntil) revert PhaseNotOpen(roundId, round.revealUntil);
        if (block.timestamp >= round.testUntil) revert PhaseOver(roundId, round.testUntil);
        if (chunk >= _chunks(contribution.rows)) revert ChunkInvalid(roundId, index, chunk);
        uint256 needed = bondNeeded(round.features);
        if (msg.value < needed || msg.value > type(uint96).max) revert BondTooLow(msg.value, needed);
        RowDemand storage demanded = _demands[roundId][index][chunk];
        if (demanded.demander != address(0)) revert RowDemandExists(roundId, index, chunk);
        if (_counts[roundId][index] == MAX_DEMANDS) revert RowDemandsExhausted(roundId, index);
        _counts[roundId][index] += 1;
        unshownOf[roundId][index] += 1;
        _unshown[roundId] += 1;
        (demanded.demander, demanded.bond) = (msg.sender, uint96(msg.value));
        emit RowsDemanded(roundId, index, chunk, msg.sender, msg.value);
    }

    /// @inheritdoc IRowDemands
    function show(
        uint256 roundId,
        uint256 index,
        uint256 chunk,
        bytes calldata rows,
        bytes32[] calldata path
    ) external {
        (Round memory round, Contribution memory contribution) = _revealed(roundId, index);
        uint256 until = round.testUntil + ANSWER_PERIOD;
        if (block.timestamp >= until) revert PhaseOver(roundId, until);
        RowDemand storage demanded = _demands[roundId][index][chunk];
        uint256 bond = demanded.bond;
        if (bond == 0) revert RowDemandMissing(roundId, index, chunk);
        uint256 width = uint256(round.features) + 2;
        if (!_isChunk(contribution.digest, contribution.rows, width, chunk, rows, path)) {
            revert ChunkInvalid(roundId, index, chunk);
        }
        demanded.bond = 0;
        unshownOf[roundId][index] -= 1;
        _unshown[roundId] -= 1;
        bondOf[msg.sender] += bond; // so that nobody loses a deposit whose rows others have
        emit RowsShown(roundId, index, chunk, rows);
    }

    /// @inheritdoc IRowDemands
    function releaseBond(uint256 roundId, uint256 index, uint256 chunk) external {
        RowDemand storage demanded = _demands[roundId][index][chunk];
        (address demander, uint256 bond) = (demanded.demander, demanded.bond);
        if (bond == 0) revert RowDemandMissing(roundId, index, chunk);
        uint256 from = ROUNDS.roundOf(roundId).testUntil + ANSWER_PERIOD;
        if (block.timestamp < from) revert PhaseNotOpen(roundId, from);
        demanded.bond = 0;
        bondOf[demander] += bond;
        emit RowBondReleased(roundId, index, chunk, demander, bond);
    }

    /// @inheritdoc IRowDemands
    function withdrawBond() external {
        uint256 amount = bondOf[msg.sender];
        if (amount == 0) revert AmountZero();
        bondOf[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IRowDemands
    function rounds() external view returns (address) {
        return address(ROUNDS);
    }

    /// @inheritdoc IRowDemands
    function answerPeriod() external view returns (uint256) {
        return ANSWER_PERIOD;
    }

    /// @inheritdoc IRowDemands
    function demandOf(uint256 roundId, uint256 index, uint256 chunk) external view returns (RowDemand memory) {
        return _demands[roundId][index][chunk];
    }

    /// @inheritdoc IRowDemands
    function waitOf(uint256 roundId) external view returns (uint256) {
        return _unshown[roundId] == 0 ? 0 : ANSWER_PERIOD;
    }

    /// @inheritdoc IRowDemands
    function bondNeeded(uint256 features) public view returns (uint256) {
        uint256 length = (features + 2) << CHUNK_BITS;
        uint256 price = block.basefee > MIN_GAS_PRICE ? block.basefee : MIN_GAS_PRICE;
        return 2 * (ANSWER_GAS + GAS_PER_BYTE * length) * price + 1; // 0 says that there is none
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _revealed(
        uint256 roundId,
        uint256 index
    ) private view returns (Round memory round, Contribution memory contribution) {
        round = ROUNDS.roundOf(roundId);
        contribution = ROUNDS.contributionOf(roundId, index);
        bool open = round.stage == Stage.Collecting && contribution.status == Status.Revealed;
        if (!open) revert RowsNotDue(roundId, index);
    }

    function _chunks(uint256 count) private pure returns (uint256) {
        return (count + (1 << CHUNK_BITS) - 1) >> CHUNK_BITS;
    }

    /// @dev Absent leaves of the last chunk are zero.
    function _isChunk(
        bytes32 root,
        uint256 count,
        uint256 width,
        uint256 chunk,
        bytes calldata rows,
        bytes32[] calldata path
    ) private pure returns (bool) {
        uint256 depth = Program.log(count);
        uint256 levels = depth < CHUNK_BITS ? depth : CHUNK_BITS;
        uint256 here = count - (chunk << CHUNK_BITS);
        if (here > 1 << CHUNK_BITS) here = 1 << CHUNK_BITS;
        if (rows.length != here * width || path.length != depth - levels) return false;
        bytes32[] memory leaves = new bytes32[](1 << levels);
        for (uint256 i; i < here; ++i) {
            leaves[i] = ValuationTables.rowLeaf(rows[i * width:(i + 1) * width]);
        }
        return Merkle.climb(Merkle.fold(leaves), chunk, path) == root;
    }
}
