// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Terms} from "./Terms.sol";

/// @title Who gets how much of a fee, and of the stake behind an answer.
library Fees {
    uint256 internal constant BPS = 10_000;
    /// @dev With the registry's limit on operator and data shares, the shares never exceed the fee.
    uint256 internal constant MAX_PROTOCOL_BPS = 1_000;
    uint256 private constant BOUNTY_BPS = 3_000;

    /// @notice What an answer of so many units costs: the fee, or of a metered version its part, rounded up.
    function price(Terms terms, uint256 units) internal pure returns (uint256) {
        uint256 maxUnits = terms.maxUnits();
        unchecked {
            return maxUnits == 0 ? terms.fee() : (terms.fee() * units + maxUnits - 1) / maxUnits; // < 2^97
        }
    }

    /// @notice Splits a fee, or the fees of many answers; the owner's share is the rest, dust included.
    function split(
        Terms terms,
        uint256 fee,
        uint256 protocolBps
    ) internal pure returns (uint256 operatorFee, uint256 ownerFee, uint256 dataFee, uint256 protocolFee) {
        operatorFee = (fee * terms.operatorBps()) / BPS;
        dataFee = (fee * terms.dataBps()) / BPS;
        protocolFee = (fee * protocolBps) / BPS;
        unchecked {
            ownerFee = fee - operatorFee - dataFee - protocolFee;
        }
    }

    /// @notice Stake behind one answer: twice what is insured, and never less than `minLock`.
    function lockTotal(Terms terms, uint256 minLock) internal pure returns (uint256 total) {
        unchecked {
            total = terms.fee() * terms.insuredMultiple() * 2; // < 2^81
        }
        if (total < minLock) total = minLock;
    }

    /// @notice The least stake behind an answer with which lying does not pay (docs/economics.md). A lie
    /// earns the operator's fee when nobody looks, and costs the stake when somebody does; of that, a
    /// friend of the liar gets the bounty at most. `auditBps`: of answers that are computed again, not 0.
    function leastLock(Terms terms, uint256 auditBps) internal pure returns (uint256) {
        uint256 operatorFee = (terms.fee() * terms.operatorBps()) / BPS;
        return Math.ceilDiv((BPS - auditBps) * operatorFee * BPS, auditBps * (BPS - BOUNTY_BPS));
    }

    /// @notice How a conviction splits it. With total ≥ 2 × insured, compensation ≤ 50 % and
    /// bounty = 30 %, so at least 20 % is burned: slashing oneself costs.
    function lock(
        Terms terms,
        uint256 minLock
    ) internal pure returns (uint256 total, uint256 compensation, uint256 bounty, uint256 burned) {
        total = lockTotal(terms, minLock);
        unchecked {
            compensation = terms.fee() * terms.insuredMultiple(); // < 2^80
            bounty = (total * BOUNTY_BPS) / BPS;
            burned = total - compensation - bounty;
        }
    }
}
