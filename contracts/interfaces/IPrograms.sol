// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Programs of the exact tier that were validated on chain. Permissionless; nothing is ever removed.
/// @dev docs/exact.md, section 3, says what is valid.
interface IPrograms {
    event ProgramRegistered(bytes32 indexed modelRoot, address indexed registrant, uint256 operators, uint256 inputs);

    /// @notice The program's bytes are no whole words, or more or fewer than its header says.
    error ProgramLengthInvalid(uint256 words, uint256 expected);
    /// @notice The header names an unknown format or a count out of bounds.
    error HeaderInvalid(uint256 header);
    error InputInvalid(uint256 input, uint256 spec);
    /// @notice Operator `op` breaks a rule; `part` says which: "opcode", "operand 1", "shape", "params", …
    error OperatorInvalid(uint256 op, string part);
    error ProgramAlreadyRegistered(bytes32 modelRoot);

    /// @notice Validates a program and stores its root.
    /// @param program header ‖ input specs ‖ operators, in whole words.
    /// @return modelRoot What a version of assurance Exact names.
    function registerProgram(uint256[] calldata program) external returns (bytes32 modelRoot);

    /// @notice Whether the program and weights under this root were registered and found valid.
    function isProgram(bytes32 modelRoot) external view returns (bool);
}
