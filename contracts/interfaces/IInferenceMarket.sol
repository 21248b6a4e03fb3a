// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Stamp} from "../libraries/Stamp.sol";
import {Terms} from "../libraries/Terms.sol";

/// @notice What a requester asks for.
/// @dev Whole words: narrower types would be range-checked on every read. `request` bounds each.
struct Order {
    uint256 modelId;
    uint256 version;
    uint256 lane; // < 2^31; which commitment slot to use: one that was settled is cheap again
    bytes32 inputRoot; // digest of the canonical input: the only authority on what was asked
    bytes32 inputCid; // where its bytes are: SHA-256 of a raw IPFS block; 0 = inputRoot is that
    bytes32 params; // 8 × uint32 run-time parameters; 0 = the manifest's defaults
    uint256 maxFee; // token units; more than this reverts
    uint256 priorityWindow; // seconds in which only `operator` may deliver
    uint256 lifetime; // seconds until anyone may cancel and the fee is refunded
    address operator; // preferred; 0 = none, open to claims at once
    address consumer; // contract to call after settlement; 0 = none
    uint256 callbackGas;
    bytes32 envelope; // digest of the encryption header; 0 = plain
}

/// @notice A request as the chain knows it. Only its hash is stored; callers bring it back.
/// @dev Three packed words instead of ten fields: every word costs gas in the event and in each
/// later call. Widths, from the lowest bit (`libraries/RequestFields.sol` reads them, and `RequestLens` for
/// programs off the chain):
///
/// ```
///  bit      0                160             192                        256
///  origin   │ requester u160 │ lane u32      │ nonce u64                │
///  bit      0                160             200             240        256
///  service  │ operator u160  │ priorityUntil │ expiresAt       │ 0      │   u40: unix seconds
///  bit      0                160             208             232        256
///  target   │ consumer u160  │ modelId u48   │ version u24 │ callbackGas u24 │
/// ```
/// nonce: the requester's, so that no two requests are equal. A version that exists fits: the
/// registry issues no wider ids.
struct Request {
    uint256 origin;
    uint256 service;
    uint256 target;
    bytes32 inputRoot;
    bytes32 inputCid;
    bytes32 params;
    bytes32 envelope;
    Terms terms; // snapshot: later changes of price or shares do not touch this request
}

/// @notice An exclusive right to deliver, taken after the priority window.
struct Claim {
    address operator;
    uint40 until; // unix seconds
}

/// @notice An answer that waits for its challenge window to pass.
struct Delivery {
    address operator;
    Stamp stamp; // when, and how many units
    bytes32 outputRoot;
}

/// @notice What an operator says when delivering.
struct Answer {
    bytes32 outputRoot;
    bytes32 outputCid; // as `Order.inputCid`; of a Committee version `outputRoot` or zero
    uint256 units; // of a metered version, 1 to `Terms.maxUnits`; 0 = of one with a flat fee
}

/// @notice Everything that is fixed at deployment; nobody can change it afterwards.
struct MarketConfig {
    address token; // ERC-20 without fees on transfer; 6 decimals by convention
    address registry;
    address access;
    address operators;
    address dataCredits; // 0 = none: data shares go to the model's holder
    address exactModule; // may dispute Exact versions; 0 = none
    address committeeModule; // may dispute Committee versions; 0 = none
    address channels; // PaymentChannels; 0 = none
    address treasury; // is credited with the protocol's share and with forfeits
    uint16 protocolBps; // of every fee
    uint64 minLock; // token units locked for one delivery at the least
    uint64 claimForfeit; // token units a lapsed claim pays to the treasury; ≤ minLock
    uint32 claimPeriod; // seconds a claim is exclusive
    uint32 demandPeriod; // seconds to post a demanded output
    uint32 maxDisputeAge; // seconds after the challenge window until anyone may annul
    uint64 minGasPrice; // wei; what bonds reckon with at the least: a base fee is not the cost everywhere
}

/// @notice Why an operator was convicted.
enum Verdict {
    WrongOutput,
    Withheld,
    Equivocation
}

/// @title The only custodian of fees: prepaid balances, requests, claims, deliveries, settlement,
/// refunds, revenue split and compensation.
/// @notice A request lives in one storage slot that holds the hash of its state:
///
/// ```
///            request            claim                deliver                finalize
///   (free) ──────────▶ Requested ─────▶ Claimed ─────────────▶ Delivered ─────────────▶ (free)
///                         │  └─────── deliver (preferred) ────────▲  │
///                         │ cancelExpired │ lapsed: claim again      ├─ convict / convictWithheld:
///                         ▼               ▼ or cancelExpired         │  (free, fee and insured
///                       (free, fee back to the requester;            │  amount to the requester)
///                        a lapsed claimant forfeits)                 └─ annul / annulStale:
///                                                                       (free, fee back, no slash)
/// ```
/// A window or period that starts at s and lasts d seconds is [s, s + d): at s + d it has passed.
/// `finalize`, `cancelExpired`, `convictWithheld` and `annulStale` may be called by anyone: every
/// state has a deadline after which somebody can end it. All payouts are
/// pull: they credit a balance that its holder withdraws. The owner's share is credited to the
/// model, and whoever holds its ERC-721 token collects it.
interface IInferenceMarket {
    event Deposited(address indexed account, address indexed from, uint256 amount);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);
    event BalanceTransferred(address indexed from, address indexed to, uint256 amount);
    event Requested(bytes32 indexed requestId, uint256 indexed modelId, address indexed requester, Request request);
    event Claimed(bytes32 indexed requestId, address indexed operator, uint40 until);
    event ClaimForfeited(bytes32 indexed requestId, address indexed operator, uint256 amount);
    event Delivered(
        bytes32 indexed requestId,
        address indexed operator,
        bytes32 outputRoot,
        bytes32 outputCid,
        Stamp stamp
    );
    event Finalized(
        bytes32 indexed requestId,
        address indexed operator,
        uint256 operatorFee,
        uint256 ownerFee,
        uint256 dataFee,
        uint256 protocolFee,
        uint256 refund // of a metered version: what the units used left of the fee
    );
    event CallbackCompleted(bytes32 indexed requestId, address indexed consumer, bool success);
    event Cancelled(bytes32 indexed requestId, address indexed requester, uint256 refund);
    event OutputDemanded(bytes32 indexed requestId, address indexed challenger, uint256 deadline, uint256 bond);
    event OutputPosted(bytes32 indexed requestId, address indexed operator, bytes output, uint256 challengeUntil);
    event DisputeOpened(bytes32 indexed requestId, address indexed module, uint256 open);
    event DisputeClosed(bytes32 indexed requestId, address indexed module, uint256 open);
    event Convicted(
        bytes32 indexed requestId,
        address indexed operator,
        Verdict verdict,
        uint256 refund,
        uint256 compensation,
        uint256 bounty,
        uint256 burned
    );
    event BountyPaid(bytes32 indexed requestId, address indexed account, uint256 amount);
    event Annulled(bytes32 indexed requestId, address indexed operator, uint256 refund);
    event ModelEarningsCollected(uint256 indexed modelId, address indexed to, uint256 ownerFee, uint256 dataFee);
    event BondWithdrawn(address indexed account, uint256 amount);

    error ConfigInvalid(string field);
    error AmountZero();
    error BalanceInsufficient(address account, uint256 balance, uint256 needed);
    error VersionUnknown(uint256 modelId, uint256 version);
    error VersionRetired(uint256 modelId, uint256 version);
    error FeeAboveMax(uint256 fee, uint256 maxFee);
    error InputRootZero();
    error LifetimeInvalid(uint256 given, uint256 min, uint256 max);
    error PriorityWindowInvalid(uint256 given, uint256 max);
    error CallbackGasInvalid(uint256 given, uint256 max);
    error LaneInvalid(uint256 given, uint256 max);
    error LaneBusy(address requester, uint256 lane);
    error SignatureInvalid(address requester);
    error SignatureExpired(uint256 deadline);
    error NonceStale(address requester, uint256 given, uint256 current);
    /// @notice The slot does not hold this request in the state the call needs: it was never made,
    /// is settled, was claimed by somebody else, was delivered, or vanished in a reorg.
    error RequestStateMismatch(bytes32 requestId);
    error RequestExpired(bytes32 requestId, uint256 expiresAt);
    error RequestNotExpired(bytes32 requestId, uint256 expiresAt);
    error PriorityWindowOpen(bytes32 requestId, uint256 priorityUntil);
    error PriorityWindowPassed(bytes32 requestId, uint256 priorityUntil);
    error CallerNotPreferredOperator(bytes32 requestId, address caller);
    error CallerNotClaimant(bytes32 requestId, address caller);
    error ClaimActive(bytes32 requestId, uint256 until);
    error ClaimLapsed(bytes32 requestId, uint256 until);
    error OutputRootZero();
    /// @notice A metered version's answer has one unit at least and `max` at most; another's has none.
    error UnitsInvalid(bytes32 requestId, uint256 given, uint256 max);
    /// @notice The root of a Committee version's answer is its CID: name that, or zero.
    error OutputCidForeign(bytes32 requestId);
    error ChallengeWindowOpen(bytes32 requestId, uint256 until);
    error ChallengeWindowPassed(bytes32 requestId, uint256 until);
    error DisputesOpen(bytes32 requestId, uint256 open);
    error DisputesMissing(bytes32 requestId);
    error CallerNotModule(address caller);
    error CallerNotChannels(address caller);
    error DisputesNotStale(bytes32 requestId, uint256 staleAt);
    error BondTooLow(uint256 given, uint256 needed);
    error BondUnexpected(uint256 given);
    /// @notice Of several deliveries none could be settled now.
    error NothingSettled();
    error DisputeAnnulled(bytes32 requestId);
    error OutputAlreadyDemanded(bytes32 requestId);
    error OutputNotDemanded(bytes32 requestId);
    error OutputTooLarge(uint256 size, uint256 max);
    error OutputMismatch(bytes32 requestId, bytes32 given, bytes32 committed);
    error DemandOpen(bytes32 requestId, uint256 deadline);
    error DemandExpired(bytes32 requestId, uint256 deadline);
    error LengthMismatch(uint256 left, uint256 right);
    error CallbackGasMissing(uint256 available, uint256 needed);
    error CallbackNotSkipped(bytes32 requestId);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error TransferFailed(address to, uint256 amount);

    // ── Prepaid balances ────────────────────────────────────────────────────────────────────────
    /// @notice Moves tokens of the caller, approved before, into an account's balance.
    function deposit(address account, uint256 amount) external;
    /// @notice `deposit` with an EIP-2612 permit in the same transaction. A permit that was used
    /// by somebody else beforehand does not fail the deposit when the allowance is there.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    /// @notice Pays out of the caller's balance, to any account.
    function withdraw(address to, uint256 amount) external;
    /// @notice Moves a part of the caller's balance to another account's; no token moves.
    function transfer(address to, uint256 amount) external;

    // ── Request ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Escrows the version's fee from the caller's balance. Reverts with the registry's and
    /// the access contract's errors when the version or the grant does not allow it. An order with a
    /// consumer brings the gas of its callback along, in wei (`callbackBond`, or more); what is not used
    /// is a bond of the requester's to withdraw.
    function request(Order calldata order) external payable returns (bytes32 requestId);
    /// @notice Many requests of the caller; one that is not possible reverts all. None of them can pay for a callback.
    function requestBatch(Order[] calldata orders) external;
    /// @notice The same as `request` for a requester who signed (EIP-712, ERC-1271) and does not pay gas.
    /// `nonce` is the requester's current one. Domain: name "Tallystick", version "1"; type
    /// `RequestAuthorization(address requester,Order order,uint256 nonce,uint256 deadline)` followed
    /// by `Order` with the fields of the struct in their order.
    function requestFor(
        address requester,
        Order calldata order,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external payable returns (bytes32 requestId);

    // ── Claim and deliver ───────────────────────────────────────────────────────────────────────
    /// @notice After the priority window: takes the exclusive right to deliver for `claimPeriod`
    /// seconds and locks stake. `lapsed` is the previous claim when one lapsed (its operator then
    /// forfeits to the treasury), empty otherwise. Compute first: a request can be unanswerable.
    function claim(Request calldata request_, Claim calldata lapsed) external;
    /// @notice Posts the answer's digest. By the preferred operator in the priority window (pass an
    /// empty claim) or by the claimant. Locks stake until settlement. The units of a metered version are a
    /// part of the answer: when they do not fit the output, the answer is wrong.
    function deliver(Request calldata request_, Claim calldata claim_, Answer calldata answer) external;
    /// @notice Many deliveries of one operator; one that is not possible reverts all.
    function deliverBatch(Request[] calldata requests, Claim[] calldata claims, Answer[] calldata answers) external;

    // ── Channels ────────────────────────────────────────────────────────────────────────────────
    /// @notice PaymentChannels, 0 = none. It may call what follows.
    function channels() external view returns (address);
    /// @notice Channels only. Moves a part of an account's balance to the channels'.
    function fundChannel(address account, uint256 amount) external;
    /// @notice Channels only. Splits an amount of the channels' balance as the fees that it is; `Finalized` says how,
    /// with request id 0.
    function payOperator(address operator, uint256 modelId, Terms terms, uint256 amount) external;
    /// @notice Channels only. Makes a request that its operator has answered off chain, delivered now. The fee, a flat
    /// one, comes out of `account`'s balance. No stake is locked: a conviction asks the channels for a lock
    /// (`convicted`).
    function summon(address account, Request calldata request_, bytes32 outputRoot) external;

    // ── Settle ──────────────────────────────────────────────────────────────────────────────────
    /// @notice Pays out deliveries whose challenge window has passed without open disputes. Of a metered version
    /// ⌈fee × units ÷ maxUnits⌉ is paid, and the rest of the fee is the requester's again. Of several,
    /// those that cannot be settled are skipped; reverts when none can. A consumer is called when what was
    /// escrowed for it covers the gas at today's price; the caller gets the gas that it spent.
    function finalize(Request[] calldata requests, Delivery[] calldata deliveries) external;
    /// @notice Calls the consumer of a final answer whose call was skipped, because the gas price had risen
    /// above what the escrow pays. For anyone, once; the caller pays the gas.
    /// @param outputRoot As it was delivered.
    function retryCallback(Request calldata request, bytes32 outputRoot) external;

    /// @notice Refunds a request that nobody delivered in time; a lapsed claimant forfeits.
    function cancelExpired(Request calldata request_, Claim calldata claim_) external;

    // ── Output availability ─────────────────────────────────────────────────────────────────────
    /// @notice Obliges the operator to post the output's bytes before a deadline. The bond, in the
    /// chain's currency, pays the gas of doing so, measured, to the operator; the rest comes back, and
    /// all of it when the operator is silent.
    function demandOutput(Request calldata request_, Delivery calldata delivery) external payable;
    /// @notice Answers a demand. Anyone may; the gas is paid to the operator. Of a Committee version the
    /// bytes are the file whose SHA-256 was delivered; of an Exact version the output tensor as
    /// `u16 id ‖ u8 dtype ‖ u32 rows ‖ u32 cols ‖ logical row bytes` (docs/exact.md, section 2). They can be
    /// challenged for as long as the challenge window or `demandPeriod` lasts, the shorter, at the least.
    function postOutput(Request calldata request_, Delivery calldata delivery, bytes calldata output) external;
    /// @notice Convicts an operator that did not answer a demand. Not while a module's dispute is open,
    /// before that is stale: the bounty of a wrong answer is its challengers' and voters'.
    function convictWithheld(Request calldata request_, Delivery calldata delivery) external;

    // ── Disputes: only the module of the version's assurance ────────────────────────────────────
    // A conviction or annulment ends all disputes of the request: a module that acts on an ended
    // request meets RequestStateMismatch.
    /// @notice Opens a dispute within the challenge window, which is longer where bytes were posted late;
    /// `finalize` waits until it is over and no dispute is open.
    function openDispute(Request calldata request_, Delivery calldata delivery) external;
    /// @notice Closes one dispute without a conviction.
    function closeDispute(Request calldata request_, Delivery calldata delivery) external;
    /// @notice Refunds the fee, pays the insured amount to the requester, half the bounty each to
    /// `challenger` and `prover`, burns the rest. Ends the request.
    function convict(
        Request calldata request_,
        Delivery calldata delivery,
        Verdict verdict,
        address challenger,
        address prover
    ) external;
    /// @notice Ends the request without a verdict: fee back to the requester, nobody slashed. While a
    /// demand is open it ends the disputes only, and the demand decides: annulled when the bytes are
    /// posted, convicted when they are not.
    function annul(Request calldata request_, Delivery calldata delivery) external;
    /// @notice The same by anyone, once disputes were open for `maxDisputeAge` seconds after the
    /// challenge window: a dead module traps nobody's money. Not while a demand is open: that ends by
    /// itself, and an operator must not escape it.
    function annulStale(Request calldata request_, Delivery calldata delivery) external;

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────
    /// @notice Credits the owner's share to the holder of the model's token, and the data share to the data
    /// module when the model has credits, to the holder otherwise. Anyone may call; no token moves.
    function collectModelEarnings(uint256 modelId) external;
    /// @notice Pays out the caller's native bonds.
    function withdrawBond() external;

    // ── Views ───────────────────────────────────────────────────────────────────────────────────
    /// @notice What was fixed at deployment.
    function config() external view returns (MarketConfig memory);
    /// @notice An account's prepaid balance.
    function balanceOf(address account) external view returns (uint256 balance);
    /// @notice The nonce of the account's next request.
    function nonceOf(address account) external view returns (uint256);
    /// @notice What the model earned and nobody collected yet.
    function modelEarnings(uint256 modelId) external view returns (uint256 ownerFee, uint256 dataFee);
    /// @notice The account's bonds that it may withdraw.
    function bondOf(address account) external view returns (uint256);
    /// @notice The request's id as the contract computes it.
    function requestIdOf(Request calldata request_) external view returns (bytes32);
    /// @notice Wei that an order with this much callback gas brings along at the least: twice what it costs.
    function callbackBond(uint256 callbackGas) external view returns (uint256);
    /// @return The slot's content: 0 never used, 1 free again, else the hash of a live state.
    function commitmentOf(address requester, uint256 lane) external view returns (bytes32);
    /// @notice Disputes that `finalize` waits for, an unanswered demand included.
    function openDisputesOf(bytes32 requestId) external view returns (uint256);
    /// @return challenger Who demanded the output; 0 when there is no open demand.
    /// @return deadline Unix seconds; 0 when the output was never demanded. Once the bytes were posted: until when
    /// they can be challenged.
    /// @return bond In wei.
    function demandOf(bytes32 requestId) external view returns (address challenger, uint256 deadline, uint256 bond);
    /// @notice Stake locked for one delivery under these terms, and how a conviction splits it:
    /// total = max(2 × insured, minLock); compensation = insured; bounty = 30 % of total; the rest,
    /// 20 % at the least, is burned. insured = fee × insuredMultiple.
    function lockOf(
        Terms terms
    ) external view returns (uint256 total, uint256 compensation, uint256 bounty, uint256 burned);
}
