// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IConsumer} from "../interfaces/IConsumer.sol";

/// @title For tests: a consumer that behaves well, or in one of the ways that must not matter.
contract TestConsumer is IConsumer {
    enum Mode {
        Accept,
        Revert,
        ReturnBomb,
        RevertBomb,
        BurnGas,
        Reenter
    }

    Mode public mode;
    address public target;
    bytes public reentry;

    uint256 public calls;
    uint256 public gasSeen;
    bytes32 public lastRequestId;
    bytes32 public lastOutputRoot;
    uint64 public lastModelId;
    uint32 public lastVersion;
    bool public reentrySucceeded;
    bytes public reentryResult;

    function behave(Mode mode_) external {
        mode = mode_;
    }

    /// @notice What to call back into, and with what.
    function reenter(address target_, bytes calldata data) external {
        mode = Mode.Reenter;
        target = target_;
        reentry = data;
    }

    /// @inheritdoc IConsumer
    function receiveAnswer(bytes32 requestId, uint64 modelId, uint32 version, bytes32 outputRoot) external {
        gasSeen = gasleft();
        calls += 1;
        (lastRequestId, lastOutputRoot, lastModelId, lastVersion) = (requestId, outputRoot, modelId, version);
        if (mode == Mode.Revert) revert("no");
        if (mode == Mode.ReturnBomb) {
            assembly {
                return(0, 200000)
            }
        }
        if (mode == Mode.RevertBomb) {
            assembly {
                revert(0, 200000)
            }
        }
        if (mode == Mode.BurnGas) while (true) calls += 1;
        if (mode == Mode.Reenter) (reentrySucceeded, reentryResult) = target.call(reentry);
    }
}
