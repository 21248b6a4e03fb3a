// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Order} from "../interfaces/IInferenceMarket.sol";

/// @title What a requester signs for `requestFor` (EIP-712).
/// @dev The domain is hashed anew each time: rare, and right after a fork of the chain as well.
library Authorization {
    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    bytes32 private constant ORDER_TYPEHASH = keccak256(
        "Order(uint256 modelId,uint256 version,uint256 lane,bytes32 inputRoot,bytes32 inputCid,bytes32 params,uint256 maxFee,uint256 priorityWindow,uint256 lifetime,address operator,address consumer,uint256 callbackGas,bytes32 envelope)"
    );
    bytes32 private constant AUTHORIZATION_TYPEHASH = keccak256(
        "RequestAuthorization(address requester,Order order,uint256 nonce,uint256 deadline)Order(uint256 modelId,uint256 version,uint256 lane,bytes32 inputRoot,bytes32 inputCid,bytes32 params,uint256 maxFee,uint256 priorityWindow,uint256 lifetime,address operator,address consumer,uint256 callbackGas,bytes32 envelope)"
    );

    function digest(
        address requester,
        Order calldata order,
        uint256 nonce,
        uint256 deadline
    ) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Tallystick"), keccak256("1"), block.chainid, address(this))
        );
        bytes32 orderHash = keccak256(abi.encode(ORDER_TYPEHASH, order));
        bytes32 hash = keccak256(abi.encode(AUTHORIZATION_TYPEHASH, requester, orderHash, nonce, deadline));
        return MessageHashUtils.toTypedDataHash(domain, hash);
    }
}
