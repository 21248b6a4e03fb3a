// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IConsumer} from "../interfaces/IConsumer.sol";
import {IInferenceMarket, Request} from "../interfaces/IInferenceMarket.sol";
import {RequestFields} from "./RequestFields.sol";
import {RequestState} from "./RequestState.sol";

/// @title Pushing a final answer to a consumer that may be hostile.
/// @notice The consumer cannot block settlement (its failure is only logged), cannot make the
/// caller pay for return data (none is copied), and cannot be starved (too little gas reverts).
library Callback {
    using RequestFields for Request;

    /// @dev What is spent around the call: cold account, arguments, event.
    uint256 private constant OVERHEAD = 12_000;

    /// @dev Warning: runs foreign code. All state must be written before.
    function run(Request calldata request, bytes32 outputRoot) internal {
        address consumer = request.consumer();
        uint256 callbackGas = request.callbackGas();
        bytes32 requestId = RequestState.idOf(request);
        bool success;
        if (consumer.code.length != 0) {
            bytes memory data = abi.encodeCall(
                IConsumer.receiveAnswer,
                (requestId, uint64(request.modelId()), uint32(request.version()), outputRoot)
            );
            // EIP-150 passes on at most 63/64 of what is left.
            uint256 needed = (callbackGas * 64) / 63 + OVERHEAD;
            if (gasleft() < needed) revert IInferenceMarket.CallbackGasMissing(gasleft(), needed);
            assembly ("memory-safe") {
                success := call(callbackGas, consumer, 0, add(data, 0x20), mload(data), 0, 0)
            }
        }
        emit IInferenceMarket.CallbackCompleted(requestId, consumer, success);
    }
}
