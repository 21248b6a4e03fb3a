// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title The words of a program and what their bits mean (docs/exact.md, sections 1 to 3).
/// @dev Reads only; whether a word is valid is ProgramRegistry's question.
library Program {
    // Dtypes. The first five are numbers; channel and node are records that only constants hold.
    uint256 internal constant I8 = 1;
    uint256 internal constant U8 = 2;
    uint256 internal constant I16 = 3;
    uint256 internal constant U16 = 4;
    uint256 internal constant I32 = 5;
    uint256 internal constant CHANNEL = 6;
    uint256 internal constant NODE = 7;

    uint256 internal constant DOT = 1;
    uint256 internal constant ADD = 2;
    uint256 internal constant LUT = 3;
    uint256 internal constant LAYERNORM = 4;
    uint256 internal constant SOFTMAX = 5;
    uint256 internal constant MEAN = 6;
    uint256 internal constant MAX = 7;
    uint256 internal constant SUM = 8;
    uint256 internal constant ARGMAX = 9;
    uint256 internal constant GATHER = 10;
    uint256 internal constant VIEW = 11;
    uint256 internal constant PAD = 12;
    uint256 internal constant CONCAT = 13;
    uint256 internal constant TREE = 14;
    uint256 internal constant RESCALE = 15;

    // Kinds of operands.
    uint256 internal constant ABSENT = 0;
    uint256 internal constant ACTIVATION = 1;
    uint256 internal constant CONSTANT = 2;

    uint256 internal constant FORMAT = 1;
    uint256 internal constant WORDS = 9; // an operator's
    uint256 internal constant SPEC_BITS = 72;

    uint256 private constant U32_MASK = 0xffffffff;
    uint256 private constant SIZES = 0x1010040202010100; // bytes of dtype t in byte t
    uint256 private constant SIGNED_32 = 1 << 31;

    // ── Header ──────────────────────────────────────────────────────────────────────────────────

    function operators(uint256 header) internal pure returns (uint256) {
        return header & 0xffff;
    }

    function inputs(uint256 header) internal pure returns (uint256) {
        return (header >> 16) & 0xff;
    }

    // ── Spec: of an input, of a result (head), of an operand ────────────────────────────────────

    function spec(uint256 word) internal pure returns (uint256) {
        return word & ((1 << SPEC_BITS) - 1);
    }

    function cols(uint256 word) internal pure returns (uint256) {
        return word & U32_MASK;
    }

    function rows(uint256 word) internal pure returns (uint256) {
        return (word >> 32) & U32_MASK;
    }

    function dtype(uint256 word) internal pure returns (uint256) {
        return (word >> 64) & 0xff;
    }

    /// @notice Bytes of one row, without padding.
    function rowBytes(uint256 word) internal pure returns (uint256) {
        unchecked {
            return cols(word) * size(dtype(word)); // 32 bits by 5
        }
    }

    // ── Head and operand words ──────────────────────────────────────────────────────────────────

    function opcode(uint256 head) internal pure returns (uint256) {
        return (head >> 72) & 0xff;
    }

    function operandCount(uint256 head) internal pure returns (uint256) {
        return (head >> 80) & 0xff;
    }

    function kind(uint256 operand) internal pure returns (uint256) {
        return (operand >> 72) & 0xff;
    }

    function index(uint256 operand) internal pure returns (uint256) {
        return (operand >> 80) & 0xffff;
    }

    function lane(uint256[9] calldata operator, uint256 k) internal pure returns (uint256) {
        unchecked {
            return (operator[1 + k / 8] >> (32 * (k % 8))) & U32_MASK;
        }
    }

    // ── Dtypes ──────────────────────────────────────────────────────────────────────────────────

    /// @notice Bytes of one element; 0 for what is no dtype.
    function size(uint256 dtype_) internal pure returns (uint256) {
        unchecked {
            return (SIZES >> (8 * dtype_)) & 0xff;
        }
    }

    /// @notice The stored form of 0: half the range for signed numbers.
    function zero(uint256 dtype_) internal pure returns (uint256) {
        if (dtype_ == I8) return 0x80;
        if (dtype_ == I16) return 0x8000;
        return dtype_ == I32 ? SIGNED_32 : 0;
    }

    /// @notice The least d with 2^d ≥ n; n is at least 1.
    function log(uint256 n) internal pure returns (uint256) {
        unchecked {
            return n < 2 ? 0 : Math.log2(n - 1) + 1;
        }
    }

    /// @notice Whether d = log(n); n is at least 1.
    function isLog(uint256 d, uint256 n) internal pure returns (bool) {
        unchecked {
            return (n - 1) >> d == 0 && (d == 0 || (n - 1) >> (d - 1) != 0);
        }
    }
}
