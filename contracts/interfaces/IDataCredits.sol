// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Who contributed data to which model, as far as market and registry need to know.
interface IDataCredits {
    /// @notice Whether anybody holds credits of the model, so that its data share has a payee.
    function hasCredits(uint256 modelId) external view returns (bool);

    /// @notice Whether the model's data share may not fall: somebody holds credits, or a round is under way.
    function protectsShare(uint256 modelId) external view returns (bool);

    /// @notice Told by the market right after it added `amount` token units for the model to the balance that this
    /// contract has there.
    function creditRevenue(uint256 modelId, uint256 amount) external;
}
