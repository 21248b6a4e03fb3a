"""Takes a round further: every step that anyone may take, and those whose secret is kept here.

```
 SUBMIT ─▶ REVEAL ─▶ TEST ─▶ NUMBER ─▶ VALUE ─▶ CHALLENGE ─▶ SETTLE ─▶ SETTLED
           reveal    reveal  number    lapse a   end dead     settle    credit, forfeit, refund,
           own sets  own     (MISSED:  claim;    challenges             end endorsements
                     test    void)     void
                     show demanded rows (ANSWER: as long as some are waited for)
```
Nothing here decides anything: the contracts do, and refuse what is not due.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

from oracle.chain.bindings.data_credits import Endorsed
from oracle.chain.bindings.data_rounds import ContributionStatus
from oracle.chain.bindings.valuation_game import Mover, TableDemanded
from oracle.chain.contract import Call
from oracle.chain.revert import ContractError
from oracle.chain.wallet import Wallet
from oracle.merkle import HashTree
from oracle.services.data import contributions, listing, rounds, row_demands
from oracle.services.data.listing import ContributionInfo
from oracle.services.data.rounds import RoundInfo, RoundPhase
from oracle.services.data.secrets import Secret
from oracle.services.event_history import topic
from oracle.services.network import Network
from oracle.services.receipts import Sent, sent
from oracle.types import ZERO_ADDRESS, Address, Bytes32
from oracle.valuation.tables import values_tree

BATCH = 100  # contributions numbered by one transaction
TOGETHER = 32  # transactions that wait to be mined
_LOST = (ContributionStatus.COMMITTED, ContributionStatus.DISPLACED, ContributionStatus.UNSERVED)
ENDED = (RoundPhase.SETTLED, RoundPhase.VOID)
_ANSWERED = (RoundPhase.VALUE, RoundPhase.CHALLENGE, RoundPhase.SETTLE, *ENDED)
Step = Callable[[list[str]], list[Sent]]  # takes what was refused, to add to it


@dataclass(frozen=True, slots=True)
class Advanced:
    """What was done, what was refused and why, and where the round stands now."""

    round: RoundInfo
    transactions: tuple[Sent, ...]
    refused: tuple[str, ...]


def advance(network: Network, wallet: Wallet, round_id: int) -> Advanced:
    """Do whatever is due in a round, until nothing is; one refused step does not keep others back.

    Raises:
        NotFound: no such round.
    """
    done: list[Sent] = []
    while True:
        info, before = rounds.show(network, round_id), len(done)
        refused: list[str] = []
        steps: list[Step] = [*_own(network, wallet, info)]
        steps.append(partial(_send, wallet, _calls(network, info)))
        for step in steps:
            try:
                done += step(refused)
            except ContractError as error:  # somebody was faster, or it cannot be
                refused.append(str(error))
        if len(done) == before or info.phase in ENDED:
            return Advanced(rounds.show(network, round_id), tuple(done), tuple(refused))


def _own(network: Network, wallet: Wallet, info: RoundInfo) -> Iterator[Step]:
    """Yield what only this machine can do: it holds the secrets."""
    if info.phase is RoundPhase.REVEAL:
        for one in contributions.kept_here(network, info.round_id):
            yield partial(_reveal, network, wallet, *one)
    if info.phase is RoundPhase.TEST and rounds.test_secret(network, info.round_id):
        yield lambda _: [rounds.reveal_test(network, wallet, info.round_id)]


def _reveal(
    network: Network, wallet: Wallet, one: ContributionInfo, secret: Secret, _: list[str]
) -> list[Sent]:
    return [contributions.open_one(network, wallet, one, secret).transaction]


def _send(wallet: Wallet, calls: Iterable[Call], refused: list[str]) -> list[Sent]:
    """Send what is not refused, many at a time: a round has up to a thousand deposits."""
    good, done = [], []
    for call in calls:
        try:
            wallet.simulate(call)
            good.append(call)
        except ContractError as error:
            refused.append(str(error))
    for chunk in (good[at : at + TOGETHER] for at in range(0, len(good), TOGETHER)):
        done += [sent(*pair) for pair in zip(chunk, wallet.send_all(chunk), strict=True)]
    return done


def _calls(network: Network, info: RoundInfo) -> Iterator[Call]:
    match info.phase:
        case RoundPhase.SUBMIT | RoundPhase.REVEAL:
            return
        case RoundPhase.TEST | RoundPhase.ANSWER:
            yield from row_demands.answers(network, info.round_id, info.terms.features)
        case RoundPhase.NUMBER:
            yield network.data_rounds.number(info.round_id, BATCH)
        case RoundPhase.MISSED:
            yield network.data_rounds.void_round(info.round_id)
        case RoundPhase.VALUE if info.until <= network.history.now():
            yield from _unvalued(network, info)
        case RoundPhase.CHALLENGE:
            yield from _dead_challenges(network, info)
        case RoundPhase.SETTLE:
            yield network.valuations.settle(info.round_id, info.values)
    yield from _payments(network, info)


def _unvalued(network: Network, info: RoundInfo) -> Iterator[Call]:
    """End a claim that brought nothing, or a round that nobody values."""
    if info.valuator != ZERO_ADDRESS:
        yield network.valuations.lapse_claim(info.round_id)
    else:
        yield network.valuations.void_round(info.round_id)


def _dead_challenges(network: Network, info: RoundInfo) -> Iterator[Call]:
    """End challenges in which somebody let its turn pass."""
    place, now = network.valuations.address, network.history.now()
    happened = network.history.read(place, (TableDemanded,), topic(info.round_id))
    events = [h.event for h in happened if isinstance(h.event, TableDemanded)]
    for challenger in dict.fromkeys(e.challenger for e in events if e.attempt == info.attempt):
        game = network.valuations.demands_of(info.round_id, info.attempt, challenger)
        if game.turn is Mover.NONE or now < game.deadline:
            continue
        if game.turn is Mover.VALUATOR:
            yield network.valuations.convict_silent(info.round_id, challenger)
            return
        yield network.valuations.lapse(info.round_id, challenger)


def _payments(network: Network, info: RoundInfo) -> Iterator[Call]:
    """Deal with deposits, credits and endorsements that wait."""
    data, round_id = network.data_rounds, info.round_id
    if info.phase in _ANSWERED:
        yield from row_demands.releases(network, round_id)
    endorsers = _endorsers(network, round_id)
    for one in listing.list_contributions(network, round_id):
        if one.status in _LOST:
            yield data.forfeit(round_id, one.index)
        elif one.status is ContributionStatus.EXCLUDED or (
            one.status is ContributionStatus.REVEALED and info.phase is RoundPhase.VOID
        ):
            yield data.refund(round_id, one.index)
        elif one.status is ContributionStatus.REVEALED and info.phase is RoundPhase.SETTLED:
            yield data.credit(round_id, *_proof(info, one))
        for endorser in endorsers.get(one.index, ()):
            if network.credits.endorsement_of(round_id, one.index, endorser).amount:
                yield from _endorsement(network, info, one, endorser)


def _endorsement(
    network: Network, info: RoundInfo, one: ContributionInfo, endorser: Address
) -> Iterator[Call]:
    if info.phase is RoundPhase.SETTLED and one.number is not None:
        number, value, path = _proof(info, one)
        yield network.credits.settle_endorsement(info.round_id, number, endorser, value, path)
    elif info.phase in ENDED:
        yield network.credits.return_endorsement(info.round_id, one.index, endorser)


def _endorsers(network: Network, round_id: int) -> dict[int, list[Address]]:
    happened = network.history.read(network.credits.address, (Endorsed,), topic(round_id))
    found: dict[int, list[Address]] = {}
    for one in happened:
        if isinstance(one.event, Endorsed):
            found.setdefault(one.event.index, []).append(one.event.endorser)
    return found


def _proof(info: RoundInfo, one: ContributionInfo) -> tuple[int, int, tuple[Bytes32, ...]]:
    """Return number, value and path of a contribution in the settled valuation."""
    assert one.number is not None
    return one.number, info.values[one.number], _tree(info.values).leaf_path(one.number)


@lru_cache(maxsize=4)
def _tree(values: tuple[int, ...]) -> HashTree:
    return values_tree(values)
