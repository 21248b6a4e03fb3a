// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IPrograms} from "./interfaces/IPrograms.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Program} from "./libraries/Program.sol";

/// @title Validates programs of the exact tier and keeps the roots of the valid ones.
/// @notice What StepVerifier may rely on is checked here, once: that every position which an operator can name
/// exists, that a proof of every element fits into a transaction, and that no accumulator leaves its range.
/// An operator's number says which tensor it writes, so none can be written twice; it reads smaller numbers
/// only, so there are no cycles.
contract ProgramRegistry is IPrograms {
    using Program for uint256;

    uint256 private constant MAX_INPUTS = 8;
    uint256 private constant MAX_OPERATORS = 1024;
    uint256 private constant MAX_ELEMENTS = 1 << 28;
    uint256 private constant MAX_ROW_BYTES = 8192; // of a row that an operator reads whole
    uint256 private constant MAX_OUTPUT_BYTES = 65_536;
    uint256 private constant MAX_OUTPUT_DEPTH = 10; // of its tree: at most 1,024 leaves are hashed
    uint256 private constant MAX_ACCUMULATOR = 1 << 37;
    uint256 private constant MAX_NORMALISED = 4096; // columns of LAYERNORM
    uint256 private constant MAX_EPSILON = 1 << 52;
    uint256 private constant MAX_SOFTMAX_SHIFT = 15;
    uint256 private constant MAX_DEPTH = 64;

    // Sets of dtypes: bit t for dtype t.
    uint256 private constant SHORT = (1 << Program.I8) | (1 << Program.U8) | (1 << Program.I16) | (1 << Program.U16);
    uint256 private constant NUMBER = SHORT | (1 << Program.I32);
    uint256 private constant SIGNED_SHORT = (1 << Program.I8) | (1 << Program.I16);
    uint256 private constant SIGNED = SIGNED_SHORT | (1 << Program.I32);

    // A slot of 16 bits says what may stand in an operand's place: dtypes, and these.
    uint256 private constant MUST_BE_CONSTANT = 1 << 8;
    uint256 private constant MAY_BE_ABSENT = 1 << 9;
    uint256 private constant READ_WHOLE = 1 << 10;
    uint256 private constant CHANNELS = (1 << Program.CHANNEL) | MUST_BE_CONSTANT;
    uint256 private constant TABLE = NUMBER | MUST_BE_CONSTANT;
    uint256 private constant MASK = (1 << Program.U8) | MAY_BE_ABSENT | READ_WHOLE;

    // A rule: slots of operands 0 to 2 (bits 0–47), dtypes of the result (48–55), parameters in use (56–63).
    uint256 private constant RESULT = 1 << 48;
    uint256 private constant LANES = 1 << 56;

    /// @inheritdoc IPrograms
    mapping(bytes32 modelRoot => bool) public isProgram;

    // ── Register ────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPrograms
    function registerProgram(uint256[] calldata program) external returns (bytes32 modelRoot) {
        uint256 header = _checkHeader(program);
        (uint256 nOps, uint256 nInputs) = (header.operators(), header.inputs());
        for (uint256 i; i < nInputs; ++i) {
            uint256 word = program[1 + i];
            if (word != word.spec() || !_isTensor(word, NUMBER)) revert InputInvalid(i, word);
        }
        bytes32[] memory leaves = new bytes32[](1 << Program.log(nOps));
        for (uint256 op; op < nOps; ++op) {
            uint256[9] calldata operator = _operator(program, nInputs, op);
            string memory part = _broken(program, op, operator);
            if (bytes(part).length != 0) revert OperatorInvalid(op, part);
            leaves[op] = Merkle.operator(operator);
        }
        modelRoot = keccak256(abi.encodePacked(uint8(3), program[:1 + nInputs], Merkle.fold(leaves)));
        if (isProgram[modelRoot]) revert ProgramAlreadyRegistered(modelRoot);
        isProgram[modelRoot] = true;
        emit ProgramRegistered(modelRoot, msg.sender, nOps, nInputs);
    }

    function _checkHeader(uint256[] calldata program) private pure returns (uint256 header) {
        if (program.length == 0) revert ProgramLengthInvalid(0, 1);
        header = program[0];
        (uint256 nOps, uint256 nInputs) = (header.operators(), header.inputs());
        bool known = header >> 24 == Program.FORMAT;
        if (!known || nInputs == 0 || nInputs > MAX_INPUTS || nOps == 0 || nOps > MAX_OPERATORS) {
            revert HeaderInvalid(header);
        }
        uint256 expected = 1 + nInputs + Program.WORDS * nOps;
        if (program.length != expected) revert ProgramLengthInvalid(program.length, expected);
    }

    // ── One operator ────────────────────────────────────────────────────────────────────────────

    /// @dev The part of an operator that breaks a rule, or nothing. Parts in the order of the checks.
    function _broken(
        uint256[] calldata program,
        uint256 op,
        uint256[9] calldata operator
    ) private pure returns (string memory) {
        uint256 head = operator[0];
        uint256 code = head.opcode();
        if (head >> 88 != 0) return "reserved";
        if (code == 0 || code > Program.RESCALE) return "opcode";
        uint256 rule = _rule(code);
        if (!_isTensor(head, (rule >> 48) & 0xff)) return "result";
        if (!_countFits(operator, rule, code)) return "operands";
        uint256 count = head.operandCount();
        for (uint256 k; k < count; ++k) {
            if (!_operandFits(program, op, operator, k, rule >> (16 * k))) return string.concat("operand ", _digit(k));
        }
        if (!_lanesFit(operator, rule >> 56) || !_paramsFit(operator, code)) return "params";
        if (!_shapeFits(operator, code)) return "shape";
        for (uint256 k; k < count; ++k) {
            bool whole = (rule >> (16 * k)) & READ_WHOLE != 0;
            if (whole && operator[3 + 2 * k].rowBytes() > MAX_ROW_BYTES) return "row";
        }
        if (code == Program.DOT && !_accumulatorFits(operator[3], operator[5])) return "bounds";
        bool last = op + 1 == program[0].operators();
        if (last && !_isPostable(head)) return "output";
        return "";
    }

    /// @dev Whether the output, when it is demanded, can be hashed in one transaction.
    function _isPostable(uint256 head) private pure returns (bool) {
        uint256 rowBytes = head.rowBytes();
        if (head.rows() * rowBytes > MAX_OUTPUT_BYTES) return false;
        return Program.log(head.rows()) + Program.log(Math.ceilDiv(rowBytes, Merkle.LEAF_BYTES)) <= MAX_OUTPUT_DEPTH;
    }

    /// @dev CONCAT may do without its third operand; what can be absent elsewhere keeps its place.
    function _countFits(uint256[9] calldata operator, uint256 rule, uint256 code) private pure returns (bool) {
        uint256 count = operator[0].operandCount();
        uint256 most =
            rule & (0xffff << 32) != 0
                ? 3
                : rule & (0xffff << 16) != 0
                    ? 2
                    : 1;
        if (count > most || count < (code == Program.CONCAT ? 2 : most)) return false;
        for (uint256 word = 3 + 2 * count; word < Program.WORDS; ++word) {
            if (operator[word] != 0) return false;
        }
        return true;
    }

    function _operandFits(
        uint256[] calldata program,
        uint256 op,
        uint256[9] calldata operator,
        uint256 k,
        uint256 slot
    ) private pure returns (bool) {
        uint256 word = operator[3 + 2 * k];
        uint256 root = operator[4 + 2 * k];
        if (word == 0) return root == 0 && slot & MAY_BE_ABSENT != 0;
        if (word >> 96 != 0 || !_isTensor(word, slot & 0xff)) return false;
        if (word.kind() == Program.CONSTANT) return root != 0;
        if (word.kind() != Program.ACTIVATION || root != 0 || slot & MUST_BE_CONSTANT != 0) return false;
        return _exists(program, op, word);
    }

    /// @dev Whether an activation is an input, or the result of an operator before `op`, of just this spec.
    function _exists(uint256[] calldata program, uint256 op, uint256 word) private pure returns (bool) {
        uint256 id = word.index();
        uint256 nInputs = program[0].inputs();
        if (id >= nInputs + op) return false;
        uint256 written = id < nInputs ? program[1 + id] : _operator(program, nInputs, id - nInputs)[0];
        return written.spec() == word.spec();
    }

    /// @dev Lanes that the operator does not use are zero.
    function _lanesFit(uint256[9] calldata operator, uint256 used) private pure returns (bool) {
        if (used < 8) return operator[1] >> (32 * used) == 0 && operator[2] == 0;
        return operator[2] >> (32 * (used - 8)) == 0;
    }

    // ── Rules: docs/exact.md, section 4 ─────────────────────────────────────────────────────────

    function _rule(uint256 code) private pure returns (uint256) {
        uint256 row = SHORT | READ_WHOLE;
        uint256 any = NUMBER | READ_WHOLE;
        uint256 i32 = RESULT << Program.I32;
        if (code == Program.DOT) return _slots(row, row, CHANNELS) | (RESULT * NUMBER) | LANES;
        if (code == Program.ADD) {
            return _slots(SIGNED, SIGNED, CHANNELS) | (RESULT * (SIGNED | (1 << Program.U8)));
        }
        if (code == Program.LUT) return _slots(SHORT, TABLE, 0) | (RESULT * NUMBER);
        if (code == Program.LAYERNORM) {
            return _slots(SIGNED_SHORT | READ_WHOLE, CHANNELS, 0) | (RESULT * SIGNED_SHORT) | (2 * LANES);
        }
        if (code == Program.SOFTMAX) {
            uint256 exp = (1 << Program.U16) | MUST_BE_CONSTANT | READ_WHOLE;
            uint256 result = RESULT * ((1 << Program.U8) | (1 << Program.U16));
            return _slots(SIGNED_SHORT | READ_WHOLE, MASK, exp) | result | LANES;
        }
        if (code == Program.MEAN) return _slots(row, MASK, CHANNELS) | (RESULT * (SIGNED | (1 << Program.U8)));
        if (code == Program.MAX) return _slots(any, 0, 0) | (RESULT * NUMBER);
        if (code == Program.SUM || code == Program.ARGMAX) return _slots(any, 0, 0) | i32;
        if (code == Program.GATHER) return _slots(1 << Program.U16, TABLE, 0) | (RESULT * NUMBER);
        if (code == Program.VIEW) return _slots(NUMBER, 0, 0) | (RESULT * NUMBER) | (11 * LANES);
        if (code == Program.PAD) return _slots(NUMBER, 0, 0) | (RESULT * NUMBER) | (7 * LANES);
        if (code == Program.CONCAT) return _slots(NUMBER, NUMBER, NUMBER) | (RESULT * NUMBER);
        if (code == Program.TREE) {
            uint256 nodes = (1 << Program.NODE) | MUST_BE_CONSTANT;
            return _slots((1 << Program.U16) | READ_WHOLE, nodes, 0) | i32 | LANES;
        }
        return _slots(SHORT, CHANNELS, 0) | (RESULT * NUMBER); // RESCALE
    }

    function _slots(uint256 a, uint256 b, uint256 c) private pure returns (uint256) {
        return a | (b << 16) | (c << 32);
    }

    function _paramsFit(uint256[9] calldata operator, uint256 code) private pure returns (bool) {
        uint256 first = Program.lane(operator, 0);
        if (code == Program.DOT) return first != 0;
        if (code == Program.LAYERNORM) return operator[1] < MAX_EPSILON; // lanes 0 and 1 alone are in use
        if (code == Program.SOFTMAX) return first <= MAX_SOFTMAX_SHIFT;
        if (code == Program.TREE) return first <= MAX_DEPTH;
        if (code == Program.PAD) return Program.lane(operator, 6) >> (8 * operator[0].dtype().size()) == 0;
        if (code == Program.VIEW) {
            for (uint256 k; k < 5; ++k) {
                if (Program.lane(operator, k) == 0) return false;
            }
        }
        return true;
    }

    function _shapeFits(uint256[9] calldata operator, uint256 code) private pure returns (bool) {
        (uint256 y, uint256 a, uint256 b, uint256 c) = (operator[0], operator[3], operator[5], operator[7]);
        if (code == Program.DOT) return _dotFits(y, a, b, c, Program.lane(operator, 0));
        if (code == Program.ADD) {
            return _sameShape(a, y) && b.cols() == y.cols() && _oneOr(b.rows(), y.rows()) && _isRow(c, 2);
        }
        if (code == Program.LUT) {
            return _sameShape(a, y) && _isRow(b, 1 << (8 * a.dtype().size())) && b.dtype() == y.dtype();
        }
        if (code == Program.LAYERNORM) {
            return _sameShape(a, y) && a.cols() <= MAX_NORMALISED && _isRow(b, a.cols());
        }
        if (code == Program.SOFTMAX) {
            bool masked = b == 0 || (b.cols() == y.cols() && _oneOr(b.rows(), y.rows()));
            return _sameShape(a, y) && masked && c.rows() == 1;
        }
        if (code == Program.MEAN) {
            return _isReduced(a, y) && (b == 0 || _isRow(b, a.cols())) && c.rows() == 1 && _oneOr(c.cols(), y.cols());
        }
        if (code == Program.MAX) return _isReduced(a, y) && a.dtype() == y.dtype();
        if (code == Program.SUM || code == Program.ARGMAX) return _isReduced(a, y);
        if (code == Program.GATHER) {
            return _isRow(a, y.rows()) && b.cols() == y.cols() && b.dtype() == y.dtype();
        }
        if (code == Program.VIEW) return _viewFits(operator) && a.dtype() == y.dtype();
        if (code == Program.PAD) return _padFits(operator) && a.cols() == y.cols() && a.dtype() == y.dtype();
        if (code == Program.CONCAT) {
            return
                a.cols() + b.cols() + c.cols() == y.cols() && _alike(a, y) && _alike(b, y) && (c == 0 || _alike(c, y));
        }
        if (code == Program.TREE) return a.rows() == y.rows() && b.rows() == 1 && y.cols() <= b.cols();
        return _sameShape(a, y) && b.rows() == 1 && _oneOr(b.cols(), y.cols()); // RESCALE
    }

    function _dotFits(uint256 y, uint256 a, uint256 b, uint256 c, uint256 group) private pure returns (bool) {
        if (a.cols() != b.cols() || a.rows() != y.rows() || y.rows() % group != 0) return false;
        return b.rows() == (y.rows() / group) * y.cols() && c.rows() == 1 && _oneOr(c.cols(), b.rows());
    }

    function _accumulatorFits(uint256 a, uint256 b) private pure returns (bool) {
        return a.cols() * _magnitude(a.dtype()) * _magnitude(b.dtype()) < MAX_ACCUMULATOR;
    }

    /// @dev The sizes hold as many elements as the result, and the farthest one lies in the operand.
    function _viewFits(uint256[9] calldata operator) private pure returns (bool) {
        uint256 elements = 1;
        uint256 farthest = Program.lane(operator, 10);
        for (uint256 k; k < 5; ++k) {
            uint256 extent = Program.lane(operator, k); // below 2^32: five of them make no overflow
            elements *= extent;
            farthest += (extent - 1) * Program.lane(operator, 5 + k);
        }
        return elements == _elements(operator[0]) && farthest < _elements(operator[3]);
    }

    function _padFits(uint256[9] calldata operator) private pure returns (bool) {
        uint256 height = Program.lane(operator, 0);
        uint256 width = Program.lane(operator, 1);
        if (operator[3].rows() != height * width) return false;
        height += Program.lane(operator, 2) + Program.lane(operator, 4);
        width += Program.lane(operator, 3) + Program.lane(operator, 5);
        return operator[0].rows() == height * width;
    }

    // ── Specs ───────────────────────────────────────────────────────────────────────────────────

    function _isTensor(uint256 word, uint256 dtypes) private pure returns (bool) {
        if ((dtypes >> word.dtype()) & 1 == 0) return false;
        uint256 elements = _elements(word);
        return elements != 0 && elements <= MAX_ELEMENTS;
    }

    function _elements(uint256 word) private pure returns (uint256) {
        return word.rows() * word.cols();
    }

    /// @dev Rows and columns are neighbours in a spec.
    function _sameShape(uint256 x, uint256 y) private pure returns (bool) {
        return uint64(x) == uint64(y);
    }

    /// @dev Equal rows and dtype.
    function _alike(uint256 x, uint256 y) private pure returns (bool) {
        return x.spec() >> 32 == y.spec() >> 32;
    }

    function _isReduced(uint256 x, uint256 y) private pure returns (bool) {
        return x.rows() == _elements(y);
    }

    function _isRow(uint256 word, uint256 columns) private pure returns (bool) {
        return word.rows() == 1 && word.cols() == columns;
    }

    function _oneOr(uint256 count, uint256 other) private pure returns (bool) {
        return count == 1 || count == other;
    }

    /// @dev The greatest |value| of a short dtype.
    function _magnitude(uint256 dtype) private pure returns (uint256) {
        uint256 zero = Program.zero(dtype);
        return zero != 0 ? zero : (1 << (8 * dtype.size())) - 1;
    }

    function _operator(
        uint256[] calldata program,
        uint256 nInputs,
        uint256 op
    ) private pure returns (uint256[9] calldata operator) {
        // The caller has compared the length with the header: 1 + nInputs + 9 * nOps words, op < nOps.
        assembly ("memory-safe") {
            operator := add(program.offset, shl(5, add(add(1, nInputs), mul(op, 9))))
        }
    }

    function _digit(uint256 k) private pure returns (string memory) {
        return
            k == 0
                ? "0"
                : k == 1
                    ? "1"
                    : "2";
    }
}
