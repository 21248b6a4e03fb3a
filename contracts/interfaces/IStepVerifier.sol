// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What the chain knows of one answer: everything a step is judged against.
struct ExactClaim {
    bytes32 modelRoot; // ModelRegistry
    bytes32 inputRoot; // the request
    bytes32 outputRoot; // the delivery
    bytes32 traceRoot; // the operator's commitment; 0 = none yet
}

/// @notice The root of a tensor that an operator wrote, and its path in the trace.
/// For an input or a constant the path is empty; a constant's root is ignored, its operator names it.
struct Opening {
    bytes32 root;
    bytes32[] path; // from the tensor's leaf up, log2 of the padded trace long
}

/// @notice Bytes below a tensor's root: one whole row, or the share of a row that lies in one leaf.
/// Logical bytes only: the verifier pads.
struct Slice {
    bytes data;
    bytes32[] path; // from the row's subtree, or from the leaf, up
}

/// @notice One element of one operator with all that is needed to compute it again.
struct Step {
    uint256 op;
    uint256 row;
    uint256 col;
    uint256[] preamble; // the program's header word and input spec words
    uint256[9] operator; // the words of operator `op`
    bytes32[] operatorPath; // up to graphRoot
    bytes32[] inputLeaves; // the tensor leaves of all inputs when an operand is an input, else empty
    Opening[] operands; // one per operand word, in order, absent operands included
    Slice[] slices; // in the order docs/exact.md gives under "reads"
    Opening result; // path empty when `op` is the last: its tensor is the delivered output
    Slice element; // the leaf of the result that holds (row, col)
}

/// @title Judges one element of an exact answer. Pure: holds nothing, trusts nothing.
/// @dev docs/exact.md is the specification. Warning: a verdict means something only for a modelRoot that an IPrograms
/// found valid; the caller sees to that.
interface IStepVerifier {
    /// @notice A part of the step does not fit the claim, the program or its own shape. Parts, in the order of the
    /// checks: "preamble", "operator" (words, path or modelRoot), "operands" (their number), "inputs" (inputLeaves),
    /// "operand k", "slice k" (length, path or root), "slices" (too few or too many), "result", "element".
    error ProofInvalid(string part);
    /// @notice (op, row, col) is no element of the program.
    error PositionInvalid(uint256 op, uint256 row, uint256 col);

    /// @notice Recomputes the element.
    /// @return consistent Whether the committed element is the right one.
    function check(ExactClaim calldata claim, Step calldata step) external pure returns (bool consistent);

    /// @notice The element that the operands imply, in stored form, without looking at the result.
    /// @dev For tools and tests.
    function compute(ExactClaim calldata claim, Step calldata step) external pure returns (uint256 stored);
}
