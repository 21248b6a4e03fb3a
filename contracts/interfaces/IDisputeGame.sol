// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Request, Delivery} from "./IInferenceMarket.sol";
import {Step, Opening} from "./IStepVerifier.sol";

/// @notice What a version's record says beside model and version; `headAt` is its hash.
struct VersionRecord {
    bytes32 prevHead;
    bytes32 manifestDigest;
    bytes32 modelRoot;
    uint64 tolerance;
    address publisher;
    uint40 timestamp;
}

/// @notice What an operator signs off chain (EIP-712 `Receipt`); traceRoot 0 = not stated.
struct Receipt {
    bytes32 outputRoot;
    bytes32 traceRoot;
    bytes signature; // by the operator; ERC-1271 for contracts; empty = no receipt
}

/// @notice The tensor that an operator of the program wrote, as the program's words show it.
struct TensorProof {
    uint256[] preamble; // header word and input spec words
    uint256[9] operator;
    bytes32[] operatorPath;
    Opening result; // root and path in the trace; path empty for the delivered output
}

/// @notice Whose move it is in a challenge, and what is asked.
enum Turn {
    None, // no such challenge, or ended
    Challenger,
    Trace, // operator: commitTrace
    Node, // operator: openNode or revealLeaves
    Step // operator: answerStep
}

/// @notice Everything that is fixed at deployment.
struct GameConfig {
    address market;
    address registry;
    address verifier;
    uint32 minReply; // seconds that every turn lasts at the least
    uint32 clock; // seconds of thinking that each side of a challenge has in all, beyond which turns last minReply
}

/// @notice One challenger's game about one delivery.
struct Challenge {
    Turn turn;
    uint8 demands; // asked so far; at most 12
    uint40 deadline; // of the turn, unix seconds
    uint32 challengerClock; // seconds left
    uint32 operatorClock;
    uint40 witnessBlock; // in which the witness was committed; 0 = no witness
    uint96 bond; // wei
    bytes32 witness;
    uint96 target; // what is demanded, or what was revealed last (libraries/Target.sol)
    address older; // neighbours among the open challenges (libraries/Challengers.sol)
    address newer;
}

/// @title Convicts a wrong answer of an exact model by computing one element of one operator again.
/// @notice docs/exact.md, section 7, draws the game. Times are half-open: a turn that ends at t is over at t.
/// All money in stake and fees stays in the market; this contract holds challengers' bonds alone.
/// Calls about a delivery that is not the one the market waits for revert with its
/// `RequestStateMismatch`. Who answers for an operator need not be the operator, except in `commitTrace`:
/// answers prove themselves, a trace does not.
interface IDisputeGame {
    event Challenged(
        bytes32 indexed requestId,
        address indexed challenger,
        bytes32 witness,
        uint256 bond,
        uint256 deadline
    );
    event TraceCommitted(bytes32 indexed requestId, bytes32 traceRoot, bytes32[] leaves);
    event ReceiptAccepted(bytes32 indexed requestId, bytes32 traceRoot);
    event NodeDemanded(
        bytes32 indexed requestId,
        address indexed challenger,
        uint256 op,
        uint256 level,
        uint256 index,
        uint256 deadline
    );
    event NodeOpened(
        bytes32 indexed requestId,
        address indexed challenger,
        uint256 op,
        uint256 level,
        uint256 index,
        bytes32[] nodes
    );
    event LeavesRevealed(
        bytes32 indexed requestId,
        address indexed challenger,
        uint256 op,
        uint256 level,
        uint256 index,
        bytes data
    );
    event StepDemanded(
        bytes32 indexed requestId,
        address indexed challenger,
        uint256 op,
        uint256 row,
        uint256 col,
        uint256 deadline
    );
    event StepAnswered(bytes32 indexed requestId, address indexed challenger, uint256 op, uint256 row, uint256 col);
    event ChallengeFailed(bytes32 indexed requestId, address indexed challenger, uint256 toOperator, uint256 burned);
    event FaultProven(bytes32 indexed requestId, address indexed challenger, uint256 op, uint256 row, uint256 col);
    event EquivocationProven(bytes32 indexed requestId, address indexed challenger, bytes32 first, bytes32 second);
    event SilenceProven(bytes32 indexed requestId, address indexed challenger);
    /// @notice Several challenges were open at a conviction; each gets its part with its bond.
    event BountyShared(bytes32 indexed requestId, uint256 challenges, uint256 each);
    event BondReleased(bytes32 indexed requestId, address indexed challenger, uint256 amount);
    event BondWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error BondTooLow(uint256 given, uint256 needed);
    error ChallengesExhausted(bytes32 requestId, uint256 max);
    error ChallengeExists(bytes32 requestId, address challenger);
    error ChallengeMissing(bytes32 requestId, address challenger);
    error TurnInvalid(bytes32 requestId, address challenger, Turn current);
    error TurnOver(bytes32 requestId, uint256 deadline);
    error TurnOpen(bytes32 requestId, uint256 deadline);
    error CallerNotOperator(bytes32 requestId, address caller);
    error RecordMismatch(uint256 modelId, uint256 version);
    /// @notice Nothing can be demanded before the trace is on chain.
    error TraceMissing(bytes32 requestId);
    error TraceAlreadyCommitted(bytes32 requestId, bytes32 traceRoot);
    error LeavesInvalid(uint256 given, uint256 expected);
    error DemandsExhausted(bytes32 requestId, address challenger);
    error TargetInvalid(uint256 op, uint256 level, uint256 index);
    error OpeningInvalid(bytes32 requestId);
    error WitnessMissing(bytes32 requestId, address challenger);
    error WitnessMismatch(bytes32 requestId, address challenger);
    error WitnessTooYoung(bytes32 requestId, uint256 provableFrom);
    error StepConsistent(uint256 op, uint256 row, uint256 col);
    error StepInconsistent(uint256 op, uint256 row, uint256 col);
    error ReceiptInvalid(bytes32 requestId, address signer);
    error ReceiptsAgree(bytes32 requestId);
    error RequestLive(bytes32 requestId);
    error AmountZero();
    error TransferFailed(address to, uint256 amount);

    // ── Challenge ───────────────────────────────────────────────────────────────────────────────
    /// @notice Opens a game; its bond is `bondNeeded` or more. `witness` = keccak256(abi.encode(requestId, challenger, salt, op, row, col)), or 0 to demand the trace.
    function challenge(Request calldata request, Delivery calldata delivery, bytes32 witness) external payable;
    /// @notice Shows a fault and convicts. A receipt brings the trace root when the chain has none (empty
    /// otherwise, or when the step needs no trace).
    function prove(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        Receipt calldata receipt,
        bytes32 salt,
        Step calldata step
    ) external;
    /// @notice Asks for the node `index` at `level` (0 = root) of the tensor that operator `op` wrote.
    function demandNode(
        Request calldata request,
        Delivery calldata delivery,
        uint256 op,
        uint256 level,
        uint256 index
    ) external;
    /// @notice Asks the operator to prove one element itself.
    function demandStep(
        Request calldata request,
        Delivery calldata delivery,
        uint256 op,
        uint256 row,
        uint256 col
    ) external;
    /// @notice Convicts on two signatures of the operator that contradict each other, or, when `second`
    /// has none, on one that contradicts what it said on chain: the delivery or the trace. Needs no
    /// challenge and no bond; without an open challenge it must come within the challenge window.
    function proveEquivocation(
        Request calldata request,
        Delivery calldata delivery,
        Receipt calldata first,
        Receipt calldata second
    ) external;

    // ── Reply: the operator ─────────────────────────────────────────────────────────────────────
    /// @notice Posts the tensor leaves of operators 0 … nOps−2, in order. Once per request, by the operator
    /// alone; it answers all challenges whose turn is Trace and not over.
    function commitTrace(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        uint256[] calldata preamble,
        bytes32 graphRoot,
        bytes32[] calldata leaves
    ) external;
    /// @notice Shows the 64 nodes 6 levels below the demanded one, which is at least 6 above the leaves.
    /// A node deeper than the tensor's leaves was no honest demand: the tensor's operator shows that
    /// (nodes, path and result empty), and the challenge has failed.
    /// @param path from the demanded node up to the tensor's root.
    function openNode(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        TensorProof calldata tensor,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external;
    /// @notice Shows the logical bytes below the demanded node, at most 5 levels above the leaves.
    function revealLeaves(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        TensorProof calldata tensor,
        bytes calldata data,
        bytes32[] calldata path
    ) external;
    /// @notice Brings the demanded step; it must be consistent, and the challenge has failed. Of an
    /// element outside its tensor the step shows the operator alone.
    function answerStep(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        Step calldata step
    ) external;

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────
    /// @notice Convicts an operator whose turn is over.
    function convictSilent(Request calldata request, Delivery calldata delivery, address challenger) external;
    /// @notice Ends a challenge whose challenger's turn is over.
    function lapse(Request calldata request, Delivery calldata delivery, address challenger) external;
    /// @notice Gives back the bond of a challenge whose request ended in another way, and its part of the
    /// bounty when another's challenge convicted.
    function releaseBond(bytes32 requestId, address challenger) external;
    /// @notice Pays out the caller's bonds and shares of failed ones.
    function withdrawBond() external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (GameConfig memory);
    /// @notice A challenge; its turn is NONE when there is none.
    function challengeOf(bytes32 requestId, address challenger) external view returns (Challenge memory);
    /// @return root 0 when the program has one operator.
    /// @return committedAt Unix seconds; 0 = not yet.
    function traceOf(bytes32 requestId) external view returns (bytes32 root, uint256 committedAt);
    /// @return Who opened the oldest challenge that has not failed; 0 = nobody.
    function firstChallengerOf(bytes32 requestId) external view returns (address);
    /// @return Wei that the account can withdraw; for the burn address, what was burned.
    function bondOf(address account) external view returns (uint256);
    /// @notice Who is credited with burned bonds; nobody can withdraw them.
    function burnAddress() external view returns (address);
    /// @notice Wei that a challenge of the request needs now: 2 × 1,200,000 × gas price × 2^(open challenges);
    /// the gas price is the base fee, or the market's floor.
    function bondNeeded(bytes32 requestId) external view returns (uint256);
    /// @notice The digest that a receipt's signature is over.
    function receiptHash(bytes32 requestId, bytes32 outputRoot, bytes32 traceRoot) external view returns (bytes32);
}
