"""What a check of a version's history found, and its sentences. Pure.

A finding never says more than was checked: what nobody can check here has its reason beside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class HistoryFinding(StrEnum):
    """How a check ended."""

    FITS = "ok"
    WRONG = "wrong"
    UNKNOWN = "not checkable"


@dataclass(frozen=True, slots=True)
class HistoryCheck:
    """One check.

    Attributes:
        subject: base, rounds, participants, state, weights or training.
        why: the finding's reason, in English.
        key, values: of `SENTENCES`, for other languages.
    """

    subject: str
    finding: HistoryFinding
    why: str
    key: str
    values: Mapping[str, object]


SENTENCES = {
    "lineage.base.fits": "model {model} version {version} has the manifest that is named",
    "lineage.base.missing": "there is no model {model} version {version}",
    "lineage.base.other": "model {model} version {version} has another manifest, {digest}",
    "lineage.base.later": "model {model} version {version} was published after this one",
    "lineage.base.elsewhere": "it is said to be on chain {chain}, registry {registry}: ask there",
    "lineage.base.nowhere": "only its digest is named, and no version here has it: {digest}",
    "lineage.base.found": "its digest is that of model {model} version {version}",
    "lineage.base.weights": "weights {root}; no version is named",
    "lineage.base.begun": "the run began with a file of it",
    "lineage.base.not_begun": "the run began with weights that are no file of it: {digest}",
    "lineage.base.unread": "nobody has its manifest now, so its files are not known",
    "lineage.rounds.fits": "of the base, settled one after another; the last state has root {root}",
    "lineage.rounds.elsewhere": "they are on contract {contract} of chain {chain}: ask there",
    "lineage.rounds.missing": "there is no round {round}",
    "lineage.rounds.model": "round {round} is of model {model} version {version}, not of the base",
    "lineage.rounds.unsettled": "round {round} is not settled",
    "lineage.rounds.broken": "round {round} did not begin from the state before it",
    "lineage.rounds.scale": "round {round} has {bits} bits of scale, not {said}",
    "lineage.rounds.root": "round {round} ended with state root {root}, not {said}",
    "lineage.people.fits": "{count} accounts revealed updates in these rounds",
    "lineage.people.other": "{count} accounts revealed updates in these rounds, not those named",
    "lineage.weights.fits": "they are the state with root {root}",
    "lineage.weights.run": "they have the digest that the run ended with",
    "lineage.weights.not_run": "their digest is {digest}; the run ended with {said}",
    "lineage.weights.other": "they make a state with root {root}, not {said}",
    "lineage.weights.differ": "they are not those of the state in {file}",
    "lineage.state.fits": "{file} is the last state of the job's history",
    "lineage.state.not_last": "{file} is not the last state of the job's history",
    "lineage.weights.format": "weights in a {format} file are not read by name here",
    "lineage.weights.lost": "{dtype} keeps too few bits of some: several states give them",
    "lineage.weights.unread": "the files were not read",
    "lineage.weights.damaged": "{reason}",
    "lineage.weights.unreadable": "{reason}",
    "lineage.training.job": "job {digest}: whoever does it again names a wrong step",
    "lineage.training.run": "what one trainer did is the trainer's word",
    "lineage.training.rounds": "what participants trained, and from which weights, is not judged",
    "lineage.training.told": "it is the publisher's word",
    "lineage.step.rounds": "rounds of training: {count}; participants: {people}",
    "lineage.step.job": "exact steps of training: {steps}",
    "lineage.step.run": "a trainer's run; steps: {steps}, ranks: {ranks}",
    "lineage.step.compression": "made smaller by {method}",
    "lineage.step.told": "the publisher says: {text}",
    "lineage.step.unknown": "how is not said",
}
Words = Callable[..., str]


def english(key: str, **values: object) -> str:
    """Return a sentence of `SENTENCES` with its `{placeholders}` filled."""
    return SENTENCES[key].format_map(values)


def found(subject: str, finding: HistoryFinding, key: str, **values: object) -> HistoryCheck:
    """Return a check with its English sentence."""
    return HistoryCheck(subject, finding, english(key, **values), key, values)


def fits(subject: str, key: str, **values: object) -> HistoryCheck:
    """Return a check of what is as it is said to be."""
    return found(subject, HistoryFinding.FITS, key, **values)


def wrong(subject: str, key: str, **values: object) -> HistoryCheck:
    """Return a check of what is otherwise."""
    return found(subject, HistoryFinding.WRONG, key, **values)


def unknown(subject: str, key: str, **values: object) -> HistoryCheck:
    """Return a check that cannot be made here, with its reason."""
    return found(subject, HistoryFinding.UNKNOWN, key, **values)


def hexed(data: bytes) -> str:
    """Return bytes as 0x-hex."""
    return "0x" + data.hex()
