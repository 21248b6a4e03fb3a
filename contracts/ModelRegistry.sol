// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IDataCredits} from "./interfaces/IDataCredits.sol";
import {IModelRegistry, Assurance, Publication} from "./interfaces/IModelRegistry.sol";
import {IOperatorRegistry} from "./interfaces/IOperatorRegistry.sol";
import {IPrograms} from "./interfaces/IPrograms.sol";
import {Fees} from "./libraries/Fees.sol";
import {Terms, TermsLib} from "./libraries/Terms.sol";

/// @title Models as ERC-721 tokens, each with an append-only, hash-chained history of versions.
contract ModelRegistry is IModelRegistry, ERC721 {
    uint256 private constant MAX_NAME_BYTES = 64;
    uint256 private constant MAX_UPDATE_INTERVAL = 365 days;
    /// @dev What operator and contributors may get together; the rest covers the protocol's share.
    uint256 private constant MAX_SHARES_BPS = 9_000;
    uint256 private constant MAX_INSURED_MULTIPLE = 1_000;

    struct Model {
        bytes32 head;
        uint24 versions; // what a request's packed word holds
        uint32 updateInterval; // seconds
        uint40 updatedAt; // unix seconds of the last publication
        string name;
    }

    /// @dev Validates programs of the exact tier; zero = there is none, and no Exact versions.
    IPrograms private immutable PROGRAMS;
    /// @dev Says whose data share may not fall; zero = nobody's.
    IDataCredits private immutable DATA_CREDITS;
    uint32 private immutable MIN_CHALLENGE_WINDOW;
    uint32 private immutable MAX_CHALLENGE_WINDOW;
    /// @dev Who is authorised for which model; zero = nobody is anywhere.
    IOperatorRegistry private immutable OPERATORS;
    uint256 private immutable AUDIT_BPS;
    uint256 private immutable MIN_LOCK;

    uint256 private _modelCount;
    mapping(uint256 modelId => Model) private _models;
    mapping(uint256 modelId => mapping(uint256 version => Terms)) private _terms;
    mapping(uint256 modelId => mapping(uint256 version => bytes32)) private _heads;
    mapping(uint256 modelId => mapping(uint256 version => bytes32)) private _manifests;

    constructor(
        IPrograms programs,
        IDataCredits dataCredits,
        uint32 minChallengeWindow,
        uint32 maxChallengeWindow,
        uint16 auditBps_,
        uint64 minLock_,
        IOperatorRegistry operators_
    ) ERC721("Tallystick Models", "TALLY") {
        if (minChallengeWindow == 0 || minChallengeWindow > maxChallengeWindow) {
            revert ChallengeWindowRangeInvalid(minChallengeWindow, maxChallengeWindow);
        }
        if (auditBps_ > Fees.BPS) revert AuditShareInvalid(auditBps_, Fees.BPS);
        PROGRAMS = programs;
        DATA_CREDITS = dataCredits;
        MIN_CHALLENGE_WINDOW = minChallengeWindow;
        MAX_CHALLENGE_WINDOW = maxChallengeWindow;
        AUDIT_BPS = auditBps_;
        MIN_LOCK = minLock_;
        OPERATORS = operators_;
    }

    modifier onlyModelOwner(uint256 modelId) {
        if (_requireModel(modelId) != msg.sender) revert CallerNotModelOwner(modelId, msg.sender);
        _;
    }

    // ── Register and publish ────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelRegistry
    function registerModel(string calldata label, uint32 updateInterval) external returns (uint256 modelId) {
        uint256 length = bytes(label).length;
        if (length == 0 || length > MAX_NAME_BYTES) revert NameLengthInvalid(length, MAX_NAME_BYTES);
        if (updateInterval > MAX_UPDATE_INTERVAL) revert UpdateIntervalTooLong(updateInterval, MAX_UPDATE_INTERVAL);
        modelId = ++_modelCount;
        Model storage model = _models[modelId];
        model.name = label;
        model.updateInterval = updateInterval;
        _mint(msg.sender, modelId);
        emit ModelRegistered(modelId, msg.sender, label, updateInterval);
    }

    /// @inheritdoc IModelRegistry
    function publishVersion(
        uint256 modelId,
        bytes32 prevHead,
        Publication calldata publication
    ) external onlyModelOwner(modelId) returns (uint32 version, bytes32 head) {
        Model storage model = _models[modelId];
        if (prevHead != model.head) revert StaleHead(modelId, prevHead, model.head);
        model.versions += 1;
        version = model.versions;
        if (version > 1) {
            uint256 allowedAt = uint256(model.updatedAt) + model.updateInterval;
            if (block.timestamp < allowedAt) revert UpdateTooSoon(modelId, allowedAt);
            _requireShare(modelId, version - 1, publication.dataBps);
        }
        _checkRecord(publication);
        Terms terms = _packTerms(
            publication.fee,
            publication.operatorBps,
            publication.dataBps,
            publication.insuredMultiple,
            publication.challengeWindow,
            publication.tolerance,
            publication.assurance,
            publication.maxUnits
        );
        head = _headAfter(modelId, version, prevHead, publication);
        model.head = head;
        model.updatedAt = uint40(block.timestamp);
        _terms[modelId][version] = terms;
        _heads[modelId][version] = head;
        _manifests[modelId][version] = publication.manifestDigest;
        emit VersionPublished(
            modelId,
            version,
            msg.sender,
            prevHead,
            head,
            publication.manifestDigest,
            publication.modelRoot,
            publication.assurance,
            publication.tolerance,
            uint40(block.timestamp)
        );
        emit TermsSet(modelId, version, terms);
    }

    // ── Terms and retirement ────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelRegistry
    function setTerms(
        uint256 modelId,
        uint32 version,
        uint64 fee,
        uint16 operatorBps,
        uint16 dataBps,
        uint16 insuredMultiple,
        uint32 challengeWindow
    ) external onlyModelOwner(modelId) {
        Terms current = _requireLive(modelId, version);
        if (insuredMultiple < current.insuredMultiple() || challengeWindow < current.challengeWindow()) {
            revert ProtectionLowered(modelId, version);
        }
        _requireShare(modelId, version, dataBps);
        Terms terms = _packTerms(
            fee,
            operatorBps,
            dataBps,
            insuredMultiple,
            challengeWindow,
            uint64(current.tolerance()),
            current.assurance(),
            uint32(current.maxUnits())
        );
        _terms[modelId][version] = terms;
        emit TermsSet(modelId, version, terms);
    }

    /// @inheritdoc IModelRegistry
    function retireVersion(uint256 modelId, uint32 version) external onlyModelOwner(modelId) {
        _terms[modelId][version] = _requireLive(modelId, version).retire();
        emit VersionRetired(modelId, version);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IModelRegistry
    function termsOf(uint256 modelId, uint256 version) external view returns (Terms) {
        return _terms[modelId][version];
    }

    /// @inheritdoc IModelRegistry
    function operators() external view returns (address) {
        return address(OPERATORS);
    }

    /// @inheritdoc IModelRegistry
    function honestyOf() external view returns (uint256 auditBps, uint256 minLock) {
        return (AUDIT_BPS, MIN_LOCK);
    }

    /// @inheritdoc IModelRegistry
    function headOf(uint256 modelId) external view returns (bytes32) {
        _requireModel(modelId);
        return _models[modelId].head;
    }

    /// @inheritdoc IModelRegistry
    function versionCount(uint256 modelId) external view returns (uint32) {
        _requireModel(modelId);
        return _models[modelId].versions;
    }

    /// @inheritdoc IModelRegistry
    function modelCount() external view returns (uint256) {
        return _modelCount;
    }

    /// @inheritdoc IModelRegistry
    function nameOf(uint256 modelId) external view returns (string memory) {
        _requireModel(modelId);
        return _models[modelId].name;
    }

    /// @notice What wallets show of a model: name, description and versions, as JSON in the URI.
    /// @dev Strangers choose names, so the name is escaped. Source: ERC-721, metadata JSON schema.
    function tokenURI(uint256 modelId) public view override returns (string memory) {
        _requireModel(modelId);
        Model storage model = _models[modelId];
        bytes memory json = abi.encodePacked(
            '{"name":"',
            Strings.escapeJSON(model.name),
            '","description":"Model ',
            Strings.toString(modelId),
            ' on Tallystick. Its holder publishes versions and earns from their answers.",',
            '"attributes":[{"trait_type":"Versions","display_type":"number","value":',
            Strings.toString(model.versions),
            "}]}"
        );
        return string.concat("data:application/json;base64,", Base64.encode(json));
    }

    /// @inheritdoc IModelRegistry
    function headAt(uint256 modelId, uint32 version) external view returns (bytes32) {
        _requireVersion(modelId, version);
        return _heads[modelId][version];
    }

    /// @inheritdoc IModelRegistry
    function manifestOf(uint256 modelId, uint32 version) external view returns (bytes32 manifestDigest) {
        _requireVersion(modelId, version);
        return _manifests[modelId][version];
    }

    /// @inheritdoc IModelRegistry
    function updateIntervalOf(uint256 modelId) external view returns (uint32) {
        _requireModel(modelId);
        return _models[modelId].updateInterval;
    }

    /// @inheritdoc IModelRegistry
    function challengeWindowRange() external view returns (uint32 min, uint32 max) {
        return (MIN_CHALLENGE_WINDOW, MAX_CHALLENGE_WINDOW);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return interfaceId == type(IModelRegistry).interfaceId || super.supportsInterface(interfaceId);
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────

    /// @dev Whoever gets a model starts without the last owner's operators: it is handed over when none is left.
    function _update(address to, uint256 modelId, address auth) internal override returns (address from) {
        from = super._update(to, modelId, auth);
        if (from == address(0) || address(OPERATORS) == address(0)) return from;
        uint256 count = OPERATORS.authorizedCount(modelId);
        if (count != 0) revert OperatorsAuthorized(modelId, count);
    }

    function _requireModel(uint256 modelId) private view returns (address owner) {
        owner = _ownerOf(modelId);
        if (owner == address(0)) revert ModelUnknown(modelId);
    }

    function _requireVersion(uint256 modelId, uint32 version) private view returns (Terms terms) {
        terms = _terms[modelId][version];
        if (!terms.exists()) revert VersionUnknown(modelId, version);
    }

    function _requireLive(uint256 modelId, uint32 version) private view returns (Terms terms) {
        terms = _requireVersion(modelId, version);
        if (terms.retired()) revert VersionAlreadyRetired(modelId, version);
    }

    /// @dev What contributors of data were shown when they brought it: not less than this version's data share.
    function _requireShare(uint256 modelId, uint32 version, uint256 dataBps) private view {
        if (dataBps >= _terms[modelId][version].dataBps() || address(DATA_CREDITS) == address(0)) return;
        if (DATA_CREDITS.protectsShare(modelId)) revert ProtectionLowered(modelId, version);
    }

    function _checkRecord(Publication calldata publication) private view {
        if (publication.manifestDigest == 0 || publication.modelRoot == 0) revert DigestZero();
        if (publication.assurance == Assurance.None) revert AssuranceUnavailable(Assurance.None);
        if (publication.assurance == Assurance.Committee && publication.tolerance == 0) revert ToleranceZero();
        if (publication.assurance == Assurance.Exact) {
            if (publication.maxUnits != 0) revert ExactMetered();
            if (address(PROGRAMS) == address(0)) revert AssuranceUnavailable(Assurance.Exact);
            if (!PROGRAMS.isProgram(publication.modelRoot)) revert ProgramUnknown(publication.modelRoot);
        }
    }

    function _packTerms(
        uint64 fee,
        uint16 operatorBps,
        uint16 dataBps,
        uint16 insuredMultiple,
        uint32 challengeWindow,
        uint64 tolerance,
        Assurance assurance,
        uint32 maxUnits
    ) private view returns (Terms) {
        uint256 shares = uint256(operatorBps) + dataBps;
        if (shares > MAX_SHARES_BPS) revert SharesTooHigh(shares, MAX_SHARES_BPS);
        if (insuredMultiple == 0 || insuredMultiple > MAX_INSURED_MULTIPLE) {
            revert InsuredMultipleInvalid(insuredMultiple, MAX_INSURED_MULTIPLE);
        }
        if (challengeWindow < MIN_CHALLENGE_WINDOW || challengeWindow > MAX_CHALLENGE_WINDOW) {
            revert ChallengeWindowInvalid(challengeWindow, MIN_CHALLENGE_WINDOW, MAX_CHALLENGE_WINDOW);
        }
        Terms terms = TermsLib.pack(
            fee,
            operatorBps,
            dataBps,
            insuredMultiple,
            challengeWindow,
            tolerance,
            assurance,
            maxUnits
        );
        _requireHonesty(terms);
        return terms;
    }

    function _requireHonesty(Terms terms) private view {
        if (AUDIT_BPS == 0) return;
        (uint256 lock, uint256 needed) = (Fees.lockTotal(terms, MIN_LOCK), Fees.leastLock(terms, AUDIT_BPS));
        if (lock < needed) revert LyingPays(lock, needed);
    }

    function _headAfter(
        uint256 modelId,
        uint32 version,
        bytes32 prevHead,
        Publication calldata publication
    ) private view returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    prevHead,
                    modelId,
                    version,
                    publication.manifestDigest,
                    publication.modelRoot,
                    publication.assurance,
                    publication.tolerance,
                    msg.sender,
                    block.timestamp
                )
            );
    }
}
