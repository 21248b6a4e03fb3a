// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What one model's credits have earned.
struct Pool {
    uint256 perCredit; // Σ amount · 2^128 / credits at that time, each rounded down
    uint256 credits; // that share what comes next
}

/// @notice One holder's part of a pool.
struct Account {
    uint256 perCredit; // up to which its credits were paid
    uint128 credits;
    uint128 owed; // token units earned until then
}

/// @title Divides what comes in by credits, without a loop.
/// @notice All roundings are down: what holders are owed never exceeds what came in.
/// @dev Products stay below 2^256: credits in an interval were part of the pool during all of it, so
/// credits · Δ ≤ 2^128 · Σ amount, and amounts add up to less than 2^128 token units.
library Accumulator {
    /// @notice Shares `amount` token units (< 2^128) among the credits of the pool, of which there are some.
    function earn(Pool storage pool, uint256 amount) internal {
        pool.perCredit += (amount << 128) / pool.credits;
    }

    /// @notice Token units that `credits` earned between two states of the accumulator.
    function earned(uint256 credits, uint256 from, uint256 to) internal pure returns (uint256) {
        return (credits * (to - from)) >> 128;
    }

    /// @notice Adds credits to a holder that have earned since the accumulator was at `since`.
    function grant(Account storage account, uint256 perCredit, uint256 credits, uint256 since) internal {
        bring(account, perCredit);
        account.credits += uint128(credits);
        account.owed += uint128(earned(credits, since, perCredit));
    }

    /// @notice Takes credits out of a holder's hands; the pool keeps counting them.
    function take(Account storage account, uint256 perCredit, uint256 credits) internal {
        bring(account, perCredit);
        account.credits -= uint128(credits);
    }

    /// @notice Adds token units that are owed apart from the holder's credits.
    function owe(Account storage account, uint256 amount) internal {
        account.owed += uint128(amount);
    }

    /// @return amount Token units owed, which the caller pays.
    function collect(Account storage account, uint256 perCredit) internal returns (uint256 amount) {
        amount = owing(account, perCredit);
        account.perCredit = perCredit;
        account.owed = 0;
    }

    function owing(Account storage account, uint256 perCredit) internal view returns (uint256) {
        return account.owed + earned(account.credits, account.perCredit, perCredit);
    }

    function bring(Account storage account, uint256 perCredit) internal {
        account.owed = uint128(owing(account, perCredit));
        account.perCredit = perCredit;
    }
}
