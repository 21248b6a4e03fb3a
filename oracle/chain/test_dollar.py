"""The payment token: ERC-20 with EIP-2612 permits and EIP-3009; `faucet` only on TestDollar."""

from oracle.chain.contract import Call, Contract, split_signature
from oracle.chain.revert import dollars
from oracle.chain.rpc import BlockId
from oracle.types import Address, Amount, Bytes32, Timestamp


class TestDollar(Contract):
    """A dollar with 6 decimals (mocks/TestDollar.sol)."""

    NAME = "TestDollar"
    __test__ = False  # not a test, whatever pytest makes of the name

    # ── ERC-20 ──────────────────────────────────────────────────────────────────────────────────
    def faucet(self, to: Address, amount: Amount) -> Call:
        """Mint test dollars."""
        return self._call("faucet", to, amount, label=f"mint {dollars(amount)} for {to}")

    def transfer(self, to: Address, value: Amount) -> Call:
        """Pay."""
        return self._call("transfer", to, value, label=f"pay {dollars(value)} to {to}")

    def approve(self, spender: Address, value: Amount) -> Call:
        """Let `spender` take up to `value` from the caller."""
        label = f"let {spender} take {dollars(value)}"
        return self._call("approve", spender, value, label=label)

    def transfer_from(self, from_: Address, to: Address, value: Amount) -> Call:
        """Take what was approved."""
        label = f"move {dollars(value)} from {from_} to {to}"
        return self._call("transferFrom", from_, to, value, label=label)

    # ── Signed payments ─────────────────────────────────────────────────────────────────────────
    def permit(
        self,
        owner: Address,
        spender: Address,
        value: Amount,
        deadline: Timestamp,
        signature: bytes,
    ) -> Call:
        """Approve with the owner's signature (EIP-2612)."""
        return self._call("permit", owner, spender, value, deadline, *split_signature(signature))

    def transfer_with_authorization(
        self,
        *,
        from_: Address,
        to: Address,
        value: Amount,
        valid_after: Timestamp,
        valid_before: Timestamp,
        nonce: Bytes32,
        signature: bytes,
    ) -> Call:
        """Transfer with the payer's signature (EIP-3009)."""
        window = (valid_after, valid_before)
        parts = split_signature(signature)
        return self._call("transferWithAuthorization", from_, to, value, *window, nonce, *parts)

    def receive_with_authorization(
        self,
        *,
        from_: Address,
        to: Address,
        value: Amount,
        valid_after: Timestamp,
        valid_before: Timestamp,
        nonce: Bytes32,
        signature: bytes,
    ) -> Call:
        """The same, only by the payee: nobody can run ahead (EIP-3009)."""
        window = (valid_after, valid_before)
        parts = split_signature(signature)
        return self._call("receiveWithAuthorization", from_, to, value, *window, nonce, *parts)

    def cancel_authorization(self, authorizer: Address, nonce: Bytes32, signature: bytes) -> Call:
        """Make a signed payment worthless (EIP-3009)."""
        return self._call("cancelAuthorization", authorizer, nonce, *split_signature(signature))

    # ── Views ───────────────────────────────────────────────────────────────────────────────────
    def balance_of(self, account: Address, block: BlockId = "latest") -> Amount:
        """Return what the account holds."""
        return Amount(self._read("balanceOf", account, block=block))

    def allowance(self, owner: Address, spender: Address, block: BlockId = "latest") -> Amount:
        """Return what `spender` may still take from `owner`."""
        return Amount(self._read("allowance", owner, spender, block=block))

    def total_supply(self, block: BlockId = "latest") -> Amount:
        """Return the sum of all balances."""
        return Amount(self._read("totalSupply", block=block))

    def nonces(self, owner: Address, block: BlockId = "latest") -> int:
        """Return the nonce of the owner's next permit."""
        return int(self._read("nonces", owner, block=block))

    def authorization_state(
        self, authorizer: Address, nonce: Bytes32, block: BlockId = "latest"
    ) -> bool:
        """Return whether an EIP-3009 nonce is used up."""
        return bool(self._read("authorizationState", authorizer, nonce, block=block))

    def domain_separator(self, block: BlockId = "latest") -> Bytes32:
        """Return the EIP-712 domain's hash."""
        return Bytes32(self._read("DOMAIN_SEPARATOR", block=block))

    def faucet_max(self, block: BlockId = "latest") -> Amount:
        """Return the most that one call of the faucet mints."""
        return Amount(self._read("FAUCET_MAX", block=block))

    def decimals(self, block: BlockId = "latest") -> int:
        """Return how many decimals an amount has."""
        return int(self._read("decimals", block=block))

    def name(self, block: BlockId = "latest") -> str:
        """Return the token's name, also of its EIP-712 domain."""
        return str(self._read("name", block=block))

    def symbol(self, block: BlockId = "latest") -> str:
        """Return the token's symbol."""
        return str(self._read("symbol", block=block))

    def version(self, block: BlockId = "latest") -> str:
        """Return the version of the EIP-712 domain."""
        return str(self._read("version", block=block))
