// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {
    Ballot,
    BallotState,
    CommitteeConfig,
    Dispute,
    Fault,
    Finding,
    ICommittee,
    Round,
    Stage
} from "./interfaces/ICommittee.sol";
import {ICommitteeSeats, SeatsConfig} from "./interfaces/ICommitteeSeats.sol";
import {Delivery, IInferenceMarket, MarketConfig, Request, Verdict} from "./interfaces/IInferenceMarket.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Ballots} from "./libraries/Ballots.sol";
import {RequestFields} from "./libraries/RequestFields.sol";
import {RequestState} from "./libraries/RequestState.sol";
import {Sortition} from "./libraries/Sortition.sol";
import {Terms} from "./libraries/Terms.sol";

/// @title Decides disputes about float answers: votes of members drawn at random, and appeals.
/// @dev Disputes and votes; members, their stake and rewards are in CommitteeSeats.sol.
contract Committee is ICommittee, ReentrancyGuardTransient {
    using Ballots for Round;
    using Ballots for uint256;
    using RequestFields for Request;
    using SafeCast for uint256;

    /// @dev Gas of one vote, from commit to settlement, and its part of draw and tally; a bond pays it twice.
    uint256 private constant VOTE_GAS = 250_000;
    /// @dev Blocks whose hashes the history contract serves (EIP-2935).
    uint256 private constant HISTORY_BLOCKS = 8_191;
    address private constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant ROUNDS = 5;
    /// @dev Penalties that a seat can pay: a member is drawn in many disputes at once.
    uint256 private constant MIN_PENALTIES = 20;
    /// @dev Votes that a seat can bind at once.
    uint256 private constant MIN_VOTES = 4;
    uint256 private constant REPORTER_PART = 5; // of the penalty
    uint256 private constant MIN_SEATS = 3; // of stake that a pool needs

    IInferenceMarket private immutable MARKET;
    IModelRegistry private immutable REGISTRY;
    ICommitteeSeats private immutable SEATS;
    uint256 private immutable BOND;
    uint256 private immutable PENALTY;
    uint256 private immutable VOTE_STAKE;
    uint256 private immutable SEED_DELAY;
    uint256 private immutable DRAW_PERIOD;
    uint256 private immutable COMMIT_PERIOD;
    uint256 private immutable REVEAL_PERIOD;
    uint256 private immutable APPEAL_PERIOD;
    uint256 private immutable TALLY_PERIOD;
    uint256 private immutable MIN_STAKE;
    uint256 private immutable SEASONING;
    uint256 private immutable MIN_GAS_PRICE;

    mapping(bytes32 requestId => Dispute) private _disputes;
    mapping(bytes32 requestId => mapping(address account => bool)) private _excluded;
    mapping(bytes32 requestId => mapping(uint256 round => Round)) private _rounds;
    mapping(bytes32 requestId => mapping(uint256 round => mapping(address member => uint256))) private _ballots;

    mapping(address account => uint256) private _bonds;

    constructor(CommitteeConfig memory config_) {
        MARKET = IInferenceMarket(config_.market);
        SEATS = ICommitteeSeats(config_.seats);
        MarketConfig memory market = MARKET.config();
        SeatsConfig memory seats = SEATS.config();
        REGISTRY = IModelRegistry(market.registry);
        BOND = config_.bond;
        PENALTY = config_.penalty;
        VOTE_STAKE = config_.voteStake;
        SEED_DELAY = config_.seedDelay;
        DRAW_PERIOD = config_.drawPeriod;
        COMMIT_PERIOD = config_.commitPeriod;
        REVEAL_PERIOD = config_.revealPeriod;
        APPEAL_PERIOD = config_.appealPeriod;
        TALLY_PERIOD = config_.tallyPeriod;
        MIN_STAKE = seats.minStake;
        SEASONING = seats.seasoning;
        MIN_GAS_PRICE = market.minGasPrice;

        if (market.committeeModule != address(this)) revert ConfigInvalid("market");
        if (seats.market != config_.market) revert ConfigInvalid("seats");
        if (PENALTY == 0) revert ConfigInvalid("penalty");
        if (VOTE_STAKE < PENALTY) revert ConfigInvalid("voteStake");
        if (MIN_STAKE < MIN_PENALTIES * PENALTY) revert ConfigInvalid("minStake");
        if (MIN_STAKE < MIN_VOTES * VOTE_STAKE) revert ConfigInvalid("minStake");
        if (SEED_DELAY == 0) revert ConfigInvalid("seedDelay");
        if (DRAW_PERIOD == 0) revert ConfigInvalid("drawPeriod");
        if (COMMIT_PERIOD == 0) revert ConfigInvalid("commitPeriod");
        if (REVEAL_PERIOD == 0) revert ConfigInvalid("revealPeriod");
        if (APPEAL_PERIOD == 0) revert ConfigInvalid("appealPeriod");
        if (TALLY_PERIOD == 0) revert ConfigInvalid("tallyPeriod");
        // The last tally gets into a block before the market lets anyone annul.
        if (market.maxDisputeAge < longestDispute() + TALLY_PERIOD) revert ConfigInvalid("maxDisputeAge");
        // Who leaves votes in all disputes that count its stake, and pays for its votes.
        if (seats.leaveDelay < SEASONING + 2 * longestDispute()) revert ConfigInvalid("leaveDelay");
    }

    // ── Challenge and draw ──────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function challenge(Request calldata request, Delivery calldata delivery) external payable {
        bytes32 requestId = RequestState.idAt(address(MARKET), request);
        Dispute storage dispute = _disputes[requestId];
        if (dispute.stage != Stage.None) revert DisputeExists(requestId);
        (bytes32 runtimeClass, uint256 pool) = _classFor(request, delivery.stamp.time());
        dispute.runtimeClass = runtimeClass;
        dispute.challengedAt = uint40(block.timestamp);
        dispute.tolerance = uint64(request.terms.tolerance());
        uint256 eligible = _exclude(requestId, runtimeClass, pool, request, delivery.operator);
        dispute.eligible = eligible.toUint96();
        dispute.firstSize = _firstSize(request.terms, eligible).toUint64();
        emit CommitteeCalled(requestId, msg.sender, runtimeClass, eligible);
        _openRound(requestId, dispute, 0, msg.sender);
        MARKET.openDispute(request, delivery);
    }

    /// @inheritdoc ICommittee
    function draw(bytes32 requestId) external {
        Dispute storage dispute = _requireStage(requestId, Stage.Drawing);
        if (_isDrawMissed(dispute)) revert DrawOver(requestId, dispute.until);
        bytes32 seed = Blockhash.blockHash(dispute.seedBlock);
        if (seed == 0) revert SeedPending(requestId, dispute.seedBlock);
        uint256 round = dispute.round;
        uint256 commitUntil = block.timestamp + COMMIT_PERIOD;
        dispute.stage = Stage.Voting;
        dispute.until = uint40(commitUntil);
        _rounds[requestId][round].seed = seed;
        emit Drawn(requestId, round, seed, commitUntil, commitUntil + REVEAL_PERIOD);
    }

    /// @inheritdoc ICommittee
    function lapse(Request calldata request, Delivery calldata delivery) external nonReentrant {
        bytes32 requestId = _requireDelivered(request, delivery);
        Dispute storage dispute = _requireStage(requestId, Stage.Drawing);
        if (!_isDrawMissed(dispute)) revert DrawOpen(requestId, dispute.until);
        uint256 round = dispute.round;
        Round storage missed = _rounds[requestId][round];
        emit DrawMissed(requestId, round, missed.caller);
        if (round == 0) {
            uint256 bond = missed.bond;
            dispute.stage = Stage.Closed;
            _creditBond(delivery.operator, bond / 2);
            _creditBond(BURN_ADDRESS, bond - bond / 2);
            MARKET.closeDispute(request, delivery);
        } else {
            // Whoever appeals sees to the draw: without one, what it appealed against stands.
            bool appealed = missed.caller != address(0);
            _end(requestId, request, delivery, appealed ? findingOf(requestId, round - 1) : Finding.None);
        }
    }

    // ── Vote ────────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function commit(bytes32 requestId, bytes32 commitment) external {
        Dispute storage dispute = _requireStage(requestId, Stage.Voting);
        if (block.timestamp >= dispute.until) revert CommitOver(requestId, dispute.until);
        if (commitment == 0) revert CommitmentZero();
        uint256 round = dispute.round;
        uint256 deposit = _requireDrawn(requestId, round, msg.sender);
        if (_ballots[requestId][round][msg.sender] != 0) revert CommitmentExists(requestId, msg.sender);
        uint256 bound = SEATS.bind(dispute.runtimeClass, msg.sender, deposit);
        _ballots[requestId][round][msg.sender] = Ballots.committed(commitment, bound);
        _rounds[requestId][round].committed += uint64(bound);
        emit VoteCommitted(requestId, msg.sender, round, commitment, bound);
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
        uint256 opensAt = dispute.until;
        if (block.timestamp < opensAt) revert RevealNotOpen(requestId, opensAt);
        if (block.timestamp >= opensAt + REVEAL_PERIOD) revert RevealOver(requestId, opensAt + REVEAL_PERIOD);
        if (finding == Finding.None) revert FindingInvalid(finding);
        uint256 round = dispute.round;
        uint256 ballot = _ballots[requestId][round][msg.sender];
        if (ballot == 0) revert CommitmentMissing(requestId, msg.sender);
        if (ballot.stateOf() != BallotState.Committed) revert VoteRevealedAlready(requestId, msg.sender);
        bytes32 commitment = commitmentOf(requestId, round, msg.sender, finding, outputDigest, activation, salt);
        if (!ballot.isOf(commitment)) revert CommitmentMismatch(requestId, msg.sender);
        _ballots[requestId][round][msg.sender] = ballot.revealed(finding, activation);
        Ballots.add(_rounds[requestId][round], finding, ballot.boundOf(), activation, dispute.tolerance);
        emit VoteRevealed(requestId, msg.sender, round, finding, outputDigest, activation);
    }

    // ── Appeal ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function appeal(bytes32 requestId) external payable {
        Dispute storage dispute = _requireStage(requestId, Stage.Voting);
        uint256 from = dispute.until + REVEAL_PERIOD;
        if (block.timestamp < from) revert RoundOpen(requestId, from);
        if (block.timestamp >= from + APPEAL_PERIOD) revert AppealOver(requestId, from + APPEAL_PERIOD);
        uint256 round = dispute.round;
        Finding finding = findingOf(requestId, round);
        if (finding == Finding.None || _isLast(dispute, round)) revert AppealNotPossible(requestId, round, finding);
        dispute.tallied = uint8(round + 1);
        emit Appealed(requestId, msg.sender, round, finding);
        _openRound(requestId, dispute, round + 1, msg.sender);
    }

    // ── End: anyone ─────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function tally(Request calldata request, Delivery calldata delivery) external nonReentrant {
        bytes32 requestId = _requireDelivered(request, delivery);
        Dispute storage dispute = _requireStage(requestId, Stage.Voting);
        uint256 round = dispute.round;
        Finding finding = findingOf(requestId, round);
        bool last = _isLast(dispute, round);
        uint256 until = dispute.until + REVEAL_PERIOD;
        if (finding != Finding.None && !last) until += APPEAL_PERIOD;
        if (block.timestamp < until) revert RoundOpen(requestId, until);
        dispute.tallied = uint8(round + 1);
        emit RoundTallied(requestId, round, finding);
        // The whole pool may be asked again: other disputes had bound its stake.
        if (finding == Finding.None && _fitsAnotherRound(dispute, round)) {
            _openRound(requestId, dispute, round + 1, address(0));
        } else {
            _end(requestId, request, delivery, finding);
        }
    }

    /// @inheritdoc ICommittee
    function settle(bytes32 requestId, uint256 round, address[] calldata members) external nonReentrant {
        Dispute memory dispute = _disputes[requestId];
        if (dispute.stage != Stage.Closed) revert StageInvalid(requestId, dispute.stage);
        Round storage votes = _rounds[requestId][round];
        for (uint256 i; i < members.length; ++i) {
            uint256 ballot = _ballots[requestId][round][members[i]];
            BallotState state = ballot.stateOf();
            if (state == BallotState.None || state == BallotState.Settled) continue;
            _ballots[requestId][round][members[i]] = ballot.settled();
            if (round < dispute.tallied) _settle(requestId, dispute, votes, round, members[i], ballot);
            else SEATS.release(dispute.runtimeClass, members[i], ballot.boundOf(), 0);
        }
    }

    /// @inheritdoc ICommittee
    function reportSilence(bytes32 requestId, uint256 round, address member) external {
        Dispute storage dispute = _disputes[requestId];
        if (round >= dispute.tallied) revert RoundNotTallied(requestId, round);
        _requireDrawn(requestId, round, member);
        if (_ballots[requestId][round][member] != 0) revert MemberNotSilent(requestId, round, member);
        _ballots[requestId][round][member] = uint256(0).settled();
        uint256 taken = SEATS.slash(dispute.runtimeClass, member, PENALTY);
        _split(taken, taken / REPORTER_PART);
        emit VoterPunished(requestId, member, round, Fault.Silence, taken);
    }

    /// @inheritdoc ICommittee
    function releaseBond(bytes32 requestId) external {
        Dispute storage dispute = _disputes[requestId];
        Stage stage = dispute.stage;
        if (stage != Stage.Drawing && stage != Stage.Voting) revert StageInvalid(requestId, stage);
        // The market counts this dispute until a verdict or annulment ends the request for ever.
        if (MARKET.openDisputesOf(requestId) != 0) revert RequestLive(requestId);
        dispute.stage = Stage.Closed;
        for (uint256 round; round <= dispute.round; ++round) _returnBond(requestId, _rounds[requestId][round]);
    }

    /// @inheritdoc ICommittee
    function withdrawBond() external nonReentrant {
        uint256 amount = _bonds[msg.sender];
        if (amount == 0) revert AmountZero();
        _bonds[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ICommittee
    function config() external view returns (CommitteeConfig memory) {
        return
            CommitteeConfig({
                market: address(MARKET),
                seats: address(SEATS),
                bond: uint96(BOND),
                penalty: uint96(PENALTY),
                voteStake: uint96(VOTE_STAKE),
                seedDelay: uint32(SEED_DELAY),
                drawPeriod: uint32(DRAW_PERIOD),
                commitPeriod: uint32(COMMIT_PERIOD),
                revealPeriod: uint32(REVEAL_PERIOD),
                appealPeriod: uint32(APPEAL_PERIOD),
                tallyPeriod: uint32(TALLY_PERIOD)
            });
    }

    /// @inheritdoc ICommittee
    function longestDispute() public view returns (uint256) {
        return ROUNDS * (DRAW_PERIOD + COMMIT_PERIOD + REVEAL_PERIOD + APPEAL_PERIOD + TALLY_PERIOD);
    }

    /// @inheritdoc ICommittee
    function bondOf(address account) external view returns (uint256) {
        return _bonds[account];
    }

    /// @inheritdoc ICommittee
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    /// @inheritdoc ICommittee
    function bondNeeded(uint256 size) public view returns (uint256) {
        uint256 price = block.basefee > MIN_GAS_PRICE ? block.basefee : MIN_GAS_PRICE;
        return size * (BOND + 2 * VOTE_GAS * price);
    }

    /// @inheritdoc ICommittee
    function challengeBond(Request calldata request, uint256 deliveredAt) external view returns (uint256) {
        (, uint256 pool) = _classFor(request, deliveredAt);
        return bondNeeded(_firstSize(request.terms, pool));
    }

    /// @inheritdoc ICommittee
    function appealBond(bytes32 requestId) external view returns (uint256) {
        return bondNeeded(sizeOf(requestId, _disputes[requestId].round + 1));
    }

    /// @inheritdoc ICommittee
    function disputeOf(bytes32 requestId) external view returns (Dispute memory) {
        return _disputes[requestId];
    }

    /// @inheritdoc ICommittee
    function roundOf(bytes32 requestId, uint256 round) external view returns (Round memory) {
        return _rounds[requestId][round];
    }

    /// @inheritdoc ICommittee
    function sizeOf(bytes32 requestId, uint256 round) public view returns (uint256) {
        return _sizeOf(_disputes[requestId], round);
    }

    /// @inheritdoc ICommittee
    function findingOf(bytes32 requestId, uint256 round) public view returns (Finding) {
        return Ballots.result(_rounds[requestId][round], sizeOf(requestId, round), VOTE_STAKE);
    }

    /// @inheritdoc ICommittee
    function ballotOf(bytes32 requestId, uint256 round, address member) external view returns (Ballot memory) {
        return _ballots[requestId][round][member].unpack();
    }

    /// @inheritdoc ICommittee
    function isExcluded(bytes32 requestId, address member) external view returns (bool) {
        return _excluded[requestId][member];
    }

    /// @inheritdoc ICommittee
    function depositOf(bytes32 requestId, uint256 round, address member) public view returns (uint256) {
        Dispute storage dispute = _disputes[requestId];
        bytes32 seed = _rounds[requestId][round].seed;
        if (seed == 0 || _excluded[requestId][member]) return 0;
        uint256 weight = SEATS.weightAt(dispute.runtimeClass, member, dispute.challengedAt - SEASONING);
        uint256 size = _sizeOf(dispute, round);
        uint256 rank = Sortition.rank(seed, requestId, round, member);
        if (!Sortition.drawn(rank, size, weight, dispute.eligible)) return 0;
        return Sortition.deposit(VOTE_STAKE, size, weight, dispute.eligible);
    }

    /// @inheritdoc ICommittee
    function activationSeed(bytes32 requestId, uint256 round) external view returns (bytes32) {
        return keccak256(abi.encode(_rounds[requestId][round].seed, requestId, round));
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

    function _classFor(Request calldata request, uint256 deliveredAt) private view returns (bytes32, uint256) {
        return SEATS.classFor(request.modelId(), request.version(), deliveredAt);
    }

    /// @dev Who has no weight cannot be drawn, and needs no entry.
    /// @return eligible What is left of the class's stake without those who have an interest.
    function _exclude(
        bytes32 requestId,
        bytes32 runtimeClass,
        uint256 pool,
        Request calldata request,
        address operator
    ) private returns (uint256 eligible) {
        uint256 time = block.timestamp - SEASONING;
        eligible = pool;
        address[4] memory parties = [REGISTRY.ownerOf(request.modelId()), operator, request.requester(), msg.sender];
        for (uint256 i; i < parties.length; ++i) {
            uint256 weight = SEATS.weightAt(runtimeClass, parties[i], time);
            if (weight == 0 || _excluded[requestId][parties[i]]) continue;
            _excluded[requestId][parties[i]] = true;
            eligible -= weight;
        }
        uint256 needed = MIN_SEATS * MIN_STAKE;
        if (eligible < needed) revert PoolTooSmall(runtimeClass, eligible, needed);
    }

    function _openRound(bytes32 requestId, Dispute storage dispute, uint256 round, address caller) private {
        uint256 size = _sizeOf(dispute, round);
        if (caller != address(0)) {
            uint256 needed = bondNeeded(size);
            if (msg.value < needed) revert BondTooLow(msg.value, needed);
            Round storage opened = _rounds[requestId][round];
            (opened.caller, opened.bond) = (caller, msg.value.toUint96());
        }
        uint256 seedBlock = block.number + SEED_DELAY;
        uint256 drawUntil = block.timestamp + DRAW_PERIOD;
        dispute.stage = Stage.Drawing;
        dispute.round = uint8(round);
        dispute.until = uint40(drawUntil);
        dispute.seedBlock = uint64(seedBlock);
        emit RoundCalled(requestId, round, caller, size, seedBlock, drawUntil, msg.value);
    }

    function _firstSize(Terms terms, uint256 eligible) private view returns (uint256) {
        (uint256 locked, , , ) = MARKET.lockOf(terms);
        return _min(Sortition.firstSize(locked + terms.fee(), VOTE_STAKE), _poolSize(eligible));
    }

    /// @dev Every member holds `MIN_STAKE`, so all are drawn when this many are expected.
    function _poolSize(uint256 eligible) private view returns (uint256) {
        return (eligible + MIN_STAKE - 1) / MIN_STAKE;
    }

    function _sizeOf(Dispute storage dispute, uint256 round) private view returns (uint256) {
        uint256 pool = _poolSize(dispute.eligible);
        return round + 1 >= ROUNDS ? pool : _min(uint256(dispute.firstSize) << round, pool);
    }

    function _isLast(Dispute storage dispute, uint256 round) private view returns (bool) {
        return _sizeOf(dispute, round) == _poolSize(dispute.eligible);
    }

    /// @dev Later rounds than the longest dispute has would find members that may have left.
    function _fitsAnotherRound(Dispute storage dispute, uint256 round) private view returns (bool) {
        return
            round + 1 < ROUNDS && block.timestamp <= dispute.challengedAt + (longestDispute() * (round + 1)) / ROUNDS;
    }

    function _isDrawMissed(Dispute storage dispute) private view returns (bool) {
        return block.timestamp >= dispute.until || block.number > dispute.seedBlock + HISTORY_BLOCKS;
    }

    /// @return deposit What its vote binds.
    function _requireDrawn(bytes32 requestId, uint256 round, address member) private view returns (uint256 deposit) {
        if (_excluded[requestId][member]) revert MemberExcluded(requestId, member);
        deposit = depositOf(requestId, round, member);
        if (deposit == 0) revert MemberNotDrawn(requestId, round, member);
    }

    // ── Inside: after the vote ──────────────────────────────────────────────────────────────────

    /// @dev At most `ROUNDS` steps, however many voted. Of what contradicted votes bind, one half is shared
    /// here, the other is burned as each is settled.
    function _end(bytes32 requestId, Request calldata request, Delivery calldata delivery, Finding finding) private {
        Dispute storage dispute = _disputes[requestId];
        dispute.stage = Stage.Closed;
        dispute.finding = finding;
        (uint256 lost, uint256 winners) = _count(requestId, dispute.tallied, finding);
        (uint256 weis, uint256 appellants) = _returnBonds(requestId, dispute.round, finding, delivery.operator);
        uint256 tokens = lost / 2;
        if (appellants != 0) {
            tokens -= lost / 4;
            _payAppellants(requestId, dispute.round, finding, lost / 4, appellants);
        }
        (dispute.winners, dispute.weis) = (winners.toUint64(), weis.toUint96());
        emit Decided(requestId, finding, winners, lost);
        tokens += _tell(request, delivery, finding, _rounds[requestId][0].caller);
        dispute.tokens = tokens.toUint96();
    }

    /// @return lost What is bound by votes that were not revealed, or that the last finding contradicts.
    /// @return winners What is bound by those that found just this; without a finding there are neither.
    function _count(
        bytes32 requestId,
        uint256 tallied,
        Finding finding
    ) private view returns (uint256 lost, uint256 winners) {
        if (finding == Finding.None) return (0, 0);
        for (uint256 i; i < tallied; ++i) {
            Round storage round = _rounds[requestId][i];
            (uint256 total, uint256 against) = round.sums();
            winners += round.boundBy(finding);
            lost += round.committed - (Ballots.isAgainst(finding) ? against : total - against);
        }
    }

    /// @return weis What the voters share of bonds that are lost.
    /// @return appellants The sum of the bonds of those whose appeal was right.
    function _returnBonds(
        bytes32 requestId,
        uint256 last,
        Finding finding,
        address operator
    ) private returns (uint256 weis, uint256 appellants) {
        Round storage first = _rounds[requestId][0];
        if (finding == Finding.None || Ballots.isAgainst(finding)) {
            _returnBond(requestId, first);
        } else {
            weis = first.bond - first.bond / 2;
            _creditBond(operator, first.bond / 2);
        }
        for (uint256 i = 1; i <= last; ++i) {
            Round storage round = _rounds[requestId][i];
            if (finding != Finding.None && findingOf(requestId, i - 1) == finding) {
                weis += round.bond;
            } else {
                _returnBond(requestId, round);
                appellants += round.bond;
            }
        }
    }

    function _payAppellants(bytes32 requestId, uint256 last, Finding finding, uint256 tokens, uint256 bonds) private {
        for (uint256 i = 1; i <= last; ++i) {
            Round storage round = _rounds[requestId][i];
            if (round.bond == 0 || findingOf(requestId, i - 1) == finding) continue;
            uint256 amount = (tokens * round.bond) / bonds;
            _reward(round.caller, amount);
            emit AppellantPaid(requestId, round.caller, i, amount);
        }
    }

    /// @return bounty What the market credited for the voters.
    function _tell(
        Request calldata request,
        Delivery calldata delivery,
        Finding finding,
        address challenger
    ) private returns (uint256 bounty) {
        if (Ballots.isAgainst(finding)) {
            Verdict verdict = finding == Finding.Mismatch ? Verdict.WrongOutput : Verdict.Withheld;
            uint256 before = MARKET.balanceOf(address(SEATS));
            MARKET.convict(request, delivery, verdict, challenger, address(SEATS));
            return MARKET.balanceOf(address(SEATS)) - before;
        }
        if (finding == Finding.Match) MARKET.closeDispute(request, delivery);
        else MARKET.annul(request, delivery);
    }

    function _settle(
        bytes32 requestId,
        Dispute memory dispute,
        Round storage votes,
        uint256 round,
        address member,
        uint256 ballot
    ) private {
        (uint256 bound, Finding finding) = (ballot.boundOf(), ballot.findingOf());
        if (finding == Finding.None) {
            _lose(requestId, dispute, round, member, bound, Fault.Silence);
            return;
        }
        if (dispute.finding != Finding.None && Ballots.isAgainst(finding) != Ballots.isAgainst(dispute.finding)) {
            _lose(requestId, dispute, round, member, bound, Fault.Contradicted);
            return;
        }
        uint256 tokens;
        uint256 weis;
        if (finding == dispute.finding) {
            tokens = (uint256(dispute.tokens) * bound) / dispute.winners;
            weis = (uint256(dispute.weis) * bound) / dispute.winners;
        }
        if (votes.isOff(finding, ballot.activationOf(), dispute.tolerance)) {
            uint256 taken = _min(PENALTY, bound);
            SEATS.release(dispute.runtimeClass, member, bound, taken);
            _split(taken, taken / REPORTER_PART);
            _burn(tokens);
            _creditBond(BURN_ADDRESS, weis);
            emit VoterPunished(requestId, member, round, Fault.ActivationOff, taken);
            return;
        }
        SEATS.release(dispute.runtimeClass, member, bound, 0);
        _reward(member, tokens);
        _creditBond(member, weis);
        emit VoterPaid(requestId, member, round, tokens, weis);
    }

    /// @dev Half of it was shared when the dispute ended; without a finding nobody was there to share it.
    function _lose(
        bytes32 requestId,
        Dispute memory dispute,
        uint256 round,
        address member,
        uint256 bound,
        Fault fault
    ) private {
        SEATS.release(dispute.runtimeClass, member, bound, bound);
        uint256 rest = dispute.finding == Finding.None ? bound : bound / 2;
        _split(rest, _min(PENALTY, rest) / REPORTER_PART);
        emit VoterPunished(requestId, member, round, fault, bound);
    }

    function _split(uint256 taken, uint256 toReporter) private {
        _reward(msg.sender, toReporter);
        _burn(taken - toReporter);
    }

    /// @dev Burning is book-keeping: what is credited to this address nobody withdraws.
    function _burn(uint256 amount) private {
        _reward(BURN_ADDRESS, amount);
    }

    function _reward(address account, uint256 amount) private {
        if (amount != 0) SEATS.credit(account, amount);
    }

    function _creditBond(address account, uint256 amount) private {
        if (amount != 0) _bonds[account] += amount;
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _returnBond(bytes32 requestId, Round storage round) private {
        if (round.bond == 0) return;
        _creditBond(round.caller, round.bond);
        emit BondReleased(requestId, round.caller, round.bond);
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
        bytes32 state = RequestState.deliveredAs(requestId, delivery);
        if (MARKET.commitmentOf(request.requester(), request.lane()) != state) {
            revert IInferenceMarket.RequestStateMismatch(requestId);
        }
    }
}
