// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDataCredits} from "../interfaces/IDataCredits.sol";
import {DataConfig, IDataRounds} from "../interfaces/IDataRounds.sol";
import {IInferenceMarket, MarketConfig} from "../interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Account, Accumulator, Pool} from "../libraries/Accumulator.sol";

/// @title Who holds how many credits of which model, what they earned, and the books: every way out for money.
/// @dev Knows nothing of rounds.
abstract contract Credits is IDataRounds, ReentrancyGuardTransient {
    using Accumulator for Account;
    using Accumulator for Pool;
    using SafeERC20 for IERC20;

    address private constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;

    IInferenceMarket internal immutable MARKET;
    IModelRegistry internal immutable REGISTRY;
    IERC20 internal immutable TOKEN;

    mapping(uint256 modelId => Pool) private _pools;
    mapping(uint256 modelId => mapping(address holder => Account)) private _accounts;
    mapping(address account => uint256) private _balances;

    constructor(DataConfig memory config_) {
        MARKET = IInferenceMarket(config_.market);
        MarketConfig memory market = MARKET.config();
        REGISTRY = IModelRegistry(market.registry);
        TOKEN = IERC20(market.token);
        if (market.dataCredits != address(this)) revert ConfigInvalid("market");
    }

    // ── Revenue ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataCredits
    function creditRevenue(uint256 modelId, uint256 amount) external {
        if (msg.sender != address(MARKET)) revert CallerNotMarket(msg.sender);
        Pool storage pool = _pools[modelId];
        if (pool.credits == 0) revert CreditsMissing(modelId);
        pool.earn(amount);
        emit RevenueCredited(modelId, amount, pool.credits);
    }

    /// @inheritdoc IDataRounds
    function claim(uint256 modelId) external nonReentrant returns (uint256 amount) {
        amount = _accounts[modelId][msg.sender].collect(_pools[modelId].perCredit);
        if (amount == 0) revert AmountZero();
        emit RevenueClaimed(modelId, msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IDataRounds
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = _balances[msg.sender];
        if (amount == 0) revert AmountZero();
        _balances[msg.sender] = 0;
        emit BalanceWithdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataCredits
    function hasCredits(uint256 modelId) external view returns (bool) {
        return _pools[modelId].credits != 0;
    }

    /// @inheritdoc IDataRounds
    function creditsOf(uint256 modelId, address holder) public view returns (uint256) {
        return _accounts[modelId][holder].credits;
    }

    /// @inheritdoc IDataRounds
    function totalCredits(uint256 modelId) external view returns (uint256) {
        return _pools[modelId].credits;
    }

    /// @inheritdoc IDataRounds
    function claimable(uint256 modelId, address holder) external view returns (uint256) {
        return _accounts[modelId][holder].owing(_pools[modelId].perCredit);
    }

    /// @inheritdoc IDataRounds
    function balanceOf(address account) external view returns (uint256) {
        return _balances[account];
    }

    /// @inheritdoc IDataRounds
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IDataRounds
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    // ── For rounds ──────────────────────────────────────────────────────────────────────────────

    /// @dev What was earned before the pool changes goes to those who held it. A holder that the token refuses to
    /// pay must not hold up a round, but nobody shall skip this by calling from within the market. Running out
    /// of gas does not skip it either: what 63/64 are too little for, 1/64 cannot finish.
    function _collectEarnings(uint256 modelId) internal {
        (, uint256 dataFee) = MARKET.modelEarnings(modelId);
        if (dataFee == 0) return;
        try MARKET.collectModelEarnings(modelId) {} catch (bytes memory reason) {
            if (bytes4(reason) == ReentrancyGuardReentrantCall.selector) revert ReentrancyGuardReentrantCall();
        }
    }

    /// @return perCredit The accumulator from which on the new credits earn.
    function _changePool(uint256 modelId, uint256 added, uint256 lost) internal returns (uint256 perCredit) {
        Pool storage pool = _pools[modelId];
        pool.credits = pool.credits + added - lost;
        return pool.perCredit;
    }

    function _grant(uint256 modelId, address holder, uint256 credits, uint256 since) internal {
        _accounts[modelId][holder].grant(_perCredit(modelId), credits, since);
    }

    function _take(uint256 modelId, address holder, uint256 credits) internal {
        uint256 held = creditsOf(modelId, holder);
        if (credits > held) revert CreditsInsufficient(modelId, holder, held, credits);
        _accounts[modelId][holder].take(_perCredit(modelId), credits);
    }

    function _owe(uint256 modelId, address holder, uint256 credits, uint256 from, uint256 to) internal {
        _accounts[modelId][holder].owe(Accumulator.earned(credits, from, to));
    }

    function _perCredit(uint256 modelId) internal view returns (uint256) {
        return _pools[modelId].perCredit;
    }

    function _creditBalance(address account, uint256 amount) internal {
        _balances[account] += amount;
    }

    /// @dev Callers must hold the reentrancy guard or have written all state.
    function _receive(uint256 amount) internal {
        if (amount != 0) TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    function _burn(uint256 amount) internal {
        if (amount != 0) TOKEN.safeTransfer(BURN_ADDRESS, amount);
    }
}
