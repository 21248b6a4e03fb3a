// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {ICommittee, CommitteeConfig, Seat} from "../interfaces/ICommittee.sol";
import {IInferenceMarket, MarketConfig} from "../interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";

/// @title Members, their stake and its history; and the committee's books.
/// @dev Knows nothing of disputes. Every change of a stake is a checkpoint under its time, and a
/// challenge looks `seasoning` seconds back: so one rule serves who comes, who leaves and who is slashed.
/// A look-up is a binary search: at most 48 reads, however many changes there were.
abstract contract Seats is ICommittee, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using Checkpoints for Checkpoints.Trace208;

    address internal constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    /// @dev Penalties that a seat can pay: a member is drawn in many disputes at once.
    uint256 private constant MIN_PENALTIES = 20;
    uint256 internal constant ROUNDS = 3;

    struct Declaration {
        bytes32 runtimeClass;
        uint40 declaredAt; // unix seconds
    }

    IInferenceMarket internal immutable MARKET;
    IModelRegistry internal immutable REGISTRY;
    IERC20 internal immutable TOKEN;
    uint256 internal immutable BOND;
    uint256 internal immutable MIN_STAKE;
    uint256 internal immutable PENALTY;
    uint256 internal immutable SEASONING;
    uint256 internal immutable SEED_DELAY;
    uint256 internal immutable DRAW_PERIOD;
    uint256 internal immutable COMMIT_PERIOD;
    uint256 internal immutable REVEAL_PERIOD;
    uint256 private immutable TALLY_PERIOD;

    mapping(bytes32 runtimeClass => mapping(address member => Seat)) private _seats;
    mapping(bytes32 runtimeClass => mapping(address member => Checkpoints.Trace208)) private _weights;
    mapping(bytes32 runtimeClass => Checkpoints.Trace208) private _pools;
    mapping(uint256 modelId => mapping(uint256 version => Declaration)) private _declarations;
    mapping(address account => uint256) private _bonds;
    mapping(address account => uint256) private _rewards;

    constructor(CommitteeConfig memory config_) {
        MARKET = IInferenceMarket(config_.market);
        MarketConfig memory market = MARKET.config();
        REGISTRY = IModelRegistry(market.registry);
        TOKEN = IERC20(market.token);
        BOND = config_.bond;
        MIN_STAKE = config_.minStake;
        PENALTY = config_.penalty;
        SEASONING = config_.seasoning;
        SEED_DELAY = config_.seedDelay;
        DRAW_PERIOD = config_.drawPeriod;
        COMMIT_PERIOD = config_.commitPeriod;
        REVEAL_PERIOD = config_.revealPeriod;
        TALLY_PERIOD = config_.tallyPeriod;

        if (market.committeeModule != address(this)) revert ConfigInvalid("market");
        if (PENALTY == 0) revert ConfigInvalid("penalty");
        if (MIN_STAKE < MIN_PENALTIES * PENALTY) revert ConfigInvalid("minStake");
        if (SEASONING == 0) revert ConfigInvalid("seasoning");
        if (SEED_DELAY == 0) revert ConfigInvalid("seedDelay");
        if (DRAW_PERIOD == 0) revert ConfigInvalid("drawPeriod");
        if (COMMIT_PERIOD == 0) revert ConfigInvalid("commitPeriod");
        if (REVEAL_PERIOD == 0) revert ConfigInvalid("revealPeriod");
        if (TALLY_PERIOD == 0) revert ConfigInvalid("tallyPeriod");
        // The last tally gets into a block before the market lets anyone annul.
        if (market.maxDisputeAge < longestDispute() + TALLY_PERIOD) revert ConfigInvalid("maxDisputeAge");
    }

    // ── Seats ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
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

    /// @inheritdoc ICommittee
    function startLeave(bytes32 runtimeClass) external {
        Seat storage seat = _seats[runtimeClass][msg.sender];
        if (seat.stake == 0) revert SeatMissing(msg.sender, runtimeClass);
        if (seat.releaseAt != 0) revert SeatLeaving(msg.sender, runtimeClass, seat.releaseAt);
        uint256 releaseAt = block.timestamp + leaveDelay();
        seat.releaseAt = releaseAt.toUint40();
        _weigh(runtimeClass, msg.sender, 0);
        emit LeaveStarted(msg.sender, runtimeClass, seat.stake, releaseAt);
    }

    /// @inheritdoc ICommittee
    function finishLeave(bytes32 runtimeClass) external nonReentrant {
        Seat memory seat = _seats[runtimeClass][msg.sender];
        if (seat.releaseAt == 0) revert SeatMissing(msg.sender, runtimeClass);
        if (block.timestamp < seat.releaseAt) revert SeatBound(msg.sender, runtimeClass, seat.releaseAt);
        delete _seats[runtimeClass][msg.sender];
        emit LeaveFinished(msg.sender, runtimeClass, seat.stake);
        if (seat.stake != 0) TOKEN.safeTransfer(msg.sender, seat.stake);
    }

    /// @inheritdoc ICommittee
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

    /// @inheritdoc ICommittee
    function withdrawBond() external nonReentrant {
        uint256 amount = _bonds[msg.sender];
        if (amount == 0) revert AmountZero();
        _bonds[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    /// @inheritdoc ICommittee
    function withdrawReward() external nonReentrant {
        uint256 amount = _rewards[msg.sender];
        if (amount == 0) revert AmountZero();
        _rewards[msg.sender] = 0;
        emit RewardWithdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function config() external view returns (CommitteeConfig memory) {
        return
            CommitteeConfig({
                market: address(MARKET),
                bond: uint96(BOND),
                minStake: uint96(MIN_STAKE),
                penalty: uint96(PENALTY),
                seasoning: uint32(SEASONING),
                seedDelay: uint32(SEED_DELAY),
                drawPeriod: uint32(DRAW_PERIOD),
                commitPeriod: uint32(COMMIT_PERIOD),
                revealPeriod: uint32(REVEAL_PERIOD),
                tallyPeriod: uint32(TALLY_PERIOD)
            });
    }

    /// @inheritdoc ICommittee
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc ICommittee
    function leaveDelay() public view returns (uint256) {
        return SEASONING + 2 * longestDispute();
    }

    /// @inheritdoc ICommittee
    function longestDispute() public view returns (uint256) {
        return DRAW_PERIOD + ROUNDS * (COMMIT_PERIOD + REVEAL_PERIOD + TALLY_PERIOD);
    }

    /// @inheritdoc ICommittee
    function seatOf(bytes32 runtimeClass, address member) external view returns (Seat memory) {
        return _seats[runtimeClass][member];
    }

    /// @inheritdoc ICommittee
    function weightAt(bytes32 runtimeClass, address member, uint256 time) public view returns (uint256) {
        return _weights[runtimeClass][member].upperLookupRecent(uint48(time));
    }

    /// @inheritdoc ICommittee
    function poolAt(bytes32 runtimeClass, uint256 time) public view returns (uint256) {
        return _pools[runtimeClass].upperLookupRecent(uint48(time));
    }

    /// @inheritdoc ICommittee
    function runtimeClassOf(
        uint256 modelId,
        uint256 version
    ) public view returns (bytes32 runtimeClass, uint256 declaredAt) {
        Declaration storage declaration = _declarations[modelId][version];
        return (declaration.runtimeClass, declaration.declaredAt);
    }

    /// @inheritdoc ICommittee
    function bondOf(address account) external view returns (uint256) {
        return _bonds[account];
    }

    /// @inheritdoc ICommittee
    function rewardOf(address account) external view returns (uint256) {
        return _rewards[account];
    }

    /// @inheritdoc ICommittee
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    // ── For the committee ───────────────────────────────────────────────────────────────────────

    /// @dev Takes what is there of `amount`; the caller pays it out or burns it.
    function _slash(bytes32 runtimeClass, address member, uint256 amount) internal returns (uint256 taken) {
        Seat storage seat = _seats[runtimeClass][member];
        uint256 stake = seat.stake;
        taken = amount < stake ? amount : stake;
        if (taken == 0) return 0;
        stake -= taken;
        seat.stake = uint96(stake);
        if (seat.releaseAt == 0) _weigh(runtimeClass, member, stake);
    }

    function _burn(uint256 amount) internal {
        if (amount != 0) TOKEN.safeTransfer(BURN_ADDRESS, amount);
    }

    function _creditBond(address account, uint256 amount) internal {
        _bonds[account] += amount;
    }

    function _creditReward(address account, uint256 amount) internal {
        _rewards[account] += amount;
    }

    /// @dev A stake below the minimum has no weight: it could not pay its penalties.
    function _weigh(bytes32 runtimeClass, address member, uint256 stake) private {
        uint48 time = uint48(block.timestamp);
        uint208 weight = stake < MIN_STAKE ? 0 : uint208(stake);
        uint208 pool = _pools[runtimeClass].latest();
        (uint208 before, ) = _weights[runtimeClass][member].push(time, weight);
        _pools[runtimeClass].push(time, pool - before + weight);
    }
}
