// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {
    ITrainingJobs,
    JobDemand,
    JobPart,
    JobStage,
    JobTerms,
    JobsConfig,
    OperatorProof,
    OpenedNode,
    StepFault,
    StepRecord,
    TensorNode,
    TrainingJob
} from "./interfaces/ITrainingJobs.sol";
import {ExactClaim, Step} from "./interfaces/IStepVerifier.sol";
import {TrainingMover} from "./interfaces/ITrainingGame.sol";
import {Jobs} from "./base/Jobs.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Openings} from "./libraries/Openings.sol";
import {Program} from "./libraries/Program.sol";
import {StepCall} from "./libraries/StepCall.sol";

/// @title Convicts a wrong step of a training job by computing one element of it again, or for want of an answer.
/// @dev The moves of challengers; jobs, and what is paid in the payment token, are in base/Jobs.sol.
contract TrainingJobs is Jobs {
    uint256 private constant MAX_DEMANDS = 32;

    mapping(uint256 jobId => mapping(address challenger => JobDemand)) private _demands;
    /// @inheritdoc ITrainingJobs
    mapping(bytes32 witness => uint256) public announcedAt;

    constructor(JobsConfig memory config_) Jobs(config_) {}

    // ── Convict ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function announce(bytes32 witness) external {
        if (announcedAt[witness] != 0) revert WitnessKnown(witness);
        announcedAt[witness] = block.number;
        emit StepFaultAnnounced(witness);
    }

    /// @inheritdoc ITrainingJobs
    function prove(uint256 jobId, bytes32 salt, StepFault calldata fault) external {
        TrainingJob storage job = _requireStage(jobId, JobStage.Delivered);
        if (job.challenges == 0) _requireBefore(jobId, job.until);
        _requireWitness(jobId, salt, fault);
        JobTerms storage terms = _terms[jobId];
        _requireHung(terms, job, fault);
        Step calldata element = fault.element;
        if (StepCall.check(VERIFIER, _claimOf(terms.program, job.operators, fault), element)) {
            revert ElementRight(fault.step, element.op, element.row, element.col);
        }
        emit StepFaultProven(jobId, msg.sender, fault.step, element.op, element.row, element.col);
        _convictBy(jobId, msg.sender);
    }

    /// @dev Announced in an earlier block, or revealed to this very challenger.
    function _requireWitness(uint256 jobId, bytes32 salt, StepFault calldata fault) private view {
        Step calldata element = fault.element;
        if (_isRevealed(_demands[jobId][msg.sender], fault.step, element)) return;
        bytes32 witness = keccak256(
            abi.encode(jobId, msg.sender, salt, fault.step, element.op, element.row, element.col)
        );
        uint256 announced = announcedAt[witness];
        if (announced == 0) revert WitnessUnknown(witness);
        if (block.number <= announced) revert WitnessTooYoung(witness, announced + 1);
    }

    /// @dev A row out of bounds is refused by the verifier afterwards.
    function _isRevealed(JobDemand storage game, uint256 step, Step calldata element) private view returns (bool) {
        if (!game.revealed || step != game.step || element.op != game.op) return false;
        uint256 spec = game.spec;
        uint256 leaf = Openings.leafOf(spec, element.row, element.col);
        return leaf >> (Openings.depth(spec) - game.level) == game.index;
    }

    /// @dev That records and batch hang from the job and its history.
    function _requireHung(JobTerms storage terms, TrainingJob storage job, StepFault calldata fault) private view {
        (uint256 step, uint256 steps, bytes32 root) = (fault.step, terms.steps, job.historyRoot);
        if (step >= steps) revert StepProofInvalid("step");
        if (!_isRecord(steps, root, step, fault.record, fault.recordPath)) revert StepProofInvalid("record");
        bool fits = fault.nextPath.length == 0 && fault.next.state == 0 && fault.next.trace == 0;
        if (fault.element.op + 1 == job.operators) {
            fits = _isRecord(steps, root, step + 1, fault.next, fault.nextPath);
        }
        if (!fits) revert StepProofInvalid("next record");
        uint256 batches = terms.batches;
        uint256 batch = uint256(keccak256(abi.encodePacked(terms.seed, uint64(step)))) % batches;
        if (!_isBatch(fault.samples, batch, batches, terms.samplesRoot)) revert StepProofInvalid("samples");
        if (!_isBatch(fault.labels, batch, batches, terms.labelsRoot)) revert StepProofInvalid("labels");
    }

    /// @dev What the job and two records say of the step. State k stands under input id 0 here, and stood under the
    /// last operator's id as the output of step k − 1: so leaves are made anew of its root.
    function _claimOf(
        bytes32 program,
        uint256 operators,
        StepFault calldata fault
    ) private pure returns (ExactClaim memory claim) {
        claim.modelRoot = program;
        claim.traceRoot = fault.record.trace;
        uint256[] calldata preamble = fault.element.preamble;
        // Of another length: the verifier refuses it, as it refuses words that are not the program's.
        if (preamble.length != 1 + INPUTS) return claim;
        bytes32 state = Merkle.tensor(0, preamble[1], fault.record.state);
        bytes32 samples = Merkle.tensor(1, preamble[2], fault.samples.node);
        bytes32 labels = Merkle.tensor(2, preamble[3], fault.labels.node);
        claim.inputRoot = keccak256(abi.encodePacked(uint8(5), state, samples, labels));
        claim.outputRoot = Merkle.tensor(INPUTS + operators - 1, preamble[1], fault.next.state);
    }

    function _isBatch(
        OpenedNode calldata opened,
        uint256 batch,
        uint256 batches,
        bytes32 root
    ) private pure returns (bool) {
        bytes32[] calldata path = opened.path;
        return path.length == Program.log(batches) && Merkle.climb(opened.node, batch, path) == root;
    }

    function _isRecord(
        uint256 steps,
        bytes32 root,
        uint256 number,
        StepRecord calldata record,
        bytes32[] calldata path
    ) private pure returns (bool) {
        bytes32 leaf = _record(record.state, record.trace);
        return path.length == Program.log(steps + 1) && Merkle.climb(leaf, number, path) == root;
    }

    // ── Demand ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function demandHistory(uint256 jobId, uint256 level, uint256 index) external payable {
        JobDemand memory game = _turn(jobId, JobPart.History);
        uint256 steps = _terms[jobId].steps;
        uint256 depth = Program.log(steps + 1);
        bool possible = level < depth && index <= steps >> (depth - level);
        if (!possible) revert JobTargetInvalid(JobPart.History, level, index);
        (game.level, game.index) = (uint8(level), uint64(index));
        _demands[jobId][msg.sender] = game;
        emit HistoryDemanded(jobId, msg.sender, level, index, game.deadline);
    }

    /// @inheritdoc ITrainingJobs
    function demandTrace(uint256 jobId, uint256 step) external payable {
        JobDemand memory game = _turn(jobId, JobPart.Trace);
        if (step >= _terms[jobId].steps) revert JobTargetInvalid(JobPart.Trace, 0, step);
        game.step = uint32(step);
        _demands[jobId][msg.sender] = game;
        emit TraceDemanded(jobId, msg.sender, step, game.deadline);
    }

    /// @inheritdoc ITrainingJobs
    function demandTensor(
        uint256 jobId,
        uint256 step,
        uint256 op,
        uint256 level,
        uint256 index,
        OperatorProof calldata operator
    ) external payable {
        JobDemand memory game = _turn(jobId, JobPart.Tensor);
        JobTerms storage terms = _terms[jobId];
        if (!Openings.isOperator(terms.program, operator.preamble, op, operator.words, operator.path)) {
            revert JobOpeningInvalid(jobId, msg.sender);
        }
        uint256 spec = Program.spec(operator.words[0]);
        bool possible = step < terms.steps && level <= Openings.depth(spec) && index >> level == 0;
        if (!possible) revert JobTargetInvalid(JobPart.Tensor, level, index);
        (game.step, game.op, game.spec) = (uint32(step), uint16(op), uint72(spec));
        (game.level, game.index) = (uint8(level), uint64(index));
        _demands[jobId][msg.sender] = game;
        emit TensorDemanded(jobId, msg.sender, step, op, level, index, game.deadline);
    }

    /// @dev Takes the bond, begins a challenge where there is none, and gives the turn to the trainer.
    function _turn(uint256 jobId, JobPart part) private returns (JobDemand memory game) {
        TrainingJob storage job = _requireStage(jobId, JobStage.Delivered);
        JobDemand storage known = _demands[jobId][msg.sender];
        if (known.turn == TrainingMover.None) {
            _requireBefore(jobId, job.until);
            job.challenges += 1;
        } else {
            _requireTurn(jobId, known, msg.sender, TrainingMover.Challenger);
        }
        if (known.count == MAX_DEMANDS) revert JobDemandsExhausted(jobId, msg.sender);
        game.turn = TrainingMover.Server;
        game.count = known.count + 1;
        game.deadline = uint40(block.timestamp + REPLY);
        game.bond = known.bond + _bond();
        game.part = part;
    }

    // ── Answer ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function openHistory(
        uint256 jobId,
        address challenger,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external {
        JobDemand storage game = _demanded(jobId, challenger, JobPart.History);
        uint256 height = Program.log(uint256(_terms[jobId].steps) + 1) - game.level;
        uint256 levels = height < OPENED_LEVELS ? height : OPENED_LEVELS;
        bool shown = nodes.length == 1 << levels && path.length == game.level;
        if (!shown || Merkle.climb(Merkle.rootOf(nodes), game.index, path) != _jobs[jobId].historyRoot) {
            revert JobOpeningInvalid(jobId, challenger);
        }
        _answer(game);
        emit HistoryOpened(jobId, challenger, nodes);
    }

    /// @inheritdoc ITrainingJobs
    function showTrace(
        uint256 jobId,
        address challenger,
        bytes32 state,
        bytes32[] calldata leaves,
        bytes32[] calldata path
    ) external {
        JobDemand storage game = _demanded(jobId, challenger, JobPart.Trace);
        TrainingJob storage job = _jobs[jobId];
        bool shown = leaves.length + 1 == job.operators && path.length == Program.log(uint256(_terms[jobId].steps) + 1);
        bytes32 trace;
        if (leaves.length != 0) trace = Merkle.rootOf(leaves);
        if (!shown || Merkle.climb(_record(state, trace), game.step, path) != job.historyRoot) {
            revert JobOpeningInvalid(jobId, challenger);
        }
        _answer(game);
        emit TraceShown(jobId, challenger, state, leaves);
    }

    /// @inheritdoc ITrainingJobs
    function openNode(uint256 jobId, address challenger, TensorNode calldata node, bytes32[] calldata nodes) external {
        JobDemand storage game = _demanded(jobId, challenger, JobPart.Tensor);
        bool deep = Openings.depth(game.spec) - game.level >= OPENED_LEVELS;
        bool fits = deep && nodes.length == 1 << OPENED_LEVELS;
        if (!fits || !_isShown(jobId, game, node, Merkle.rootOf(nodes))) revert JobOpeningInvalid(jobId, challenger);
        _answer(game);
        emit TensorOpened(jobId, challenger, nodes);
    }

    /// @inheritdoc ITrainingJobs
    function revealLeaves(uint256 jobId, address challenger, TensorNode calldata node, bytes calldata data) external {
        JobDemand storage game = _demanded(jobId, challenger, JobPart.Tensor);
        uint256 spec = game.spec;
        uint256 height = Openings.depth(spec) - game.level;
        bool fits = height < OPENED_LEVELS;
        bytes32 hash;
        if (fits) (hash, fits) = Openings.subtree(spec, height, game.index, data);
        if (!fits || !_isShown(jobId, game, node, hash)) revert JobOpeningInvalid(jobId, challenger);
        game.revealed = true;
        _answer(game);
        emit TensorRevealed(jobId, challenger, data);
    }

    /// @dev Whether a node is the demanded one, of the tensor that the trainer stands for: by the step's trace, or for
    /// the last operator by the next record.
    function _isShown(
        uint256 jobId,
        JobDemand storage game,
        TensorNode calldata node,
        bytes32 hash
    ) private view returns (bool) {
        bytes32 root = node.tensor.root;
        if (node.path.length != game.level || Merkle.climb(hash, game.index, node.path) != root) return false;
        (uint256 step, uint256 op, uint256 last) = (game.step, game.op, uint256(_jobs[jobId].operators) - 1);
        bytes32[] calldata tracePath = node.tensor.path;
        if (op == last) {
            step += 1;
            if (tracePath.length != 0 || root != node.record.state) return false;
        } else {
            bytes32 leaf = Merkle.tensor(INPUTS + op, game.spec, root);
            bool held = tracePath.length == Program.log(last) && Merkle.climb(leaf, op, tracePath) == node.record.trace;
            if (!held) return false;
        }
        return _isRecord(_terms[jobId].steps, _jobs[jobId].historyRoot, step, node.record, node.recordPath);
    }

    function _answer(JobDemand storage game) private {
        game.turn = TrainingMover.Challenger;
        game.deadline = uint40(block.timestamp + REPLY);
    }

    // ── End ─────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function convictSilent(uint256 jobId, address challenger) external {
        _requireStage(jobId, JobStage.Delivered);
        _requireTurnOver(jobId, _demands[jobId][challenger], challenger, TrainingMover.Server);
        emit TrainerSilent(jobId, challenger);
        _convictBy(jobId, challenger);
    }

    /// @inheritdoc ITrainingJobs
    function lapseDemand(uint256 jobId, address challenger) external {
        TrainingJob storage job = _requireStage(jobId, JobStage.Delivered);
        JobDemand storage game = _demands[jobId][challenger];
        _requireTurnOver(jobId, game, challenger, TrainingMover.Challenger);
        (uint256 toTrainer, uint256 burned) = _forfeitBond(game.bond, job.trainer);
        delete _demands[jobId][challenger];
        job.challenges -= 1;
        emit JobDemandLapsed(jobId, challenger, toTrainer, burned);
    }

    /// @inheritdoc ITrainingJobs
    function releaseBond(uint256 jobId, address challenger) external {
        TrainingMover turn = _demands[jobId][challenger].turn;
        bool live = _jobs[jobId].stage == JobStage.Delivered;
        if (live || turn == TrainingMover.None) revert JobTurnInvalid(jobId, challenger, turn);
        _release(jobId, challenger);
    }

    /// @dev Challenges of others stay until `releaseBond`.
    function _convictBy(uint256 jobId, address challenger) private {
        _convict(jobId, challenger);
        if (_demands[jobId][challenger].turn != TrainingMover.None) _release(jobId, challenger);
    }

    function _release(uint256 jobId, address challenger) private {
        uint256 amount = _demands[jobId][challenger].bond;
        delete _demands[jobId][challenger];
        _creditBond(challenger, amount);
        emit JobBondReleased(jobId, challenger, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ITrainingJobs
    function demandOf(uint256 jobId, address challenger) external view returns (JobDemand memory) {
        return _demands[jobId][challenger];
    }

    // ── Turns ───────────────────────────────────────────────────────────────────────────────────

    function _demanded(uint256 jobId, address challenger, JobPart part) private view returns (JobDemand storage game) {
        _requireStage(jobId, JobStage.Delivered);
        game = _demands[jobId][challenger];
        _requireTurn(jobId, game, challenger, TrainingMover.Server);
        if (game.part != part) revert JobOpeningInvalid(jobId, challenger);
    }

    function _requireTurn(uint256 jobId, JobDemand storage game, address challenger, TrainingMover turn) private view {
        if (game.turn != turn) revert JobTurnInvalid(jobId, challenger, game.turn);
        if (block.timestamp >= game.deadline) revert JobTurnOver(jobId, game.deadline);
    }

    function _requireTurnOver(
        uint256 jobId,
        JobDemand storage game,
        address challenger,
        TrainingMover turn
    ) private view {
        if (game.turn != turn) revert JobTurnInvalid(jobId, challenger, game.turn);
        if (block.timestamp < game.deadline) revert JobTurnOpen(jobId, game.deadline);
    }
}
