// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Programs of the exact tier that were validated on chain.
interface IPrograms {
    /// @notice Whether the program and weights under this root were registered and found valid.
    function isProgram(bytes32 modelRoot) external view returns (bool);
}
