"""What every event is; the classes are generated, in oracle.chain.bindings."""


class Event:
    """Base of every event; lets `match` and type hints name them all."""

    __slots__ = ()
