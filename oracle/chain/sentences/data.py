"""Errors of rounds for data, of credits, and of the game about valuations."""

from oracle.chain.sentences.sentence import Sentence

_S = Sentence
_ROUND = "`tallystick data round show {roundId}`"
_WAIT = "wait; `tallystick data round show {roundId}` tells the times"

DATA: dict[str, Sentence] = {
    # ── Rounds ──────────────────────────────────────────────────────────────────────────────────
    "CallerNotGame": _S("{caller} is not the valuation game.", "values come through it alone"),
    "CallerNotRounds": _S("{caller} is not the contract of rounds.", "credits come from it alone"),
    "CallerNotCredits": _S("{caller} is not the contract of credits."),
    "CallerNotOpener": _S(
        "{caller} did not open round {roundId}.", "only who opened it may exclude a contribution"
    ),
    "TermsInvalid": _S(
        "A round with such {field} cannot be opened.", "`tallystick data round open --help`"
    ),
    "RoundLive": _S(
        "Model {modelId} has round {roundId}, which has not ended.",
        "one at a time: `tallystick data advance {roundId}` takes it further",
        True,
    ),
    "RoundTooSoon": _S(
        "Model {modelId} can open its next round {opensAt:time}.",
        "holders of credits count on the interval between rounds",
        "opensAt",
    ),
    "RoundStageInvalid": _S(
        "Round {roundId} is not in the stage that this call needs, but {current:round}.", _ROUND
    ),
    "PhaseOver": _S("This phase of round {roundId} ended {until:time}.", _ROUND),
    "PhaseNotOpen": _S("This phase of round {roundId} begins {opensAt:time}.", _WAIT, "opensAt"),
    "TestSetMismatch": _S(
        "This is not the test set that the opener of round {roundId} committed to.",
        "it must be the same rows, number of rows and salt",
    ),
    "TestSetMissing": _S(
        "The test set of round {roundId} was not revealed in time.",
        "`tallystick data advance {roundId}` ends the round and gives deposits back",
    ),
    "TestSetKnown": _S("The test set of round {roundId} has been revealed already."),
    # ── Contributions ───────────────────────────────────────────────────────────────────────────
    "SubmissionMismatch": _S(
        "This is not the data set that contribution {index} of round {roundId} committed to.",
        "it must be the same owner, rows and salt",
    ),
    "SubmissionsExhausted": _S(
        "{owner} has brought {cap} contributions to round {roundId}, and its tier takes no more.",
        "`tallystick data tiers` tells what each tier may bring",
    ),
    "ContributionsFull": _S(
        "Round {roundId} has taken all its {maxContributions} contributions.", "wait for the next"
    ),
    "EndorserShareInvalid": _S(
        "Endorsers cannot be offered {bps} basis points of the credit; {max} is the most."
    ),
    "AuthorizationExpired": _S("The signature was valid until {deadline:time}.", "sign again"),
    "StatusInvalid": _S(
        "Contribution {index} of round {roundId} is not in the state that this call needs, but "
        "{current:contribution}.",
        "`tallystick data list {roundId}`",
    ),
    "RowsInvalid": _S("A data set of {rows} rows does not fit: 1 to {max} are taken."),
    "DataRootZero": _S("A data set's root is zero.", "it has no rows"),
    "DataSetKnown": _S(
        "This data set is contribution {index} of round {roundId}: another's, or valued already.",
        "its name and the order of its rows make no difference",
    ),
    # ── Demands of rows ─────────────────────────────────────────────────────────────────────────
    "RowsNotDue": _S(
        "Rows of contribution {index} of round {roundId} cannot be demanded now.", _ROUND
    ),
    "ChunkInvalid": _S(
        "These are not the rows of chunk {chunk} of contribution {index} of round {roundId}."
    ),
    "RowDemandExists": _S(
        "Chunk {chunk} of contribution {index} of round {roundId} was demanded already."
    ),
    "RowDemandMissing": _S(
        "Nobody waits for chunk {chunk} of contribution {index} of round {roundId}."
    ),
    "RowDemandsExhausted": _S(
        "As many rows of contribution {index} of round {roundId} were demanded as can be."
    ),
    # ── Endorsements, credits, money ────────────────────────────────────────────────────────────
    "TierMissing": _S(
        "{account} holds no tier at model {modelId}.", "bring data that is worth something first"
    ),
    "EndorsementInvalid": _S(
        "{endorser} cannot endorse contribution {index} of round {roundId}: it is its own."
    ),
    "EndorsementExists": _S("{endorser} endorses contribution {index} of round {roundId} already."),
    "EndorsementMissing": _S(
        "{endorser} has no endorsement of contribution {index} of round {roundId}.",
        "was it settled already?",
    ),
    "CreditsInsufficient": _S(
        "{holder} has {credits} credits of model {modelId}; {needed} are needed."
    ),
    "ModelGone": _S(
        "Model {modelId} has left for another deployment.", "rounds for its data open there"
    ),
    "ModelLive": _S(
        "A round of model {modelId} is under way.", "it can leave once the round has ended"
    ),
    "ModelNotLeft": _S(
        "Model {formerId} has not left the old deployment.", "`tallystick move credits` lets it"
    ),
    "ModelNotEmpty": _S(
        "Model {modelId} has a past at this deployment: rounds, or credits that came before."
    ),
    "ShareLowered": _S(
        "The model pays {bps} basis points of fees to data; where it comes from it is {least}.",
        "publish or set terms with that data share first",
    ),
    "PredecessorMissing": _S("This deployment takes over models of no other."),
    "CreditsMissing": _S("Nobody holds credits of model {modelId}."),
    "ValueInvalid": _S(
        "This is not the value of contribution number {number} in round {roundId}.",
        "is the proof for another round?",
    ),
    # ── Valuators ───────────────────────────────────────────────────────────────────────────────
    "RoundNotValuing": _S("Round {roundId} is not to be valued now.", _ROUND),
    "RoundClaimOpen": _S(
        "{valuator} works on round {roundId} until {until:time}.", "wait", "until"
    ),
    "RoundClaimMissing": _S("Nobody has claimed round {roundId}."),
    "ClaimOver": _S("The claim to round {roundId} ended {until:time}.", "claim it again"),
    "ValuingOver": _S(
        "Round {roundId} could be valued until {endBy:time}.",
        "`tallystick data advance {roundId}` ends it and gives deposits back",
    ),
    "ValuingOpen": _S("Round {roundId} can be valued until {endBy:time}.", "wait", "endBy"),
    "CallerNotValuator": _S("{caller} has not claimed round {roundId}, or has published already."),
    "ValuationInvalid": _S("The {part} of this valuation cannot be those of the round."),
    "ValuationMismatch": _S("This is not the valuation that was published for round {roundId}."),
    "ValuationMissing": _S("Round {roundId} has no published valuation.", _ROUND),
    "WindowOpen": _S(
        "The valuation of round {roundId} can be challenged until {until:time}.", "wait", "until"
    ),
    "WindowPassed": _S("The valuation of round {roundId} could be challenged until {until:time}."),
    "ChallengesOpen": _S(
        "{open} challenges of the valuation of round {roundId} are open.",
        "they end by answers or silence",
        True,
    ),
    # ── Challenges of valuations ────────────────────────────────────────────────────────────────
    "WitnessKnown": _S("The fault {witness:id} has been announced already.", "use another salt"),
    "WitnessUnknown": _S(
        "The fault {witness:id} was not announced.", "announce it a block before it is shown"
    ),
    "FaultMissing": _S("The proof is right, and what it shows (code {code}) is not wrong."),
    "DemandTurnInvalid": _S(
        "In the challenge of round {roundId} by {challenger} it is {current:mover} turn."
    ),
    "DemandTurnOver": _S("The turn about round {roundId} ended {deadline:time}."),
    "DemandTurnOpen": _S(
        "The turn about round {roundId} lasts until {deadline:time}.", "wait", "deadline"
    ),
    "TableDemandsExhausted": _S(
        "{challenger} has made all its demands about round {roundId}.", "prove what is known"
    ),
    "TableTargetInvalid": _S("There is no node {index} at level {level} of this table."),
    "TableOpeningInvalid": _S(
        "This does not open what {challenger} demanded about round {roundId}."
    ),
}
