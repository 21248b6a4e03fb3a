// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPrograms} from "../interfaces/IPrograms.sol";

/// @title For tests: a list of programs that count as validated.
contract TestPrograms is IPrograms {
    mapping(bytes32 modelRoot => bool) public isProgram;

    function add(bytes32 modelRoot) external {
        isProgram[modelRoot] = true;
    }

    /// @dev Validates nothing; the real one is ProgramRegistry.
    function registerProgram(uint256[] calldata program) external returns (bytes32 modelRoot) {
        modelRoot = keccak256(abi.encode(program));
        isProgram[modelRoot] = true;
    }
}
