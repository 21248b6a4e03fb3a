// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IConsumer} from "../interfaces/IConsumer.sol";
import {IInferenceMarket, Request} from "../interfaces/IInferenceMarket.sol";
import {RequestFields} from "./RequestFields.sol";
import {RequestState} from "./RequestState.sol";

/// @title Pushing a final answer to a consumer that may be hostile.
/// @notice The consumer cannot block settlement (its failure is only logged), cannot make the
/// caller pay for return data (none is copied), and cannot be starved (too little gas reverts).
/// Who ordered the call pays for it: its gas is escrowed with the request.
library Callback {
    using RequestFields for Request;

    /// @dev What is spent around the call: cold account, arguments, event.
    uint256 private constant OVERHEAD = 12_000;
    /// @dev What the books of its escrow cost the caller besides: three slots, two of them perhaps new.
    uint256 private constant BOOKS = 50_000;

    /// @notice Gas that a call with this limit costs at the most, all told.
    function gasOf(uint256 callbackGas) internal pure returns (uint256) {
        return callbackGas + OVERHEAD + BOOKS;
    }

    /// @dev Warning: runs foreign code. All state must be written before.
    /// @param covered Whether the escrow pays for the call; nobody else has to.
    /// @return used Gas that the caller spent, books included.
    function run(Request calldata request, bytes32 outputRoot, bool covered) internal returns (uint256 used) {
        uint256 before = gasleft();
        address consumer = request.consumer();
        uint256 callbackGas = request.callbackGas();
        bytes32 requestId = RequestState.idOf(request);
        bool success;
        if (covered && consumer.code.length != 0) {
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
        return before - gasleft() + BOOKS;
    }
}
