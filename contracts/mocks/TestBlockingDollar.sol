// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title For tests: a token as its issuer can make it, paused and deaf to whom it blocks.
contract TestBlockingDollar is ERC20, ERC20Permit {
    mapping(address account => bool) public blocked;
    bool public paused;

    error Refused();

    constructor() ERC20("Blocking Dollar", "BUSD") ERC20Permit("Blocking Dollar") {}

    function faucet(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setBlocked(address account, bool blocked_) external {
        blocked[account] = blocked_;
    }

    function setPaused(bool paused_) external {
        paused = paused_;
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (paused || blocked[from] || blocked[to]) revert Refused();
        super._update(from, to, amount);
    }
}
