// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IInferenceMarket, Request} from "./interfaces/IInferenceMarket.sol";
import {IRequestLens, RequestView} from "./interfaces/IRequestLens.sol";
import {RequestFields} from "./libraries/RequestFields.sol";
import {RequestState} from "./libraries/RequestState.sol";
import {Terms} from "./libraries/Terms.sol";

/// @title Reads the packed words of a request, and which lanes are free; holds nothing.
/// @dev A contract of its own, because the market has no bytes to spare. Every narrowing below is of a value that
/// was cut to that width.
contract RequestLens is IRequestLens {
    using RequestFields for Request;

    uint256 private constant FREE_LANE_SEARCH = 256;

    IInferenceMarket private immutable MARKET;

    constructor(IInferenceMarket market) {
        MARKET = market;
    }

    /// @inheritdoc IRequestLens
    function freeLane(address requester, uint256 from) external view returns (uint256 lane) {
        for (uint256 i; i < FREE_LANE_SEARCH; ++i) {
            lane = from + i;
            uint256 max = RequestState.MAX_LANE;
            if (lane > max) revert IInferenceMarket.LaneInvalid(lane, max);
            if (RequestState.isFree(MARKET.commitmentOf(requester, lane))) return lane;
        }
        revert IInferenceMarket.LaneBusy(requester, lane);
    }

    /// @inheritdoc IRequestLens
    function read(Request calldata request) external pure returns (RequestView memory fields) {
        fields.requester = request.requester();
        fields.nonce = uint64(request.origin >> 192);
        fields.lane = uint32(request.lane());
        fields.operator = request.operator();
        fields.priorityUntil = uint40(request.priorityUntil());
        fields.expiresAt = uint40(request.expiresAt());
        fields.consumer = request.consumer();
        fields.callbackGas = uint24(request.callbackGas());
        fields.modelId = uint48(request.modelId());
        fields.version = uint24(request.version());
        fields.inputRoot = request.inputRoot;
        fields.inputCid = request.inputCid;
        fields.params = request.params;
        fields.envelope = request.envelope;
        Terms terms = request.terms;
        fields.fee = uint64(terms.fee());
        fields.operatorBps = uint16(terms.operatorBps());
        fields.dataBps = uint16(terms.dataBps());
        fields.insuredMultiple = uint16(terms.insuredMultiple());
        fields.challengeWindow = uint32(terms.challengeWindow());
        fields.tolerance = uint64(terms.tolerance());
        fields.assurance = terms.assurance();
    }
}
