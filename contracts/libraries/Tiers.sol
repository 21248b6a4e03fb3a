// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Standing} from "../interfaces/IDataRounds.sol";

/// @title What a standing is worth: how much less to deposit, how much more to bring.
///
/// | tier | earned, in test rows | deposits kept | kept for each forfeited | deposit | contributions a round |
/// |---|---|---|---|---|---|
/// | 0 | | | | 100 % | 2 |
/// | 1 | 1 | 1 | 2 | 50 % | 4 |
/// | 2 | 16 | 3 | 4 | 25 % | 8 |
/// | 3 | 128 | 8 | 10 | 10 % | 16 |
///
/// Credits are test rows answered right · 2⁴⁰ (docs/valuation.md, section 2): of a round of 1,024 test rows tier 1
/// wants a thousandth of all that it can give, tier 3 an eighth. A conviction as a valuator leaves tier 0 for ever.
library Tiers {
    uint256 private constant BPS = 10_000;

    function tierOf(Standing memory standing) internal pure returns (uint256) {
        if (standing.convictions != 0) return 0;
        if (_reaches(standing, 1 << 47, 8, 10)) return 3;
        if (_reaches(standing, 1 << 44, 3, 4)) return 2;
        if (_reaches(standing, 1 << 40, 1, 2)) return 1;
        return 0;
    }

    /// @notice Token units for a contribution, rounded up; `full` is tier 0's.
    function deposit(uint256 tier, uint256 full) internal pure returns (uint256) {
        uint256 bps =
            tier == 0
                ? 10_000
                : tier == 1
                    ? 5_000
                    : tier == 2
                        ? 2_500
                        : 1_000;
        return (full * bps + BPS - 1) / BPS;
    }

    /// @notice Contributions of one account to one round.
    function cap(uint256 tier) internal pure returns (uint256) {
        return 2 << tier;
    }

    function _reaches(
        Standing memory standing,
        uint256 earned,
        uint256 kept,
        uint256 keptPerForfeited
    ) private pure returns (bool) {
        if (standing.earned < earned || standing.kept < kept) return false;
        return standing.kept >= keptPerForfeited * standing.forfeited;
    }
}
