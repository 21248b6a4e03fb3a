"""What the chain says of sealed rounds: their rows, where these are, and their valuations."""

from oracle.chain.bindings.data_rounds import (
    ContributionNumbered,
    ContributionRevealed,
    RoundSealed,
    TestSetRevealed,
)
from oracle.chain.bindings.valuation_game import (
    ValuationPublished,
    ValuationRoots,
    ValuatorConvicted,
)
from oracle.chain.event import Event
from oracle.chain.rpc import quantity
from oracle.errors import NotFound, PermanentError, Unavailable
from oracle.services.event_history import Happened, topic
from oracle.services.network import Network
from oracle.types import ZERO32, Address
from oracle.valuation.jobs import Source, ValueJob
from oracle.valuation.rounds import Params, Valuation


class Encrypted(PermanentError):
    """A contribution's rows are not public: nobody but its owner could check a valuation."""

    def __init__(self, round_id: int, index: int) -> None:
        super().__init__(
            f"contribution {index} of round {round_id} is encrypted",
            hint="the opener leaves it out: tallystick data exclude",
        )


def sealed(network: Network) -> list[int]:
    """Return the rounds that were sealed, in blocks that are final, oldest first."""
    found = network.history.read(network.data_rounds.address, (RoundSealed,))
    last = _final(network)
    return [
        happened.event.round_id
        for happened in found
        if isinstance(happened.event, RoundSealed) and happened.block <= last
    ]


def job(network: Network, round_id: int) -> ValueJob:
    """Return the rows of a sealed round.

    Raises:
        NotFound: no such round, or it is not sealed (yet).
        Encrypted: a contribution is not public.
        Unavailable: the node's answers do not fit each other.
    """
    kinds = (ContributionRevealed, TestSetRevealed, ContributionNumbered, RoundSealed)
    revealed: dict[int, ContributionRevealed] = {}
    numbered: list[ContributionNumbered] = []
    test, done = None, False
    for happened in _of_round(network, round_id, *kinds):
        match happened:
            case ContributionRevealed():
                revealed[happened.index] = happened
            case ContributionNumbered():
                numbered.append(happened)
            case TestSetRevealed():
                test = happened
            case RoundSealed():
                done = True
    if not done or test is None or not numbered:
        raise NotFound(
            f"round {round_id} is not sealed: its rows have no numbers yet",
            hint=f"tallystick data round {round_id}",
        )
    round_ = network.data_rounds.round_of(round_id)
    sets = []
    for place in sorted(numbered, key=lambda place: place.number):
        held = revealed.get(place.index)
        if held is None:
            raise Unavailable(f"the node names no contribution {place.index} of round {round_id}")
        if held.envelope != ZERO32:
            raise Encrypted(round_id, place.index)
        sets.append(Source(held.data_root, held.rows, held.cid))
    return ValueJob(
        round_id,
        Params(round_.neighbours, round_.row_tolerance, round_.test_tolerance),
        round_.features,
        tuple(sets),
        Source(test.test_root, round_.test_rows, test.cid),
    )


def published(network: Network, round_id: int, attempt: int = 0) -> ValuationPublished:
    """Return a valuation of a round: the last one unless an attempt is named.

    Raises:
        NotFound: nobody has published one.
    """
    found = [
        event
        for event in _of_round(network, round_id, ValuationPublished)
        if isinstance(event, ValuationPublished) and attempt in (0, event.attempt)
    ]
    if not found:
        raise NotFound(
            f"round {round_id} has no published valuation", hint=f"tallystick data round {round_id}"
        )
    return found[-1]


def convicted(network: Network, round_id: int, valuator: Address) -> bool:
    """Tell whether a valuator was convicted of a valuation of this round."""
    place, kinds = network.valuations.address, (ValuatorConvicted,)
    return bool(network.history.read(place, kinds, topic(round_id), topic(valuator)))


def roots(valuation: Valuation) -> ValuationRoots:
    """Return a valuation as calls take it."""
    v = valuation
    return ValuationRoots(v.N, v.n, v.T, v.order, v.sums, v.rows, v.values)


def valuation(given: ValuationRoots) -> Valuation:
    """Return a valuation as tables have it."""
    return Valuation(given.N, given.n, given.T, given.order, given.sums, given.rows, given.values)


def _of_round(network: Network, round_id: int, *kinds: type[Event]) -> list[Event]:
    """Return the events of a round, of either contract."""
    of_game = kinds == (ValuationPublished,)
    place = network.valuations.address if of_game else network.data_rounds.address
    found: list[Happened] = network.history.read(place, kinds, topic(round_id))
    return [happened.event for happened in found]


def _final(network: Network) -> int:
    head = quantity(network.rpc.call("eth_blockNumber"))
    return head - network.settings.finality_depth
