// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Fault} from "../interfaces/IValuationGame.sol";
import {IValuationVerifier} from "../interfaces/IValuationVerifier.sol";
import {DataSet, Shown, ValuationProofs} from "./ValuationProofs.sol";

/// @title What convicts: the fourteen rules of docs/valuation.md, section 4.
/// @notice Each asks for indices and entries in the order in which the proof holds its pieces (section 5).
library ValuationFaults {
    using ValuationProofs for Shown;

    uint256 private constant ONE = 1 << 40;
    uint256 private constant NOWHERE = type(uint32).max; // position of a flagged row
    uint256 private constant DUPLICATE = 1;
    uint256 private constant LEAKED = 2;

    /// @return guilty Whether what is shown is the fault that `fault.code` names. Reverts when the proof does not fit.
    function convicts(Shown memory shown, Fault calldata fault) internal pure returns (bool guilty) {
        uint256 code = fault.code;
        if (code == 0 || code > 14) revert IValuationVerifier.ProofInvalid("code");
        if (code < 6) guilty = _inOrder(shown, fault, code);
        else if (code == 6) guilty = _rank(shown, fault);
        else if (code == 7) guilty = _runningSum(shown, fault);
        else if (code == 8) guilty = _flaggedSum(shown, fault);
        else if (code == 9) guilty = _falseFlag(shown, fault);
        else if (code == 10) guilty = _missingFlag(shown, fault);
        else if (code == 11) guilty = _laterWitness(shown, fault);
        else if (code == 12) guilty = _flagCount(shown, fault);
        else if (code == 13) guilty = _prefix(shown, fault);
        else guilty = _value(shown, fault);
        shown.finish(fault);
    }

    // ── order ───────────────────────────────────────────────────────────────────────────────────

    function _inOrder(Shown memory shown, Fault calldata fault, uint256 code) private pure returns (bool) {
        uint256 t = shown.t(fault);
        if (code == 2) return _order(shown, fault, t);
        uint256 p = shown.p(fault, shown.n);
        (uint256 row, uint256 distance, int256 s) = shown.order(fault, t, p);
        if (code == 1) return ValuationProofs.squared(shown.rowOfA(fault, row), shown.test(fault, t)) != distance;
        if (code == 3) return row >= shown.N;
        if (code == 5) return s != _step(shown, fault, t, p, row);
        (uint256 flag, , , ) = shown.rows(fault, row);
        return flag != 0;
    }

    function _order(Shown memory shown, Fault calldata fault, uint256 t) private pure returns (bool) {
        uint256 p = shown.p(fault, shown.n == 0 ? 0 : shown.n - 1);
        (uint256 row, uint256 distance, ) = shown.order(fault, t, p);
        (uint256 nextRow, uint256 nextDistance, ) = shown.order(fault, t, p + 1);
        return distance > nextDistance || (distance == nextDistance && row >= nextRow);
    }

    /// @dev What the recurrence makes of the entry after it, or of none.
    function _step(
        Shown memory shown,
        Fault calldata fault,
        uint256 t,
        uint256 p,
        uint256 row
    ) private pure returns (int256 s) {
        uint256 nextRow;
        bool last = p + 1 == shown.n;
        if (!last) (nextRow, , s) = shown.order(fault, t, p + 1);
        uint256 label = ValuationProofs.label(shown.rowOfA(fault, row));
        uint256 nextLabel = last ? type(uint256).max : ValuationProofs.label(shown.rowOfB(fault, nextRow));
        uint256 wanted = ValuationProofs.label(shown.test(fault, t));
        uint256 k = shown.neighbours;
        int256 weight = int256((ONE * (p < k ? p + 1 : k)) / (k * (p + 1)));
        if (label == wanted) s += weight;
        if (nextLabel == wanted) s -= weight;
    }

    // ── sums ────────────────────────────────────────────────────────────────────────────────────

    function _rank(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 t = shown.t(fault);
        uint256 p = shown.p(fault, shown.n);
        (uint256 row, , ) = shown.order(fault, t, p);
        (uint256 position, , ) = shown.sums(fault, row, t);
        return position != p;
    }

    function _runningSum(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        uint256 t = shown.t(fault);
        (uint256 position, , int256 running) = shown.sums(fault, i, t);
        int256 previous;
        if (t != 0) (, , previous) = shown.sums(fault, i, t - 1);
        if (position >= shown.n) return false;
        (uint256 row, , int256 s) = shown.order(fault, t, position);
        return row != i || running != previous + s;
    }

    function _flaggedSum(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        uint256 t = shown.t(fault);
        (uint256 flag, , , ) = shown.rows(fault, i);
        (uint256 position, uint256 between, int256 running) = shown.sums(fault, i, t);
        if (between != 0) return true;
        return flag == 0 ? position >= shown.n : position != NOWHERE || running != 0;
    }

    // ── rows ────────────────────────────────────────────────────────────────────────────────────

    function _falseFlag(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        (uint256 flag, uint256 witness, , ) = shown.rows(fault, i);
        if (flag == DUPLICATE && witness < i) {
            (bool near, bool flagged) = _toRow(shown, fault, i, witness);
            return flagged || !near;
        }
        if (flag == LEAKED && witness < shown.T) return _toTest(shown, fault, i, witness) > shown.testTolerance;
        return flag != 0 || witness != 0;
    }

    function _missingFlag(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        (uint256 flag, , , ) = shown.rows(fault, i);
        (bool near, ) = _witness(shown, fault, i);
        return flag == 0 && near;
    }

    function _laterWitness(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        (uint256 flag, uint256 given, , ) = shown.rows(fault, i);
        (bool near, uint256 witness) = _witness(shown, fault, i);
        if (!near) return false;
        if (_isByRow(fault)) return flag == DUPLICATE && witness < given;
        return flag == DUPLICATE || (flag == LEAKED && witness < given);
    }

    /// @return near Whether the row or test point that is shown is a reason to flag row i.
    /// @return witness Its number.
    function _witness(
        Shown memory shown,
        Fault calldata fault,
        uint256 i
    ) private pure returns (bool near, uint256 witness) {
        if (!_isByRow(fault)) {
            witness = shown.t(fault);
            return (_toTest(shown, fault, i, witness) <= shown.testTolerance, witness);
        }
        witness = shown.j(fault, i);
        bool flagged;
        (near, flagged) = _toRow(shown, fault, i, witness);
        return (near && !flagged, witness);
    }

    function _isByRow(Fault calldata fault) private pure returns (bool) {
        return fault.data.length == 2;
    }

    /// @return near Whether row i repeats row j: features within the tolerance, and the same label.
    /// @return flagged Whether row j is.
    function _toRow(
        Shown memory shown,
        Fault calldata fault,
        uint256 i,
        uint256 j
    ) private pure returns (bool near, bool flagged) {
        bytes calldata one = shown.rowOfA(fault, i);
        bytes calldata other = shown.rowOfB(fault, j);
        near =
            ValuationProofs.squared(one, other) <= shown.rowTolerance &&
            ValuationProofs.label(one) == ValuationProofs.label(other);
        (uint256 flag, , , ) = shown.rows(fault, j);
        return (near, flag != 0);
    }

    function _toTest(Shown memory shown, Fault calldata fault, uint256 i, uint256 t) private pure returns (uint256) {
        return ValuationProofs.squared(shown.rowOfA(fault, i), shown.test(fault, t));
    }

    function _flagCount(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        (uint256 flag, , uint256 flagged, ) = shown.rows(fault, i);
        uint256 previous;
        if (i != 0) (, , previous, ) = shown.rows(fault, i - 1);
        if (flagged != previous + (flag == 0 ? 0 : 1)) return true;
        return i + 1 == shown.N && shown.n + flagged != shown.N;
    }

    function _prefix(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        uint256 i = shown.i(fault);
        DataSet memory set = shown.setA(fault);
        ValuationProofs.requireOwner(set, i, "a");
        (, , , int256 prefix) = shown.rows(fault, i);
        int256 previous;
        if (i != set.start) (, , , previous) = shown.rows(fault, i - 1);
        (, , int256 running) = shown.sums(fault, i, shown.T - 1);
        return prefix != previous + running;
    }

    function _value(Shown memory shown, Fault calldata fault) private pure returns (bool) {
        DataSet memory set = shown.setA(fault);
        uint256 given = shown.value(fault, fault.a);
        (, , , int256 prefix) = shown.rows(fault, set.start + set.rows - 1);
        return given != (prefix > 0 ? uint256(prefix) : 0);
    }
}
