// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IInferenceMarket, Order, Request, Delivery, Answer} from "../interfaces/IInferenceMarket.sol";
import {RequestFields} from "./RequestFields.sol";
import {Stamp, StampLib} from "./Stamp.sol";
import {Terms} from "./Terms.sol";

/// @title What a commitment slot holds in each state of a request.
/// @notice Preimages differ in length and start with the id, so no state can pass for another:
///
/// ```
///   free       0 (never used) or 1 (free again: writing it next costs 5,000 gas, not 22,100)
///   Requested  id = keccak256(abi.encode(chainId, market, request))
///   Claimed    keccak256(abi.encode(id, operator, until))
///   Delivered  keccak256(abi.encode(id, operator, stamp, outputRoot))
/// ```
/// @dev The assembly does what `abi.encode` does, without the per-field copies that cost 2,400 gas
/// a request and 700 a delivery: `Request` is ten words with its prefix, all of full width.
library RequestState {
    using RequestFields for Request;

    bytes32 internal constant FREE = bytes32(uint256(1));
    /// @dev Of orders. Lanes above it are those of answers that are summoned out of a channel.
    uint256 internal constant MAX_LANE = type(uint32).max >> 1;
    uint256 private constant REQUEST_BYTES = 8 * 32;

    function isFree(bytes32 commitment) internal pure returns (bool) {
        return uint256(commitment) <= uint256(FREE);
    }

    /// @notice Makes a request of an order, returns its id and logs it as `Requested`.
    function make(
        Order calldata order,
        address requester,
        uint256 modelId,
        uint256 nonce,
        Terms terms
    ) internal returns (bytes32 requestId) {
        // The caller bounds every operand to its field; times are far below 2^40.
        uint256 origin_ = uint160(requester) | (order.lane << 160) | (nonce << 192);
        uint256 service;
        unchecked {
            service =
                uint160(order.operator) |
                ((block.timestamp + order.priorityWindow) << 160) |
                ((block.timestamp + order.lifetime) << 200);
        }
        uint256 target =
            uint160(order.consumer) | (modelId << 160) | (order.version << 208) | (order.callbackGas << 232);
        bytes32 envelope = order.envelope;
        bytes32 topic = IInferenceMarket.Requested.selector;
        assembly ("memory-safe") {
            let word := mload(0x40)
            mstore(word, chainid())
            mstore(add(word, 0x20), address())
            mstore(add(word, 0x40), origin_)
            mstore(add(word, 0x60), service)
            mstore(add(word, 0x80), target)
            calldatacopy(add(word, 0xa0), add(order, 0x60), 0x60) // inputRoot, inputCid, params
            mstore(add(word, 0x100), envelope)
            mstore(add(word, 0x120), terms)
            requestId := keccak256(word, 0x140)
            log4(add(word, 0x40), REQUEST_BYTES, topic, requestId, modelId, requester)
        }
    }

    /// @notice Logs a request that was not ordered as `Requested`.
    function log(Request calldata request, bytes32 requestId) internal {
        bytes32 topic = IInferenceMarket.Requested.selector;
        (uint256 modelId, address requester) = (request.modelId(), request.requester());
        assembly ("memory-safe") {
            let word := mload(0x40)
            calldatacopy(word, request, REQUEST_BYTES)
            log4(word, REQUEST_BYTES, topic, requestId, modelId, shr(96, shl(96, requester)))
        }
    }

    /// @notice The request's id: unique per chain, market and content.
    function idOf(Request calldata request) internal view returns (bytes32 requestId) {
        return idAt(address(this), request);
    }

    /// @notice The id of a request of this market, for other contracts.
    function idAt(address market, Request calldata request) internal view returns (bytes32 requestId) {
        assembly ("memory-safe") {
            let word := mload(0x40)
            mstore(word, chainid())
            mstore(add(word, 0x20), market)
            calldatacopy(add(word, 0x40), request, REQUEST_BYTES)
            requestId := keccak256(word, add(REQUEST_BYTES, 0x40))
        }
    }

    function claimed(bytes32 requestId, address operator, uint40 until) internal pure returns (bytes32) {
        return keccak256(abi.encode(requestId, operator, until));
    }

    /// @notice Delivers the caller's answer now: logs it as `Delivered` and returns the state.
    function deliver(bytes32 requestId, Answer calldata answer) internal returns (bytes32 state) {
        bytes32 topic = IInferenceMarket.Delivered.selector;
        Stamp stamp = StampLib.ofNow(answer.units);
        assembly ("memory-safe") {
            let word := mload(0x40)
            mstore(word, requestId)
            mstore(add(word, 0x20), caller())
            mstore(add(word, 0x40), stamp)
            calldatacopy(add(word, 0x60), answer, 0x40) // outputRoot, outputCid
            mstore(add(word, 0xa0), stamp)
            log3(add(word, 0x60), 0x60, topic, requestId, caller())
            state := keccak256(word, 0x80)
        }
    }

    function deliveredAs(bytes32 requestId, Delivery calldata delivery) internal pure returns (bytes32) {
        return delivered(requestId, delivery.operator, delivery.stamp, delivery.outputRoot);
    }

    function delivered(
        bytes32 requestId,
        address operator,
        Stamp stamp,
        bytes32 outputRoot
    ) internal pure returns (bytes32 state) {
        assembly ("memory-safe") {
            let word := mload(0x40)
            mstore(word, requestId)
            // An address that was cut out of a word still has the rest above it.
            mstore(add(word, 0x20), shr(96, shl(96, operator)))
            mstore(add(word, 0x40), stamp)
            mstore(add(word, 0x60), outputRoot)
            state := keccak256(word, 0x80)
        }
    }
}
