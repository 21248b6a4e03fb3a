// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Valuation} from "../interfaces/IValuationGame.sol";
import {Merkle} from "./Merkle.sol";
import {Program} from "./Program.sol";

/// @title The roots that a valuation commits to, and the leaves below them (docs/valuation.md, sections 1 and 3).
library ValuationTables {
    uint256 internal constant ENTRY_BYTES = 16;
    uint256 internal constant LEAF_BITS = 7; // log2 of a leaf's 128 entries
    uint256 internal constant LEAF_MASK = 127;
    uint256 private constant LEAF_BYTES = 2_048;
    uint256 private constant LEAF_TAG = 0x11;

    function root(Valuation calldata valuation) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encodePacked(
                    uint8(0x13),
                    valuation.N,
                    valuation.n,
                    valuation.T,
                    valuation.order,
                    valuation.sums,
                    valuation.rows,
                    valuation.values
                )
            );
    }

    /// @notice Root over the values of contributions 0, 1, …, of which there is at least one.
    function valuesRoot(uint64[] calldata values) internal pure returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](1 << Program.log(values.length)); // 0: an absent leaf
        for (uint256 i; i < values.length; ++i) {
            leaves[i] = valueLeaf(i, values[i]);
        }
        return Merkle.fold(leaves);
    }

    function valueLeaf(uint256 number, uint256 value) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x12), uint32(number), uint64(value)));
    }

    /// @notice Leaf of a row of data; `row` are its features and label.
    function rowLeaf(bytes calldata row) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x10), row));
    }

    /// @notice Leaf of a table; `data` are its logical bytes, at most 2,048. The rest is padded here.
    function leaf(bytes calldata data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, LEAF_TAG)
            calldatacopy(add(free, 1), calldatasize(), LEAF_BYTES) // zeros: what is past the calldata
            calldatacopy(add(free, 1), data.offset, data.length)
            hash := keccak256(free, add(LEAF_BYTES, 1))
        }
    }

    /// @notice Levels of leaves below a row of `entries` (≥ 1) entries.
    function logLeaves(uint256 entries) internal pure returns (uint256) {
        return Program.log(((entries - 1) >> LEAF_BITS) + 1);
    }

    /// @notice Logical bytes of a leaf of such a row; 0 when it is absent.
    function leafBytes(uint256 entries, uint256 number) internal pure returns (uint256) {
        uint256 first = number << LEAF_BITS;
        if (first >= entries) return 0;
        uint256 count = entries - first;
        return (count > LEAF_MASK ? LEAF_MASK + 1 : count) * ENTRY_BYTES;
    }
}
