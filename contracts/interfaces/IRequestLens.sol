// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Request} from "./IInferenceMarket.sol";
import {Assurance} from "./IModelRegistry.sol";

/// @notice Everything that a `Request` holds, one field for each value.
struct RequestView {
    address requester;
    uint64 nonce; // the requester's: no two requests are equal
    uint32 lane; // the requester's commitment slot
    address operator; // preferred; 0 = none
    uint40 priorityUntil; // until then only `operator` may deliver
    uint40 expiresAt; // from then on anyone may cancel, and the fee is refunded
    address consumer; // contract to call after settlement; 0 = none
    uint24 callbackGas;
    uint48 modelId;
    uint24 version;
    bytes32 inputRoot;
    bytes32 inputCid; // SHA-256 of a raw IPFS block; 0 = inputRoot is that
    bytes32 params; // 0 = the manifest's defaults
    bytes32 envelope; // digest of the encryption header; 0 = plain
    uint64 fee; // token units
    uint16 operatorBps; // of the fee
    uint16 dataBps; // of the fee
    uint16 insuredMultiple; // times the fee, paid to the requester of a convicted answer
    uint32 challengeWindow; // seconds
    uint64 tolerance; // absolute, in 1e-9
    Assurance assurance;
}

/// @title Reads what the market stores and logs, for programs that know nothing but an ABI.
/// @notice `InferenceMarket.Requested` logs a request as the market takes it back in later calls: packed. Hand the
/// event's `request` to `read`; `InferenceMarket.requestIdOf` takes the same value and gives its id.
/// @dev Warning: `read` says what the words hold, not that the market ever saw them.
interface IRequestLens {
    /// @notice The request's fields by their names.
    function read(Request calldata request) external pure returns (RequestView memory fields);
    /// @notice The first free lane of the market at or after `from`, looking at no more than 256.
    function freeLane(address requester, uint256 from) external view returns (uint256 lane);
}
