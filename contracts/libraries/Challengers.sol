// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Challenge} from "../interfaces/IDisputeGame.sol";

/// @title The open challenges of one request in the order in which they were opened.
/// @notice A linked list: joining, leaving and asking for the oldest cost the same however many there
/// are. `older` of the oldest names the newest, so that no other word holds it:
///
/// ```
///   first ─▶ A ──newer─▶ B ──newer─▶ C ──newer─▶ 0
///            A ◀─older── B ◀─older── C ◀─older── A (= first)
/// ```
library Challengers {
    /// @return The first challenger from now on.
    function join(
        mapping(address challenger => Challenge) storage challenges,
        address first,
        address challenger
    ) internal returns (address) {
        if (first == address(0)) {
            challenges[challenger].older = challenger;
            return challenger;
        }
        address newest = challenges[first].older;
        challenges[newest].newer = challenger;
        challenges[challenger].older = newest;
        challenges[first].older = challenger;
        return first;
    }

    /// @notice The caller deletes the challenge afterwards.
    /// @return The first challenger from now on; 0 = none is left.
    function leave(
        mapping(address challenger => Challenge) storage challenges,
        address first,
        address challenger
    ) internal returns (address) {
        (address older, address newer) = (challenges[challenger].older, challenges[challenger].newer);
        if (challenger == first) first = newer;
        else challenges[older].newer = newer;
        // Who looked back to the leaver: its successor, or the first when it was the newest.
        address successor = newer == address(0) ? first : newer;
        if (successor != address(0)) challenges[successor].older = older;
        return first;
    }
}
