// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Who contributed data to which model, as far as the market needs to know.
interface IDataCredits {
    /// @notice Whether anybody holds credits of the model, so that its data share has a payee.
    function hasCredits(uint256 modelId) external view returns (bool);

    /// @notice Told by the market right after it transferred `amount` token units for the model.
    function creditRevenue(uint256 modelId, uint256 amount) external;
}
