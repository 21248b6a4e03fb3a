// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IInferenceMarket} from "../interfaces/IInferenceMarket.sol";
import {IPrograms} from "../interfaces/IPrograms.sol";
import {
    ITrainingJobs,
    JobDelivery,
    JobStage,
    JobTerms,
    JobsConfig,
    OperatorProof,
    TrainingJob
} from "../interfaces/ITrainingJobs.sol";
import {DemandBonds} from "./DemandBonds.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {Openings} from "../libraries/Openings.sol";
import {Program} from "../libraries/Program.sol";

/// @title How a job of training goes from its opening to its end, and all that is paid in the payment token.
/// @dev Knows nothing of what a challenger shows: that is in TrainingJobs.sol.
abstract contract Jobs is ITrainingJobs, DemandBonds {
    using SafeERC20 for IERC20;

    uint256 internal constant OPENED_LEVELS = 6;
    uint256 private constant MOST = 1 << 20; // of steps, and of batches
    uint256 internal constant INPUTS = 3; // state, samples, labels

    IERC20 private immutable TOKEN;
    address private immutable MARKET;
    IPrograms private immutable PROGRAMS;
    address internal immutable VERIFIER;
    uint256 internal immutable REPLY;
    uint256 private immutable MAX_PERIOD;

    /// @inheritdoc ITrainingJobs
    uint256 public jobCount;
    mapping(uint256 jobId => JobTerms) internal _terms;
    mapping(uint256 jobId => TrainingJob) internal _jobs;
    /// @inheritdoc ITrainingJobs
    mapping(address account => uint256) public balanceOf;

    constructor(JobsConfig memory config_) DemandBonds(IInferenceMarket(config_.market).config().minGasPrice) {
        MARKET = config_.market;
        TOKEN = IERC20(IInferenceMarket(config_.market).config().token);
        PROGRAMS = IPrograms(config_.programs);
        VERIFIER = config_.verifier;
        REPLY = config_.reply;
        MAX_PERIOD = config_.maxPeriod;
        if (config_.programs.code.length == 0) revert ConfigInvalid("programs");
        if (config_.verifier.code.length == 0) revert ConfigInvalid("verifier");
        if (REPLY == 0) revert ConfigInvalid("reply");
        if (MAX_PERIOD == 0) revert ConfigInvalid("maxPeriod");
    }

    // ── Open, claim, deliver ────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function open(
        JobTerms calldata terms,
        OperatorProof calldata output,
        bytes32 cid,
        bytes32 digest
    ) external nonReentrant returns (uint256 jobId) {
        _check(terms);
        uint256 operators = _checkProgram(terms.program, output);
        jobId = ++jobCount;
        _terms[jobId] = terms;
        TrainingJob storage job = _jobs[jobId];
        job.opener = msg.sender;
        job.stage = JobStage.Open;
        job.operators = uint16(operators);
        job.until = uint40(block.timestamp + terms.claimPeriod);
        emit JobOpened(jobId, msg.sender, terms, cid, digest);
        TOKEN.safeTransferFrom(msg.sender, address(this), terms.price);
    }

    function _check(JobTerms calldata terms) private view {
        if (terms.batches == 0 || terms.batches > MOST) revert JobTermsInvalid("batches");
        if (terms.steps == 0 || terms.steps > MOST) revert JobTermsInvalid("steps");
        _checkPeriod(terms.claimPeriod, "claimPeriod");
        _checkPeriod(terms.trainPeriod, "trainPeriod");
        _checkPeriod(terms.challengePeriod, "challengePeriod");
        if (terms.price == 0) revert JobTermsInvalid("price");
        if (terms.bond == 0) revert JobTermsInvalid("bond");
    }

    function _checkPeriod(uint256 period, string memory field) private view {
        if (period == 0 || period > MAX_PERIOD) revert JobTermsInvalid(field);
    }

    /// @dev Of what is no step, every history would be wrong.
    function _checkProgram(bytes32 program, OperatorProof calldata output) private view returns (uint256 operators) {
        if (!PROGRAMS.isProgram(program)) revert StepProgramInvalid("program");
        uint256[] calldata preamble = output.preamble;
        if (preamble.length != 1 + INPUTS) revert StepProgramInvalid("inputs");
        operators = Program.operators(preamble[0]);
        if (!Openings.isOperator(program, preamble, operators - 1, output.words, output.path)) {
            revert StepProgramInvalid("output");
        }
        (uint256 state, uint256 samples, uint256 labels) = (preamble[1], preamble[2], preamble[3]);
        if (Program.rows(state) != 1 || Program.spec(output.words[0]) != Program.spec(state)) {
            revert StepProgramInvalid("state");
        }
        uint256 batch = Program.rows(samples);
        if (batch & (batch - 1) != 0) revert StepProgramInvalid("samples");
        if (Program.rows(labels) != 1 || Program.cols(labels) != batch) revert StepProgramInvalid("labels");
    }

    /// @inheritdoc ITrainingJobs
    function cancel(uint256 jobId) external {
        TrainingJob storage job = _requireStage(jobId, JobStage.Open);
        if (msg.sender != job.opener && block.timestamp < job.until) revert JobPeriodOpen(jobId, job.until);
        _void(jobId, job);
    }

    /// @inheritdoc ITrainingJobs
    function claim(uint256 jobId) external nonReentrant {
        TrainingJob storage job = _requireStage(jobId, JobStage.Open);
        _requireBefore(jobId, job.until);
        uint256 until = block.timestamp + _terms[jobId].trainPeriod;
        job.stage = JobStage.Claimed;
        job.trainer = msg.sender;
        job.until = uint40(until);
        emit JobClaimed(jobId, msg.sender, until);
        TOKEN.safeTransferFrom(msg.sender, address(this), _terms[jobId].bond);
    }

    /// @inheritdoc ITrainingJobs
    function deliver(uint256 jobId, JobDelivery calldata delivery) external {
        TrainingJob storage job = _requireStage(jobId, JobStage.Claimed);
        if (msg.sender != job.trainer) revert CallerNotTrainer(jobId, msg.sender);
        _requireBefore(jobId, job.until);
        _requireEnds(_terms[jobId], delivery);
        bytes32 historyRoot = Merkle.rootOf(delivery.nodes);
        uint256 until = block.timestamp + _terms[jobId].challengePeriod;
        job.stage = JobStage.Delivered;
        job.until = uint40(until);
        job.historyRoot = historyRoot;
        job.lastState = delivery.lastState;
        emit JobDelivered(jobId, msg.sender, historyRoot, delivery, until);
    }

    /// @dev The first record has the job's first state; the last has the last state, and no trace.
    function _requireEnds(JobTerms storage terms, JobDelivery calldata delivery) private view {
        uint256 steps = terms.steps;
        uint256 depth = Program.log(steps + 1);
        uint256 levels = depth < OPENED_LEVELS ? depth : OPENED_LEVELS;
        uint256 below = depth - levels;
        if (delivery.nodes.length != 1 << levels) revert HistoryInvalid("nodes");
        bytes32 first = _record(terms.stateRoot, delivery.firstTrace);
        bool fits = delivery.firstPath.length == below;
        if (!fits || Merkle.climb(first, 0, delivery.firstPath) != delivery.nodes[0]) revert HistoryInvalid("first");
        bytes32 last = _record(delivery.lastState, 0);
        fits = delivery.lastPath.length == below;
        if (!fits || Merkle.climb(last, steps, delivery.lastPath) != delivery.nodes[steps >> below]) {
            revert HistoryInvalid("last");
        }
    }

    /// @dev A record's leaf in the history.
    function _record(bytes32 state, bytes32 trace) internal pure returns (bytes32 leaf) {
        assembly ("memory-safe") {
            mstore(0x00, state)
            mstore(0x20, trace)
            leaf := keccak256(0x00, 0x40)
        }
    }

    // ── End ─────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function lapse(uint256 jobId) external {
        TrainingJob storage job = _requireStage(jobId, JobStage.Claimed);
        if (block.timestamp < job.until) revert JobPeriodOpen(jobId, job.until);
        (uint256 toOpener, uint256 burned) = _takeBond(jobId, job.opener);
        emit JobLapsed(jobId, job.trainer, toOpener, burned);
        _void(jobId, job);
    }

    /// @inheritdoc ITrainingJobs
    function settle(uint256 jobId) external {
        TrainingJob storage job = _requireStage(jobId, JobStage.Delivered);
        if (block.timestamp < job.until) revert JobPeriodOpen(jobId, job.until);
        if (job.challenges != 0) revert JobChallengesOpen(jobId, job.challenges);
        uint256 paid = uint256(_terms[jobId].price) + _terms[jobId].bond;
        job.stage = JobStage.Settled;
        balanceOf[job.trainer] += paid;
        emit JobSettled(jobId, job.trainer, paid);
    }

    /// @inheritdoc ITrainingJobs
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = balanceOf[msg.sender];
        if (amount == 0) revert AmountZero();
        balanceOf[msg.sender] = 0;
        emit BalanceWithdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    function _void(uint256 jobId, TrainingJob storage job) private {
        uint256 paid = _terms[jobId].price;
        job.stage = JobStage.Void;
        balanceOf[job.opener] += paid;
        emit JobVoided(jobId, job.opener, paid);
    }

    /// @dev The caller has seen that the job is delivered.
    function _convict(uint256 jobId, address challenger) internal {
        TrainingJob storage job = _jobs[jobId];
        job.stage = JobStage.Convicted;
        balanceOf[job.opener] += _terms[jobId].price;
        (uint256 bounty, uint256 burned) = _takeBond(jobId, challenger);
        emit TrainerConvicted(jobId, job.trainer, challenger, bounty, burned);
    }

    function _takeBond(uint256 jobId, address payee) private returns (uint256 paid, uint256 burned) {
        uint256 bond = _terms[jobId].bond;
        paid = bond / 2;
        burned = bond - paid;
        balanceOf[payee] += paid;
        balanceOf[BURN_ADDRESS] += burned;
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function config() external view returns (JobsConfig memory) {
        return
            JobsConfig({
                market: MARKET,
                programs: address(PROGRAMS),
                verifier: VERIFIER,
                reply: uint32(REPLY),
                maxPeriod: uint32(MAX_PERIOD)
            });
    }

    /// @inheritdoc ITrainingJobs
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc ITrainingJobs
    function termsOf(uint256 jobId) external view returns (JobTerms memory) {
        return _terms[jobId];
    }

    /// @inheritdoc ITrainingJobs
    function jobOf(uint256 jobId) external view returns (TrainingJob memory) {
        return _jobs[jobId];
    }

    /// @inheritdoc ITrainingJobs
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    function _requireStage(uint256 jobId, JobStage stage) internal view returns (TrainingJob storage job) {
        job = _jobs[jobId];
        if (job.stage != stage) revert JobStageInvalid(jobId, job.stage);
    }

    function _requireBefore(uint256 jobId, uint256 until) internal view {
        if (block.timestamp >= until) revert JobPeriodOver(jobId, until);
    }
}
