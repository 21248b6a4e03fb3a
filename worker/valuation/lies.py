"""A false valuation on purpose, for demonstrations and tests: one running sum is too high.

All that is computed from it agrees with it, so the contributor's value is inflated. Exactly one
number among millions contradicts its neighbours (fault 7 of docs/valuation.md).
"""

from oracle.valuation.rounds import ONE, RoundData
from oracle.valuation.tables import Table, Tables, read, stored


def inflate(data: RoundData, tables: Tables) -> Tables:
    """Return tables in which the contribution that is worth least gets more than it is worth."""
    prefixes = read(tables.rows.entries[0]["prefix"]).copy()
    free = tables.rows.entries[0]["head"] >> 24 == 0
    pairs = list(zip(data.starts, data.starts[1:], strict=False))
    worst = min(pairs, key=lambda pair: (not free[slice(*pair)].any(), prefixes[pair[1] - 1]))
    start, end = worst
    i = start + int(free[start:end].argmax())
    more = ONE * data.test.rows // 8 + max(0, -int(prefixes[end - 1]))
    sums, rows = tables.sums.entries, tables.rows.entries.copy()
    running = read(sums["running"][i, -1:])
    sums["running"][i, -1:] = stored(running + more)
    prefixes[i:end] += more
    rows["prefix"][0] = stored(prefixes)
    values = list(tables.values)
    values[pairs.index(worst)] = max(0, int(prefixes[end - 1]))
    return Tables(tables.order, Table(sums), Table(rows), tuple(values))
