// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {CreditsConfig, ICredits} from "../interfaces/ICredits.sol";
import {IDataCredits} from "../interfaces/IDataCredits.sol";
import {IInferenceMarket, MarketConfig} from "../interfaces/IInferenceMarket.sol";
import {Account, Accumulator, Pool} from "../libraries/Accumulator.sol";

/// @title Who holds how many credits of which model, and what they earned.
/// @dev Knows nothing of rounds, and holds no tokens: revenue is a balance in the market until it is claimed.
abstract contract Credits is ICredits, ReentrancyGuardTransient {
    using Accumulator for Account;
    using Accumulator for Pool;

    uint256 internal constant BPS = 10_000;

    IInferenceMarket internal immutable MARKET;
    address private immutable TOKEN;
    uint256 internal immutable MAX_WEIGHT_BPS;

    mapping(uint256 modelId => Pool) private _pools;
    mapping(uint256 modelId => mapping(address holder => Account)) private _accounts;
    /// @inheritdoc ICredits
    mapping(uint256 modelId => uint256) public testRowsOf;

    constructor(CreditsConfig memory config_) {
        MARKET = IInferenceMarket(config_.market);
        MarketConfig memory market = MARKET.config();
        TOKEN = market.token;
        MAX_WEIGHT_BPS = config_.maxWeightBps;
        if (market.dataCredits != address(this)) revert ConfigInvalid("market");
        if (MAX_WEIGHT_BPS == 0 || MAX_WEIGHT_BPS >= BPS) revert ConfigInvalid("maxWeightBps");
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

    /// @inheritdoc ICredits
    function claim(uint256 modelId) external nonReentrant returns (uint256 amount) {
        amount = _accounts[modelId][msg.sender].collect(_pools[modelId].perCredit);
        if (amount == 0) revert AmountZero();
        emit RevenueClaimed(modelId, msg.sender, amount);
        MARKET.withdraw(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataCredits
    function hasCredits(uint256 modelId) external view returns (bool) {
        return _pools[modelId].credits != 0;
    }

    /// @inheritdoc ICredits
    function creditsOf(uint256 modelId, address holder) public view returns (uint256) {
        return _accounts[modelId][holder].credits;
    }

    /// @inheritdoc ICredits
    function totalCredits(uint256 modelId) public view returns (uint256) {
        return _pools[modelId].credits;
    }

    /// @inheritdoc ICredits
    function mintable(uint256 modelId, uint256 testRows) external view returns (uint256) {
        return _mintable(totalCredits(modelId), testRowsOf[modelId], testRows);
    }

    /// @inheritdoc ICredits
    function claimable(uint256 modelId, address holder) external view returns (uint256) {
        return _accounts[modelId][holder].owing(_pools[modelId].perCredit);
    }

    /// @inheritdoc ICredits
    function token() external view returns (address) {
        return TOKEN;
    }

    // ── For rounds ──────────────────────────────────────────────────────────────────────────────

    /// @dev What was earned before the pool changes goes to those who held it. No token moves, so none that is
    /// paused can mix the fees of before with those of after.
    function _collectEarnings(uint256 modelId) internal {
        (, uint256 dataFee) = MARKET.modelEarnings(modelId);
        if (dataFee != 0) MARKET.collectModelEarnings(modelId);
    }

    /// @dev Begins a pool with credits of another deployment.
    function _begin(uint256 modelId, uint256 credits, uint256 testRows) internal {
        _pools[modelId].credits = credits;
        testRowsOf[modelId] = testRows;
    }

    /// @return minted Credits for data worth `valued`.
    function _mint(uint256 modelId, uint256 testRows, uint256 valued, uint256 lost) internal returns (uint256 minted) {
        Pool storage pool = _pools[modelId];
        uint256 held = pool.credits - lost;
        minted = _mintable(held, testRowsOf[modelId], testRows);
        if (valued < minted) minted = valued;
        pool.credits = held + minted;
        if (minted != 0) testRowsOf[modelId] += testRows;
    }

    /// @dev A weight w takes the part w of all credits, when w / (1 − w) of the held ones are minted. Of its share of
    /// test rows that is testRows / before.
    function _mintable(uint256 held, uint256 before, uint256 testRows) private view returns (uint256 most) {
        if (held == 0) return type(uint256).max;
        most = (held * MAX_WEIGHT_BPS) / (BPS - MAX_WEIGHT_BPS);
        uint256 share = before == 0 ? most : (held * testRows) / before;
        if (share < most) most = share;
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
}
