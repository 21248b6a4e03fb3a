// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {
    IInferenceMarket,
    MarketConfig,
    Order,
    Request,
    Claim,
    Delivery,
    Answer,
    Verdict
} from "./interfaces/IInferenceMarket.sol";
import {Assurance} from "./interfaces/IModelRegistry.sol";
import {Configured} from "./base/Configured.sol";
import {Custody} from "./base/Custody.sol";
import {Authorization} from "./libraries/Authorization.sol";
import {Callback} from "./libraries/Callback.sol";
import {Fees} from "./libraries/Fees.sol";
import {Openings} from "./libraries/Openings.sol";
import {RequestFields} from "./libraries/RequestFields.sol";
import {RequestState} from "./libraries/RequestState.sol";
import {Stamp, StampLib} from "./libraries/Stamp.sol";
import {Terms} from "./libraries/Terms.sol";

/// @title The life of every request: order, claim, delivery, settlement, disputes.
contract InferenceMarket is Custody {
    using RequestFields for Request;

    uint256 private constant MAX_LIFETIME = 30 days;
    uint256 private constant MAX_CALLBACK_GAS = 2_000_000;
    uint256 private constant MAX_OUTPUT_BYTES = 65_536;
    /// @dev Gas of posting the largest output: 65,536 bytes at the calldata floor of 40 gas (EIP-7623).
    uint256 private constant DEMAND_GAS = 2_700_000;
    /// @dev Of posting: transaction and books; calldata beside the output; a byte, at least and at the floor.
    uint256 private constant POST_GAS = 46_000;
    uint256 private constant POST_BYTES = 420;
    uint256 private constant BYTE_GAS = 16;
    uint256 private constant BYTE_FLOOR_GAS = 40;

    struct Dispute {
        uint32 open; // disputes of modules
        uint40 until; // unix seconds; 0 = never demanded; the bytes are due; posted ones can be challenged
        address demander; // 0 = no unanswered demand
        bool annulled; // once the demand is answered
        uint256 demandBond; // wei
    }

    /// @dev Keyed by the low 192 bits of `Request.origin`: requester and lane.
    mapping(uint256 slot => bytes32) private _commitments;
    mapping(bytes32 requestId => Dispute) private _disputes;
    mapping(bytes32 requestId => uint256) private _escrows; // wei, for the gas of a callback
    mapping(bytes32 requestId => bytes32 outputRoot) private _skipped; // callbacks that no escrow paid

    constructor(MarketConfig memory config_) Configured(config_) {}

    modifier onlyChannels() {
        _requireChannels();
        _;
    }

    // ── Request ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function request(Order calldata order) external payable returns (bytes32 requestId) {
        return _request(msg.sender, order);
    }

    /// @inheritdoc IInferenceMarket
    function requestBatch(Order[] calldata orders) external {
        for (uint256 i; i < orders.length; ++i) _request(msg.sender, orders[i]);
    }

    /// @inheritdoc IInferenceMarket
    function requestFor(
        address requester,
        Order calldata order,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external payable returns (bytes32 requestId) {
        if (block.timestamp >= deadline) revert SignatureExpired(deadline);
        uint256 current = nonceOf(requester);
        if (nonce != current) revert NonceStale(requester, nonce, current);
        bytes32 digest = Authorization.digest(requester, order, nonce, deadline);
        if (!SignatureChecker.isValidSignatureNowCalldata(requester, digest, signature)) {
            revert SignatureInvalid(requester);
        }
        return _request(requester, order);
    }

    function _request(address requester, Order calldata order) private returns (bytes32 requestId) {
        uint256 modelId = order.modelId;
        Terms terms = REGISTRY.termsOf(modelId, order.version);
        if (!terms.exists()) revert VersionUnknown(modelId, order.version);
        if (terms.retired()) revert VersionRetired(modelId, order.version);
        uint256 fee = terms.fee();
        if (fee > order.maxFee) revert FeeAboveMax(fee, order.maxFee);
        _checkOrder(order);
        uint256 slot = _slotOf(requester, order.lane);
        if (!RequestState.isFree(_commitments[slot])) revert LaneBusy(requester, order.lane);
        ACCESS.consume(modelId, requester, order.params);
        requestId = RequestState.make(order, requester, modelId, _debitAndCount(requester, fee), terms);
        _commitments[slot] = requestId;
        if (order.consumer != address(0)) _escrow(requestId, order.callbackGas);
        else if (msg.value != 0) revert BondUnexpected(msg.value);
    }

    function _escrow(bytes32 requestId, uint256 callbackGas) private {
        uint256 needed = callbackBond(callbackGas);
        if (msg.value < needed) revert BondTooLow(msg.value, needed);
        _escrows[requestId] = msg.value;
    }

    function _checkOrder(Order calldata order) private pure {
        if (order.inputRoot == 0) revert InputRootZero();
        if (order.lane > RequestState.MAX_LANE) revert LaneInvalid(order.lane, RequestState.MAX_LANE);
        uint256 lifetime = order.lifetime;
        if (lifetime == 0 || lifetime > MAX_LIFETIME) revert LifetimeInvalid(lifetime, 1, MAX_LIFETIME);
        uint256 maxWindow = order.operator == address(0) ? 0 : lifetime;
        if (order.priorityWindow > maxWindow) revert PriorityWindowInvalid(order.priorityWindow, maxWindow);
        uint256 maxGas = order.consumer == address(0) ? 0 : MAX_CALLBACK_GAS;
        if (order.callbackGas > maxGas) revert CallbackGasInvalid(order.callbackGas, maxGas);
    }

    // ── Claim and deliver ───────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function claim(Request calldata request_, Claim calldata lapsed) external {
        (bytes32 requestId, address claimant) = _requireAwaiting(request_, lapsed);
        (uint256 priorityUntil, uint256 expiresAt) = (request_.priorityUntil(), request_.expiresAt());
        if (block.timestamp < priorityUntil) revert PriorityWindowOpen(requestId, priorityUntil);
        if (block.timestamp >= expiresAt) revert RequestExpired(requestId, expiresAt);
        if (claimant != address(0) && block.timestamp < lapsed.until) revert ClaimActive(requestId, lapsed.until);
        uint256 end = block.timestamp + CLAIM_PERIOD;
        uint40 until = uint40(end < expiresAt ? end : expiresAt);
        _commitments[_slot(request_)] = RequestState.claimed(requestId, msg.sender, until);
        emit Claimed(requestId, msg.sender, until);
        if (claimant != address(0)) _forfeit(requestId, request_, claimant);
        OPERATORS.lockFor(request_.modelId(), msg.sender, _lock(request_.terms));
    }

    /// @inheritdoc IInferenceMarket
    function deliver(Request calldata request_, Claim calldata claim_, Answer calldata answer) external {
        _deliver(request_, claim_, answer);
    }

    /// @inheritdoc IInferenceMarket
    function deliverBatch(Request[] calldata requests, Claim[] calldata claims, Answer[] calldata answers) external {
        uint256 count = requests.length;
        _requireLength(count, claims.length);
        _requireLength(count, answers.length);
        for (uint256 i; i < count; ++i) _deliver(requests[i], claims[i], answers[i]);
    }

    function _deliver(Request calldata request_, Claim calldata claim_, Answer calldata answer) private {
        (bytes32 outputRoot, bytes32 outputCid) = (answer.outputRoot, answer.outputCid);
        if (outputRoot == 0) revert OutputRootZero();
        (bytes32 requestId, address claimant) = _requireAwaiting(request_, claim_);
        uint256 maxUnits = request_.terms.maxUnits();
        if (answer.units != maxUnits && (answer.units == 0 || answer.units > maxUnits)) {
            revert UnitsInvalid(requestId, answer.units, maxUnits);
        }
        // A float answer's root is its CID: bytes that lie elsewhere, or nowhere, could not be judged.
        if (outputCid != 0 && outputCid != outputRoot && request_.terms.assurance() == Assurance.Committee) {
            revert OutputCidForeign(requestId);
        }
        if (claimant != address(0)) {
            if (msg.sender != claimant) revert CallerNotClaimant(requestId, msg.sender);
            if (block.timestamp >= claim_.until) revert ClaimLapsed(requestId, claim_.until);
        } else {
            if (msg.sender != request_.operator()) revert CallerNotPreferredOperator(requestId, msg.sender);
            uint256 until = request_.priorityUntil();
            if (block.timestamp >= until) revert PriorityWindowPassed(requestId, until);
        }
        _commitments[_slot(request_)] = RequestState.deliver(requestId, answer);
        // A claimant's stake is locked since the claim.
        if (claimant == address(0)) OPERATORS.lockFor(request_.modelId(), msg.sender, _lock(request_.terms));
    }

    // ── Channels ────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function fundChannel(address account, uint256 amount) external onlyChannels {
        _move(account, msg.sender, amount);
    }

    /// @inheritdoc IInferenceMarket
    function payOperator(address operator, uint256 modelId, Terms terms, uint256 amount) external onlyChannels {
        _debit(msg.sender, amount);
        _pay(0, operator, modelId, terms, amount, 0);
    }

    /// @inheritdoc IInferenceMarket
    function summon(address account, Request calldata request_, bytes32 outputRoot) external onlyChannels {
        bytes32 requestId = RequestState.idOf(request_);
        uint256 slot = _slot(request_);
        if (!RequestState.isFree(_commitments[slot])) revert RequestStateMismatch(requestId);
        (address operator, Stamp stamp) = (request_.operator(), StampLib.ofNow(0));
        _debit(account, request_.terms.fee());
        _commitments[slot] = RequestState.delivered(requestId, operator, stamp, outputRoot);
        RequestState.log(request_, requestId);
        emit Delivered(requestId, operator, outputRoot, 0, stamp);
    }

    // ── Settle ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function finalize(Request[] calldata requests, Delivery[] calldata deliveries) external nonReentrant {
        uint256 count = requests.length;
        _requireLength(count, deliveries.length);
        bool[] memory settled = new bool[](count);
        bool any = count == 0;
        for (uint256 i; i < count; ++i) {
            settled[i] = _settle(requests[i], deliveries[i], count == 1);
            any = any || settled[i];
        }
        if (!any) revert NothingSettled();
        // Only now, when all state is written, does foreign code run.
        for (uint256 i; i < count; ++i) {
            if (settled[i] && requests[i].consumer() != address(0)) _callBack(requests[i], deliveries[i].outputRoot);
        }
    }

    /// @param alone Whether to say why it cannot be settled; of several, it is skipped.
    function _settle(Request calldata request_, Delivery calldata delivery, bool alone) private returns (bool) {
        bytes32 requestId = RequestState.idOf(request_);
        if (!_isDelivered(requestId, request_, delivery)) {
            if (alone) revert RequestStateMismatch(requestId);
            return false;
        }
        uint256 until = _challengeUntil(requestId, request_, delivery);
        if (block.timestamp < until) {
            if (alone) revert ChallengeWindowOpen(requestId, until);
            return false;
        }
        uint256 open = openDisputesOf(requestId);
        if (open != 0) {
            if (alone) revert DisputesOpen(requestId, open);
            return false;
        }
        _free(request_);
        uint256 price = Fees.price(request_.terms, delivery.stamp.units());
        uint256 refund = request_.terms.fee() - price;
        if (refund != 0) _credit(request_.requester(), refund);
        _pay(requestId, delivery.operator, request_.modelId(), request_.terms, price, refund);
        _unlock(request_, delivery.operator);
        return true;
    }

    function _pay(
        bytes32 requestId,
        address operator,
        uint256 modelId,
        Terms terms,
        uint256 amount,
        uint256 refund
    ) private {
        (uint256 operatorFee, uint256 ownerFee, uint256 dataFee, uint256 protocolFee) = Fees.split(
            terms,
            amount,
            PROTOCOL_BPS
        );
        _credit(operator, operatorFee);
        _earn(modelId, ownerFee, dataFee, protocolFee);
        emit Finalized(requestId, operator, operatorFee, ownerFee, dataFee, protocolFee, refund);
    }

    function _callBack(Request calldata request_, bytes32 outputRoot) private {
        bytes32 requestId = RequestState.idOf(request_);
        uint256 escrow = _takeEscrow(requestId);
        uint256 price = _gasPrice();
        bool covered = Callback.gasOf(request_.callbackGas()) * price <= escrow;
        if (!covered) _skipped[requestId] = outputRoot;
        uint256 paid = Callback.run(request_, outputRoot, covered) * price;
        if (paid > escrow) paid = escrow;
        _creditBond(msg.sender, paid);
        _creditBond(request_.requester(), escrow - paid);
    }

    /// @inheritdoc IInferenceMarket
    function retryCallback(Request calldata request_, bytes32 outputRoot) external nonReentrant {
        bytes32 requestId = RequestState.idOf(request_);
        bytes32 skipped = _skipped[requestId];
        if (skipped == 0 || skipped != outputRoot) revert CallbackNotSkipped(requestId);
        delete _skipped[requestId];
        Callback.run(request_, outputRoot, true);
    }

    /// @inheritdoc IInferenceMarket
    function cancelExpired(Request calldata request_, Claim calldata claim_) external {
        (bytes32 requestId, address claimant) = _requireAwaiting(request_, claim_);
        if (block.timestamp < request_.expiresAt()) revert RequestNotExpired(requestId, request_.expiresAt());
        _drop(requestId, request_);
        uint256 refund = request_.terms.fee();
        _credit(request_.requester(), refund);
        emit Cancelled(requestId, request_.requester(), refund);
        if (claimant != address(0)) _forfeit(requestId, request_, claimant);
    }

    // ── Output availability ─────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function demandOutput(Request calldata request_, Delivery calldata delivery) external payable {
        bytes32 requestId = _requireDelivered(request_, delivery);
        Dispute storage dispute = _disputes[requestId];
        if (dispute.until != 0) revert OutputAlreadyDemanded(requestId);
        uint256 needed = DEMAND_GAS * 2 * _gasPrice();
        if (msg.value < needed) revert BondTooLow(msg.value, needed);
        uint256 deadline = block.timestamp + DEMAND_PERIOD;
        dispute.until = uint40(deadline);
        dispute.demander = msg.sender;
        dispute.demandBond = msg.value;
        emit OutputDemanded(requestId, msg.sender, deadline, msg.value);
    }

    /// @inheritdoc IInferenceMarket
    function postOutput(Request calldata request_, Delivery calldata delivery, bytes calldata output) external {
        uint256 before = gasleft();
        bytes32 requestId = _requireDelivered(request_, delivery);
        Dispute storage dispute = _requireDemand(requestId);
        if (block.timestamp >= dispute.until) revert DemandExpired(requestId, dispute.until);
        _checkOutput(requestId, request_.terms.assurance() == Assurance.Exact, delivery.outputRoot, output);
        {
            // Bytes that nobody saw before must not be shown when it is too late to challenge them.
            uint256 window = request_.terms.challengeWindow();
            uint256 until = delivery.stamp.time() + window;
            uint256 least = block.timestamp + (window < DEMAND_PERIOD ? window : DEMAND_PERIOD);
            if (until < least) until = least;
            dispute.until = uint40(until);
            emit OutputPosted(requestId, delivery.operator, output, until);
        }
        unchecked {
            // What a transaction with these bytes costs (EIP-7623): whoever withholds earns nothing by it.
            uint256 size = output.length + POST_BYTES;
            uint256 used = before - gasleft() + BYTE_GAS * size;
            if (used < BYTE_FLOOR_GAS * size) used = BYTE_FLOOR_GAS * size;
            _releaseBond(dispute, delivery.operator, (POST_GAS + used) * _gasPrice());
        }
        if (dispute.annulled) _annul(requestId, request_, delivery.operator);
    }

    function _checkOutput(bytes32 requestId, bool exact, bytes32 root, bytes calldata output) private pure {
        uint256 max = exact ? MAX_OUTPUT_BYTES + Openings.TENSOR_HEADER : MAX_OUTPUT_BYTES;
        if (output.length > max) revert OutputTooLarge(output.length, max);
        bytes32 digest = exact ? Openings.outputRoot(output) : sha256(output);
        if (digest != root) revert OutputMismatch(requestId, digest, root);
    }

    /// @inheritdoc IInferenceMarket
    function convictWithheld(Request calldata request_, Delivery calldata delivery) external {
        bytes32 requestId = _requireDelivered(request_, delivery);
        Dispute storage dispute = _requireDemand(requestId);
        if (block.timestamp < dispute.until) revert DemandOpen(requestId, dispute.until);
        if (dispute.open != 0 && block.timestamp < _staleAt(requestId, request_, delivery)) {
            revert DisputesOpen(requestId, dispute.open);
        }
        _convict(requestId, request_, delivery.operator, Verdict.Withheld, dispute.demander, msg.sender);
    }

    // ── Disputes ────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function openDispute(Request calldata request_, Delivery calldata delivery) external {
        bytes32 requestId = _requireModule(request_, delivery);
        uint256 until = _challengeUntil(requestId, request_, delivery);
        if (block.timestamp >= until) revert ChallengeWindowPassed(requestId, until);
        if (_disputes[requestId].annulled) revert DisputeAnnulled(requestId);
        _disputes[requestId].open += 1;
        emit DisputeOpened(requestId, msg.sender, openDisputesOf(requestId));
    }

    /// @inheritdoc IInferenceMarket
    function closeDispute(Request calldata request_, Delivery calldata delivery) external {
        bytes32 requestId = _requireModule(request_, delivery);
        _requireDisputes(requestId);
        _disputes[requestId].open -= 1;
        emit DisputeClosed(requestId, msg.sender, openDisputesOf(requestId));
    }

    /// @inheritdoc IInferenceMarket
    function convict(
        Request calldata request_,
        Delivery calldata delivery,
        Verdict verdict,
        address challenger,
        address prover
    ) external {
        bytes32 requestId = _requireModule(request_, delivery);
        _requireDisputes(requestId);
        _convict(requestId, request_, delivery.operator, verdict, challenger, prover);
    }

    /// @inheritdoc IInferenceMarket
    function annul(Request calldata request_, Delivery calldata delivery) external {
        bytes32 requestId = _requireModule(request_, delivery);
        _requireDisputes(requestId);
        Dispute storage dispute = _disputes[requestId];
        if (dispute.demander == address(0)) {
            _annul(requestId, request_, delivery.operator);
            return;
        }
        // An operator that owes the bytes must not escape: the demand goes on alone.
        dispute.open = 0;
        dispute.annulled = true;
        emit DisputeClosed(requestId, msg.sender, 1);
    }

    /// @inheritdoc IInferenceMarket
    function annulStale(Request calldata request_, Delivery calldata delivery) external {
        bytes32 requestId = _requireDelivered(request_, delivery);
        _requireDisputes(requestId);
        uint256 staleAt = _staleAt(requestId, request_, delivery);
        if (block.timestamp < staleAt) revert DisputesNotStale(requestId, staleAt);
        Dispute storage dispute = _disputes[requestId];
        if (dispute.demander != address(0)) revert DemandOpen(requestId, dispute.until);
        _annul(requestId, request_, delivery.operator);
    }

    function _convict(
        bytes32 requestId,
        Request calldata request_,
        address operator,
        Verdict verdict,
        address challenger,
        address prover
    ) private {
        (uint256 total, uint256 compensation, uint256 bounty, uint256 burned) = lockOf(request_.terms);
        // Behind the answers of a channel stand the locks of its offer, while there are any.
        if (request_.isSummoned() && !CHANNELS.convicted(requestId)) total = compensation = bounty = burned = 0;
        uint256 refund = request_.terms.fee();
        _end(requestId, request_);
        _credit(request_.requester(), refund + compensation);
        emit Convicted(requestId, operator, verdict, refund, compensation, bounty, burned);
        uint256 half = challenger == prover ? 0 : bounty / 2;
        if (half != 0) _payBounty(requestId, challenger, half);
        _payBounty(requestId, prover, bounty - half);
        if (total != 0) OPERATORS.slash(operator, total, burned);
    }

    function _payBounty(bytes32 requestId, address account, uint256 amount) private {
        _credit(account, amount);
        emit BountyPaid(requestId, account, amount);
    }

    function _annul(bytes32 requestId, Request calldata request_, address operator) private {
        uint256 refund = request_.terms.fee();
        _end(requestId, request_);
        _credit(request_.requester(), refund);
        emit Annulled(requestId, operator, refund);
        _unlock(request_, operator);
    }

    /// @dev Frees the lane and ends all disputes; the bond of an unanswered demand goes back.
    function _end(bytes32 requestId, Request calldata request_) private {
        _drop(requestId, request_);
        Dispute storage dispute = _disputes[requestId];
        dispute.open = 0;
        if (dispute.demander != address(0)) _releaseBond(dispute, address(0), 0);
    }

    /// @dev Frees the lane of a request that is not settled; what was escrowed for its callback goes back.
    function _drop(bytes32 requestId, Request calldata request_) private {
        _free(request_);
        if (request_.consumer() != address(0)) _creditBond(request_.requester(), _takeEscrow(requestId));
    }

    function _takeEscrow(bytes32 requestId) private returns (uint256 escrow) {
        escrow = _escrows[requestId];
        delete _escrows[requestId];
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function requestIdOf(Request calldata request_) external view returns (bytes32) {
        return RequestState.idOf(request_);
    }

    /// @inheritdoc IInferenceMarket
    function commitmentOf(address requester, uint256 lane) external view returns (bytes32) {
        return _commitments[_slotOf(requester, lane)];
    }

    /// @inheritdoc IInferenceMarket
    function callbackBond(uint256 callbackGas) public view returns (uint256) {
        return Callback.gasOf(callbackGas) * 2 * _gasPrice();
    }

    /// @inheritdoc IInferenceMarket
    function openDisputesOf(bytes32 requestId) public view returns (uint256) {
        Dispute storage dispute = _disputes[requestId];
        return dispute.open + (dispute.demander == address(0) ? 0 : 1);
    }

    /// @inheritdoc IInferenceMarket
    function demandOf(bytes32 requestId) external view returns (address challenger, uint256 deadline, uint256 bond) {
        Dispute storage dispute = _disputes[requestId];
        return (dispute.demander, dispute.until, dispute.demandBond);
    }

    /// @inheritdoc IInferenceMarket
    function lockOf(
        Terms terms
    ) public view returns (uint256 total, uint256 compensation, uint256 bounty, uint256 burned) {
        return Fees.lock(terms, MIN_LOCK);
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _slotOf(address requester, uint256 lane) private pure returns (uint256) {
        return uint160(requester) | (lane << 160);
    }

    function _slot(Request calldata request_) private pure returns (uint256) {
        return uint192(request_.origin);
    }

    /// @dev A claimant of zero: Requested; otherwise it is Claimed.
    function _requireAwaiting(
        Request calldata request_,
        Claim calldata claim_
    ) private view returns (bytes32 requestId, address claimant) {
        bytes32 state = requestId = RequestState.idOf(request_);
        claimant = claim_.operator;
        if (claimant != address(0)) state = RequestState.claimed(requestId, claimant, claim_.until);
        if (_commitments[_slot(request_)] != state) revert RequestStateMismatch(requestId);
    }

    function _requireDelivered(
        Request calldata request_,
        Delivery calldata delivery
    ) private view returns (bytes32 requestId) {
        requestId = RequestState.idOf(request_);
        if (!_isDelivered(requestId, request_, delivery)) revert RequestStateMismatch(requestId);
    }

    function _isDelivered(
        bytes32 requestId,
        Request calldata request_,
        Delivery calldata delivery
    ) private view returns (bool) {
        return _commitments[_slot(request_)] == RequestState.deliveredAs(requestId, delivery);
    }

    function _requireModule(Request calldata request_, Delivery calldata delivery) private view returns (bytes32) {
        address module = request_.terms.assurance() == Assurance.Exact ? EXACT_MODULE : COMMITTEE_MODULE;
        if (msg.sender != module) revert CallerNotModule(msg.sender);
        return _requireDelivered(request_, delivery);
    }

    function _requireChannels() private view {
        if (msg.sender != address(CHANNELS)) revert CallerNotChannels(msg.sender);
    }

    function _requireLength(uint256 count, uint256 length) private pure {
        if (length != count) revert LengthMismatch(count, length);
    }

    function _requireDisputes(bytes32 requestId) private view {
        if (_disputes[requestId].open == 0) revert DisputesMissing(requestId);
    }

    function _requireDemand(bytes32 requestId) private view returns (Dispute storage dispute) {
        dispute = _disputes[requestId];
        if (dispute.demander == address(0)) revert OutputNotDemanded(requestId);
    }

    /// @dev A summoned answer has no lock of its own.
    function _unlock(Request calldata request_, address operator) private {
        if (!request_.isSummoned()) OPERATORS.unlock(operator, _lock(request_.terms));
    }

    function _lock(Terms terms) private view returns (uint256) {
        return Fees.lockTotal(terms, MIN_LOCK);
    }

    function _free(Request calldata request_) private {
        _commitments[_slot(request_)] = RequestState.FREE;
    }

    /// @dev A lapsed claimant pays the treasury out of its stake, and nobody who could have made it lapse;
    /// the rest of its lock is freed.
    function _forfeit(bytes32 requestId, Request calldata request_, address operator) private {
        _credit(TREASURY, CLAIM_FORFEIT);
        emit ClaimForfeited(requestId, operator, CLAIM_FORFEIT);
        OPERATORS.slash(operator, CLAIM_FORFEIT, 0);
        OPERATORS.unlock(operator, _lock(request_.terms) - CLAIM_FORFEIT);
    }

    /// @dev Ends a demand: the cost at most to the operator, the rest to who demanded.
    function _releaseBond(Dispute storage dispute, address operator, uint256 cost) private {
        uint256 bond = dispute.demandBond;
        if (cost > bond) cost = bond;
        if (cost != 0) _creditBond(operator, cost);
        if (cost != bond) _creditBond(dispute.demander, bond - cost);
        dispute.demandBond = 0;
        dispute.demander = address(0);
    }

    /// @dev The challenge window, and longer where bytes were posted late.
    function _challengeUntil(
        bytes32 requestId,
        Request calldata request_,
        Delivery calldata delivery
    ) private view returns (uint256 until) {
        Dispute storage dispute = _disputes[requestId];
        if (dispute.demander == address(0)) until = dispute.until;
        unchecked {
            if (until == 0) until = delivery.stamp.time() + request_.terms.challengeWindow(); // < 2^41
        }
    }

    /// @dev When open disputes end without a verdict: a dead module traps nobody's money.
    function _staleAt(
        bytes32 requestId,
        Request calldata request_,
        Delivery calldata delivery
    ) private view returns (uint256) {
        unchecked {
            return _challengeUntil(requestId, request_, delivery) + MAX_DISPUTE_AGE; // < 2^42
        }
    }
}
