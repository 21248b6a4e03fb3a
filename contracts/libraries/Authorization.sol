// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Order} from "../interfaces/IInferenceMarket.sol";

/// @title EIP-712 struct hash of what a requester signs for `requestFor`.
library Authorization {
    bytes32 private constant ORDER_TYPEHASH = keccak256(
        "Order(uint256 modelId,uint256 version,uint256 lane,bytes32 inputRoot,bytes32 inputCid,bytes32 params,uint256 maxFee,uint256 priorityWindow,uint256 lifetime,address operator,address consumer,uint256 callbackGas,bytes32 envelope)"
    );
    bytes32 private constant AUTHORIZATION_TYPEHASH = keccak256(
        "RequestAuthorization(address requester,Order order,uint256 nonce,uint256 deadline)Order(uint256 modelId,uint256 version,uint256 lane,bytes32 inputRoot,bytes32 inputCid,bytes32 params,uint256 maxFee,uint256 priorityWindow,uint256 lifetime,address operator,address consumer,uint256 callbackGas,bytes32 envelope)"
    );

    function hash(
        address requester,
        Order calldata order,
        uint256 nonce,
        uint256 deadline
    ) internal pure returns (bytes32) {
        bytes32 orderHash = keccak256(abi.encode(ORDER_TYPEHASH, order));
        return keccak256(abi.encode(AUTHORIZATION_TYPEHASH, requester, orderHash, nonce, deadline));
    }
}
