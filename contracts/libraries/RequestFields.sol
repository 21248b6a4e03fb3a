// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Request} from "../interfaces/IInferenceMarket.sol";

/// @title The packed words of a request; their layout is drawn above `Request`.
library RequestFields {
    function requester(Request calldata request) internal pure returns (address) {
        return address(uint160(request.origin));
    }

    function lane(Request calldata request) internal pure returns (uint256) {
        return uint32(request.origin >> 160);
    }

    /// @notice Whether it was summoned out of a channel: the highest bit of the lane (`RequestState.MAX_LANE`).
    function isSummoned(Request calldata request) internal pure returns (bool) {
        return request.origin & (1 << 191) != 0;
    }

    function operator(Request calldata request) internal pure returns (address) {
        return address(uint160(request.service));
    }

    function priorityUntil(Request calldata request) internal pure returns (uint256) {
        return uint40(request.service >> 160);
    }

    function expiresAt(Request calldata request) internal pure returns (uint256) {
        return uint40(request.service >> 200);
    }

    function consumer(Request calldata request) internal pure returns (address) {
        return address(uint160(request.target));
    }

    function modelId(Request calldata request) internal pure returns (uint256) {
        return uint48(request.target >> 160);
    }

    function version(Request calldata request) internal pure returns (uint256) {
        return uint24(request.target >> 208);
    }

    function callbackGas(Request calldata request) internal pure returns (uint256) {
        return request.target >> 232;
    }
}
