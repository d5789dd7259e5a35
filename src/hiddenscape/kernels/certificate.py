"""How each row of a neighbour graph was proven complete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError

__all__ = ["Certificate"]


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """Which proof stands behind the list of each row.

    Attributes
    ----------
    rungs : tuple of str
        Names of the proofs: the arithmetic whose error bound left no doubt (``bfloat16``,
        ``float32``, ``float64``, ...), ``projection`` (few coordinates and the triangle
        inequality), ``whole numbers`` (products without any rounding), ``all distances`` (every
        pair computed), ``all rows identical``, or, for a graph made elsewhere, ``the caller's
        word``.
    rung : uint8 array (n,)
        Index into ``rungs`` for every row.

    Raises
    ------
    InputError
        If an entry of ``rung`` names no rung.

    Examples
    --------
    >>> c = Certificate(("bfloat16", "float32"), np.array([0, 1, 0]))
    >>> c.counts()
    {'bfloat16': 2, 'float32': 1}
    >>> print(c)
    proven by bfloat16 (2 rows), float32 (1 row); distances from float64 differences
    """

    rungs: tuple[str, ...]
    rung: np.ndarray

    def __post_init__(self) -> None:
        given = np.asarray(self.rung)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise InputError(f"rung must be whole numbers (n,), got {given.dtype} {given.shape}")
        if given.size and not 0 <= given.min() <= given.max() < len(self.rungs) <= 255:
            raise InputError(f"rung must lie in 0..{len(self.rungs) - 1}: {self.rungs}")
        rung = given.astype(np.uint8)
        rung.flags.writeable = False
        object.__setattr__(self, "rung", rung)

    @classmethod
    def by(cls, name: str, n: int) -> Certificate:
        """One proof for all ``n`` rows."""
        return cls((name,), np.zeros(n, dtype=np.uint8))

    @classmethod
    def joined(cls, parts: Iterable[Certificate]) -> Certificate:
        """The certificate of rows that follow each other."""
        parts = list(parts)
        rungs = tuple(dict.fromkeys(name for part in parts for name in part.rungs))
        number = [np.array([rungs.index(r) for r in p.rungs], dtype=np.uint8) for p in parts]
        return cls(rungs, np.concatenate([m[p.rung] for m, p in zip(number, parts, strict=True)]))

    def take(self, rows: np.ndarray) -> Certificate:
        """The certificate of some rows."""
        return Certificate(self.rungs, self.rung[rows])

    def counts(self) -> dict[str, int]:
        """Rows per proof, without those that proved none."""
        found = np.bincount(self.rung, minlength=len(self.rungs)).tolist()
        return {name: c for name, c in zip(self.rungs, found, strict=True) if c}

    def __len__(self) -> int:
        return len(self.rung)

    def __str__(self) -> str:
        said = [f"{name} ({c} row{'s' * (c != 1)})" for name, c in self.counts().items()]
        return f"proven by {', '.join(said)}; distances from float64 differences"
