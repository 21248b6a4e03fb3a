// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice How updates become one (docs/training-rounds.md, section 2).
enum TrainingRule {
    Mean, // weighted, by running sums
    Median,
    Trimmed // mean without the `trim` least and greatest
}

/// @notice Where a round stands. Within `Collecting` the clock decides: see `ITrainingRounds`.
enum TrainingStage {
    None,
    Collecting,
    Published, // an aggregate that can be challenged
    Settled,
    Void // ended without an aggregate
}

/// @notice Where an update stands.
enum UpdateStatus {
    None,
    Revealed,
    Unserved, // demanded and not shown; counts with weight 0, its bond is lost
    Unclipped, // out of bounds; counts as clipped, its bond and share are lost
    Collected // its participant was credited
}

/// @notice Everything that is fixed at deployment.
struct TrainingConfig {
    address market; // names the token and the registry
    address game;
    uint32 maxPeriod; // seconds that a phase of a round may last at the most
}

/// @notice What a model's holder fixes when it opens a round.
struct TrainingTerms {
    uint64 modelId;
    uint32 version; // whose state is the base
    uint40 parameters; // P, 1 … 2^32
    uint16 clip; // bound of an update's coordinates, 1 … 32,767
    TrainingRule rule;
    uint8 trim; // k of `Trimmed`, 0 of others
    uint8 scaleBits; // a coordinate's real value is coordinate · 2^−scaleBits
    uint16 maxWeight; // of one participant, 1 … 65,535
    uint16 leastClients; // that count, more than 2 · trim; with fewer the round is void
    uint16 mostClients; // that commit; 16 where all updates are shown
    bytes32 stateRoot; // of the base
    uint32 commitPeriod; // seconds
    uint32 revealPeriod; // seconds
    uint32 servePeriod; // seconds in which updates may be demanded
    uint32 aggregatePeriod; // seconds that an aggregator has, and that a round waits for one
    uint32 challengePeriod; // seconds
    uint96 aggregatorBond; // token units
    uint96 participantBond; // token units
    uint96 reward; // token units, of all participants together
    uint64 fee; // token units, the aggregator's
}

/// @notice A round's state. Widths: clients and weights ≤ 65,535, times in unix seconds.
struct TrainingRound {
    address opener;
    TrainingStage stage;
    uint16 attempt; // aggregates published so far
    uint16 challenges; // open
    uint16 committed;
    uint16 revealed; // n
    address aggregator; // 0 = wanted
    uint40 until; // of the aggregator's time; of the challenge window once published
    uint40 endBy; // after that, with nobody at work, the round may be voided
    uint40 commitUntil;
    uint40 revealUntil;
    uint40 serveUntil;
    uint32 weight; // W of those that count
    uint16 counted;
    uint16 sharing; // of the reward
    bytes32 sumsRoot; // 0 where the rule has none
    bytes32 nextRoot;
    uint96 share; // token units, of each; known when settled
}

/// @notice A revealed update. Its number is its place in the order of reveals, from 1.
struct TrainingUpdate {
    address owner;
    uint16 weight;
    UpdateStatus status;
    bytes32 root;
}

/// @notice What a challenge is about: what is known of a round and of one of its updates.
struct TrainingCase {
    TrainingStage stage;
    bool challengeable; // an aggregate is published, and its window or a challenge is open
    uint16 attempt;
    address aggregator;
    TrainingRule rule;
    uint8 trim;
    uint16 clip;
    uint40 parameters; // P
    uint16 clients; // n
    uint16 counted;
    uint32 weight; // W
    bytes32 stateRoot;
    bytes32 sumsRoot;
    bytes32 nextRoot;
    TrainingUpdate update;
}

/// @title Rounds of training between parties that do not trust each other: updates, aggregates, bonds and rewards.
/// @notice How a wrong aggregate is convicted is in ITrainingGame.
/// @notice docs/training-rounds.md says what is computed. In short, with half-open times:
///
/// ```
///   open        commitUntil      revealUntil       serveUntil                                endBy
///   ├── commit ─────┼── reveal ──────┼── demand updates ─┼── claim ─▶ at work ─ publish ─▶ Published
///   │                                │   (silent: excluded)   ▲  ▲        │                  │   │
///   │                                │                   │    │  └─ lapse ┘ (bond lost)      │   └─ settle ─▶ Settled
///   │                                └── proveClip ──────┼────┼──────────────────────────────┤
///   │                                                    │    └────── proven wrong, silent ──┘
///   │                                                    └── voidRound (too few, or nobody aggregates) ──▶ Void
/// ```
/// Anyone may take every step but those of a participant and of an aggregator. Whoever does its part gets its bond back,
/// however the round ends. A convicted bond is the challenger's by half and burned by half: convicting oneself costs.
/// What a participant agrees to is what its commitment's transaction says: the round's terms are fixed, and its sender
/// lets the round use the update. So nothing else is signed.
/// @dev Warning: whether an update was trained honestly is not judged.
interface ITrainingRounds {
    event TrainingOpened(uint256 indexed roundId, uint256 indexed modelId, address indexed opener, TrainingTerms terms);
    event UpdateCommitted(uint256 indexed roundId, address indexed participant, bytes32 commitment);
    /// @notice `cid` is the SHA-256 in the CID of the update's root block, `digest` that of the whole file.
    event UpdateRevealed(
        uint256 indexed roundId,
        uint256 indexed number,
        address indexed participant,
        bytes32 updateRoot,
        uint256 weight,
        bytes32 cid,
        bytes32 digest
    );
    event UpdateUnserved(uint256 indexed roundId, uint256 indexed number, address indexed challenger);
    event UpdateUnclipped(uint256 indexed roundId, uint256 indexed number, address indexed challenger);
    event AggregationClaimed(uint256 indexed roundId, address indexed aggregator, uint256 until);
    event AggregationLapsed(uint256 indexed roundId, address indexed aggregator, uint256 burned);
    event AggregatePublished(
        uint256 indexed roundId,
        address indexed aggregator,
        uint256 attempt,
        bytes32 sumsRoot,
        bytes32 nextRoot,
        bytes32 cid,
        bytes32 digest,
        uint256 windowEnd
    );
    event AggregatorConvicted(
        uint256 indexed roundId,
        address indexed aggregator,
        address indexed challenger,
        uint256 bounty,
        uint256 burned,
        uint256 endBy
    );
    event TrainingSettled(
        uint256 indexed roundId,
        address indexed aggregator,
        bytes32 nextRoot,
        uint256 share,
        uint256 paidToOpener,
        uint256 burned
    );
    event TrainingVoided(uint256 indexed roundId, uint256 paidToOpener, uint256 burned);
    event TrainingCollected(
        uint256 indexed roundId,
        uint256 indexed number,
        address indexed participant,
        uint256 bond,
        uint256 share
    );
    event BalanceWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error TrainingTermsInvalid(string field);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error TrainingStageInvalid(uint256 roundId, TrainingStage current);
    error TrainingPhaseNotOpen(uint256 roundId, uint256 opensAt);
    error TrainingPhaseOver(uint256 roundId, uint256 until);
    error CommitmentZero();
    error CommitmentKnown(uint256 roundId, address participant);
    error ClientsFull(uint256 roundId, uint256 most);
    /// @notice The caller committed to something else, or to nothing.
    error RevealMismatch(uint256 roundId, address participant);
    error WeightInvalid(uint256 given, uint256 most);
    /// @notice Somebody revealed the same update before: it was copied.
    error UpdateKnown(uint256 roundId, bytes32 updateRoot);
    error UpdateStatusInvalid(uint256 roundId, uint256 number, UpdateStatus current);
    error ClientsTooFew(uint256 roundId, uint256 counted, uint256 least);
    error AggregatorAtWork(uint256 roundId, address aggregator, uint256 until);
    error AggregatorMissing(uint256 roundId);
    error CallerNotAggregator(uint256 roundId, address caller);
    error SumsUnexpected(uint256 roundId);
    error TrainingWindowOpen(uint256 roundId, uint256 until);
    error TrainingWindowPassed(uint256 roundId, uint256 until);
    error TrainingChallengesOpen(uint256 roundId, uint256 open);
    error RoundWaits(uint256 roundId, uint256 endBy);
    error CallerNotTrainingGame(address caller);

    // ── Collect ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Opens a round for a version of a model; only the model's owner. Takes reward and fee.
    /// @dev Warning: nobody on chain knows whether `stateRoot` is the version's state. Participants compare it with the
    /// manifest before they commit.
    function open(TrainingTerms calldata terms) external returns (uint256 roundId);
    /// @notice Commits to an update, before `commitUntil`, and takes the bond. `commitment` =
    /// keccak256(abi.encode(updateRoot, weight, salt, participant, roundId)).
    function commit(uint256 roundId, bytes32 commitment) external;
    /// @notice Reveals an update between `commitUntil` and `revealUntil`. Who does not loses its bond.
    /// @param cid SHA-256 in the CID of the update's root block.
    /// @param digest SHA-256 of the whole file.
    function reveal(
        uint256 roundId,
        bytes32 updateRoot,
        uint256 weight,
        bytes32 salt,
        bytes32 cid,
        bytes32 digest
    ) external returns (uint256 number);

    // ── Aggregate ───────────────────────────────────────────────────────────────────────────────
    /// @notice Takes the round for `aggregatePeriod`, and the aggregator's bond. Ends a claim whose time is over.
    function claim(uint256 roundId) external;
    /// @notice Publishes an aggregate; only who claimed the round. Who publishes must be able to show all vectors.
    /// @param sumsRoot of the vector of P · n running sums, entry x · n + c − 1 of which is S_c at coordinate x.
    function publish(uint256 roundId, bytes32 sumsRoot, bytes32 nextRoot, bytes32 cid, bytes32 digest) external;
    /// @notice Ends a claim without publication; anyone, when its time is over. The bond is burned.
    function lapse(uint256 roundId) external;

    // ── End ─────────────────────────────────────────────────────────────────────────────────────
    /// @notice Settles a round by its unchallenged aggregate: pays the aggregator and fixes the participants' share.
    function settle(uint256 roundId) external;
    /// @notice Voids a round with too few updates that count, or that nobody aggregated in time.
    function voidRound(uint256 roundId) external;
    /// @notice Credits an update's participant with its bond, and with its share of a settled round. Anyone may.
    function collect(uint256 roundId, uint256 number) external;
    /// @notice Pays out the caller's balance in the payment token.
    function withdraw() external returns (uint256 amount);

    // ── For the game ────────────────────────────────────────────────────────────────────────────
    /// @notice Counts a challenge of an update (before `serveUntil`) or of the published aggregate (in its window).
    function beginChallenge(uint256 roundId, uint256 number) external;
    /// @notice Counts it no more.
    function endChallenge(uint256 roundId) external;
    /// @notice Half of the aggregator's bond is the challenger's, half is burned; the round wants another aggregate.
    function convictAggregator(uint256 roundId, address challenger) external;
    /// @notice An update that nobody showed counts no more; its bond goes the same way.
    function convictUnserved(uint256 roundId, uint256 number, address challenger) external;
    /// @notice An update out of bounds loses bond and share, and counts as clipped.
    function convictUnclipped(uint256 roundId, uint256 number, address challenger) external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (TrainingConfig memory);
    /// @notice The payment token.
    function token() external view returns (address);
    /// @notice How many rounds were opened; ids run from 1.
    function roundCount() external view returns (uint256);
    /// @notice A round's terms; zeros when there is no such round.
    function termsOf(uint256 roundId) external view returns (TrainingTerms memory);
    /// @notice A round's state.
    function roundOf(uint256 roundId) external view returns (TrainingRound memory);
    /// @notice An update by its number, from 1.
    function updateOf(uint256 roundId, uint256 number) external view returns (TrainingUpdate memory);
    /// @notice What an account committed to and did not reveal yet.
    function commitmentOf(uint256 roundId, address participant) external view returns (bytes32);
    /// @notice What a challenge is about: of number 0 the roots of both states, else the update, which is empty when
    /// there is none.
    function caseOf(uint256 roundId, uint256 number) external view returns (TrainingCase memory);
    /// @notice What the account may withdraw in the payment token.
    function balanceOf(address account) external view returns (uint256);
    /// @notice Who is credited with burned bonds.
    function burnAddress() external view returns (address);
}
