"""Both languages say everything, and no template says anything by itself. No sockets."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from oracle.services import request_timeline
from oracle.services.channels import receipt_check, receipt_findings
from oracle.services.data import round_events
from oracle.services.lineage import findings
from oracle.web.locale import DEFAULT, LANGUAGES, catalogue, choose

ROOT = Path(str(resources.files("oracle.web")))
TEMPLATES = sorted((ROOT / "templates").glob("*.html"))
MODULES = sorted((ROOT / "static").glob("*.js"))
SOURCES = [
    *sorted(ROOT.glob("*.py")),
    Path(request_timeline.__file__),
    Path(round_events.__file__),
    Path(receipt_findings.__file__),
    Path(receipt_check.__file__),
    Path(findings.__file__),
]
_HOLE = re.compile(r"\{(\w+)\}")
_KEY = re.compile(r"\bt\(\s*[\"']([\w.]+)[\"'](?!\s*\+)")
_STARTS = re.compile(r"\bt\(\s*[\"']([\w.]+)[\"']\s*\+|\bt\(`([\w.]+)\$\{")
NAMES = {"Tallystick", "tx", "n"}  # not words of a language


def keys_used() -> tuple[set[str], set[str]]:
    """Return the keys that templates and modules name, and how composed ones begin."""
    keys: set[str] = set()
    starts: set[str] = set()
    for path in (*TEMPLATES, *MODULES, *SOURCES):
        text, prefix = path.read_text(), "js." if path.suffix == ".js" else ""
        keys |= {prefix + key for key in _KEY.findall(text)}
        starts |= {prefix + (a or b) for a, b in _STARTS.findall(text)}
        keys |= {  # keys in lists: ("/", "nav.models"), a ? "try.x" : "try.y"
            prefix + key
            for key in re.findall(r"[\"']([a-z]+(?:\.\w+)+)[\"']", text)
            if prefix + key in catalogue(DEFAULT).strings
        }
    return keys, starts


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {DEFAULT}))
def test_catalogues__other_language__has_the_same_keys_and_placeholders(language: str) -> None:
    ours, theirs = catalogue(DEFAULT).strings, catalogue(language).strings
    assert set(ours) == set(theirs)
    for key, text in ours.items():
        assert sorted(_HOLE.findall(text)) == sorted(_HOLE.findall(theirs[key])), key
        assert theirs[key].strip(), key


def test_catalogues__keys_in_use__exist() -> None:
    keys, _ = keys_used()
    assert sorted(keys - set(catalogue(DEFAULT).strings)) == []


def test_catalogues__every_key__is_used() -> None:
    keys, starts = keys_used()
    unused = [
        key
        for key in catalogue(DEFAULT).strings
        if key not in keys and not any(key.startswith(start) for start in starts)
    ]
    assert unused == []


def test_catalogues__every_event_of_a_timeline__has_a_name() -> None:
    kinds = {kind.__name__ for kind in (*request_timeline.LIFE, *round_events.LIFE)}
    assert sorted(k for k in kinds if f"event.{k}" not in catalogue(DEFAULT).strings) == []


def test_catalogues__chinese__is_chinese() -> None:
    for key, text in catalogue("zh").strings.items():
        assert re.search(r"[\u4e00-\u9fff]", text) or text == catalogue("en").strings[key], key


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates__their_own_text__has_no_words(path: Path) -> None:
    assert words_of(path.read_text()) == []


def test_words_of__untranslated_text__is_found() -> None:
    assert words_of('<p title="Big">{{ t("x") }} Hello</p>') == ["Big", "Hello"]
    assert words_of("<p>{{ x }} · {% if a > b %}{% endif %}</p>{# fine #}") == []


def words_of(template: str) -> list[str]:
    """Return what a template says without asking the catalogue: text, and spoken attributes."""
    text = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", " ", template, flags=re.DOTALL)
    text = re.sub(r"<!doctype html>", "", text)
    spoken = re.findall(r"\b(?:title|alt|aria-label|placeholder)=[\"']([^\"']*)", text)
    text = re.sub(r"<(code|script)\b.*?</\1>", " ", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", text)
    found = re.findall(r"[A-Za-z][A-Za-z]+", " ".join([*spoken, text]))
    return [word for word in found if word not in NAMES]


def test_catalogues__files__have_sorted_out_duplicates() -> None:
    for language in LANGUAGES:
        pairs: list[tuple[str, str]] = json.loads(
            (ROOT / "locales" / f"{language}.json").read_text(), object_pairs_hook=list
        )
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        (None, None, "en"),
        ("xx", "fr-FR, ja;q=0.8", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "de, zh-TW;q=0.5", "zh"),
        ("en", "zh", "en"),
        ("zh", "en", "zh"),
    ],
)
def test_choose__cookie_then_browser__decides(
    cookie: str | None, accept: str | None, language: str
) -> None:
    assert choose(cookie, accept) == language


def test_pictures__of_every_page__are_there_in_both_themes_and_small() -> None:
    folder = ROOT.parents[1] / "docs" / "web"
    pages = (
        "models model tampered try sentences proof operators operator publish data round account "
        "narrow-zh narrow-proof-zh narrow-try"
    )
    for page in pages.split():
        for theme in ("light", "dark"):
            assert 0 < (folder / f"{page}-{theme}.png").stat().st_size < 200_000, page
