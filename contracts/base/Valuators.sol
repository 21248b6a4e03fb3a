// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ICredits} from "../interfaces/ICredits.sol";
import {IDataRounds, Round, Stage} from "../interfaces/IDataRounds.sol";
import {IInferenceMarket} from "../interfaces/IInferenceMarket.sol";
import {Case, IValuationGame, Seat, Valuation, ValuationConfig} from "../interfaces/IValuationGame.sol";
import {IValuationVerifier} from "../interfaces/IValuationVerifier.sol";
import {ValuationTables} from "../libraries/ValuationTables.sol";

/// @title Who values a round, with what at stake; how a round gets its values; and the game's books.
/// @dev Knows nothing of proofs.
abstract contract Valuators is IValuationGame, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    address internal constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    /// @dev No true valuation gives more (docs/valuation.md, section 2): a false one cannot drown what was earned.
    uint256 private constant MAX_CREDITS = 1 << 44;

    IDataRounds internal immutable DATA;
    address internal immutable VERIFIER;
    IERC20 private immutable TOKEN;
    uint256 private immutable STAKE;
    uint256 private immutable FORFEIT;
    uint256 private immutable VALUING_PERIOD;
    uint256 private immutable CLAIM_PERIOD;
    uint256 private immutable CHALLENGE_WINDOW;
    uint256 internal immutable MIN_REPLY;
    uint256 internal immutable CLOCK;
    uint256 private immutable MIN_GAS_PRICE;

    mapping(uint256 roundId => Case) internal _cases;
    mapping(address valuator => Seat) private _seats;
    mapping(address account => uint256) private _bonds;
    mapping(address account => uint256) private _rewards;

    constructor(ValuationConfig memory config_) {
        DATA = IDataRounds(config_.rounds);
        VERIFIER = config_.verifier;
        TOKEN = IERC20(DATA.token());
        STAKE = config_.stake;
        FORFEIT = config_.forfeit;
        VALUING_PERIOD = config_.valuingPeriod;
        CLAIM_PERIOD = config_.claimPeriod;
        CHALLENGE_WINDOW = config_.challengeWindow;
        MIN_REPLY = config_.minReply;
        CLOCK = config_.clock;
        MIN_GAS_PRICE = IInferenceMarket(ICredits(DATA.config().credits).config().market).config().minGasPrice;

        if (DATA.config().game != address(this)) revert ConfigInvalid("rounds");
        if (IValuationVerifier(VERIFIER).rounds() != address(DATA)) revert ConfigInvalid("verifier");
        if (STAKE == 0) revert ConfigInvalid("stake");
        if (FORFEIT == 0 || FORFEIT > STAKE) revert ConfigInvalid("forfeit");
        if (CLAIM_PERIOD == 0 || CLAIM_PERIOD > VALUING_PERIOD) revert ConfigInvalid("claimPeriod");
        if (CHALLENGE_WINDOW == 0) revert ConfigInvalid("challengeWindow");
        if (MIN_REPLY == 0) revert ConfigInvalid("minReply");
    }

    // ── Stake ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function stake(uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountZero();
        Seat storage seat = _seats[msg.sender];
        seat.staked += amount.toUint128();
        emit ValuatorStaked(msg.sender, amount, seat.staked);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IValuationGame
    function unstake(uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountZero();
        Seat storage seat = _seats[msg.sender];
        _requireFree(seat, amount);
        seat.staked -= uint128(amount);
        emit ValuatorUnstaked(msg.sender, amount, seat.staked);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // ── Value ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function claim(uint256 roundId) external nonReentrant {
        Case storage case_ = _cases[roundId];
        if (case_.valuator != address(0)) _lapseClaim(roundId, case_);
        uint256 endBy = _endBy(roundId, _requireValuing(roundId));
        if (block.timestamp >= endBy) revert ValuingOver(roundId, endBy);
        Seat storage seat = _seats[msg.sender];
        _requireFree(seat, STAKE);
        seat.locked += uint128(STAKE);
        uint256 until = block.timestamp + CLAIM_PERIOD;
        case_.valuator = msg.sender;
        case_.until = uint40(until);
        emit RoundClaimed(roundId, msg.sender, until);
    }

    /// @inheritdoc IValuationGame
    function publish(uint256 roundId, Valuation calldata valuation, uint64[] calldata values, bytes32 cid) external {
        Case storage case_ = _cases[roundId];
        if (case_.published || msg.sender != case_.valuator) revert CallerNotValuator(roundId, msg.sender);
        if (block.timestamp >= case_.until) revert ClaimOver(roundId, case_.until);
        _check(_requireValuing(roundId), valuation, values);
        uint256 until = block.timestamp + CHALLENGE_WINDOW;
        bytes32 root = ValuationTables.root(valuation);
        case_.until = uint40(until);
        case_.attempt += 1;
        case_.published = true;
        case_.root = root;
        case_.valuesRoot = valuation.values;
        emit ValuationPublished(roundId, msg.sender, case_.attempt, root, cid, valuation, values, until);
    }

    function _check(Round memory round, Valuation calldata valuation, uint64[] calldata values) private pure {
        if (valuation.N != round.rows) revert ValuationInvalid("N");
        if (valuation.n > valuation.N) revert ValuationInvalid("n");
        if (valuation.T != round.testRows) revert ValuationInvalid("T");
        bool fits = values.length == round.numbered && ValuationTables.valuesRoot(values) == valuation.values;
        if (!fits) revert ValuationInvalid("values");
        uint256 credits;
        for (uint256 i; i < values.length; ++i) {
            credits += values[i] / round.testRows;
        }
        if (credits >= MAX_CREDITS) revert ValuationInvalid("credits");
    }

    /// @inheritdoc IValuationGame
    function lapseClaim(uint256 roundId) external nonReentrant {
        _lapseClaim(roundId, _cases[roundId]);
    }

    /// @dev Each claim that comes to nothing doubles what the next one may lose, and gives all others time anew: whoever
    /// only claims pays more and more, and cannot wear the round out.
    function _lapseClaim(uint256 roundId, Case storage case_) private {
        address valuator = case_.valuator;
        if (valuator == address(0)) revert RoundClaimMissing(roundId);
        _requireValuing(roundId); // of a settled round the stake is free already
        if (case_.published || block.timestamp < case_.until) revert RoundClaimOpen(roundId, valuator, case_.until);
        uint256 lost = FORFEIT << case_.lapses;
        if (lost > STAKE) lost = STAKE;
        else case_.lapses += 1;
        case_.valuator = address(0);
        case_.endBy = uint40(block.timestamp + VALUING_PERIOD);
        _unlock(valuator, lost);
        emit ClaimLapsed(roundId, valuator, lost);
        _burn(lost);
    }

    // ── End ─────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function settle(uint256 roundId, uint64[] calldata values) external nonReentrant {
        Case storage case_ = _requirePublished(roundId);
        if (block.timestamp < case_.until) revert WindowOpen(roundId, case_.until);
        if (case_.challenges != 0) revert ChallengesOpen(roundId, case_.challenges);
        bytes32 valuesRoot = case_.valuesRoot;
        bool fits = values.length == DATA.roundOf(roundId).numbered && ValuationTables.valuesRoot(values) == valuesRoot;
        if (!fits) revert ValuationInvalid("values");
        case_.published = false;
        _unlock(case_.valuator, 0);
        DATA.settle(roundId, case_.valuator, valuesRoot, values);
    }

    /// @inheritdoc IValuationGame
    function voidRound(uint256 roundId) external nonReentrant {
        Case storage case_ = _cases[roundId];
        if (case_.valuator != address(0)) _lapseClaim(roundId, case_);
        uint256 endBy = _endBy(roundId, _requireValuing(roundId));
        if (block.timestamp < endBy) revert ValuingOpen(roundId, endBy);
        DATA.voidRound(roundId);
    }

    /// @dev Half of the stake is the challenger's, half is burned: convicting oneself costs.
    function _convict(uint256 roundId, address challenger) internal {
        Case storage case_ = _cases[roundId];
        address valuator = case_.valuator;
        uint256 endBy = block.timestamp + VALUING_PERIOD;
        uint256 bounty = STAKE / 2;
        case_.valuator = address(0);
        case_.published = false;
        case_.challenges = 0;
        case_.endBy = uint40(endBy);
        _unlock(valuator, STAKE);
        _rewards[challenger] += bounty;
        emit ValuatorConvicted(roundId, valuator, challenger, bounty, STAKE - bounty, endBy);
        DATA.punish(DATA.roundOf(roundId).modelId, valuator);
        _burn(STAKE - bounty);
    }

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function withdrawBond() external nonReentrant {
        uint256 amount = _bonds[msg.sender];
        if (amount == 0) revert AmountZero();
        _bonds[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    /// @inheritdoc IValuationGame
    function withdrawReward() external nonReentrant {
        uint256 amount = _rewards[msg.sender];
        if (amount == 0) revert AmountZero();
        _rewards[msg.sender] = 0;
        emit RewardWithdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function config() external view returns (ValuationConfig memory) {
        return
            ValuationConfig({
                rounds: address(DATA),
                verifier: VERIFIER,
                stake: uint96(STAKE),
                forfeit: uint96(FORFEIT),
                valuingPeriod: uint32(VALUING_PERIOD),
                claimPeriod: uint32(CLAIM_PERIOD),
                challengeWindow: uint32(CHALLENGE_WINDOW),
                minReply: uint32(MIN_REPLY),
                clock: uint32(CLOCK)
            });
    }

    /// @inheritdoc IValuationGame
    function caseOf(uint256 roundId) external view returns (Case memory) {
        return _cases[roundId];
    }

    /// @inheritdoc IValuationGame
    function seatOf(address valuator) external view returns (Seat memory) {
        return _seats[valuator];
    }

    /// @inheritdoc IValuationGame
    function bondOf(address account) external view returns (uint256) {
        return _bonds[account];
    }

    /// @inheritdoc IValuationGame
    function rewardOf(address account) external view returns (uint256) {
        return _rewards[account];
    }

    /// @inheritdoc IValuationGame
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _requireValuing(uint256 roundId) private view returns (Round memory round) {
        round = DATA.roundOf(roundId);
        if (round.stage != Stage.Valuing) revert RoundNotValuing(roundId);
    }

    function _requirePublished(uint256 roundId) internal view returns (Case storage case_) {
        case_ = _cases[roundId];
        if (!case_.published) revert ValuationMissing(roundId);
    }

    function _endBy(uint256 roundId, Round memory round) private view returns (uint256 endBy) {
        endBy = _cases[roundId].endBy;
        if (endBy == 0) endBy = round.sealedAt + VALUING_PERIOD;
    }

    function _requireFree(Seat storage seat, uint256 needed) private view {
        uint256 free = seat.staked - seat.locked;
        if (needed > free) revert StakeInsufficient(msg.sender, free, needed);
    }

    /// @dev Frees what stood behind one valuation; `lost` of it is gone.
    function _unlock(address valuator, uint256 lost) private {
        Seat storage seat = _seats[valuator];
        seat.locked -= uint128(STAKE);
        seat.staked -= uint128(lost);
    }

    /// @dev Book-keeping: no verdict waits for a token.
    function _burn(uint256 amount) private {
        _rewards[BURN_ADDRESS] += amount;
    }

    function _creditBond(address account, uint256 amount) internal {
        _bonds[account] += amount;
    }

    /// @dev Wei; the market's floor holds where the base fee is not the cost.
    function _gasPrice() internal view returns (uint256) {
        return block.basefee > MIN_GAS_PRICE ? block.basefee : MIN_GAS_PRICE;
    }
}
