// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {
    IDisputeGame,
    VersionRecord,
    Receipt,
    TensorProof,
    Turn,
    GameConfig,
    Challenge
} from "./interfaces/IDisputeGame.sol";
import {Request, Delivery, Verdict} from "./interfaces/IInferenceMarket.sol";
import {Assurance} from "./interfaces/IModelRegistry.sol";
import {ExactClaim, Step} from "./interfaces/IStepVerifier.sol";
import {Turns} from "./base/Turns.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Openings} from "./libraries/Openings.sol";
import {Program} from "./libraries/Program.sol";
import {RequestFields} from "./libraries/RequestFields.sol";
import {StepCall} from "./libraries/StepCall.sol";
import {Target} from "./libraries/Target.sol";

/// @title Convicts a wrong answer of an exact model by computing one element of one operator again.
/// @dev Answers to several challenges go into one transaction: `multicall`.
/// The moves: what is asked and what is shown. Turns, ends and bonds are in base/Turns.sol.
contract DisputeGame is Turns, EIP712, Multicall {
    using RequestFields for Request;
    using Target for uint96;

    uint256 private constant OPENED_LEVELS = 6;
    uint256 private constant OPENED_NODES = 1 << OPENED_LEVELS;
    bytes32 private constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(bytes32 requestId,bytes32 outputRoot,bytes32 traceRoot)"
    );

    /// @dev A node or leaves that the operator is to show, with all that is known about it.
    struct Demanded {
        bytes32 requestId;
        Challenge game;
        ExactClaim claim;
        uint256 op;
        uint256 level;
        uint256 index;
        uint256 height; // levels between the node and the leaves of its tensor
        bool exists; // false: the demand was for a node deeper than the leaves
    }

    constructor(GameConfig memory config_) Turns(config_) EIP712("Tallystick", "1") {}

    // ── Challenge ───────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDisputeGame
    function prove(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        Receipt calldata receipt,
        bytes32 salt,
        Step calldata step
    ) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        Challenge memory game = _requireTurn(requestId, msg.sender, Turn.Challenger);
        _requireWitness(requestId, game, salt, step);
        ExactClaim memory claim = _claimOf(request, delivery, record, _traceFor(requestId, delivery, receipt));
        if (StepCall.check(VERIFIER, claim, step)) revert StepConsistent(step.op, step.row, step.col);
        emit FaultProven(requestId, msg.sender, step.op, step.row, step.col);
        _convict(requestId, request, delivery, Verdict.WrongOutput, msg.sender);
    }

    /// @inheritdoc IDisputeGame
    function demandNode(
        Request calldata request,
        Delivery calldata delivery,
        uint256 op,
        uint256 level,
        uint256 index
    ) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        bool possible = level <= Target.MAX_LEVEL && index >> level == 0;
        if (!possible || op >= _operatorsOf(requestId)) revert TargetInvalid(op, level, index);
        uint256 deadline = _demand(requestId, Turn.Node, Target.ofNode(op, level, index));
        emit NodeDemanded(requestId, msg.sender, op, level, index, deadline);
    }

    /// @inheritdoc IDisputeGame
    function demandStep(
        Request calldata request,
        Delivery calldata delivery,
        uint256 op,
        uint256 row,
        uint256 col
    ) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        bool possible = (row | col) >> 32 == 0;
        if (!possible || op >= _operatorsOf(requestId)) revert TargetInvalid(op, row, col);
        uint256 deadline = _demand(requestId, Turn.Step, Target.ofStep(op, row, col));
        emit StepDemanded(requestId, msg.sender, op, row, col, deadline);
    }

    /// @inheritdoc IDisputeGame
    function proveEquivocation(
        Request calldata request,
        Delivery calldata delivery,
        Receipt calldata first,
        Receipt calldata second
    ) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        Case storage case_ = _cases[requestId];
        (bytes32 outputRoot, bytes32 traceRoot) = (delivery.outputRoot, case_.traceRoot);
        _requireSigned(requestId, delivery.operator, first);
        if (second.signature.length != 0) {
            _requireSigned(requestId, delivery.operator, second);
            (outputRoot, traceRoot) = (second.outputRoot, second.traceRoot);
        }
        bool tracesAgree = first.traceRoot == traceRoot || first.traceRoot == 0 || traceRoot == 0;
        if (first.outputRoot == outputRoot && tracesAgree) revert ReceiptsAgree(requestId);
        emit EquivocationProven(
            requestId,
            msg.sender,
            receiptHash(requestId, first.outputRoot, first.traceRoot),
            receiptHash(requestId, outputRoot, traceRoot)
        );
        if (case_.open == 0) MARKET.openDispute(request, delivery);
        _endCase(requestId, request, delivery, Verdict.Equivocation);
    }

    // ── Reply: the operator ─────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDisputeGame
    function commitTrace(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        uint256[] calldata preamble,
        bytes32 graphRoot,
        bytes32[] calldata leaves
    ) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        if (msg.sender != delivery.operator) revert CallerNotOperator(requestId, msg.sender);
        Case storage case_ = _cases[requestId];
        if (case_.committedAt != 0) revert TraceAlreadyCommitted(requestId, case_.traceRoot);
        _requireRecord(request, record);
        if (Openings.modelRoot(preamble, graphRoot) != record.modelRoot) revert OpeningInvalid(requestId);
        uint256 operators = Program.operators(preamble[0]);
        if (leaves.length != operators - 1) revert LeavesInvalid(leaves.length, operators - 1);
        bytes32 traceRoot = operators == 1 ? bytes32(0) : Merkle.rootOf(leaves);
        case_.traceRoot = traceRoot;
        case_.committedAt = uint40(block.timestamp);
        case_.operators = uint16(operators);
        emit TraceCommitted(requestId, traceRoot, leaves);
    }

    /// @inheritdoc IDisputeGame
    function openNode(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        TensorProof calldata tensor,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external {
        Demanded memory demanded = _demanded(request, delivery, record, challenger, tensor);
        if (!demanded.exists) {
            _fail(demanded.requestId, request, delivery, challenger);
            return;
        }
        if (demanded.height < OPENED_LEVELS) revert OpeningInvalid(demanded.requestId);
        if (nodes.length != OPENED_NODES) revert LeavesInvalid(nodes.length, OPENED_NODES);
        _requireShown(demanded, tensor, path, Merkle.rootOf(nodes));
        emit NodeOpened(demanded.requestId, challenger, demanded.op, demanded.level, demanded.index, nodes);
        _answer(demanded.requestId, challenger, demanded.game, 0);
    }

    /// @inheritdoc IDisputeGame
    function revealLeaves(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        TensorProof calldata tensor,
        bytes calldata data,
        bytes32[] calldata path
    ) external {
        Demanded memory demanded = _demanded(request, delivery, record, challenger, tensor);
        bool shallow = demanded.exists && demanded.height < OPENED_LEVELS;
        if (!shallow) revert OpeningInvalid(demanded.requestId);
        _requireShown(demanded, tensor, path, _rootOver(demanded, tensor.operator[0], data));
        emit LeavesRevealed(demanded.requestId, challenger, demanded.op, demanded.level, demanded.index, data);
        _answer(demanded.requestId, challenger, demanded.game, demanded.game.target.revealed());
    }

    /// @inheritdoc IDisputeGame
    function answerStep(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        Step calldata step
    ) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        Challenge memory game = _requireTurn(requestId, challenger, Turn.Step);
        if (!game.target.isStep(step.op, step.row, step.col)) revert TargetInvalid(step.op, step.row, step.col);
        ExactClaim memory claim = _claimOf(request, delivery, record, _cases[requestId].traceRoot);
        uint256 spec = step.operator[0];
        if (step.row < Program.rows(spec) && step.col < Program.cols(spec)) {
            if (!StepCall.check(VERIFIER, claim, step)) revert StepInconsistent(step.op, step.row, step.col);
        } else if (!Openings.isOperator(claim.modelRoot, step.preamble, step.op, step.operator, step.operatorPath)) {
            revert OpeningInvalid(requestId);
        }
        emit StepAnswered(requestId, challenger, step.op, step.row, step.col);
        _fail(requestId, request, delivery, challenger);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDisputeGame
    function receiptHash(bytes32 requestId, bytes32 outputRoot, bytes32 traceRoot) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIPT_TYPEHASH, requestId, outputRoot, traceRoot)));
    }

    // ── What the chain knows ────────────────────────────────────────────────────────────────────

    /// @dev The head's preimage, as IModelRegistry defines it.
    function _requireRecord(Request calldata request, VersionRecord calldata record) private view {
        (uint256 modelId, uint256 version) = (request.modelId(), request.version());
        bytes32 head = keccak256(
            abi.encode(
                record.prevHead,
                modelId,
                version,
                record.manifestDigest,
                record.modelRoot,
                Assurance.Exact,
                record.tolerance,
                record.publisher,
                record.timestamp
            )
        );
        if (head != REGISTRY.headAt(modelId, uint32(version))) revert RecordMismatch(modelId, version);
    }

    function _claimOf(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        bytes32 traceRoot
    ) private view returns (ExactClaim memory) {
        _requireRecord(request, record);
        return ExactClaim(record.modelRoot, request.inputRoot, delivery.outputRoot, traceRoot);
    }

    /// @dev The chain's trace root, else the receipt's, else 0: the verifier refuses a step that needs one.
    function _traceFor(
        bytes32 requestId,
        Delivery calldata delivery,
        Receipt calldata receipt
    ) private returns (bytes32 traceRoot) {
        traceRoot = _cases[requestId].traceRoot;
        if (traceRoot != 0 || receipt.signature.length == 0) return traceRoot;
        _requireSigned(requestId, delivery.operator, receipt);
        if (receipt.outputRoot != delivery.outputRoot) revert ReceiptInvalid(requestId, delivery.operator);
        emit ReceiptAccepted(requestId, receipt.traceRoot);
        return receipt.traceRoot;
    }

    function _requireSigned(bytes32 requestId, address operator, Receipt calldata receipt) private view {
        bytes32 digest = receiptHash(requestId, receipt.outputRoot, receipt.traceRoot);
        // The key first: an account that took on code since (EIP-7702) cannot deny what its key signed.
        (address signer, , ) = ECDSA.tryRecoverCalldata(digest, receipt.signature);
        if (signer == operator) return;
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(operator, digest, receipt.signature)) {
            revert ReceiptInvalid(requestId, operator);
        }
    }

    /// @dev Nobody else can have shown this element: it was committed to in an earlier block, or it lies in
    /// leaves that were revealed to this very challenge.
    function _requireWitness(bytes32 requestId, Challenge memory game, bytes32 salt, Step calldata step) private view {
        if (_isRevealed(game.target, step)) return;
        if (game.witness == 0) revert WitnessMissing(requestId, msg.sender);
        bytes32 witness = keccak256(abi.encode(requestId, msg.sender, salt, step.op, step.row, step.col));
        if (witness != game.witness) revert WitnessMismatch(requestId, msg.sender);
        if (block.number <= game.witnessBlock) revert WitnessTooYoung(requestId, uint256(game.witnessBlock) + 1);
    }

    /// @dev The operator's words are the prover's here; the verifier refuses wrong ones afterwards.
    function _isRevealed(uint96 target, Step calldata step) private pure returns (bool) {
        (uint256 op, uint256 level, uint256 index) = target.node();
        if (!target.isRevealed() || step.op != op) return false;
        uint256 spec = step.operator[0];
        uint256 leaf = Openings.leafOf(spec, step.row, step.col);
        unchecked {
            return leaf >> (Openings.depth(spec) - level) == index;
        }
    }

    // ── Openings ────────────────────────────────────────────────────────────────────────────────

    /// @dev Proves the words of the operator whose tensor is demanded; the tensor itself is not looked at.
    function _demanded(
        Request calldata request,
        Delivery calldata delivery,
        VersionRecord calldata record,
        address challenger,
        TensorProof calldata tensor
    ) private view returns (Demanded memory demanded) {
        bytes32 requestId = _requireDelivered(request, delivery);
        demanded.requestId = requestId;
        demanded.game = _requireTurn(requestId, challenger, Turn.Node);
        demanded.claim = _claimOf(request, delivery, record, _cases[requestId].traceRoot);
        (demanded.op, demanded.level, demanded.index) = demanded.game.target.node();
        bytes32 modelRoot = demanded.claim.modelRoot;
        if (!Openings.isOperator(modelRoot, tensor.preamble, demanded.op, tensor.operator, tensor.operatorPath)) {
            revert OpeningInvalid(requestId);
        }
        uint256 depth = Openings.depth(tensor.operator[0]);
        demanded.exists = demanded.level <= depth;
        if (demanded.exists) demanded.height = depth - demanded.level;
    }

    function _rootOver(
        Demanded memory demanded,
        uint256 spec,
        bytes calldata data
    ) private pure returns (bytes32 root) {
        bool fits;
        (root, fits) = Openings.subtree(spec, demanded.height, demanded.index, data);
        if (!fits) revert OpeningInvalid(demanded.requestId);
    }

    /// @dev That `node` is the demanded one of the tensor that the demanded operator wrote.
    function _requireShown(
        Demanded memory demanded,
        TensorProof calldata tensor,
        bytes32[] calldata path,
        bytes32 node
    ) private pure {
        bool shown =
            path.length == demanded.level &&
                Merkle.climb(node, demanded.index, path) == tensor.result.root &&
                Openings.isResult(demanded.claim, demanded.op, tensor);
        if (!shown) revert OpeningInvalid(demanded.requestId);
    }
}
