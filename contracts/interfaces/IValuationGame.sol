// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What a valuation commits to; hashes to its root (docs/valuation.md, section 3, whose letters these are).
struct Valuation {
    uint32 N; // rows
    uint32 n; // rows without a flag
    uint32 T; // test points
    bytes32 order;
    bytes32 sums;
    bytes32 rows;
    bytes32 values;
}
