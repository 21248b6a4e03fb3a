// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IDataRounds, Place, Round} from "./interfaces/IDataRounds.sol";
import {Fault, Valuation} from "./interfaces/IValuationGame.sol";
import {IValuationVerifier} from "./interfaces/IValuationVerifier.sol";
import {ValuationFaults} from "./libraries/ValuationFaults.sol";
import {DataSet, Shown} from "./libraries/ValuationProofs.sol";

/// @title Computes one number of a valuation again (docs/valuation.md); holds nothing.
contract ValuationVerifier is IValuationVerifier {
    IDataRounds private immutable DATA;

    constructor(IDataRounds data) {
        DATA = data;
    }

    /// @inheritdoc IValuationVerifier
    function convicts(
        uint256 roundId,
        Valuation calldata valuation,
        bytes32,
        Fault calldata fault
    ) external view returns (bool) {
        Round memory round = DATA.roundOf(roundId);
        Shown memory shown;
        shown.features = round.features;
        shown.neighbours = round.neighbours;
        shown.rowTolerance = round.rowTolerance;
        shown.testTolerance = round.testTolerance;
        shown.contributions = round.numbered;
        (shown.N, shown.n, shown.T) = (valuation.N, valuation.n, valuation.T);
        shown.roots = [valuation.order, valuation.sums, valuation.rows, valuation.values, bytes32(0), round.test];
        shown.a = _dataSet(roundId, fault.a);
        shown.b = fault.b == fault.a ? shown.a : _dataSet(roundId, fault.b);
        return ValuationFaults.convicts(shown, fault);
    }

    /// @inheritdoc IValuationVerifier
    function rounds() external view returns (address) {
        return address(DATA);
    }

    function _dataSet(uint256 roundId, uint256 number) private view returns (DataSet memory) {
        Place memory place = DATA.placeOf(roundId, number);
        return DataSet(DATA.contributionOf(roundId, place.index).digest, place.start, place.rows);
    }
}
