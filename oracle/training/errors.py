"""What can be wrong with a vector and with the terms of a training round."""

from oracle.errors import InputInvalid


class VectorInvalid(InputInvalid):
    """A state or an update has another length, dtype or range than its round says."""


class AggregationInvalid(InputInvalid):
    """Weights, clients or the rule's parameters do not fit each other."""
