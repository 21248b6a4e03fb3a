// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Everything that is fixed at deployment.
struct SeatsConfig {
    address market; // its committee module alone may bind and slash stake
    uint96 minStake; // token units; a seat with less is not drawn
    uint32 seasoning; // seconds until a change of stake counts
    uint32 leaveDelay; // seconds between the start and the end of leaving
}

/// @notice A member's stake in one runtime class.
struct Seat {
    uint96 stake; // token units, what was slashed excluded
    uint40 releaseAt; // unix seconds; 0 = not leaving
    uint96 bound; // token units of the stake that votes bind until they are settled
}

/// @title Members of the committee, their stake and its history, and what is owed to them.
/// @notice A seat can be left by anyone who holds one: after the delay, when all votes are settled, which anyone
/// may do once a dispute has ended. All payouts are pull.
interface ICommitteeSeats {
    event RuntimeClassDeclared(uint256 indexed modelId, uint32 indexed version, bytes32 runtimeClass);
    event Enlisted(address indexed member, bytes32 indexed runtimeClass, uint256 amount, uint256 stake);
    event LeaveStarted(address indexed member, bytes32 indexed runtimeClass, uint256 amount, uint256 releaseAt);
    event LeaveFinished(address indexed member, bytes32 indexed runtimeClass, uint256 amount);
    event RewardWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error CallerNotCommittee(address caller);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error VersionUnknown(uint256 modelId, uint256 version);
    error RuntimeClassInvalid(uint256 modelId, uint256 version, bytes32 runtimeClass);
    error SeatTooSmall(address member, uint256 stake, uint256 needed);
    error SeatLeaving(address member, bytes32 runtimeClass, uint256 releaseAt);
    error SeatMissing(address member, bytes32 runtimeClass);
    error SeatBound(address member, bytes32 runtimeClass, uint256 releaseAt);
    error VotesOpen(address member, bytes32 runtimeClass, uint256 bound);

    // ── Seats ───────────────────────────────────────────────────────────────────────────────────
    /// @notice Adds `amount` of the payment token to the caller's stake in a class; it counts after
    /// `seasoning`. Class 0 is the general one: its members run every format that manifests name.
    function enlist(bytes32 runtimeClass, uint256 amount) external;
    /// @notice Starts to leave with the whole stake. It is drawn for challenges of the next `seasoning`
    /// seconds, and can be slashed until it is released.
    function startLeave(bytes32 runtimeClass) external;
    /// @notice Pays the stake out once `leaveDelay` has passed and all votes are settled.
    function finishLeave(bytes32 runtimeClass) external;
    /// @notice Names the class that can run a version; once, by the model's holder. It counts for
    /// deliveries after that, and only while its stake is at least that of the general class: a class of
    /// one's own helps nobody who could not outvote the general one as well.
    function declareRuntimeClass(uint256 modelId, uint32 version, bytes32 runtimeClass) external;

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Pays out the caller's rewards, in the payment token.
    function withdrawReward() external;

    // ── Only the committee ──────────────────────────────────────────────────────────────────────
    /// @notice Binds what is free of `amount` for a vote: it stays in the seat until the vote is settled.
    /// @return bound Even, as its halves go different ways; 0 when nothing is free.
    function bind(bytes32 runtimeClass, address member, uint256 amount) external returns (uint256 bound);
    /// @notice Frees what a vote bound, and takes `lost` of it; the committee credits that to others.
    function release(bytes32 runtimeClass, address member, uint256 bound, uint256 lost) external;
    /// @notice Takes what is free of `amount`; the committee credits that to others.
    function slash(bytes32 runtimeClass, address member, uint256 amount) external returns (uint256 taken);
    /// @notice Credits what was taken, or a bounty that the market holds for this contract.
    function credit(address account, uint256 amount) external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (SeatsConfig memory);
    /// @notice Who may bind and slash stake: the market's committee module.
    function committee() external view returns (address);
    /// @notice The token that members stake.
    function token() external view returns (address);
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
    /// @notice The class whose members judge a delivery now: the declared one if it was declared before the
    /// delivery and holds at least the general one's stake; and the sum of its weights.
    function classFor(
        uint256 modelId,
        uint256 version,
        uint256 deliveredAt
    ) external view returns (bytes32 runtimeClass, uint256 pool);
    /// @notice What the account may withdraw in the payment token.
    function rewardOf(address account) external view returns (uint256);
    /// @notice Who is credited with burned stake; nobody can withdraw it.
    function burnAddress() external view returns (address);
}
