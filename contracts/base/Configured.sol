// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDataCredits} from "../interfaces/IDataCredits.sol";
import {IInferenceMarket, MarketConfig} from "../interfaces/IInferenceMarket.sol";
import {IModelAccess} from "../interfaces/IModelAccess.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {IOperatorRegistry} from "../interfaces/IOperatorRegistry.sol";
import {IPaymentChannels} from "../interfaces/IPaymentChannels.sol";
import {Fees} from "../libraries/Fees.sol";

/// @title What is fixed when the market is deployed, checked once.
abstract contract Configured is IInferenceMarket {
    IERC20 internal immutable TOKEN;
    IModelRegistry internal immutable REGISTRY;
    IModelAccess internal immutable ACCESS;
    IOperatorRegistry internal immutable OPERATORS;
    IDataCredits internal immutable DATA_CREDITS;
    address internal immutable EXACT_MODULE;
    address internal immutable COMMITTEE_MODULE;
    IPaymentChannels internal immutable CHANNELS;
    address internal immutable TREASURY;
    uint256 internal immutable PROTOCOL_BPS;
    uint256 internal immutable MIN_LOCK;
    uint256 internal immutable CLAIM_FORFEIT;
    uint256 internal immutable CLAIM_PERIOD;
    uint256 internal immutable DEMAND_PERIOD;
    uint256 internal immutable MAX_DISPUTE_AGE;
    uint256 internal immutable MIN_GAS_PRICE;

    constructor(MarketConfig memory config_) {
        TOKEN = IERC20(config_.token);
        REGISTRY = IModelRegistry(config_.registry);
        DATA_CREDITS = IDataCredits(config_.dataCredits);
        TREASURY = config_.treasury;
        ACCESS = IModelAccess(config_.access);
        OPERATORS = IOperatorRegistry(config_.operators);
        EXACT_MODULE = config_.exactModule;
        COMMITTEE_MODULE = config_.committeeModule;
        CHANNELS = IPaymentChannels(config_.channels);
        PROTOCOL_BPS = config_.protocolBps;
        MIN_LOCK = config_.minLock;
        CLAIM_FORFEIT = config_.claimForfeit;
        CLAIM_PERIOD = config_.claimPeriod;
        DEMAND_PERIOD = config_.demandPeriod;
        MAX_DISPUTE_AGE = config_.maxDisputeAge;
        MIN_GAS_PRICE = config_.minGasPrice;

        if (ACCESS.market() != address(this)) revert ConfigInvalid("access");
        if (REGISTRY.operators() != config_.operators) revert ConfigInvalid("registry");
        if (OPERATORS.market() != address(this) || OPERATORS.token() != config_.token)
            revert ConfigInvalid("operators");
        if (config_.treasury == address(0)) revert ConfigInvalid("treasury");
        if (config_.protocolBps > Fees.MAX_PROTOCOL_BPS) revert ConfigInvalid("protocolBps");
        (uint256 auditBps, uint256 minLock) = REGISTRY.honestyOf();
        if (auditBps != 0 && minLock != config_.minLock) revert ConfigInvalid("minLock");
        if (config_.claimForfeit > config_.minLock) revert ConfigInvalid("claimForfeit");
        if (config_.claimPeriod == 0) revert ConfigInvalid("claimPeriod");
        if (config_.demandPeriod == 0) revert ConfigInvalid("demandPeriod");
        (, uint256 longestWindow) = REGISTRY.challengeWindowRange();
        uint256 longest = longestWindow + config_.maxDisputeAge + config_.demandPeriod;
        if (OPERATORS.unbondingDelay() <= longest) revert ConfigInvalid("unbondingDelay");
    }

    /// @inheritdoc IInferenceMarket
    function config() external view returns (MarketConfig memory) {
        return
            MarketConfig({
                token: address(TOKEN),
                registry: address(REGISTRY),
                access: address(ACCESS),
                operators: address(OPERATORS),
                dataCredits: address(DATA_CREDITS),
                exactModule: EXACT_MODULE,
                committeeModule: COMMITTEE_MODULE,
                channels: address(CHANNELS),
                treasury: TREASURY,
                protocolBps: uint16(PROTOCOL_BPS),
                minLock: uint64(MIN_LOCK),
                claimForfeit: uint64(CLAIM_FORFEIT),
                claimPeriod: uint32(CLAIM_PERIOD),
                demandPeriod: uint32(DEMAND_PERIOD),
                maxDisputeAge: uint32(MAX_DISPUTE_AGE),
                minGasPrice: uint64(MIN_GAS_PRICE)
            });
    }

    /// @inheritdoc IInferenceMarket
    function channels() external view returns (address) {
        return address(CHANNELS);
    }

    /// @dev Wei; on chains where the base fee is not the cost, the floor is.
    function _gasPrice() internal view returns (uint256) {
        return block.basefee > MIN_GAS_PRICE ? block.basefee : MIN_GAS_PRICE;
    }
}
