// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What a valuation commits to; hashes to its root (docs/valuation.md, section 3, whose letters these are).
struct Valuation {
    // solhint-disable var-name-mixedcase
    uint32 N; // rows
    uint32 n; // rows without a flag
    uint32 T; // test points
    // solhint-enable var-name-mixedcase
    bytes32 order;
    bytes32 sums;
    bytes32 rows;
    bytes32 values;
}

/// @notice A leaf of a table, or a row of data, and its siblings from there up.
struct Piece {
    bytes data;
    bytes32[] path;
}

/// @notice One wrong number and all that shows it (docs/valuation.md, sections 4 and 5).
struct Fault {
    uint8 code;
    uint32 t; // test point
    uint32 p; // position
    uint32 i; // row numbers
    uint32 j;
    uint32 a; // numbers of contributions
    uint32 b;
    Piece[] order;
    Piece[] sums;
    Piece[] rows;
    Piece[] values;
    Piece[] data;
    Piece[] test;
}

/// @notice What can be demanded. Values are on chain from the start.
enum Part {
    Order,
    Sums,
    Rows,
    Data, // the data set of a contribution
    Test
}

/// @notice Whose move it is in a challenge.
enum Mover {
    None, // no such challenge, or ended
    Challenger,
    Valuator
}

/// @notice Everything that is fixed at deployment.
struct ValuationConfig {
    address rounds;
    address verifier;
    uint96 stake; // token units locked for one valuation
    uint96 forfeit; // token units of it that who takes a round and publishes nothing loses, doubled each time
    uint32 valuingPeriod; // seconds after which a round that nobody works on may be voided
    uint32 claimPeriod; // seconds that a valuator has
    uint32 challengeWindow; // seconds
    uint32 minReply; // seconds that every turn lasts at the least
    uint32 clock; // seconds that each side of a challenge has in all, beyond which turns last minReply
}

/// @notice The valuation of one round.
struct Case {
    address valuator; // 0 = wanted
    uint40 until; // of the valuator's time; of the challenge window once published
    uint16 attempt; // valuations published so far
    uint16 challenges; // open
    uint8 lapses; // claims that came to nothing, as far as they double the forfeit
    bool published;
    uint40 endBy; // after that, with nobody at work, the round may be voided; 0 = valuingPeriod after it was sealed
    bytes32 root; // of the published valuation
    bytes32 valuesRoot;
}

/// @notice One challenger's demands about one published valuation.
struct Demands {
    Mover turn;
    uint8 count; // at most 32
    uint40 deadline; // of the turn, unix seconds
    uint32 challengerClock; // seconds left
    uint32 valuatorClock;
    uint96 bond; // wei
    Part part;
    uint16 number; // of the contribution whose data set is demanded
    uint8 level; // 0 = root
    uint32 index; // of the node in its level
}

/// @notice A valuator's money.
struct Seat {
    uint128 staked; // token units, locked part included
    uint128 locked;
}

/// @title Who values a round, and how a false valuation is convicted: by computing one of its numbers again.
/// @notice docs/valuation.md lists the faults; a table without one is the true table.
///
/// ```
///  IDataRounds: Valuing
///        │ claim (stake locked)          claimPeriod over: lapseClaim (forfeit)
///        ▼                                       │
///     at work ─────────────── publish ───▶ published ── challengeWindow over, no challenge open ── settle ─▶ Settled
///        ▲                                   │   │
///        │                     announce, prove   demand ─▶ openNode, revealLeaf ─▶ demand … ─▶ lapse (bond lost)
///        │                                   │        └─▶ silence: convictSilent
///        └── another valuator ◀── convicted ◀┴──────────┘
/// ```
/// A conviction takes the stake: half is the challenger's, half is burned, so convicting oneself costs. Times are
/// half-open. Nobody has to answer for a valuator in person: answers prove themselves.
interface IValuationGame {
    event ValuatorStaked(address indexed valuator, uint256 amount, uint256 staked);
    event ValuatorUnstaked(address indexed valuator, uint256 amount, uint256 staked);
    event RoundClaimed(uint256 indexed roundId, address indexed valuator, uint256 until);
    event ClaimLapsed(uint256 indexed roundId, address indexed valuator, uint256 burned);
    event ValuationPublished(
        uint256 indexed roundId,
        address indexed valuator,
        uint256 attempt,
        bytes32 valuationRoot,
        bytes32 cid,
        Valuation valuation,
        uint64[] values,
        uint256 windowEnd
    );
    event ValuationFaultAnnounced(bytes32 indexed witness);
    event ValuationFaultProven(uint256 indexed roundId, address indexed challenger, uint256 attempt, uint256 code);
    event TableDemanded(
        uint256 indexed roundId,
        address indexed challenger,
        uint256 attempt,
        Part part,
        uint256 number,
        uint256 level,
        uint256 index,
        uint256 deadline
    );
    event TableOpened(uint256 indexed roundId, address indexed challenger, bytes32[] nodes);
    event TableLeafRevealed(uint256 indexed roundId, address indexed challenger, bytes data);
    event ValuatorSilent(uint256 indexed roundId, address indexed challenger, uint256 attempt);
    event ValuatorConvicted(
        uint256 indexed roundId,
        address indexed valuator,
        address indexed challenger,
        uint256 bounty,
        uint256 burned,
        uint256 endBy
    );
    event DemandLapsed(uint256 indexed roundId, address indexed challenger, uint256 toValuator, uint256 burned);
    event DemandBondReleased(uint256 indexed roundId, address indexed challenger, uint256 amount);
    event BondWithdrawn(address indexed account, uint256 amount);
    event RewardWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error StakeInsufficient(address valuator, uint256 free, uint256 needed);
    error RoundNotValuing(uint256 roundId);
    error RoundClaimOpen(uint256 roundId, address valuator, uint256 until);
    error RoundClaimMissing(uint256 roundId);
    error ClaimOver(uint256 roundId, uint256 until);
    error ValuingOver(uint256 roundId, uint256 endBy);
    error ValuingOpen(uint256 roundId, uint256 endBy);
    error CallerNotValuator(uint256 roundId, address caller);
    error ValuationInvalid(string part);
    error ValuationMismatch(uint256 roundId);
    error ValuationMissing(uint256 roundId);
    error WindowOpen(uint256 roundId, uint256 until);
    error WindowPassed(uint256 roundId, uint256 until);
    error ChallengesOpen(uint256 roundId, uint256 open);
    error WitnessKnown(bytes32 witness);
    error WitnessUnknown(bytes32 witness);
    error WitnessTooYoung(bytes32 witness, uint256 provableFrom);
    /// @notice The proof is right, and what it shows is not wrong.
    error FaultMissing(uint256 code);
    error BondTooLow(uint256 given, uint256 needed);
    error DemandTurnInvalid(uint256 roundId, address challenger, Mover current);
    error DemandTurnOver(uint256 roundId, uint256 deadline);
    error DemandTurnOpen(uint256 roundId, uint256 deadline);
    error TableDemandsExhausted(uint256 roundId, address challenger);
    error TableTargetInvalid(Part part, uint256 level, uint256 index);
    error TableOpeningInvalid(uint256 roundId, address challenger);
    error TransferFailed(address to, uint256 amount);

    // ── Stake ───────────────────────────────────────────────────────────────────────────────────
    /// @notice Adds to the caller's stake.
    function stake(uint256 amount) external;
    /// @notice Pays out free stake: what stands behind a valuation is locked until it is settled.
    function unstake(uint256 amount) external;

    // ── Value ───────────────────────────────────────────────────────────────────────────────────
    /// @notice Takes a sealed round for `claimPeriod`, so that nobody copies a valuation. Look at the data first: who
    /// publishes must be able to show every row of it.
    function claim(uint256 roundId) external;
    /// @notice Publishes what the claimant found. `values` are those of contributions 0 … C−1.
    /// @param cid SHA-256 of the index under which the tables are served.
    function publish(uint256 roundId, Valuation calldata valuation, uint64[] calldata values, bytes32 cid) external;
    /// @notice Ends a claim without publication; anyone, when its time is over.
    function lapseClaim(uint256 roundId) external;

    // ── Convict ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Commits to a fault a block before it is shown, so that nobody takes the bounty for it from the pool:
    /// `witness` = keccak256(abi.encode(roundId, attempt, challenger, salt, code, t, p, i, j, a)).
    function announce(bytes32 witness) external;
    /// @notice Shows a fault and convicts; while the window or a challenge is open. A proof that does not fit reverts with
    /// `IValuationVerifier.ProofInvalid`.
    function prove(uint256 roundId, Valuation calldata valuation, bytes32 salt, Fault calldata fault) external;
    /// @notice Asks for a node of a table or data set that nobody serves. The first demand opens the challenge,
    /// within the window; each brings a bond.
    function demand(
        uint256 roundId,
        Valuation calldata valuation,
        Part part,
        uint256 number,
        uint256 level,
        uint256 index
    ) external payable;
    /// @notice Shows the nodes 6 levels below the demanded one, or the leaves when fewer are left.
    /// @param path from the demanded node up.
    function openNode(
        uint256 roundId,
        Valuation calldata valuation,
        address challenger,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external;
    /// @notice Shows the logical bytes of the demanded leaf; none for an absent one.
    function revealLeaf(
        uint256 roundId,
        Valuation calldata valuation,
        address challenger,
        bytes calldata data,
        bytes32[] calldata path
    ) external;
    /// @notice Convicts a valuator whose turn is over.
    function convictSilent(uint256 roundId, address challenger) external;
    /// @notice Ends a challenge whose challenger's turn is over: half its bond is the valuator's, half is burned.
    function lapse(uint256 roundId, address challenger) external;

    // ── End ─────────────────────────────────────────────────────────────────────────────────────
    /// @notice Settles the round by its valuation. `values` are the published ones.
    function settle(uint256 roundId, uint64[] calldata values) external;
    /// @notice Voids a round that nobody valued in time.
    function voidRound(uint256 roundId) external;
    /// @notice Gives back the bond of a challenge whose valuation was convicted by somebody.
    function releaseBond(uint256 roundId, uint256 attempt, address challenger) external;
    /// @notice Pays out the caller's bonds in the chain's currency.
    function withdrawBond() external;
    /// @notice Pays out the caller's rewards in the payment token.
    function withdrawReward() external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (ValuationConfig memory);
    /// @notice A round's valuation.
    function caseOf(uint256 roundId) external view returns (Case memory);
    /// @notice A challenge; its turn is NONE when there is none.
    function demandsOf(uint256 roundId, uint256 attempt, address challenger) external view returns (Demands memory);
    /// @notice A valuator's stake.
    function seatOf(address valuator) external view returns (Seat memory);
    /// @notice Block in which a witness was announced; 0 = it was not.
    function announcedAt(bytes32 witness) external view returns (uint256);
    /// @notice Wei that a demand needs now: 2 × 150,000 × base fee, or the market's least price of gas.
    function bondNeeded() external view returns (uint256);
    /// @notice What the account may withdraw in the chain's currency.
    function bondOf(address account) external view returns (uint256);
    /// @notice What the account may withdraw in the payment token.
    function rewardOf(address account) external view returns (uint256);
    /// @notice Who is credited with burned bonds and stake.
    function burnAddress() external view returns (address);
}
