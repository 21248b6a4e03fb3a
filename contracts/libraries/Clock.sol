// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title How long a turn lasts, and what is left of its owner's budget afterwards.
/// @notice Each side of a challenge thinks for `left` seconds in all; every turn lasts `minReply` at
/// the least, so that no answer is lost for want of time to get it into a block.
///
/// ```
///   start                    answered           start + max(left, minReply)
///   ├──────── used ────────────┤ · · · · · · · · ┤ deadline: the turn is over
///   left after it = max(0, left − used)
/// ```
library Clock {
    /// @return Seconds that a turn lasts.
    function turn(uint256 left, uint256 minReply) internal pure returns (uint256) {
        return left > minReply ? left : minReply;
    }

    /// @notice What is left after a turn with this deadline ended at `time`, which is before it.
    function spend(uint256 left, uint256 minReply, uint256 deadline, uint256 time) internal pure returns (uint256) {
        uint256 used = time + turn(left, minReply) - deadline;
        return used < left ? left - used : 0;
    }
}
