// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {IDisputeGame, Receipt} from "./interfaces/IDisputeGame.sol";
import {IInferenceMarket, MarketConfig, Request} from "./interfaces/IInferenceMarket.sol";
import {IModelAccess} from "./interfaces/IModelAccess.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperatorRegistry} from "./interfaces/IOperatorRegistry.sol";
import {
    Channel,
    ChannelsConfig,
    Cover,
    Held,
    IPaymentChannels,
    Offer,
    VoucherRow
} from "./interfaces/IPaymentChannels.sol";
import {Fees} from "./libraries/Fees.sol";
import {RequestFields} from "./libraries/RequestFields.sol";
import {RequestState} from "./libraries/RequestState.sol";
import {StampLib} from "./libraries/Stamp.sol";
import {Terms} from "./libraries/Terms.sol";

/// @title Thousands of answers paid at once: vouchers, held claims, and answers that are summoned to be disputed.
contract PaymentChannels is IPaymentChannels, EIP712, Multicall {
    using RequestFields for Request;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    bytes32 private constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(address payer,bytes32 offer,uint128 cumulative,uint64 answers,bytes32 receiptsRoot)"
    );
    bytes32 private constant CLOSE_TYPEHASH = keccak256("Close(bytes32 channelId,uint256 cumulative,uint256 deadline)");
    bytes32 private constant ENDED = bytes32(uint256(1)); // of a summon
    uint256 private constant MAX_LOCKS = 1 << 20; // of an offer: their stake stays below 2^101
    uint256 private constant GRACE = 5 minutes; // in which an operator learns of a change of access
    uint256 private constant MAX_URL_BYTES = 256; // as of an endpoint in the registry
    uint256 private constant FIRST_LANE = RequestState.MAX_LANE + 1;
    uint256 private constant BY_CONTRACT = 1 << 255; // in a row's `who`
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    IInferenceMarket private immutable MARKET;
    IModelRegistry private immutable REGISTRY;
    IModelAccess private immutable ACCESS;
    IOperatorRegistry private immutable OPERATORS;
    IERC20 private immutable TOKEN;
    IDisputeGame private immutable GAME;
    uint256 private immutable MIN_LOCK;
    uint256 private immutable CLOSE_DELAY;

    mapping(bytes32 offerId => Cover) private _covers;
    mapping(bytes32 offerId => mapping(uint256 slot => bytes32)) private _held;
    mapping(bytes32 channelId => Channel) private _channels;
    mapping(bytes32 requestId => bytes32 offerId) private _summons;
    mapping(bytes32 requestId => bytes32) private _states; // of what was summoned, in the market while it is live
    mapping(bytes32 requestId => bool) private _refused; // answers to somebody without access, proven
    mapping(bytes32 digest => bool) private _closes; // that an operator signed and that were used

    constructor(ChannelsConfig memory config_) EIP712("Tallystick", "1") {
        MARKET = IInferenceMarket(config_.market);
        CLOSE_DELAY = config_.closeDelay;
        MarketConfig memory market = MARKET.config();
        REGISTRY = IModelRegistry(market.registry);
        ACCESS = IModelAccess(market.access);
        OPERATORS = IOperatorRegistry(market.operators);
        TOKEN = IERC20(market.token);
        GAME = IDisputeGame(market.exactModule);
        MIN_LOCK = market.minLock;
        if (config_.closeDelay == 0) revert ConfigInvalid("closeDelay");
        if (market.exactModule == address(0)) revert ConfigInvalid("exactModule");
        if (market.channels != address(this)) revert ConfigInvalid("market");
        TOKEN.forceApprove(config_.market, type(uint256).max);
    }

    // ── Offers: operators ───────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPaymentChannels
    function cover(Offer calldata offer, uint256 locks) external {
        bytes32 offerId = _requireOperator(offer);
        Cover storage cover_ = _covers[offerId];
        if (cover_.exhausted || cover_.endsAt != 0) revert OfferUncovered(offerId);
        uint256 all = cover_.locks + locks;
        if (locks == 0 || all > MAX_LOCKS) revert LocksInvalid(locks, MAX_LOCKS - cover_.locks);
        Terms terms = offer.terms;
        bool current = Terms.unwrap(REGISTRY.termsOf(offer.modelId, offer.version)) == Terms.unwrap(terms);
        if (!current || !terms.exists() || terms.retired()) revert TermsStale(offer.modelId, offer.version);
        if (terms.maxUnits() != 0) revert VersionMetered(offer.modelId, offer.version);
        cover_.locks = uint32(all);
        emit OfferCovered(offerId, msg.sender, offer.modelId, offer, all);
        OPERATORS.lockFor(offer.modelId, msg.sender, locks * _lock(offer));
    }

    /// @inheritdoc IPaymentChannels
    function uncover(Offer calldata offer) external {
        if (OPERATORS.isAuthorized(offer.modelId, offer.operator)) _requireOperator(offer);
        bytes32 offerId = offerIdOf(offer);
        Cover storage cover_ = _covers[offerId];
        if (cover_.locks == 0) revert OfferUncovered(offerId);
        if (cover_.endsAt != 0) revert OfferEndingAlready(offerId, cover_.endsAt);
        uint256 endsAt = block.timestamp + 2 * offer.terms.challengeWindow();
        cover_.endsAt = uint40(endsAt);
        emit OfferEnding(offerId, endsAt);
    }

    /// @inheritdoc IPaymentChannels
    function release(Offer calldata offer) external {
        bytes32 offerId = offerIdOf(offer);
        Cover storage cover_ = _covers[offerId];
        (uint256 locks, uint256 endsAt) = (cover_.locks, cover_.endsAt);
        if (locks == 0) revert OfferUncovered(offerId);
        if (endsAt == 0 || block.timestamp < endsAt) revert OfferNotEnding(offerId, endsAt);
        if (cover_.open != 0) revert SummonsOpen(offerId, cover_.open);
        cover_.locks = 0;
        emit OfferReleased(offerId, locks);
        OPERATORS.unlock(offer.operator, locks * _lock(offer));
    }

    /// @inheritdoc IPaymentChannels
    function announce(string calldata url) external {
        uint256 length = bytes(url).length;
        if (length > MAX_URL_BYTES) revert EndpointTooLong(length, MAX_URL_BYTES);
        emit EndpointAnnounced(msg.sender, url);
    }

    // ── Channels: payers ────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPaymentChannels
    function open(address payer, address signer, Offer calldata offer, uint256 amount) external {
        _open(payer, signer, offer, amount, msg.sender);
        MARKET.fundChannel(msg.sender, amount);
    }

    /// @inheritdoc IPaymentChannels
    function openWithPermit(
        address payer,
        address signer,
        Offer calldata offer,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        _open(payer, signer, offer, amount, msg.sender);
        // A permit that somebody sent first has done its work: the transfer below decides.
        try IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        MARKET.deposit(address(this), amount);
    }

    /// @inheritdoc IPaymentChannels
    function openWithAuthorization(
        address payer,
        address signer,
        Offer calldata offer,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 channelId = _open(payer, signer, offer, amount, payer);
        // The nonce says which channel is meant: whoever sends this can change nothing.
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IERC3009(address(TOKEN)).receiveWithAuthorization(
            payer,
            address(this),
            amount,
            validAfter,
            validBefore,
            nonce,
            v,
            r,
            s
        );
        MARKET.deposit(address(this), amount);
    }

    function _open(
        address payer,
        address signer,
        Offer calldata offer,
        uint256 amount,
        address from
    ) private returns (bytes32 channelId) {
        if (amount == 0) revert AmountZero();
        if (signer == address(0)) revert SignerZero();
        bytes32 offerId = offerIdOf(offer);
        Cover storage cover_ = _covers[offerId];
        if (cover_.locks == 0 || cover_.endsAt != 0) revert OfferUncovered(offerId);
        channelId = channelIdOf(payer, signer, offerId);
        Channel storage channel = _channels[channelId];
        if (channel.closesAt != 0) revert ChannelIsClosing(channelId, channel.closesAt);
        channel.deposit = (channel.deposit + amount).toUint96();
        emit ChannelFunded(channelId, offerId, payer, signer, from, amount);
    }

    /// @inheritdoc IPaymentChannels
    function close(address signer, Offer calldata offer, uint256 time) external {
        bytes32 channelId = channelIdOf(msg.sender, signer, offerIdOf(offer));
        Channel storage channel = _requireMoney(channelId);
        uint256 closesAt = Math.max(time, block.timestamp + CLOSE_DELAY);
        if (channel.closesAt != 0 && closesAt >= channel.closesAt) {
            revert ChannelIsClosing(channelId, channel.closesAt);
        }
        channel.closesAt = closesAt.toUint40();
        emit ChannelClosing(channelId, closesAt);
    }

    /// @inheritdoc IPaymentChannels
    function closeAgreed(
        address signer,
        Offer calldata offer,
        uint256 cumulative,
        uint256 deadline,
        bytes calldata signature
    ) external {
        bytes32 channelId = channelIdOf(msg.sender, signer, offerIdOf(offer));
        Channel storage channel = _requireMoney(channelId);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(CLOSE_TYPEHASH, channelId, cumulative, deadline)));
        bool signed = SignatureChecker.isValidSignatureNowCalldata(offer.operator, digest, signature);
        bool over = _closes[digest] || block.timestamp >= deadline;
        if (!signed || over || cumulative < channel.claimed || cumulative > channel.deposit) {
            revert CloseInvalid(channelId);
        }
        _closes[digest] = true; // who tops up again must not take back what it owes since
        _withdraw(channelId, channel, msg.sender, cumulative);
    }

    /// @inheritdoc IPaymentChannels
    function withdraw(address payer, address signer, Offer calldata offer) external {
        bytes32 channelId = channelIdOf(payer, signer, offerIdOf(offer));
        // Also when all of it was claimed before: only this opens the channel again.
        Channel storage channel = _channels[channelId];
        uint256 closesAt = channel.closesAt;
        if (closesAt == 0 || block.timestamp < closesAt) revert ChannelNotClosed(channelId, closesAt);
        _withdraw(channelId, channel, payer, channel.claimed);
    }

    function _withdraw(bytes32 channelId, Channel storage channel, address payer, uint256 left) private {
        uint256 amount = channel.deposit - left;
        (channel.deposit, channel.closesAt) = (uint96(left), 0);
        emit ChannelWithdrawn(channelId, payer, amount);
        if (amount != 0) MARKET.transfer(payer, amount);
    }

    // ── Claims ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPaymentChannels
    function claim(Offer calldata offer, Held[] calldata due, uint256 slot, VoucherRow[] calldata rows) external {
        bytes32 offerId = _requireOperator(offer);
        if (due.length != 0) settle(offer, due);
        if (_covers[offerId].locks == 0) revert OfferUncovered(offerId);
        if (!RequestState.isFree(_held[offerId][slot])) revert SlotTaken(offerId, slot);
        uint256 total;
        unchecked {
            // A deposit has 96 bits, and a transaction no room for 2^160 of them.
            for (uint256 i; i < rows.length; ++i) total += _take(offerId, rows[i], i);
        }
        if (total == 0) revert AmountZero();
        bytes32 rowsHash = keccak256(abi.encode(rows));
        _held[offerId][slot] = _heldHash(rowsHash, total, block.timestamp);
        emit VouchersClaimed(offerId, msg.sender, slot, rowsHash, total, block.timestamp);
    }

    /// @dev Takes a voucher's amount out of its channel's deposit.
    function _take(bytes32 offerId, VoucherRow calldata row, uint256 i) private returns (uint256) {
        (uint256 cumulative, uint256 from) = _sums(row);
        bytes32 channelId = _channelOf(offerId, row, true);
        Channel memory channel = _channels[channelId];
        // Whoever signs with another key than a channel's names a channel that is empty.
        bool closed = channel.closesAt != 0 && block.timestamp >= channel.closesAt;
        if (closed || from != channel.claimed || cumulative <= from || cumulative > channel.deposit) {
            revert VoucherInvalid(i, channelId, channel.claimed, channel.deposit);
        }
        _channels[channelId].claimed = uint96(cumulative);
        unchecked {
            return cumulative - from;
        }
    }

    /// @dev The channel that a row is signed for: that of the payer and of whose key signed, so a row need not name
    /// the key. A contract has none, and says whether it signed; when that is settled, it is not asked again, as it
    /// might say something else.
    function _channelOf(bytes32 offerId, VoucherRow calldata row, bool ask) private view returns (bytes32) {
        address payer = address(uint160(row.who));
        bytes32 digest = voucherHash(payer, offerId, uint128(row.sums), uint64(row.who >> 160), row.receiptsRoot);
        bytes32 s = bytes32((uint256(row.vs) << 1) >> 1);
        uint8 v = uint8(27 + (uint256(row.vs) >> 255));
        address signer;
        if (row.who & BY_CONTRACT == 0) {
            // Of the two signatures that say the same, the one with the low s counts (EIP-2).
            if (uint256(s) <= HALF_ORDER) signer = ecrecover(digest, v, row.r, s);
        } else if (!ask || SignatureChecker.isValidERC1271SignatureNow(payer, digest, abi.encodePacked(row.r, s, v))) {
            signer = payer;
        }
        return channelIdOf(payer, signer, offerId);
    }

    /// @inheritdoc IPaymentChannels
    function settle(Offer calldata offer, Held[] calldata due) public {
        bytes32 offerId = offerIdOf(offer);
        Cover memory cover_ = _covers[offerId];
        if (cover_.exhausted) revert OfferUncovered(offerId);
        if (cover_.open != 0 && cover_.open >= cover_.locks) revert SummonsOpen(offerId, cover_.open);
        uint256 window = offer.terms.challengeWindow();
        uint256 total;
        for (uint256 i; i < due.length; ++i) {
            Held calldata held = due[i];
            _requireHeld(offerId, held);
            uint256 until = held.claimedAt + window;
            if (block.timestamp < until) revert ClaimHeld(offerId, until);
            _held[offerId][held.slot] = RequestState.FREE;
            total += held.total;
            emit ClaimSettled(offerId, held.slot, held.total);
        }
        if (total == 0) revert AmountZero();
        MARKET.payOperator(offer.operator, offer.modelId, offer.terms, total);
    }

    /// @inheritdoc IPaymentChannels
    function void(Offer calldata offer, Held calldata held, VoucherRow[] calldata rows) external {
        bytes32 offerId = offerIdOf(offer);
        _requireHeld(offerId, held);
        if (!_covers[offerId].exhausted) revert OfferNotExhausted(offerId);
        if (keccak256(abi.encode(rows)) != held.rowsHash) revert ClaimMismatch(offerId, held.slot);
        _held[offerId][held.slot] = RequestState.FREE;
        emit ClaimVoided(offerId, held.slot, held.total);
        unchecked {
            // What the claim added. It costs no more than that did: a claim that fills a block can be given back.
            for (uint256 i; i < rows.length; ++i) {
                (uint256 cumulative, uint256 from) = _sums(rows[i]);
                _channels[_channelOf(offerId, rows[i], false)].claimed -= uint96(cumulative - from);
            }
        }
    }

    // ── Answers ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPaymentChannels
    function summon(Request calldata request, address signer, Offer calldata offer, Receipt calldata receipt) external {
        bytes32 requestId = RequestState.idAt(address(MARKET), request);
        // Anybody else could take the lane, or show another receipt for it first, and so keep a wrong answer out.
        if (msg.sender != request.requester()) revert CallerNotPayer(requestId, msg.sender);
        bytes32 offerId = offerIdOf(offer);
        bytes32 channelId = channelIdOf(msg.sender, signer, offerId);
        _requireOwn(requestId, request, channelId, offer);
        uint256 until = request.expiresAt() + offer.terms.challengeWindow();
        if (block.timestamp >= until) revert ChallengeWindowPassed(requestId, until);
        if (_summons[requestId] != 0) revert SummonExists(requestId);
        _requireSigned(requestId, offer.operator, receipt);
        Cover storage cover_ = _covers[offerId];
        if (cover_.locks == 0) revert OfferUncovered(offerId);
        ++cover_.open;
        _summons[requestId] = offerId;
        _states[requestId] = RequestState.delivered(requestId, offer.operator, StampLib.ofNow(0), receipt.outputRoot);
        emit Summoned(requestId, offerId, channelId, msg.sender);
        MARKET.summon(msg.sender, request, receipt.outputRoot);
    }

    /// @inheritdoc IPaymentChannels
    function endSummon(Request calldata request) external {
        bytes32 requestId = RequestState.idAt(address(MARKET), request);
        _endSummon(requestId);
        // Not whether the lane is free: another answer may be in it already.
        bytes32 commitment = MARKET.commitmentOf(request.requester(), request.lane());
        if (commitment == _states[requestId]) revert SummonLive(requestId);
    }

    /// @inheritdoc IPaymentChannels
    function convicted(bytes32 requestId) external returns (bool funded) {
        if (msg.sender != address(MARKET)) revert CallerNotMarket(msg.sender);
        bytes32 offerId = _endSummon(requestId);
        if (_covers[offerId].locks == 0) return false;
        _spendLock(offerId, requestId);
        return true;
    }

    function _spendLock(bytes32 offerId, bytes32 requestId) private {
        Cover storage cover_ = _covers[offerId];
        uint256 locks = cover_.locks - 1;
        cover_.locks = uint32(locks);
        if (locks == 0) cover_.exhausted = true;
        emit LockSpent(offerId, requestId, locks);
    }

    // ── Access ──────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPaymentChannels
    function proveRefused(
        Request calldata request,
        address signer,
        Offer calldata offer,
        Receipt calldata receipt
    ) external {
        bytes32 requestId = RequestState.idAt(address(MARKET), request);
        address payer = request.requester();
        bytes32 offerId = offerIdOf(offer);
        _requireOwn(requestId, request, channelIdOf(payer, signer, offerId), offer);
        _requireSigned(requestId, offer.operator, receipt);
        if (_refused[requestId]) revert RefusalProvenAlready(requestId);
        if (_covers[offerId].locks == 0) revert OfferUncovered(offerId);
        uint256 time = request.expiresAt();
        // A time to come could be one at which the payer has access.
        bool certain = time >= GRACE && time <= block.timestamp;
        if (!certain || !ACCESS.refusedAt(offer.modelId, payer, request.params, time - GRACE)) {
            revert RefusalUncertain(requestId, time);
        }
        _refused[requestId] = true;
        emit RefusedProven(requestId, offerId, msg.sender);
        _spendLock(offerId, requestId);
        OPERATORS.slash(offer.operator, _lock(offer), _lock(offer));
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IPaymentChannels
    function offerIdOf(Offer calldata offer) public pure returns (bytes32) {
        return keccak256(abi.encode(offer));
    }

    /// @inheritdoc IPaymentChannels
    function channelIdOf(address payer, address signer, bytes32 offerId) public pure returns (bytes32) {
        return keccak256(abi.encode(payer, signer, offerId));
    }

    /// @inheritdoc IPaymentChannels
    function laneOf(bytes32 channelId, uint256 index) public pure returns (uint256) {
        return FIRST_LANE | (uint256(keccak256(abi.encode(channelId, index))) & (FIRST_LANE - 1));
    }

    /// @inheritdoc IPaymentChannels
    function coverOf(bytes32 offerId) external view returns (Cover memory) {
        return _covers[offerId];
    }

    /// @inheritdoc IPaymentChannels
    function channelOf(bytes32 channelId) external view returns (Channel memory) {
        return _channels[channelId];
    }

    /// @inheritdoc IPaymentChannels
    function heldOf(bytes32 offerId, uint256 slot) external view returns (bytes32) {
        return _held[offerId][slot];
    }

    /// @inheritdoc IPaymentChannels
    function summonOf(bytes32 requestId) external view returns (bytes32) {
        return _summons[requestId];
    }

    /// @inheritdoc IPaymentChannels
    function voucherHash(
        address payer,
        bytes32 offerId,
        uint256 cumulative,
        uint256 answers,
        bytes32 receiptsRoot
    ) public view returns (bytes32) {
        return
            _hashTypedDataV4(
                keccak256(abi.encode(VOUCHER_TYPEHASH, payer, offerId, cumulative, answers, receiptsRoot))
            );
    }

    /// @inheritdoc IPaymentChannels
    function config() external view returns (ChannelsConfig memory) {
        return ChannelsConfig({market: address(MARKET), closeDelay: uint32(CLOSE_DELAY)});
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    function _requireOperator(Offer calldata offer) private view returns (bytes32 offerId) {
        offerId = offerIdOf(offer);
        if (msg.sender != offer.operator) revert CallerNotOfferer(offerId, msg.sender);
    }

    function _requireMoney(bytes32 channelId) private view returns (Channel storage channel) {
        channel = _channels[channelId];
        if (channel.deposit == channel.claimed) revert ChannelEmpty(channelId);
    }

    function _requireHeld(bytes32 offerId, Held calldata held) private view {
        bytes32 wanted = _heldHash(held.rowsHash, held.total, held.claimedAt);
        if (_held[offerId][held.slot] != wanted) revert ClaimMismatch(offerId, held.slot);
    }

    /// @dev Whole words are compared, so that no field is left that nobody looked at.
    function _requireOwn(
        bytes32 requestId,
        Request calldata request,
        bytes32 channelId,
        Offer calldata offer
    ) private pure {
        uint256 target = (offer.modelId << 160) | (offer.version << 208);
        uint256 service = uint160(offer.operator) | (request.expiresAt() << 200);
        bool own =
            request.target == target &&
                request.service == service &&
                Terms.unwrap(request.terms) == Terms.unwrap(offer.terms) &&
                request.lane() == laneOf(channelId, request.origin >> 192) &&
                request.inputRoot != 0;
        if (!own) revert RequestForeign(requestId);
    }

    function _requireSigned(bytes32 requestId, address operator, Receipt calldata receipt) private view {
        bytes32 digest = GAME.receiptHash(requestId, receipt.outputRoot, receipt.traceRoot);
        (address key, , ) = ECDSA.tryRecoverCalldata(digest, receipt.signature);
        bool signed = key == operator;
        if (!signed) {
            signed = SignatureChecker.isValidERC1271SignatureNowCalldata(operator, digest, receipt.signature);
        }
        if (!signed || receipt.outputRoot == 0) revert ReceiptInvalid(requestId, operator);
    }

    function _endSummon(bytes32 requestId) private returns (bytes32 offerId) {
        offerId = _summons[requestId];
        if (uint256(offerId) <= uint256(ENDED)) revert SummonMissing(requestId);
        _summons[requestId] = ENDED;
        --_covers[offerId].open;
        emit SummonEnded(requestId, offerId);
    }

    function _sums(VoucherRow calldata row) private pure returns (uint256 cumulative, uint256 from) {
        return (uint128(row.sums), row.sums >> 128);
    }

    function _heldHash(bytes32 rowsHash, uint256 total, uint256 claimedAt) private pure returns (bytes32) {
        return keccak256(abi.encode(rowsHash, total, claimedAt));
    }

    function _lock(Offer calldata offer) private view returns (uint256) {
        return Fees.lockTotal(offer.terms, MIN_LOCK);
    }
}
