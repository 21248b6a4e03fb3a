// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ITrainingGame, SumLeaf, VectorLeaf} from "../interfaces/ITrainingGame.sol";
import {Merkle} from "./Merkle.sol";
import {Program} from "./Program.sol";

/// @title Vectors of integers under a root, and what a round makes of their coordinates (docs/training-rounds.md).
/// @notice Offset binary, big-endian: 32 coordinates of 4 bytes in a leaf of a state or an update, 16 of 8 bytes in
/// one of running sums. Positions and lengths follow from the round; whoever proves chooses none.
library TrainingVectors {
    uint256 internal constant STATE_BITS = 5; // log2 of a leaf's coordinates
    uint256 internal constant SUMS_BITS = 4;

    // ── Shape ───────────────────────────────────────────────────────────────────────────────────

    /// @notice Levels between the root and the leaves of a vector of `length` coordinates.
    function depth(uint256 length, uint256 bits) internal pure returns (uint256) {
        return Program.log((length + (1 << bits) - 1) >> bits);
    }

    /// @notice Logical bytes of a leaf; 0 when it is absent.
    function leafBytes(uint256 length, uint256 bits, uint256 index) internal pure returns (uint256) {
        uint256 before = index << bits;
        if (before >= length) return 0;
        uint256 left = length - before;
        if (left > 1 << bits) left = 1 << bits;
        return left << (7 - bits);
    }

    // ── Coordinates ─────────────────────────────────────────────────────────────────────────────

    /// @notice A coordinate of a state or update of `length` coordinates.
    function shown(
        VectorLeaf calldata leaf,
        bytes32 root,
        uint256 length,
        uint256 coordinate,
        string memory part
    ) internal pure returns (int256) {
        _open(leaf.data, leaf.path, root, length, STATE_BITS, coordinate >> STATE_BITS, part);
        return _i32(leaf.data, coordinate & 31);
    }

    /// @notice A running sum; `entry` is its place among `length`.
    function shownSum(
        VectorLeaf calldata leaf,
        bytes32 root,
        uint256 length,
        uint256 entry
    ) internal pure returns (int256) {
        _open(leaf.data, leaf.path, root, length, SUMS_BITS, entry >> SUMS_BITS, "sums");
        return _i64(leaf.data, entry & 15);
    }

    /// @notice A running sum and the one before it, which for `first` is 0.
    function shownPair(
        SumLeaf calldata leaf,
        bytes32 root,
        uint256 length,
        uint256 entry,
        bool first
    ) internal pure returns (int256 previous, int256 current) {
        uint256 index = entry >> SUMS_BITS;
        _open(leaf.data, leaf.path, root, length, SUMS_BITS, index, "sums");
        current = _i64(leaf.data, entry & 15);
        bool apart = !first && entry & 15 == 0;
        if (!apart) {
            if (leaf.left.length != 0 || leaf.leftPath.length != 0) _refuse("sums");
            return (first ? int256(0) : _i64(leaf.data, (entry & 15) - 1), current);
        }
        // Where the two leaves' ways to the root meet, the left one's node is a sibling of the right one's.
        uint256 height;
        while ((index >> height) & 1 == 0) ++height;
        bool fits =
            leaf.left.length == Merkle.LEAF_BYTES &&
                leaf.leftPath.length == height &&
                Merkle.climb(Merkle.leaf(leaf.left), index - 1, leaf.leftPath) == leaf.path[height];
        if (!fits) _refuse("sums");
        previous = _i64(leaf.left, 15);
    }

    // ── Rules ───────────────────────────────────────────────────────────────────────────────────

    function clipped(int256 value, uint256 clip) internal pure returns (int256) {
        int256 bound = int256(clip);
        if (value > bound) return bound;
        return value < -bound ? -bound : value;
    }

    /// @notice total / weight, rounded half up.
    function rounded(int256 total, uint256 weight) internal pure returns (int256) {
        return _floor(2 * total + int256(weight), int256(2 * weight));
    }

    /// @notice The state after a step, which stays within its 32 bits.
    function moved(int256 base, int256 step) internal pure returns (int256 next) {
        next = base + step;
        if (next > type(int32).max) return type(int32).max;
        if (next < type(int32).min) return type(int32).min;
    }

    /// @notice Of an even number the mean of the middle two, rounded down. Sorts the values.
    function median(int256[] memory values) internal pure returns (int256) {
        _sort(values);
        uint256 count = values.length;
        return _floor(values[(count - 1) / 2] + values[count / 2], 2);
    }

    /// @notice The mean without the `trim` least and greatest. Sorts the values.
    function trimmedMean(int256[] memory values, uint256 trim) internal pure returns (int256) {
        _sort(values);
        uint256 end = values.length - trim;
        int256 total;
        for (uint256 i = trim; i < end; ++i) {
            total += values[i];
        }
        return rounded(total, end - trim);
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _open(
        bytes calldata data,
        bytes32[] calldata path,
        bytes32 root,
        uint256 length,
        uint256 bits,
        uint256 index,
        string memory part
    ) private pure {
        bool fits =
            data.length == leafBytes(length, bits, index) &&
                path.length == depth(length, bits) &&
                Merkle.climb(Merkle.leaf(data), index, path) == root;
        if (!fits) _refuse(part);
    }

    function _refuse(string memory part) private pure {
        revert ITrainingGame.TrainingProofInvalid(part);
    }

    function _i32(bytes calldata data, uint256 at) private pure returns (int256) {
        return int256(uint256(uint32(bytes4(data[4 * at:4 * at + 4])))) - 2 ** 31;
    }

    function _i64(bytes calldata data, uint256 at) private pure returns (int256) {
        return int256(uint256(uint64(bytes8(data[8 * at:8 * at + 8])))) - 2 ** 63;
    }

    /// @dev Solidity rounds towards zero.
    function _floor(int256 value, int256 by) private pure returns (int256 quotient) {
        quotient = value / by;
        if (value % by < 0) --quotient;
    }

    /// @dev By insertion: at most 16 values.
    function _sort(int256[] memory values) private pure {
        for (uint256 i = 1; i < values.length; ++i) {
            int256 value = values[i];
            uint256 at = i;
            for (; at != 0 && values[at - 1] > value; --at) {
                values[at] = values[at - 1];
            }
            values[at] = value;
        }
    }
}
