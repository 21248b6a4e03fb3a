// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Ballot, BallotState, Finding, Round} from "../interfaces/ICommittee.sol";

/// @title What a vote is in one word, what a round of votes says, and which activations are wrong.
/// @notice Everything is counted when a vote is revealed, so that no call loops over votes:
///
/// ```
///  bit   0        8         16          80                                            256
///        │ state  │ finding │ bound u64 │ committed: first 22 bytes of the commitment   │
///        │        │         │           │ revealed:  activation i128 │ 0               │
/// ```
library Ballots {
    uint256 private constant COMMITMENT_BITS = 176;
    uint256 private constant UNIT = 1e9; // of activations
    uint256 private constant QUORUM_PART = 3; // of what is expected to vote, one part
    uint256 private constant QUORUM_VOTES = 2;

    // ── One vote ────────────────────────────────────────────────────────────────────────────────

    function committed(bytes32 commitment, uint256 bound) internal pure returns (uint256) {
        uint256 short = uint256(commitment) >> (256 - COMMITMENT_BITS);
        return (short << 80) | (bound << 16) | uint256(BallotState.Committed);
    }

    function revealed(uint256 word, Finding finding, int128 activation) internal pure returns (uint256) {
        uint256 payload = uint256(uint128(activation)) << 80;
        return payload | (boundOf(word) << 16) | (uint256(finding) << 8) | uint256(BallotState.Revealed);
    }

    function settled(uint256 word) internal pure returns (uint256) {
        return (word & ~uint256(0xff)) | uint256(BallotState.Settled);
    }

    function isOf(uint256 word, bytes32 commitment) internal pure returns (bool) {
        return word >> 80 == uint256(commitment) >> (256 - COMMITMENT_BITS);
    }

    function stateOf(uint256 word) internal pure returns (BallotState) {
        return BallotState(uint8(word));
    }

    function findingOf(uint256 word) internal pure returns (Finding) {
        return Finding(uint8(word >> 8));
    }

    function boundOf(uint256 word) internal pure returns (uint256) {
        return uint64(word >> 16);
    }

    function activationOf(uint256 word) internal pure returns (int128) {
        return int128(uint128(word >> 80));
    }

    function unpack(uint256 word) internal pure returns (Ballot memory ballot) {
        ballot.state = stateOf(word);
        ballot.finding = findingOf(word);
        ballot.bound = uint64(boundOf(word));
        if (ballot.finding != Finding.None) ballot.activation = activationOf(word);
        else ballot.commitment = bytes32((word >> 80) << 80);
    }

    // ── A round ─────────────────────────────────────────────────────────────────────────────────

    /// @notice Counts a vote as it is revealed.
    /// @dev Boyer and Moore's majority vote, weighted, keeps one activation that most agree with, if
    /// most agree with any: order decides nothing then, and no list is kept.
    function add(Round storage round, Finding finding, uint256 bound, int128 activation, uint256 tolerance) internal {
        uint64 amount = uint64(bound);
        if (finding == Finding.Match) round.matched += amount;
        else if (finding == Finding.Mismatch) round.mismatched += amount;
        else if (finding == Finding.InputUnavailable) round.inputMissing += amount;
        else round.outputMissing += amount;
        if (!hasActivation(finding)) return;
        uint64 margin = round.margin;
        if (margin != 0 && isNear(activation, round.activation, tolerance)) {
            round.margin = margin + amount;
        } else if (amount > margin) {
            (round.activation, round.margin) = (activation, amount - margin);
        } else {
            round.margin = margin - amount;
        }
    }

    /// @return All that was revealed, and what of it speaks against the operator.
    function sums(Round storage round) internal view returns (uint256, uint256) {
        uint256 against = uint256(round.mismatched) + round.outputMissing;
        return (against + round.matched + round.inputMissing, against);
    }

    function boundBy(Round storage round, Finding finding) internal view returns (uint256) {
        if (finding == Finding.Match) return round.matched;
        if (finding == Finding.Mismatch) return round.mismatched;
        return finding == Finding.InputUnavailable ? round.inputMissing : round.outputMissing;
    }

    /// @notice What most of the revealed stake found, two sides first: who shows bytes to some members
    /// only must not split those who would convict it, or acquit.
    function result(Round storage round, uint256 size, uint256 unit) internal view returns (Finding) {
        (uint256 total, uint256 against) = sums(round);
        if (total < QUORUM_VOTES * unit || QUORUM_PART * total < size * unit || 2 * against == total) {
            return Finding.None;
        }
        if (2 * against > total) {
            return round.outputMissing > round.mismatched ? Finding.OutputUnavailable : Finding.Mismatch;
        }
        return round.inputMissing > round.matched ? Finding.InputUnavailable : Finding.Match;
    }

    function isAgainst(Finding finding) internal pure returns (bool) {
        return finding == Finding.Mismatch || finding == Finding.OutputUnavailable;
    }

    /// @notice Whether an activation is wrong: two thirds agree with one, and this is far from it.
    /// @dev Twice as far as counts as agreement: who reveals first may choose a point at the edge.
    function isOff(
        Round storage round,
        Finding finding,
        int128 activation,
        uint256 tolerance
    ) internal view returns (bool) {
        if (!hasActivation(finding)) return false;
        (uint256 total, ) = sums(round);
        if (3 * uint256(round.margin) <= total - round.inputMissing) return false;
        return !isNear(activation, round.activation, 2 * tolerance);
    }

    /// @dev Who could not get the input computed nothing.
    function hasActivation(Finding finding) internal pure returns (bool) {
        return finding != Finding.InputUnavailable;
    }

    /// @notice Within the tolerance, absolute and relative to `common`.
    function isNear(int256 activation, int256 common, uint256 tolerance) internal pure returns (bool) {
        uint256 distance = uint256(activation > common ? activation - common : common - activation);
        uint256 height = uint256(common < 0 ? -common : common); // 128 bits wide, the tolerance 65
        return distance <= tolerance + (tolerance * height) / UNIT;
    }
}
