// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {
    Contribution,
    DataConfig,
    Endorsement,
    IDataRounds,
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

/// @title Contributions of data, who vouches for them, and what becomes of both.
/// @dev Rounds are in base/Rounds.sol, credits and money in base/Credits.sol.
contract DataCredits is Rounds, EIP712 {
    uint256 private constant BPS = 10_000;
    uint256 private constant MAX_ENDORSER_BPS = 5_000;
    bytes32 private constant SUBMISSION_TYPEHASH = keccak256(
        "Submission(address owner,uint256 roundId,bytes32 commitment,uint256 endorserBps,uint256 nonce,uint256 deadline)"
    );

    /// @inheritdoc IDataRounds
    mapping(uint256 modelId => bytes32) public headOf;
    /// @dev roundId << 16 | index of the contribution that brought a data set.
    mapping(uint256 modelId => mapping(bytes32 dataRoot => uint256)) private _known;
    mapping(uint256 roundId => mapping(uint256 index => mapping(address endorser => Endorsement)))
        private _endorsements;

    constructor(DataConfig memory config_) Rounds(config_) EIP712("Tallystick", "1") {}

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
        if (block.timestamp > deadline) revert AuthorizationExpired(deadline);
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
        _makeKnown(round, dataRoot, roundId, index);
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

    /// @dev The first committed has the data set. One that was excluded, or whose round is void, may come again.
    function _makeKnown(Round storage round, bytes32 dataRoot, uint256 roundId, uint256 index) private {
        uint256 modelId = round.modelId;
        uint256 known = _known[modelId][dataRoot];
        _known[modelId][dataRoot] = (roundId << 16) | index;
        if (known == 0) return;
        (uint256 thatRound, uint256 that) = (known >> 16, uint16(known));
        Contribution storage twin = _contributions[thatRound][that];
        if (twin.status == Status.Excluded || _rounds[thatRound].stage == Stage.Void) return;
        if (thatRound != roundId || that < index) revert DataSetKnown(dataRoot, thatRound, that);
        (twin.status, twin.rows) = (Status.Displaced, 0);
        round.revealed -= 1;
        emit ContributionDisplaced(roundId, that, index);
    }

    /// @inheritdoc IDataRounds
    function endorse(uint256 roundId, uint256 index, uint256 amount) external {
        Round storage round = _requireStage(roundId, Stage.Collecting);
        _requireBetween(roundId, round.submitUntil, round.revealUntil);
        Contribution storage contribution = _requireStatus(roundId, index, Status.Revealed);
        uint256 modelId = round.modelId;
        if (contribution.owner == msg.sender) revert EndorsementInvalid(roundId, index, msg.sender);
        if (amount == 0) revert AmountZero();
        if (tierOf(modelId, msg.sender) == 0) revert TierMissing(modelId, msg.sender);
        Endorsement storage endorsement = _endorsements[roundId][index][msg.sender];
        if (endorsement.amount != 0) revert EndorsementExists(roundId, index, msg.sender);
        _take(modelId, msg.sender, amount);
        endorsement.amount = uint96(amount);
        endorsement.perCredit = _perCredit(modelId);
        _endorsed[roundId][index] += amount;
        round.endorsed = true;
        emit Endorsed(roundId, index, msg.sender, amount);
    }

    // ── What it brought ─────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IDataRounds
    function credit(uint256 roundId, uint256 number_, uint256 value, bytes32[] calldata path) external nonReentrant {
        (uint256 index, uint256 credits) = _requireValue(roundId, number_, value, path);
        Contribution storage contribution = _requireStatus(roundId, index, Status.Revealed);
        (address owner, uint256 deposit) = (contribution.owner, contribution.deposit);
        contribution.status = Status.Closed;
        if (credits == 0) {
            _forfeit(roundId, index, owner, deposit);
            return;
        }
        Round storage round = _rounds[roundId];
        uint256 modelId = round.modelId;
        uint256 own = credits - _endorsersShare(roundId, index, credits);
        Standing storage standing = _standings[modelId][owner];
        standing.earned += uint96(own);
        standing.kept += 1;
        _grant(modelId, owner, own, round.perCredit);
        _creditBalance(owner, deposit);
        emit CreditGranted(roundId, number_, owner, value, own, deposit);
    }

    /// @inheritdoc IDataRounds
    function forfeit(uint256 roundId, uint256 index) external nonReentrant {
        Contribution storage contribution = _contributions[roundId][index];
        Status status = contribution.status;
        if (status != Status.Displaced) _requireStatus(roundId, index, Status.Committed);
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

    /// @inheritdoc IDataRounds
    function settleEndorsement(
        uint256 roundId,
        uint256 number_,
        address endorser,
        uint256 value,
        bytes32[] calldata path
    ) external {
        (uint256 index, uint256 credits) = _requireValue(roundId, number_, value, path);
        Endorsement memory endorsement = _endEndorsement(roundId, index, endorser);
        uint256 modelId = _rounds[roundId].modelId;
        uint256 since = _rounds[roundId].perCredit;
        // Staked credit earned until the round was settled; what is not lost, and the reward, from then on.
        _owe(modelId, endorser, endorsement.amount, endorsement.perCredit, since);
        if (credits == 0) {
            _lose(modelId, endorser, endorsement.amount);
            emit EndorsementSettled(roundId, index, endorser, 0, 0);
            return;
        }
        uint256 reward = _endorsersShare(roundId, index, credits);
        reward = (reward * endorsement.amount) / _endorsed[roundId][index];
        _standings[modelId][endorser].earned += uint96(reward);
        _grant(modelId, endorser, endorsement.amount + reward, since);
        emit EndorsementSettled(roundId, index, endorser, endorsement.amount, reward);
    }

    /// @inheritdoc IDataRounds
    function returnEndorsement(uint256 roundId, uint256 index, address endorser) external {
        Round storage round = _rounds[roundId];
        Contribution storage contribution = _contributions[roundId][index];
        bool valued = round.stage != Stage.Void && contribution.rows != 0;
        if (valued) revert StatusInvalid(roundId, index, contribution.status);
        Endorsement memory endorsement = _endEndorsement(roundId, index, endorser);
        _grant(round.modelId, endorser, endorsement.amount, endorsement.perCredit);
        emit EndorsementSettled(roundId, index, endorser, endorsement.amount, 0);
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
    function endorsementOf(
        uint256 roundId,
        uint256 index,
        address endorser
    ) external view returns (Endorsement memory) {
        return _endorsements[roundId][index][endorser];
    }

    /// @inheritdoc IDataRounds
    function endorsedOf(uint256 roundId, uint256 index) external view returns (uint256) {
        return _endorsed[roundId][index];
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
        return
            _hashTypedDataV4(
                keccak256(abi.encode(SUBMISSION_TYPEHASH, owner, roundId, commitment, endorserBps, nonce, deadline))
            );
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    /// @return index Of the contribution with this number.
    /// @return credits That it gets by the settled valuation.
    function _requireValue(
        uint256 roundId,
        uint256 number_,
        uint256 value,
        bytes32[] calldata path
    ) private view returns (uint256 index, uint256 credits) {
        Round storage round = _requireStage(roundId, Stage.Settled);
        uint256 count = round.numbered;
        bool shown = number_ < count && value <= type(uint64).max && path.length == Program.log(count);
        if (shown) {
            bytes32 leaf = ValuationTables.valueLeaf(number_, value);
            shown = Merkle.climb(leaf, number_, path) == round.valuesRoot;
        }
        if (!shown) revert ValueInvalid(roundId, number_);
        return (_places[roundId][number_].index, value / round.testRows);
    }

    /// @dev At most what they staked: who stakes little gains little.
    function _endorsersShare(uint256 roundId, uint256 index, uint256 credits) private view returns (uint256 share) {
        share = (credits * _contributions[roundId][index].endorserBps) / BPS;
        uint256 staked = _endorsed[roundId][index];
        if (staked < share) share = staked;
    }

    function _endEndorsement(
        uint256 roundId,
        uint256 index,
        address endorser
    ) private returns (Endorsement memory endorsement) {
        endorsement = _endorsements[roundId][index][endorser];
        if (endorsement.amount == 0) revert EndorsementMissing(roundId, index, endorser);
        delete _endorsements[roundId][index][endorser];
    }

    function _lose(uint256 modelId, address endorser, uint256 amount) private {
        Standing storage standing = _standings[modelId][endorser];
        standing.earned -= uint96(standing.earned < amount ? standing.earned : amount);
        standing.forfeited += 1;
    }

    function _forfeit(uint256 roundId, uint256 index, address owner, uint256 deposit) private {
        _standings[_rounds[roundId].modelId][owner].forfeited += 1;
        emit DepositForfeited(roundId, index, owner, deposit);
        _burn(deposit);
    }
}
