"""Errors about exact programs, disputes about answers, and committees."""

from oracle.chain.sentences.sentence import Sentence

_S = Sentence

DISPUTES: dict[str, Sentence] = {
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
    "ChallengesExhausted": _S(
        "The answer to {requestId:id} has {max} open challenges, the most.", "wait", True
    ),
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
        "The fault that {0:id} announced can be proven from block {provableFrom} on.",
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
    "VotesOpen": _S(
        "Votes of {member} bind {bound:usd} of its stake in the class {runtimeClass:id}.",
        "`tallystick committee settle` each dispute once it has ended",
    ),
    "CallerNotCommittee": _S("Only the committee may bind or take stake, not {caller}."),
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
        "The round about {requestId:id} can be ended or appealed from {opensAt:time} on.",
        "wait",
        "opensAt",
    ),
    "AppealOver": _S(
        "The finding about {requestId:id} could be appealed until {appealUntil:time}."
    ),
    "AppealNotPossible": _S(
        "Round {round} about {requestId:id} cannot be appealed: it found nothing, or the whole "
        "pool voted.",
        "`tallystick committee show {requestId:key}`",
    ),
    "RoundNotTallied": _S("Round {round} about {requestId:id} has not been tallied.", "tally it"),
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
}
