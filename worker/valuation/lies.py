"""A false valuation on purpose, for demonstrations and tests: one running sum is too high.

All that rests on it is consistent with it, so the contributor's value is inflated and exactly one
number among millions contradicts its neighbours (fault 7 of docs/valuation.md, or 8).
"""

import numpy as np

from oracle.valuation.rounds import ONE, RoundData
from oracle.valuation.tables import Table, Tables, read, stored


def inflate(data: RoundData, tables: Tables) -> Tables:
    """Return tables in which the contribution that is worth least gets more than it is worth."""
    prefixes = read(tables.rows.entries[0]["prefix"]).copy()
    worst = int(np.argmin([prefixes[end - 1] for end in data.starts[1:]]))
    start, end = data.starts[worst], data.starts[worst + 1]
    free = np.flatnonzero(tables.rows.entries[0]["head"][start:end] >> 24 == 0)
    i = start + int(free[0] if free.size else 0)
    more = ONE * data.test.rows // 8 + max(0, -int(prefixes[end - 1]))
    sums, rows = tables.sums.entries, tables.rows.entries.copy()
    running = read(sums["running"][i, -1:])
    sums["running"][i, -1:] = stored(running + more)
    prefixes[i:end] += more
    rows["prefix"][0] = stored(prefixes)
    values = list(tables.values)
    values[worst] = max(0, int(prefixes[end - 1]))
    return Tables(tables.order, Table(sums), Table(rows), tuple(values))
