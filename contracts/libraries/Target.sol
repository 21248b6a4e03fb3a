// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title What a demand asks for, in one number.
///
/// ```
///  bit    0             32           64       72         88
///  node   │ index u64                │ level  │ op u16   │ 0
///  step   │ col u32     │ row u32    │ 0      │ op u16   │ 0
///  revealed: as node, with bit 95 set
/// ```
/// Which of the three it is, is in the turn of the challenge.
library Target {
    /// @dev Deeper than any tensor: rows × cols ≤ 2^28 give less than 2 × 28 levels.
    uint256 internal constant MAX_LEVEL = 60;
    uint256 private constant REVEALED = 1 << 95;

    function ofNode(uint256 op, uint256 level, uint256 index) internal pure returns (uint96) {
        return uint96((op << 72) | (level << 64) | index);
    }

    function ofStep(uint256 op, uint256 row, uint256 col) internal pure returns (uint96) {
        return uint96((op << 72) | (row << 32) | col);
    }

    function isStep(uint96 target, uint256 op, uint256 row, uint256 col) internal pure returns (bool) {
        return op == uint16(target >> 72) && row == uint32(target >> 32) && col == uint32(target);
    }

    function revealed(uint96 target) internal pure returns (uint96) {
        return uint96(target | REVEALED);
    }

    function isRevealed(uint96 target) internal pure returns (bool) {
        return target & REVEALED != 0;
    }

    function node(uint96 target) internal pure returns (uint256 op, uint256 level, uint256 index) {
        return (uint16(target >> 72), uint8(target >> 64), uint64(target));
    }
}
