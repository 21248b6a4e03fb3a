// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IInferenceMarket, MarketConfig} from "./interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {
    ITrainingRounds,
    TrainingCase,
    TrainingConfig,
    TrainingRound,
    TrainingRule,
    TrainingStage,
    TrainingTerms,
    TrainingUpdate,
    UpdateStatus
} from "./interfaces/ITrainingRounds.sol";

/// @title How a round of training goes from its opening to its end, and all its money.
/// @dev Knows nothing of proofs and demands: those are in TrainingGame.sol, which tells whom it convicted.
contract TrainingRounds is ITrainingRounds, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    address private constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant MAX_PARAMETERS = 1 << 32;
    uint256 private constant MAX_CLIP = (1 << 15) - 1;
    uint256 private constant MAX_SCALE_BITS = 31;
    /// @dev Of rules whose proofs show all updates.
    uint256 private constant MAX_SHOWN = 16;

    IERC20 private immutable TOKEN;
    IModelRegistry private immutable REGISTRY;
    address private immutable MARKET;
    address private immutable GAME;
    uint256 private immutable MAX_PERIOD;

    /// @inheritdoc ITrainingRounds
    uint256 public roundCount;
    mapping(uint256 roundId => TrainingTerms) private _terms;
    mapping(uint256 roundId => TrainingRound) private _rounds;
    mapping(uint256 roundId => mapping(uint256 number => TrainingUpdate)) private _updates;
    /// @inheritdoc ITrainingRounds
    mapping(uint256 roundId => mapping(address participant => bytes32)) public commitmentOf;
    mapping(uint256 roundId => mapping(bytes32 updateRoot => bool)) private _known;
    /// @inheritdoc ITrainingRounds
    mapping(address account => uint256) public balanceOf;

    modifier onlyGame() {
        if (msg.sender != GAME) revert CallerNotTrainingGame(msg.sender);
        _;
    }

    constructor(TrainingConfig memory config_) {
        MARKET = config_.market;
        MarketConfig memory market = IInferenceMarket(config_.market).config();
        TOKEN = IERC20(market.token);
        REGISTRY = IModelRegistry(market.registry);
        GAME = config_.game;
        MAX_PERIOD = config_.maxPeriod;
        if (GAME == address(0)) revert ConfigInvalid("game");
        if (MAX_PERIOD == 0) revert ConfigInvalid("maxPeriod");
    }

    // ── Collect ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingRounds
    function open(TrainingTerms calldata terms) external nonReentrant returns (uint256 roundId) {
        if (REGISTRY.ownerOf(terms.modelId) != msg.sender) revert CallerNotModelOwner(terms.modelId, msg.sender);
        bool published = terms.version != 0 && terms.version <= REGISTRY.versionCount(terms.modelId);
        if (!published) revert TrainingTermsInvalid("version");
        _check(terms);
        roundId = ++roundCount;
        _terms[roundId] = terms;
        TrainingRound storage round = _rounds[roundId];
        uint256 commitUntil = block.timestamp + terms.commitPeriod;
        uint256 revealUntil = commitUntil + terms.revealPeriod;
        uint256 serveUntil = revealUntil + terms.servePeriod;
        round.opener = msg.sender;
        round.stage = TrainingStage.Collecting;
        round.commitUntil = uint40(commitUntil);
        round.revealUntil = uint40(revealUntil);
        round.serveUntil = uint40(serveUntil);
        round.endBy = uint40(serveUntil + terms.aggregatePeriod);
        emit TrainingOpened(roundId, terms.modelId, msg.sender, terms);
        _receive(uint256(terms.reward) + terms.fee);
    }

    function _check(TrainingTerms calldata terms) private view {
        if (terms.parameters == 0 || terms.parameters > MAX_PARAMETERS) revert TrainingTermsInvalid("parameters");
        if (terms.clip == 0 || terms.clip > MAX_CLIP) revert TrainingTermsInvalid("clip");
        if (terms.rule != TrainingRule.Trimmed && terms.trim != 0) revert TrainingTermsInvalid("trim");
        if (terms.scaleBits > MAX_SCALE_BITS) revert TrainingTermsInvalid("scaleBits");
        if (terms.maxWeight == 0) revert TrainingTermsInvalid("maxWeight");
        if (terms.leastClients <= 2 * uint256(terms.trim)) revert TrainingTermsInvalid("leastClients");
        bool all = terms.rule != TrainingRule.Mean;
        if (terms.mostClients < terms.leastClients || (all && terms.mostClients > MAX_SHOWN))
            revert TrainingTermsInvalid("mostClients");
        if (terms.stateRoot == 0) revert TrainingTermsInvalid("stateRoot");
        _checkPeriod(terms.commitPeriod, "commitPeriod");
        _checkPeriod(terms.revealPeriod, "revealPeriod");
        _checkPeriod(terms.servePeriod, "servePeriod");
        _checkPeriod(terms.aggregatePeriod, "aggregatePeriod");
        _checkPeriod(terms.challengePeriod, "challengePeriod");
        if (terms.participantBond == 0) revert TrainingTermsInvalid("participantBond");
        if (terms.aggregatorBond == 0) revert TrainingTermsInvalid("aggregatorBond");
    }

    function _checkPeriod(uint256 period, string memory field) private view {
        if (period == 0 || period > MAX_PERIOD) revert TrainingTermsInvalid(field);
    }

    /// @inheritdoc ITrainingRounds
    function commit(uint256 roundId, bytes32 commitment) external nonReentrant {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Collecting);
        _requireBefore(roundId, round.commitUntil);
        if (commitment == 0) revert CommitmentZero();
        if (commitmentOf[roundId][msg.sender] != 0) revert CommitmentKnown(roundId, msg.sender);
        uint256 most = _terms[roundId].mostClients;
        if (round.committed == most) revert ClientsFull(roundId, most);
        round.committed += 1;
        commitmentOf[roundId][msg.sender] = commitment;
        emit UpdateCommitted(roundId, msg.sender, commitment);
        _receive(_terms[roundId].participantBond);
    }

    /// @inheritdoc ITrainingRounds
    function reveal(
        uint256 roundId,
        bytes32 updateRoot,
        uint256 weight,
        bytes32 salt,
        bytes32 cid,
        bytes32 digest
    ) external returns (uint256 number) {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Collecting);
        _requireFrom(roundId, round.commitUntil);
        _requireBefore(roundId, round.revealUntil);
        bytes32 commitment = keccak256(abi.encode(updateRoot, weight, salt, msg.sender, roundId));
        if (commitmentOf[roundId][msg.sender] != commitment) revert RevealMismatch(roundId, msg.sender);
        uint256 most = _terms[roundId].maxWeight;
        if (weight == 0 || weight > most) revert WeightInvalid(weight, most);
        if (_known[roundId][updateRoot]) revert UpdateKnown(roundId, updateRoot);
        _known[roundId][updateRoot] = true;
        delete commitmentOf[roundId][msg.sender];
        number = round.revealed + 1;
        round.revealed = uint16(number);
        round.counted += 1;
        round.sharing += 1;
        round.weight += uint32(weight);
        _updates[roundId][number] = TrainingUpdate({
            owner: msg.sender,
            weight: uint16(weight),
            status: UpdateStatus.Revealed,
            root: updateRoot
        });
        emit UpdateRevealed(roundId, number, msg.sender, updateRoot, weight, cid, digest);
    }

    // ── Aggregate ───────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingRounds
    function claim(uint256 roundId) external nonReentrant {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Collecting);
        if (round.aggregator != address(0)) _lapse(roundId, round);
        _requireFrom(roundId, round.serveUntil);
        _requireBefore(roundId, round.endBy);
        if (round.challenges != 0) revert TrainingChallengesOpen(roundId, round.challenges);
        uint256 least = _terms[roundId].leastClients;
        if (round.counted < least) revert ClientsTooFew(roundId, round.counted, least);
        uint256 until = block.timestamp + _terms[roundId].aggregatePeriod;
        round.aggregator = msg.sender;
        round.until = uint40(until);
        emit AggregationClaimed(roundId, msg.sender, until);
        _receive(_terms[roundId].aggregatorBond);
    }

    /// @inheritdoc ITrainingRounds
    function publish(uint256 roundId, bytes32 sumsRoot, bytes32 nextRoot, bytes32 cid, bytes32 digest) external {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Collecting);
        if (msg.sender != round.aggregator) revert CallerNotAggregator(roundId, msg.sender);
        _requireBefore(roundId, round.until);
        if (sumsRoot != 0 && _terms[roundId].rule != TrainingRule.Mean) revert SumsUnexpected(roundId);
        uint256 until = block.timestamp + _terms[roundId].challengePeriod;
        uint256 attempt = round.attempt + 1;
        round.stage = TrainingStage.Published;
        round.attempt = uint16(attempt);
        round.until = uint40(until);
        round.sumsRoot = sumsRoot;
        round.nextRoot = nextRoot;
        emit AggregatePublished(roundId, msg.sender, attempt, sumsRoot, nextRoot, cid, digest, until);
    }

    /// @inheritdoc ITrainingRounds
    function lapse(uint256 roundId) external {
        _lapse(roundId, _requireStage(roundId, TrainingStage.Collecting));
    }

    /// @dev Whoever only claims pays a bond each time, and gives all others time anew.
    function _lapse(uint256 roundId, TrainingRound storage round) private {
        address aggregator = round.aggregator;
        if (aggregator == address(0)) revert AggregatorMissing(roundId);
        if (block.timestamp < round.until) revert AggregatorAtWork(roundId, aggregator, round.until);
        uint256 bond = _terms[roundId].aggregatorBond;
        round.aggregator = address(0);
        _extend(roundId, round);
        balanceOf[BURN_ADDRESS] += bond;
        emit AggregationLapsed(roundId, aggregator, bond);
    }

    // ── End ─────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingRounds
    function settle(uint256 roundId) external {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Published);
        if (block.timestamp < round.until) revert TrainingWindowOpen(roundId, round.until);
        if (round.challenges != 0) revert TrainingChallengesOpen(roundId, round.challenges);
        TrainingTerms storage terms = _terms[roundId];
        (uint256 share, uint256 rest) = _shares(terms.reward, round.sharing);
        round.stage = TrainingStage.Settled;
        round.share = uint96(share);
        balanceOf[round.aggregator] += uint256(terms.aggregatorBond) + terms.fee;
        balanceOf[round.opener] += rest;
        uint256 burned = _burnUnrevealed(round, terms.participantBond);
        emit TrainingSettled(roundId, round.aggregator, round.nextRoot, share, rest, burned);
    }

    /// @dev Equal shares of those that count and kept to the bounds; what cannot be divided is the opener's.
    function _shares(uint256 reward, uint256 sharing) private pure returns (uint256 share, uint256 rest) {
        if (sharing != 0) share = reward / sharing;
        rest = reward - share * sharing;
    }

    /// @inheritdoc ITrainingRounds
    function voidRound(uint256 roundId) external {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Collecting);
        if (round.aggregator != address(0)) revert AggregatorAtWork(roundId, round.aggregator, round.until);
        _requireFrom(roundId, round.serveUntil);
        if (round.challenges != 0) revert TrainingChallengesOpen(roundId, round.challenges);
        TrainingTerms storage terms = _terms[roundId];
        bool enough = round.counted >= terms.leastClients;
        if (enough && block.timestamp < round.endBy) revert RoundWaits(roundId, round.endBy);
        uint256 paid = uint256(terms.reward) + terms.fee;
        round.stage = TrainingStage.Void;
        balanceOf[round.opener] += paid;
        uint256 burned = _burnUnrevealed(round, terms.participantBond);
        emit TrainingVoided(roundId, paid, burned);
    }

    function _burnUnrevealed(TrainingRound storage round, uint256 bond) private returns (uint256 burned) {
        burned = uint256(round.committed - round.revealed) * bond;
        balanceOf[BURN_ADDRESS] += burned;
    }

    /// @inheritdoc ITrainingRounds
    function collect(uint256 roundId, uint256 number) external {
        TrainingRound storage round = _rounds[roundId];
        bool ended = round.stage == TrainingStage.Settled || round.stage == TrainingStage.Void;
        if (!ended) revert TrainingStageInvalid(roundId, round.stage);
        TrainingUpdate storage update = _requireRevealed(roundId, number);
        (uint256 bond, uint256 share) = (_terms[roundId].participantBond, round.share);
        update.status = UpdateStatus.Collected;
        balanceOf[update.owner] += bond + share;
        emit TrainingCollected(roundId, number, update.owner, bond, share);
    }

    /// @inheritdoc ITrainingRounds
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = balanceOf[msg.sender];
        if (amount == 0) revert AmountZero();
        balanceOf[msg.sender] = 0;
        emit BalanceWithdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingRounds
    function config() external view returns (TrainingConfig memory) {
        return TrainingConfig({market: MARKET, game: GAME, maxPeriod: uint32(MAX_PERIOD)});
    }

    /// @inheritdoc ITrainingRounds
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc ITrainingRounds
    function termsOf(uint256 roundId) external view returns (TrainingTerms memory) {
        return _terms[roundId];
    }

    /// @inheritdoc ITrainingRounds
    function roundOf(uint256 roundId) external view returns (TrainingRound memory) {
        return _rounds[roundId];
    }

    /// @inheritdoc ITrainingRounds
    function updateOf(uint256 roundId, uint256 number) external view returns (TrainingUpdate memory) {
        return _updates[roundId][number];
    }

    /// @inheritdoc ITrainingRounds
    function caseOf(uint256 roundId, uint256 number) external view returns (TrainingCase memory) {
        TrainingRound storage round = _rounds[roundId];
        TrainingTerms storage terms = _terms[roundId];
        bool whole = number == 0; // about no update, but the next state
        return
            TrainingCase({
                stage: round.stage,
                challengeable: round.stage == TrainingStage.Published &&
                    (block.timestamp < round.until || round.challenges != 0),
                attempt: round.attempt,
                aggregator: round.aggregator,
                rule: terms.rule,
                trim: terms.trim,
                clip: terms.clip,
                parameters: terms.parameters,
                clients: round.revealed,
                counted: round.counted,
                weight: round.weight,
                stateRoot: whole ? terms.stateRoot : bytes32(0),
                sumsRoot: round.sumsRoot,
                nextRoot: whole ? round.nextRoot : bytes32(0),
                update: _updates[roundId][number]
            });
    }

    /// @inheritdoc ITrainingRounds
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    // ── For the game ────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingRounds
    function beginChallenge(uint256 roundId, uint256 number) external onlyGame {
        TrainingRound storage round = _rounds[roundId];
        if (round.stage == TrainingStage.Published) {
            if (block.timestamp >= round.until) revert TrainingWindowPassed(roundId, round.until);
        } else {
            _requireStage(roundId, TrainingStage.Collecting);
            _requireFrom(roundId, round.revealUntil);
            _requireBefore(roundId, round.serveUntil);
            UpdateStatus status = _updates[roundId][number].status;
            bool counts = status == UpdateStatus.Revealed || status == UpdateStatus.Unclipped;
            if (!counts) revert UpdateStatusInvalid(roundId, number, status);
        }
        round.challenges += 1;
    }

    /// @inheritdoc ITrainingRounds
    function endChallenge(uint256 roundId) external onlyGame {
        TrainingRound storage round = _rounds[roundId];
        round.challenges -= 1;
        if (round.stage == TrainingStage.Collecting) _extend(roundId, round); // aggregators waited for this
    }

    /// @inheritdoc ITrainingRounds
    function convictAggregator(uint256 roundId, address challenger) external onlyGame {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Published);
        address aggregator = round.aggregator;
        (uint256 bounty, uint256 burned) = _takeBond(_terms[roundId].aggregatorBond, challenger);
        round.stage = TrainingStage.Collecting;
        round.aggregator = address(0);
        round.challenges = 0;
        _extend(roundId, round);
        emit AggregatorConvicted(roundId, aggregator, challenger, bounty, burned, round.endBy);
    }

    /// @inheritdoc ITrainingRounds
    function convictUnserved(uint256 roundId, uint256 number, address challenger) external onlyGame {
        TrainingRound storage round = _requireStage(roundId, TrainingStage.Collecting);
        TrainingUpdate storage update = _updates[roundId][number];
        UpdateStatus status = update.status;
        update.status = UpdateStatus.Unserved;
        round.counted -= 1;
        round.weight -= update.weight;
        // The bond of one that was out of bounds is lost already.
        if (status == UpdateStatus.Revealed) _takeShare(roundId, round, challenger);
        emit UpdateUnserved(roundId, number, challenger);
    }

    /// @inheritdoc ITrainingRounds
    function convictUnclipped(uint256 roundId, uint256 number, address challenger) external onlyGame {
        TrainingRound storage round = _rounds[roundId];
        bool live = round.stage == TrainingStage.Collecting || round.stage == TrainingStage.Published;
        if (!live) revert TrainingStageInvalid(roundId, round.stage);
        _requireRevealed(roundId, number).status = UpdateStatus.Unclipped;
        _takeShare(roundId, round, challenger);
        emit UpdateUnclipped(roundId, number, challenger);
    }

    /// @dev Takes a participant's bond and its share.
    function _takeShare(uint256 roundId, TrainingRound storage round, address challenger) private {
        round.sharing -= 1;
        _takeBond(_terms[roundId].participantBond, challenger);
    }

    function _takeBond(uint256 bond, address challenger) private returns (uint256 bounty, uint256 burned) {
        bounty = bond / 2;
        burned = bond - bounty;
        balanceOf[challenger] += bounty;
        balanceOf[BURN_ADDRESS] += burned;
    }

    /// @dev Gives aggregators time anew.
    function _extend(uint256 roundId, TrainingRound storage round) private {
        uint256 endBy = block.timestamp + _terms[roundId].aggregatePeriod;
        if (endBy > round.endBy) round.endBy = uint40(endBy);
    }

    function _requireStage(uint256 roundId, TrainingStage stage) private view returns (TrainingRound storage round) {
        round = _rounds[roundId];
        if (round.stage != stage) revert TrainingStageInvalid(roundId, round.stage);
    }

    function _requireRevealed(uint256 roundId, uint256 number) private view returns (TrainingUpdate storage update) {
        update = _updates[roundId][number];
        if (update.status != UpdateStatus.Revealed) revert UpdateStatusInvalid(roundId, number, update.status);
    }

    function _requireFrom(uint256 roundId, uint256 from) private view {
        if (block.timestamp < from) revert TrainingPhaseNotOpen(roundId, from);
    }

    function _requireBefore(uint256 roundId, uint256 until) private view {
        if (block.timestamp >= until) revert TrainingPhaseOver(roundId, until);
    }

    /// @dev Callers hold the reentrancy guard, and have written all state.
    function _receive(uint256 amount) private {
        if (amount != 0) TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }
}
