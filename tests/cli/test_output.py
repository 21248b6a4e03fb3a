"""What leaves the command line obeys nobody: errors and names are a stranger's."""

import json

import pytest

from oracle.cli import main, output

CLEARS, MOVES, TITLE, TURNS = "\x1b[2J", "\x9b1A", "\x1b]0;owned\x07", "\u202e"
EVIL = f"a{CLEARS}b{MOVES}c{TITLE}d{TURNS}e"
OBEYED = set("\x1b\x9b\x07\u202e")


def test_main__error_with_control_characters__terminal_gets_none(capsys):
    assert main(["model", "check", f"{EVIL}.gguf"]) != 0
    said = capsys.readouterr().err
    assert "ownedde" in said
    assert not OBEYED & set(said)


@pytest.mark.parametrize(
    "show",
    [
        output.print_human,
        lambda text: output.print_human(text, stderr=True),
        lambda text: output.console(stderr=True).print(text, markup=False, style="red"),
        lambda text: output.print_human(output.facts([("name", text)])),
        lambda text: output.print_human(output.table(["name"], [[text]])),
    ],
)
@pytest.mark.parametrize("coloured", [False, True])
def test_console__text_of_a_stranger__is_written_without_controls(
    show, coloured, capsys, monkeypatch
):
    monkeypatch.setenv("FORCE_COLOR" if coloured else "NO_COLOR", "1")
    show(EVIL)
    said = "".join(capsys.readouterr())
    assert not any(part in said for part in (CLEARS, MOVES, TITLE, TURNS))
    assert "a[2Jb1Ac]0;ownedde" in said


def test_print_json__controls__are_escaped_and_the_value_the_same(capsys):
    output.print_json({"said": EVIL})
    said = capsys.readouterr().out
    assert not OBEYED & set(said)
    assert json.loads(said) == {"said": EVIL}
