// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {
    Contribution,
    DataConfig,
    IDataRounds,
    Return,
    Round,
    Stage,
    Standing,
    Status
} from "./interfaces/IDataRounds.sol";
import {Rounds} from "./base/Rounds.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Program} from "./libraries/Program.sol";
import {Tiers} from "./libraries/Tiers.sol";
import {ValuationTables} from "./libraries/ValuationTables.sol";

/// @title Contributions of data, and what becomes of them.
/// @dev Rounds are in base/Rounds.sol, money in base/Deposits.sol, demands of rows in RowDemands.sol.
contract DataRounds is Rounds {
    uint256 private constant MAX_ENDORSER_BPS = 5_000;
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant SUBMISSION_TYPEHASH = keccak256(
        "Submission(address owner,uint256 roundId,bytes32 commitment,uint256 endorserBps,uint256 nonce,uint256 deadline)"
    );

    /// @inheritdoc IDataRounds
    mapping(uint256 modelId => bytes32) public headOf;
    /// @dev roundId << 16 | index of the contribution that was committed to first: its owner has the data set.
    mapping(bytes32 dataRoot => uint256) private _firstOf;
    /// @dev The same of the contribution that brought it to this model last.
    mapping(uint256 modelId => mapping(bytes32 dataRoot => uint256)) private _lastOf;

    constructor(DataConfig memory config_) Rounds(config_) {}

    // ── Contribute ──────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function submit(uint256 roundId, bytes32 commitment, uint256 endorserBps) external returns (uint256 index) {
        return _submit(msg.sender, roundId, commitment, endorserBps, 0);
    }

    /// @inheritdoc IDataRounds
    function submitFor(
        address owner,
        uint256 roundId,
        bytes32 commitment,
        uint256 endorserBps,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 index) {
        if (block.timestamp >= deadline) revert AuthorizationExpired(deadline);
        uint256 nonce = _standings[_rounds[roundId].modelId][owner].nonce;
        bytes32 digest = submissionHash(owner, roundId, commitment, endorserBps, nonce, deadline);
        if (!SignatureChecker.isValidSignatureNowCalldata(owner, digest, signature)) revert SignatureInvalid(owner);
        return _submit(owner, roundId, commitment, endorserBps, 1);
    }

    function _submit(
        address owner,
        uint256 roundId,
        bytes32 commitment,
        uint256 endorserBps,
        uint256 signed
    ) private nonReentrant returns (uint256 index) {
        Round storage round = _requireStage(roundId, Stage.Collecting);
        _requireBetween(roundId, 0, round.submitUntil);
        if (commitment == 0) revert CommitmentZero();
        if (endorserBps > MAX_ENDORSER_BPS) revert EndorserShareInvalid(endorserBps, MAX_ENDORSER_BPS);
        index = round.contributions;
        if (index == round.maxContributions) revert ContributionsFull(roundId, index);
        uint256 modelId = round.modelId;
        uint256 deposit = _enter(modelId, roundId, owner, signed);
        round.contributions = uint16(index + 1);
        _contributions[roundId][index] = Contribution({
            digest: commitment,
            owner: owner,
            deposit: uint48(deposit),
            endorserBps: uint16(endorserBps),
            rows: 0,
            status: Status.Committed
        });
        bytes32 previous = headOf[modelId];
        bytes32 record = keccak256(
            abi.encode(previous, roundId, index, owner, commitment, endorserBps, deposit, block.timestamp)
        );
        headOf[modelId] = record;
        emit ContributionSubmitted(
            roundId,
            index,
            owner,
            msg.sender,
            commitment,
            endorserBps,
            deposit,
            previous,
            record
        );
        _receive(deposit + FEE);
    }

    /// @dev Counts a contribution of this account to this round.
    function _enter(uint256 modelId, uint256 roundId, address owner, uint256 signed) private returns (uint256 deposit) {
        Standing memory standing = _standings[modelId][owner];
        uint256 tier = Tiers.tierOf(standing);
        if (standing.roundId != roundId) (standing.roundId, standing.submissions) = (uint40(roundId), 0);
        uint256 cap = Tiers.cap(tier);
        if (standing.submissions == cap) revert SubmissionsExhausted(roundId, owner, cap);
        standing.submissions += 1;
        standing.nonce += uint40(signed);
        _standings[modelId][owner] = standing;
        return Tiers.deposit(tier, DEPOSIT);
    }

    /// @inheritdoc IDataRounds
    function reveal(
        uint256 roundId,
        uint256 index,
        bytes32 dataRoot,
        uint256 rows,
        bytes32 salt,
        bytes32 cid,
        bytes32 envelope
    ) external {
        Round storage round = _requireStage(roundId, Stage.Collecting);
        _requireBetween(roundId, round.submitUntil, round.revealUntil);
        Contribution storage contribution = _requireStatus(roundId, index, Status.Committed);
        address owner = contribution.owner;
        bytes32 commitment = keccak256(abi.encode(roundId, owner, salt, dataRoot, rows));
        if (commitment != contribution.digest) revert SubmissionMismatch(roundId, index);
        if (dataRoot == 0) revert DataRootZero();
        if (rows == 0 || rows > round.maxRows) revert RowsInvalid(rows, round.maxRows);
        _makeKnown(round, dataRoot, roundId, index, owner);
        contribution.digest = dataRoot;
        contribution.rows = uint24(rows);
        contribution.status = Status.Revealed;
        round.revealed += 1;
        bytes32 previous = headOf[round.modelId];
        bytes32 record = keccak256(
            abi.encode(previous, roundId, index, owner, dataRoot, rows, cid, envelope, block.timestamp)
        );
        headOf[round.modelId] = record;
        emit ContributionRevealed(roundId, index, owner, dataRoot, rows, cid, envelope, previous, record);
    }

    /// @dev Who committed first has the data set, at every model and for ever; excluding it frees it for nobody. Its
    /// owner may bring it again where it was not valued.
    function _makeKnown(Round storage round, bytes32 dataRoot, uint256 roundId, uint256 index, address owner) private {
        uint256 modelId = round.modelId;
        uint256 here = (roundId << 16) | index;
        uint256 first = _firstOf[dataRoot];
        uint256 last = _lastOf[modelId][dataRoot];
        _lastOf[modelId][dataRoot] = here;
        if (first == 0) {
            _firstOf[dataRoot] = here;
            return;
        }
        (uint256 thatRound, uint256 that) = (first >> 16, uint16(first));
        Contribution storage twin = _contributions[thatRound][that];
        if (twin.owner == owner) {
            if (last != 0) _requireUnvalued(dataRoot, last >> 16, uint16(last));
            emit ContributionReturned(roundId, index, thatRound, that);
            _insert(round, roundId, index, first);
            return;
        }
        if (thatRound != roundId || that < index) revert DataSetKnown(dataRoot, thatRound, that);
        _firstOf[dataRoot] = here;
        (twin.status, twin.rows) = (Status.Displaced, 0);
        round.revealed -= 1;
        emit ContributionDisplaced(roundId, that, index);
    }

    /// @dev What was left out has no rows any more, whatever became of its deposit.
    function _requireUnvalued(bytes32 dataRoot, uint256 roundId, uint256 index) private view {
        bool unvalued = _contributions[roundId][index].rows == 0 || _rounds[roundId].stage == Stage.Void;
        if (!unvalued) revert DataSetKnown(dataRoot, roundId, index);
    }

    /// @dev Keeps those that were brought before in the order of their first commitments: rows that an exclusion or
    /// a void round made public stand before every copy. Old ones, which copies would want to crowd out, are cheap.
    function _insert(Round storage round, uint256 roundId, uint256 index, uint256 first) private {
        mapping(uint256 index => Return) storage list = _returns[roundId];
        uint256 before;
        uint256 next = round.returning;
        while (next != 0 && list[next - 1].first < first) (before, next) = (next, list[next - 1].next);
        list[index] = Return(uint56(first), uint16(next));
        if (before == 0) round.returning = uint16(index + 1);
        else list[before - 1].next = uint16(index + 1);
    }

    // ── What it brought ─────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function credit(uint256 roundId, uint256 number_, uint256 value, bytes32[] calldata path) external nonReentrant {
        (uint256 index, uint256 credits, bool worthless) = creditOf(roundId, number_, value, path);
        Contribution storage contribution = _requireStatus(roundId, index, Status.Revealed);
        (address owner, uint256 deposit) = (contribution.owner, contribution.deposit);
        contribution.status = Status.Closed;
        if (worthless) {
            _forfeit(roundId, index, owner, deposit);
            return;
        }
        uint256 modelId = _rounds[roundId].modelId;
        uint256 own = CREDITS.grant(modelId, roundId, index, owner, credits, contribution.endorserBps);
        Standing storage standing = _standings[modelId][owner];
        standing.earned += uint96(own);
        standing.kept += 1;
        _creditBalance(owner, deposit);
        emit CreditGranted(roundId, number_, owner, value, own, deposit);
    }

    /// @inheritdoc IDataRounds
    function forfeit(uint256 roundId, uint256 index) external nonReentrant {
        Contribution storage contribution = _contributions[roundId][index];
        Status status = contribution.status;
        bool lost = status == Status.Displaced || status == Status.Unserved;
        if (!lost) _requireStatus(roundId, index, Status.Committed);
        _requireBetween(roundId, _rounds[roundId].revealUntil, type(uint256).max);
        contribution.status = Status.Closed;
        _forfeit(roundId, index, contribution.owner, contribution.deposit);
    }

    /// @inheritdoc IDataRounds
    function refund(uint256 roundId, uint256 index) external {
        Contribution storage contribution = _contributions[roundId][index];
        uint256 amount = contribution.deposit;
        if (contribution.status != Status.Excluded) {
            Round storage round = _requireStage(roundId, Stage.Void);
            _requireStatus(roundId, index, Status.Revealed);
            amount += FEE + _compensation(round);
        }
        contribution.status = Status.Closed;
        _creditBalance(contribution.owner, amount);
        emit DepositRefunded(roundId, index, contribution.owner, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function contributionOf(uint256 roundId, uint256 index) external view returns (Contribution memory) {
        return _contributions[roundId][index];
    }

    /// @inheritdoc IDataRounds
    function standingOf(uint256 modelId, address account) external view returns (Standing memory) {
        return _standings[modelId][account];
    }

    /// @inheritdoc IDataRounds
    function tierOf(uint256 modelId, address account) public view returns (uint256) {
        return Tiers.tierOf(_standings[modelId][account]);
    }

    /// @inheritdoc IDataRounds
    function requirementsOf(uint256 modelId, address account) external view returns (uint256 deposit, uint256 cap) {
        uint256 tier = tierOf(modelId, account);
        return (Tiers.deposit(tier, DEPOSIT), Tiers.cap(tier));
    }

    /// @inheritdoc IDataRounds
    function creditOf(
        uint256 roundId,
        uint256 number_,
        uint256 value,
        bytes32[] calldata path
    ) public view returns (uint256 contribution, uint256 credits, bool worthless) {
        Round storage round = _requireStage(roundId, Stage.Settled);
        uint256 count = round.numbered;
        bool shown = number_ < count && value <= type(uint64).max && path.length == Program.log(count);
        if (shown) {
            bytes32 leaf = ValuationTables.valueLeaf(number_, value);
            shown = Merkle.climb(leaf, number_, path) == round.valuesRoot;
        }
        if (!shown) revert ValueInvalid(roundId, number_);
        worthless = _isWorthless(round, value);
        contribution = _places[roundId][number_].index;
        if (!worthless) credits = (value * round.minted) / round.valued;
    }

    /// @inheritdoc IDataRounds
    function submissionHash(
        address owner,
        uint256 roundId,
        bytes32 commitment,
        uint256 endorserBps,
        uint256 nonce,
        uint256 deadline
    ) public view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Tallystick"), keccak256("1"), block.chainid, address(this))
        );
        return
            MessageHashUtils.toTypedDataHash(
                domain,
                keccak256(abi.encode(SUBMISSION_TYPEHASH, owner, roundId, commitment, endorserBps, nonce, deadline))
            );
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _forfeit(uint256 roundId, uint256 index, address owner, uint256 deposit) private {
        _standings[_rounds[roundId].modelId][owner].forfeited += 1;
        emit DepositForfeited(roundId, index, owner, deposit);
        _burn(deposit);
    }
}
