// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title A contract that wants an answer pushed to it once the answer is final.
interface IConsumer {
    /// @notice Called by the market after settlement, with the gas the request named. A failure
    /// never blocks settlement and is never repeated.
    function receiveAnswer(bytes32 requestId, uint64 modelId, uint32 version, bytes32 outputRoot) external;
}
