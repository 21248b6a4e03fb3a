// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {
    Contribution,
    DataConfig,
    IDataRounds,
    Place,
    Round,
    RoundTerms,
    Stage,
    Standing,
    Status
} from "../interfaces/IDataRounds.sol";
import {Credits} from "./Credits.sol";

/// @title The life of a round: opened, sealed, ended.
/// @dev Who contributes, and what becomes of it, is in DataCredits.sol.
abstract contract Rounds is Credits {
    uint256 private constant MAX_FEATURES = 256;
    uint256 private constant MAX_TEST_ROWS = 1 << 12;
    uint256 private constant MAX_CONTRIBUTIONS = 1 << 10;
    uint256 private constant MAX_ROWS = 1 << 20;

    address private immutable GAME;
    uint256 internal immutable DEPOSIT;
    uint256 internal immutable FEE;
    uint256 private immutable MAX_PERIOD;

    /// @inheritdoc IDataRounds
    uint256 public roundCount;
    /// @inheritdoc IDataRounds
    mapping(uint256 modelId => uint256) public currentRoundOf;
    mapping(uint256 roundId => Round) internal _rounds;
    mapping(uint256 roundId => mapping(uint256 index => Contribution)) internal _contributions;
    mapping(uint256 roundId => mapping(uint256 number => Place)) internal _places;
    mapping(uint256 roundId => mapping(uint256 index => uint256)) internal _endorsed; // credits
    mapping(uint256 modelId => mapping(address account => Standing)) internal _standings;

    constructor(DataConfig memory config_) Credits(config_) {
        GAME = config_.game;
        DEPOSIT = config_.deposit;
        FEE = config_.fee;
        MAX_PERIOD = config_.maxPeriod;
        if (GAME == address(0)) revert ConfigInvalid("game");
        if (MAX_PERIOD == 0) revert ConfigInvalid("maxPeriod");
    }

    modifier onlyGame() {
        if (msg.sender != GAME) revert CallerNotGame(msg.sender);
        _;
    }

    // ── Open and seal ───────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function openRound(uint256 modelId, RoundTerms calldata terms) external nonReentrant returns (uint256 roundId) {
        if (REGISTRY.ownerOf(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
        uint256 last = currentRoundOf[modelId];
        Stage stage = _rounds[last].stage;
        if (stage != Stage.None && stage != Stage.Settled && stage != Stage.Void) revert RoundLive(modelId, last);
        _checkTerms(terms);
        roundId = ++roundCount;
        currentRoundOf[modelId] = roundId;
        uint256 submitUntil = block.timestamp + terms.submitPeriod;
        uint256 revealUntil = submitUntil + terms.revealPeriod;
        Round storage round = _rounds[roundId];
        round.modelId = uint64(modelId);
        round.submitUntil = uint40(submitUntil);
        round.revealUntil = uint40(revealUntil);
        round.testUntil = uint40(revealUntil + terms.testPeriod);
        round.stage = Stage.Collecting;
        round.maxContributions = terms.maxContributions;
        round.maxRows = terms.maxRows;
        round.features = terms.features;
        round.neighbours = terms.neighbours;
        round.rowTolerance = terms.rowTolerance;
        round.testTolerance = terms.testTolerance;
        round.testRows = terms.testRows;
        round.opener = msg.sender;
        round.reward = terms.reward;
        round.test = terms.testCommitment;
        emit RoundOpened(roundId, modelId, msg.sender, terms);
        _receive(terms.reward);
    }

    /// @inheritdoc IDataRounds
    function revealTest(uint256 roundId, bytes32 testRoot, bytes32 salt, bytes32 cid) external {
        Round storage round = _requireStage(roundId, Stage.Collecting);
        _requireBetween(roundId, round.revealUntil, round.testUntil);
        if (round.testRevealed) revert TestSetKnown(roundId);
        bytes32 commitment = keccak256(
            abi.encode(uint256(round.modelId), round.opener, salt, testRoot, uint256(round.testRows))
        );
        if (commitment != round.test) revert TestSetMismatch(roundId);
        round.test = testRoot;
        round.testRevealed = true;
        emit TestSetRevealed(roundId, testRoot, cid);
    }

    /// @inheritdoc IDataRounds
    function exclude(uint256 roundId, uint256 index) external {
        Round storage round = _requireStage(roundId, Stage.Collecting);
        if (msg.sender != round.opener) revert CallerNotOpener(roundId, msg.sender);
        _requireBetween(roundId, round.revealUntil, round.testUntil);
        Contribution storage contribution = _requireStatus(roundId, index, Status.Revealed);
        (contribution.status, contribution.rows) = (Status.Excluded, 0);
        round.revealed -= 1;
        emit ContributionExcluded(roundId, index);
    }

    /// @inheritdoc IDataRounds
    function number(uint256 roundId, uint256 limit) external {
        Round storage round = _requireStage(roundId, Stage.Collecting);
        if (block.timestamp < round.testUntil) revert PhaseNotOpen(roundId, round.testUntil);
        if (!round.testRevealed) revert TestSetMissing(roundId);
        (uint256 index, uint256 until) = (round.visited, round.contributions);
        (uint256 numbered, uint256 rows) = (round.numbered, round.rows);
        if (limit < until - index) until = index + limit;
        for (; index < until; ++index) {
            Contribution storage contribution = _contributions[roundId][index];
            if (contribution.status != Status.Revealed) continue;
            uint256 count = contribution.rows;
            _places[roundId][numbered] = Place(uint16(index), uint32(rows), uint24(count));
            emit ContributionNumbered(roundId, numbered, index, rows, count);
            ++numbered;
            rows += count;
        }
        (round.visited, round.numbered, round.rows) = (uint16(index), uint16(numbered), uint32(rows));
        if (index == round.contributions) _seal(roundId, round);
    }

    function _seal(uint256 roundId, Round storage round) private {
        emit RoundSealed(roundId, round.numbered, round.rows);
        if (round.numbered != 0) {
            round.stage = Stage.Valuing;
            round.sealedAt = uint40(block.timestamp);
            return;
        }
        _pay(roundId, round, round.opener, 0, 0, 0);
    }

    // ── End ─────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function settle(
        uint256 roundId,
        address valuator,
        bytes32 valuesRoot,
        uint64[] calldata values
    ) external onlyGame nonReentrant {
        Round storage round = _requireStage(roundId, Stage.Valuing);
        (uint256 credits, uint256 lost) = _sum(roundId, round, values);
        _collectEarnings(round.modelId);
        round.valuesRoot = valuesRoot;
        round.perCredit = _changePool(round.modelId, credits, lost);
        _pay(roundId, round, valuator, valuesRoot, credits, lost);
    }

    /// @dev Reward and fees are the valuator's; of a round without rows the opener's.
    function _pay(
        uint256 roundId,
        Round storage round,
        address payee,
        bytes32 valuesRoot,
        uint256 credits,
        uint256 lost
    ) private {
        uint256 paid = round.reward + round.contributions * FEE;
        round.stage = Stage.Settled;
        _creditBalance(payee, paid);
        emit RoundSettled(roundId, payee, valuesRoot, credits, lost, paid);
    }

    /// @inheritdoc IDataRounds
    function voidRound(uint256 roundId) external {
        Round storage round = _rounds[roundId];
        if (round.stage != Stage.Collecting) {
            _requireStage(roundId, Stage.Valuing);
            if (msg.sender != GAME) revert CallerNotGame(msg.sender);
        } else {
            if (round.testRevealed) revert TestSetKnown(roundId);
            if (block.timestamp < round.testUntil) revert PhaseNotOpen(roundId, round.testUntil);
        }
        round.stage = Stage.Void;
        uint256 revealed = round.revealed;
        uint256 compensation = _compensation(round);
        uint256 toOpener = round.reward - compensation * revealed + (round.contributions - revealed) * FEE;
        _creditBalance(round.opener, toOpener);
        emit RoundVoided(roundId, toOpener, compensation);
    }

    /// @inheritdoc IDataRounds
    function punish(uint256 modelId, address valuator) external onlyGame {
        _standings[modelId][valuator].convictions += 1;
        emit ValuatorPunished(modelId, valuator);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function config() external view returns (DataConfig memory) {
        return
            DataConfig({
                market: address(MARKET),
                game: GAME,
                deposit: uint48(DEPOSIT),
                fee: uint48(FEE),
                maxPeriod: uint32(MAX_PERIOD)
            });
    }

    /// @inheritdoc IDataRounds
    function roundOf(uint256 roundId) external view returns (Round memory) {
        return _rounds[roundId];
    }

    /// @inheritdoc IDataRounds
    function placeOf(uint256 roundId, uint256 number_) external view returns (Place memory) {
        return _places[roundId][number_];
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    /// @dev What a void round pays to each who revealed: the reward, when the opener kept the test set back.
    function _compensation(Round storage round) internal view returns (uint256) {
        uint256 revealed = round.revealed;
        return round.testRevealed || revealed == 0 ? 0 : round.reward / revealed;
    }

    function _requireStage(uint256 roundId, Stage stage) internal view returns (Round storage round) {
        round = _rounds[roundId];
        if (round.stage != stage) revert RoundStageInvalid(roundId, round.stage);
    }

    function _requireBetween(uint256 roundId, uint256 from, uint256 until) internal view {
        if (block.timestamp < from) revert PhaseNotOpen(roundId, from);
        if (block.timestamp >= until) revert PhaseOver(roundId, until);
    }

    function _requireStatus(
        uint256 roundId,
        uint256 index,
        Status status
    ) internal view returns (Contribution storage contribution) {
        contribution = _contributions[roundId][index];
        if (contribution.status != status) revert StatusInvalid(roundId, index, contribution.status);
    }

    /// @dev Credits in all, and what endorsers of worthless contributions lose.
    function _sum(
        uint256 roundId,
        Round storage round,
        uint64[] calldata values
    ) private view returns (uint256 credits, uint256 lost) {
        (uint256 testRows, bool endorsed) = (round.testRows, round.endorsed);
        for (uint256 i; i < values.length; ++i) {
            uint256 earned = values[i] / testRows;
            credits += earned;
            if (endorsed && earned == 0) lost += _endorsed[roundId][_places[roundId][i].index];
        }
    }

    function _checkTerms(RoundTerms calldata terms) private view {
        _requireTerm(terms.features, MAX_FEATURES, "features");
        _requireTerm(terms.neighbours, type(uint256).max, "neighbours");
        _requireTerm(terms.testRows, MAX_TEST_ROWS, "testRows");
        _requireTerm(terms.maxContributions, MAX_CONTRIBUTIONS, "maxContributions");
        _requireTerm(terms.maxRows, MAX_ROWS / terms.maxContributions, "maxRows");
        _requireTerm(terms.submitPeriod, MAX_PERIOD, "submitPeriod");
        _requireTerm(terms.revealPeriod, MAX_PERIOD, "revealPeriod");
        _requireTerm(terms.testPeriod, MAX_PERIOD, "testPeriod");
        _requireTerm(uint256(terms.testCommitment), type(uint256).max, "testCommitment");
    }

    /// @dev All terms are numbers from 1 to something.
    function _requireTerm(uint256 given, uint256 max, string memory field) private pure {
        if (given == 0 || given > max) revert TermsInvalid(field);
    }
}
