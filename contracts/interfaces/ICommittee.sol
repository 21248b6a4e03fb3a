// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Request, Delivery} from "./IInferenceMarket.sol";

/// @notice What a voter found when it computed the answer itself.
enum Finding {
    None, // no majority, or nothing was found yet
    Match, // within the terms' tolerance of what was delivered
    Mismatch,
    InputUnavailable, // the bytes of the input, or of the model, are nowhere to be had
    OutputUnavailable // those of the delivered output are not
}

/// @notice Where a dispute stands.
enum Stage {
    None, // never disputed
    Challenged, // waits for the hash of its seed block
    Voting,
    Closed
}

/// @notice Why a voter loses stake.
enum Fault {
    Silence, // drawn and never committed, or committed and never revealed
    ActivationOff, // its activation is not the one that most others found
    Minority // its activation is right, its finding is not that of the majority
}

/// @notice Everything that is fixed at deployment.
struct CommitteeConfig {
    address market;
    uint96 bond; // wei; what a challenge costs beyond gas
    uint96 minStake; // token units; a seat with less is not drawn. ≥ 20 × penalty
    uint96 penalty; // token units that silence and a wrong activation cost
    uint32 seasoning; // seconds until a change of stake counts
    uint32 seedDelay; // blocks between a challenge and its seed block
    uint32 drawPeriod; // seconds to draw the committee
    uint32 commitPeriod; // seconds; longer than the slowest answer takes to compute
    uint32 revealPeriod; // seconds
    uint32 tallyPeriod; // seconds that a dispute may take beyond its periods, for each of its rounds
}

/// @notice A member's stake in one runtime class.
struct Seat {
    uint96 stake; // token units, what was slashed excluded
    uint40 releaseAt; // unix seconds; 0 = not leaving
}

/// @notice A dispute about one delivery.
struct Dispute {
    Stage stage;
    uint8 round; // 0, 1, 2: three, six, twelve members are expected
    uint8 tallied; // rounds that were tallied
    Finding finding; // of the majority, once closed by one
    uint40 challengedAt; // unix seconds; stakes count as they were `seasoning` before
    uint40 commitUntil; // of the round, unix seconds
    uint40 revealUntil;
    uint64 seedBlock;
    address challenger;
    uint96 bond; // wei
    uint96 eligible; // token units: stake that could be drawn
    bytes32 runtimeClass; // whose members are drawn
    bytes32 seed; // hash of the seed block; 0 = not drawn yet
}

/// @notice One member's vote in one round.
struct Ballot {
    bytes32 commitment; // 0 = none
    int128 activation; // 1e-9 units
    Finding finding; // None = not revealed
    bool reported; // its silence was punished
}

/// @title Decides disputes about answers of float models by a vote of members drawn at random.
/// @notice Honest as long as most of the drawn stake is: this is a vote, not a proof.
///
/// ```
///             challenge             draw: anyone            tally: anyone, from revealUntil on
///   (None) ─────────────▶ Challenged ─────────▶ Voting ────────────────┬─▶ majority ─────────▶ Closed
///                              │    [seedBlock+1, │  ▲                 │
///                              │     drawUntil)   │  └─ next round ────┤   too few, or no majority:
///                      lapse from drawUntil on:   │     k = 3, 6, 12   │   twice as many are drawn
///                      half the bond to the       ▼                    │
///                      operator, half burned     releaseBond: the      └─▶ no verdict after the last:
///                                                request ended in          annulled, bond back
///                                                another way
///
///   a round      ├──── commitPeriod ────┼──── revealPeriod ────┼──── tally ────▶
///                draw or last tally      commitUntil            revealUntil
/// ```
/// A period that starts at s and lasts d seconds is [s, s + d).
///
/// *The draw.* Member m sits in round r when
/// `uint256(keccak256(abi.encode(seed, requestId, r, m))) < 2²⁵⁶ · min(1, k · stake(m) / eligible)`,
/// so everybody can tell by itself, and nobody enumerates the members. Of more than twelve who commit
/// the twelve lowest hashes count: speed decides nothing.
///
/// *What the randomness resists.* A challenger or a member that chooses the moment: the seed block is
/// fixed by the challenge and lies after it, and is read through EIP-2935 for 8,191 blocks, so that
/// calling `draw` early or late changes nothing; letting the draw lapse costs the bond, and anyone may
/// draw. Stake moved after the challenge, or shortly before it: enlisting, leaving and slashing count
/// `seasoning` seconds later. Stake split over many accounts: chances and penalties are per stake.
/// *What it does not resist.* Whoever proposes the seed block, or can bribe who does, may choose among
/// hashes or withhold the block. Stake under other names of holder, operator, requester or challenger.
/// A majority of drawn stake that agrees beforehand. Later rounds follow from the same seed, so their
/// members are known, and can be bribed, from the draw on.
///
/// *Blind agreement.* With the finding each voter reveals one activation of the model, which node and
/// element being drawn from `activationSeed`: who has not run the model does not know it, and who
/// copies the finding of others cannot copy this, as it is committed to beforehand. When most
/// activations agree, those farther than the terms' tolerance (absolute, plus the same relative to the
/// median) from the median are void. Who could not get the input has none to show.
interface ICommittee {
    event RuntimeClassDeclared(uint256 indexed modelId, uint32 indexed version, bytes32 runtimeClass);
    event Enlisted(address indexed member, bytes32 indexed runtimeClass, uint256 amount, uint256 stake);
    event LeaveStarted(address indexed member, bytes32 indexed runtimeClass, uint256 amount, uint256 releaseAt);
    event LeaveFinished(address indexed member, bytes32 indexed runtimeClass, uint256 amount);
    event CommitteeCalled(
        bytes32 indexed requestId,
        address indexed challenger,
        bytes32 indexed runtimeClass,
        uint256 eligible,
        uint256 seedBlock,
        uint256 drawUntil,
        uint256 bond
    );
    event Drawn(bytes32 indexed requestId, bytes32 seed);
    event RoundStarted(bytes32 indexed requestId, uint256 round, uint256 commitUntil, uint256 revealUntil);
    event VoteCommitted(bytes32 indexed requestId, address indexed member, uint256 round, bytes32 commitment);
    /// @notice Twelve members with lower hashes committed: this vote neither counts nor can be punished.
    event VoteEvicted(bytes32 indexed requestId, address indexed member, uint256 round);
    event VoteRevealed(
        bytes32 indexed requestId,
        address indexed member,
        uint256 round,
        Finding finding,
        bytes32 outputDigest,
        int128 activation
    );
    event RoundTallied(bytes32 indexed requestId, uint256 round, Finding finding, uint256 valid, int128 median);
    event VoterPunished(bytes32 indexed requestId, address indexed member, uint256 round, Fault fault, uint256 amount);
    event VotersPaid(bytes32 indexed requestId, uint256 voters, uint256 tokensEach, uint256 weiEach);
    event DrawMissed(bytes32 indexed requestId, address indexed challenger, uint256 toOperator, uint256 burned);
    event BondReleased(bytes32 indexed requestId, address indexed challenger, uint256 amount);
    event BondWithdrawn(address indexed account, uint256 amount);
    event RewardWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error BondTooLow(uint256 given, uint256 needed);
    error TransferFailed(address to, uint256 amount);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error VersionUnknown(uint256 modelId, uint256 version);
    error RuntimeClassInvalid(uint256 modelId, uint256 version, bytes32 runtimeClass);
    error SeatTooSmall(address member, uint256 stake, uint256 needed);
    error SeatLeaving(address member, bytes32 runtimeClass, uint256 releaseAt);
    error SeatMissing(address member, bytes32 runtimeClass);
    error SeatBound(address member, bytes32 runtimeClass, uint256 releaseAt);
    error PoolTooSmall(bytes32 runtimeClass, uint256 eligible, uint256 needed);
    error DisputeExists(bytes32 requestId);
    error StageInvalid(bytes32 requestId, Stage current);
    error SeedPending(bytes32 requestId, uint256 seedBlock);
    error DrawOver(bytes32 requestId, uint256 drawUntil);
    error DrawOpen(bytes32 requestId, uint256 drawUntil);
    error CommitOver(bytes32 requestId, uint256 commitUntil);
    error RevealNotOpen(bytes32 requestId, uint256 opensAt);
    error RevealOver(bytes32 requestId, uint256 revealUntil);
    error RoundOpen(bytes32 requestId, uint256 revealUntil);
    error RoundNotTallied(bytes32 requestId, uint256 round);
    error MemberNotDrawn(bytes32 requestId, uint256 round, address member);
    error MemberExcluded(bytes32 requestId, address member);
    /// @notice Twelve members with lower hashes committed already.
    error RoundFull(bytes32 requestId, uint256 round);
    error CommitmentZero();
    error CommitmentExists(bytes32 requestId, address member);
    error CommitmentMissing(bytes32 requestId, address member);
    error CommitmentMismatch(bytes32 requestId, address member);
    error FindingInvalid(Finding given);
    error VoteRevealedAlready(bytes32 requestId, address member);
    error MemberNotSilent(bytes32 requestId, uint256 round, address member);
    error RequestLive(bytes32 requestId);

    // ── Seats ───────────────────────────────────────────────────────────────────────────────────
    /// @notice Adds `amount` of the payment token to the caller's stake in a class; it counts after
    /// `seasoning`. Class 0 is the general one: its members run every format that manifests name.
    function enlist(bytes32 runtimeClass, uint256 amount) external;
    /// @notice Starts to leave with the whole stake. It is drawn for challenges of the next `seasoning`
    /// seconds, and can be slashed until it is released.
    function startLeave(bytes32 runtimeClass) external;
    /// @notice Pays the stake out once `leaveDelay` has passed.
    function finishLeave(bytes32 runtimeClass) external;
    /// @notice Names the class that can run a version; once, by the model's holder. It counts for
    /// deliveries after that, and only while its stake is at least that of the general class: a class of
    /// one's own helps nobody who could not outvote the general one as well.
    function declareRuntimeClass(uint256 modelId, uint32 version, bytes32 runtimeClass) external;

    // ── Challenge and draw ──────────────────────────────────────────────────────────────────────
    /// @notice Opens the one dispute that a delivery can have here. Holder of the model, operator,
    /// requester and challenger are not drawn, whatever they have staked.
    function challenge(Request calldata request, Delivery calldata delivery) external payable;
    /// @notice Fixes the seed and starts the first round. Anyone may, once the seed block is past.
    function draw(bytes32 requestId) external;
    /// @notice Ends a dispute whose committee nobody drew in time; the challenger's bond is lost.
    function lapse(Request calldata request, Delivery calldata delivery) external;

    // ── Vote ────────────────────────────────────────────────────────────────────────────────────
    /// @notice `commitment` = keccak256(abi.encode(requestId, round, member, finding, outputDigest,
    /// activation, salt)) with types (bytes32, uint256, address, uint8, bytes32, int128, bytes32). It
    /// names its member, so a copy of it is worth nothing.
    function commit(bytes32 requestId, bytes32 commitment) external;
    /// @param outputDigest SHA-256 of the voter's own output; 0 when it has none.
    /// @param activation Of the element that `activationSeed` draws, in 1e-9; 0 without the input.
    function reveal(bytes32 requestId, Finding finding, bytes32 outputDigest, int128 activation, bytes32 salt) external;

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────
    /// @notice Counts a round that is over. At least three valid votes and more than half of them decide:
    ///
    /// | majority | the market | challenger's bond | voters of the majority share |
    /// |---|---|---|---|
    /// | Match | closes the dispute | half to the operator | half of the bond |
    /// | Mismatch | convicts | back | the prover's half of the bounty |
    /// | InputUnavailable | annuls | half to the operator | half of the bond |
    /// | OutputUnavailable | annuls | half back | half of the bond |
    /// | none, after three rounds | annuls | back | nothing |
    ///
    /// Every finding of a majority pays its voters, so that none is more convenient than another. Who
    /// challenges has the input and can publish it, so a missing input is its own failure; a missing
    /// output is convicted by the market's `demandOutput`. What is not whole goes to the first voter.
    /// Punishments: silence and a wrong activation cost `penalty`, a minority's finding a quarter of it:
    /// enough that a bribed vote is not free, little enough that an honest voter at the edge of the
    /// tolerance says what it found. All of it is burned: nobody gains by another's fault.
    function tally(Request calldata request, Delivery calldata delivery) external;
    /// @notice Punishes a member that was drawn in a tallied round and never committed; a fifth of the
    /// penalty is the caller's, the rest is burned.
    function reportSilence(bytes32 requestId, uint256 round, address member) external;
    /// @notice Gives back the bond of a dispute whose request ended in another way; nobody is punished.
    function releaseBond(bytes32 requestId) external;

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Pays out the caller's bonds and shares of bonds, in the chain's currency.
    function withdrawBond() external;
    /// @notice Pays out the caller's rewards, in the payment token.
    function withdrawReward() external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (CommitteeConfig memory);
    /// @notice The token that members stake.
    function token() external view returns (address);
    /// @notice Seconds between the start and the end of leaving: `seasoning` and twice the longest dispute.
    function leaveDelay() external view returns (uint256);
    /// @notice Seconds that a dispute lasts at the most, from its challenge until everybody may tally the end.
    function longestDispute() external view returns (uint256);
    /// @notice Wei that a challenge needs now: `bond` + 2 × 2,000,000 × base fee.
    function bondNeeded() external view returns (uint256);
    /// @notice A member's seat; its stake is 0 when there is none.
    function seatOf(bytes32 runtimeClass, address member) external view returns (Seat memory);
    /// @notice What a member's stake counted for at a time, in seconds that are past.
    function weightAt(bytes32 runtimeClass, address member, uint256 time) external view returns (uint256);
    /// @notice The sum of all members' weights at a time that is past.
    function poolAt(bytes32 runtimeClass, uint256 time) external view returns (uint256);
    /// @return runtimeClass 0 when none was declared.
    /// @return declaredAt Unix seconds; 0 when none was.
    function runtimeClassOf(
        uint256 modelId,
        uint256 version
    ) external view returns (bytes32 runtimeClass, uint256 declaredAt);
    /// @notice The dispute about a request's delivery; its stage is NONE when there is none.
    function disputeOf(bytes32 requestId) external view returns (Dispute memory);
    /// @notice Unix seconds from which on the draw is missed.
    function drawUntil(bytes32 requestId) external view returns (uint256);
    /// @notice A vote; its commitment is zero when there is none.
    function ballotOf(bytes32 requestId, uint256 round, address member) external view returns (Ballot memory);
    /// @notice Whose votes count in a round: at most twelve members.
    function votersOf(bytes32 requestId, uint256 round) external view returns (address[] memory);
    /// @notice Whether somebody has an interest in the dispute.
    function isExcluded(bytes32 requestId, address member) external view returns (bool);
    /// @notice Whether a member was drawn; false before the draw.
    function isDrawn(bytes32 requestId, uint256 round, address member) external view returns (bool);
    /// @notice What node and element of the activation are drawn from: keccak256(abi.encode(seed, requestId, round)).
    function activationSeed(bytes32 requestId, uint256 round) external view returns (bytes32);
    /// @notice What a member commits to. Ask no foreign node: it would learn the vote.
    function commitmentOf(
        bytes32 requestId,
        uint256 round,
        address member,
        Finding finding,
        bytes32 outputDigest,
        int128 activation,
        bytes32 salt
    ) external pure returns (bytes32);
    /// @notice What the account may withdraw in the chain's currency.
    function bondOf(address account) external view returns (uint256);
    /// @notice What the account may withdraw in the payment token.
    function rewardOf(address account) external view returns (uint256);
    /// @notice Who is credited with burned bonds and receives burned stake.
    function burnAddress() external view returns (address);
}
