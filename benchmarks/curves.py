"""Curves as a small SVG, written by hand: readable on light and dark pages, nothing to install."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, TOP = 340, 210, 46, 34
COLOURS = ("#d1495b", "#8d99ae", "#2a9d8f", "#e9a23b")


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]


def svg(panels: Sequence[Panel]) -> str:
    """Return panels side by side, two in a line."""
    rows = -(-len(panels) // 2)
    width, height = 2 * (WIDTH + 80), rows * (HEIGHT + 100)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11" fill="#777">'
    ]
    for number, panel in enumerate(panels):
        x, y = number % 2 * (WIDTH + 80) + LEFT, number // 2 * (HEIGHT + 100) + TOP
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> list[str]:
    points = [point for line in panel.lines.values() for point in line]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) * WIDTH
        return across, HEIGHT - (y - low) / (high - low) * HEIGHT

    parts = [f'<text x="0" y="-12" font-size="13">{panel.title}</text>']
    for step in range(5):
        y = low + (high - low) * step / 4
        at = place(left, y)[1]
        parts.append(f'<path d="M0 {at:.1f}H{WIDTH}" stroke="#8884"/>')
        parts.append(f'<text x="-6" y="{at + 4:.1f}" text-anchor="end">{_number(y)}</text>')
        x = left + (right - left) * step / 4
        at = place(x, low)[0]
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{_number(x)}</text>'
        )
    middle = f'x="{WIDTH / 2}" y="{HEIGHT + 32}" text-anchor="middle"'
    parts.append(f"<text {middle}>{panel.x}; up: {panel.y}</text>")
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        style = f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<polyline points="{path}" {style}/>')
        place_of_name = f'x="{number * 115}" y="{HEIGHT + 50}" fill="{colour}"'
        parts.append(f"<text {place_of_name}>{name}</text>")
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2g}"
