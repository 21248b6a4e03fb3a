// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ballot, Fault, Finding} from "../interfaces/ICommittee.sol";

/// @title What a round of votes says, and what is wrong with each vote. At most twelve, so loops are short.
library Ballots {
    uint256 internal constant MAX_VOTES = 12;
    uint256 private constant QUORUM = 3;
    uint256 private constant FINDINGS = 5;
    uint256 private constant UNIT = 1e9; // of activations

    struct Result {
        Finding finding; // of the majority; None = there is none
        bool agreed; // most activations lie near the median
        int128 median;
        uint256 reach; // how far from the median an activation may be
        uint256 valid; // votes that count
        uint256 winners; // votes of the majority
    }

    function count(Ballot[] memory ballots, uint256 tolerance) internal pure returns (Result memory result) {
        (int128[] memory sorted, uint256 length) = _activations(ballots);
        if (length != 0) {
            // Of most values near each other both middle ones are among them: either will do.
            result.median = sorted[length / 2];
            result.reach = tolerance + (tolerance * _distance(result.median, 0)) / UNIT;
        }
        uint256 near;
        for (uint256 i; i < length; ++i) if (_distance(sorted[i], result.median) <= result.reach) ++near;
        result.agreed = length == 0 || 2 * near > length;
        if (!result.agreed) return result;

        uint256[FINDINGS] memory votes;
        for (uint256 i; i < ballots.length; ++i) {
            if (!isValid(result, ballots[i])) continue;
            ++votes[uint256(ballots[i].finding)];
            ++result.valid;
        }
        if (result.valid < QUORUM) return result;
        for (uint256 i = 1; i < FINDINGS; ++i) {
            if (2 * votes[i] <= result.valid) continue;
            result.finding = Finding(i);
            result.winners = votes[i];
        }
    }

    /// @notice Whether a vote counts, given that most activations agree: revealed, and its own is among them.
    function isValid(Result memory result, Ballot memory ballot) internal pure returns (bool) {
        if (ballot.finding == Finding.None) return false;
        return !_hasActivation(ballot) || _distance(ballot.activation, result.median) <= result.reach;
    }

    function isWinner(Result memory result, Ballot memory ballot) internal pure returns (bool) {
        return result.finding != Finding.None && ballot.finding == result.finding && isValid(result, ballot);
    }

    /// @notice What a voter that committed did wrong, if anything. Without agreement nobody knows whose
    /// activation is wrong, and without a majority nobody is in the minority.
    function faultOf(Result memory result, Ballot memory ballot) internal pure returns (bool faulty, Fault fault) {
        if (ballot.finding == Finding.None) return (true, Fault.Silence);
        if (!result.agreed) return (false, fault);
        if (!isValid(result, ballot)) return (true, Fault.ActivationOff);
        faulty = result.finding != Finding.None && ballot.finding != result.finding;
        fault = Fault.Minority;
    }

    /// @dev Who could not get the input computed nothing.
    function _hasActivation(Ballot memory ballot) private pure returns (bool) {
        return ballot.finding != Finding.None && ballot.finding != Finding.InputUnavailable;
    }

    function _activations(Ballot[] memory ballots) private pure returns (int128[] memory sorted, uint256 length) {
        sorted = new int128[](ballots.length);
        for (uint256 i; i < ballots.length; ++i) {
            if (!_hasActivation(ballots[i])) continue;
            int128 activation = ballots[i].activation;
            uint256 at = length++;
            for (; at != 0 && sorted[at - 1] > activation; --at) sorted[at] = sorted[at - 1];
            sorted[at] = activation;
        }
    }

    function _distance(int256 a, int256 b) private pure returns (uint256) {
        return uint256(a > b ? a - b : b - a); // both are 128 bits wide
    }
}
