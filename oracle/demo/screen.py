"""How the demo looks: chapters, facts, refusals, tables, and progress where somebody is looking."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from oracle.errors import TallystickError

Update = Callable[[int, int], None]  # (done, total)


class Screen:
    """Writes to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._console.print()
        self._console.print(Text(f"▌ {title}", "bold cyan"))

    def tell(self, text: str, style: str = "") -> None:
        """Say one thing that happened."""
        self._console.print(Text(f"  {text}", style))

    def fact(self, name: str, value: object) -> None:
        """Name one value."""
        line = Text(f"  {name:<20} ", "bold")
        line.append(str(value))
        self._console.print(line)

    def well(self, text: str) -> None:
        """Say that an expectation holds."""
        line = Text("  ✓ ", "bold green")
        line.append(text)
        self._console.print(line)

    def refused(self, what: str, error: TallystickError) -> None:
        """Show an error that had to come."""
        name = getattr(error, "name", "") or type(error).__name__
        line = Text("  ✋ ", "bold yellow")
        line.append(f"{what}: ")
        line.append(name, "bold yellow")
        self._console.print(line)
        self._console.print(Text(f"     {error}", "yellow"))
        if error.hint:
            self._console.print(Text(f"     → {error.hint}", "dim"))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show rows; all columns but the first are flush right."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2))
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        self._console.print(table)

    @contextmanager
    def working(self, what: str) -> Iterator[Update]:
        """Show a bar that moves with `update(done, total)`; one plain line without a terminal."""
        if not self._console.is_terminal:
            self.tell(f"{what} …", "dim")
            yield lambda _done, _total: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
        )
        outer = self._progress
        progress = outer or Progress(*columns, console=self._console, transient=True)
        if outer is None:
            progress.start()
            self._progress = progress
        task = progress.add_task(what, total=None)
        try:
            yield lambda done, total: progress.update(task, completed=done, total=total)
        finally:
            progress.remove_task(task)
            if outer is None:
                progress.stop()
                self._progress = None
