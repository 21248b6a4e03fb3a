"""Errors of the market and its registries."""

from oracle.chain.sentences.sentence import Sentence

_S = Sentence
_OWNER = "only the holder of the model's token may; `tallystick model show {modelId}` names it"
_WIRING = "the contracts are wired to one market at deployment; use its functions instead"
_GRANT = "apply with `tallystick access apply {modelId}`, or ask an admin of the model"
_SHOW = "look at it with `tallystick request show {requestId:key}`"

MARKET: dict[str, Sentence] = {
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
    "ExactMetered": _S(
        "An exact version is not paid by units: re-executing it does not show how many there are.",
        "publish it with a flat fee: leave `unit` out of model.json",
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
    "LyingPays": _S(
        "Lying would pay: {lock:usd} of stake stand behind an answer, {needed:usd} are needed for "
        "the operator's share and the share of answers that are computed again.",
        "raise the insured multiple (--insured), or lower the fee or the operator's share",
    ),
    "AuditShareInvalid": _S("{givenBps} basis points of audits are none: {maxBps} is the most."),
    "OperatorsAuthorized": _S(
        "Model {modelId} has {count} authorised operator(s), and changes hands with none.",
        "dismiss them first: `tallystick operator authorize {modelId} OPERATOR --remove`",
    ),
    "ProgramUnknown": _S(
        "No valid program is registered under the root {modelRoot:id}.",
        "register the program before the version",
    ),
    "ChallengeWindowRangeInvalid": _S("Challenge windows from {min:span} to {max:span} are none."),
    "ToleranceZero": _S(
        "A float version needs a tolerance: honest answers differ between machines.",
        "`tallystick model publish` measures it",
    ),
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
        "Operator {operator} is not authorised for model {modelId}.",
        "its owner runs `tallystick operator authorize {modelId} {operator}`",
    ),
    "EndpointTooLong": _S("The endpoint has {length} bytes; {max} is the most."),
    "StakeInsufficient": _S(
        "{0} has {free:usd} of free stake; {needed:usd} is needed.",
        "stake more (`tallystick operator stake`), or wait until what is locked is settled",
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
        "deposit more: `tallystick wallet deposit AMOUNT --key NAME`",
    ),
    "FeeAboveMax": _S(
        "The model's fee is {fee:usd}, above your limit of {maxFee:usd}.",
        "raise the limit (--max-fee, max_fee=), or choose another version",
    ),
    "TransferFailed": _S("{amount:usd} could not be transferred to {to}."),
    "BondUnexpected": _S(
        "{given:eth} came along, and there is nothing to pay with it.",
        "only an order with a consumer brings the gas of its callback",
    ),
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
        "The signature is not by {0}.", "is it for this chain and this contract?"
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
    "OutputCidForeign": _S(
        "The bytes of the answer to request {requestId:id} lie under its root, and nowhere else.",
        "a float answer's root is its CID",
    ),
    "UnitsInvalid": _S(
        "The answer to {requestId:id} has {given} units; its terms allow {max}.",
        "units of a metered version are 1 to that many, those of another 0",
    ),
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
    "NothingSettled": _S(
        "None of these answers can be settled now.", "name one alone to be told why", True
    ),
    "DisputeAnnulled": _S(
        "The disputes of request {requestId:id} ended without a verdict; its demand decides."
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
    "CallbackNotSkipped": _S(
        "No callback of request {requestId:id} was skipped: none was ordered, it was made, "
        "or the answer is not final."
    ),
}
