// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDemandBonds} from "./IDemandBonds.sol";
import {Opening, Step} from "./IStepVerifier.sol";
import {TrainingMover} from "./ITrainingGame.sol";

/// @notice Where a job stands.
enum JobStage {
    None,
    Open, // waits for a trainer
    Claimed, // a trainer is at work
    Delivered, // a history that can be challenged
    Settled,
    Convicted,
    Void // ended without a history
}

/// @notice What can be demanded of a trainer.
enum JobPart {
    History, // a node of the tree over the records
    Trace, // a step's record, and the leaves of all tensors behind it
    Tensor // a node of a tensor that a step wrote
}

/// @notice Everything that is fixed at deployment.
struct JobsConfig {
    address market; // names the token and the least price of gas
    address programs; // IPrograms
    address verifier; // IStepVerifier
    uint32 reply; // seconds that every turn of a challenge lasts
    uint32 maxPeriod; // seconds that a phase of a job may last at the most
}

/// @notice What an opener fixes. Batch b of step k is keccak256(seed ‖ u64(k)) mod batches.
struct JobTerms {
    bytes32 program; // modelRoot of one step: inputs state, samples, labels; output the next state
    bytes32 stateRoot; // of the first state's tensor
    bytes32 samplesRoot; // of batches · 2^k rows
    bytes32 labelsRoot; // a row for each batch
    bytes32 seed;
    uint32 batches; // 1 … 2^20
    uint32 steps; // 1 … 2^20
    uint32 claimPeriod; // seconds that the job waits for a trainer
    uint32 trainPeriod; // seconds that a trainer has
    uint32 challengePeriod; // seconds
    uint96 price; // token units
    uint96 bond; // token units, the trainer's
}

/// @notice A job's state.
struct TrainingJob {
    address opener;
    JobStage stage;
    uint16 operators; // of the program
    uint16 challenges; // open
    uint40 until; // of the wait for a trainer, of its work, of the challenge window; unix seconds
    address trainer; // 0 = none yet
    bytes32 historyRoot;
    bytes32 lastState; // root of the last state's tensor
}

/// @notice An operator of the program with its path.
struct OperatorProof {
    uint256[] preamble; // header word and input spec words
    uint256[9] words;
    bytes32[] path;
}

/// @notice What a trainer stands for. Its leaf is keccak256(state ‖ trace).
struct StepRecord {
    bytes32 state; // root of the state before the step
    bytes32 trace; // root of the step's trace; 0 in the last record, behind which nothing runs
}

/// @notice A node with its siblings up to a root.
struct OpenedNode {
    bytes32 node;
    bytes32[] path;
}

/// @notice A history. Its first record names the job's first state, its last the last state.
struct JobDelivery {
    bytes32[] nodes; // 6 levels below the root, or its leaves when there are fewer levels
    bytes32 firstTrace;
    bytes32[] firstPath; // from record 0 up to nodes[0]
    bytes32 lastState;
    bytes32[] lastPath; // from the last record up to its node
    bytes32 cid; // SHA-256 in the CID of the last state's root block
    bytes32 digest; // SHA-256 of the last state's file
}

/// @notice The proof that one step is wrong: one element of one operator, and what it was computed from.
struct StepFault {
    uint256 step;
    StepRecord record;
    bytes32[] recordPath;
    StepRecord next; // of the last operator alone, whose tensor is the next state; else zeros
    bytes32[] nextPath; // else empty
    OpenedNode samples; // the batch's, under samplesRoot
    OpenedNode labels; // the batch's, under labelsRoot
    Step element;
}

/// @notice Where the demanded node of a tensor hangs.
struct TensorNode {
    StepRecord record; // the step's; of the last operator the next one, whose state is its tensor
    bytes32[] recordPath;
    Opening tensor; // root, and path in the trace; of the last operator path empty
    bytes32[] path; // from the demanded node up to the tensor's root
}

/// @notice One challenger's demands.
struct JobDemand {
    TrainingMover turn;
    uint8 count; // at most 32
    uint40 deadline; // of the turn, unix seconds
    uint96 bond; // wei
    JobPart part;
    bool revealed; // the node's leaves were shown: who asked for them proves without a witness
    uint32 step;
    uint16 op;
    uint8 level; // 0 = root
    uint64 index; // of the node in its level
    uint72 spec; // of the tensor
}

/// @title Jobs of training in integers: every step convictable by one element (docs/training-jobs.md).
/// @notice In short, with half-open times:
///
/// ```
///   open ── claim ──▶ at work ── deliver ──▶ Delivered ── settle ──▶ Settled
///     │ cancel           │ lapse                 ├── prove, convictSilent ──▶ Convicted
///     └──▶ Void          └──▶ Void               └── demand ─▶ answer ─▶ demand …
/// ```
/// Of a history that nobody serves, a challenger asks from the top down, several levels at a time:
///
/// ```
///   demandHistory ─▶ openHistory      which record differs first (none of it up to 63 steps: delivered)
///   demandTrace   ─▶ showTrace        which tensor of that step differs first
///   demandTensor  ─▶ openNode         which node of the tensor: 6 levels
///   demandTensor  ─▶ revealLeaves     which element ─▶ prove
/// ```
/// Silence for `reply` convicts. Answers prove themselves: anyone may give them. Anyone may take every step but
/// those of opener and trainer, so nobody waits for who vanished. Half of a trainer's bond is the challenger's, half
/// is burned: convicting oneself costs. The price goes back to the opener.
/// @dev Warning: whether the data are good, or what they are called, is not judged. A trainer compares them with the
/// roots before it claims a job.
interface ITrainingJobs is IDemandBonds {
    /// @notice `cid` is the SHA-256 in the CID of the root block of what the job reads, `digest` that of the whole.
    event JobOpened(uint256 indexed jobId, address indexed opener, JobTerms terms, bytes32 cid, bytes32 digest);
    event JobClaimed(uint256 indexed jobId, address indexed trainer, uint256 until);
    event JobDelivered(
        uint256 indexed jobId,
        address indexed trainer,
        bytes32 historyRoot,
        JobDelivery delivery,
        uint256 windowEnd
    );
    event JobSettled(uint256 indexed jobId, address indexed trainer, uint256 paid);
    event JobVoided(uint256 indexed jobId, address indexed opener, uint256 paid);
    /// @notice A trainer delivered nothing: half its bond is the opener's.
    event JobLapsed(uint256 indexed jobId, address indexed trainer, uint256 toOpener, uint256 burned);
    event TrainerConvicted(
        uint256 indexed jobId,
        address indexed trainer,
        address indexed challenger,
        uint256 bounty,
        uint256 burned
    );
    event BalanceWithdrawn(address indexed account, uint256 amount);
    event StepFaultAnnounced(bytes32 indexed witness);
    event StepFaultProven(
        uint256 indexed jobId,
        address indexed challenger,
        uint256 step,
        uint256 op,
        uint256 row,
        uint256 col
    );
    event TrainerSilent(uint256 indexed jobId, address indexed challenger);
    event HistoryDemanded(
        uint256 indexed jobId,
        address indexed challenger,
        uint256 level,
        uint256 index,
        uint256 deadline
    );
    event TraceDemanded(uint256 indexed jobId, address indexed challenger, uint256 step, uint256 deadline);
    event TensorDemanded(
        uint256 indexed jobId,
        address indexed challenger,
        uint256 step,
        uint256 op,
        uint256 level,
        uint256 index,
        uint256 deadline
    );
    event HistoryOpened(uint256 indexed jobId, address indexed challenger, bytes32[] nodes);
    event TraceShown(uint256 indexed jobId, address indexed challenger, bytes32 state, bytes32[] leaves);
    event TensorOpened(uint256 indexed jobId, address indexed challenger, bytes32[] nodes);
    event TensorRevealed(uint256 indexed jobId, address indexed challenger, bytes data);
    event JobDemandLapsed(uint256 indexed jobId, address indexed challenger, uint256 toTrainer, uint256 burned);
    event JobBondReleased(uint256 indexed jobId, address indexed challenger, uint256 amount);

    error ConfigInvalid(string field);
    error JobTermsInvalid(string field);
    /// @notice No registered program of a step: `part` says what does not fit.
    error StepProgramInvalid(string part);
    error JobStageInvalid(uint256 jobId, JobStage current);
    error JobPeriodOver(uint256 jobId, uint256 until);
    error JobPeriodOpen(uint256 jobId, uint256 until);
    error CallerNotOpener(uint256 jobId, address caller);
    error CallerNotTrainer(uint256 jobId, address caller);
    /// @notice The history is of another job, or what is shown of it does not hang together.
    error HistoryInvalid(string part);
    error JobChallengesOpen(uint256 jobId, uint256 open);
    /// @notice A part of a fault's proof does not hang from the job or its history.
    error StepProofInvalid(string part);
    /// @notice The proof is right, and what it shows is not wrong.
    error ElementRight(uint256 step, uint256 op, uint256 row, uint256 col);
    error WitnessKnown(bytes32 witness);
    error WitnessUnknown(bytes32 witness);
    error WitnessTooYoung(bytes32 witness, uint256 provableFrom);
    error JobTargetInvalid(JobPart part, uint256 level, uint256 index);
    error JobTurnInvalid(uint256 jobId, address challenger, TrainingMover current);
    error JobTurnOver(uint256 jobId, uint256 deadline);
    error JobTurnOpen(uint256 jobId, uint256 deadline);
    error JobDemandsExhausted(uint256 jobId, address challenger);
    error JobOpeningInvalid(uint256 jobId, address challenger);

    // ── Open, claim, deliver ────────────────────────────────────────────────────────────────────
    /// @notice Opens a job and takes its price.
    /// @param output the program's last operator, which shows that it is one of a step.
    /// @param cid SHA-256 in the CID of the root block of what the job reads.
    /// @param digest SHA-256 of the whole.
    function open(
        JobTerms calldata terms,
        OperatorProof calldata output,
        bytes32 cid,
        bytes32 digest
    ) external returns (uint256 jobId);
    /// @notice Gives the price back: the opener before anybody claimed the job, anyone once its wait is over.
    function cancel(uint256 jobId) external;
    /// @notice Takes the job for `trainPeriod`, and the trainer's bond.
    function claim(uint256 jobId) external;
    /// @notice Stands for a history; the trainer alone, in its time.
    function deliver(uint256 jobId, JobDelivery calldata delivery) external;
    /// @notice Ends a job whose trainer delivered nothing in time: price back, half its bond to the opener, half burned.
    function lapse(uint256 jobId) external;

    // ── Convict ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Announces a proof, so that nobody takes it from the pool of transactions. `witness` =
    /// keccak256(abi.encode(jobId, challenger, salt, step, op, row, col)).
    function announce(bytes32 witness) external;
    /// @notice Shows one wrong element and convicts: announced in an earlier block, or in leaves that were revealed
    /// to the caller.
    function prove(uint256 jobId, bytes32 salt, StepFault calldata fault) external;

    // ── Demand ──────────────────────────────────────────────────────────────────────────────────
    /// @notice Asks for a node of the history. The first demand of any kind opens the challenge, in the window; each
    /// brings a bond in the chain's currency.
    function demandHistory(uint256 jobId, uint256 level, uint256 index) external payable;
    /// @notice Asks for a step's record and the tensor leaves of its trace.
    function demandTrace(uint256 jobId, uint256 step) external payable;
    /// @notice Asks for a node of the tensor that operator `op` of a step wrote.
    function demandTensor(
        uint256 jobId,
        uint256 step,
        uint256 op,
        uint256 level,
        uint256 index,
        OperatorProof calldata operator
    ) external payable;

    // ── Answer: anyone ──────────────────────────────────────────────────────────────────────────
    /// @notice Shows the nodes 6 levels below the demanded one, or the leaves when fewer are left.
    function openHistory(uint256 jobId, address challenger, bytes32[] calldata nodes, bytes32[] calldata path) external;
    /// @notice Shows the state before the demanded step, and the tensor leaves of operators 0 … nOps−2.
    /// @param path of the record.
    function showTrace(
        uint256 jobId,
        address challenger,
        bytes32 state,
        bytes32[] calldata leaves,
        bytes32[] calldata path
    ) external;
    /// @notice Shows the 64 nodes 6 levels below the demanded one, which is at least 6 above the leaves.
    function openNode(uint256 jobId, address challenger, TensorNode calldata node, bytes32[] calldata nodes) external;
    /// @notice Shows the logical bytes below the demanded node, at most 5 levels above the leaves.
    function revealLeaves(uint256 jobId, address challenger, TensorNode calldata node, bytes calldata data) external;

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────
    /// @notice Convicts a trainer that did not show what was demanded.
    function convictSilent(uint256 jobId, address challenger) external;
    /// @notice Ends a challenge whose challenger's turn is over: half its bond is the trainer's, half is burned.
    function lapseDemand(uint256 jobId, address challenger) external;
    /// @notice Gives back the bond of a challenge whose trainer was convicted by somebody else.
    function releaseBond(uint256 jobId, address challenger) external;
    /// @notice Pays an unchallenged trainer: price and bond.
    function settle(uint256 jobId) external;
    /// @notice Pays out the caller's balance in the payment token.
    function withdraw() external returns (uint256 amount);

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (JobsConfig memory);
    /// @notice The payment token.
    function token() external view returns (address);
    /// @notice How many jobs were opened; ids run from 1.
    function jobCount() external view returns (uint256);
    /// @notice A job's terms; zeros when there is no such job.
    function termsOf(uint256 jobId) external view returns (JobTerms memory);
    /// @notice A job's state.
    function jobOf(uint256 jobId) external view returns (TrainingJob memory);
    /// @notice A challenge; its turn is NONE when there is none.
    function demandOf(uint256 jobId, address challenger) external view returns (JobDemand memory);
    /// @notice Block in which a witness was announced; 0 = not.
    function announcedAt(bytes32 witness) external view returns (uint256);
    /// @notice What the account may withdraw in the payment token.
    function balanceOf(address account) external view returns (uint256);
    /// @notice Who is credited with burned bonds.
    function burnAddress() external view returns (address);
}
