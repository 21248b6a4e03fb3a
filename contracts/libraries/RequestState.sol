// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Request, Claim, Delivery} from "../interfaces/IInferenceMarket.sol";

/// @title What a commitment slot holds in each state of a request.
/// @notice Preimages differ in length and start with the id, so no state can pass for another:
///
/// ```
///   free       0 (never used) or 1 (free again: writing it next costs 5,000 gas, not 22,100)
///   Requested  id
///   Claimed    keccak256(abi.encode(id, operator, until))
///   Delivered  keccak256(abi.encode(id, operator, deliveredAt, outputRoot))
/// ```
library RequestState {
    bytes32 internal constant FREE = bytes32(uint256(1));

    /// @notice The request's id: unique per chain, market and content.
    function idOf(Request memory request) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), request));
    }

    function isFree(bytes32 commitment) internal pure returns (bool) {
        return uint256(commitment) <= uint256(FREE);
    }

    /// @notice Requested when the claim is empty, Claimed otherwise.
    function awaiting(bytes32 requestId, Claim calldata claim) internal pure returns (bytes32) {
        if (claim.operator == address(0)) return requestId;
        return claimed(requestId, claim.operator, claim.until);
    }

    function claimed(bytes32 requestId, address operator, uint40 until) internal pure returns (bytes32) {
        return keccak256(abi.encode(requestId, operator, until));
    }

    function delivered(bytes32 requestId, address operator, uint40 deliveredAt, bytes32 outputRoot)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(requestId, operator, deliveredAt, outputRoot));
    }
}
