// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDemandBonds} from "../interfaces/IDemandBonds.sol";

/// @title What a demand costs whoever makes it, and where that goes.
/// @dev Knows nothing of what is demanded. Open demands' bonds are kept by who inherits.
abstract contract DemandBonds is IDemandBonds, ReentrancyGuardTransient {
    address internal constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    /// @dev Gas of showing 64 nodes with a path, or a leaf.
    uint256 private constant ANSWER_GAS = 150_000;

    uint256 private immutable MIN_GAS_PRICE;

    /// @inheritdoc IDemandBonds
    mapping(address account => uint256) public bondOf;

    /// @param minGasPrice wei; what bonds reckon with at the least.
    constructor(uint256 minGasPrice) {
        MIN_GAS_PRICE = minGasPrice;
    }

    /// @inheritdoc IDemandBonds
    function withdrawBond() external nonReentrant {
        uint256 amount = bondOf[msg.sender];
        if (amount == 0) revert AmountZero();
        bondOf[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    /// @inheritdoc IDemandBonds
    function bondNeeded() public view returns (uint256) {
        return 2 * ANSWER_GAS * (block.basefee > MIN_GAS_PRICE ? block.basefee : MIN_GAS_PRICE);
    }

    /// @dev The bond that this call brings; sums of 32 fit 96 bits.
    function _bond() internal view returns (uint96) {
        uint256 needed = bondNeeded();
        if (msg.value < needed || msg.value > type(uint64).max) revert BondTooLow(msg.value, needed);
        return uint96(msg.value);
    }

    function _creditBond(address account, uint256 amount) internal {
        bondOf[account] += amount;
    }

    /// @dev Half of a forfeited bond pays for answers, half is burned: demanding of oneself costs.
    function _forfeitBond(uint256 bond, address server) internal returns (uint256 toServer, uint256 burned) {
        toServer = bond / 2;
        burned = bond - toServer;
        bondOf[server] += toServer;
        bondOf[BURN_ADDRESS] += burned;
    }
}
