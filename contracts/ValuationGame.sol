// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Place} from "./interfaces/IDataRounds.sol";
import {
    Case,
    Demands,
    Fault,
    IValuationGame,
    Mover,
    Part,
    Valuation,
    ValuationConfig
} from "./interfaces/IValuationGame.sol";
import {IValuationVerifier} from "./interfaces/IValuationVerifier.sol";
import {Valuators} from "./base/Valuators.sol";
import {Clock} from "./libraries/Clock.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Program} from "./libraries/Program.sol";
import {ValuationTables} from "./libraries/ValuationTables.sol";

/// @title Convicts a false valuation by computing one of its numbers again, or for want of an answer.
/// @dev The moves of challengers; valuators and money are in base/Valuators.sol.
contract ValuationGame is Valuators {
    using SafeCast for uint256;

    uint256 private constant OPENED_LEVELS = 6;
    uint256 private constant MAX_DEMANDS = 32;
    /// @dev Gas of showing 64 nodes with a path, or a leaf.
    uint256 private constant ANSWER_GAS = 150_000;

    mapping(uint256 roundId => mapping(uint256 attempt => mapping(address challenger => Demands))) private _demands;
    /// @inheritdoc IValuationGame
    mapping(bytes32 witness => uint256) public announcedAt;

    /// @dev A tree with the node of it that is demanded.
    struct Tree {
        bytes32 root;
        uint256 depth; // of its leaves
        uint256 width; // entries a row; 0 when its leaves are rows of data
        uint256 count; // rows
        uint256 rowBytes; // of a row of data
    }

    constructor(ValuationConfig memory config_) Valuators(config_) {}

    // ── Prove ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function announce(bytes32 witness) external {
        if (announcedAt[witness] != 0) revert WitnessKnown(witness);
        announcedAt[witness] = block.number;
        emit ValuationFaultAnnounced(witness);
    }

    /// @inheritdoc IValuationGame
    function prove(
        uint256 roundId,
        Valuation calldata valuation,
        bytes32 salt,
        Fault calldata fault
    ) external nonReentrant {
        Case storage case_ = _requireOpen(roundId, valuation);
        uint256 attempt = case_.attempt;
        _requireWitness(roundId, attempt, salt, fault);
        if (!_isFault()) revert FaultMissing(fault.code);
        emit ValuationFaultProven(roundId, msg.sender, attempt, fault.code);
        _convict(roundId, msg.sender);
    }

    function _requireWitness(uint256 roundId, uint256 attempt, bytes32 salt, Fault calldata fault) private view {
        bytes32 witness = keccak256(
            abi.encode(roundId, attempt, msg.sender, salt, fault.code, fault.t, fault.p, fault.i, fault.j, fault.a)
        );
        uint256 announced = announcedAt[witness];
        if (announced == 0) revert WitnessUnknown(witness);
        if (block.number <= announced) revert WitnessTooYoung(witness, announced + 1);
    }

    /// @dev Hands this call's arguments to the verifier as they are: they are long, and nested.
    function _isFault() private view returns (bool guilty) {
        (bool success, bytes memory result) = VERIFIER.staticcall(
            abi.encodePacked(IValuationVerifier.convicts.selector, msg.data[4:])
        );
        if (success) return abi.decode(result, (bool));
        assembly ("memory-safe") {
            revert(add(result, 0x20), mload(result))
        }
    }

    // ── Demand ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function demand(
        uint256 roundId,
        Valuation calldata valuation,
        Part part,
        uint256 number,
        uint256 level,
        uint256 index
    ) external payable {
        Case storage case_ = _requireOpen(roundId, valuation);
        if (msg.value < bondNeeded()) revert BondTooLow(msg.value, bondNeeded());
        Demands memory game = _demands[roundId][case_.attempt][msg.sender];
        if (game.turn == Mover.None) {
            if (block.timestamp >= case_.until) revert WindowPassed(roundId, case_.until);
            case_.challenges += 1;
            game.challengerClock = uint32(CLOCK);
            game.valuatorClock = uint32(CLOCK);
        } else {
            _requireTurn(roundId, game, msg.sender, Mover.Challenger);
            game.challengerClock = _spend(game.challengerClock, game.deadline);
        }
        if (game.count == MAX_DEMANDS) revert TableDemandsExhausted(roundId, msg.sender);
        Tree memory tree = _tree(roundId, valuation, part, number);
        // Whatever the root is, 0 included: what has rows must be shown.
        bool exists = tree.count != 0 && level <= tree.depth && index >> level == 0;
        if (!exists) revert TableTargetInvalid(part, level, index);
        game.turn = Mover.Valuator;
        game.count += 1;
        game.deadline = _deadline(game.valuatorClock);
        game.bond += msg.value.toUint96();
        (game.part, game.number, game.level, game.index) = (part, uint16(number), uint8(level), uint32(index));
        _demands[roundId][case_.attempt][msg.sender] = game;
        emit TableDemanded(roundId, msg.sender, case_.attempt, part, number, level, index, game.deadline);
    }

    /// @inheritdoc IValuationGame
    function openNode(
        uint256 roundId,
        Valuation calldata valuation,
        address challenger,
        bytes32[] calldata nodes,
        bytes32[] calldata path
    ) external {
        (Demands storage game, Tree memory tree) = _demanded(roundId, valuation, challenger);
        uint256 height = tree.depth - game.level;
        uint256 levels = height < OPENED_LEVELS ? height : OPENED_LEVELS;
        if (height == 0 || nodes.length != 1 << levels) revert TableOpeningInvalid(roundId, challenger);
        _answer(roundId, challenger, game, tree, Merkle.rootOf(nodes), path);
        emit TableOpened(roundId, challenger, nodes);
    }

    /// @inheritdoc IValuationGame
    function revealLeaf(
        uint256 roundId,
        Valuation calldata valuation,
        address challenger,
        bytes calldata data,
        bytes32[] calldata path
    ) external {
        (Demands storage game, Tree memory tree) = _demanded(roundId, valuation, challenger);
        uint256 length = _leafBytes(tree, game.index);
        if (game.level != tree.depth || data.length != length) revert TableOpeningInvalid(roundId, challenger);
        bytes32 leaf;
        if (length != 0) leaf = tree.width == 0 ? ValuationTables.rowLeaf(data) : ValuationTables.leaf(data);
        _answer(roundId, challenger, game, tree, leaf, path);
        emit TableLeafRevealed(roundId, challenger, data);
    }

    /// @inheritdoc IValuationGame
    function convictSilent(uint256 roundId, address challenger) external nonReentrant {
        uint256 attempt = _requirePublished(roundId).attempt;
        Demands storage game = _demands[roundId][attempt][challenger];
        _requireOver(roundId, game, challenger, Mover.Valuator);
        emit ValuatorSilent(roundId, challenger, attempt);
        _convict(roundId, challenger);
    }

    /// @inheritdoc IValuationGame
    function lapse(uint256 roundId, address challenger) external {
        Case storage case_ = _requirePublished(roundId);
        Demands storage game = _demands[roundId][case_.attempt][challenger];
        _requireOver(roundId, game, challenger, Mover.Challenger);
        uint256 toValuator = game.bond / 2;
        uint256 burned = game.bond - toValuator;
        delete _demands[roundId][case_.attempt][challenger];
        case_.challenges -= 1;
        _creditBond(case_.valuator, toValuator);
        _creditBond(BURN_ADDRESS, burned);
        emit DemandLapsed(roundId, challenger, toValuator, burned);
    }

    /// @inheritdoc IValuationGame
    function releaseBond(uint256 roundId, uint256 attempt, address challenger) external {
        Case storage case_ = _cases[roundId];
        Demands storage game = _demands[roundId][attempt][challenger];
        bool live = case_.published && case_.attempt == attempt;
        if (live || game.turn == Mover.None) revert DemandTurnInvalid(roundId, challenger, game.turn);
        uint256 amount = game.bond;
        delete _demands[roundId][attempt][challenger];
        _creditBond(challenger, amount);
        emit DemandBondReleased(roundId, challenger, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IValuationGame
    function demandsOf(uint256 roundId, uint256 attempt, address challenger) external view returns (Demands memory) {
        return _demands[roundId][attempt][challenger];
    }

    /// @inheritdoc IValuationGame
    function bondNeeded() public view returns (uint256) {
        return 2 * ANSWER_GAS * _gasPrice();
    }

    // ── What is demanded ────────────────────────────────────────────────────────────────────────

    /// @dev With a challenge open, the window has not passed for anybody: what is revealed to one helps all.
    function _requireOpen(uint256 roundId, Valuation calldata valuation) private view returns (Case storage case_) {
        case_ = _requireValuation(roundId, valuation);
        bool passed = block.timestamp >= case_.until && case_.challenges == 0;
        if (passed) revert WindowPassed(roundId, case_.until);
    }

    function _requireValuation(
        uint256 roundId,
        Valuation calldata valuation
    ) private view returns (Case storage case_) {
        case_ = _requirePublished(roundId);
        if (ValuationTables.root(valuation) != case_.root) revert ValuationMismatch(roundId);
    }

    function _tree(
        uint256 roundId,
        Valuation calldata valuation,
        Part part,
        uint256 number
    ) private view returns (Tree memory tree) {
        if (part == Part.Data) {
            Place memory place = DATA.placeOf(roundId, number);
            tree.root = DATA.contributionOf(roundId, place.index).digest;
            tree.count = place.rows; // 0: there is no such contribution
        } else {
            if (number != 0) return tree;
            if (part == Part.Order && valuation.n != 0) {
                (tree.root, tree.count, tree.width) = (valuation.order, valuation.T, valuation.n);
            } else if (part == Part.Sums) {
                (tree.root, tree.count, tree.width) = (valuation.sums, valuation.N, valuation.T);
            } else if (part == Part.Rows) {
                (tree.root, tree.count, tree.width) = (valuation.rows, 1, valuation.N);
            } else if (part == Part.Test) {
                (tree.root, tree.count) = (DATA.roundOf(roundId).test, valuation.T);
            }
        }
        if (tree.count == 0) return tree;
        tree.depth = Program.log(tree.count);
        if (tree.width != 0) tree.depth += ValuationTables.logLeaves(tree.width);
        else tree.rowBytes = uint256(DATA.roundOf(roundId).features) + 2;
    }

    /// @dev Logical bytes of leaf `index`; 0 when it is absent.
    function _leafBytes(Tree memory tree, uint256 index) private pure returns (uint256) {
        if (tree.width == 0) return index < tree.count ? tree.rowBytes : 0;
        uint256 levels = ValuationTables.logLeaves(tree.width);
        if (index >> levels >= tree.count) return 0;
        return ValuationTables.leafBytes(tree.width, index & ((1 << levels) - 1));
    }

    function _demanded(
        uint256 roundId,
        Valuation calldata valuation,
        address challenger
    ) private view returns (Demands storage game, Tree memory tree) {
        game = _demands[roundId][_requireValuation(roundId, valuation).attempt][challenger];
        _requireTurn(roundId, game, challenger, Mover.Valuator);
        tree = _tree(roundId, valuation, game.part, game.number);
    }

    function _answer(
        uint256 roundId,
        address challenger,
        Demands storage game,
        Tree memory tree,
        bytes32 node,
        bytes32[] calldata path
    ) private {
        bool shown = path.length == game.level && Merkle.climb(node, game.index, path) == tree.root;
        if (!shown) revert TableOpeningInvalid(roundId, challenger);
        game.valuatorClock = _spend(game.valuatorClock, game.deadline);
        game.deadline = _deadline(game.challengerClock);
        game.turn = Mover.Challenger;
    }

    // ── Turns ───────────────────────────────────────────────────────────────────────────────────

    function _requireTurn(uint256 roundId, Demands memory game, address challenger, Mover turn) private view {
        if (game.turn != turn) revert DemandTurnInvalid(roundId, challenger, game.turn);
        if (block.timestamp >= game.deadline) revert DemandTurnOver(roundId, game.deadline);
    }

    function _requireOver(uint256 roundId, Demands memory game, address challenger, Mover turn) private view {
        if (game.turn != turn) revert DemandTurnInvalid(roundId, challenger, game.turn);
        if (block.timestamp < game.deadline) revert DemandTurnOpen(roundId, game.deadline);
    }

    function _deadline(uint256 left) private view returns (uint40) {
        return uint40(block.timestamp + Clock.turn(left, MIN_REPLY));
    }

    function _spend(uint256 left, uint256 deadline) private view returns (uint32) {
        return uint32(Clock.spend(left, MIN_REPLY, deadline, block.timestamp));
    }
}
