// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IInferenceMarket} from "./interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperatorRegistry, Stake, Unbonding} from "./interfaces/IOperatorRegistry.sol";

/// @title Operators: stake, locks, slashing, unbonding, profile, and authority over models.
contract OperatorRegistry is IOperatorRegistry, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    uint256 private constant MAX_ENDPOINT_BYTES = 256;

    IERC20 private immutable TOKEN;
    IModelRegistry private immutable REGISTRY;
    address private immutable MARKET;
    uint256 private immutable UNBONDING_DELAY;

    mapping(address operator => Stake) private _stakes;
    mapping(address operator => Unbonding) private _unbondings;
    mapping(address operator => bytes32) private _encryptionKeys;
    mapping(uint256 modelId => mapping(address operator => bool)) private _authorized;
    mapping(uint256 modelId => uint256) private _authorizedCounts;
    uint128 private _owedToMarket; // token units
    uint128 private _burned; // token units; they stay here for ever

    constructor(IERC20 token_, IModelRegistry registry, address market_, uint256 unbondingDelay_) {
        TOKEN = token_;
        REGISTRY = registry;
        MARKET = market_;
        UNBONDING_DELAY = unbondingDelay_;
    }

    /// @dev The market for single answers, its channels for offers.
    modifier onlyLocker() {
        if (msg.sender != MARKET && msg.sender != IInferenceMarket(MARKET).channels()) {
            revert CallerNotMarket(msg.sender);
        }
        _;
    }

    // ── Register ────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IOperatorRegistry
    function register(bytes32 encryptionKey, string calldata endpoint) external {
        if (_stakes[msg.sender].registered) revert OperatorAlreadyRegistered(msg.sender);
        _checkEndpoint(endpoint);
        _stakes[msg.sender].registered = true;
        _encryptionKeys[msg.sender] = encryptionKey;
        emit OperatorRegistered(msg.sender, encryptionKey, endpoint);
    }

    /// @inheritdoc IOperatorRegistry
    function updateProfile(bytes32 encryptionKey, string calldata endpoint) external {
        _requireRegistered(msg.sender);
        _checkEndpoint(endpoint);
        _encryptionKeys[msg.sender] = encryptionKey;
        emit ProfileUpdated(msg.sender, encryptionKey, endpoint);
    }

    /// @inheritdoc IOperatorRegistry
    function authorize(uint256 modelId, address operator, bool authorized) external {
        if (REGISTRY.ownerOf(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
        _requireRegistered(operator);
        if (_authorized[modelId][operator] != authorized) {
            _authorized[modelId][operator] = authorized;
            if (authorized) ++_authorizedCounts[modelId];
            else --_authorizedCounts[modelId];
        }
        emit OperatorAuthorized(modelId, operator, authorized);
    }

    // ── Stake and unbond ────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IOperatorRegistry
    function stake(address operator, uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountZero();
        _requireRegistered(operator);
        _stakes[operator].staked += amount.toUint96();
        emit Staked(operator, msg.sender, amount);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IOperatorRegistry
    function startUnstake(uint256 amount) external {
        if (amount == 0) revert AmountZero();
        uint256 pendingUntil = _unbondings[msg.sender].releaseAt;
        if (pendingUntil != 0) revert UnbondingPending(msg.sender, pendingUntil);
        Stake storage record = _stakes[msg.sender];
        uint256 free = record.staked - record.locked;
        if (amount > free) revert StakeInsufficient(msg.sender, free, amount);
        uint40 releaseAt = (block.timestamp + UNBONDING_DELAY).toUint40();
        record.staked -= uint96(amount);
        _unbondings[msg.sender] = Unbonding(uint96(amount), releaseAt);
        emit UnstakeStarted(msg.sender, amount, releaseAt);
    }

    /// @inheritdoc IOperatorRegistry
    function finishUnstake(address to) external nonReentrant {
        Unbonding memory unbonding = _unbondings[msg.sender];
        if (unbonding.releaseAt == 0) revert UnbondingMissing(msg.sender);
        if (block.timestamp < unbonding.releaseAt) revert UnbondingPending(msg.sender, unbonding.releaseAt);
        delete _unbondings[msg.sender];
        emit UnstakeFinished(msg.sender, to, unbonding.amount);
        TOKEN.safeTransfer(to, unbonding.amount);
    }

    // ── Lock and slash: the market and its channels ─────────────────────────────────────────────────────────

    /// @inheritdoc IOperatorRegistry
    function lockFor(uint256 modelId, address operator, uint256 amount) external onlyLocker {
        if (!_authorized[modelId][operator]) revert OperatorUnauthorized(modelId, operator);
        // The word of `Stake`: staked at bit 0, locked at bit 96. One read and one write.
        Stake storage record = _stakes[operator];
        uint256 word;
        assembly ("memory-safe") {
            word := sload(record.slot)
        }
        unchecked {
            uint256 free = uint96(word) - uint96(word >> 96);
            if (amount > free) revert StakeInsufficient(operator, free, amount);
            word += amount << 96;
        }
        assembly ("memory-safe") {
            sstore(record.slot, word)
        }
    }

    /// @inheritdoc IOperatorRegistry
    function unlock(address operator, uint256 amount) external onlyLocker {
        _stakes[operator].locked = _lockedAfter(operator, amount);
    }

    /// @inheritdoc IOperatorRegistry
    function slash(address operator, uint256 amount, uint256 burned_) external onlyLocker {
        _stakes[operator].locked = _lockedAfter(operator, amount);
        _stakes[operator].staked -= uint96(amount);
        _owedToMarket += uint128(amount - burned_);
        _burned += uint128(burned_);
        emit StakeSlashed(operator, amount, burned_);
    }

    /// @inheritdoc IOperatorRegistry
    function payMarket() external nonReentrant {
        uint256 amount = _owedToMarket;
        _owedToMarket = 0;
        TOKEN.safeTransfer(MARKET, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IOperatorRegistry
    function stakeOf(address operator) external view returns (Stake memory) {
        return _stakes[operator];
    }

    /// @inheritdoc IOperatorRegistry
    function unbondingOf(address operator) external view returns (Unbonding memory) {
        return _unbondings[operator];
    }

    /// @inheritdoc IOperatorRegistry
    function freeStakeOf(address operator) external view returns (uint256) {
        return _stakes[operator].staked - _stakes[operator].locked;
    }

    /// @inheritdoc IOperatorRegistry
    function isAuthorized(uint256 modelId, address operator) external view returns (bool) {
        return _authorized[modelId][operator];
    }

    /// @inheritdoc IOperatorRegistry
    function authorizedCount(uint256 modelId) external view returns (uint256) {
        return _authorizedCounts[modelId];
    }

    /// @inheritdoc IOperatorRegistry
    function encryptionKeyOf(address operator) external view returns (bytes32) {
        return _encryptionKeys[operator];
    }

    /// @inheritdoc IOperatorRegistry
    function unbondingDelay() external view returns (uint256) {
        return UNBONDING_DELAY;
    }

    /// @inheritdoc IOperatorRegistry
    function market() external view returns (address) {
        return MARKET;
    }

    /// @inheritdoc IOperatorRegistry
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IOperatorRegistry
    function burned() external view returns (uint256) {
        return _burned;
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _requireRegistered(address operator) private view {
        if (!_stakes[operator].registered) revert OperatorUnknown(operator);
    }

    function _checkEndpoint(string calldata endpoint) private pure {
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT_BYTES) revert EndpointTooLong(length, MAX_ENDPOINT_BYTES);
    }

    function _lockedAfter(address operator, uint256 amount) private view returns (uint96) {
        uint256 locked = _stakes[operator].locked;
        if (amount > locked) revert LockInsufficient(operator, locked, amount);
        return uint96(locked - amount);
    }
}
