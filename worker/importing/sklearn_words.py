"""Columns of words in a pipeline of scikit-learn: the same pipeline over the places of the words.

```
 rows with words ─▶ ColumnTransformer ─▶ OneHotEncoder ["blue", "red"] ─▶ …   the original
 rows of places  ─▶ ColumnTransformer ─▶ OneHotEncoder [0, 1]          ─▶ …   what skl2onnx takes
```
A column has words where an encoder was fitted on words. One that answers to others says so of any
word that it never saw; that has the place behind the last. Columns that are dropped are left out.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worker.errors import ModelUnsupported
from worker.importing.converted import Array, Categories

_NEVER = "\x00 never seen"  # a word that no model knows


@dataclass(slots=True)
class Words:
    """A model with columns of words, and its two forms.

    Attributes:
        original: the model, whose columns are told by their number.
        places: the same over places; its columns are `kept`, in that order.
        kept: the original's columns that it reads.
        categories: of the columns with words, by their number in the original.
        width: columns of the original.
        names: of all columns of the original.
    """

    original: Any
    places: Any
    kept: tuple[int, ...]
    width: int
    names: tuple[str, ...]
    categories: dict[int, Categories] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a request has."""
        return tuple(self.names[column] for column in self.kept)

    def named(self) -> dict[str, Categories]:
        """Return the words of columns by their names."""
        return {self.names[column]: found for column, found in sorted(self.categories.items())}

    def draw(self, rows: Array) -> Array:
        """Return rows [n, kept] with places drawn where words stand."""
        dice, drawn = np.random.default_rng(0), rows.copy()
        for place, column in enumerate(self.kept):
            if (found := self.categories.get(column)) is not None:
                drawn[:, place] = dice.integers(0, len(found.words) + found.other, len(rows))
        return drawn

    def spoken(self, rows: Array) -> Array:
        """Return rows [n, kept] of places as rows [n, width] with words, which the original takes.

        Raises:
            ModelUnsupported: a place that no word has.
        """
        said = np.zeros((len(rows), self.width), object)
        for place, column in enumerate(self.kept):
            found = self.categories.get(column)
            if found is None:
                said[:, column] = rows[:, place].astype(np.float64)
                continue
            words = np.array([*found.words, *([_NEVER] if found.other else [])], object)
            places = rows[:, place]
            none = places[~np.isin(places, np.arange(len(words)))]
            if len(none):
                raise ModelUnsupported(
                    f"samples have {none[0]:g} in column {self.names[column]}, whose words have "
                    f"the places 0 to {len(words) - 1}",
                    hint="give places in the order of the categories that `model init` writes",
                )
            said[:, column] = words[places.astype(int)]
        return said


def of(model: Any) -> Words | None:
    """Return the two forms of a model with columns of words; None of one without.

    Raises:
        ModelUnsupported: words that have no places: missing ones, or behind another transformer.
    """
    if not any(has_words(part) for part in parts(model)):
        return None
    width = int(model.n_features_in_)
    names = tuple(map(str, getattr(model, "feature_names_in_", map("x{}".format, range(width)))))
    found = Words(model, model, (), width, names)
    found.original = _by_number(copy.deepcopy(model))
    found.places = _over_places(copy.deepcopy(found.original), list(range(width)), found)
    if left := [part for part in parts(found.places) if has_words(part)]:
        raise ModelUnsupported(
            f"{type(left[0]).__name__} reads words behind another transformer",
            hint="give it columns of the table: ColumnTransformer, then the encoder",
        )
    found.kept = tuple(sorted(_read(found.places, width)))
    _renumber(found.places, found.kept)
    return found


def parts(model: Any) -> "list[Any]":
    """Return an estimator and all that it is made of."""
    found = [model]
    within = (
        *getattr(model, "steps", ()), *getattr(model, "transformers_", ()),
        *getattr(model, "transformer_list", ()),
    )  # fmt: skip
    for _, part, *_ in within:
        found += parts(part)
    return found


def has_words(part: Any) -> bool:
    """Return whether a part was fitted on words."""
    return any(np.asarray(one).dtype.kind in "OUST" for one in getattr(part, "categories_", ()))


def _by_number(model: Any) -> Any:
    """Tell the columns of a table by their numbers: arrays have no names."""
    for part in parts(model):
        if hasattr(part, "transformers_"):
            places = part._transformer_to_input_indices
            part.transformers_ = [
                (name, one, given if isinstance(given, int) else list(places[name]))
                for name, one, given in part.transformers_
            ]
    return model


def _over_places(part: Any, columns: Sequence[int], found: Words) -> Any:
    """Return a part that reads these columns of the original as one over places."""
    if hasattr(part, "steps"):
        while _fills_words(part.steps[0][1]):
            part.steps = part.steps[1:]
        name, first = part.steps[0]
        part.steps = [(name, _over_places(first, columns, found)), *part.steps[1:]]
        return part
    if hasattr(part, "transformers_"):
        part.transformers_ = [
            (name, _over_places(one, [columns[at] for at in np.atleast_1d(given)], found), given)
            for name, one, given in part.transformers_
        ]
        return part
    if not has_words(part):
        return part
    other = getattr(part, "handle_unknown", "error") != "error"
    places = []
    for column, given in zip(columns, part.categories_, strict=True):
        words = tuple(given.tolist())
        if given.dtype.kind in "iufb":
            raise ModelUnsupported(
                f"{type(part).__name__} has words and numbers in one",
                hint="encode columns of numbers apart from those of words",
            )
        if not all(isinstance(word, str) for word in words):
            raise ModelUnsupported(
                f"column {found.names[column]} has categories that are no words: {words[-1]!r:.40}",
                hint='fill missing ones with a word: SimpleImputer(strategy="constant", '
                'fill_value="none"), then the encoder',
            )
        if found.categories.setdefault(column, Categories(words, other)) != Categories(
            words, other
        ):
            raise ModelUnsupported(
                f"two encoders know other words of column {found.names[column]}",
                hint="encode a column once",
            )
        places.append(np.arange(len(words), dtype=np.float64))
    part.categories_ = places
    return part


def _fills_words(part: Any) -> bool:
    """Return whether a part puts words where none is: no word of a request is missing.

    Raises:
        ModelUnsupported: it takes a word for a missing one, or marks what was missing.
    """
    filled = getattr(part, "statistics_", None)
    if filled is None or np.asarray(filled).dtype.kind not in "OUST":
        return False
    if isinstance(part.missing_values, str) or part.add_indicator:
        raise ModelUnsupported(
            "SimpleImputer of words with missing_values or add_indicator",
            hint="replace such words in the table before training",
        )
    return True


def _read(model: Any, width: int) -> set[int]:
    """Return the columns that the first transformer reads."""
    first = model.steps[0][1] if hasattr(model, "steps") else model
    if not hasattr(first, "transformers_"):
        return set(range(width))
    return {
        int(at)
        for _, one, given in first.transformers_
        if one != "drop"
        for at in np.atleast_1d(given)
    }


def _renumber(model: Any, kept: Sequence[int]) -> None:
    """Number the columns of the first transformer by their places among those that are kept."""
    first = model.steps[0][1] if hasattr(model, "steps") else model
    if hasattr(first, "transformers_"):
        first.transformers_ = [
            (name, one, [kept.index(at) for at in np.atleast_1d(given)])
            for name, one, given in first.transformers_
            if one != "drop"
        ]
