// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IStepVerifier, ExactClaim, Opening, Slice, Step} from "./interfaces/IStepVerifier.sol";
import {IntegerOps} from "./libraries/IntegerOps.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Program} from "./libraries/Program.sol";

/// @title Computes one element of one operator again and says whether the committed one equals it.
/// @notice A step is opened from the claim downwards: program, operands, slices, result. Every position and the
/// length of every path and of every slice follow from the program's words and (op, row, col).
/// @dev Warning: sound only for a `modelRoot` that a ProgramRegistry validated; the bounds on which the
/// arithmetic rests are checked there, once.
contract StepVerifier is IStepVerifier {
    using Program for uint256;

    uint256 private constant LEAF_NODE = 0x7fff; // the feature of a tree's leaf
    uint256 private constant MISSING = 0xffff;

    /// @dev Roots of the operands, once they are bound to the claim, and how many slices were read.
    struct Operands {
        bytes32[3] roots;
        uint256 read;
    }

    // ── The judgement ───────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IStepVerifier
    function check(ExactClaim calldata claim, Step calldata step) external pure returns (bool consistent) {
        (uint256 stored, uint256 header) = _compute(claim, step);
        uint256 head = step.operator[0];
        Opening calldata result = step.result;
        bytes32 root = result.root;
        if (!_resultFits(claim, step.op, header, head.spec(), result)) revert ProofInvalid("result");
        (bytes calldata data, bool fits) = _openLeaf(step.element, head, root, step.row, step.col);
        if (!fits) revert ProofInvalid("element");
        return stored == _inLeaf(data, head, step.col);
    }

    /// @inheritdoc IStepVerifier
    function compute(ExactClaim calldata claim, Step calldata step) external pure returns (uint256 stored) {
        (stored, ) = _compute(claim, step);
    }

    function _compute(
        ExactClaim calldata claim,
        Step calldata step
    ) private pure returns (uint256 stored, uint256 header) {
        header = _bindProgram(claim.modelRoot, step);
        Operands memory operands;
        _bindOperands(claim, step, header, operands);
        stored = _evaluate(step, operands);
        if (operands.read != step.slices.length) revert ProofInvalid("slices");
    }

    // ── Binding to the claim ────────────────────────────────────────────────────────────────────

    /// @dev After this the preamble and the operator's words are those of the validated program.
    function _bindProgram(bytes32 modelRoot, Step calldata step) private pure returns (uint256 header) {
        uint256[] calldata preamble = step.preamble;
        if (preamble.length != 0) header = preamble[0];
        unchecked {
            if (header == 0 || preamble.length != 1 + header.inputs()) revert ProofInvalid("preamble");
        }
        uint256 nOps = header.operators();
        if (step.op >= nOps) revert PositionInvalid(step.op, step.row, step.col);
        bytes32[] calldata path = step.operatorPath;
        if (!Program.isLog(path.length, nOps)) revert ProofInvalid("operator");
        bytes32 graphRoot = Merkle.climb(Merkle.operator(step.operator), step.op, path);
        if (keccak256(abi.encodePacked(uint8(3), preamble, graphRoot)) != modelRoot) revert ProofInvalid("operator");
        uint256 head = step.operator[0];
        if (step.row >= head.rows() || step.col >= head.cols()) revert PositionInvalid(step.op, step.row, step.col);
    }

    /// @dev After this each operand's root is the one that the request, the trace or the program commits to.
    function _bindOperands(
        ExactClaim calldata claim,
        Step calldata step,
        uint256 header,
        Operands memory operands
    ) private pure {
        Opening[] calldata openings = step.operands;
        if (openings.length != step.operator[0].operandCount()) revert ProofInvalid("operands");
        _bindInputs(claim.inputRoot, step, header);
        for (uint256 k; k < openings.length; ++k) {
            uint256 word = _word(step, k);
            if (!_operandFits(claim.traceRoot, step, header, word, openings[k])) {
                revert ProofInvalid(_numbered("operand ", k));
            }
            // A constant's root is the program's, whatever the opening says.
            operands.roots[k] = word.kind() == Program.ACTIVATION ? openings[k].root : _constant(step, k);
        }
    }

    /// @dev The leaves of all inputs come when an operand is an input, and only then.
    function _bindInputs(bytes32 inputRoot, Step calldata step, uint256 header) private pure {
        bytes32[] calldata leaves = step.inputLeaves;
        uint256 count = header.inputs();
        bool read =
            _isInput(_word(step, 0), count) || _isInput(_word(step, 1), count) || _isInput(_word(step, 2), count);
        if (leaves.length != (read ? count : 0)) revert ProofInvalid("inputs");
        if (read && keccak256(abi.encodePacked(uint8(5), leaves)) != inputRoot) revert ProofInvalid("inputs");
    }

    function _operandFits(
        bytes32 traceRoot,
        Step calldata step,
        uint256 header,
        uint256 word,
        Opening calldata opening
    ) private pure returns (bool) {
        bytes32[] calldata path = opening.path;
        if (word.kind() == Program.CONSTANT) return path.length == 0;
        if (word.kind() == Program.ABSENT) return path.length == 0 && opening.root == 0;
        bytes32 leaf = Merkle.tensor(word.index(), word.spec(), opening.root);
        if (_isInput(word, header.inputs())) return path.length == 0 && step.inputLeaves[word.index()] == leaf;
        return _inTrace(leaf, word.index(), header, path, traceRoot);
    }

    function _isInput(uint256 word, uint256 nInputs) private pure returns (bool) {
        return word.kind() == Program.ACTIVATION && word.index() < nInputs;
    }

    /// @dev The last operator's tensor is the delivered output, the others' are in the trace.
    function _resultFits(
        ExactClaim calldata claim,
        uint256 op,
        uint256 header,
        uint256 spec,
        Opening calldata result
    ) private pure returns (bool) {
        unchecked {
            uint256 id = header.inputs() + op;
            bytes32 leaf = Merkle.tensor(id, spec, result.root);
            if (op + 1 == header.operators()) return result.path.length == 0 && leaf == claim.outputRoot;
            return _inTrace(leaf, id, header, result.path, claim.traceRoot);
        }
    }

    /// @dev The trace holds the tensors of all operators but the last, from the first operator's on.
    function _inTrace(
        bytes32 leaf,
        uint256 id,
        uint256 header,
        bytes32[] calldata path,
        bytes32 traceRoot
    ) private pure returns (bool) {
        uint256 place = id - header.inputs();
        uint256 count = header.operators() - 1;
        assert(place < count); // a validated operator reads smaller ids only
        return Program.isLog(path.length, count) && Merkle.climb(leaf, place, path) == traceRoot;
    }

    // ── Reading operands, one slice a call, in order ────────────────────────────────────────────

    /// @dev Operand k's word; k < 3.
    function _word(Step calldata step, uint256 k) private pure returns (uint256) {
        unchecked {
            return step.operator[3 + 2 * k];
        }
    }

    function _constant(Step calldata step, uint256 k) private pure returns (bytes32 root) {
        unchecked {
            return bytes32(step.operator[4 + 2 * k]);
        }
    }

    function _next(Step calldata step, Operands memory operands) private pure returns (Slice calldata slice) {
        uint256 read = operands.read;
        Slice[] calldata slices = step.slices;
        if (read >= slices.length) revert ProofInvalid("slices");
        unchecked {
            operands.read = read + 1;
        }
        return slices[read];
    }

    /// @notice The logical bytes of a whole row of operand k.
    function _row(
        Step calldata step,
        Operands memory operands,
        uint256 k,
        uint256 row
    ) private pure returns (bytes calldata data) {
        bool fits;
        (data, fits) = _openRow(_next(step, operands), _word(step, k), operands.roots[k], row);
        if (!fits) _refuseSlice(operands);
    }

    /// @notice The row's share of the leaf of operand k that holds (row, col).
    function _leaf(
        Step calldata step,
        Operands memory operands,
        uint256 k,
        uint256 row,
        uint256 col
    ) private pure returns (bytes calldata data) {
        bool fits;
        (data, fits) = _openLeaf(_next(step, operands), _word(step, k), operands.roots[k], row, col);
        if (!fits) _refuseSlice(operands);
    }

    /// @notice The stored form of one element of operand k (16 bytes for a record).
    function _element(
        Step calldata step,
        Operands memory operands,
        uint256 k,
        uint256 row,
        uint256 col
    ) private pure returns (uint256 stored) {
        return _inLeaf(_leaf(step, operands, k, row, col), _word(step, k), col);
    }

    /// @notice The value of one element of operand k.
    function _value(
        Step calldata step,
        Operands memory operands,
        uint256 k,
        uint256 row,
        uint256 col
    ) private pure returns (int256) {
        return IntegerOps.value(_element(step, operands, k, row, col), _word(step, k).dtype());
    }

    /// @dev The slice's bytes, and whether they are this row under this root.
    function _openRow(
        Slice calldata slice,
        uint256 word,
        bytes32 root,
        uint256 row
    ) private pure returns (bytes calldata data, bool fits) {
        data = slice.data;
        bytes32[] calldata path = slice.path;
        assert(row < word.rows());
        fits =
            data.length == word.rowBytes() &&
            Program.isLog(path.length, word.rows()) &&
            Merkle.climb(Merkle.row(data), row, path) == root;
    }

    /// @dev The slice's bytes, and whether they are the row's share of the leaf that holds (row, col).
    function _openLeaf(
        Slice calldata slice,
        uint256 word,
        bytes32 root,
        uint256 row,
        uint256 col
    ) private pure returns (bytes calldata data, bool fits) {
        data = slice.data;
        assert(row < word.rows() && col < word.cols());
        // Nothing overflows: rows, columns and sizes are fields of 32 bits and less.
        unchecked {
            uint256 rowBytes = word.rowBytes();
            uint256 from = (col * word.dtype().size()) & ~(Merkle.LEAF_BYTES - 1); // where the leaf begins in the row
            uint256 share = rowBytes - from;
            if (data.length != (share < Merkle.LEAF_BYTES ? share : Merkle.LEAF_BYTES)) return (data, false);
            bytes32[] calldata path = slice.path;
            uint256 depth = Program.log((rowBytes + Merkle.LEAF_BYTES - 1) / Merkle.LEAF_BYTES); // below the row
            if (path.length < depth || !Program.isLog(path.length - depth, word.rows())) return (data, false);
            fits = Merkle.climb(Merkle.leaf(data), (row << depth) + from / Merkle.LEAF_BYTES, path) == root;
        }
    }

    /// @dev Elements divide leaves, so none lies in two.
    function _inLeaf(bytes calldata data, uint256 word, uint256 col) private pure returns (uint256 stored) {
        unchecked {
            uint256 size = word.dtype().size();
            return IntegerOps.at(data, col % (Merkle.LEAF_BYTES / size), size);
        }
    }

    /// @dev The slice that was taken last is not what it has to be.
    function _refuseSlice(Operands memory operands) private pure {
        revert ProofInvalid(_numbered("slice ", operands.read - 1));
    }

    function _numbered(string memory part, uint256 k) private pure returns (string memory) {
        return string.concat(part, Strings.toString(k));
    }

    // ── Operators: docs/exact.md, section 4, in its order ───────────────────────────────────────

    function _evaluate(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 code = step.operator[0].opcode();
        if (code == Program.DOT) return _dot(step, operands);
        if (code == Program.ADD) return _add(step, operands);
        if (code == Program.LUT) return _lookUp(step, operands);
        if (code == Program.LAYERNORM) return _layerNorm(step, operands);
        if (code == Program.SOFTMAX) return _softmax(step, operands);
        if (code == Program.MEAN) return _mean(step, operands);
        if (code <= Program.ARGMAX) return _reduce(step, operands, code);
        if (code == Program.GATHER) return _gather(step, operands);
        if (code == Program.VIEW) return _view(step, operands);
        if (code == Program.PAD) return _pad(step, operands);
        if (code == Program.CONCAT) return _concat(step, operands);
        if (code == Program.TREE) return _tree(step, operands);
        assert(code == Program.RESCALE);
        return _rescale(step, operands);
    }

    /// @dev ch(k): the channels of operand `operand` are one for all columns, or one each.
    function _channel(
        Step calldata step,
        Operands memory operands,
        uint256 operand,
        uint256 k
    ) private pure returns (uint256 record) {
        return _element(step, operands, operand, 0, step.operator[3 + 2 * operand].cols() == 1 ? 0 : k);
    }

    function _dot(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 result = step.operator[0];
        uint256 other = (step.row / Program.lane(step.operator, 0)) * result.cols() + step.col;
        int256 acc = _products(step, operands, other);
        return IntegerOps.requantise(acc, _channel(step, operands, 2, other), result.dtype());
    }

    function _products(Step calldata step, Operands memory operands, uint256 other) private pure returns (int256) {
        bytes calldata a = _row(step, operands, 0, step.row);
        bytes calldata b = _row(step, operands, 1, other);
        return IntegerOps.dot(a, step.operator[3].dtype(), b, step.operator[5].dtype());
    }

    function _add(Step calldata step, Operands memory operands) private pure returns (uint256) {
        int256 a = _value(step, operands, 0, step.row, step.col);
        int256 b = _value(step, operands, 1, step.operator[5].rows() == 1 ? 0 : step.row, step.col);
        (uint256 first, uint256 second) = _twoChannels(step, operands);
        (int256 bias, int256 aMult, uint256 shift) = IntegerOps.channel(first);
        (, int256 bMult, ) = IntegerOps.channel(second);
        return IntegerOps.scaled(a * aMult + b * bMult + bias, shift, step.operator[0].dtype());
    }

    /// @dev Both channels of ADD lie in one leaf, which is shown once.
    function _twoChannels(
        Step calldata step,
        Operands memory operands
    ) private pure returns (uint256 first, uint256 second) {
        uint256 word = step.operator[7];
        bytes calldata data = _leaf(step, operands, 2, 0, 0);
        return (_inLeaf(data, word, 0), _inLeaf(data, word, 1));
    }

    function _lookUp(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 entry = _element(step, operands, 0, step.row, step.col);
        return _element(step, operands, 1, 0, entry);
    }

    function _layerNorm(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 eps = Program.lane(step.operator, 0) | (Program.lane(step.operator, 1) << 32);
        bytes calldata row = _row(step, operands, 0, step.row);
        int256 z = IntegerOps.standardise(row, step.operator[3].dtype(), step.col, eps);
        return IntegerOps.requantise(z, _element(step, operands, 1, 0, step.col), step.operator[0].dtype());
    }

    function _softmax(Step calldata step, Operands memory operands) private pure returns (uint256) {
        IntegerOps.Softmax memory options = IntegerOps.Softmax({
            size: step.operator[3].dtype().size(),
            shift: Program.lane(step.operator, 0),
            place: step.col,
            one: step.operator[0].dtype() == Program.U8 ? type(uint8).max : type(uint16).max
        });
        bytes calldata row = _row(step, operands, 0, step.row);
        bytes calldata mask = _mask(step, operands, step.operator[5].rows() == 1 ? 0 : step.row);
        return IntegerOps.softmax(row, mask, _row(step, operands, 2, 0), options);
    }

    function _mean(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 result = step.operator[0];
        uint256 dtype = step.operator[3].dtype();
        bytes calldata row = _row(step, operands, 0, step.row * result.cols() + step.col);
        bytes calldata mask = _mask(step, operands, 0);
        int256 total;
        uint256 n;
        if (mask.length == 0) {
            n = row.length / dtype.size();
            total = IntegerOps.sum(row, dtype);
        } else {
            (total, n) = IntegerOps.sumKept(row, dtype, mask);
        }
        uint256 record = _channel(step, operands, 2, step.col);
        if (n == 0) return IntegerOps.requantise(0, record, result.dtype());
        return IntegerOps.requantise(IntegerOps.floorDiv(total << 16, int256(n)), record, result.dtype());
    }

    /// @dev Row of the mask, operand 1; empty when there is none.
    function _mask(
        Step calldata step,
        Operands memory operands,
        uint256 row
    ) private pure returns (bytes calldata mask) {
        if (step.operator[5] == 0) return msg.data[:0];
        return _row(step, operands, 1, row);
    }

    /// @dev MAX, SUM, ARGMAX.
    function _reduce(Step calldata step, Operands memory operands, uint256 code) private pure returns (uint256) {
        uint256 dtype = step.operator[3].dtype();
        bytes calldata row = _row(step, operands, 0, step.row * step.operator[0].cols() + step.col);
        if (code == Program.SUM) return IntegerOps.store(IntegerOps.sum(row, dtype), Program.I32);
        (uint256 greatest, uint256 place) = IntegerOps.peak(row, dtype.size());
        return code == Program.MAX ? greatest : IntegerOps.store(int256(place), Program.I32);
    }

    function _gather(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 id = _element(step, operands, 0, 0, step.row);
        uint256 last = step.operator[5].rows() - 1;
        return _element(step, operands, 1, id < last ? id : last, step.col);
    }

    function _view(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 rest = step.row * step.operator[0].cols() + step.col;
        uint256 flat = Program.lane(step.operator, 10);
        for (uint256 k = 5; k > 0;) {
            --k;
            uint256 extent = Program.lane(step.operator, k);
            flat += (rest % extent) * Program.lane(step.operator, 5 + k);
            rest /= extent;
        }
        uint256 width = step.operator[3].cols();
        return _element(step, operands, 0, flat / width, flat % width);
    }

    function _pad(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 height = Program.lane(step.operator, 0);
        uint256 width = Program.lane(step.operator, 1);
        uint256 top = Program.lane(step.operator, 2);
        uint256 left = Program.lane(step.operator, 3);
        uint256 padded = width + left + Program.lane(step.operator, 5);
        (uint256 y, uint256 x) = (step.row / padded, step.row % padded);
        if (y < top || y >= top + height || x < left || x >= left + width) return Program.lane(step.operator, 6);
        return _element(step, operands, 0, (y - top) * width + x - left, step.col);
    }

    function _concat(Step calldata step, Operands memory operands) private pure returns (uint256) {
        uint256 col = step.col;
        uint256 k;
        while (col >= step.operator[3 + 2 * k].cols()) {
            col -= step.operator[3 + 2 * k].cols();
            ++k;
        }
        return _element(step, operands, k, step.row, col);
    }

    function _tree(Step calldata step, Operands memory operands) private pure returns (uint256) {
        bytes calldata features = _row(step, operands, 0, step.row);
        uint256 lastFeature = step.operator[3].cols() - 1;
        uint256 lastNode = step.operator[5].cols() - 1;
        uint256 node = _element(step, operands, 1, 0, step.col);
        for (uint256 depth = Program.lane(step.operator, 0); depth > 0; --depth) {
            // u16 feature, u16 threshold, u32 left, u32 right, u32 value
            uint256 feature = (node >> 112) & LEAF_NODE;
            if (feature == LEAF_NODE) break;
            uint256 rank = IntegerOps.at(features, feature < lastFeature ? feature : lastFeature, 2);
            bool left = rank == MISSING ? node >> 127 == 1 : rank < (node >> 96) & 0xffff;
            uint256 child = (left ? node >> 64 : node >> 32) & type(uint32).max;
            node = _element(step, operands, 1, 0, child < lastNode ? child : lastNode);
        }
        return node & type(uint32).max;
    }

    function _rescale(Step calldata step, Operands memory operands) private pure returns (uint256) {
        int256 x = _value(step, operands, 0, step.row, step.col);
        return IntegerOps.requantise(x, _channel(step, operands, 1, step.col), step.operator[0].dtype());
    }
}
