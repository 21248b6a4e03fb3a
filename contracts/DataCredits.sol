// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {CreditsConfig, Endorsement, ICredits} from "./interfaces/ICredits.sol";
import {IDataCredits} from "./interfaces/IDataCredits.sol";
import {Contribution, IDataRounds, Round, Stage, Status} from "./interfaces/IDataRounds.sol";
import {IInferenceMarket} from "./interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Credits} from "./base/Credits.sol";

/// @title Credits of data: minted by rounds, staked on the data of others.
/// @dev Books and revenue are in base/Credits.sol, rounds in DataRounds.sol.
contract DataCredits is Credits {
    IDataRounds private immutable ROUNDS;
    ICredits private immutable PREDECESSOR;

    mapping(uint256 roundId => mapping(uint256 index => mapping(address endorser => Endorsement)))
        private _endorsements;
    mapping(uint256 roundId => mapping(uint256 index => uint256)) private _endorsed; // credits
    /// @dev The accumulator when the round was settled (libraries/Accumulator.sol).
    mapping(uint256 roundId => uint256) private _settledAt;
    /// @inheritdoc ICredits
    mapping(uint256 modelId => bool) public hasLeft;
    /// @inheritdoc ICredits
    mapping(uint256 modelId => uint256) public formerOf;
    /// @inheritdoc ICredits
    mapping(uint256 modelId => mapping(address holder => uint256)) public arrivedOf;

    constructor(CreditsConfig memory config_) Credits(config_) {
        ROUNDS = IDataRounds(config_.rounds);
        PREDECESSOR = ICredits(config_.predecessor);
        if (config_.rounds == address(0)) revert ConfigInvalid("rounds");
    }

    modifier onlyRounds() {
        if (msg.sender != address(ROUNDS)) revert CallerNotRounds(msg.sender);
        _;
    }

    // ── Endorse ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICredits
    function endorse(uint256 roundId, uint256 index, uint256 amount) external {
        Round memory round = ROUNDS.roundOf(roundId);
        Contribution memory contribution = ROUNDS.contributionOf(roundId, index);
        Status status = contribution.status;
        if (status != Status.Revealed) revert StatusInvalid(roundId, index, status);
        if (block.timestamp >= round.revealUntil) revert PhaseOver(roundId, round.revealUntil);
        if (contribution.owner == msg.sender) revert EndorsementInvalid(roundId, index, msg.sender);
        if (amount == 0) revert AmountZero();
        uint256 modelId = round.modelId;
        if (ROUNDS.tierOf(modelId, msg.sender) == 0) revert TierMissing(modelId, msg.sender);
        Endorsement storage endorsement = _endorsements[roundId][index][msg.sender];
        if (endorsement.amount != 0) revert EndorsementExists(roundId, index, msg.sender);
        _take(modelId, msg.sender, amount);
        endorsement.amount = uint96(amount);
        endorsement.perCredit = _perCredit(modelId);
        _endorsed[roundId][index] += amount;
        emit Endorsed(roundId, index, msg.sender, amount);
    }

    /// @inheritdoc ICredits
    function settleEndorsement(
        uint256 roundId,
        uint256 number,
        address endorser,
        uint256 value,
        bytes32[] calldata path
    ) external nonReentrant {
        (uint256 index, uint256 credits, bool worthless) = ROUNDS.creditOf(roundId, number, value, path);
        Endorsement memory endorsement = _endEndorsement(roundId, index, endorser);
        uint256 modelId = ROUNDS.roundOf(roundId).modelId;
        uint256 since = _settledAt[roundId];
        uint256 amount = endorsement.amount;
        // Staked credit earned until the round was settled; what is not lost, and the reward, from then on.
        _owe(modelId, endorser, amount, endorsement.perCredit, since);
        if (worthless) {
            emit EndorsementSettled(roundId, index, endorser, 0, 0);
            ROUNDS.noteEndorsement(modelId, endorser, 0, amount);
            return;
        }
        uint256 reward = _rewardOf(roundId, index, credits, amount);
        _grant(modelId, endorser, amount + reward, since);
        emit EndorsementSettled(roundId, index, endorser, amount, reward);
        ROUNDS.noteEndorsement(modelId, endorser, reward, 0);
    }

    /// @inheritdoc ICredits
    function returnEndorsement(uint256 roundId, uint256 index, address endorser) external {
        Round memory round = ROUNDS.roundOf(roundId);
        Contribution memory contribution = ROUNDS.contributionOf(roundId, index);
        bool leftOut = round.stage == Stage.Void || contribution.rows == 0;
        if (!leftOut) revert StatusInvalid(roundId, index, contribution.status);
        Endorsement memory endorsement = _endEndorsement(roundId, index, endorser);
        _grant(round.modelId, endorser, endorsement.amount, endorsement.perCredit);
        emit EndorsementSettled(roundId, index, endorser, endorsement.amount, 0);
    }

    // ── For rounds ──────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICredits
    function settle(
        uint256 modelId,
        uint256 roundId,
        uint256 testRows,
        uint256 valued,
        uint256[] calldata worthless
    ) external onlyRounds nonReentrant returns (uint256 minted) {
        uint256 lost;
        for (uint256 i; i < worthless.length; ++i) {
            lost += _endorsed[roundId][worthless[i]];
        }
        _collectEarnings(modelId);
        _settledAt[roundId] = _perCredit(modelId);
        minted = _mint(modelId, testRows, valued, lost);
        emit CreditsMinted(modelId, roundId, valued, minted, lost);
    }

    /// @inheritdoc ICredits
    function grant(
        uint256 modelId,
        uint256 roundId,
        uint256 index,
        address owner,
        uint256 credits,
        uint256 endorserBps
    ) external onlyRounds returns (uint256 own) {
        own = credits - _endorsersShare(roundId, index, credits, endorserBps);
        _grant(modelId, owner, own, _settledAt[roundId]);
    }

    // ── Move to another deployment ──────────────────────────────────────────────────────────────

    /// @inheritdoc ICredits
    function leave(uint256 modelId) external {
        _requireOwner(_registryOf(MARKET), modelId);
        if (ROUNDS.isLive(modelId)) revert ModelLive(modelId);
        hasLeft[modelId] = true;
        emit ModelLeft(modelId);
    }

    /// @inheritdoc ICredits
    function come(uint256 modelId, uint256 formerId) external {
        if (address(PREDECESSOR) == address(0)) revert PredecessorMissing();
        (IModelRegistry registry, IModelRegistry former) = (
            _registryOf(MARKET),
            _registryOf(IInferenceMarket(PREDECESSOR.config().market))
        );
        _requireOwner(registry, modelId);
        _requireOwner(former, formerId);
        if (!PREDECESSOR.hasLeft(formerId)) revert ModelNotLeft(formerId);
        if (formerOf[modelId] != 0 || ROUNDS.currentRoundOf(modelId) != 0) revert ModelNotEmpty(modelId);
        (uint256 bps, uint256 least) = (_shareOf(registry, modelId), _shareOf(former, formerId));
        if (bps < least) revert ShareLowered(bps, least);
        (uint256 credits, uint256 testRows) = (PREDECESSOR.totalCredits(formerId), PREDECESSOR.testRowsOf(formerId));
        if (credits == 0) revert CreditsMissing(formerId);
        formerOf[modelId] = formerId;
        _begin(modelId, credits, testRows);
        emit ModelCame(modelId, formerId, credits, testRows);
    }

    /// @inheritdoc ICredits
    function arrive(uint256 modelId, address holder) external returns (uint256 credits) {
        uint256 formerId = formerOf[modelId];
        if (formerId == 0) revert CreditsMissing(modelId);
        uint256 held = PREDECESSOR.creditsOf(formerId, holder);
        credits = held - arrivedOf[modelId][holder];
        if (credits == 0) revert AmountZero();
        arrivedOf[modelId][holder] = held;
        _grant(modelId, holder, credits, 0); // nothing was earned here before the model came
        emit CreditsArrived(modelId, holder, credits);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICredits
    function config() external view returns (CreditsConfig memory) {
        return CreditsConfig(address(MARKET), address(ROUNDS), address(PREDECESSOR), uint16(MAX_WEIGHT_BPS));
    }

    /// @inheritdoc IDataCredits
    function protectsShare(uint256 modelId) external view returns (bool) {
        return totalCredits(modelId) != 0 || ROUNDS.isLive(modelId);
    }

    /// @inheritdoc ICredits
    function endorsementOf(
        uint256 roundId,
        uint256 index,
        address endorser
    ) external view returns (Endorsement memory) {
        return _endorsements[roundId][index][endorser];
    }

    /// @inheritdoc ICredits
    function endorsedOf(uint256 roundId, uint256 index) external view returns (uint256) {
        return _endorsed[roundId][index];
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _registryOf(IInferenceMarket market) private view returns (IModelRegistry) {
        return IModelRegistry(market.config().registry);
    }

    function _requireOwner(IModelRegistry registry, uint256 modelId) private view {
        if (registry.ownerOf(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
    }

    /// @dev Of the last version, in basis points.
    function _shareOf(IModelRegistry registry, uint256 modelId) private view returns (uint256) {
        return registry.termsOf(modelId, registry.versionCount(modelId)).dataBps();
    }

    /// @dev One endorser's part, by what it staked.
    function _rewardOf(
        uint256 roundId,
        uint256 index,
        uint256 credits,
        uint256 amount
    ) private view returns (uint256) {
        uint256 offered = ROUNDS.contributionOf(roundId, index).endorserBps;
        return (_endorsersShare(roundId, index, credits, offered) * amount) / _endorsed[roundId][index];
    }

    /// @dev At most what they staked: who stakes little gains little.
    function _endorsersShare(
        uint256 roundId,
        uint256 index,
        uint256 credits,
        uint256 endorserBps
    ) private view returns (uint256 share) {
        share = (credits * endorserBps) / BPS;
        uint256 staked = _endorsed[roundId][index];
        if (staked < share) share = staked;
    }

    function _endEndorsement(
        uint256 roundId,
        uint256 index,
        address endorser
    ) private returns (Endorsement memory endorsement) {
        endorsement = _endorsements[roundId][index][endorser];
        if (endorsement.amount == 0) revert EndorsementMissing(roundId, index, endorser);
        delete _endorsements[roundId][index][endorser];
    }
}
