// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Program} from "./Program.sol";

/// @title The arithmetic of docs/exact.md, sections 1 and 4, on rows of stored numbers in calldata.
/// @notice A stored number is u = value + z: big-endian, z half the range when signed (`Program.zero`).
/// @dev Rows are logical bytes, at most 8,192, with whole elements, at least one. Loops take words of 32 bytes and
/// cut the one that reaches past the row, for what follows in calldata is somebody else's. Nothing overflows for a
/// validated program: the bounds stand beside the code.
library IntegerOps {
    int256 private constant MAX_BIAS = 1 << 61;
    int256 private constant MAX_MULT = (1 << 24) - 1;
    uint256 private constant MAX_SHIFT = 62;

    /// @notice What SOFTMAX needs beside its rows.
    struct Softmax {
        uint256 size; // bytes of an element
        uint256 shift; // of differences, before they are looked up
        uint256 place; // of the element asked for
        uint256 one; // what probability 1 is: 255 or 65,535
    }

    // Bytes, 16-bit and 32-bit numbers in lanes of 32, 64 and 128 bits.
    uint256 private constant U8_IN_32 = 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff;
    uint256 private constant U8_IN_64 = 0x00000000000000ff00000000000000ff00000000000000ff00000000000000ff;
    uint256 private constant U16_IN_64 = 0x000000000000ffff000000000000ffff000000000000ffff000000000000ffff;
    uint256 private constant U32_IN_64 = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
    uint256 private constant U1_IN_32 = 0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant U1_IN_64 = 0x0000000000000001000000000000000100000000000000010000000000000001;
    uint256 private constant U8_IN_8 = 0x0101010101010101010101010101010101010101010101010101010101010101;
    uint256 private constant U16_IN_16 = 0x0001000100010001000100010001000100010001000100010001000100010001;
    uint256 private constant U64_IN_128 = 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;

    // ── One number ──────────────────────────────────────────────────────────────────────────────

    /// @notice The stored form of element k; `size` is 1, 2, 4 or 16 bytes.
    function at(bytes calldata row, uint256 k, uint256 size) internal pure returns (uint256 stored) {
        assembly ("memory-safe") {
            stored := shr(sub(256, shl(3, size)), calldataload(add(row.offset, mul(k, size))))
        }
    }

    function value(uint256 stored, uint256 dtype) internal pure returns (int256) {
        unchecked {
            return int256(stored) - int256(Program.zero(dtype));
        }
    }

    /// @notice The stored form of a value, limited to the dtype's range.
    function store(int256 v, uint256 dtype) internal pure returns (uint256) {
        unchecked {
            v += int256(Program.zero(dtype));
            if (v < 0) return 0;
            uint256 top = (1 << (8 * Program.size(dtype))) - 1;
            return uint256(v) > top ? top : uint256(v);
        }
    }

    /// @notice bias, mult and shift of a channel's 16 bytes, limited so that arithmetic is total.
    function channel(uint256 record) internal pure returns (int256 bias, int256 mult, uint256 shift) {
        unchecked {
            bias = _limit(int256((record >> 64) & type(uint64).max) - (1 << 63), MAX_BIAS);
            mult = _limit(int256((record >> 32) & type(uint32).max) - (1 << 31), MAX_MULT);
            shift = (record >> 24) & 0xff;
        }
        if (shift == 0) shift = 1;
        if (shift > MAX_SHIFT) shift = MAX_SHIFT;
    }

    /// @notice An accumulator as an element: |acc| < 2^37, so every sum is below 2^63.
    function requantise(int256 acc, uint256 record, uint256 dtype) internal pure returns (uint256 stored) {
        (int256 bias, int256 mult, uint256 shift) = channel(record);
        return scaled(acc * mult + bias, shift, dtype);
    }

    /// @notice A product with its bias as an element: rounded half up, shifted, limited.
    function scaled(int256 product, uint256 shift, uint256 dtype) internal pure returns (uint256 stored) {
        unchecked {
            return store((product + int256(1 << (shift - 1))) >> shift, dtype);
        }
    }

    // ── Sums over a row ─────────────────────────────────────────────────────────────────────────

    /// @notice Σ of the values of a row.
    function sum(bytes calldata row, uint256 dtype) internal pure returns (int256) {
        uint256 size = Program.size(dtype);
        unchecked {
            return int256(_storedSum(row, size)) - int256(Program.zero(dtype) * (row.length / size));
        }
    }

    /// @notice Σ and number of the values whose mask byte is not zero. `mask` has a byte per element.
    function sumKept(
        bytes calldata row,
        uint256 dtype,
        bytes calldata mask
    ) internal pure returns (int256 total, uint256 kept) {
        uint256 size = Program.size(dtype);
        uint256 stored;
        assembly ("memory-safe") {
            let cut := sub(256, shl(3, size))
            let from := row.offset
            for {
                let k := 0
            } lt(k, mask.length) {
                k := add(k, 1)
            } {
                if byte(0, calldataload(add(mask.offset, k))) {
                    stored := add(stored, shr(cut, calldataload(from)))
                    kept := add(kept, 1)
                }
                from := add(from, size)
            }
        }
        unchecked {
            total = int256(stored) - int256(Program.zero(dtype) * kept);
        }
    }

    /// @notice Σ a·b of two rows with equally many elements of 1 or 2 bytes.
    function dot(bytes calldata a, uint256 aType, bytes calldata b, uint256 bType) internal pure returns (int256) {
        uint256 aSize = Program.size(aType);
        uint256 bSize = Program.size(bType);
        uint256 aZero = Program.zero(aType);
        uint256 bZero = Program.zero(bType);
        if (aSize < bSize) return _dot16by8(b, bZero, a, aZero);
        if (bSize < aSize) return _dot16by8(a, aZero, b, bZero);
        return aSize == 1 ? _dot8(a, aZero, b, bZero) : _dot16(a, aZero, b, bZero);
    }

    // ── Operators on a whole row ────────────────────────────────────────────────────────────────

    /// @notice The greatest stored number and the least place it stands at.
    function peak(bytes calldata row, uint256 size) internal pure returns (uint256 greatest, uint256 place) {
        assembly ("memory-safe") {
            let cut := sub(256, shl(3, size))
            greatest := shr(cut, calldataload(row.offset))
            let best := row.offset
            for {
                let from := add(row.offset, size)
                let end := add(row.offset, row.length)
            } lt(from, end) {
                from := add(from, size)
            } {
                let stored := shr(cut, calldataload(from))
                if gt(stored, greatest) {
                    greatest := stored
                    best := from
                }
            }
            place := div(sub(best, row.offset), size)
        }
    }

    /// @notice LAYERNORM before its channel: (x[j] − μ)/σ in units of 2^−16. |z| < 2^23.
    /// @param eps below 2^52; with n ≤ 4,096 and |x| ≤ 2^15, v + eps is below 2^55.
    function standardise(bytes calldata row, uint256 dtype, uint256 j, uint256 eps) internal pure returns (int256 z) {
        uint256 size = Program.size(dtype);
        unchecked {
            int256 n = int256(row.length / size);
            int256 s = sum(row, dtype);
            int256 v = n * dot(row, dtype, row, dtype) - s * s; // never negative (Cauchy-Schwarz)
            uint256 r = Math.max(1, Math.sqrt((uint256(v) + eps) << 8));
            return floorDiv((n * value(at(row, j, size), dtype) - s) << 20, int256(r));
        }
    }

    /// @notice SOFTMAX of one element, in stored form.
    /// @param mask A byte per element, or empty: all are kept.
    /// @param table u16, at least one.
    function softmax(
        bytes calldata row,
        bytes calldata mask,
        bytes calldata table,
        Softmax memory options
    ) internal pure returns (uint256) {
        uint256 greatest = _greatestKept(row, options.size, mask);
        uint256 total = _weights(row, mask, table, greatest, options);
        if (total == 0) return 0;
        unchecked {
            return (_weight(row, mask, table, greatest, options) * options.one + total / 2) / total;
        }
    }

    /// @notice ⌊a / b⌋ for b > 0.
    function floorDiv(int256 a, int256 b) internal pure returns (int256 q) {
        unchecked {
            q = a / b;
            if (a % b < 0) --q;
        }
    }

    // ── Private ─────────────────────────────────────────────────────────────────────────────────

    function _limit(int256 v, int256 bound) private pure returns (int256) {
        if (v > bound) return bound;
        return v < -bound ? -bound : v;
    }

    /// @dev Neighbours are added into lanes of twice their width; 2^(lane width) ≡ 1 modulo the lane's
    /// greatest number, so `mod` adds the lanes up. A word's sum is below that number for every size.
    function _storedSum(bytes calldata row, uint256 size) private pure returns (uint256 total) {
        assembly ("memory-safe") {
            let width := shl(3, size)
            let lane := sub(shl(shl(1, width), 1), 1)
            let mask := mul(div(not(0), lane), sub(shl(width, 1), 1))
            for {
                let from := row.offset
                let end := add(row.offset, row.length)
            } lt(from, end) {
                from := add(from, 0x20)
            } {
                let x := calldataload(from)
                let past := sub(add(from, 0x20), end)
                if sgt(past, 0) {
                    x := and(x, shl(shl(3, past), not(0)))
                }
                total := add(total, mod(add(and(x, mask), and(shr(width, x), mask)), lane))
            }
        }
    }

    /// @dev Σ of products without a loop over elements. As polynomials in 2^32, a word of eight lanes times a word
    /// with its lanes reversed has Σ x_k·w_k as coefficient of 2^224. A lane of four bytes takes four such
    /// products: of the bytes 0, 1, 2, 3 of each lane, their zero subtracted. Coefficients, also summed over a row,
    /// are within ±8,192·255² < 2^31, so all lower ones together are within ±2^223: rounding to the nearest
    /// multiple of 2^224 leaves the top one, with its sign.
    function _dot8(
        bytes calldata a,
        uint256 aZero,
        bytes calldata b,
        uint256 bZero
    ) private pure returns (int256 result) {
        assembly ("memory-safe") {
            let aLanes := mul(aZero, U1_IN_32)
            let bLanes := mul(bZero, U1_IN_32)
            let total := 0
            // From the last word, of which the row may fill only a part, down to the first.
            let i := and(sub(a.length, 1), not(0x1f))
            let past := not(shl(shl(3, sub(add(i, 0x20), a.length)), not(0)))
            let x := calldataload(add(a.offset, i))
            let w := calldataload(add(b.offset, i))
            x := or(and(x, not(past)), and(mul(aZero, U8_IN_8), past)) // zeros, as far as a's values go
            for {} 1 {} {
                w := or(shl(128, w), shr(128, w))
                w := or(shl(64, and(w, U64_IN_128)), and(shr(64, w), U64_IN_128))
                w := or(shl(32, and(w, U32_IN_64)), and(shr(32, w), U32_IN_64))
                total := add(total, mul(sub(and(x, U8_IN_32), aLanes), sub(and(w, U8_IN_32), bLanes)))
                total := add(total, mul(sub(and(shr(8, x), U8_IN_32), aLanes), sub(and(shr(8, w), U8_IN_32), bLanes)))
                total := add(total, mul(sub(and(shr(16, x), U8_IN_32), aLanes), sub(and(shr(16, w), U8_IN_32), bLanes)))
                total := add(total, mul(sub(and(shr(24, x), U8_IN_32), aLanes), sub(and(shr(24, w), U8_IN_32), bLanes)))
                if iszero(i) {
                    break
                }
                i := sub(i, 0x20)
                x := calldataload(add(a.offset, i))
                w := calldataload(add(b.offset, i))
            }
            result := sar(224, add(total, shl(223, 1)))
        }
    }

    /// @dev As `_dot8`, with four lanes of four elements in 64 bits: ±4,096·65,535² < 2^63.
    function _dot16(
        bytes calldata a,
        uint256 aZero,
        bytes calldata b,
        uint256 bZero
    ) private pure returns (int256 result) {
        assembly ("memory-safe") {
            let aLanes := mul(aZero, U1_IN_64)
            let bLanes := mul(bZero, U1_IN_64)
            let total := 0
            // From the last word, of which the row may fill only a part, down to the first.
            let i := and(sub(a.length, 1), not(0x1f))
            let past := not(shl(shl(3, sub(add(i, 0x20), a.length)), not(0)))
            let x := calldataload(add(a.offset, i))
            let w := calldataload(add(b.offset, i))
            x := or(and(x, not(past)), and(mul(aZero, U16_IN_16), past)) // zeros, as far as a's values go
            for {} 1 {} {
                w := or(shl(128, w), shr(128, w))
                w := or(shl(64, and(w, U64_IN_128)), and(shr(64, w), U64_IN_128))
                total := add(total, mul(sub(and(x, U16_IN_64), aLanes), sub(and(w, U16_IN_64), bLanes)))
                total := add(
                    total,
                    mul(sub(and(shr(16, x), U16_IN_64), aLanes), sub(and(shr(16, w), U16_IN_64), bLanes))
                )
                total := add(
                    total,
                    mul(sub(and(shr(32, x), U16_IN_64), aLanes), sub(and(shr(32, w), U16_IN_64), bLanes))
                )
                total := add(
                    total,
                    mul(sub(and(shr(48, x), U16_IN_64), aLanes), sub(and(shr(48, w), U16_IN_64), bLanes))
                )
                if iszero(i) {
                    break
                }
                i := sub(i, 0x20)
                x := calldataload(add(a.offset, i))
                w := calldataload(add(b.offset, i))
            }
            result := sar(192, add(total, shl(191, 1)))
        }
    }

    /// @dev As `_dot16`; b has half the bytes: 16 a time, spread over lanes of 64 bits in reverse order.
    function _dot16by8(
        bytes calldata a,
        uint256 aZero,
        bytes calldata b,
        uint256 bZero
    ) private pure returns (int256 result) {
        assembly ("memory-safe") {
            let aLanes := mul(aZero, U1_IN_64)
            let bLanes := mul(bZero, U1_IN_64)
            let total := 0
            let i := and(sub(b.length, 1), not(0x0f))
            let past := not(shl(shl(4, sub(add(i, 0x10), b.length)), not(0)))
            let x := calldataload(add(a.offset, shl(1, i)))
            let w := calldataload(add(b.offset, i))
            x := or(and(x, not(past)), and(mul(aZero, U16_IN_16), past))
            for {} 1 {} {
                w := shr(128, w)
                w := and(or(shl(128, w), shr(64, w)), U64_IN_128)
                w := and(or(shl(64, w), shr(32, w)), U32_IN_64)
                total := add(total, mul(sub(and(x, U16_IN_64), aLanes), sub(and(w, U8_IN_64), bLanes)))
                total := add(total, mul(sub(and(shr(16, x), U16_IN_64), aLanes), sub(and(shr(8, w), U8_IN_64), bLanes)))
                total := add(
                    total,
                    mul(sub(and(shr(32, x), U16_IN_64), aLanes), sub(and(shr(16, w), U8_IN_64), bLanes))
                )
                total := add(
                    total,
                    mul(sub(and(shr(48, x), U16_IN_64), aLanes), sub(and(shr(24, w), U8_IN_64), bLanes))
                )
                if iszero(i) {
                    break
                }
                i := sub(i, 0x10)
                x := calldataload(add(a.offset, shl(1, i)))
                w := calldataload(add(b.offset, i))
            }
            result := sar(192, add(total, shl(191, 1)))
        }
    }

    /// @dev Offset binary keeps the order, so stored numbers are compared. 0 when nothing is kept.
    function _greatestKept(
        bytes calldata row,
        uint256 size,
        bytes calldata mask
    ) private pure returns (uint256 greatest) {
        assembly ("memory-safe") {
            let cut := sub(256, shl(3, size))
            let all := iszero(mask.length)
            let keep := mask.offset
            for {
                let from := row.offset
                let end := add(row.offset, row.length)
            } lt(from, end) {
                from := add(from, size)
                keep := add(keep, 1)
            } {
                if or(all, byte(0, calldataload(keep))) {
                    let stored := shr(cut, calldataload(from))
                    if gt(stored, greatest) {
                        greatest := stored
                    }
                }
            }
        }
    }

    /// @dev Σ of the weights w_k.
    function _weights(
        bytes calldata row,
        bytes calldata mask,
        bytes calldata table,
        uint256 greatest,
        Softmax memory options
    ) private pure returns (uint256 total) {
        // Fewer locals than would read well: the stack has sixteen places.
        assembly ("memory-safe") {
            let cut := sub(256, shl(3, mload(options)))
            let shift := mload(add(options, 0x20))
            let keep := mask.offset
            for {
                let from := row.offset
                let end := add(row.offset, row.length)
            } lt(from, end) {
                from := add(from, mload(options))
                keep := add(keep, 1)
            } {
                if or(iszero(mask.length), byte(0, calldataload(keep))) {
                    let entry := shl(1, shr(shift, sub(greatest, shr(cut, calldataload(from)))))
                    if gt(add(entry, 2), table.length) {
                        entry := sub(table.length, 2)
                    }
                    total := add(total, shr(240, calldataload(add(table.offset, entry))))
                }
            }
        }
    }

    /// @dev The weight of one element: exp[min((greatest − x) >> shift, T − 1)], or 0 where it is not kept.
    function _weight(
        bytes calldata row,
        bytes calldata mask,
        bytes calldata table,
        uint256 greatest,
        Softmax memory options
    ) private pure returns (uint256) {
        uint256 place = options.place;
        if (mask.length != 0 && at(mask, place, 1) == 0) return 0;
        unchecked {
            uint256 entry = (greatest - at(row, place, options.size)) >> options.shift;
            return at(table, Math.min(entry, table.length / 2 - 1), 2);
        }
    }
}
