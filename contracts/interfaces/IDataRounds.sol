// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Where a round stands. Within `Collecting` the clock decides: see `IDataRounds`.
enum Stage {
    None,
    Collecting,
    Valuing, // all rows have numbers; the game finds what they are worth
    Settled,
    Void // ended without a valuation
}

/// @notice Where a contribution stands.
enum Status {
    None,
    Committed,
    Revealed,
    Excluded, // by the opener; its deposit is given back
    Displaced, // the same data set was committed earlier; its deposit is lost
    Unserved, // rows were demanded and not shown; its deposit is lost
    Closed // deposit, credit or both were dealt with
}

/// @notice Everything that is fixed at deployment.
struct DataConfig {
    address credits;
    address demands; // of rows
    address game;
    uint48 deposit; // token units, of tier 0
    uint48 fee; // token units of each contribution; part of the valuator's pay
    uint32 maxPeriod; // seconds that a phase of a round may last at the most
    uint32 minInterval; // seconds from the last submission to a settled round to the opening of the next
    uint16 minTestRows; // of every round
}

/// @notice What the model's holder fixes when it opens a round (docs/valuation.md, section 2).
struct RoundTerms {
    uint16 features; // D, 1 … 256
    uint16 neighbours; // K ≥ 1
    uint32 rowTolerance; // τ_row, squared distance
    uint32 testTolerance; // τ_test, squared distance
    uint16 testRows; // T, minTestRows … 4,096
    uint16 maxContributions; // 1 … 1,024; times maxRows ≤ 2^20, so that no reveal can be crowded out
    uint32 maxRows; // of one contribution
    uint32 submitPeriod; // seconds
    uint32 revealPeriod; // seconds
    uint32 testPeriod; // seconds
    uint64 reward; // token units, the opener's part of the valuator's pay
    bytes32 testCommitment; // keccak256(abi.encode(modelId, opener, salt, testRoot, testRows))
    bytes32 schema; // SHA-256 (the CID's digest) of the columns and their pinned quantisation
}

/// @notice A round. Widths: rows ≤ 2^20, contributions ≤ 2^10, times in unix seconds.
struct Round {
    uint64 modelId;
    uint40 submitUntil;
    uint40 revealUntil;
    uint40 testUntil;
    Stage stage;
    uint16 maxContributions;
    uint16 contributions; // committed
    uint16 revealed; // and not left out since
    uint16 visited; // by `number`
    uint32 maxRows;
    uint16 features;
    uint16 neighbours;
    uint32 rowTolerance;
    uint32 testTolerance;
    uint16 testRows;
    uint32 rows; // N, so far
    uint16 numbered; // C, so far
    bool testRevealed;
    uint16 returning; // index + 1 of the next contribution to number of those that were brought before; 0 = none
    uint40 sealedAt; // unix seconds
    address opener;
    uint64 reward; // token units
    bytes32 test; // commitment, then root of the test set
    bytes32 valuesRoot; // of the settled valuation
    uint128 valued; // sum of all values that are worth something
    uint128 minted; // credits that they got together
}

/// @notice One data set that somebody brings to a round.
struct Contribution {
    bytes32 digest; // commitment, from the reveal on root of the data set
    address owner;
    uint48 deposit; // token units
    uint16 endorserBps; // of its credit, offered to endorsers
    uint24 rows; // 0 = not revealed, or left out: no part of the valuation
    Status status;
}

/// @notice A data set that was brought before, without being valued, and is here again.
struct Return {
    uint56 first; // round << 16 | index of its first commitment, which orders the numbers
    uint16 next; // index + 1 of the next such contribution to this round; 0 = none
}

/// @notice A contribution in the numbering of docs/valuation.md.
struct Place {
    uint16 index; // of the contribution, in the order of commitments
    uint32 start; // its first row
    uint24 rows;
}

/// @notice What an account has done for a model. Tiers follow from it (libraries/Tiers.sol).
struct Standing {
    uint96 earned; // credits from contributions, less what was lost by endorsing
    uint24 kept; // deposits
    uint24 forfeited; // deposits and endorsements
    uint16 convictions; // as a valuator; any takes the tier away
    uint40 roundId; // last submitted to
    uint16 submissions; // to that round
    uint40 nonce; // of signed submissions
}

/// @title Contributions of data to models, and the rounds that value them. Credits are in ICredits.
/// @notice docs/data-credits.md tells the economics and draws the phases. In short, with half-open times:
///
/// ```
///   openRound     submitUntil      revealUntil      testUntil
///   ├── submit ───────┼── reveal ──────┼── revealTest ──┼── number ──▶ Valuing ── settle ──▶ Settled
///   │   (committed)   │   endorse      │   exclude      │                 │
///   │                 │                │   demand rows  │ (or answerPeriod later, if any were demanded)
///                                                       └── voidRound ────┴── voidRound ──▶ Void
///                                                           no test set       no valuation
/// ```
/// Anyone may take every step of a round but its opening and exclusions; the game (IValuationGame) ends `Valuing`.
/// **Who commits to a data set first owns it**, at every model and for ever. Left out, or in a void round, it may be
/// brought again, by its owner alone, and stands before all that was committed to later.
/// Deposits, fees and rewards are held here and nowhere else; everybody is credited, and pulls.
interface IDataRounds {
    event RoundOpened(uint256 indexed roundId, uint256 indexed modelId, address indexed opener, RoundTerms terms);
    /// @notice `record` heads the model's chain: keccak256(abi.encode(previous, roundId, index, owner, commitment,
    /// endorserBps, deposit, timestamp)).
    event ContributionSubmitted(
        uint256 indexed roundId,
        uint256 index,
        address indexed owner,
        address payer,
        bytes32 commitment,
        uint256 endorserBps,
        uint256 deposit,
        bytes32 previous,
        bytes32 record
    );
    /// @notice `record` = keccak256(abi.encode(previous, roundId, index, owner, dataRoot, rows, cid, envelope, timestamp)).
    event ContributionRevealed(
        uint256 indexed roundId,
        uint256 index,
        address indexed owner,
        bytes32 dataRoot,
        uint256 rows,
        bytes32 cid,
        bytes32 envelope,
        bytes32 previous,
        bytes32 record
    );
    /// @notice The same data set turned out to be committed earlier, as contribution `by`.
    event ContributionDisplaced(uint256 indexed roundId, uint256 index, uint256 by);
    /// @notice Its owner brought the data set before, first as contribution `firstIndex` of round `firstRound`.
    event ContributionReturned(uint256 indexed roundId, uint256 index, uint256 firstRound, uint256 firstIndex);
    event ContributionExcluded(uint256 indexed roundId, uint256 index);
    event ContributionUnserved(uint256 indexed roundId, uint256 index);
    event TestSetRevealed(uint256 indexed roundId, bytes32 testRoot, bytes32 cid);
    event ContributionNumbered(uint256 indexed roundId, uint256 number, uint256 index, uint256 start, uint256 rows);
    event RoundSealed(uint256 indexed roundId, uint256 contributions, uint256 rows);
    event ValuatorPunished(uint256 indexed modelId, address indexed valuator);
    event RoundSettled(
        uint256 indexed roundId,
        address indexed valuator,
        bytes32 valuesRoot,
        uint256 credits,
        uint256 paid
    );
    event RoundVoided(uint256 indexed roundId, uint256 paidToOpener, uint256 compensation);
    event CreditGranted(
        uint256 indexed roundId,
        uint256 number,
        address indexed owner,
        uint256 value,
        uint256 credit,
        uint256 deposit
    );
    event DepositForfeited(uint256 indexed roundId, uint256 index, address indexed owner, uint256 deposit);
    event DepositRefunded(uint256 indexed roundId, uint256 index, address indexed owner, uint256 amount);
    event BalanceWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error CallerNotGame(address caller);
    error CallerNotCredits(address caller);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error CallerNotOpener(uint256 roundId, address caller);
    error TermsInvalid(string field);
    /// @notice A model has one round at a time.
    error RoundLive(uint256 modelId, uint256 roundId);
    /// @notice It left for another deployment (ICredits.leave).
    error ModelGone(uint256 modelId);
    error RoundTooSoon(uint256 modelId, uint256 opensAt);
    error RoundStageInvalid(uint256 roundId, Stage current);
    error PhaseOver(uint256 roundId, uint256 until);
    error PhaseNotOpen(uint256 roundId, uint256 opensAt);
    error CommitmentZero();
    error SubmissionMismatch(uint256 roundId, uint256 index);
    error SubmissionsExhausted(uint256 roundId, address owner, uint256 cap);
    error ContributionsFull(uint256 roundId, uint256 maxContributions);
    error EndorserShareInvalid(uint256 bps, uint256 max);
    error AuthorizationExpired(uint256 deadline);
    error SignatureInvalid(address owner);
    error StatusInvalid(uint256 roundId, uint256 index, Status current);
    error RowsInvalid(uint256 rows, uint256 max);
    error DataRootZero();
    /// @notice This very data set is contribution `index` of round `roundId`: another's, or valued already.
    error DataSetKnown(bytes32 dataRoot, uint256 roundId, uint256 index);
    error TestSetMismatch(uint256 roundId);
    error TestSetMissing(uint256 roundId);
    error TestSetKnown(uint256 roundId);
    error ValueInvalid(uint256 roundId, uint256 number);

    // ── A round opens ───────────────────────────────────────────────────────────────────────────
    /// @notice Model's holder only, one round at a time, and `minInterval` after the last that was settled. Takes
    /// `reward` from the caller.
    function openRound(uint256 modelId, RoundTerms calldata terms) external returns (uint256 roundId);

    // ── Contribute ──────────────────────────────────────────────────────────────────────────────
    /// @notice Commits to a data set: `commitment` = keccak256(abi.encode(roundId, owner, salt, dataRoot, rows)).
    /// Takes fee and deposit from the caller. Nobody else can open it, so a copy is worth nothing.
    /// @param endorserBps Of the credit, at most half: shared by who endorses this contribution.
    function submit(uint256 roundId, bytes32 commitment, uint256 endorserBps) external returns (uint256 index);
    /// @notice The same for an owner that signed `submissionHash`; the caller pays. The deposit goes back to the owner.
    function submitFor(
        address owner,
        uint256 roundId,
        bytes32 commitment,
        uint256 endorserBps,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 index);
    /// @notice Opens a commitment; anyone who knows its salt may. Another's data set is refused, at whichever model
    /// it was brought first. In one round the first committed has it, whoever reveals first: a later twin that was
    /// revealed already is displaced. Its own owner may bring it again, unless this model has valued it.
    /// @param cid SHA-256 of the data set's file.
    /// @param envelope Digest of an encryption header; 0 = plain.
    function reveal(
        uint256 roundId,
        uint256 index,
        bytes32 dataRoot,
        uint256 rows,
        bytes32 salt,
        bytes32 cid,
        bytes32 envelope
    ) external;

    // ── The round is sealed ─────────────────────────────────────────────────────────────────────
    /// @notice Opens the commitment to the test set; anyone who knows its salt may.
    function revealTest(uint256 roundId, bytes32 testRoot, bytes32 salt, bytes32 cid) external;
    /// @notice Opener only, together with the test set: leaves out a contribution whose data nobody serves, without
    /// which nobody could value the others. Its deposit goes back, and the data set stays its owner's.
    function exclude(uint256 roundId, uint256 index) external;
    /// @notice Numbers the rows of at most `limit` more contributions, in the order of their first commitments; the
    /// last call seals the round. Leaves out those with demanded rows that nobody showed (IRowDemands).
    function number(uint256 roundId, uint256 limit) external;

    // ── The round ends ──────────────────────────────────────────────────────────────────────────
    /// @notice Game only: ends a round with the values of its contributions 0 … C−1, which it has checked. Credits get
    /// those of at least T, a 2⁻⁴⁰ of a point of accuracy, in proportion (ICredits.settle).
    function settle(uint256 roundId, address valuator, bytes32 valuesRoot, uint64[] calldata values) external;
    /// @notice Ends a round without values: anyone, when the test set was not revealed in time (those who revealed
    /// share the reward); the game, when nobody valued it (the reward goes back).
    function voidRound(uint256 roundId) external;
    /// @notice Game only: takes the tier of a convicted valuator away.
    function punish(uint256 modelId, address valuator) external;
    /// @notice Credits only: notes what an endorser gained, or lost.
    function noteEndorsement(uint256 modelId, address endorser, uint256 gained, uint256 lost) external;

    // ── What it brought ─────────────────────────────────────────────────────────────────────────
    /// @notice Gives the contribution with this number its credit and the deposit back; a worthless one's deposit is
    /// burned. Anyone may, once.
    function credit(uint256 roundId, uint256 number_, uint256 value, bytes32[] calldata path) external;
    /// @notice Burns the deposit of a contribution that was not revealed in time, was displaced, or not served.
    function forfeit(uint256 roundId, uint256 index) external;
    /// @notice Gives back the deposit of an excluded contribution; after a void round deposit, fee and the
    /// compensation for it.
    function refund(uint256 roundId, uint256 index) external;

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Pays the caller's deposits and rewards.
    function withdraw() external returns (uint256 amount);

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (DataConfig memory);
    /// @notice The token that is paid in.
    function token() external view returns (address);
    /// @notice A round; its stage is NONE when there is none.
    function roundOf(uint256 roundId) external view returns (Round memory);
    /// @notice The number of rounds; ids are 1 … this.
    function roundCount() external view returns (uint256);
    /// @notice The model's last round; 0 = none yet.
    function currentRoundOf(uint256 modelId) external view returns (uint256 roundId);
    /// @notice A contribution; its status is NONE when there is none.
    function contributionOf(uint256 roundId, uint256 index) external view returns (Contribution memory);
    /// @notice Whether a round of the model has opened and not ended.
    function isLive(uint256 modelId) external view returns (bool);
    /// @notice Where a numbered contribution stands; rows 0 when there is none.
    function placeOf(uint256 roundId, uint256 number_) external view returns (Place memory);
    /// @notice Head of the model's chain of contributions.
    function headOf(uint256 modelId) external view returns (bytes32);
    /// @notice What an account has done for a model.
    function standingOf(uint256 modelId, address account) external view returns (Standing memory);
    /// @notice An account's tier, 0 … 3.
    function tierOf(uint256 modelId, address account) external view returns (uint256);
    /// @return deposit Token units for the account's next contribution.
    /// @return cap Contributions that it may bring to a round.
    function requirementsOf(uint256 modelId, address account) external view returns (uint256 deposit, uint256 cap);
    /// @notice Token units that `withdraw` would pay.
    function balanceOf(address account) external view returns (uint256);
    /// @notice Who receives what is burned.
    function burnAddress() external view returns (address);
    /// @return contribution Index of the contribution with this number in a settled round.
    /// @return credits That it got, endorsers' part included.
    /// @return worthless Whether it got none because it brought nothing.
    function creditOf(
        uint256 roundId,
        uint256 number_,
        uint256 value,
        bytes32[] calldata path
    ) external view returns (uint256 contribution, uint256 credits, bool worthless);
    /// @notice What an owner signs (EIP-712) for `submitFor`; the nonce is its standing's.
    function submissionHash(
        address owner,
        uint256 roundId,
        bytes32 commitment,
        uint256 endorserBps,
        uint256 nonce,
        uint256 deadline
    ) external view returns (bytes32);
}
