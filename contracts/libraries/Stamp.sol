// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice When an answer was delivered, and how many units it has, in one word: units cost an answer under a flat
/// fee no word of its event and of its commitment.
///
/// ```
///  bit 0       40          72       256
///  ┌───────────┬───────────┬─────────┐
///  │ time      │ units     │ 0       │
///  │ uint40    │ uint32    │         │
///  └───────────┴───────────┴─────────┘
/// ```
/// time: unix seconds. units: of a metered version (`Terms.maxUnits`); 0 = of one with a flat fee.
type Stamp is uint256;

using StampLib for Stamp global;

library StampLib {
    /// @param units_ < 2^32.
    function ofNow(uint256 units_) internal view returns (Stamp) {
        return Stamp.wrap(block.timestamp | (units_ << 40));
    }

    function time(Stamp s) internal pure returns (uint256) {
        return uint40(Stamp.unwrap(s));
    }

    function units(Stamp s) internal pure returns (uint256) {
        return Stamp.unwrap(s) >> 40;
    }
}
