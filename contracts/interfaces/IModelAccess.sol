// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Who may use a model without being asked about one by one.
/// Open: everyone not denied. AllowList: granted wallets. OnRequest: wallets apply, admins decide.
enum Policy {
    Open,
    AllowList,
    OnRequest
}

/// @notice State of one wallet's access to one model.
enum GrantStatus {
    None,
    Applied,
    Granted,
    Denied
}

/// @notice One slot per (model, requester): the grant *and* its rate-limit counter, so that the
/// market's check costs one read and one write.
struct Grant {
    GrantStatus status;
    uint40 expiry; // unix seconds; 0 = never
    uint32 maxPerWindow; // 0 = unlimited
    uint32 window; // seconds
    uint40 windowStart; // unix seconds; start of the running window
    uint32 used; // requests in the running window
    uint40 changedAt; // unix seconds; of the last grant, denial or revocation; of its end, once applied for anew
}

/// @title Access policy of every model: admins, applications, grants with expiry, rate limits and
/// bounds of the run-time parameters. Enforced by the market at `request`; holds no money.
/// @dev A parameter word is 8 big-endian lanes of uint32; lane 0 is the most significant. A zero
/// word asks for the manifest's defaults and is always within bounds.
interface IModelAccess {
    event AdminSet(uint256 indexed modelId, address indexed admin, bool enabled);
    event PolicySet(uint256 indexed modelId, Policy policy, uint32 maxPerWindow, uint32 window);
    event BoundsSet(uint256 indexed modelId, bytes32 minimum, bytes32 maximum);
    event ApplicationSubmitted(uint256 indexed modelId, address indexed requester, string note);
    event AccessGranted(
        uint256 indexed modelId,
        address indexed requester,
        address indexed admin,
        uint40 expiry,
        uint32 maxPerWindow,
        uint32 window
    );
    event AccessDenied(uint256 indexed modelId, address indexed requester, address indexed admin);
    event AccessRevoked(uint256 indexed modelId, address indexed requester, address indexed admin);

    error CallerNotAdmin(uint256 modelId, address caller);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error CallerNotMarket(address caller);
    error ApplicationsClosed(uint256 modelId, Policy policy);
    error ApplicationPending(uint256 modelId, address requester);
    error AlreadyGranted(uint256 modelId, address requester);
    error NoteTooLong(uint256 length, uint256 max);
    error GrantMissing(uint256 modelId, address requester);
    error GrantDenied(uint256 modelId, address requester);
    error GrantExpired(uint256 modelId, address requester, uint256 expiry);
    error ExpiryInPast(uint256 expiry);
    error RateLimitExceeded(uint256 modelId, address requester, uint256 resetsAt);
    error RateLimitInvalid(uint32 maxPerWindow, uint32 window);
    error ParameterOutOfBounds(uint256 modelId, uint256 lane, uint256 value, uint256 minimum, uint256 maximum);
    error BoundsInverted(uint256 lane, uint256 minimum, uint256 maximum);

    /// @notice Only the model's owner. Admins lapse when the model changes hands, and are back when
    /// it returns to the owner who named them.
    function setAdmin(uint256 modelId, address admin, bool enabled) external;
    /// @notice Owner or admin. The rate limit is that of wallets which use an Open model without a
    /// grant; a grant carries its own. maxPerWindow 0 = unlimited.
    function setPolicy(uint256 modelId, Policy policy, uint32 maxPerWindow, uint32 window) external;
    /// @notice Owner or admin. Per-lane bounds; a maximum word of zero lifts all bounds.
    function setBounds(uint256 modelId, bytes32 minimum, bytes32 maximum) external;
    /// @notice Asks for access to an OnRequest model (`apply` is a reserved word). note ≤ 256 bytes.
    function submitApplication(uint256 modelId, string calldata note) external;
    /// @notice Owner or admin; with or without a previous application. expiry 0 = never,
    /// maxPerWindow 0 = unlimited. A running window of the rate limit keeps its count.
    function grant(uint256 modelId, address requester, uint40 expiry, uint32 maxPerWindow, uint32 window) external;
    /// @notice Owner or admin. A denied wallet is refused even by an Open model, until granted.
    function deny(uint256 modelId, address requester) external;
    /// @notice Owner or admin. Back to no grant; the wallet may apply again.
    function revoke(uint256 modelId, address requester) external;

    /// @notice Checks the grant, the rate limit and the parameters, and counts the request.
    /// Only the market.
    function consume(uint256 modelId, address requester, bytes32 params) external;
    /// @notice The same check as a view; reverts with the error that `request` would meet.
    function check(uint256 modelId, address requester, bytes32 params) external view;

    /// @notice Whether a request was certainly refused at `time`: the rules that refuse it have not changed since.
    /// False when they have: what they were is not kept. The rate limit is left out, as it needs other requests.
    /// @param time Unix seconds, not in the future.
    function refusedAt(uint256 modelId, address requester, bytes32 params, uint256 time) external view returns (bool);

    /// @notice The only caller of `consume`.
    function market() external view returns (address);
    /// @notice Whether the account is the model's owner or an admin.
    function isAdmin(uint256 modelId, address account) external view returns (bool);
    /// @notice The model's policy.
    function policyOf(uint256 modelId) external view returns (Policy policy, uint32 maxPerWindow, uint32 window);
    /// @notice The bounds of the model's parameters.
    function boundsOf(uint256 modelId) external view returns (bytes32 minimum, bytes32 maximum);
    /// @notice One wallet's access to one model.
    function grantOf(uint256 modelId, address requester) external view returns (Grant memory);
}
