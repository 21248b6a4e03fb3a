"""How an answer is shown to people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from oracle.cli import output
from oracle.services.amounts import format_amount
from oracle.services.channels.asking import ChannelAnswer
from oracle.services.inference import CheckedAnswer
from oracle.services.outputs import Output, Row, Score

_SHOWN_TEXT = 60  # characters of a sentence


def answer_text(answer: CheckedAnswer) -> Any:
    """Return labels, nearest sentences or numbers, and where the answer comes from."""
    facts = output.facts(
        [
            ("request", output.hexed(answer.request_id)),
            ("answered by", answer.operator),
            ("digest", f"{output.hexed(answer.output_root)} (as on chain)"),
            ("state", answer.state.value),
            *_paid(answer),
            *(("clamped", str(one)) for one in answer.outside),
        ]
    )
    return Group(*_outputs(answer.outputs), facts)


def _paid(answer: CheckedAnswer) -> list[tuple[str, str]]:
    """Say what a metered answer costs, and when that does not fit its output."""
    if answer.bill is None or not answer.bill.max_units:
        return []
    lines = [("paid by", str(answer.bill))]
    if answer.counted != answer.bill.units:
        challenge = f"tallystick committee challenge {output.hexed(answer.request_id)}"
        lines.append(
            ("wrong", f"the output has {answer.counted:,} units: `{challenge}` has it judged")
        )
    return lines


def signed_text(answer: ChannelAnswer) -> Any:
    """Return the same for an answer of a channel, and where its receipt is."""
    paid, left = format_amount(answer.fee), format_amount(answer.left)
    facts = output.facts(
        [
            ("receipt", f"{answer.receipt}: `tallystick verify {answer.receipt}` checks it"),
            ("answered by", answer.operator),
            ("digest", f"{output.hexed(answer.output_root)} (as signed)"),
            ("paid", f"{paid}; the channel has {left} left"),
            *(("clamped", str(one)) for one in answer.outside),
        ]
    )
    return Group(*_outputs(answer.outputs), facts)


def _outputs(outputs: Sequence[Output]) -> Iterator[Any]:
    """Yield what is shown of an answer; once, how to have what is not."""
    if isinstance(outputs[0].values, dict):
        yield from _written(outputs, outputs[0].values)
    else:
        yield from map(_output, outputs)
    if hidden := [one.name for one in outputs if one.values is None and not one.rows]:
        yield Text(f"not shown: {', '.join(hidden)}; save with --output FILE")


def _written(outputs: Sequence[Output], head: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a text, then why it ended and its tokens."""
    yield Text(outputs[0].text + "\n")
    calls = (("calls", f"{one['name']} {one['arguments']}") for one in head.get("tool_calls", ()))
    tokens = next(one.shape[0] for one in outputs if one.name == "tokens")
    told = f"{tokens:,} written, {head['prompt_tokens']:,} of the prompt"
    yield output.facts([*calls, ("finish reason", head["finish_reason"]), ("tokens", told)])


def _output(shown: Output) -> Any:
    shape = " × ".join(map(str, shown.shape))
    title = Text(f"{shown.name}  {shown.dtype} {shape}", "bold")
    if any(score.reasons for row in shown.rows for score in row.top):
        lines = [(str(row.row), *_because(score)) for row in shown.rows for score in row.top]
        return Group(title, output.table(("row", "answer", "score", "because of"), lines))
    if shown.rows:
        return Group(title, output.table(("row", "", "answer"), map(_row, shown.rows)))
    return title if shown.values is None else Group(title, Text(str(shown.values)))


def _row(row: Row) -> tuple[str, str, str]:
    parts = [f"{s.label} ({s.score:.3f})" for s in row.top]
    parts += [f"{n.cosine:.3f} {_short(n.text)}" for n in row.nearest]
    return str(row.row), _short(row.text), "\n".join(parts) if row.nearest else ", ".join(parts)


def _because(score: Score) -> tuple[str, str, str]:
    reasons = ", ".join(f"{one.column} {one.effect:+.3f}" for one in score.reasons)
    return score.label, f"{score.score:.3f}", reasons


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"
