// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICredits} from "../interfaces/ICredits.sol";
import {
    Contribution,
    DataConfig,
    IDataRounds,
    Place,
    Return,
    Round,
    RoundTerms,
    Stage,
    Standing,
    Status
} from "../interfaces/IDataRounds.sol";
import {IInferenceMarket} from "../interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {IRowDemands} from "../interfaces/IRowDemands.sol";
import {Deposits} from "./Deposits.sol";

/// @title The life of a round: opened, sealed, ended.
/// @dev Who contributes, and what becomes of it, is in DataRounds.sol.
abstract contract Rounds is Deposits {
    uint256 private constant MAX_FEATURES = 256;
    uint256 private constant MAX_TEST_ROWS = 1 << 12;
    uint256 private constant MAX_CONTRIBUTIONS = 1 << 10;
    uint256 private constant MAX_ROWS = 1 << 20;

    ICredits internal immutable CREDITS;
    IModelRegistry private immutable REGISTRY;
    IRowDemands private immutable DEMANDS;
    address private immutable GAME;
    uint256 internal immutable DEPOSIT;
    uint256 internal immutable FEE;
    uint256 private immutable MAX_PERIOD;
    uint256 private immutable MIN_INTERVAL;
    uint256 private immutable MIN_TEST_ROWS;

    /// @inheritdoc IDataRounds
    uint256 public roundCount;
    /// @inheritdoc IDataRounds
    mapping(uint256 modelId => uint256) public currentRoundOf;
    mapping(uint256 roundId => Round) internal _rounds;
    mapping(uint256 roundId => mapping(uint256 index => Contribution)) internal _contributions;
    mapping(uint256 roundId => mapping(uint256 number => Place)) internal _places;
    mapping(uint256 roundId => mapping(uint256 index => Return)) internal _returns;
    mapping(uint256 modelId => mapping(address account => Standing)) internal _standings;

    constructor(DataConfig memory config_) Deposits(ICredits(config_.credits).token()) {
        CREDITS = ICredits(config_.credits);
        REGISTRY = IModelRegistry(IInferenceMarket(CREDITS.config().market).config().registry);
        DEMANDS = IRowDemands(config_.demands);
        GAME = config_.game;
        DEPOSIT = config_.deposit;
        FEE = config_.fee;
        MAX_PERIOD = config_.maxPeriod;
        MIN_INTERVAL = config_.minInterval;
        MIN_TEST_ROWS = config_.minTestRows;
        if (CREDITS.config().rounds != address(this)) revert ConfigInvalid("credits");
        if (GAME == address(0)) revert ConfigInvalid("game");
        if (MAX_PERIOD == 0) revert ConfigInvalid("maxPeriod");
        if (config_.demands == address(0)) revert ConfigInvalid("demands");
        if (MIN_TEST_ROWS == 0 || MIN_TEST_ROWS > MAX_TEST_ROWS) revert ConfigInvalid("minTestRows");
    }

    modifier onlyGame() {
        if (msg.sender != GAME) revert CallerNotGame(msg.sender);
        _;
    }

    // ── Open and seal ───────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function openRound(uint256 modelId, RoundTerms calldata terms) external nonReentrant returns (uint256 roundId) {
        if (REGISTRY.ownerOf(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
        _requireOpenable(modelId);
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
        uint256 opensAt = round.testUntil + DEMANDS.waitOf(roundId);
        if (block.timestamp < opensAt) revert PhaseNotOpen(roundId, opensAt);
        if (!round.testRevealed) revert TestSetMissing(roundId);
        uint256 next = round.returning; // committed to in earlier rounds: these stand first
        for (; next != 0 && limit != 0; --limit) {
            uint256 index = next - 1;
            next = _returns[roundId][index].next;
            _number(roundId, round, index);
        }
        round.returning = uint16(next);
        uint256 visited = round.visited;
        for (; visited < round.contributions && limit != 0; --limit) {
            if (_returns[roundId][visited].first == 0) _number(roundId, round, visited);
            ++visited;
        }
        round.visited = uint16(visited);
        if (next == 0 && visited == round.contributions) _seal(roundId, round);
    }

    function _number(uint256 roundId, Round storage round, uint256 index) private {
        Contribution storage contribution = _contributions[roundId][index];
        if (contribution.status != Status.Revealed) return;
        if (DEMANDS.unshownOf(roundId, index) != 0) {
            (contribution.status, contribution.rows) = (Status.Unserved, 0);
            round.revealed -= 1;
            emit ContributionUnserved(roundId, index);
            return;
        }
        (uint256 numbered, uint256 start, uint256 rows) = (round.numbered, round.rows, contribution.rows);
        _places[roundId][numbered] = Place(uint16(index), uint32(start), uint24(rows));
        (round.numbered, round.rows) = (uint16(numbered + 1), uint32(start + rows));
        emit ContributionNumbered(roundId, numbered, index, start, rows);
    }

    function _seal(uint256 roundId, Round storage round) private {
        emit RoundSealed(roundId, round.numbered, round.rows);
        if (round.numbered != 0) {
            round.stage = Stage.Valuing;
            round.sealedAt = uint40(block.timestamp);
            return;
        }
        _burn(round.contributions * FEE); // not the opener's: it may have excluded all
        _pay(roundId, round, round.opener, round.reward, 0);
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
        (uint256 valued, uint256[] memory worthless) = _sum(roundId, round, values);
        round.valuesRoot = valuesRoot;
        round.valued = uint128(valued);
        round.minted = uint128(CREDITS.settle(round.modelId, roundId, round.testRows, valued, worthless));
        _pay(roundId, round, valuator, round.reward + round.contributions * FEE, valuesRoot);
    }

    /// @dev Reward and fees are the valuator's; of a round without rows the reward is the opener's.
    function _pay(uint256 roundId, Round storage round, address payee, uint256 paid, bytes32 valuesRoot) private {
        round.stage = Stage.Settled;
        _creditBalance(payee, paid);
        emit RoundSettled(roundId, payee, valuesRoot, round.minted, paid);
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
        uint256 toOpener = round.reward - compensation * revealed;
        _creditBalance(round.opener, toOpener);
        _burn((round.contributions - revealed) * FEE);
        emit RoundVoided(roundId, toOpener, compensation);
    }

    /// @inheritdoc IDataRounds
    function punish(uint256 modelId, address valuator) external onlyGame {
        _standings[modelId][valuator].convictions += 1;
        emit ValuatorPunished(modelId, valuator);
    }

    /// @inheritdoc IDataRounds
    function noteEndorsement(uint256 modelId, address endorser, uint256 gained, uint256 lost) external {
        if (msg.sender != address(CREDITS)) revert CallerNotCredits(msg.sender);
        Standing storage standing = _standings[modelId][endorser];
        uint256 earned = standing.earned + gained;
        standing.earned = uint96(earned < lost ? 0 : earned - lost);
        if (lost != 0) standing.forfeited += 1;
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function config() external view returns (DataConfig memory) {
        return
            DataConfig({
                credits: address(CREDITS),
                demands: address(DEMANDS),
                game: GAME,
                deposit: uint48(DEPOSIT),
                fee: uint48(FEE),
                maxPeriod: uint32(MAX_PERIOD),
                minInterval: uint32(MIN_INTERVAL),
                minTestRows: uint16(MIN_TEST_ROWS)
            });
    }

    /// @inheritdoc IDataRounds
    function roundOf(uint256 roundId) external view returns (Round memory) {
        return _rounds[roundId];
    }

    /// @inheritdoc IDataRounds
    function isLive(uint256 modelId) public view returns (bool) {
        Stage stage = _rounds[currentRoundOf[modelId]].stage;
        return stage == Stage.Collecting || stage == Stage.Valuing;
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

    /// @dev A void round gives no credits, so it keeps nobody waiting.
    function _requireOpenable(uint256 modelId) private view {
        uint256 last = currentRoundOf[modelId];
        if (isLive(modelId)) revert RoundLive(modelId, last);
        if (CREDITS.hasLeft(modelId)) revert ModelGone(modelId);
        Round storage round = _rounds[last];
        uint256 opensAt = round.stage == Stage.Settled ? round.submitUntil + MIN_INTERVAL : 0;
        if (block.timestamp < opensAt) revert RoundTooSoon(modelId, opensAt);
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

    /// @dev What all are worth, and whose endorsers lose.
    function _sum(
        uint256 roundId,
        Round storage round,
        uint64[] calldata values
    ) private view returns (uint256 valued, uint256[] memory worthless) {
        worthless = new uint256[](values.length);
        uint256 count;
        for (uint256 i; i < values.length; ++i) {
            if (_isWorthless(round, values[i])) worthless[count++] = _places[roundId][i].index;
            else valued += values[i];
        }
        assembly ("memory-safe") {
            mstore(worthless, count)
        }
    }

    /// @dev Less than a unit of accuracy is less than the rounding of its parts.
    function _isWorthless(Round storage round, uint256 value) internal view returns (bool) {
        return value < round.testRows;
    }

    function _checkTerms(RoundTerms calldata terms) private view {
        _requireTerm(terms.features, MAX_FEATURES, "features");
        _requireTerm(terms.neighbours, type(uint256).max, "neighbours");
        if (terms.testRows < MIN_TEST_ROWS || terms.testRows > MAX_TEST_ROWS) revert TermsInvalid("testRows");
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
