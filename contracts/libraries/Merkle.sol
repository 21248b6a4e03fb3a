// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title The trees that a tensor, a program and a trace hang from (docs/exact.md, section 2).
/// @notice leaf `keccak256(0x00 ‖ 128 bytes)`, absent leaf 0, inner node `keccak256(left ‖ right)`.
/// @dev Warning: an index is cut to the length of the path. Callers take both from the validated program.
/// The assembly works in scratch space and past the free memory pointer, which it does not move.
library Merkle {
    uint256 internal constant LEAF_BYTES = 128;

    /// @notice The node `path.length` levels above `node`, which is number `index` of its level.
    function climb(bytes32 node, uint256 index, bytes32[] calldata path) internal pure returns (bytes32 top) {
        assembly ("memory-safe") {
            top := node
            let at := path.offset
            for {
                let end := add(at, shl(5, path.length))
            } lt(at, end) {
                at := add(at, 0x20)
            } {
                // An odd node is the right one: its place is word 1, its sibling's word 0.
                let place := shl(5, and(index, 1))
                mstore(place, top)
                mstore(xor(place, 0x20), calldataload(at))
                top := keccak256(0x00, 0x40)
                index := shr(1, index)
            }
        }
    }

    /// @notice Hash of one leaf; `data` are its logical bytes, at most 128. The rest is padded here.
    function leaf(bytes calldata data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, 0) // tag 0x00, and padding
            mstore(add(free, 0x20), 0)
            mstore(add(free, 0x40), 0)
            mstore(add(free, 0x60), 0)
            mstore(add(free, 0x61), 0)
            calldatacopy(add(free, 1), data.offset, data.length)
            hash := keccak256(free, 0x81)
        }
    }

    /// @notice Root of one row's subtree; `data` are the row's logical bytes, at least one.
    function row(bytes calldata data) internal pure returns (bytes32 root) {
        uint256 nodes;
        uint256 width = 1;
        assembly ("memory-safe") {
            let chunk := mload(0x40) // a leaf's preimage: tag 0x00 and 128 bytes
            nodes := add(chunk, 0xa0)
            let left := data.length
            let at := data.offset
            let node := nodes
            mstore(chunk, 0)
            for {} gt(left, 127) {} {
                calldatacopy(add(chunk, 1), at, 0x80)
                mstore(node, keccak256(chunk, 0x81))
                node := add(node, 0x20)
                at := add(at, 0x80)
                left := sub(left, 0x80)
            }
            if left {
                calldatacopy(add(chunk, 1), calldatasize(), 0x80) // zeros: what is past the calldata
                calldatacopy(add(chunk, 1), at, left)
                mstore(node, keccak256(chunk, 0x81))
                node := add(node, 0x20)
            }
            for {} lt(add(nodes, shl(5, width)), node) {} {
                width := shl(1, width)
            }
            for {
                let end := add(nodes, shl(5, width))
            } lt(node, end) {
                node := add(node, 0x20)
            } {
                mstore(node, 0)
            }
        }
        return fold(nodes, width);
    }

    /// @notice Root over these nodes, padded with absent ones to a power of two.
    function rootOf(bytes32[] calldata level) internal pure returns (bytes32) {
        uint256 nodes;
        uint256 width = 1;
        while (width < level.length) width <<= 1;
        assembly ("memory-safe") {
            nodes := mload(0x40)
            calldatacopy(nodes, calldatasize(), shl(5, width)) // zeros
            calldatacopy(nodes, level.offset, shl(5, level.length))
        }
        return fold(nodes, width);
    }

    /// @notice Root over `width` (a power of two) words in memory from `nodes` on, which it overwrites.
    function fold(uint256 nodes, uint256 width) internal pure returns (bytes32 root) {
        assembly ("memory-safe") {
            for {} gt(width, 1) {} {
                width := shr(1, width)
                let from := nodes
                for {
                    let to := nodes
                    let end := add(nodes, shl(5, width))
                } lt(to, end) {
                    to := add(to, 0x20)
                } {
                    mstore(to, keccak256(from, 0x40))
                    from := add(from, 0x40)
                }
            }
            root := mload(nodes)
        }
    }

    /// @notice Root over an array of a power of two nodes, which it overwrites.
    function fold(bytes32[] memory level) internal pure returns (bytes32) {
        uint256 nodes;
        assembly ("memory-safe") {
            nodes := add(level, 0x20)
        }
        return fold(nodes, level.length);
    }

    /// @notice An operator's leaf in the graph.
    function operator(uint256[9] calldata words) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 4) // tag
            calldatacopy(add(free, 1), words, 0x120)
            hash := keccak256(free, 0x121)
        }
    }

    /// @notice A tensor's leaf in the trace: its id, spec and root.
    function tensor(uint256 id, uint256 spec, bytes32 root) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encodePacked(uint8(2), uint16(id), uint8(spec >> 64), uint32(spec >> 32), uint32(spec), root)
            );
    }
}
