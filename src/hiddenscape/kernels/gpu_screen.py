"""Scores of blocks of pairs on a torch device, in one arithmetic, with their proven bound."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from hiddenscape.kernels.gpu_points import Source
from hiddenscape.kernels.gpu_rungs import Rung, kappa, matrix_product, rounded, tau

__all__ = ["Screen", "exact_rung"]

_RIDING = 2048  # columns up to which norms ride along: beyond, the wider bound costs more
_ALIGN = 8  # columns; tensor cores want rows that begin at multiples of 16 bytes
_MEASURED = 2.0**-220  # squared norms below which a loss falls under tau


class Screen:
    """Scores of a source in one arithmetic; the bound is derived in :mod:`gpu_rungs`.

    Attributes
    ----------
    source : Source
    rung : Rung
    exact : bool
        Whole numbers so small that nothing rounds: scores carry no error.
    kappa, tau : float
        Half-widths of the bound.
    """

    def __init__(self, source: Source, rung: Rung, *, exact: bool = False) -> None:
        self.source = source
        self.rung = rung
        self.exact = exact
        self._storage = rung.storage(source.device)
        self._riding = source.d <= _RIDING
        self._wide = -(-source.d // _ALIGN) * _ALIGN
        self._first = self._wide + (_ALIGN if self._riding else 0)
        columns = self._first + (self._wide if rung.parts == 2 else 0)
        self._row_bytes = columns * self._storage.itemsize
        self._shape = columns
        self._kept: torch.Tensor | None = None
        if source.n * self._row_bytes <= source.budget.operands:
            self._kept = torch.zeros((source.n, columns), dtype=self._storage, device=source.device)
        loss, first_loss = self._fill()
        self.kappa = self.tau = 0.0
        if not exact:
            self.kappa = kappa(rung, source.d, loss, first_loss, riding=self._riding)
            self.tau = tau(rung, source.d)
        self._weights = source.norms * (1 - self.kappa)
        if self._kept is not None:
            self._ride(self._kept, self._weights)

    @property
    def thin(self) -> bool:
        """Whether the bound says nothing useful."""
        return self.kappa > 0.02

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        """What turns scores of these rows into lower bounds of squared distances, float64."""
        return self.source.norms[rows] * (1 - self.kappa) - self.tau

    def width(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """From the lower to the upper bound, for every row and each of its columns (r, c)."""
        norms = self.source.norms
        return 2 * self.kappa * (norms[rows][:, None] + norms[columns]) + 2 * self.tau

    def block_shape(self, rows: int | None, extra: int, held: int = 0) -> tuple[int, int]:
        """Rows and columns of one block of scores that keeps within the budget.

        ``extra`` is the number of bytes per pair of a block beside the score itself, ``held`` what
        every row of the block keeps for each of the n columns.
        """
        n, room = self.source.n, self.source.budget.scores
        pair = self.rung.scores.itemsize + extra
        # Factors that are made anew pass through a few arrays in double precision.
        free, row = self.source.budget.work, 2 * self._row_bytes
        if self._kept is None:
            free, row = free + self.source.budget.operands, row + 40 * self.source.d
        most = max(1, free // row)
        width = min(n, max(room // (pair * 1024), 1024))
        if self._kept is None:
            # Every block of rows makes all factors again: many rows, and narrow tiles.
            width = max(1, min(width, most // 4))
        height = max(1, min(n, most, room // (pair * width + held * n)))
        return (min(rows, n) if rows else height), width

    def tiles(self, rows: torch.Tensor, width: int) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Scores of some rows against all: (first column, one past the last, scores (r, c)).

        The score of a row against itself stands among them.
        """
        left = self._left(rows)
        if self._kept is not None:
            for a in range(0, self.source.n, width):
                b = min(a + width, self.source.n)
                yield a, b, self._scores(left, self._kept[a:b], a, b)
            return
        for a, b, x in self.source.tiles(width):
            right = self._factors(self.source.centred(x))[0]
            self._ride(right, self._weights[a:b])
            yield a, b, self._scores(left, right, a, b)

    def _scores(self, left: torch.Tensor, right: torch.Tensor, a: int, b: int) -> torch.Tensor:
        first, wide = self._first, self._wide
        s = matrix_product(self.rung, left[:, :first], right[:, :first])
        if self.rung.parts == 2:
            s += matrix_product(self.rung, left[:, first:], right[:, :wide])
            s += matrix_product(self.rung, left[:, :wide], right[:, first:])
        if not self._riding:
            s += self._weights[a:b].to(s.dtype)
        return s

    def _left(self, rows: torch.Tensor) -> torch.Tensor:
        if self._kept is not None:
            left = self._kept.index_select(0, rows)
        else:
            left = self._factors(self.source.centred(self.source.rows(rows)))[0]
        left *= -2
        if self._riding:
            left[:, self._wide : self._first] = 0
            left[:, self._wide : self._wide + self.rung.pieces] = 1
        return left

    def _factors(self, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Factors of centred rows, norms left out, and what they lose, whole and first part."""
        d, bits = self.source.d, self.rung.bits
        out = torch.zeros((len(c), self._shape), dtype=self._storage, device=c.device)
        high = rounded(c, bits)
        out[:, :d] = high
        rest = c - high
        first = whole = rest.square().sum(1)
        if self.rung.parts == 2:
            low = rounded(rest, bits)
            out[:, self._first : self._first + d] = low
            whole = (rest - low).square_().sum(1)
        return out, whole, first

    def _fill(self) -> tuple[float, float]:
        """Keep the factors where they fit, and measure the largest relative losses."""
        most = torch.zeros(2, dtype=torch.float64, device=self.source.device)
        for a, b, x in self.source.chunks():
            out, whole, first = self._factors(self.source.centred(x))
            if self._kept is not None:
                self._kept[a:b] = out
            norms = self.source.norms[a:b]
            lost = torch.stack((whole, first)) / norms.clamp_min(_MEASURED)
            lost[:, norms <= _MEASURED] = 0
            most = torch.maximum(most, lost.amax(1))
        loss, first_loss = most.sqrt().mul(1.001).tolist()
        return float(loss), float(first_loss)

    def _ride(self, factors: torch.Tensor, weights: torch.Tensor) -> None:
        if not self._riding:
            return
        rest = weights
        for column in range(self._wide, self._wide + self.rung.pieces):
            piece = rounded(rest, self.rung.bits)
            factors[:, column] = piece
            rest = rest - piece


def exact_rung(rungs: tuple[Rung, ...], n: int, d: int, largest: float) -> Rung | None:
    """The first rung in which whole numbers up to ``largest`` lose nothing, if there is one.

    Factors must fit, no sum of products may leave the integers of the type (two bits in reserve
    for units that cut off), and a squared distance with a row number must fit in 64 bits.

    Examples
    --------
    >>> from hiddenscape.kernels.gpu_rungs import RUNGS
    >>> exact_rung((RUNGS["bfloat16"], RUNGS["float32"]), 1000, 784, 255.0) is None
    True
    >>> exact_rung((RUNGS["bfloat16"], RUNGS["float32"]), 1000, 784, 1.0).name
    'bfloat16'
    """
    reach = 4 * d * largest * largest
    for rung in rungs:
        limit = {8: 2.0**22, 11: 2.0**22, 24: 2.0**24, 53: 2.0**53}[rung.bits]
        if largest <= 2.0**rung.bits and reach <= limit and reach * n < 2.0**62:
            return rung
    return None
