"""What each contract error means, in English, and what to do next. One table, nothing else.

A placeholder is an argument of the error; what follows the colon says how to show it: `usd` an
amount of the token, `eth` wei, `time` unix seconds, `span` seconds, `id` a digest (shortened),
`key` a request id. A third column holds the argument, or `True`, where time alone heals the error.
"""

from typing import NamedTuple


class Sentence(NamedTuple):
    """How one error reads."""

    message: str
    hint: str = ""
    heals_at: str | bool = False  # argument with the time, or True: later, at no known time


_S = Sentence
_OWNER = "only the holder of the model's token may; `tallystick model show {modelId}` names it"
_WIRING = "the contracts are wired to one market at deployment; use its functions instead"
_GRANT = "apply with `tallystick access apply {modelId}`, or ask an admin of the model"
_SHOW = "look at it with `tallystick request show {requestId:key}`"

SENTENCES: dict[str, Sentence] = {
    # ── Registry ────────────────────────────────────────────────────────────────────────────────
    "ModelUnknown": _S("There is no model {modelId}.", "`tallystick model list` shows all"),
    "VersionUnknown": _S(
        "Model {modelId} has no version {version}.", "`tallystick model versions {modelId}`"
    ),
    "VersionAlreadyRetired": _S("Version {version} of model {modelId} is already retired."),
    "VersionRetired": _S(
        "Version {version} of model {modelId} is retired and takes no new requests.",
        "`tallystick model versions {modelId}` shows those that are in use",
    ),
    "CallerNotModelOwner": _S("{caller} does not own model {modelId}.", _OWNER),
    "StaleHead": _S(
        "The history of model {modelId} has moved on: its head is {current:id}, not {given:id}.",
        "somebody published meanwhile: read the history again, then publish on top of it",
    ),
    "UpdateTooSoon": _S(
        "Model {modelId} may not publish another version before {allowedAt:time}.",
        "the update interval was fixed when the model was registered: wait",
        "allowedAt",
    ),
    "UpdateIntervalTooLong": _S(
        "An update interval of {given:span} is too long; {max:span} is the most."
    ),
    "NameLengthInvalid": _S("A name of {length} bytes does not fit: it has 1 to {max} bytes."),
    "DigestZero": _S("A digest is zero.", "a version needs a manifest and a model root"),
    "AssuranceUnavailable": _S(
        "Versions cannot be published with assurance {given}.",
        "no module for it is deployed here; publish as Committee",
    ),
    "SharesTooHigh": _S(
        "The shares add up to {sumBps} basis points; operator and data may have {maxBps} at most."
    ),
    "InsuredMultipleInvalid": _S(
        "An insurance of {given} times the fee is too much; {max} is the most."
    ),
    "ProtectionLowered": _S(
        "Insurance and challenge window of version {version} of model {modelId} may only rise.",
        "publish a new version for weaker terms",
    ),
    "ProgramUnknown": _S(
        "No valid program is registered under the root {modelRoot:id}.",
        "register the program before the version",
    ),
    "ChallengeWindowRangeInvalid": _S("Challenge windows from {min:span} to {max:span} are none."),
    "ChallengeWindowInvalid": _S(
        "A challenge window of {given:span} does not fit: {min:span} to {max:span}."
    ),
    # ── Access ──────────────────────────────────────────────────────────────────────────────────
    "CallerNotAdmin": _S("{caller} is not an admin of model {modelId}.", "its owner names admins"),
    "CallerNotMarket": _S("{caller} is not the market.", _WIRING),
    "ApplicationsClosed": _S(
        "Model {modelId} takes no applications: its policy is {policy:policy}.",
        "an open model needs none; for an allow-list ask an admin of the model",
    ),
    "ApplicationPending": _S(
        "{requester} has already applied for model {modelId}.",
        "wait until an admin decides: `tallystick access show {modelId}`",
    ),
    "AlreadyGranted": _S("{requester} already has access to model {modelId}."),
    "NoteTooLong": _S("The note has {length} bytes; {max} is the most."),
    "GrantMissing": _S("{requester} has no access to model {modelId}.", _GRANT),
    "GrantDenied": _S(
        "{requester} was denied access to model {modelId}.", "ask an admin of the model"
    ),
    "GrantExpired": _S("The access of {requester} to model {modelId} ended {expiry:time}.", _GRANT),
    "ExpiryInPast": _S("The expiry {expiry:time} is not in the future.", "0 means never"),
    "RateLimitExceeded": _S(
        "{requester} has used up the rate limit of model {modelId} until {resetsAt:time}.",
        "wait, or ask an admin for a higher limit",
        "resetsAt",
    ),
    "RateLimitInvalid": _S(
        "A rate limit of {maxPerWindow} in {window:span} makes no sense.",
        "give both a number and a window, or zero for both",
    ),
    "ParameterOutOfBounds": _S(
        "Parameter lane {lane} of model {modelId} is {value}; {minimum} to {maximum} is allowed.",
        "`tallystick access limits {modelId}` shows the bounds",
    ),
    "BoundsInverted": _S(
        "In lane {lane} the minimum {minimum} is above the maximum {maximum}.",
    ),
    # ── Operators ───────────────────────────────────────────────────────────────────────────────
    "OperatorUnknown": _S(
        "{operator} is not registered as an operator.", "`tallystick operator register`"
    ),
    "OperatorAlreadyRegistered": _S("{operator} is already registered as an operator."),
    "OperatorUnauthorized": _S(
        "Operator {operator} is not authoritative for model {modelId}.",
        "its owner runs `tallystick operator authorize {modelId} {operator}`",
    ),
    "EndpointTooLong": _S("The endpoint has {length} bytes; {max} is the most."),
    "StakeInsufficient": _S(
        "Operator {operator} has {free:usd} of free stake; {needed:usd} is needed.",
        "stake more with `tallystick operator stake`, or wait until deliveries settle",
        True,
    ),
    "LockInsufficient": _S(
        "Operator {operator} has {locked:usd} locked; {needed:usd} is to be taken."
    ),
    "UnbondingPending": _S(
        "Operator {operator} is already unstaking until {releaseAt:time}.",
        "one at a time: finish it then",
        "releaseAt",
    ),
    "UnbondingMissing": _S("Operator {operator} is not unstaking anything."),
    # ── Market: money ───────────────────────────────────────────────────────────────────────────
    "AmountZero": _S("The amount is zero."),
    "BalanceInsufficient": _S(
        "{account} has a prepaid balance of {balance:usd}; {needed:usd} is needed.",
        "deposit more with `tallystick wallet deposit`",
    ),
    "FeeAboveMax": _S(
        "The model's fee is {fee:usd}, above your limit of {maxFee:usd}.",
        "raise --max-fee, or choose another version",
    ),
    "TransferFailed": _S("{amount:usd} could not be transferred to {to}."),
    "BondTooLow": _S("A bond of {given:eth} is too low; {needed:eth} is needed."),
    # ── Market: requests ────────────────────────────────────────────────────────────────────────
    "InputRootZero": _S("The digest of the input is zero."),
    "LifetimeInvalid": _S("A lifetime of {given:span} does not fit: {min:span} to {max:span}."),
    "PriorityWindowInvalid": _S(
        "A priority window of {given:span} is too long; {max:span} is the most.",
    ),
    "CallbackGasInvalid": _S("A callback gas of {given} is too much; {max} is the most."),
    "LaneBusy": _S(
        "Lane {lane} of {requester} holds a request that is not settled.",
        "ask for a free lane, or leave the choice to the client",
    ),
    "SignatureInvalid": _S(
        "The signature is not by {requester}.", "is it for this chain and this contract?"
    ),
    "SignatureExpired": _S("The signature was valid until {deadline:time}.", "sign again"),
    "NonceStale": _S(
        "The signature of {requester} names nonce {given}, the next one is {current}.", "sign again"
    ),
    "LaneInvalid": _S(
        "Lane {given} does not exist; {max} is the last.",
        "ask for a free lane, or leave the choice to the client",
    ),
    "RequestStateMismatch": _S(
        "Request {requestId:id} is not in the state this call needs: it was never made, is "
        "settled, was claimed or delivered by somebody else, or vanished in a reorg.",
        _SHOW,
    ),
    "RequestExpired": _S(
        "Request {requestId:id} expired {expiresAt:time}.",
        "`tallystick request cancel {requestId:key}` brings the fee back",
    ),
    "RequestNotExpired": _S(
        "Request {requestId:id} can be cancelled from {expiresAt:time} on.", "wait", "expiresAt"
    ),
    "PriorityWindowOpen": _S(
        "Until {priorityUntil:time} only the preferred operator may serve request {requestId:id}.",
        "claim it then",
        "priorityUntil",
    ),
    "PriorityWindowPassed": _S(
        "The priority window of request {requestId:id} ended {priorityUntil:time}.",
        "claim it before delivering",
    ),
    "CallerNotPreferredOperator": _S(
        "{caller} is not the preferred operator of request {requestId:id}.",
        "wait until the priority window ends, then claim it",
    ),
    "CallerNotClaimant": _S("{caller} does not hold the claim on request {requestId:id}.", _SHOW),
    "ClaimActive": _S(
        "Request {requestId:id} is claimed until {until:time}.",
        "it is open again if the claimant does not deliver by then",
        "until",
    ),
    "ClaimLapsed": _S(
        "The claim on request {requestId:id} lapsed {until:time}.",
        "claim it again; the lapsed claim forfeits part of the stake",
    ),
    # ── Market: settlement and disputes ─────────────────────────────────────────────────────────
    "OutputRootZero": _S("The digest of the output is zero."),
    "ChallengeWindowOpen": _S(
        "The answer to request {requestId:id} can be challenged until {until:time}.",
        "then `tallystick request finalize {requestId:key}` pays it out",
        "until",
    ),
    "ChallengeWindowPassed": _S(
        "The answer to request {requestId:id} could be challenged until {until:time}.",
        "it is too late",
    ),
    "DisputesOpen": _S(
        "Request {requestId:id} has {open} open dispute(s).", "wait for the verdict", True
    ),
    "DisputesMissing": _S("Request {requestId:id} has no open dispute."),
    "CallerNotModule": _S("{caller} is not the dispute module of this kind of version."),
    "OutputAlreadyDemanded": _S("The output of request {requestId:id} is already demanded.", _SHOW),
    "OutputNotDemanded": _S("Nobody demanded the output of request {requestId:id}."),
    "OutputTooLarge": _S("The output has {size} bytes; {max} is the most."),
    "OutputMismatch": _S(
        "The output posted for request {requestId:id} has digest {given:id}; {committed:id} was "
        "delivered.",
        "post the very bytes that were delivered",
    ),
    "DemandOpen": _S(
        "The operator has until {deadline:time} to post the output of request {requestId:id}.",
        "wait",
        "deadline",
    ),
    "DemandExpired": _S(
        "The output of request {requestId:id} had to be posted until {deadline:time}."
    ),
    "DisputesNotStale": _S(
        "The disputes of request {requestId:id} can be annulled from {staleAt:time} on.",
        "wait",
        "staleAt",
    ),
    "ConfigInvalid": _S("The contract cannot be deployed: its {field} does not fit."),
    "LengthMismatch": _S("The lists do not match: {left} against {right} entries."),
    "CallbackGasMissing": _S(
        "{available} gas is left for the callback; {needed} is needed.", "send with more gas"
    ),
    # ── Programs of exact models ────────────────────────────────────────────────────────────────
    "ProgramLengthInvalid": _S("The program has {words} words; its header says {expected}."),
    "HeaderInvalid": _S("The program's header {header} is not one of format 1."),
    "InputInvalid": _S("Input {input} of the program is not a tensor: its spec is {spec}."),
    "OperatorInvalid": _S(
        "Operator {op} of the program breaks a rule: {part}.", "docs/exact.md, sections 3 and 4"
    ),
    "ProgramAlreadyRegistered": _S("The program {modelRoot:id} is already registered."),
    "ProofInvalid": _S(
        "The proof does not fit what the chain knows: {part}.",
        "was it made for this very answer and trace?",
    ),
    "PositionInvalid": _S("Operator {op} of the program wrote no element [{row}, {col}]."),
    # ── Disputes of exact answers ───────────────────────────────────────────────────────────────
    "ChallengeExists": _S("{challenger} already challenges the answer to {requestId:id}."),
    "ChallengeMissing": _S("{challenger} does not challenge the answer to {requestId:id}."),
    "TurnInvalid": _S(
        "In the challenge of {requestId:id} by {challenger} it is time for another move: its turn "
        "is {current:turn}."
    ),
    "TurnOver": _S("The turn in the challenge of {requestId:id} was over {deadline:time}."),
    "TurnOpen": _S(
        "The turn in the challenge of {requestId:id} lasts until {deadline:time}.",
        "wait",
        "deadline",
    ),
    "CallerNotOperator": _S("{caller} did not deliver the answer to {requestId:id}."),
    "RecordMismatch": _S(
        "This is not the record of version {version} of model {modelId}, or it is not exact.",
        "`tallystick model versions {modelId}`",
    ),
    "TraceMissing": _S(
        "The trace of the answer to {requestId:id} is not on chain.",
        "demand it: challenge without a witness",
    ),
    "TraceAlreadyCommitted": _S("The trace of the answer to {requestId:id} is on chain already."),
    "LeavesInvalid": _S("{given} hashes were shown; {expected} are needed."),
    "DemandsExhausted": _S("{challenger} has used up its demands about {requestId:id}."),
    "TargetInvalid": _S("There is no node or element ({op}, {level}, {index}) to show."),
    "OpeningInvalid": _S(
        "What was shown does not fit the answer to {requestId:id}, or not what was demanded."
    ),
    "WitnessMissing": _S(
        "{challenger} committed to no fault in the answer to {requestId:id}.",
        "prove an element of leaves that were revealed to this challenge",
    ),
    "WitnessMismatch": _S(
        "{challenger} committed to another fault in the answer to {requestId:id}, or with "
        "another salt."
    ),
    "WitnessTooYoung": _S(
        "The fault in the answer to {requestId:id} can be proven from block {provableFrom} on.",
        "wait a block",
        True,
    ),
    "StepConsistent": _S("Element [{row}, {col}] of operator {op} is right."),
    "StepInconsistent": _S("Element [{row}, {col}] of operator {op} is wrong."),
    "ReceiptInvalid": _S("The receipt for {requestId:id} is not signed by {signer}."),
    "ReceiptsAgree": _S("What the operator signed for {requestId:id} does not contradict itself."),
    "RequestLive": _S(
        "The request {requestId:id} has not ended.", "the bond is free after its verdict", True
    ),
    # ── Committee ───────────────────────────────────────────────────────────────────────────────
    "RuntimeClassInvalid": _S(
        "Version {version} of model {modelId} cannot be given the runtime class {runtimeClass:id}.",
        "it is named once, and zero is the general class that every version starts with",
    ),
    "SeatTooSmall": _S(
        "A seat with {stake:usd} is too small; {needed:usd} is the least.", "stake more"
    ),
    "SeatLeaving": _S(
        "{member} is leaving the class {runtimeClass:id} until {releaseAt:time}.",
        "finish leaving first",
        "releaseAt",
    ),
    "SeatMissing": _S("{member} has no such seat in the class {runtimeClass:id}."),
    "SeatBound": _S(
        "The stake of {member} in the class {runtimeClass:id} is free {releaseAt:time}.",
        "wait",
        "releaseAt",
    ),
    "PoolTooSmall": _S(
        "The class {runtimeClass:id} has {eligible:usd} of stake that could be drawn; "
        "{needed:usd} is needed.",
        "members must enlist before an answer is challenged",
    ),
    "DisputeExists": _S(
        "The answer to {requestId:id} has had its dispute already.",
        "`tallystick committee show {requestId:key}`",
    ),
    "StageInvalid": _S(
        "The dispute about {requestId:id} is not in the stage that this call needs, but "
        "{current:stage}.",
        "`tallystick committee show {requestId:key}`",
    ),
    "SeedPending": _S(
        "The committee about {requestId:id} can be drawn after block {seedBlock}.",
        "wait a few blocks",
        True,
    ),
    "DrawOver": _S(
        "The committee about {requestId:id} had to be drawn until {drawUntil:time}.",
        "the dispute lapses now, and with it the challenger's bond",
    ),
    "DrawOpen": _S(
        "The committee about {requestId:id} can be drawn until {drawUntil:time}.",
        "draw it",
        "drawUntil",
    ),
    "CommitOver": _S("Votes about {requestId:id} could be committed to until {commitUntil:time}."),
    "RevealNotOpen": _S(
        "Votes about {requestId:id} can be revealed from {opensAt:time} on.", "wait", "opensAt"
    ),
    "RevealOver": _S("Votes about {requestId:id} could be revealed until {revealUntil:time}."),
    "RoundOpen": _S(
        "The round about {requestId:id} can be tallied from {revealUntil:time} on.",
        "wait",
        "revealUntil",
    ),
    "RoundNotTallied": _S("Round {round} about {requestId:id} has not been tallied.", "tally it"),
    "RoundFull": _S("Twelve members with lower hashes vote in round {round} about {requestId:id}."),
    "MemberNotDrawn": _S("{member} was not drawn in round {round} about {requestId:id}."),
    "MemberExcluded": _S("{member} has an interest in {requestId:id} and may not vote on it."),
    "MemberNotSilent": _S("{member} was not silent in round {round} about {requestId:id}."),
    "CommitmentZero": _S("A commitment of zero is none."),
    "CommitmentExists": _S("{member} has committed to a vote about {requestId:id} already."),
    "CommitmentMissing": _S("{member} has committed to no vote about {requestId:id}."),
    "CommitmentMismatch": _S(
        "This is not the vote about {requestId:id} that {member} committed to."
    ),
    "FindingInvalid": _S("A vote needs a finding, not {given}."),
    "VoteRevealedAlready": _S("{member} has revealed its vote about {requestId:id} already."),
    # ── OpenZeppelin: EIP-6093 and helpers ──────────────────────────────────────────────────────
    "ERC20InsufficientBalance": _S(
        "{sender} has {balance:usd}; {needed:usd} is needed.", "`tallystick wallet fund`"
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
    "SafeERC20FailedOperation": _S("The token {token} refused the transfer."),
    "ReentrancyGuardReentrantCall": _S("The contract was called while it was busy."),
    "CheckpointUnorderedInsertion": _S("The chain's clock went backwards."),
    "Error": _S("The contract said: {reason}."),
    "Panic": _S("The contract failed an internal check: {code:panic}."),
}
