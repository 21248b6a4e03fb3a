// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IModelAccess, Policy, GrantStatus, Grant} from "./interfaces/IModelAccess.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title Access policy of every model: admins, applications, grants, rate limits, parameter bounds.
contract ModelAccess is IModelAccess {
    uint256 private constant MAX_NOTE_BYTES = 256;
    uint256 private constant LANES = 8;
    uint256 private constant NONE = type(uint256).max; // no lane
    uint256 private constant COUNTER = uint256(type(uint72).max) << 112; // in the word of `Grant`

    struct Rules {
        Policy policy;
        uint32 maxPerWindow; // 0 = unlimited
        uint32 window; // seconds
        uint40 changedAt; // unix seconds
    }

    struct Bounds {
        bytes32 minimum;
        bytes32 maximum; // 0 = no bounds
        uint40 changedAt; // unix seconds
    }

    IModelRegistry private immutable REGISTRY;
    address private immutable MARKET;

    /// @dev Keyed by the owner who named them, so that they lapse with a transfer of the model.
    mapping(uint256 modelId => mapping(address owner => mapping(address admin => bool))) private _admins;
    mapping(uint256 modelId => Rules) private _rules;
    mapping(uint256 modelId => Bounds) private _bounds;
    mapping(uint256 modelId => mapping(address requester => Grant)) private _grants;

    constructor(IModelRegistry registry, address market_) {
        REGISTRY = registry;
        MARKET = market_;
    }

    modifier onlyAdmin(uint256 modelId) {
        if (!isAdmin(modelId, msg.sender)) revert CallerNotAdmin(modelId, msg.sender);
        _;
    }

    // ── Rules of a model ────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelAccess
    function setAdmin(uint256 modelId, address admin, bool enabled) external {
        if (REGISTRY.ownerOf(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
        _admins[modelId][msg.sender][admin] = enabled;
        emit AdminSet(modelId, admin, enabled);
    }

    /// @inheritdoc IModelAccess
    function setPolicy(uint256 modelId, Policy policy, uint32 maxPerWindow, uint32 window) external onlyAdmin(modelId) {
        _checkRateLimit(maxPerWindow, window);
        _rules[modelId] = Rules(policy, maxPerWindow, window, uint40(block.timestamp));
        emit PolicySet(modelId, policy, maxPerWindow, window);
    }

    /// @inheritdoc IModelAccess
    function setBounds(uint256 modelId, bytes32 minimum, bytes32 maximum) external onlyAdmin(modelId) {
        if (maximum != 0) {
            for (uint256 lane; lane < LANES; ++lane) {
                (uint256 low, uint256 high) = (_lane(minimum, lane), _lane(maximum, lane));
                if (low > high) revert BoundsInverted(lane, low, high);
            }
        }
        _bounds[modelId] = Bounds(minimum, maximum, uint40(block.timestamp));
        emit BoundsSet(modelId, minimum, maximum);
    }

    // ── Apply and decide ────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelAccess
    function submitApplication(uint256 modelId, string calldata note) external {
        Policy policy = _rules[modelId].policy;
        if (policy != Policy.OnRequest) revert ApplicationsClosed(modelId, policy);
        if (bytes(note).length > MAX_NOTE_BYTES) revert NoteTooLong(bytes(note).length, MAX_NOTE_BYTES);
        Grant storage record = _grants[modelId][msg.sender];
        GrantStatus status = record.status;
        if (status == GrantStatus.Applied) revert ApplicationPending(modelId, msg.sender);
        if (status == GrantStatus.Denied) revert GrantDenied(modelId, msg.sender);
        if (status == GrantStatus.Granted && !_isExpired(record.expiry)) revert AlreadyGranted(modelId, msg.sender);
        // An answer from before the grant ended was not refused, and nothing must say so now.
        if (status == GrantStatus.Granted) record.changedAt = record.expiry;
        record.status = GrantStatus.Applied;
        emit ApplicationSubmitted(modelId, msg.sender, note);
    }

    /// @inheritdoc IModelAccess
    function grant(
        uint256 modelId,
        address requester,
        uint40 expiry,
        uint32 maxPerWindow,
        uint32 window
    ) external onlyAdmin(modelId) {
        if (_isExpired(expiry)) revert ExpiryInPast(expiry);
        _checkRateLimit(maxPerWindow, window);
        Grant storage record = _decide(modelId, requester, GrantStatus.Granted);
        record.expiry = expiry;
        record.maxPerWindow = maxPerWindow;
        record.window = window;
        emit AccessGranted(modelId, requester, msg.sender, expiry, maxPerWindow, window);
    }

    /// @inheritdoc IModelAccess
    function deny(uint256 modelId, address requester) external onlyAdmin(modelId) {
        _decide(modelId, requester, GrantStatus.Denied);
        emit AccessDenied(modelId, requester, msg.sender);
    }

    /// @inheritdoc IModelAccess
    function revoke(uint256 modelId, address requester) external onlyAdmin(modelId) {
        if (_grants[modelId][requester].status == GrantStatus.None) revert GrantMissing(modelId, requester);
        _decide(modelId, requester, GrantStatus.None);
        emit AccessRevoked(modelId, requester, msg.sender);
    }

    function _decide(uint256 modelId, address requester, GrantStatus status) private returns (Grant storage record) {
        record = _grants[modelId][requester];
        record.status = status;
        record.changedAt = uint40(block.timestamp);
    }

    // ── Use ─────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelAccess
    function consume(uint256 modelId, address requester, bytes32 params) external {
        if (msg.sender != MARKET) revert CallerNotMarket(msg.sender);
        (uint256 word, uint256 counted) = _admit(modelId, requester, params);
        if (counted != word) _write(_grants[modelId][requester], counted);
    }

    /// @inheritdoc IModelAccess
    function check(uint256 modelId, address requester, bytes32 params) external view {
        _admit(modelId, requester, params);
    }

    /// @inheritdoc IModelAccess
    function refusedAt(uint256 modelId, address requester, bytes32 params, uint256 time) external view returns (bool) {
        Grant memory record = _grants[modelId][requester];
        Rules memory rules = _rules[modelId];
        if (record.changedAt <= time) {
            if (record.status == GrantStatus.Denied) return true;
            if (record.status == GrantStatus.Granted) {
                if (record.expiry != 0 && time >= record.expiry) return true;
            } else if (rules.policy != Policy.Open && rules.changedAt <= time) {
                return true;
            }
        }
        if (params == 0 || _bounds[modelId].changedAt > time) return false;
        return _outside(modelId, params) != NONE;
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelAccess
    function market() external view returns (address) {
        return MARKET;
    }

    /// @inheritdoc IModelAccess
    function isAdmin(uint256 modelId, address account) public view returns (bool) {
        address owner = REGISTRY.ownerOf(modelId);
        return account == owner || _admins[modelId][owner][account];
    }

    /// @inheritdoc IModelAccess
    function policyOf(uint256 modelId) external view returns (Policy policy, uint32 maxPerWindow, uint32 window) {
        Rules memory rules = _rules[modelId];
        return (rules.policy, rules.maxPerWindow, rules.window);
    }

    /// @inheritdoc IModelAccess
    function boundsOf(uint256 modelId) external view returns (bytes32 minimum, bytes32 maximum) {
        Bounds memory bounds = _bounds[modelId];
        return (bounds.minimum, bounds.maximum);
    }

    /// @inheritdoc IModelAccess
    function grantOf(uint256 modelId, address requester) external view returns (Grant memory) {
        return _grants[modelId][requester];
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    /// @dev Reverts unless the request is admitted; returns the grant's word before and after it.
    /// Works on the word of `Grant` (status at bit 0, expiry 8, maxPerWindow 48, window 80,
    /// windowStart 112, used 152, changedAt 184), which saves the market 1,000 gas a request.
    function _admit(
        uint256 modelId,
        address requester,
        bytes32 params
    ) private view returns (uint256 word, uint256 counted) {
        word = _read(_grants[modelId][requester]);
        uint256 maxPerWindow = uint32(word >> 48);
        uint256 window = uint32(word >> 80);
        uint256 status = uint8(word);
        if (status == uint256(GrantStatus.Granted)) {
            uint40 expiry = uint40(word >> 8);
            if (_isExpired(expiry)) revert GrantExpired(modelId, requester, expiry);
        } else {
            if (status == uint256(GrantStatus.Denied)) revert GrantDenied(modelId, requester);
            Rules memory rules = _rules[modelId];
            if (rules.policy != Policy.Open) revert GrantMissing(modelId, requester);
            (maxPerWindow, window) = (rules.maxPerWindow, rules.window);
        }
        if (params != 0) _checkParameters(modelId, params);
        if (maxPerWindow == 0) return (word, word);

        uint256 windowStart = uint40(word >> 112);
        uint256 used = uint32(word >> 152);
        unchecked {
            if (block.timestamp >= windowStart + window) {
                (windowStart, used) = (block.timestamp, 0);
            } else if (used >= maxPerWindow) {
                revert RateLimitExceeded(modelId, requester, windowStart + window);
            }
            counted = (word & ~COUNTER) | (windowStart << 112) | ((used + 1) << 152);
        }
    }

    function _read(Grant storage record) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(record.slot)
        }
    }

    function _write(Grant storage record, uint256 word) private {
        assembly ("memory-safe") {
            sstore(record.slot, word)
        }
    }

    function _checkParameters(uint256 modelId, bytes32 params) private view {
        uint256 shift = _outside(modelId, params);
        if (shift == NONE) return;
        Bounds memory bounds = _bounds[modelId];
        revert ParameterOutOfBounds(
            modelId,
            LANES - 1 - shift / 32,
            uint32(uint256(params) >> shift),
            uint32(uint256(bounds.minimum) >> shift),
            uint32(uint256(bounds.maximum) >> shift)
        );
    }

    /// @dev The shift of the first lane that is out of bounds, or NONE. Lane 0 is the most significant: its shift is 224.
    function _outside(uint256 modelId, bytes32 params) private view returns (uint256 shift) {
        (uint256 word, uint256 maximum) = (uint256(params), uint256(_bounds[modelId].maximum));
        if (maximum == 0) return NONE;
        uint256 minimum = uint256(_bounds[modelId].minimum);
        for (shift = 256; shift != 0;) {
            unchecked {
                shift -= 32;
            }
            uint256 value = uint32(word >> shift);
            if (value < uint32(minimum >> shift) || value > uint32(maximum >> shift)) return shift;
        }
        return NONE;
    }

    function _checkRateLimit(uint32 maxPerWindow, uint32 window) private pure {
        if ((maxPerWindow == 0) != (window == 0)) revert RateLimitInvalid(maxPerWindow, window);
    }

    function _isExpired(uint40 expiry) private view returns (bool) {
        return expiry != 0 && block.timestamp >= expiry;
    }

    function _lane(bytes32 word, uint256 lane) private pure returns (uint256) {
        return uint32(uint256(word) >> (32 * (LANES - 1 - lane)));
    }
}
