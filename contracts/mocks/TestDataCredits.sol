// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDataCredits} from "../interfaces/IDataCredits.sol";

/// @title For tests: a data module that has credits when told so, and counts what it is told.
contract TestDataCredits is IDataCredits {
    mapping(uint256 modelId => bool) public hasCredits;
    mapping(uint256 modelId => uint256) public credited;

    function setCredits(uint256 modelId, bool has) external {
        hasCredits[modelId] = has;
    }

    /// @inheritdoc IDataCredits
    function protectsShare(uint256 modelId) external view returns (bool) {
        return hasCredits[modelId];
    }

    /// @inheritdoc IDataCredits
    function creditRevenue(uint256 modelId, uint256 amount) external {
        credited[modelId] += amount;
    }
}
