"""Small rounds with leaks, duplicates and several leaves a row; and the lies that one can tell."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from oracle.valuation import reference
from oracle.valuation.dataset import DataSet
from oracle.valuation.faults import Code
from oracle.valuation.rounds import Params, RoundData
from oracle.valuation.tables import NOWHERE, Table, Tables, build


def random_set(rng: np.random.Generator, rows: int, width: int = 3, classes: int = 3) -> DataSet:
    features = rng.integers(-40, 40, (rows, width))
    return DataSet.of(features, rng.integers(0, classes, rows), drop_repeats=True)


@cache
def small(seed: int = 1, test_rows: int = 131, k: int = 5) -> RoundData:
    """Eight contributions, two leaves a row of `order` and, with 131 test points, of `sums`.

    The seventh has features of the second with other labels: no duplicates. In the last one A, B, C
    stand 5 apart: B is a duplicate of A, C of none, as B is flagged.
    """
    rng = np.random.default_rng(seed)
    sets = [random_set(rng, rows) for rows in (90, 55, 1, 41)]
    test = random_set(rng, test_rows)
    copied = DataSet.of(sets[0].features[:9], sets[0].labels[:9])
    leaked = DataSet.of(test.features[:6], test.labels[:6])
    flipped = DataSet.of(sets[1].features[:5], (sets[1].labels[:5] + 1) % 3)
    chain = DataSet.of(np.array([[100, 0, at] for at in (0, 5, 10)]), np.array([0, 0, 0]))
    return RoundData(Params(k, 30, 12), (*sets, copied, leaked, flipped, chain), test)


@cache
def tables(data: RoundData) -> Tables:
    """The right tables."""
    flags = reference.flags(data)
    return build(data, flags, reference.scores(data, flags))


def copy(right: Tables) -> Tables:
    """Tables that may be falsified."""
    held = (Table(table.entries.copy()) for table in (right.order, right.sums, right.rows))
    return Tables(*held, right.values)


def unflagged(right: Tables, number: int = 0) -> int:
    return int(np.flatnonzero(right.rows.entries[0]["head"] == 0)[number])


def flagged(right: Tables, flag: int, number: int = 0) -> int:
    return int(np.flatnonzero(right.rows.entries[0]["head"] >> 24 == flag)[number])


def _wrong_distance(data: RoundData, false: Tables) -> None:
    false.order.entries["distance"][3, 7] += 1


def _swapped(data: RoundData, false: Tables) -> None:
    row = false.order.entries[4]
    row[[126, 129]] = row[[129, 126]]


def _repeated_row(data: RoundData, false: Tables) -> None:
    false.order.entries[5, 128] = false.order.entries[5, 127]


def _row_outside(data: RoundData, false: Tables) -> None:
    false.order.entries["row"][130, 2] = len(data.labels)


def _ranks_flagged(data: RoundData, false: Tables) -> None:
    i = flagged(false, reference.DUPLICATE)
    apart = data.features[i].astype(int) - data.test.features[9]
    false.order.entries["row"][9, 0] = i
    false.order.entries["distance"][9, 0] = np.square(apart).sum()


def _wrong_step(data: RoundData, false: Tables) -> None:
    false.order.entries["s"][2, 127] += 1


def _wrong_last_step(data: RoundData, false: Tables) -> None:
    false.order.entries["s"][2, -1] += 1


def _wrong_position(data: RoundData, false: Tables) -> None:
    i = unflagged(false)
    false.sums.entries["position"][i, 77] ^= 1


def _wrong_running(data: RoundData, false: Tables) -> None:
    false.sums.entries["running"][unflagged(false, 5), 128] -= 1


def _wrong_first_running(data: RoundData, false: Tables) -> None:
    false.sums.entries["running"][unflagged(false, 5), 0] -= 1


def _paid_flagged(data: RoundData, false: Tables) -> None:
    false.sums.entries["running"][flagged(false, reference.LEAKED), 130] += 1


def _ranked_flagged(data: RoundData, false: Tables) -> None:
    false.sums.entries["position"][flagged(false, reference.LEAKED), 130] = 0


def _unranked(data: RoundData, false: Tables) -> None:
    false.sums.entries["position"][unflagged(false, 3), 0] = NOWHERE


def _reserved(data: RoundData, false: Tables) -> None:
    false.sums.entries["zero"][unflagged(false, 3), 9] = 1


def _head(i: int, flag: int, witness: int) -> Callable[[RoundData, Tables], None]:
    def lie(data: RoundData, false: Tables) -> None:
        false.rows.entries["head"][0, i] = flag << 24 | witness

    return lie


def _wrong_count(data: RoundData, false: Tables) -> None:
    false.rows.entries["flagged"][0, 140:] += 1


def _wrong_n(data: RoundData, false: Tables) -> None:
    short = false.order.entries[:, :-1].copy()
    object.__setattr__(false, "order", Table(short))


def _wrong_prefix(data: RoundData, false: Tables) -> None:
    false.rows.entries["prefix"][0, 95:] += 5


def _wrong_first_prefix(data: RoundData, false: Tables) -> None:
    false.rows.entries["prefix"][0, data.starts[1]] += 5


def lies(data: RoundData) -> dict[str, tuple[Code, Callable[[RoundData, Tables], None]]]:
    """Every lie by name, and the fault that convicts of it."""
    right = tables(data)
    flipped = data.starts[6]
    free, twin = unflagged(right, 20), flagged(right, reference.DUPLICATE, 1)
    leak = flagged(right, reference.LEAKED)
    of_leak = int(right.rows.entries["head"][0, leak]) & 0xFFFFFF
    return {
        "distance": (Code.DISTANCE, _wrong_distance),
        "swapped": (Code.ORDER, _swapped),
        "row twice": (Code.ORDER, _repeated_row),
        "row outside": (Code.RANGE, _row_outside),
        "flagged row ranked": (Code.FLAGGED_RANKED, _ranks_flagged),
        "step": (Code.RECURRENCE, _wrong_step),
        "last step": (Code.RECURRENCE, _wrong_last_step),
        "position": (Code.RANK, _wrong_position),
        "running": (Code.RUNNING_SUM, _wrong_running),
        "first running": (Code.RUNNING_SUM, _wrong_first_running),
        "flagged row paid": (Code.FLAGGED_SUM, _paid_flagged),
        "flagged row with a rank": (Code.FLAGGED_SUM, _ranked_flagged),
        "row without a rank": (Code.FLAGGED_SUM, _unranked),
        "reserved word": (Code.FLAGGED_SUM, _reserved),
        "duplicate of a far row": (Code.FALSE_FLAG, _head(free, 1, 0)),
        "duplicate of a later row": (Code.FALSE_FLAG, _head(free, 1, free + 1)),
        "duplicate of a flagged row": (
            Code.FALSE_FLAG,
            _head(len(data.labels) - 1, 1, len(data.labels) - 2),
        ),
        "duplicate of another label": (Code.FALSE_FLAG, _head(flipped, 1, data.starts[1])),
        "leak of a far point": (Code.FALSE_FLAG, _head(free, 2, 0)),
        "leak of no point": (Code.FALSE_FLAG, _head(free, 2, data.test.rows)),
        "unknown flag": (Code.FALSE_FLAG, _head(free, 3, 0)),
        "witness without flag": (Code.FALSE_FLAG, _head(free, 0, 1)),
        "leak instead of duplicate": (Code.FALSE_FLAG, _head(twin, 2, 0)),
        "duplicate passed over": (Code.MISSING_FLAG, _head(twin, 0, 0)),
        "leak passed over": (Code.MISSING_FLAG, _head(leak, 0, 0)),
        "later twin": (Code.LATER_WITNESS, _head(twin, 1, twin + 1)),
        "later leak": (Code.LATER_WITNESS, _head(leak, 2, of_leak + 1)),
        "duplicate instead of leak": (Code.LATER_WITNESS, _head(leak, 1, 0)),
        "count of flags": (Code.FLAG_COUNT, _wrong_count),
        "n": (Code.FLAG_COUNT, _wrong_n),
        "prefix": (Code.PREFIX, _wrong_prefix),
        "first prefix": (Code.PREFIX, _wrong_first_prefix),
        "value": (Code.VALUE, lambda data, false: None),
    }


def falsified(data: RoundData, name: str) -> tuple[Code, Tables]:
    """Return tables with one lie."""
    code, lie = lies(data)[name]
    false = copy(tables(data))
    if name == "value":
        return code, replace(false, values=(false.values[0] + 1, *false.values[1:]))
    lie(data, false)
    return code, false


NAMES = tuple(lies(small()))
