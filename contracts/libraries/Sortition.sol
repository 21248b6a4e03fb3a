// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Who is drawn, and what a vote weighs: a hash against a threshold in proportion to stake. No list, no loop.
/// @notice With k members expected, a member of stake w out of E is drawn with probability min(1, k·w/E), and
/// binds `unit` · max(1, k·w/E). So each is expected to bind unit·k·w/E, however its stake is split over seats.
library Sortition {
    uint256 private constant MIN_FIRST_SIZE = 7;
    /// @dev Of a majority's bound stake, less than half comes back to whoever bound it when it is contradicted, by
    /// any of his accounts: as appellant a quarter, as voter and reporter the rest. A majority of 6·s/unit binds 3·s.
    uint256 private constant COVER = 6;

    /// @notice How many members are expected first: so many that a majority of them loses more than is at stake.
    function firstSize(uint256 atStake, uint256 unit) internal pure returns (uint256 size) {
        size = (COVER * atStake + unit - 1) / unit;
        if (size < MIN_FIRST_SIZE) size = MIN_FIRST_SIZE;
    }

    /// @notice A member's hash in a round; low ones are drawn.
    function rank(bytes32 seed, bytes32 requestId, uint256 round, address member) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, requestId, round, member)));
    }

    /// @notice Whether rank < 2^256 · min(1, size · weight / eligible), rounded down by less than 2^-159 of it.
    /// @dev `eligible` is a sum of weights, each below 2^96.
    function drawn(uint256 rank_, uint256 size, uint256 weight, uint256 eligible) internal pure returns (bool) {
        uint256 share = size * weight;
        if (share >= eligible) return weight != 0;
        return rank_ < (type(uint256).max / eligible) * share;
    }

    /// @notice What the vote of a drawn member binds and weighs.
    function deposit(uint256 unit, uint256 size, uint256 weight, uint256 eligible) internal pure returns (uint256) {
        uint256 share = size * weight;
        return share > eligible ? (unit * share) / eligible : unit;
    }
}
