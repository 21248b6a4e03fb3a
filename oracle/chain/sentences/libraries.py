"""Errors of Solidity, OpenZeppelin and the payment token."""

from oracle.chain.sentences.sentence import Sentence

_S = Sentence

LIBRARIES: dict[str, Sentence] = {
    # ── OpenZeppelin: EIP-6093 and helpers ──────────────────────────────────────────────────────
    "ERC20InsufficientBalance": _S(
        "{sender} has {balance:usd}; {needed:usd} is needed.",
        "on a development network: `tallystick wallet fund NAME AMOUNT`",
    ),
    "ERC20InsufficientAllowance": _S(
        "{spender} may take {allowance:usd}; {needed:usd} is needed.", "approve it first"
    ),
    "ERC20InvalidSender": _S("Tokens cannot come from {sender}."),
    "ERC20InvalidReceiver": _S("Tokens cannot go to {receiver}."),
    "ERC20InvalidApprover": _S("{approver} cannot approve anything."),
    "ERC20InvalidSpender": _S("{spender} cannot be approved."),
    "ERC721InvalidOwner": _S("{owner} cannot own a model."),
    "ERC721NonexistentToken": _S("There is no model {tokenId}.", "`tallystick model list`"),
    "ERC721IncorrectOwner": _S("{sender} does not own model {tokenId}; {owner} does."),
    "ERC721InvalidSender": _S("A model cannot come from {sender}."),
    "ERC721InvalidReceiver": _S("A model cannot go to {receiver}."),
    "ERC721InsufficientApproval": _S("{operator} may not transfer model {tokenId}."),
    "ERC721InvalidApprover": _S("{approver} cannot approve anything."),
    "ERC721InvalidOperator": _S("{operator} cannot be approved."),
    "ERC2612ExpiredSignature": _S("The permit was valid until {deadline:time}.", "sign again"),
    "ERC2612InvalidSigner": _S("The permit is signed by {signer}, not by {owner}."),
    "ERC3009InvalidAuthorizationTime": _S(
        "The signed payment is valid after {validAfter:time} and before {validBefore:time}."
    ),
    "ERC3009InvalidSignature": _S("The signed payment is not signed by its payer."),
    "ERC3009UsedAuthorization": _S(
        "The signed payment {nonce:id} of {authorizer} is used or cancelled."
    ),
    "FaucetAmountTooHigh": _S("The faucet gives {max:usd} at a time, not {amount:usd}."),
    "SafeCastOverflowedUintDowncast": _S("{value} does not fit {bits} bits."),
    "InvalidAccountNonce": _S("The next nonce of {account} is {currentNonce}.", "sign again"),
    "ECDSAInvalidSignature": _S("The signature is invalid."),
    "ECDSAInvalidSignatureLength": _S("The signature has {length} bytes; 65 are needed."),
    "ECDSAInvalidSignatureS": _S("The signature is malleable (s = {s:id}).", "use the lower s"),
    "InvalidShortString": _S("A short string is malformed."),
    "StringTooLong": _S("The string {str} is too long."),
    "AddressEmptyCode": _S("There is no contract at {target}."),
    "FailedCall": _S("A call within the call failed without a reason."),
    "SafeERC20FailedOperation": _S("The token {token} refused the transfer."),
    "ReentrancyGuardReentrantCall": _S("The contract was called while it was busy."),
    "CheckpointUnorderedInsertion": _S("The chain's clock went backwards."),
    "Error": _S("The contract said: {reason}."),
    "Panic": _S("The contract failed an internal check: {code:panic}."),
}
