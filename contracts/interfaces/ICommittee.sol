// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Request, Delivery} from "./IInferenceMarket.sol";

/// @notice What a voter found when it computed the answer itself.
enum Finding {
    None, // no majority, too few votes, or nothing was found yet
    Match, // within the terms' tolerance of what was delivered
    Mismatch,
    InputUnavailable, // the bytes of the input, or of the model, are nowhere to be had
    OutputUnavailable // those of the delivered output are not
}

/// @notice Where a dispute stands.
enum Stage {
    None, // never disputed
    Drawing, // a round waits for the hash of its seed block
    Voting, // and then for an appeal, if its votes found something
    Closed
}

/// @notice Why a voter loses stake.
enum Fault {
    Silence, // drawn and never committed, or committed and never revealed
    ActivationOff, // its activation is not the one that two thirds found
    Contradicted // the last finding is of the other side
}

/// @notice Where a vote stands.
enum BallotState {
    None,
    Committed,
    Revealed,
    Settled // or its silence was punished
}

/// @notice Everything that is fixed at deployment.
struct CommitteeConfig {
    address market;
    address seats; // CommitteeSeats; its least stake ≥ 20 × penalty and 4 × voteStake
    uint96 bond; // wei; what each expected vote costs a challenger or appellant beyond gas
    uint96 penalty; // token units that silence and a wrong activation cost
    uint96 voteStake; // token units that a vote binds, and loses when the last finding contradicts it
    uint32 seedDelay; // blocks between a challenge or appeal and its seed block
    uint32 drawPeriod; // seconds to draw the members of a round
    uint32 commitPeriod; // seconds; longer than the slowest answer takes to compute
    uint32 revealPeriod; // seconds
    uint32 appealPeriod; // seconds; enough to compute an answer and to raise a bond
    uint32 tallyPeriod; // seconds that a dispute may take beyond its periods, for each of its rounds
}

/// @notice A dispute about one delivery.
/// @dev The first eight fields are one word, the next three another, the next two a third.
struct Dispute {
    Stage stage;
    uint8 round; // 0 to 4
    uint8 tallied; // rounds whose votes count
    Finding finding; // the last, once closed by one
    uint40 challengedAt; // unix seconds; stakes count as they were `seasoning` before
    uint40 until; // unix seconds: end of the draw while Drawing, of commits while Voting
    uint64 seedBlock; // of the round
    uint64 tolerance; // of the request's terms
    uint96 eligible; // token units: stake that could be drawn
    uint64 firstSize; // members expected in round 0
    uint64 winners; // token units bound by votes that found what the last finding is
    uint96 tokens; // what those votes share, in token units
    uint96 weis; // and in wei
    bytes32 runtimeClass; // whose members are drawn
}

/// @notice One round of a dispute: who asked for it, and what its votes bind, counted as they are revealed.
struct Round {
    address caller; // challenger or appellant; 0 when the round before found nothing
    uint96 bond; // wei
    bytes32 seed; // hash of the seed block; 0 = not drawn yet
    uint64 matched; // token units bound by votes for each finding
    uint64 mismatched;
    uint64 inputMissing;
    uint64 outputMissing;
    int128 activation; // the one that most agree with, in 1e-9
    uint64 margin; // by how much, in token units
    uint64 committed; // token units bound by all commitments
}

/// @notice One member's vote in one round.
struct Ballot {
    BallotState state;
    Finding finding; // None = not revealed
    uint64 bound; // token units
    int128 activation; // 1e-9 units; once revealed
    bytes32 commitment; // its first 22 bytes; until revealed
}

/// @title Decides disputes about float answers: votes of members drawn at random, and appeals.
/// @notice Honest as long as most of the whole pool is, and somebody appeals: this is a vote, not a proof.
///
/// ```
///             challenge            draw: anyone         tally: anyone
///   (None) ─────────────▶ Drawing ─────────────▶ Voting ─────────────▶ Closed
///                         ▲  │  ▲                │  │    nobody appealed, or the whole pool voted
///                         │  │  └── appeal ──────┘  │
///                         │  │      anyone, bond    │
///                         │  │ lapse, from the      │ tally, no finding: twice as many are drawn;
///                         │  │ end of the draw on   │ after round 4: annulled, bonds back
///                         │  ▼                      │
///                         │ Closed                  │      releaseBond: the request ended otherwise
///                         └─────────────────────────┘
///
///   a round   ├── drawPeriod ──┼── commitPeriod ──┼── revealPeriod ──┼── appealPeriod ──┼─ tally ─▶
///             seed block        draw              until              the finding stands   no appeal
/// ```
/// A period that starts at s and lasts d seconds is [s, s + d). The whole pool votes after the reveal period
/// of the last round, from when on anyone may tally. `longestDispute` is the sum of all periods.
///
/// *Sizes.* Round 0 expects so many members that a majority of them binds three times what is at stake
/// (fee and locked stake), and 7 at the least. Each later round expects twice as many, and round 4 the whole
/// pool, and so is every round that would be as large; nobody can appeal it. One without a finding is repeated.
///
/// *The draw.* With k members expected, member m sits in round r when
/// `uint256(keccak256(abi.encode(seed, requestId, r, m))) < 2²⁵⁶ · min(1, k · stake(m) / eligible)`,
/// so everybody can tell by itself, and nobody enumerates the members. Its vote binds, and weighs,
/// `voteStake` · max(1, k · stake(m) / eligible), or what is free of its stake when that is less.
///
/// *The finding* of a round is what most of the revealed stake found, if a third of what is expected, and two
/// votes, were revealed. Sides are counted first: Mismatch with OutputUnavailable, Match with InputUnavailable;
/// of the winning side the larger finding. Who shows bytes to some members only splits nobody.
///
/// *Appeals.* Anybody may appeal a finding, with a bond for the votes of the next round. A vote of the other
/// side than the last finding's loses all that it binds, and so does one that was not revealed. Half of that
/// is burned, less `penalty` / 5 a vote for whoever settles it. A quarter is shared by those who appealed
/// findings other than the last, in proportion to their bonds, which they get back. The rest is the voters'.
///
/// *What the randomness resists.* A challenger, appellant or member that chooses the moment: the seed block is
/// fixed by the challenge or appeal and lies after it, and is read through EIP-2935 for 8,191 blocks, so that
/// calling `draw` early or late changes nothing. Stake moved after the challenge, or shortly before it:
/// enlisting, leaving and slashing count `seasoning` seconds later, in all rounds. Stake split over accounts.
/// *What it does not resist.* Whoever proposes the seed block, or can bribe who does, may choose among
/// hashes or withhold the block; appeals make it choose in vain. Stake under other names of holder, operator,
/// requester or challenger. A majority of the whole pool.
///
/// *Blind agreement.* With the finding each voter reveals one activation of the model, which node and
/// element being drawn from `activationSeed`: who has not run the model does not know it, and who
/// copies the finding of others cannot copy this, as it is committed to beforehand. When two thirds agree with
/// one, those farther than twice the tolerance (absolute, plus the same relative) lose `penalty` and their pay.
/// Who could not get the input has none to show, and is paid only when that is the finding.
interface ICommittee {
    event CommitteeCalled(
        bytes32 indexed requestId,
        address indexed challenger,
        bytes32 indexed runtimeClass,
        uint256 eligible
    );
    /// @notice `caller` is the challenger or appellant; zero when the round before found nothing.
    event RoundCalled(
        bytes32 indexed requestId,
        uint256 round,
        address indexed caller,
        uint256 size,
        uint256 seedBlock,
        uint256 drawUntil,
        uint256 bond
    );
    event Drawn(bytes32 indexed requestId, uint256 round, bytes32 seed, uint256 commitUntil, uint256 revealUntil);
    event VoteCommitted(
        bytes32 indexed requestId,
        address indexed member,
        uint256 round,
        bytes32 commitment,
        uint256 bound
    );
    event VoteRevealed(
        bytes32 indexed requestId,
        address indexed member,
        uint256 round,
        Finding finding,
        bytes32 outputDigest,
        int128 activation
    );
    /// @notice The finding of `round` is not believed: a larger round follows.
    event Appealed(bytes32 indexed requestId, address indexed appellant, uint256 round, Finding finding);
    event RoundTallied(bytes32 indexed requestId, uint256 round, Finding finding);
    /// @notice `winners` and `lost` are token units bound by votes that are paid, and that lose it.
    event Decided(bytes32 indexed requestId, Finding finding, uint256 winners, uint256 lost);
    event VoterPunished(bytes32 indexed requestId, address indexed member, uint256 round, Fault fault, uint256 amount);
    event VoterPaid(
        bytes32 indexed requestId,
        address indexed member,
        uint256 round,
        uint256 tokenAmount,
        uint256 weiAmount
    );
    event AppellantPaid(bytes32 indexed requestId, address indexed appellant, uint256 round, uint256 amount);
    event DrawMissed(bytes32 indexed requestId, uint256 round, address indexed caller);
    event BondReleased(bytes32 indexed requestId, address indexed challenger, uint256 amount);
    event BondWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error BondTooLow(uint256 given, uint256 needed);
    error TransferFailed(address to, uint256 amount);
    error PoolTooSmall(bytes32 runtimeClass, uint256 eligible, uint256 needed);
    error DisputeExists(bytes32 requestId);
    error StageInvalid(bytes32 requestId, Stage current);
    error SeedPending(bytes32 requestId, uint256 seedBlock);
    error DrawOver(bytes32 requestId, uint256 drawUntil);
    error DrawOpen(bytes32 requestId, uint256 drawUntil);
    error CommitOver(bytes32 requestId, uint256 commitUntil);
    error RevealNotOpen(bytes32 requestId, uint256 opensAt);
    error RevealOver(bytes32 requestId, uint256 revealUntil);
    error RoundOpen(bytes32 requestId, uint256 opensAt);
    error AppealOver(bytes32 requestId, uint256 appealUntil);
    /// @notice The round found nothing, or was of the whole pool.
    error AppealNotPossible(bytes32 requestId, uint256 round, Finding finding);
    error RoundNotTallied(bytes32 requestId, uint256 round);
    error MemberNotDrawn(bytes32 requestId, uint256 round, address member);
    error MemberExcluded(bytes32 requestId, address member);
    error CommitmentZero();
    error CommitmentExists(bytes32 requestId, address member);
    error CommitmentMissing(bytes32 requestId, address member);
    error CommitmentMismatch(bytes32 requestId, address member);
    error FindingInvalid(Finding given);
    error VoteRevealedAlready(bytes32 requestId, address member);
    error MemberNotSilent(bytes32 requestId, uint256 round, address member);
    error RequestLive(bytes32 requestId);

    // ── Challenge and draw ──────────────────────────────────────────────────────────────────────
    /// @notice Opens the one dispute that a delivery can have here, with `challengeBond`. Holder of the model,
    /// operator, requester and challenger are not drawn, whatever they have staked.
    function challenge(Request calldata request, Delivery calldata delivery) external payable;
    /// @notice Fixes the seed of a round. Anyone may, once the seed block is past.
    function draw(bytes32 requestId) external;
    /// @notice Ends a dispute whose round nobody drew in time. Of round 0 the bond is lost, half to the
    /// operator, and the answer stands. Of an appeal, what it appealed against is the last finding.
    function lapse(Request calldata request, Delivery calldata delivery) external;

    // ── Vote ────────────────────────────────────────────────────────────────────────────────────
    /// @notice `commitment` = keccak256(abi.encode(requestId, round, member, finding, outputDigest,
    /// activation, salt)) with types (bytes32, uint256, address, uint8, bytes32, int128, bytes32). It
    /// names its member, so a copy of it is worth nothing. Its first 22 bytes are kept. Binds stake.
    function commit(bytes32 requestId, bytes32 commitment) external;
    /// @notice Reveals a vote, which counts at once.
    /// @param outputDigest SHA-256 of the voter's own output; 0 when it has none.
    /// @param activation Of the element that `activationSeed` draws, in 1e-9; 0 without the input.
    function reveal(bytes32 requestId, Finding finding, bytes32 outputDigest, int128 activation, bytes32 salt) external;

    // ── Appeal ──────────────────────────────────────────────────────────────────────────────────
    /// @notice Calls a round of twice the size, with `appealBond`, within `appealPeriod` after the reveals.
    function appeal(bytes32 requestId) external payable;

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────
    /// @notice Ends a round that is over and that nobody appealed:
    ///
    /// | last finding | the market | challenger's bond | voters that found it share |
    /// |---|---|---|---|
    /// | Match | closes the dispute | half to the operator | half of the bond |
    /// | Mismatch | convicts (WrongOutput) | back | the prover's half of the bounty |
    /// | OutputUnavailable | convicts (Withheld) | back | the prover's half of the bounty |
    /// | InputUnavailable | annuls | half to the operator | half of the bond |
    /// | none in any round | annuls | back | nothing |
    ///
    /// And in every case bonds of appeals against the last finding, and a quarter to a half of what
    /// contradicted votes bind. Who challenges has the input and can publish it, so a missing input is its own
    /// failure. An operator whose output is missing can put it on chain: `demandOutput`, `postOutput`, and appeal.
    function tally(Request calldata request, Delivery calldata delivery) external;
    /// @notice Pays or punishes members of a round once the dispute is closed, and frees what their votes bind.
    /// Anyone may; members that have no vote to settle are passed over.
    function settle(bytes32 requestId, uint256 round, address[] calldata members) external;
    /// @notice Punishes a member that was drawn in a round that counts and never committed; a fifth of the
    /// penalty is the caller's, the rest is burned.
    function reportSilence(bytes32 requestId, uint256 round, address member) external;
    /// @notice Gives back the bonds of a dispute whose request ended in another way.
    function releaseBond(bytes32 requestId) external;

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Pays out the caller's bonds and shares of bonds, in the chain's currency.
    function withdrawBond() external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (CommitteeConfig memory);
    /// @notice Seconds that a dispute lasts at the most, from its challenge until everybody may tally the end.
    function longestDispute() external view returns (uint256);
    /// @notice Wei that calling so many votes needs now: for each `bond` + 2 × 250,000 × the price of gas:
    /// the base fee, and the market's `minGasPrice` at the least.
    function bondNeeded(uint256 size) external view returns (uint256);
    /// @notice What challenging this answer needs now; a little more than that when parties have a seat.
    function challengeBond(Request calldata request, uint256 deliveredAt) external view returns (uint256);
    /// @notice What appealing the finding of the present round needs now.
    function appealBond(bytes32 requestId) external view returns (uint256);
    /// @notice The dispute about a request's delivery; its stage is NONE when there is none.
    function disputeOf(bytes32 requestId) external view returns (Dispute memory);
    /// @notice A round; its seed is zero before the draw.
    function roundOf(bytes32 requestId, uint256 round) external view returns (Round memory);
    /// @notice How many members a round expects.
    function sizeOf(bytes32 requestId, uint256 round) external view returns (uint256);
    /// @notice What the votes revealed so far in a round find; None before there are enough.
    function findingOf(bytes32 requestId, uint256 round) external view returns (Finding);
    /// @notice A vote; its state is None when there is none.
    function ballotOf(bytes32 requestId, uint256 round, address member) external view returns (Ballot memory);
    /// @notice Whether somebody with a seat has an interest in the dispute.
    function isExcluded(bytes32 requestId, address member) external view returns (bool);
    /// @notice Token units that a member's vote in a round binds at the most; 0 when it was not drawn.
    function depositOf(bytes32 requestId, uint256 round, address member) external view returns (uint256);
    /// @notice What node and element of the activation are drawn from: keccak256(abi.encode(seed of the round, requestId, round)).
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
    /// @notice Who is credited with burned bonds and burned stake; nobody can withdraw them.
    function burnAddress() external view returns (address);
}
