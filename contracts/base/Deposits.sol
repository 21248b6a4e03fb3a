// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDataRounds} from "../interfaces/IDataRounds.sol";

/// @title The money of rounds: deposits, fees, and rewards, and every way out for them.
abstract contract Deposits is IDataRounds, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    address private constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;

    IERC20 private immutable TOKEN;

    mapping(address account => uint256) private _balances;

    constructor(address token_) {
        TOKEN = IERC20(token_);
    }

    /// @inheritdoc IDataRounds
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = _balances[msg.sender];
        if (amount == 0) revert AmountZero();
        _balances[msg.sender] = 0;
        emit BalanceWithdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IDataRounds
    function balanceOf(address account) external view returns (uint256) {
        return _balances[account];
    }

    /// @inheritdoc IDataRounds
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IDataRounds
    function burnAddress() external pure returns (address) {
        return BURN_ADDRESS;
    }

    // ── For rounds ──────────────────────────────────────────────────────────────────────────────

    function _creditBalance(address account, uint256 amount) internal {
        _balances[account] += amount;
    }

    /// @dev Callers must hold the reentrancy guard or have written all state.
    function _receive(uint256 amount) internal {
        if (amount != 0) TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    function _burn(uint256 amount) internal {
        _creditBalance(BURN_ADDRESS, amount);
    }
}
