"""Shapes that templates put into SVG: the notches that a digest cuts into a tally stick.

```
 ┌──────────────────────────────┐  stock: what the chain says, one notch per byte of the digest
 └─◢◣──◢█◣────◢◣──────◢██◣──────┘
 ┌─◥◤──◥█◤────◥◤──────◥██◤──────┐  foil: what the bytes hash to, cut by the browser (tally.js)
 └──────────────────────────────┘
```
Halves of one stick fit: equal digests make whole diamonds.
"""

WIDTH = 640  # of a stick
_BYTES = 32


def notches(digest: bytes, *, down: bool = False) -> str:
    """Return the path of a half's notches, from the split line at y = 0 up (or down).

    The low four bits of a byte are a notch's width, the high four its depth. tally.js draws the
    same shapes.
    """
    step = WIDTH / _BYTES
    parts = []
    for at, byte in enumerate(digest[:_BYTES]):
        middle = round((at + 0.5) * step, 2)
        half = round(2 + (byte & 15) * 0.45, 2)
        deep = round(4 + (byte >> 4) * 1.2, 2) * (1 if down else -1)
        parts.append(f"M{middle - half:g} 0L{middle:g} {deep:g}L{middle + half:g} 0Z")
    return "".join(parts)


def share(value: float, largest: float, width: float = 100) -> float:
    """Return the length of a bar; 0 when there is nothing to compare with."""
    return 0.0 if largest <= 0 else round(width * value / largest, 2)
