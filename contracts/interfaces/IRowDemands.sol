// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Rows that somebody wants to see on chain.
struct RowDemand {
    address demander;
    uint96 bond; // wei; 0 = shown, or given back
}

/// @title Whether a contribution has the rows that it says.
/// @notice While the test set is due, whoever doubts it demands up to 64 rows, number `chunk` · 64 and on. They are shown
/// within `answerPeriod` after that phase, or the round goes on without the contribution, at its owner's cost: a
/// data set that does not exist can show nothing. Each chunk once, at most 32 a contribution. A bond pays whoever
/// shows; the demander has it back when nothing is shown.
interface IRowDemands {
    event RowsDemanded(uint256 indexed roundId, uint256 index, uint256 chunk, address indexed demander, uint256 bond);
    event RowsShown(uint256 indexed roundId, uint256 index, uint256 chunk, bytes rows);
    event RowBondReleased(uint256 indexed roundId, uint256 index, uint256 chunk, address indexed demander, uint256 bond);
    event BondWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error RowsNotDue(uint256 roundId, uint256 index);
    error PhaseOver(uint256 roundId, uint256 until);
    error PhaseNotOpen(uint256 roundId, uint256 opensAt);
    error BondTooLow(uint256 given, uint256 needed);
    error ChunkInvalid(uint256 roundId, uint256 index, uint256 chunk);
    error RowDemandExists(uint256 roundId, uint256 index, uint256 chunk);
    error RowDemandMissing(uint256 roundId, uint256 index, uint256 chunk);
    error RowDemandsExhausted(uint256 roundId, uint256 index);
    error TransferFailed(address to, uint256 amount);

    /// @notice Asks for a chunk of a revealed contribution's rows; brings a bond.
    function demand(uint256 roundId, uint256 index, uint256 chunk) external payable;
    /// @notice Shows demanded rows; anyone may.
    /// @param rows their bytes, one after another.
    /// @param path from the chunk's node up.
    function show(
        uint256 roundId,
        uint256 index,
        uint256 chunk,
        bytes calldata rows,
        bytes32[] calldata path
    ) external;
    /// @notice Gives back the bond for rows that were not shown in time.
    function releaseBond(uint256 roundId, uint256 index, uint256 chunk) external;
    /// @notice Pays the caller's bonds in the chain's currency.
    function withdrawBond() external;

    /// @notice What tells it of rounds.
    function rounds() external view returns (address);
    /// @notice Seconds after the test set's phase in which demanded rows can be shown.
    function answerPeriod() external view returns (uint256);
    /// @notice A demand.
    function demandOf(uint256 roundId, uint256 index, uint256 chunk) external view returns (RowDemand memory);
    /// @notice Demands of a contribution that nobody has answered.
    function unshownOf(uint256 roundId, uint256 index) external view returns (uint256);
    /// @notice Seconds after the test set's phase that a round waits for answers: 0 when nothing is demanded.
    function waitOf(uint256 roundId) external view returns (uint256);
    /// @notice Wei that a demand needs now, with so many features a row: twice what showing
    /// costs at this base fee, or at the market's least price of gas.
    function bondNeeded(uint256 features) external view returns (uint256);
    /// @notice What the account may withdraw in the chain's currency.
    function bondOf(address account) external view returns (uint256);
}
