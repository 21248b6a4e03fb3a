"""Every test that docs/field-reports.md names exists; every row names one or says why not."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [
    line.strip("|").split("|")
    for line in (ROOT / "docs/field-reports.md").read_text().splitlines()
    if line.startswith("|") and "#" in line
]


def test_reports__every_test_named__exists() -> None:
    named = {name for row in ROWS for name in re.findall(r"`(test_\w+)`", row[2])}
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named - defined == set()


def test_reports__every_row__has_a_report_and_an_outcome() -> None:
    reports = [report for row in ROWS for report in re.findall(r"[\w./-]+#\d+", row[0])]
    assert len(reports) == len(set(reports))
    assert len(reports) >= 55
    assert all(len(row[2].split()) >= 1 and row[1].strip() for row in ROWS)
