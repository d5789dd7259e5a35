"""How far an export is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hiddenscape.store.exporters.selection import Field

__all__ = ["Ticker"]


class Ticker:
    """Counts the values that were written and tells the caller."""

    def __init__(self, total: int, tell: Callable[[int, int], None] | None) -> None:
        self._total, self._tell, self._done = total, tell, 0

    def blocks(self, field: Field) -> Iterator[np.ndarray]:
        """The blocks of a field; progress is told after each was used."""
        for block in field.blocks():
            yield block
            self.tick(block.size)

    def tick(self, values: int) -> None:
        """Count values that were written."""
        self._done += values
        if self._tell is not None:
            self._tell(self._done, self._total)
