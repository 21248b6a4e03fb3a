"""Errors of rounds of training, and of the game about their aggregates."""

from oracle.chain.sentences.sentence import Sentence

_S = Sentence
_READ = "docs/training-rounds.md draws a round's phases"

TRAINING: dict[str, Sentence] = {
    "CallerNotTrainingGame": _S("{caller} is not the game about training.", "it alone convicts"),
    "CallerNotAggregator": _S(
        "{caller} has not claimed round {roundId} of training.", "claim it before you publish"
    ),
    "TrainingTermsInvalid": _S(
        "A round of training with such {field} cannot be opened.",
        "docs/training-rounds.md, section 3",
    ),
    "TrainingStageInvalid": _S(
        "Round {roundId} of training is not in the stage that this call needs.", _READ
    ),
    "TrainingPhaseOver": _S("This phase of round {roundId} ended {until:time}.", _READ),
    "TrainingPhaseNotOpen": _S(
        "This phase of round {roundId} begins {opensAt:time}.", "wait for it", "opensAt"
    ),
    "CommitmentKnown": _S("{participant} has committed to an update of round {roundId} already."),
    "ClientsFull": _S("Round {roundId} takes {most} updates, and has them.", "wait for the next"),
    "RevealMismatch": _S(
        "{participant} did not commit to this update of round {roundId}.",
        "it must be the same root, weight and salt, revealed once",
    ),
    "WeightInvalid": _S("A weight of {given} is not 1 … {most}.", "see the round's terms"),
    "UpdateKnown": _S("Somebody has revealed the same update in round {roundId}: it is a copy."),
    "UpdateStatusInvalid": _S(
        "Update {number} of round {roundId} does not exist, is excluded, or was dealt with."
    ),
    "ClientsTooFew": _S(
        "{counted} updates of round {roundId} count, and it needs {least}.",
        "`voidRound` gives all bonds back",
    ),
    "AggregatorAtWork": _S(
        "{aggregator} aggregates round {roundId} until {until:time}.", "wait for it", "until"
    ),
    "AggregatorMissing": _S("Nobody has claimed round {roundId}.", "claim it"),
    "SumsUnexpected": _S("The rule of round {roundId} has no running sums.", "publish zero"),
    "TrainingWindowOpen": _S(
        "The aggregate of round {roundId} can be challenged until {until:time}.",
        "wait for it",
        "until",
    ),
    "TrainingWindowPassed": _S(
        "The aggregate of round {roundId} could be challenged until {until:time}."
    ),
    "TrainingChallengesOpen": _S(
        "Challenges of round {roundId} are open: {open}.", "end those whose turn is over", True
    ),
    "RoundWaits": _S(
        "Round {roundId} waits for an aggregator until {endBy:time}.", "wait for it", "endBy"
    ),
    "AggregateUnchallengeable": _S("Round {roundId} has no aggregate that can be challenged now."),
    "TrainingProofInvalid": _S(
        "The proof does not fit the round: {part}.", "docs/training-rounds.md, section 4"
    ),
    "CoordinateRight": _S("Coordinate {coordinate} is right: this proof convicts nobody."),
    "VectorTurnInvalid": _S(
        "It is not the turn of who calls, in the challenge of {challenger} in round {roundId}."
    ),
    "VectorTurnOver": _S("That turn in round {roundId} was over {deadline:time}."),
    "VectorTurnOpen": _S(
        "That turn in round {roundId} lasts until {deadline:time}.", "wait for it", "deadline"
    ),
    "VectorDemandsExhausted": _S("{challenger} has demanded all that it may in round {roundId}."),
    "DemandTargetInvalid": _S(
        "There is no node {index} at level {level} of what is demanded.", "docs/training-rounds.md"
    ),
    "VectorOpeningInvalid": _S(
        "This does not show what {challenger} demanded in round {roundId}.",
        "show it as its root has it",
    ),
}
