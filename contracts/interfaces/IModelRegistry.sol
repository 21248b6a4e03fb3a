// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {Terms} from "../libraries/Terms.sol";

/// @notice How a wrong answer of a version is found out.
/// None: no such version. Committee: a float model, re-run by operators drawn at random.
/// Exact: an integer program, one element of which a contract re-executes.
enum Assurance {
    None,
    Committee,
    Exact
}

/// @notice What an owner says when publishing a version. See `Terms` for widths and units.
struct Publication {
    bytes32 manifestDigest; // SHA-256 of the manifest, one raw IPFS block: also its CID
    bytes32 modelRoot; // keccak root of weights and program (Exact); SHA-256 of weights (Committee)
    Assurance assurance;
    uint64 tolerance;
    uint64 fee;
    uint16 operatorBps;
    uint16 dataBps;
    uint16 insuredMultiple;
    uint32 challengeWindow;
    uint32 maxUnits; // of a metered version; 0 = each answer costs the fee
}

/// @title Models as ERC-721 tokens, each with an append-only, hash-chained history of versions.
/// @notice Holds no money. Nobody can change or remove a published version; an owner can only
/// append, retire (new requests are refused, history stays) and set terms for later requests.
///
/// The head of model m after version v is
/// `keccak256(abi.encode(prevHead, m, v, manifestDigest, modelRoot, assurance, tolerance, publisher, timestamp))`
/// with `prevHead = 0` for v = 1, so one word proves the whole history.
interface IModelRegistry is IERC721 {
    event ModelRegistered(uint256 indexed modelId, address indexed owner, string name, uint32 updateInterval);
    event VersionPublished(
        uint256 indexed modelId,
        uint32 indexed version,
        address indexed publisher,
        bytes32 prevHead,
        bytes32 head,
        bytes32 manifestDigest,
        bytes32 modelRoot,
        Assurance assurance,
        uint64 tolerance,
        uint40 timestamp
    );
    event TermsSet(uint256 indexed modelId, uint32 indexed version, Terms terms);
    event VersionRetired(uint256 indexed modelId, uint32 indexed version);

    error ModelUnknown(uint256 modelId);
    error VersionUnknown(uint256 modelId, uint32 version);
    error VersionAlreadyRetired(uint256 modelId, uint32 version);
    error CallerNotModelOwner(uint256 modelId, address caller);
    error StaleHead(uint256 modelId, bytes32 given, bytes32 current);
    error UpdateTooSoon(uint256 modelId, uint256 allowedAt);
    error UpdateIntervalTooLong(uint256 given, uint256 max);
    error NameLengthInvalid(uint256 length, uint256 max);
    error DigestZero();
    /// @notice Honest float answers differ between machines: without a tolerance they would be convicted.
    error ToleranceZero();
    error AssuranceUnavailable(Assurance given);
    /// @notice Re-executing an integer program does not show how many units an answer has.
    error ExactMetered();
    error ProgramUnknown(bytes32 modelRoot);
    error ChallengeWindowRangeInvalid(uint256 min, uint256 max);
    error SharesTooHigh(uint256 sumBps, uint256 maxBps);
    error InsuredMultipleInvalid(uint256 given, uint256 max);
    error ProtectionLowered(uint256 modelId, uint32 version);
    /// @notice A model changes hands without operators: the owner withdraws their authorisations first.
    error OperatorsAuthorized(uint256 modelId, uint256 count);
    error AuditShareInvalid(uint256 givenBps, uint256 maxBps);
    /// @notice The stake behind an answer is too small: with the deployment's share of audits a lie earns
    /// more than it costs. Raise the insured multiple, or lower the fee or the operator's share.
    error LyingPays(uint256 lock, uint256 needed);
    error ChallengeWindowInvalid(uint256 given, uint256 min, uint256 max);

    /// @notice Mints a model to the caller. `name` is a label (1…64 bytes), not an identity.
    /// `updateInterval` is the fewest seconds between two versions, fixed for ever.
    function registerModel(string calldata name, uint32 updateInterval) external returns (uint256 modelId);

    /// @notice Appends a version. Only the owner; `prevHead` must be the current head (0 at first),
    /// so that two concurrent publications cannot both succeed. Its data share is that of the version
    /// before it at the least, while somebody holds credits or a round for data is under way.
    function publishVersion(
        uint256 modelId,
        bytes32 prevHead,
        Publication calldata publication
    ) external returns (uint32 version, bytes32 head);

    /// @notice Sets price and shares for later requests; assurance, tolerance and units stay as published.
    /// What protects requesters, insured multiple and challenge window, may only rise: a request in
    /// flight bounds its fee by `maxFee`, and must not find less insurance than it was shown. The data share may
    /// only rise while somebody holds credits of the model, or a round for data is under way.
    function setTerms(
        uint256 modelId,
        uint32 version,
        uint64 fee,
        uint16 operatorBps,
        uint16 dataBps,
        uint16 insuredMultiple,
        uint32 challengeWindow
    ) external;

    /// @notice Refuses new requests of a version. Irrevocable; open requests settle as usual.
    function retireVersion(uint256 modelId, uint32 version) external;

    /// @notice The packed terms; zero when the version does not exist.
    function termsOf(uint256 modelId, uint256 version) external view returns (Terms);
    /// @notice The registry that says who is authorised; zero = none.
    function operators() external view returns (address);
    /// @notice What terms are checked against: the share of answers, in basis points, that are computed
    /// again (0 = unchecked), and the least stake behind an answer.
    function honestyOf() external view returns (uint256 auditBps, uint256 minLock);
    /// @notice The current head of the history; zero before the first version.
    function headOf(uint256 modelId) external view returns (bytes32);
    /// @notice How many versions were published.
    function versionCount(uint256 modelId) external view returns (uint32);
    /// @notice How many models exist; ids run from 1.
    function modelCount() external view returns (uint256);
    /// @notice The model's label.
    function nameOf(uint256 modelId) external view returns (string memory);
    /// @return The hash-chain head right after `version`.
    function headAt(uint256 modelId, uint32 version) external view returns (bytes32);
    /// @notice The SHA-256 of the version's manifest; zero when there is no such version.
    function manifestOf(uint256 modelId, uint32 version) external view returns (bytes32 manifestDigest);
    /// @notice The fewest seconds between two versions.
    function updateIntervalOf(uint256 modelId) external view returns (uint32);
    /// @notice Bounds that every version's challenge window keeps; fixed at deployment.
    function challengeWindowRange() external view returns (uint32 min, uint32 max);
}
