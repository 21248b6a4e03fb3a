// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ExactClaim, IStepVerifier, Step} from "../interfaces/IStepVerifier.sol";

/// @title Asks the verifier about a step without decoding it.
/// @notice A step is kilobytes of nested arrays. Its offsets count from its own start, so the calldata
/// from there on is, as it stands, the argument that the verifier takes.
library StepCall {
    /// @dev Warning: `step` is read by the verifier alone, but for its heads (op, row, col, operator),
    /// which stand at fixed places and so are the same here and there.
    function check(
        address verifier,
        ExactClaim memory claim,
        Step calldata step
    ) internal view returns (bool consistent) {
        bytes4 selector = IStepVerifier.check.selector;
        assembly ("memory-safe") {
            // selector ‖ claim (4 words) ‖ offset of the step: 5 words ‖ step
            let start := mload(0x40)
            mstore(start, selector)
            mcopy(add(start, 0x04), claim, 0x80)
            mstore(add(start, 0x84), 0xa0)
            let size := sub(calldatasize(), step)
            calldatacopy(add(start, 0xa4), step, size)
            let done := staticcall(gas(), verifier, start, add(size, 0xa4), 0x00, 0x20)
            if or(iszero(done), lt(returndatasize(), 0x20)) {
                returndatacopy(start, 0, returndatasize())
                revert(start, returndatasize())
            }
            consistent := eq(mload(0x00), 1)
        }
    }
}
