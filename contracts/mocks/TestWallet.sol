// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @title For tests: a contract wallet (ERC-1271) that accepts no ether unless told to, and may call
/// somebody when it gets some.
contract TestWallet is IERC1271 {
    bytes32 public approved;
    bool public acceptsEther;
    uint256 public refusals; // of calls made on receiving ether
    address private _target;
    bytes private _data;

    error EtherRefused();

    receive() external payable {
        if (!acceptsEther) revert EtherRefused();
        if (_target == address(0)) return;
        (bool success, ) = _target.call(_data);
        if (!success) ++refusals;
    }

    function approve(bytes32 hash) external {
        approved = hash;
    }

    function acceptEther(bool accepts) external {
        acceptsEther = accepts;
    }

    /// @notice Calls this on receiving ether.
    function callBack(address target, bytes calldata data) external {
        (acceptsEther, _target, _data) = (true, target, data);
    }

    function execute(address target, bytes calldata data) external payable returns (bytes memory) {
        (bool success, bytes memory result) = target.call{value: msg.value}(data);
        if (success) return result;
        assembly {
            revert(add(result, 0x20), mload(result))
        }
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 hash, bytes calldata) external view returns (bytes4) {
        return hash == approved ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}
