// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice An operator's money in one slot.
struct Stake {
    uint96 staked; // token units, locked part included, unbonding part excluded
    uint96 locked; // token units bound to open claims and unsettled deliveries; ≤ staked
    bool registered;
}

/// @notice Money on its way out. Only free stake can leave, so a lock is never undone by it.
struct Unbonding {
    uint96 amount; // token units
    uint40 releaseAt; // unix seconds
}

/// @title Operators: stake, locks, slashing and unbonding; encryption key and endpoint; and which
/// operators are authorised for which model.
/// @notice Only the market, named once at deployment, and its channels may lock, unlock and slash.
interface IOperatorRegistry {
    event OperatorRegistered(address indexed operator, bytes32 encryptionKey, string endpoint);
    event ProfileUpdated(address indexed operator, bytes32 encryptionKey, string endpoint);
    event Staked(address indexed operator, address indexed from, uint256 amount);
    event UnstakeStarted(address indexed operator, uint256 amount, uint256 releaseAt);
    event UnstakeFinished(address indexed operator, address indexed to, uint256 amount);
    event OperatorAuthorized(uint256 indexed modelId, address indexed operator, bool authorized);
    event StakeSlashed(address indexed operator, uint256 amount, uint256 burned);

    error OperatorUnknown(address operator);
    error OperatorAlreadyRegistered(address operator);
    error OperatorUnauthorized(uint256 modelId, address operator);
    error CallerNotMarket(address caller);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error AmountZero();
    error EndpointTooLong(uint256 length, uint256 max);
    error StakeInsufficient(address operator, uint256 free, uint256 needed);
    error UnbondingPending(address operator, uint256 releaseAt);
    error UnbondingMissing(address operator);
    error LockInsufficient(address operator, uint256 locked, uint256 needed);

    /// @notice Registers the caller.
    function register(bytes32 encryptionKey, string calldata endpoint) external;
    /// @notice Changes the caller's profile.
    function updateProfile(bytes32 encryptionKey, string calldata endpoint) external;
    /// @notice Moves `amount` of the token from the caller into the stake of `operator`.
    function stake(address operator, uint256 amount) external;
    /// @notice Starts the unbonding delay for `amount` of the caller's free stake. One at a time.
    function startUnstake(uint256 amount) external;
    /// @notice Pays out after the delay, to any account: a token may refuse the operator's own.
    function finishUnstake(address to) external;
    /// @notice Model owner only: authorises an operator for a model, or withdraws that. A model
    /// with authorised operators cannot change hands.
    function authorize(uint256 modelId, address operator, bool authorized) external;

    /// @notice Market and channels only. Checks that the operator is authorised for the model, and locks.
    function lockFor(uint256 modelId, address operator, uint256 amount) external;
    /// @notice Market and channels only. Frees a lock.
    function unlock(address operator, uint256 amount) external;
    /// @notice Market and channels only. Takes `amount` out of locked stake: `burned` of it stays here for ever, the
    /// rest is the market's, which credits it to whom it belongs. Moves no token: a verdict waits for none.
    function slash(address operator, uint256 amount, uint256 burned) external;
    /// @notice Sends what was slashed for the market. The market calls it when a payout needs it.
    function payMarket() external;

    /// @notice An operator's stake.
    function stakeOf(address operator) external view returns (Stake memory);
    /// @notice The stake that is on its way out.
    function unbondingOf(address operator) external view returns (Unbonding memory);
    /// @notice The stake that is neither locked nor unbonding.
    function freeStakeOf(address operator) external view returns (uint256);
    /// @notice How many operators are authorised for the model.
    function authorizedCount(uint256 modelId) external view returns (uint256);
    /// @notice Whether the operator is authorised for the model: by its present owner.
    function isAuthorized(uint256 modelId, address operator) external view returns (bool);
    /// @notice The operator's public encryption key; zero when it has none.
    function encryptionKeyOf(address operator) external view returns (bytes32);
    /// @notice The seconds between the start and the end of unstaking.
    function unbondingDelay() external view returns (uint256);
    /// @notice The only caller of `slash`, `lockFor` and `unlock`, with its channels.
    function market() external view returns (address);
    /// @notice The token that is staked.
    function token() external view returns (address);
    /// @notice Stake that was burned: tokens of this contract that nobody can move.
    function burned() external view returns (uint256);
}
