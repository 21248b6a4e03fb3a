// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Fault, Valuation} from "./IValuationGame.sol";

/// @title Computes one number of a valuation again.
interface IValuationVerifier {
    /// @notice A part of a proof does not fit: `code`, `indices`, `a`, `b`, or the pieces of one table or kind of row.
    error ProofInvalid(string part);

    /// @notice Whether the fault is one of this valuation of the round. The caller has compared the valuation's
    /// root with the published one, and its salt with a witness: the arguments are those of
    /// `IValuationGame.prove`, so that the game hands its calldata on as it is.
    function convicts(
        uint256 roundId,
        Valuation calldata valuation,
        bytes32 salt,
        Fault calldata fault
    ) external view returns (bool);
    /// @notice What tells it of rounds.
    function rounds() external view returns (address);
}
