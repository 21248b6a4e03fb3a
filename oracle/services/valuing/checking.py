"""Who is right about a round: the published valuation, or the one that we compute ourselves.

```
 rows from IPFS ─▶ our tables ─▶ same root? ─▶ right
                                    └─ no ─▶ their tables from IPFS ─┬─▶ a fault that can be proven
                                                                     └─▶ not served: to be demanded
```
Tables whose root is ours need not be served: we have them.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oracle.chain.events import ValuationPublished
from oracle.config import Settings
from oracle.errors import DigestMismatch, TransientError, Unavailable
from oracle.ipfs.port import CidUnresolved, Ipfs
from oracle.services.valuing import rounds
from oracle.services.valuing.work import read_result, write_job
from oracle.valuation import finder, reference, served, table_files
from oracle.valuation.faults import Fault
from oracle.valuation.jobs import DATA, ValueJob
from oracle.valuation.rounds import RoundData
from oracle.valuation.tables import Table, Tables, build


class NotServed(TransientError):
    """Nobody has the bytes behind something that the chain names; the chain can demand them."""


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
        """Take what the process gets: where IPFS is, none of the secrets."""
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_")},
            "TALLYSTICK_HOME": str(settings.home.resolve()),
            "TALLYSTICK_IPFS_API": settings.ipfs_api,
            "TALLYSTICK_IPFS_TIMEOUT": str(settings.ipfs_timeout),
        }

    def __call__(self, job: ValueJob, data: RoundData, folder: Path) -> Tables:
        if reference.is_small(data):
            flags = reference.flags(data)
            return build(data, flags, reference.scores(data, flags))
        if read_result(folder) is None:
            write_job(folder, job)
            argv = [sys.executable, "-m", "worker.valuation", str(folder)]
            done = subprocess.run(  # noqa: S603 - our own module, and a folder of ours
                argv, env=self._environ, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise Unavailable(f"the round could not be valued: {done.stderr[-500:]}")
        result = read_result(folder)
        assert result is not None
        return table_files.load(folder, result.index.valuation, result.index.values)


def truth(job: ValueJob, ipfs: Ipfs, recompute: Recompute, folder: Path) -> Truth:
    """Return a round's rows and the right tables.

    Raises:
        NotServed: nobody has the rows of a contribution or the test set.
        Unavailable: IPFS is away, or the tables could not be computed.
    """
    try:
        data = served.fetch_round(ipfs, job, folder / DATA)
    except (CidUnresolved, DigestMismatch) as error:
        raise NotServed(str(error), hint="its valuator must be able to show them") from error
    return Truth(data, recompute(job, data, folder))


def fault(known: Truth, said: ValuationPublished, ipfs: Ipfs, folder: Path) -> Fault | None:
    """Return a fault of a published valuation, with its proof; None when it is right.

    Raises:
        NotServed: it is wrong, and a table that shows where is not served.
        Unavailable: IPFS is away.
    """
    if said.valuation_root == known.tables.valuation.root:
        return None
    given = rounds.valuation(said.valuation)
    shapes = table_files.shapes(given)

    def table(name: str) -> Table:
        ours: Table = getattr(known.tables, name)
        if ours.root == getattr(given, name) and ours.entries.shape == shapes[name]:
            return ours
        try:
            index = table_files.fetch_index(ipfs, said.cid)
            return table_files.fetch(ipfs, index, name, given, folder / "theirs")
        except (CidUnresolved, DigestMismatch) as error:
            raise NotServed(f"table {name}: {error}") from error

    order, sums, rows = (table(name) for name in table_files.NAMES)
    return finder.find(known.data, Tables(order, sums, rows, said.values), known.tables)
