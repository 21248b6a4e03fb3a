"""A size that adapts to what the other side takes: halved when refused, grown when taken."""

_FORGIVEN_AFTER = 64  # sizes taken in a row, until a size that was refused is tried again


class AdaptiveSize:
    """How much to ask for at once: blocks of a range, calls of a batch; never below 1."""

    def __init__(self, first: int, most: int) -> None:
        self.value = first
        self._most = most
        self._limit = most  # largest size that was not refused yet
        self._taken = 0

    def refused(self, size: int) -> None:
        """Hear that `size` was too much: whatever the reason, half of it is tried next."""
        self._limit = max(1, min(self._limit, size - 1))
        self._taken = 0
        self.shrink(size)

    def shrink(self, size: int) -> None:
        """Ask for half of `size` next time; nothing was refused."""
        self.value = max(1, min(self.value, size) // 2)

    def taken(self, size: int) -> None:
        """Hear that `size` was answered with ease: double it, or bisect towards a refused one."""
        self._taken += 1
        if self._taken % _FORGIVEN_AFTER == 0:
            self._limit = self._most
        if size >= self.value:
            self.value = min(2 * size, (size + self._limit + 1) // 2)
