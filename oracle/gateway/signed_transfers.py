"""The transfers that payers sign for one account: whether a token takes one, and who has sent it.

A payer is an account with a key, or a contract that says itself what its signature is. Anyone may
send what it signed.
"""

from collections.abc import Callable

from oracle.chain.bindings.test_dollar import AuthorizationUsed, Transfer
from oracle.chain.contract import Call, split_signature
from oracle.chain.contract_signature import signed_by_contract
from oracle.chain.revert import ContractError
from oracle.protocol import x402
from oracle.protocol.x402 import Authorization, PaymentInvalid
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.types import Address, Amount, Bytes32

MAX_GAS = 300_000  # of a transfer: what a contract does to check its signature is the payer's
_ERC6492 = bytes.fromhex("6492" * 16)  # at the end of what a wallet signs that is not deployed
_USED = "invalid_exact_evm_nonce_already_used"
_CODES = {  # the token's refusals in x402's words
    "ERC3009UsedAuthorization": _USED,
    "ERC3009InvalidAuthorizationTime": "invalid_exact_evm_payload_authorization_valid_before",
    "ERC3009InvalidSignature": "invalid_exact_evm_payload_signature",
    "ERC20InsufficientBalance": "invalid_exact_evm_insufficient_balance",
}


class SignedTransfers:
    """Transfers to one account."""

    def __init__(self, network: Network, account: Address, simulate: Callable[[Call], int]) -> None:
        """Take the collaborators.

        Args:
            account: is paid.
            simulate: returns a call's gas, or raises the ContractError that it would meet.
        """
        self._network = network
        self._account = account
        self._simulate = simulate

    # ── Before it is sent ───────────────────────────────────────────────────────────────────────
    def signed(self, authorization: Authorization, digest: Bytes32) -> Call:
        """Return the transfer as the token takes it from this payer.

        Raises:
            PaymentInvalid: neither the payer's key nor the payer as a contract (ERC-1271) signed.
        """
        payer, signature = authorization.payer, authorization.signature
        token = self._network.token
        values = (
            payer,
            authorization.to,
            authorization.value,
            authorization.valid_after,
            authorization.valid_before,
            authorization.nonce,
        )
        if x402.signed_by_key(authorization, digest):  # every token of EIP-3009 has this form
            vrs = split_signature(signature)
            return token.transfer_with_authorization_with_v_r_s(*values, *vrs)
        # Whoever asks pays nothing for this: the node shall not work for a stranger's contract
        most = 10 * MAX_GAS
        if signed_by_contract(self._network.rpc, payer, digest, signature, gas=most):
            return token.transfer_with_authorization(*values, signature)
        if signature.endswith(_ERC6492):
            raise PaymentInvalid(
                "invalid_exact_evm_payload_undeployed_smart_wallet",
                f"{payer} is a wallet that is not deployed yet (ERC-6492)",
                hint="deploy the wallet, then sign a new payment",
            )
        raise PaymentInvalid(
            "invalid_exact_evm_payload_signature",
            f"the signature is not that of {payer} for this payment",
        )

    def gas_of(self, transfer: Call) -> int:
        """Return the gas of a transfer that the token would take now.

        Raises:
            PaymentInvalid: it would not, or it takes more than is paid for a payer.
        """
        try:
            gas = self._simulate(transfer)
        except ContractError as error:
            code = _CODES.get(error.name, "invalid_exact_evm_transaction_simulation_failed")
            raise PaymentInvalid(code, f"the token refuses the transfer: {error}") from error
        if gas > MAX_GAS:
            raise PaymentInvalid(
                "invalid_exact_evm_transaction_simulation_failed",
                f"the transfer takes {gas:,} gas, and at most {MAX_GAS:,} are spent on one",
                hint="pay from a wallet whose signatures are cheaper to check",
            )
        return gas

    # ── Once it is sent ─────────────────────────────────────────────────────────────────────────
    def sent(self, authorization: Authorization, since: int, refusal: str) -> bool:
        """Return whether somebody sent a transfer before its payer brought it here.

        Args:
            since: first block that is looked at.
            refusal: why it cannot be sent now.
        """
        payer, nonce = authorization.payer, authorization.nonce
        if not self._network.token.authorization_state(payer, nonce):
            return refusal == _USED  # its transaction waits for a block
        used = self.use_of(payer, nonce, since)
        return self.that_used(used, payer, authorization.value) is not None

    def waits(self, payer: Address, nonce: Bytes32) -> bool:
        """Return whether a transaction that uses a nonce waits for a block."""
        used = self._network.token.authorization_state
        return not used(payer, nonce) and used(payer, nonce, "pending")

    def use_of(self, payer: Address, nonce: Bytes32, since: int) -> Happened | None:
        """Return where a transfer used a nonce, from a block on."""
        read, token = self._network.history.read, self._network.token.address
        found = read(token, (AuthorizationUsed,), topic(payer), nonce, since=since)
        return next(iter(found), None)

    def that_used(self, used: Happened | None, payer: Address, value: Amount) -> Bytes32 | None:
        """Return the transaction, if the transfer that used a nonce paid us this much.

        A payer can sign several with one nonce: ours is the one whose `Transfer` follows at once,
        as the token logs it.
        """
        if used is None:
            return None
        read, token = self._network.history.read, self._network.token.address
        between = topic(payer), topic(self._account)
        for sent in read(token, (Transfer,), *between, since=used.block):
            assert isinstance(sent.event, Transfer)
            behind = (sent.tx_hash, sent.index) == (used.tx_hash, used.index + 1)
            if behind and sent.event.value == value:
                return sent.tx_hash
        return None
