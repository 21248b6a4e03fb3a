// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Ballot, CommitteeConfig, Dispute, Fault, Finding, ICommittee, Stage} from "./interfaces/ICommittee.sol";
import {Delivery, IInferenceMarket, Request, Verdict} from "./interfaces/IInferenceMarket.sol";
import {Seats} from "./base/Seats.sol";
import {Ballots} from "./libraries/Ballots.sol";
import {RequestFields} from "./libraries/RequestFields.sol";
import {RequestState} from "./libraries/RequestState.sol";
import {Sortition} from "./libraries/Sortition.sol";

/// @title Decides disputes about answers of float models by a vote of members drawn at random.
/// @dev Disputes and votes; seats, stakes and books are in base/Seats.sol.
contract Committee is Seats {
    using Ballots for Ballots.Result;
    using RequestFields for Request;
    using SafeCast for uint256;

    /// @dev Gas of a round of nine voters, its draw and its tally; half of a lost bond pays for it.
    uint256 private constant VOTING_GAS = 2_000_000;
    /// @dev Blocks whose hashes the history contract serves (EIP-2935).
    uint256 private constant HISTORY_BLOCKS = 8_191;
    uint256 private constant GENERAL = 0;
    uint256 private constant MINORITY_PART = 4; // of the penalty
    uint256 private constant REPORTER_PART = 5; // of the penalty
    uint256 private constant MIN_SEATS = 3; // of stake that a pool needs: what a quorum has at the least

    mapping(bytes32 requestId => Dispute) private _disputes;
    mapping(bytes32 requestId => mapping(address account => bool)) private _excluded;
    mapping(bytes32 requestId => mapping(uint256 round => address[])) private _voters;
    mapping(bytes32 requestId => mapping(uint256 round => mapping(address member => Ballot))) private _ballots;

    constructor(CommitteeConfig memory config_) Seats(config_) {}

    // ── Challenge and draw ──────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function challenge(Request calldata request, Delivery calldata delivery) external payable {
        if (msg.value < bondNeeded()) revert BondTooLow(msg.value, bondNeeded());
        bytes32 requestId = RequestState.idAt(address(MARKET), request);
        Dispute storage dispute = _disputes[requestId];
        if (dispute.stage != Stage.None) revert DisputeExists(requestId);
        dispute.runtimeClass = _classFor(request, delivery.deliveredAt);
        dispute.challengedAt = uint40(block.timestamp);
        dispute.eligible = _exclude(requestId, dispute, request, delivery.operator).toUint96();
        dispute.stage = Stage.Challenged;
        dispute.seedBlock = (block.number + SEED_DELAY).toUint64();
        dispute.challenger = msg.sender;
        dispute.bond = msg.value.toUint96();
        emit CommitteeCalled(
            requestId,
            msg.sender,
            dispute.runtimeClass,
            dispute.eligible,
            dispute.seedBlock,
            block.timestamp + DRAW_PERIOD,
            msg.value
        );
        MARKET.openDispute(request, delivery);
    }

    /// @inheritdoc ICommittee
    function draw(bytes32 requestId) external {
        Dispute storage dispute = _requireStage(requestId, Stage.Challenged);
        if (_isDrawMissed(dispute)) revert DrawOver(requestId, _drawUntil(dispute));
        bytes32 seed = Blockhash.blockHash(dispute.seedBlock);
        if (seed == 0) revert SeedPending(requestId, dispute.seedBlock);
        dispute.stage = Stage.Voting;
        dispute.seed = seed;
        emit Drawn(requestId, seed);
        _startRound(requestId, dispute, 0);
    }

    /// @inheritdoc ICommittee
    function lapse(Request calldata request, Delivery calldata delivery) external {
        bytes32 requestId = _requireDelivered(request, delivery);
        Dispute storage dispute = _requireStage(requestId, Stage.Challenged);
        if (!_isDrawMissed(dispute)) revert DrawOpen(requestId, _drawUntil(dispute));
        dispute.stage = Stage.Closed;
        uint256 toOperator = dispute.bond / 2;
        uint256 burned = dispute.bond - toOperator;
        _creditBond(delivery.operator, toOperator);
        _creditBond(BURN_ADDRESS, burned);
        emit DrawMissed(requestId, dispute.challenger, toOperator, burned);
        MARKET.closeDispute(request, delivery);
    }

    // ── Vote ────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function commit(bytes32 requestId, bytes32 commitment) external {
        Dispute storage dispute = _requireStage(requestId, Stage.Voting);
        if (block.timestamp >= dispute.commitUntil) revert CommitOver(requestId, dispute.commitUntil);
        if (commitment == 0) revert CommitmentZero();
        if (_excluded[requestId][msg.sender]) revert MemberExcluded(requestId, msg.sender);
        uint256 round = dispute.round;
        if (!isDrawn(requestId, round, msg.sender)) revert MemberNotDrawn(requestId, round, msg.sender);
        Ballot storage ballot = _ballots[requestId][round][msg.sender];
        if (ballot.commitment != 0) revert CommitmentExists(requestId, msg.sender);
        _takePlace(requestId, dispute.seed, round);
        ballot.commitment = commitment;
        emit VoteCommitted(requestId, msg.sender, round, commitment);
    }

    /// @inheritdoc ICommittee
    function reveal(
        bytes32 requestId,
        Finding finding,
        bytes32 outputDigest,
        int128 activation,
        bytes32 salt
    ) external {
        Dispute storage dispute = _requireStage(requestId, Stage.Voting);
        if (block.timestamp < dispute.commitUntil) revert RevealNotOpen(requestId, dispute.commitUntil);
        if (block.timestamp >= dispute.revealUntil) revert RevealOver(requestId, dispute.revealUntil);
        if (finding == Finding.None) revert FindingInvalid(finding);
        uint256 round = dispute.round;
        Ballot storage ballot = _ballots[requestId][round][msg.sender];
        if (ballot.commitment == 0) revert CommitmentMissing(requestId, msg.sender);
        if (ballot.finding != Finding.None) revert VoteRevealedAlready(requestId, msg.sender);
        bytes32 commitment = commitmentOf(requestId, round, msg.sender, finding, outputDigest, activation, salt);
        if (commitment != ballot.commitment) revert CommitmentMismatch(requestId, msg.sender);
        ballot.finding = finding;
        ballot.activation = activation;
        emit VoteRevealed(requestId, msg.sender, round, finding, outputDigest, activation);
    }

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function tally(Request calldata request, Delivery calldata delivery) external nonReentrant {
        bytes32 requestId = _requireDelivered(request, delivery);
        Dispute storage dispute = _requireStage(requestId, Stage.Voting);
        if (block.timestamp < dispute.revealUntil) revert RoundOpen(requestId, dispute.revealUntil);
        uint256 round = dispute.round;
        address[] memory voters = _voters[requestId][round];
        Ballot[] memory ballots = _ballotsOf(requestId, round, voters);
        Ballots.Result memory result = Ballots.count(ballots, request.terms.tolerance());
        dispute.tallied = uint8(round + 1);
        emit RoundTallied(requestId, round, result.finding, result.valid, result.median);
        uint256 burned = _punish(requestId, round, voters, ballots, result);
        if (result.finding != Finding.None) {
            dispute.finding = result.finding;
            _decide(requestId, request, delivery, voters, ballots, result);
        } else if (_fitsAnotherRound(dispute)) {
            _startRound(requestId, dispute, round + 1);
        } else {
            _close(requestId, dispute, dispute.bond);
            MARKET.annul(request, delivery);
        }
        _burn(burned);
    }

    /// @inheritdoc ICommittee
    function reportSilence(bytes32 requestId, uint256 round, address member) external nonReentrant {
        Dispute storage dispute = _disputes[requestId];
        if (round >= dispute.tallied) revert RoundNotTallied(requestId, round);
        if (_excluded[requestId][member]) revert MemberExcluded(requestId, member);
        if (!isDrawn(requestId, round, member)) revert MemberNotDrawn(requestId, round, member);
        Ballot storage ballot = _ballots[requestId][round][member];
        (bool full, uint256 highest, ) = _places(requestId, dispute.seed, round);
        bool crowdedOut = full && Sortition.rank(dispute.seed, requestId, round, member) > highest;
        if (ballot.commitment != 0 || ballot.reported || crowdedOut) revert MemberNotSilent(requestId, round, member);
        ballot.reported = true;
        uint256 taken = _slash(dispute.runtimeClass, member, PENALTY);
        uint256 reward = taken / REPORTER_PART;
        _creditReward(msg.sender, reward);
        emit VoterPunished(requestId, member, round, Fault.Silence, taken);
        _burn(taken - reward);
    }

    /// @inheritdoc ICommittee
    function releaseBond(bytes32 requestId) external {
        Dispute storage dispute = _disputes[requestId];
        Stage stage = dispute.stage;
        if (stage != Stage.Challenged && stage != Stage.Voting) revert StageInvalid(requestId, stage);
        // The market counts this dispute until a verdict or annulment ends the request for ever.
        if (MARKET.openDisputesOf(requestId) != 0) revert RequestLive(requestId);
        _close(requestId, dispute, dispute.bond);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function bondNeeded() public view returns (uint256) {
        return BOND + 2 * VOTING_GAS * block.basefee;
    }

    /// @inheritdoc ICommittee
    function disputeOf(bytes32 requestId) external view returns (Dispute memory) {
        return _disputes[requestId];
    }

    /// @inheritdoc ICommittee
    function drawUntil(bytes32 requestId) external view returns (uint256) {
        return _drawUntil(_disputes[requestId]);
    }

    /// @inheritdoc ICommittee
    function ballotOf(bytes32 requestId, uint256 round, address member) external view returns (Ballot memory) {
        return _ballots[requestId][round][member];
    }

    /// @inheritdoc ICommittee
    function votersOf(bytes32 requestId, uint256 round) external view returns (address[] memory) {
        return _voters[requestId][round];
    }

    /// @inheritdoc ICommittee
    function isExcluded(bytes32 requestId, address member) external view returns (bool) {
        return _excluded[requestId][member];
    }

    /// @inheritdoc ICommittee
    function isDrawn(bytes32 requestId, uint256 round, address member) public view returns (bool) {
        Dispute storage dispute = _disputes[requestId];
        if (dispute.seed == 0 || round >= ROUNDS || _excluded[requestId][member]) return false;
        uint256 weight = weightAt(dispute.runtimeClass, member, dispute.challengedAt - SEASONING);
        uint256 rank = Sortition.rank(dispute.seed, requestId, round, member);
        return Sortition.drawn(rank, round, weight, dispute.eligible);
    }

    /// @inheritdoc ICommittee
    function activationSeed(bytes32 requestId, uint256 round) external view returns (bytes32) {
        return keccak256(abi.encode(_disputes[requestId].seed, requestId, round));
    }

    /// @inheritdoc ICommittee
    function commitmentOf(
        bytes32 requestId,
        uint256 round,
        address member,
        Finding finding,
        bytes32 outputDigest,
        int128 activation,
        bytes32 salt
    ) public pure returns (bytes32) {
        return keccak256(abi.encode(requestId, round, member, finding, outputDigest, activation, salt));
    }

    // ── Inside: before the vote ─────────────────────────────────────────────────────────────────

    function _classFor(Request calldata request, uint256 deliveredAt) private view returns (bytes32) {
        (bytes32 runtimeClass, uint256 declaredAt) = runtimeClassOf(request.modelId(), request.version());
        if (declaredAt == 0 || declaredAt >= deliveredAt) return bytes32(GENERAL);
        uint256 time = block.timestamp - SEASONING;
        return poolAt(runtimeClass, time) < poolAt(bytes32(GENERAL), time) ? bytes32(GENERAL) : runtimeClass;
    }

    /// @return eligible What is left of the class's stake without those who have an interest.
    function _exclude(
        bytes32 requestId,
        Dispute storage dispute,
        Request calldata request,
        address operator
    ) private returns (uint256 eligible) {
        (bytes32 runtimeClass, uint256 time) = (dispute.runtimeClass, dispute.challengedAt - SEASONING);
        eligible = poolAt(runtimeClass, time);
        address[4] memory parties = [REGISTRY.ownerOf(request.modelId()), operator, request.requester(), msg.sender];
        for (uint256 i; i < parties.length; ++i) {
            if (_excluded[requestId][parties[i]]) continue;
            _excluded[requestId][parties[i]] = true;
            eligible -= weightAt(runtimeClass, parties[i], time);
        }
        uint256 needed = MIN_SEATS * MIN_STAKE;
        if (eligible < needed) revert PoolTooSmall(runtimeClass, eligible, needed);
    }

    function _startRound(bytes32 requestId, Dispute storage dispute, uint256 round) private {
        uint256 commitUntil = block.timestamp + COMMIT_PERIOD;
        dispute.round = uint8(round);
        dispute.commitUntil = uint40(commitUntil);
        dispute.revealUntil = uint40(commitUntil + REVEAL_PERIOD);
        emit RoundStarted(requestId, round, commitUntil, commitUntil + REVEAL_PERIOD);
    }

    /// @dev Later rounds than the longest dispute has would find members that may have left.
    function _fitsAnotherRound(Dispute storage dispute) private view returns (bool) {
        uint256 end = block.timestamp + COMMIT_PERIOD + REVEAL_PERIOD;
        return dispute.tallied < ROUNDS && end <= dispute.challengedAt + longestDispute();
    }

    /// @dev Adds the caller to the voters; of twelve others the highest hash makes room, or nobody does.
    function _takePlace(bytes32 requestId, bytes32 seed, uint256 round) private {
        (bool full, uint256 highest, uint256 at) = _places(requestId, seed, round);
        if (!full) {
            _voters[requestId][round].push(msg.sender);
            return;
        }
        if (Sortition.rank(seed, requestId, round, msg.sender) > highest) revert RoundFull(requestId, round);
        address evicted = _voters[requestId][round][at];
        delete _ballots[requestId][round][evicted];
        _voters[requestId][round][at] = msg.sender;
        emit VoteEvicted(requestId, evicted, round);
    }

    /// @return full Whether twelve committed.
    /// @return highest Of their hashes, and `at` its place; 0 while there are places.
    function _places(
        bytes32 requestId,
        bytes32 seed,
        uint256 round
    ) private view returns (bool full, uint256 highest, uint256 at) {
        address[] storage voters = _voters[requestId][round];
        if (voters.length < Ballots.MAX_VOTES) return (false, 0, 0);
        for (uint256 i; i < Ballots.MAX_VOTES; ++i) {
            uint256 rank = Sortition.rank(seed, requestId, round, voters[i]);
            if (rank > highest) (highest, at) = (rank, i);
        }
        full = true;
    }

    function _drawUntil(Dispute storage dispute) private view returns (uint256) {
        return dispute.challengedAt + DRAW_PERIOD;
    }

    function _isDrawMissed(Dispute storage dispute) private view returns (bool) {
        return block.timestamp >= _drawUntil(dispute) || block.number > dispute.seedBlock + HISTORY_BLOCKS;
    }

    // ── Inside: after the vote ──────────────────────────────────────────────────────────────────

    function _ballotsOf(
        bytes32 requestId,
        uint256 round,
        address[] memory voters
    ) private view returns (Ballot[] memory ballots) {
        ballots = new Ballot[](voters.length);
        for (uint256 i; i < voters.length; ++i) ballots[i] = _ballots[requestId][round][voters[i]];
    }

    function _punish(
        bytes32 requestId,
        uint256 round,
        address[] memory voters,
        Ballot[] memory ballots,
        Ballots.Result memory result
    ) private returns (uint256 burned) {
        bytes32 runtimeClass = _disputes[requestId].runtimeClass;
        for (uint256 i; i < voters.length; ++i) {
            (bool faulty, Fault fault) = result.faultOf(ballots[i]);
            if (!faulty) continue;
            uint256 taken = _slash(
                runtimeClass,
                voters[i],
                fault == Fault.Minority ? PENALTY / MINORITY_PART : PENALTY
            );
            burned += taken;
            emit VoterPunished(requestId, voters[i], round, fault, taken);
        }
    }

    function _decide(
        bytes32 requestId,
        Request calldata request,
        Delivery calldata delivery,
        address[] memory voters,
        Ballot[] memory ballots,
        Ballots.Result memory result
    ) private {
        Dispute storage dispute = _disputes[requestId];
        Finding finding = result.finding;
        if (finding == Finding.Mismatch) {
            _close(requestId, dispute, dispute.bond);
            uint256 share = _proverShare(request);
            _pay(requestId, voters, ballots, result, share, 0);
            MARKET.convict(request, delivery, Verdict.WrongOutput, dispute.challenger, address(this));
            if (share != 0) MARKET.withdraw(address(this), share);
            return;
        }
        uint256 half = dispute.bond / 2;
        _pay(requestId, voters, ballots, result, 0, dispute.bond - half);
        _close(requestId, dispute, finding == Finding.OutputUnavailable ? half : 0);
        if (finding != Finding.OutputUnavailable) _creditBond(delivery.operator, half);
        if (finding == Finding.Match) MARKET.closeDispute(request, delivery);
        else MARKET.annul(request, delivery);
    }

    function _pay(
        bytes32 requestId,
        address[] memory voters,
        Ballot[] memory ballots,
        Ballots.Result memory result,
        uint256 tokens,
        uint256 weis
    ) private {
        (uint256 tokensEach, uint256 weiEach) = (tokens / result.winners, weis / result.winners);
        (uint256 tokenDust, uint256 weiDust) = (tokens % result.winners, weis % result.winners);
        for (uint256 i; i < voters.length; ++i) {
            if (!result.isWinner(ballots[i])) continue;
            _creditReward(voters[i], tokensEach + tokenDust);
            _creditBond(voters[i], weiEach + weiDust);
            (tokenDust, weiDust) = (0, 0);
        }
        emit VotersPaid(requestId, result.winners, tokensEach, weiEach);
    }

    function _close(bytes32 requestId, Dispute storage dispute, uint256 toChallenger) private {
        dispute.stage = Stage.Closed;
        if (toChallenger == 0) return;
        _creditBond(dispute.challenger, toChallenger);
        emit BondReleased(requestId, dispute.challenger, toChallenger);
    }

    /// @dev What the market credits to the prover of a conviction: the bounty's second half.
    function _proverShare(Request calldata request) private view returns (uint256) {
        (, , uint256 bounty, ) = MARKET.lockOf(request.terms);
        return bounty - bounty / 2;
    }

    function _requireStage(bytes32 requestId, Stage stage) private view returns (Dispute storage dispute) {
        dispute = _disputes[requestId];
        if (dispute.stage != stage) revert StageInvalid(requestId, dispute.stage);
    }

    function _requireDelivered(
        Request calldata request,
        Delivery calldata delivery
    ) private view returns (bytes32 requestId) {
        requestId = RequestState.idAt(address(MARKET), request);
        bytes32 state = RequestState.delivered(requestId, delivery.operator, delivery.deliveredAt, delivery.outputRoot);
        if (MARKET.commitmentOf(request.requester(), request.lane()) != state) {
            revert IInferenceMarket.RequestStateMismatch(requestId);
        }
    }
}
