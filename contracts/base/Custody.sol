// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IInferenceMarket} from "../interfaces/IInferenceMarket.sol";
import {Configured} from "./Configured.sol";

/// @title The market's books: who owns which part of the money it holds. Every way in and out.
/// @dev Knows nothing of requests. Tokens leave the market through `withdraw` alone: everybody is credited, and pulls.
/// So no verdict and no other payee waits for a token that refuses an account or is paused.
abstract contract Custody is Configured, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    struct Account {
        uint192 balance; // token units
        uint64 nonce; // requests made
    }

    struct Earnings {
        uint128 owner; // token units
        uint128 data; // token units
    }

    mapping(address account => Account) private _accounts;
    mapping(uint256 modelId => Earnings) private _earnings;
    mapping(address account => uint256) private _bonds;

    // ── Prepaid balances ────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function deposit(address account, uint256 amount) external {
        _deposit(account, amount);
    }

    /// @inheritdoc IInferenceMarket
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // A permit that somebody sent first has done its work: the transfer below decides.
        try IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IInferenceMarket
    function withdraw(address to, uint256 amount) external nonReentrant {
        if (amount == 0) revert AmountZero();
        _debit(msg.sender, amount);
        emit Withdrawn(msg.sender, to, amount);
        // What was slashed waits at the registry of operators until somebody needs it.
        if (TOKEN.balanceOf(address(this)) < amount) OPERATORS.payMarket();
        TOKEN.safeTransfer(to, amount);
    }

    /// @inheritdoc IInferenceMarket
    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function _deposit(address account, uint256 amount) private nonReentrant {
        if (amount == 0) revert AmountZero();
        _credit(account, amount);
        emit Deposited(account, msg.sender, amount);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    // ── Payouts ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function collectModelEarnings(uint256 modelId) external nonReentrant {
        address holder = REGISTRY.ownerOf(modelId);
        Earnings memory earnings = _earnings[modelId];
        (uint256 ownerFee, uint256 dataFee) = (earnings.owner, earnings.data);
        if (ownerFee + dataFee == 0) revert AmountZero();
        bool credited = dataFee != 0 && address(DATA_CREDITS) != address(0) && DATA_CREDITS.hasCredits(modelId);
        if (!credited) (ownerFee, dataFee) = (ownerFee + dataFee, 0);
        delete _earnings[modelId];
        emit ModelEarningsCollected(modelId, holder, ownerFee, dataFee);
        _credit(holder, ownerFee);
        if (dataFee == 0) return;
        _credit(address(DATA_CREDITS), dataFee);
        DATA_CREDITS.creditRevenue(modelId, dataFee);
    }

    /// @inheritdoc IInferenceMarket
    function withdrawBond() external nonReentrant {
        uint256 amount = _bonds[msg.sender];
        if (amount == 0) revert AmountZero();
        _bonds[msg.sender] = 0;
        emit BondWithdrawn(msg.sender, amount);
        (bool sent, ) = msg.sender.call{value: amount}("");
        if (!sent) revert TransferFailed(msg.sender, amount);
    }

    // ── Views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc IInferenceMarket
    function balanceOf(address account) external view returns (uint256 balance) {
        return _accounts[account].balance;
    }

    /// @inheritdoc IInferenceMarket
    function nonceOf(address account) public view returns (uint256) {
        return _accounts[account].nonce;
    }

    /// @inheritdoc IInferenceMarket
    function modelEarnings(uint256 modelId) external view returns (uint256 ownerFee, uint256 dataFee) {
        Earnings memory earnings = _earnings[modelId];
        return (earnings.owner, earnings.data);
    }

    /// @inheritdoc IInferenceMarket
    function bondOf(address account) external view returns (uint256) {
        return _bonds[account];
    }

    // ── For the market ──────────────────────────────────────────────────────────────────────────

    function _credit(address account, uint256 amount) internal {
        _accounts[account].balance += amount.toUint192();
    }

    function _debit(address account, uint256 amount) internal {
        uint256 balance = _accounts[account].balance;
        if (amount > balance) revert BalanceInsufficient(account, balance, amount);
        unchecked {
            _accounts[account].balance = uint192(balance - amount);
        }
    }

    function _move(address from, address to, uint256 amount) internal {
        if (amount == 0) revert AmountZero();
        _debit(from, amount);
        _credit(to, amount);
        emit BalanceTransferred(from, to, amount);
    }

    function _debitAndCount(address account, uint256 amount) internal returns (uint64 nonce) {
        Account memory record = _accounts[account];
        if (amount > record.balance) revert BalanceInsufficient(account, record.balance, amount);
        nonce = record.nonce;
        unchecked {
            _accounts[account] = Account(uint192(record.balance - amount), nonce + 1);
        }
    }

    function _earn(uint256 modelId, uint256 ownerFee, uint256 dataFee, uint256 protocolFee) internal {
        Earnings memory earnings = _earnings[modelId];
        _earnings[modelId] = Earnings(earnings.owner + uint128(ownerFee), earnings.data + uint128(dataFee));
        _credit(TREASURY, protocolFee);
    }

    function _creditBond(address account, uint256 amount) internal {
        _bonds[account] += amount;
    }
}
