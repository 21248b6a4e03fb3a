"""What can go wrong while a participant trains."""

from oracle.errors import InputInvalid, PermanentError


class TrainingDataInvalid(InputInvalid):
    """A participant's examples do not fit the model or the job."""


class StateUnfit(InputInvalid):
    """A model and a state do not belong together, or a weight does not fit 32 bits."""


class TrainingDiverged(PermanentError):
    """A gradient, a weight or the loss is NaN or infinite.

    Attributes:
        tensor: its name; `loss` for the loss.
        step: of the job, from 0.
    """

    exit_code = 70  # EX_SOFTWARE

    def __init__(self, tensor: str, step: int) -> None:
        super().__init__(
            f"step {step}: {tensor} is not finite",
            hint="lower the learning rate, and look for outliers in the data",
        )
        self.tensor = tensor
        self.step = step
