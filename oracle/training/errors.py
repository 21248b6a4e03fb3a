"""What can be wrong with a vector, the terms of a training round, and a fault's proof."""

from oracle.errors import InputInvalid, PermanentError


class VectorInvalid(InputInvalid):
    """A state or an update has another length, dtype or range than its round says."""


class AggregationInvalid(InputInvalid):
    """Weights, clients or the rule's parameters do not fit each other."""


class TrainingFaultInvalid(PermanentError):
    """A part of a fault's proof does not fit the round or its own shape.

    `part`: the word that `ITrainingGame.TrainingProofInvalid` carries: `rule`, `number`,
    `coordinate`, `updates`, `update`, `sums`, `base` or `next`.
    """

    def __init__(self, part: str) -> None:
        super().__init__(
            f"training fault: {part} invalid", hint="docs/training-rounds.md, section 4"
        )
        self.part = part
