// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Terms} from "../libraries/Terms.sol";
import {Receipt} from "./IDisputeGame.sol";
import {Request} from "./IInferenceMarket.sol";

/// @notice What an operator sells through channels: answers of one version at fixed terms.
struct Offer {
    address operator;
    uint256 modelId;
    uint256 version;
    Terms terms; // snapshot: a later price is another offer
    uint256 number; // the operator's; an offer that is over never comes back
}

/// @notice The stake behind an offer.
struct Cover {
    uint32 locks; // convictions that are paid for; each locks what the market locks for one answer
    uint32 open; // summoned answers whose end is not told here yet
    uint40 endsAt; // unix seconds from which the stake can be released; 0 = not ending
    bool exhausted; // every lock was slashed: the offer is over, what it holds goes back to the payers
}

/// @notice What one payer gave for one offer.
struct Channel {
    uint96 deposit; // token units, those paid and withdrawn not taken off
    uint96 claimed; // token units of it that are the operator's, or wait to be
    uint40 closesAt; // unix seconds from which the rest is the payer's, and nothing is claimed; 0 = none
}

/// @notice A voucher in a claim.
/// @dev `who`: payer u160 | answers u64 | 0 | bit 255: the payer is a contract that signed (ERC-1271: r ‖ s ‖ v).
/// `sums`: cumulative u128 | claimed before u128.
struct VoucherRow {
    uint256 who;
    uint256 sums;
    bytes32 receiptsRoot;
    bytes32 r;
    bytes32 vs; // EIP-2098
}

/// @notice A claim that waits for its challenge window.
struct Held {
    uint256 slot; // the operator's; a used one is cheap again
    bytes32 rowsHash; // keccak256(abi.encode(rows))
    uint256 total; // token units
    uint256 claimedAt; // unix seconds
}

/// @notice Everything that is fixed at deployment.
struct ChannelsConfig {
    address market;
    uint32 closeDelay; // seconds between a payer's wish to close and its withdrawal
}

/// @title Payment channels: a payer signs vouchers, an operator signs receipts, thousands of answers settle at once.
/// @notice The market keeps the money: this contract is one of its accounts, and whatever a channel holds came out
/// of a prepaid balance and goes back into one. A receipt is a delivery that was not sent: `summon` writes it into the
/// market, and from there it is disputed as every other.
///
/// ```
///            open            claim                 settle
///   balance ──────▶ deposit ──────▶ held (window) ────────▶ operator, owner, data, protocol
///              ▲       │ close, withdraw   │ void: the offer's locks are used up
///              └───────┴───────────────────┘
/// ```
/// A claim is money when the challenge window of its answers has passed, and while more locks than summoned answers
/// are left: had all of those been wrong, the offer would be exhausted and the claim void. What a lie costs, and how few
/// locks are too few: docs/economics.md.
///
/// A voucher is EIP-712 `Voucher(address payer,bytes32 offer,uint128 cumulative,uint64 answers,bytes32 receiptsRoot)`,
/// domain name "Tallystick", version "1". It replaces all lower ones, and never expires: who tops up a channel again
/// still owes what it signed.
interface IPaymentChannels {
    event OfferCovered(
        bytes32 indexed offerId,
        address indexed operator,
        uint256 indexed modelId,
        Offer offer,
        uint256 locks
    );
    event OfferEnding(bytes32 indexed offerId, uint256 endsAt);
    event OfferReleased(bytes32 indexed offerId, uint256 locks);
    event EndpointAnnounced(address indexed operator, string url);
    event LockSpent(bytes32 indexed offerId, bytes32 indexed requestId, uint256 locks);
    event ChannelFunded(
        bytes32 indexed channelId,
        bytes32 indexed offerId,
        address indexed payer,
        address signer,
        address from,
        uint256 amount
    );
    event ChannelClosing(bytes32 indexed channelId, uint256 closesAt);
    event ChannelWithdrawn(bytes32 indexed channelId, address indexed payer, uint256 amount);
    event VouchersClaimed(
        bytes32 indexed offerId,
        address indexed operator,
        uint256 slot,
        bytes32 rowsHash,
        uint256 total,
        uint256 claimedAt
    );
    event ClaimSettled(bytes32 indexed offerId, uint256 slot, uint256 total);
    event ClaimVoided(bytes32 indexed offerId, uint256 slot, uint256 total);
    event Summoned(bytes32 indexed requestId, bytes32 indexed offerId, bytes32 indexed channelId, address caller);
    event RefusedProven(bytes32 indexed requestId, bytes32 indexed offerId, address caller);
    event SummonEnded(bytes32 indexed requestId, bytes32 indexed offerId);

    error ConfigInvalid(string field);
    error AmountZero();
    error CallerNotMarket(address caller);
    error CallerNotOfferer(bytes32 offerId, address caller);
    error CallerNotPayer(bytes32 requestId, address caller);
    error LocksInvalid(uint256 given, uint256 max);
    /// @notice The registry has other terms for this version now, or it is retired.
    error TermsStale(uint256 modelId, uint256 version);
    /// @notice A receipt does not say how many units an answer has: channels sell versions with a flat fee.
    error VersionMetered(uint256 modelId, uint256 version);
    /// @notice No stake stands behind the offer: it was never covered, is ending, was released, or is exhausted.
    error OfferUncovered(bytes32 offerId);
    error EndpointTooLong(uint256 length, uint256 max);
    error OfferEndingAlready(bytes32 offerId, uint256 endsAt);
    error OfferNotEnding(bytes32 offerId, uint256 endsAt);
    error OfferNotExhausted(bytes32 offerId);
    error SummonsOpen(bytes32 offerId, uint256 open);
    error SignerZero();
    error ChannelEmpty(bytes32 channelId);
    error ChannelIsClosing(bytes32 channelId, uint256 closesAt);
    error ChannelNotClosed(bytes32 channelId, uint256 closesAt);
    /// @notice The close that the operator signed pays it less than it has claimed, or is not its own, or too late.
    error CloseInvalid(bytes32 channelId);
    error SlotTaken(bytes32 offerId, uint256 slot);
    /// @notice A row is not signed for this channel, is above its deposit, does not start where the last one ended, or
    /// comes after the channel closed.
    error VoucherInvalid(uint256 row, bytes32 channelId, uint256 claimed, uint256 deposit);
    error ClaimMismatch(bytes32 offerId, uint256 slot);
    error ClaimHeld(bytes32 offerId, uint256 until);
    error ChallengeWindowPassed(bytes32 requestId, uint256 until);
    /// @notice The request is not one of this channel: operator, version, terms, lane, or a field that must be zero.
    error RequestForeign(bytes32 requestId);
    error ReceiptInvalid(bytes32 requestId, address signer);
    /// @notice The payer may have had access when the answer was signed, or it is not known any more.
    error RefusalUncertain(bytes32 requestId, uint256 time);
    error RefusalProvenAlready(bytes32 requestId);
    error SummonExists(bytes32 requestId);
    error SummonMissing(bytes32 requestId);
    error SummonLive(bytes32 requestId);

    // ── Offers: operators ───────────────────────────────────────────────────────────────────────
    /// @notice Puts stake behind the caller's offer, or more of it. The operator must be authorised for the model,
    /// and the version have a flat fee.
    function cover(Offer calldata offer, uint256 locks) external;
    /// @notice Ends an offer, two challenge windows from now; payers stop at half of it. For the operator, and for
    /// anyone once the model's owner has withdrawn the operator's authority.
    function uncover(Offer calldata offer) external;
    /// @notice Frees the stake of an offer that has ended. For anyone.
    function release(Offer calldata offer) external;
    /// @notice Says where the caller answers what channels pay; "" = nowhere. The latest one counts.
    /// @dev Warning: whoever reads it reads a stranger's text. Nothing here says that it is a URL.
    function announce(string calldata url) external;

    // ── Channels: payers ────────────────────────────────────────────────────────────────────────
    /// @notice Opens a channel or tops it up, out of the caller's prepaid balance.
    /// @param signer Whose vouchers count: the payer, or a key that it made for this. The deposit is the key's limit,
    /// `close` its expiry.
    function open(address payer, address signer, Offer calldata offer, uint256 amount) external;
    /// @notice The same with tokens of the caller and an EIP-2612 permit for this contract.
    function openWithPermit(
        address payer,
        address signer,
        Offer calldata offer,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;
    /// @notice The same with tokens of the payer, who signed an EIP-3009 `ReceiveWithAuthorization` to this contract
    /// and sends nothing. Its nonce is keccak256(abi.encode(channelId, salt)).
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
    ) external;
    /// @notice Says when the caller's channel closes: from then on nothing is claimed from it. An earlier time takes
    /// the place of a later one. With `open` in one `multicall`, a signer gets a limit and an expiry.
    /// @param time Unix seconds; what is sooner than the close delay allows, as 0, means as soon as it allows.
    function close(address signer, Offer calldata offer, uint256 time) external;
    /// @notice Pays out the caller's channel at once, but for `cumulative`, which the operator can still claim. It
    /// signed EIP-712 `Close(bytes32 channelId,uint256 cumulative,uint256 deadline)`, which counts once.
    /// @dev Warning: until it is used or too late, an operator must take no higher voucher of that channel.
    function closeAgreed(
        address signer,
        Offer calldata offer,
        uint256 cumulative,
        uint256 deadline,
        bytes calldata signature
    ) external;
    /// @notice Pays what is not claimed back into the payer's prepaid balance. For anyone, once the channel closed.
    function withdraw(address payer, address signer, Offer calldata offer) external;

    // ── Claims ──────────────────────────────────────────────────────────────────────────────────
    /// @notice Operator only. Takes the vouchers of many channels of an offer into one held claim.
    /// @param due Claims whose window has passed, to settle on the way: several at once cost less each.
    /// @param slot Where the claim is kept: one that is free.
    function claim(Offer calldata offer, Held[] calldata due, uint256 slot, VoucherRow[] calldata rows) external;
    /// @notice Pays out held claims after their window, split as every fee. For anyone.
    function settle(Offer calldata offer, Held[] calldata due) external;
    /// @notice Gives a held claim of an exhausted offer back to its channels. For anyone.
    function void(Offer calldata offer, Held calldata held, VoucherRow[] calldata rows) external;

    // ── Answers ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Payer only. Writes an answer that the operator signed into the market, as if it had been delivered now.
    /// The payer brings the fee of one answer out of its prepaid balance; a conviction pays it back with the insured
    /// amount, a settlement spends it as the fee.
    /// @dev Warning: a contract says itself what it signed, and may say something else later. Payers take receipts
    /// that a key signed.
    /// @param request What both sides computed: origin payer | lane | index, service operator | time of the answer,
    /// target version and model; no consumer.
    /// @param receipt Signed by the operator for the dispute game (`IDisputeGame.receiptHash`).
    function summon(Request calldata request, address signer, Offer calldata offer, Receipt calldata receipt) external;
    /// @notice Tells that a summoned answer is settled or annulled in the market. For anyone.
    function endSummon(Request calldata request) external;
    /// @notice Convicts the operator of an answer to somebody whom the model's owner had refused: no grant, an expired
    /// one, or parameters out of bounds. For anyone who has the receipt. A lock is burned, so nobody earns by asking
    /// for what is refused.
    /// @dev Provable while the rules that refuse have not changed since five minutes before the answer
    /// (`IModelAccess.refusedAt`): an operator that asks the chain within that time is safe.
    function proveRefused(
        Request calldata request,
        address signer,
        Offer calldata offer,
        Receipt calldata receipt
    ) external;
    /// @notice Market only. A summoned answer was convicted: spends a lock of its offer.
    /// @return funded Whether there was one.
    function convicted(bytes32 requestId) external returns (bool funded);

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice keccak256(abi.encode(offer)).
    function offerIdOf(Offer calldata offer) external pure returns (bytes32);
    /// @notice keccak256(abi.encode(payer, signer, offerId)).
    function channelIdOf(address payer, address signer, bytes32 offerId) external pure returns (bytes32);
    /// @notice The lane of an answer: 2^31 + the low 31 bits of keccak256(abi.encode(channelId, index)).
    function laneOf(bytes32 channelId, uint256 index) external pure returns (uint256);
    /// @notice The stake behind an offer.
    function coverOf(bytes32 offerId) external view returns (Cover memory);
    /// @notice What a channel holds.
    function channelOf(bytes32 channelId) external view returns (Channel memory);
    /// @notice What an offer's slot keeps: the hash of a held claim, 0 or 1 when it is free.
    function heldOf(bytes32 offerId, uint256 slot) external view returns (bytes32);
    /// @notice The offer whose answer was summoned as this request; 1 once that ended, 0 = never summoned.
    function summonOf(bytes32 requestId) external view returns (bytes32);
    /// @notice What a voucher's signer signs.
    function voucherHash(
        address payer,
        bytes32 offerId,
        uint256 cumulative,
        uint256 answers,
        bytes32 receiptsRoot
    ) external view returns (bytes32);
    /// @notice What was fixed at deployment.
    function config() external view returns (ChannelsConfig memory);
}
