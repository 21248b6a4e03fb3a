// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDataCredits} from "./IDataCredits.sol";
import {Status} from "./IDataRounds.sol";

/// @notice Everything that is fixed at deployment.
struct CreditsConfig {
    address market;
    address rounds; // where credits come from
    address predecessor; // DataCredits of the deployment that models may come from; 0 = none
    uint16 maxWeightBps; // of all credits that one round can get at the most: ω
}

/// @notice Credit that an account staked on somebody's contribution.
struct Endorsement {
    uint96 amount; // credits; 0 = none
    uint256 perCredit; // the accumulator when it was staked
}

/// @title Who holds how many credits of which model, what they earn, and credit that is staked on data of others.
/// @notice A credit is 2⁻⁴⁰ of a test row that is answered right thanks to the holder's data. **A round weighs its test
/// rows' share of all test rows so far, at most ω**: it mints what its data is worth, but never more than that part
/// of all credits. So holders know beforehand how much of their share a round can take. What credits earn is held
/// here and nowhere else.
interface ICredits is IDataCredits {
    event RevenueCredited(uint256 indexed modelId, uint256 amount, uint256 credits);
    event RevenueClaimed(uint256 indexed modelId, address indexed holder, uint256 amount);
    event CreditsMinted(uint256 indexed modelId, uint256 indexed roundId, uint256 valued, uint256 credits, uint256 lost);
    event Endorsed(uint256 indexed roundId, uint256 index, address indexed endorser, uint256 amount);
    event EndorsementSettled(
        uint256 indexed roundId,
        uint256 index,
        address indexed endorser,
        uint256 returned,
        uint256 reward
    );

    event ModelLeft(uint256 indexed modelId);
    event ModelCame(uint256 indexed modelId, uint256 indexed formerId, uint256 credits, uint256 testRows);
    event CreditsArrived(uint256 indexed modelId, address indexed holder, uint256 credits);

    error ConfigInvalid(string field);
    error AmountZero();
    error CallerNotMarket(address caller);
    error CallerNotRounds(address caller);
    error StatusInvalid(uint256 roundId, uint256 index, Status current);
    error PhaseOver(uint256 roundId, uint256 until);
    error TierMissing(uint256 modelId, address account);
    error EndorsementInvalid(uint256 roundId, uint256 index, address endorser);
    error EndorsementExists(uint256 roundId, uint256 index, address endorser);
    error EndorsementMissing(uint256 roundId, uint256 index, address endorser);
    error CreditsInsufficient(uint256 modelId, address holder, uint256 credits, uint256 needed);
    error CreditsMissing(uint256 modelId);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error ModelLive(uint256 modelId);
    error ModelNotLeft(uint256 formerId);
    error ModelNotEmpty(uint256 modelId);
    error ShareLowered(uint256 bps, uint256 least);
    error PredecessorMissing();

    // ── Endorse ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Stakes own credit on somebody else's revealed contribution, before the test set is known. Needs a tier.
    /// When the contribution earns, the stake comes back and the endorsers share what was offered, at most as
    /// much as they staked; when it is worthless, the stake is lost.
    function endorse(uint256 roundId, uint256 index, uint256 amount) external;
    /// @notice Ends an endorsement of a settled round's contribution.
    function settleEndorsement(
        uint256 roundId,
        uint256 number_,
        address endorser,
        uint256 value,
        bytes32[] calldata path
    ) external;
    /// @notice Ends an endorsement in a void round, or of a contribution that was left out.
    function returnEndorsement(uint256 roundId, uint256 index, address endorser) external;

    // ── For rounds ──────────────────────────────────────────────────────────────────────────────
    /// @notice Rounds only: mints a settled round's credits. What the market holds for the model is collected first,
    /// so that it goes to those who held credits when it was earned. From now on all credits of the round earn,
    /// whenever they are granted.
    /// @param valued Sum of the values of its contributions.
    /// @param worthless Indices of contributions whose endorsers lose.
    /// @return minted Credits for all of them: `valued`, or what the round's weight allows.
    function settle(
        uint256 modelId,
        uint256 roundId,
        uint256 testRows,
        uint256 valued,
        uint256[] calldata worthless
    ) external returns (uint256 minted);
    /// @notice Rounds only: gives a contribution's owner its part of the contribution's credits.
    /// @return own What endorsers do not get.
    function grant(
        uint256 modelId,
        uint256 roundId,
        uint256 index,
        address owner,
        uint256 credits,
        uint256 endorserBps
    ) external returns (uint256 own);

    // ── Move to another deployment ──────────────────────────────────────────────────────────────
    /// @notice Model's holder only, between rounds: no round opens here any more, so that nobody's credits change but
    /// by what is still to be granted. They go on earning what the model earns here. Irrevocable.
    function leave(uint256 modelId) external;
    /// @notice Holder of both models only: takes over the credits of a model that left the predecessor, all at once,
    /// before any round here and with no lower data share. What each holder has is read there (`arrive`): nobody
    /// says it.
    function come(uint256 modelId, uint256 formerId) external;
    /// @notice Gives a holder what it holds at the predecessor and has not got here; anyone may, any time. It has
    /// earned since the model came.
    function arrive(uint256 modelId, address holder) external returns (uint256 credits);

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Pays what the caller's credits earned.
    function claim(uint256 modelId) external returns (uint256 amount);

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (CreditsConfig memory);
    /// @notice The token that is paid in.
    function token() external view returns (address);
    /// @notice Whether the model left for another deployment.
    function hasLeft(uint256 modelId) external view returns (bool);
    /// @notice The model that it was at the predecessor; 0 = it did not come from there.
    function formerOf(uint256 modelId) external view returns (uint256);
    /// @notice Credits that a holder brought from there.
    function arrivedOf(uint256 modelId, address holder) external view returns (uint256);
    /// @notice What somebody staked on a contribution.
    function endorsementOf(uint256 roundId, uint256 index, address endorser) external view returns (Endorsement memory);
    /// @notice Credits staked on a contribution in all.
    function endorsedOf(uint256 roundId, uint256 index) external view returns (uint256);
    /// @notice A holder's credits.
    function creditsOf(uint256 modelId, address holder) external view returns (uint256);
    /// @notice All credits of a model.
    function totalCredits(uint256 modelId) external view returns (uint256);
    /// @notice Test rows of all rounds so far that minted credits.
    function testRowsOf(uint256 modelId) external view returns (uint256);
    /// @notice Credits that a round of so many test rows can get at the most; none are held: as many as it is worth.
    function mintable(uint256 modelId, uint256 testRows) external view returns (uint256);
    /// @notice Token units that `claim` would pay.
    function claimable(uint256 modelId, address holder) external view returns (uint256);
}
