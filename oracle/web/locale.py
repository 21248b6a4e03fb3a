"""The page's words, one catalogue file per language; the same keys in each (a test holds that)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from oracle.services import request_timeline
from oracle.services.channels import receipt_findings
from oracle.services.data import round_events
from oracle.services.lineage import findings

LANGUAGES = {"en": "English", "zh": "中文"}
DEFAULT = "en"
SCRIPTS = "js."  # keys with this prefix are handed to the page's modules


@dataclass(frozen=True, slots=True)
class Translations:
    """The words of one language."""

    language: str
    strings: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with its `{placeholders}` filled. It is plain text: templates escape it.

        Raises:
            KeyError: no such key: a mistake in a template, which the tests find.
        """
        text = self.strings[key]
        return text.format_map(values) if values else text

    def for_scripts(self) -> dict[str, str]:
        """Return the texts that modules show, without their prefix."""
        return {
            key.removeprefix(SCRIPTS): text
            for key, text in self.strings.items()
            if key.startswith(SCRIPTS)
        }


@cache
def catalogue(language: str) -> Translations:
    """Return the catalogue of a language that is one of `LANGUAGES`."""
    path = resources.files("oracle.web").joinpath("locales", f"{language}.json")
    strings = json.loads(path.read_text(encoding="utf-8"))
    sentences = {
        **receipt_findings.SENTENCES, **request_timeline.SENTENCES, **round_events.SENTENCES,
        **findings.SENTENCES,
    }  # fmt: skip
    return Translations(language, {**sentences, **strings} if language == DEFAULT else strings)


def choose(cookie: str | None, accept: str | None) -> str:
    """Return the language of a visitor: what was chosen, else what the browser prefers.

    Args:
        cookie: the choice kept in the browser.
        accept: the header Accept-Language; its order counts, its weights do not.
    """
    if cookie in LANGUAGES:
        return cookie
    for part in (accept or "").split(","):
        language = part.split(";")[0].strip().lower().split("-")[0]
        if language in LANGUAGES:
            return language
    return DEFAULT
