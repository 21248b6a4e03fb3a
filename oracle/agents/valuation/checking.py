"""Who is right about a round: the published valuation, or the one that we compute ourselves.

```
 rows from IPFS ─▶ our tables ─▶ same root? ─▶ right
                                    └─ no ─▶ their tables from IPFS ─┬─▶ a fault that can be proven
                                        not served: from the chain, as far as it was shown ─┘
```
Tables whose root is ours need not be served: we have them.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oracle.agents.valuation.jobs_folder import read_failure, read_result, write_job
from oracle.agents.valuation.shown_tables import Shown
from oracle.agents.worker_process import run_module
from oracle.chain.arguments import TableNode
from oracle.chain.bindings.valuation_game import ValuationPublished
from oracle.config import Settings
from oracle.errors import DigestMismatch, TransientError, Unavailable
from oracle.ipfs import data_sets, valuation_tables
from oracle.ipfs.port import CidUnresolved, Ipfs
from oracle.services.data import sealed_rounds
from oracle.types import ValuationPart
from oracle.valuation import fault_search, reference, table_comparison
from oracle.valuation.faults import Fault
from oracle.valuation.jobs import DATA, ValueJob
from oracle.valuation.rounds import RoundData, Valuation
from oracle.valuation.shown_table import OpenedTable, Unknown
from oracle.valuation.tables import Table, Tables, build

_PARTS = (ValuationPart.ORDER, ValuationPart.SUMS, ValuationPart.ROWS)


class NotServed(TransientError):
    """Nobody has the bytes behind something that the chain names: `node` is to be demanded."""

    def __init__(self, message: str, node: TableNode) -> None:
        super().__init__(message, hint="the chain makes its valuator show them, or convicts it")
        self.node = node


@dataclass(frozen=True)
class Truth:
    """A round's rows, and the one right valuation of them."""

    data: RoundData
    tables: Tables


class Recompute(Protocol):
    """Computes the right tables of a round whose rows are there."""

    def __call__(self, job: ValueJob, data: RoundData, folder: Path) -> Tables:
        """Return them; they may become files in `folder`.

        Raises:
            Unavailable: it could not be done here and now.
        """


class Recomputer(Recompute):
    """The reference for small rounds, a process with torch for others: the same bits."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, job: ValueJob, data: RoundData, folder: Path) -> Tables:
        if reference.is_small(data):
            flags = reference.flags(data)
            return build(data, flags, reference.scores(data, flags))
        if read_result(folder) is None:
            write_job(folder, job)
            done = run_module(self._settings, "worker.valuation", folder)
            if done.returncode:
                failure = read_failure(folder)
                why = failure.message if failure else done.stderr[-500:]
                raise Unavailable(f"the round could not be valued: {why}")
        result = read_result(folder)
        assert result is not None
        return valuation_tables.load(folder, result.index.valuation, result.index.values)


def truth(job: ValueJob, ipfs: Ipfs, recompute: Recompute, folder: Path) -> Truth:
    """Return a round's rows and the right tables.

    Raises:
        NotServed: nobody has the rows of a contribution or the test set.
        Unavailable: IPFS is away, or the tables could not be computed.
    """
    for number, source in enumerate((*job.sets, job.test)):
        try:
            data_sets.fetch(ipfs, source, job.width, folder / DATA)
        except (CidUnresolved, DigestMismatch) as error:
            tests = number == len(job.sets)
            part, number_ = (ValuationPart.TEST, 0) if tests else (ValuationPart.DATA, number)
            leaf = secrets.randbelow(source.rows)  # any: who has them all can show it
            node = TableNode(part, number_, (source.rows - 1).bit_length(), leaf)
            raise NotServed(str(error), node) from error
    data = data_sets.fetch_round(ipfs, job, folder / DATA)
    return Truth(data, recompute(job, data, folder))


def fault(
    known: Truth, said: ValuationPublished, ipfs: Ipfs, folder: Path, shown: Sequence[Shown] | None
) -> Fault | None:
    """Return a fault of a published valuation, with its proof; None when it is right.

    Args:
        shown: what the chain was shown; None: look at what is served.

    Raises:
        NotServed: it is wrong, and what shows where is not served.
        Unavailable: IPFS is away.
    """
    if said.valuation_root == known.tables.valuation.root:
        return None
    given = sealed_rounds.valuation(said.valuation)
    if shown is None:
        try:
            tables = _served(known, said, ipfs, folder / "theirs")
        except (CidUnresolved, DigestMismatch):
            shown = ()
        else:
            return table_comparison.find(known.data, tables, known.tables)
    order, sums, rows = (_opened(part, known, given, shown) for part in _PARTS)
    try:
        return fault_search.find(known.data, Tables(order, sums, rows, said.values), known.tables)
    except Unknown as unknown:
        node = TableNode(unknown.part, 0, unknown.level, unknown.index)
        raise NotServed(f"its tables are not served ({unknown})", node) from unknown


def _served(known: Truth, said: ValuationPublished, ipfs: Ipfs, folder: Path) -> Tables:
    """Return their tables: ours where roots are the same, else what is served."""
    given = sealed_rounds.valuation(said.valuation)
    shapes = valuation_tables.shapes(given)

    def table(name: str) -> Table:
        ours: Table = getattr(known.tables, name)
        if ours.root == getattr(given, name) and ours.entries.shape == shapes[name]:
            return ours
        index = valuation_tables.fetch_index(ipfs, said.cid)
        return valuation_tables.fetch(ipfs, index, name, given, folder)

    order, sums, rows = (table(name) for name in valuation_tables.NAMES)
    return Tables(order, sums, rows, said.values)


def _opened(part: ValuationPart, known: Truth, given: Valuation, shown: Sequence[Shown]) -> Table:
    """Return one of their tables as far as the chain was shown it."""
    name = part.name.lower()
    ours: Table = getattr(known.tables, name)
    root, shape = getattr(given, name), valuation_tables.shapes(given)[name]
    if ours.root == root and ours.entries.shape == shape:
        return ours
    table = OpenedTable(part, ours, root, shape)
    for one in shown:
        if one.node.part is part:
            one.tell(table)
    return table
