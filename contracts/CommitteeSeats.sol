// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {ICommitteeSeats, Seat, SeatsConfig} from "./interfaces/ICommitteeSeats.sol";
import {IInferenceMarket, MarketConfig} from "./interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title Members of the committee, their stake and its history, and what is owed to them.
/// @dev Knows nothing of disputes. Every change of a stake is a checkpoint under its time, and a
/// challenge looks `seasoning` seconds back: so one rule serves who comes, who leaves and who is slashed.
/// A look-up is a binary search: at most 48 reads, however many changes there were.
contract CommitteeSeats is ICommitteeSeats, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using Checkpoints for Checkpoints.Trace208;

    address private constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    bytes32 private constant GENERAL = 0;

    struct Declaration {
        bytes32 runtimeClass;
        uint40 declaredAt; // unix seconds
    }

    IInferenceMarket private immutable MARKET;
    IModelRegistry private immutable REGISTRY;
    IERC20 private immutable TOKEN;
    address private immutable COMMITTEE;
    uint256 private immutable MIN_STAKE;
    uint256 private immutable SEASONING;
    uint256 private immutable LEAVE_DELAY;

    mapping(bytes32 runtimeClass => mapping(address member => Seat)) private _seats;
    mapping(bytes32 runtimeClass => mapping(address member => Checkpoints.Trace208)) private _weights;
    mapping(bytes32 runtimeClass => Checkpoints.Trace208) private _pools;
    mapping(uint256 modelId => mapping(uint256 version => Declaration)) private _declarations;
    mapping(address account => uint256) private _rewards;

    modifier onlyCommittee() {
        if (msg.sender != COMMITTEE) revert CallerNotCommittee(msg.sender);
        _;
    }

    constructor(SeatsConfig memory config_) {
        MARKET = IInferenceMarket(config_.market);
        MarketConfig memory market = MARKET.config();
        REGISTRY = IModelRegistry(market.registry);
        TOKEN = IERC20(market.token);
        COMMITTEE = market.committeeModule;
        MIN_STAKE = config_.minStake;
        SEASONING = config_.seasoning;
        LEAVE_DELAY = config_.leaveDelay;
        if (MIN_STAKE == 0) revert ConfigInvalid("minStake");
        if (SEASONING == 0) revert ConfigInvalid("seasoning");
    }

    // ── Seats ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommitteeSeats
    function enlist(bytes32 runtimeClass, uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountZero();
        Seat memory seat = _seats[runtimeClass][msg.sender];
        if (seat.releaseAt != 0) revert SeatLeaving(msg.sender, runtimeClass, seat.releaseAt);
        uint256 stake = seat.stake + amount;
        if (stake < MIN_STAKE) revert SeatTooSmall(msg.sender, stake, MIN_STAKE);
        _seats[runtimeClass][msg.sender].stake = stake.toUint96();
        _weigh(runtimeClass, msg.sender, stake);
        emit Enlisted(msg.sender, runtimeClass, amount, stake);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc ICommitteeSeats
    function startLeave(bytes32 runtimeClass) external {
        Seat storage seat = _seats[runtimeClass][msg.sender];
        if (seat.stake == 0) revert SeatMissing(msg.sender, runtimeClass);
        if (seat.releaseAt != 0) revert SeatLeaving(msg.sender, runtimeClass, seat.releaseAt);
        uint256 releaseAt = block.timestamp + LEAVE_DELAY;
        seat.releaseAt = releaseAt.toUint40();
        _weigh(runtimeClass, msg.sender, 0);
        emit LeaveStarted(msg.sender, runtimeClass, seat.stake, releaseAt);
    }

    /// @inheritdoc ICommitteeSeats
    function finishLeave(bytes32 runtimeClass) external nonReentrant {
        Seat memory seat = _seats[runtimeClass][msg.sender];
        if (seat.releaseAt == 0) revert SeatMissing(msg.sender, runtimeClass);
        if (block.timestamp < seat.releaseAt) revert SeatBound(msg.sender, runtimeClass, seat.releaseAt);
        if (seat.bound != 0) revert VotesOpen(msg.sender, runtimeClass, seat.bound);
        delete _seats[runtimeClass][msg.sender];
        emit LeaveFinished(msg.sender, runtimeClass, seat.stake);
        if (seat.stake != 0) TOKEN.safeTransfer(msg.sender, seat.stake);
    }

    /// @inheritdoc ICommitteeSeats
    function declareRuntimeClass(uint256 modelId, uint32 version, bytes32 runtimeClass) external {
        if (REGISTRY.ownerOf(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
        if (version == 0 || version > REGISTRY.versionCount(modelId)) revert VersionUnknown(modelId, version);
        Declaration storage declaration = _declarations[modelId][version];
        if (runtimeClass == 0 || declaration.declaredAt != 0) {
            revert RuntimeClassInvalid(modelId, version, runtimeClass);
        }
        declaration.runtimeClass = runtimeClass;
        declaration.declaredAt = uint40(block.timestamp);
        emit RuntimeClassDeclared(modelId, version, runtimeClass);
    }

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommitteeSeats
    function withdrawReward() external nonReentrant {
        uint256 amount = _rewards[msg.sender];
        if (amount == 0) revert AmountZero();
        _rewards[msg.sender] = 0;
        emit RewardWithdrawn(msg.sender, amount);
        // Bounties wait in the market: no verdict depends on a transfer.
        uint256 bounties = MARKET.balanceOf(address(this));
        if (bounties != 0) MARKET.withdraw(address(this), bounties);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommitteeSeats
    function config() external view returns (SeatsConfig memory) {
        return
            SeatsConfig({
                market: address(MARKET),
                minStake: uint96(MIN_STAKE),
                seasoning: uint32(SEASONING),
                leaveDelay: uint32(LEAVE_DELAY)
            });
    }

    /// @inheritdoc ICommitteeSeats
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc ICommitteeSeats
    function committee() external view returns (address) {
        return COMMITTEE;
    }

    /// @inheritdoc ICommitteeSeats
    function seatOf(bytes32 runtimeClass, address member) external view returns (Seat memory) {
        return _seats[runtimeClass][member];
    }

    /// @inheritdoc ICommitteeSeats
    function weightAt(bytes32 runtimeClass, address member, uint256 time) public view returns (uint256) {
        return _weights[runtimeClass][member].upperLookupRecent(uint48(time));
    }

    /// @inheritdoc ICommitteeSeats
    function poolAt(bytes32 runtimeClass, uint256 time) public view returns (uint256) {
        return _pools[runtimeClass].upperLookupRecent(uint48(time));
    }

    /// @inheritdoc ICommitteeSeats
    function runtimeClassOf(
        uint256 modelId,
        uint256 version
    ) public view returns (bytes32 runtimeClass, uint256 declaredAt) {
        Declaration storage declaration = _declarations[modelId][version];
        return (declaration.runtimeClass, declaration.declaredAt);
    }

    /// @inheritdoc ICommitteeSeats
    function classFor(
        uint256 modelId,
        uint256 version,
        uint256 deliveredAt
    ) external view returns (bytes32 runtimeClass, uint256 pool) {
        uint256 time = block.timestamp - SEASONING;
        pool = poolAt(GENERAL, time);
        Declaration storage declaration = _declarations[modelId][version];
        if (declaration.declaredAt == 0 || declaration.declaredAt >= deliveredAt) return (GENERAL, pool);
        uint256 own = poolAt(declaration.runtimeClass, time);
        return own < pool ? (GENERAL, pool) : (declaration.runtimeClass, own);
    }

    /// @inheritdoc ICommitteeSeats
    function rewardOf(address account) external view returns (uint256) {
        return _rewards[account];
    }

    /// @inheritdoc ICommitteeSeats
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    // ── For the committee ───────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommitteeSeats
    function bind(bytes32 runtimeClass, address member, uint256 amount) external onlyCommittee returns (uint256 bound) {
        Seat storage seat = _seats[runtimeClass][member];
        (uint256 stake, uint256 before) = (seat.stake, seat.bound);
        // Nothing, when other votes bind all: a vote without weight, but no silence that costs a penalty.
        bound = _min(amount, stake - before) & ~uint256(1);
        seat.bound = uint96(before + bound);
    }

    /// @inheritdoc ICommitteeSeats
    function release(bytes32 runtimeClass, address member, uint256 bound, uint256 lost) external onlyCommittee {
        _seats[runtimeClass][member].bound -= uint96(bound);
        _take(runtimeClass, member, lost);
    }

    /// @inheritdoc ICommitteeSeats
    function slash(
        bytes32 runtimeClass,
        address member,
        uint256 amount
    ) external onlyCommittee returns (uint256 taken) {
        Seat storage seat = _seats[runtimeClass][member];
        taken = _min(amount, seat.stake - seat.bound);
        _take(runtimeClass, member, taken);
    }

    /// @inheritdoc ICommitteeSeats
    function credit(address account, uint256 amount) external onlyCommittee {
        _rewards[account] += amount;
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _take(bytes32 runtimeClass, address member, uint256 amount) private {
        if (amount == 0) return;
        Seat storage seat = _seats[runtimeClass][member];
        uint256 stake = seat.stake - amount;
        seat.stake = uint96(stake);
        if (seat.releaseAt == 0) _weigh(runtimeClass, member, stake);
    }

    /// @dev A stake below the minimum has no weight: it could not pay its penalties.
    function _weigh(bytes32 runtimeClass, address member, uint256 stake) private {
        uint48 time = uint48(block.timestamp);
        uint208 weight = stake < MIN_STAKE ? 0 : uint208(stake);
        uint208 pool = _pools[runtimeClass].latest();
        (uint208 before, ) = _weights[runtimeClass][member].push(time, weight);
        _pools[runtimeClass].push(time, pool - before + weight);
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
