// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ExactClaim} from "../interfaces/IStepVerifier.sol";
import {TensorProof} from "../interfaces/IDisputeGame.sol";
import {Merkle} from "./Merkle.sol";
import {Program} from "./Program.sol";

/// @title What hangs below the roots that the chain knows: programs, tensors, bytes (docs/exact.md, sections 2, 3, 5).
/// @notice Positions and lengths of all paths follow from the program; whoever opens chooses none.
library Openings {
    uint256 private constant LEAF_BITS = 7; // log2 of a leaf's 128 bytes
    /// @dev u16 id ‖ u8 dtype ‖ u32 rows ‖ u32 cols in front of a posted output.
    uint256 internal constant TENSOR_HEADER = 11;

    // ── Programs ────────────────────────────────────────────────────────────────────────────────

    /// @notice The model's root; 0 when the preamble is not as long as its header says.
    function modelRoot(uint256[] calldata preamble, bytes32 graphRoot) internal pure returns (bytes32) {
        if (preamble.length == 0 || preamble.length != 1 + Program.inputs(preamble[0])) return 0;
        return keccak256(abi.encodePacked(uint8(3), preamble, graphRoot));
    }

    /// @notice Whether operator `op` of the program under this root has these nine words.
    function isOperator(
        bytes32 root,
        uint256[] calldata preamble,
        uint256 op,
        uint256[9] calldata operator,
        bytes32[] calldata path
    ) internal pure returns (bool) {
        if (preamble.length == 0) return false;
        uint256 operators = Program.operators(preamble[0]);
        if (op >= operators || path.length != Program.log(operators)) return false;
        return modelRoot(preamble, Merkle.climb(Merkle.operator(operator), op, path)) == root;
    }

    // ── Tensors ─────────────────────────────────────────────────────────────────────────────────

    /// @notice Whether the tensor that operator `op` wrote has this root: by the trace, or for the
    /// last operator by the delivered output. The proof's operator must have been checked before.
    function isResult(ExactClaim memory claim, uint256 op, TensorProof calldata proof) internal pure returns (bool) {
        uint256 header = proof.preamble[0];
        uint256 last = Program.operators(header) - 1;
        bytes32 leaf = Merkle.tensor(Program.inputs(header) + op, proof.operator[0], proof.result.root);
        bytes32[] calldata path = proof.result.path;
        if (op == last) return path.length == 0 && leaf == claim.outputRoot;
        return path.length == Program.log(last) && Merkle.climb(leaf, op, path) == claim.traceRoot;
    }

    /// @notice Levels between the root and the leaves of a tensor.
    function depth(uint256 spec) internal pure returns (uint256) {
        return Program.log(Program.rows(spec)) + _logLeaves(spec);
    }

    /// @notice Number of the leaf that holds an element, among all of a tensor's, absent ones included.
    function leafOf(uint256 spec, uint256 row, uint256 col) internal pure returns (uint256) {
        unchecked {
            return (row << _logLeaves(spec)) | ((col * Program.size(Program.dtype(spec))) >> LEAF_BITS);
        }
    }

    /// @notice Root of the subtree of this height that is number `index` of its level, over the
    /// logical bytes below it: of the rows, or the share of a row, that it spans.
    /// @return root Meaningless unless `fits`.
    /// @return fits Whether `data` is exactly as long as that.
    function subtree(
        uint256 spec,
        uint256 height,
        uint256 index,
        bytes calldata data
    ) internal pure returns (bytes32 root, bool fits) {
        bytes32[] memory nodes = new bytes32[](1 << height); // 0: an absent leaf
        uint256 taken;
        uint256 logLeaves = _logLeaves(spec);
        uint256 rowBytes = Program.rowBytes(spec);
        uint256 rows = Program.rows(spec);
        unchecked {
            for (uint256 i; i < nodes.length; ++i) {
                uint256 number = (index << height) + i;
                uint256 from = (number & ((1 << logLeaves) - 1)) << LEAF_BITS;
                if (number >> logLeaves >= rows || from >= rowBytes) continue;
                uint256 count = rowBytes - from;
                if (count > Merkle.LEAF_BYTES) count = Merkle.LEAF_BYTES;
                if (taken + count > data.length) return (0, false);
                nodes[i] = Merkle.leaf(data[taken:taken + count]);
                taken += count;
            }
        }
        return (Merkle.fold(nodes), taken == data.length);
    }

    /// @notice The tensor leaf of an output that carries its own header; 0 when the bytes are none.
    function outputRoot(bytes calldata output) internal pure returns (bytes32) {
        if (output.length <= TENSOR_HEADER) return 0;
        uint256 id = uint16(bytes2(output[0:2]));
        uint256 spec =
            (uint256(uint8(output[2])) << 64) |
                (uint256(uint32(bytes4(output[3:7]))) << 32) |
                uint32(bytes4(output[7:11]));
        bytes calldata data = output[TENSOR_HEADER:];
        // Also bounds rows and columns by the bytes, which are paid for: the tree below is no larger.
        if (Program.rows(spec) * Program.rowBytes(spec) != data.length) return 0;
        (bytes32 root, ) = subtree(spec, depth(spec), 0, data);
        return Merkle.tensor(id, spec, root);
    }

    function _logLeaves(uint256 spec) private pure returns (uint256) {
        return Program.log((Program.rowBytes(spec) + Merkle.LEAF_BYTES - 1) >> LEAF_BITS);
    }
}
