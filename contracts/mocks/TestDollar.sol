// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Payment token for development: ERC-20 with EIP-2612 permits and EIP-3009 authorizations,
/// 6 decimals like the stablecoin that stands here in production, and a faucet open to everybody.
contract TestDollar is ERC20, ERC20Permit, ERC3009 {
    /// @notice A million dollars a call: enough for every test, too little to overflow a balance.
    uint256 public constant FAUCET_MAX = 1_000_000e6;

    error FaucetAmountTooHigh(uint256 amount, uint256 max);

    constructor() ERC20("Test Dollar", "TUSD") ERC20Permit("Test Dollar") {}

    /// @notice Mints `amount` token units to `to`.
    function faucet(address to, uint256 amount) external {
        if (amount > FAUCET_MAX) revert FaucetAmountTooHigh(amount, FAUCET_MAX);
        _mint(to, amount);
    }

    /// @notice `transferWithAuthorization` for a payer that may be a contract and says itself what its signature
    /// is (ERC-1271), as USDC has it since version 2.2.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 hash = _hashTypedDataV4(
            keccak256(abi.encode(TRANSFER_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce))
        );
        require(SignatureChecker.isValidSignatureNowCalldata(from, hash, signature), ERC3009InvalidSignature());
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    /// @notice Version of the EIP-712 domain, as wallets of EIP-3009 tokens ask for it.
    function version() external pure returns (string memory) {
        return "1";
    }
}
