// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Fault, Piece} from "../interfaces/IValuationGame.sol";
import {IValuationVerifier} from "../interfaces/IValuationVerifier.sol";
import {Merkle} from "./Merkle.sol";
import {Program} from "./Program.sol";
import {ValuationTables} from "./ValuationTables.sol";

/// @notice A contribution's data set, as the chain knows it.
struct DataSet {
    bytes32 root;
    uint256 start; // its first row
    uint256 rows;
}

/// @notice What the chain knows of a round and its valuation, and what is opened so far of a proof.
struct Shown {
    uint256 features; // D
    uint256 neighbours; // K
    uint256 rowTolerance;
    uint256 testTolerance;
    uint256 contributions; // C
    uint256 N; // solhint-disable-line var-name-mixedcase
    uint256 n;
    uint256 T; // solhint-disable-line var-name-mixedcase
    bytes32[6] roots; // of order, sums, rows, values, nothing, the test set
    DataSet a; // those that the fault's indices say, if there are such
    DataSet b;
    uint256 named; // bit for each index that was asked for
    uint256[6] used; // pieces of each part
    uint256[3] last; // leaf of each table that was opened last, + 1
}

/// @title Opens the pieces of a proof in the order in which the rules ask for them.
/// @notice All positions and lengths of paths follow from the round and the indices; whoever proves chooses none.
/// A leaf that was the last opened of its table is not shown again.
library ValuationProofs {
    uint256 internal constant ORDER = 0;
    uint256 internal constant SUMS = 1;
    uint256 internal constant ROWS = 2;
    uint256 internal constant VALUES = 3;
    uint256 internal constant DATA = 4;
    uint256 internal constant TEST = 5;
    uint256 private constant PARTS = 6;

    // ── Indices ─────────────────────────────────────────────────────────────────────────────────

    function t(Shown memory shown, Fault calldata fault) internal pure returns (uint256) {
        return _index(shown, 0, fault.t, shown.T);
    }

    function p(Shown memory shown, Fault calldata fault, uint256 below) internal pure returns (uint256) {
        return _index(shown, 1, fault.p, below);
    }

    function i(Shown memory shown, Fault calldata fault) internal pure returns (uint256) {
        return _index(shown, 2, fault.i, shown.N);
    }

    function j(Shown memory shown, Fault calldata fault, uint256 below) internal pure returns (uint256) {
        return _index(shown, 3, fault.j, below);
    }

    /// @notice The contribution that index `a` says.
    function setA(Shown memory shown, Fault calldata fault) internal pure returns (DataSet memory) {
        _index(shown, 4, fault.a, shown.contributions);
        return shown.a;
    }

    function setB(Shown memory shown, Fault calldata fault) internal pure returns (DataSet memory) {
        _index(shown, 5, fault.b, shown.contributions);
        return shown.b;
    }

    /// @notice That a row is one of the contribution's.
    function requireOwner(DataSet memory set, uint256 row, string memory index) internal pure {
        if (row < set.start || row - set.start >= set.rows) revert IValuationVerifier.ProofInvalid(index);
    }

    /// @notice Refuses what nobody asked for.
    function finish(Shown memory shown, Fault calldata fault) internal pure {
        for (uint256 part; part < PARTS; ++part) {
            _require(_pieces(fault, part).length == shown.used[part], part);
        }
        uint32[6] memory given = [fault.t, fault.p, fault.i, fault.j, fault.a, fault.b];
        for (uint256 k; k < given.length; ++k) {
            if (given[k] != 0 && (shown.named >> k) & 1 == 0) revert IValuationVerifier.ProofInvalid("indices");
        }
    }

    // ── Tables ──────────────────────────────────────────────────────────────────────────────────

    /// @return row Of the data, at this position of this test point.
    /// @return distance Squared.
    /// @return s In 2⁻⁴⁰.
    function order(
        Shown memory shown,
        Fault calldata fault,
        uint256 point,
        uint256 position
    ) internal pure returns (uint256 row, uint256 distance, int256 s) {
        return _entry(shown, fault, ORDER, point, shown.T, position, shown.n);
    }

    /// @return position Of the row for this test point.
    /// @return between A word that is 0.
    /// @return running What the row got from this point and those before.
    function sums(
        Shown memory shown,
        Fault calldata fault,
        uint256 row,
        uint256 point
    ) internal pure returns (uint256 position, uint256 between, int256 running) {
        return _entry(shown, fault, SUMS, row, shown.N, point, shown.T);
    }

    function rows(
        Shown memory shown,
        Fault calldata fault,
        uint256 row
    ) internal pure returns (uint256 flag, uint256 witness, uint256 flagged, int256 prefix) {
        (flag, flagged, prefix) = _entry(shown, fault, ROWS, 0, 1, row, shown.N);
        (flag, witness) = (flag >> 24, flag & 0xffffff);
    }

    function value(Shown memory shown, Fault calldata fault, uint256 number) internal pure returns (uint256 given) {
        Piece calldata piece = _next(shown, fault, VALUES);
        _require(piece.data.length == 12 && uint32(bytes4(piece.data)) == number, VALUES);
        given = uint64(bytes8(piece.data[4:]));
        bytes32 leaf = ValuationTables.valueLeaf(number, given);
        _check(piece, VALUES, leaf, number, Program.log(shown.contributions), shown.roots[VALUES]);
    }

    // ── Rows of data ────────────────────────────────────────────────────────────────────────────

    /// @return point Features and label of a row of the contribution that index `a` says.
    function rowOfA(
        Shown memory shown,
        Fault calldata fault,
        uint256 row
    ) internal pure returns (bytes calldata point) {
        return _row(shown, fault, setA(shown, fault), row, "a");
    }

    function rowOfB(
        Shown memory shown,
        Fault calldata fault,
        uint256 row
    ) internal pure returns (bytes calldata point) {
        return _row(shown, fault, setB(shown, fault), row, "b");
    }

    function test(Shown memory shown, Fault calldata fault, uint256 point) internal pure returns (bytes calldata) {
        return _point(shown, fault, TEST, shown.roots[TEST], point, shown.T);
    }

    /// @notice Squared distance of the features of two rows; stored bytes differ as the numbers do.
    function squared(bytes calldata one, bytes calldata other) internal pure returns (uint256 sum) {
        assembly ("memory-safe") {
            let at := one.offset
            let to := other.offset
            for {
                let end := add(at, sub(one.length, 2))
            } lt(at, end) {
                at := add(at, 1)
                to := add(to, 1)
            } {
                let gap := sub(byte(0, calldataload(at)), byte(0, calldataload(to)))
                sum := add(sum, mul(gap, gap))
            }
        }
    }

    function label(bytes calldata point) internal pure returns (uint256) {
        return uint16(bytes2(point[point.length - 2:]));
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _index(Shown memory shown, uint256 bit, uint256 given, uint256 below) private pure returns (uint256) {
        shown.named |= 1 << bit;
        if (given >= below) revert IValuationVerifier.ProofInvalid("indices");
        return given;
    }

    function _row(
        Shown memory shown,
        Fault calldata fault,
        DataSet memory set,
        uint256 row,
        string memory index
    ) private pure returns (bytes calldata) {
        requireOwner(set, row, index);
        return _point(shown, fault, DATA, set.root, row - set.start, set.rows);
    }

    function _point(
        Shown memory shown,
        Fault calldata fault,
        uint256 part,
        bytes32 root,
        uint256 row,
        uint256 count
    ) private pure returns (bytes calldata) {
        Piece calldata piece = _next(shown, fault, part);
        _require(piece.data.length == shown.features + 2, part);
        _check(piece, part, ValuationTables.rowLeaf(piece.data), row, Program.log(count), root);
        return piece.data;
    }

    /// @dev The three numbers of the entry at (row, col) of a table of `height` rows and `width` entries a row.
    function _entry(
        Shown memory shown,
        Fault calldata fault,
        uint256 part,
        uint256 row,
        uint256 height,
        uint256 col,
        uint256 width
    ) private pure returns (uint256, uint256, int256) {
        _require(row < height && col < width, part);
        uint256 leaf = (row << ValuationTables.logLeaves(width)) | (col >> ValuationTables.LEAF_BITS);
        if (shown.last[part] != leaf + 1) {
            shown.last[part] = leaf + 1;
            _open(shown, _next(shown, fault, part), part, leaf, col, height, width);
        }
        return _read(_pieces(fault, part)[shown.used[part] - 1].data, col & ValuationTables.LEAF_MASK);
    }

    function _open(
        Shown memory shown,
        Piece calldata piece,
        uint256 part,
        uint256 leaf,
        uint256 col,
        uint256 height,
        uint256 width
    ) private pure {
        uint256 length = ValuationTables.leafBytes(width, col >> ValuationTables.LEAF_BITS);
        _require(piece.data.length == length, part);
        uint256 depth = Program.log(height) + ValuationTables.logLeaves(width);
        _check(piece, part, ValuationTables.leaf(piece.data), leaf, depth, shown.roots[part]);
    }

    function _read(bytes calldata leaf, uint256 entry) private pure returns (uint256, uint256, int256) {
        uint256 word = uint128(bytes16(leaf[entry * ValuationTables.ENTRY_BYTES:]));
        unchecked {
            return (word >> 96, uint32(word >> 64), int256(uint256(uint64(word))) - int256(1 << 63));
        }
    }

    function _check(
        Piece calldata piece,
        uint256 part,
        bytes32 leaf,
        uint256 index,
        uint256 depth,
        bytes32 root
    ) private pure {
        _require(piece.path.length == depth && Merkle.climb(leaf, index, piece.path) == root, part);
    }

    function _next(Shown memory shown, Fault calldata fault, uint256 part) private pure returns (Piece calldata) {
        Piece[] calldata pieces = _pieces(fault, part);
        uint256 used = shown.used[part];
        _require(used < pieces.length, part);
        shown.used[part] = used + 1;
        return pieces[used];
    }

    function _pieces(Fault calldata fault, uint256 part) private pure returns (Piece[] calldata) {
        if (part == ORDER) return fault.order;
        if (part == SUMS) return fault.sums;
        if (part == ROWS) return fault.rows;
        if (part == VALUES) return fault.values;
        return part == DATA ? fault.data : fault.test;
    }

    function _require(bool holds, uint256 part) private pure {
        if (holds) return;
        string[6] memory names = ["order", "sums", "rows", "values", "data", "test"];
        revert IValuationVerifier.ProofInvalid(names[part]);
    }
}
