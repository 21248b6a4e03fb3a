// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Assurance} from "../interfaces/IModelRegistry.sol";

/// @notice The commercial terms of one model version in one word, so that a request snapshots them
/// with a single storage read and carries them in a single word of calldata.
///
/// ```
///  bit 0        64          80       96         112              144        208        216      224        256
///  ┌────────────┬───────────┬────────┬──────────┬────────────────┬──────────┬──────────┬────────┬──────────┐
///  │ fee        │operatorBps│dataBps │ insured- │ challengeWindow│ tolerance│ assurance│ retired│ maxUnits │
///  │ uint64     │uint16     │uint16  │ Multiple │ uint32         │ uint64   │ uint8    │ uint8  │ uint32   │
///  └────────────┴───────────┴────────┴──────────┴────────────────┴──────────┴──────────┴────────┴──────────┘
/// ```
/// fee: token units (6 decimals); 64 bits hold 18 trillion dollars. bps: of the fee; what remains
/// after operator, data and protocol is the owner's. insuredMultiple: times the fee, paid to the
/// requester of a convicted answer. challengeWindow: seconds. tolerance: absolute, in 1e-9, within
/// which a committee calls two float outputs equal. assurance: zero means "no such version". maxUnits:
/// of an answer of a metered version, whose fee is the price of so many; 0 = each answer costs the fee.
type Terms is uint256;

using TermsLib for Terms global;

library TermsLib {
    uint256 private constant RETIRED = 1 << 216;

    function pack(
        uint64 fee_,
        uint16 operatorBps_,
        uint16 dataBps_,
        uint16 insuredMultiple_,
        uint32 challengeWindow_,
        uint64 tolerance_,
        Assurance assurance_,
        uint32 maxUnits_
    ) internal pure returns (Terms) {
        return
            Terms.wrap(
                uint256(fee_) |
                    (uint256(operatorBps_) << 64) |
                    (uint256(dataBps_) << 80) |
                    (uint256(insuredMultiple_) << 96) |
                    (uint256(challengeWindow_) << 112) |
                    (uint256(tolerance_) << 144) |
                    (uint256(uint8(assurance_)) << 208) |
                    (uint256(maxUnits_) << 224)
            );
    }

    function fee(Terms t) internal pure returns (uint256) {
        return uint64(Terms.unwrap(t));
    }

    function operatorBps(Terms t) internal pure returns (uint256) {
        return uint16(Terms.unwrap(t) >> 64);
    }

    function dataBps(Terms t) internal pure returns (uint256) {
        return uint16(Terms.unwrap(t) >> 80);
    }

    function insuredMultiple(Terms t) internal pure returns (uint256) {
        return uint16(Terms.unwrap(t) >> 96);
    }

    function challengeWindow(Terms t) internal pure returns (uint256) {
        return uint32(Terms.unwrap(t) >> 112);
    }

    function tolerance(Terms t) internal pure returns (uint256) {
        return uint64(Terms.unwrap(t) >> 144);
    }

    function assurance(Terms t) internal pure returns (Assurance) {
        return Assurance(uint8(Terms.unwrap(t) >> 208));
    }

    function retired(Terms t) internal pure returns (bool) {
        return Terms.unwrap(t) & RETIRED != 0;
    }

    function maxUnits(Terms t) internal pure returns (uint256) {
        return Terms.unwrap(t) >> 224;
    }

    function exists(Terms t) internal pure returns (bool) {
        return uint8(Terms.unwrap(t) >> 208) != 0;
    }

    function retire(Terms t) internal pure returns (Terms) {
        return Terms.wrap(Terms.unwrap(t) | RETIRED);
    }
}
