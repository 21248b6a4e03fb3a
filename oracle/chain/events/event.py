"""What every event is."""


class Event:
    """Base of every event; lets `match` and type hints name them all."""

    __slots__ = ()
