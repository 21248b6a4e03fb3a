// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Bonds that demands bring, in the chain's currency: what one needs, and what accounts may withdraw.
interface IDemandBonds {
    event BondWithdrawn(address indexed account, uint256 amount);

    error AmountZero();
    error BondTooLow(uint256 given, uint256 needed);
    error TransferFailed(address to, uint256 amount);

    /// @notice Pays out the caller's bonds in the chain's currency.
    function withdrawBond() external;

    /// @notice Wei that a demand needs now: 2 × 150,000 × base fee, or the market's least price of gas.
    function bondNeeded() external view returns (uint256);
    /// @notice What the account may withdraw in the chain's currency.
    function bondOf(address account) external view returns (uint256);
}
