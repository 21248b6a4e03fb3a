// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Who is drawn: a hash against a threshold in proportion to stake. No list, no loop.
library Sortition {
    uint256 private constant FIRST_SIZE = 3;

    /// @notice How many members are expected in a round: 3, 6, 12.
    function size(uint256 round) internal pure returns (uint256) {
        return FIRST_SIZE << round;
    }

    /// @notice A member's hash in a round; low ones are drawn, and of too many the lowest count.
    function rank(bytes32 seed, bytes32 requestId, uint256 round, address member) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, requestId, round, member)));
    }

    /// @notice Whether rank < 2^256 · min(1, size · weight / eligible), rounded down by less than 2^-159 of it.
    /// @dev `eligible` is a sum of weights, each below 2^96.
    function drawn(uint256 rank_, uint256 round, uint256 weight, uint256 eligible) internal pure returns (bool) {
        uint256 share = size(round) * weight;
        if (share >= eligible) return weight != 0;
        return rank_ < (type(uint256).max / eligible) * share;
    }
}
