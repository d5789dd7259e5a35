"""Numbers of single rows, beside the table: one file per site and analysis that has them.

``RUN/points/ANALYSIS-PARAMSHASH-SITE-CONTENT.safetensors`` holds the row numbers of the store that
were measured (``row``), arrays with one entry per such row, and others (peaks, saddles); its
metadata say which is which, what fixes them, and the note.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hiddenscape.errors import InputError, StoreError
from hiddenscape.files import write_atomic

__all__ = ["Pointwise", "read_pointwise", "write_pointwise"]

_SCHEMA = "hiddenscape-points/1"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pointwise:
    """What an analysis says of single rows of a site.

    Attributes
    ----------
    analysis, site : str
        The site by its key, ``NAME@POOLING``.
    rows : int64 array (m,)
        Row numbers of the store that were measured. Rows that repeat an earlier one, or hold
        values that are not finite, are not among them.
    arrays : mapping of str to array
        Those in ``rowwise`` have m entries. Entries of ``centers`` and ``saddle_rows`` count within
        the m measured rows.
    rowwise : tuple of str
    parameters : mapping
        Everything that fixes the numbers: dimension, alpha, Z, ...
    note : str

    Examples
    --------
    >>> found = Pointwise(analysis="adp", site="a", rows=np.array([0, 2]), rowwise=("labels",),
    ...                   arrays={"labels": np.array([1, 0])}, parameters={})
    >>> found["labels"].tolist(), found.aligned("labels", 4).tolist()
    ([1, 0], [1, -1, 0, -1])
    """

    analysis: str
    site: str
    rows: np.ndarray
    arrays: Mapping[str, np.ndarray]
    rowwise: tuple[str, ...]
    parameters: Mapping[str, Any]
    note: str = ""

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise InputError(
                f"{self.analysis} holds no {name!r}; there are: {', '.join(self.arrays)}"
            )
        return self.arrays[name]

    def aligned(self, name: str, n: int) -> np.ndarray:
        """An array with one entry for each of the ``n`` rows of ``rows.csv``.

        Rows that were not measured have -1 (whole numbers), NaN (real ones) or False.

        Raises
        ------
        InputError
            For an array that has no entry per row, or fewer rows than were measured.
        """
        if name not in self.rowwise:
            raise InputError(f"{name!r} is not given per row; those are: {', '.join(self.rowwise)}")
        if len(self.rows) and n <= int(self.rows.max()):
            raise InputError(f"row {int(self.rows.max())} was measured, got n = {n}")
        own = self[name]
        missing: Any = {"i": -1, "f": np.nan, "b": False}[own.dtype.kind]
        out = np.full(n, missing, dtype=own.dtype)
        out[self.rows] = own
        return out


def write_pointwise(path: Path, found: Pointwise) -> None:
    """Write one file, atomically.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    tensors = {name: np.ascontiguousarray(array) for name, array in found.arrays.items()}
    tensors["row"] = np.ascontiguousarray(found.rows, dtype=np.int64)
    metadata = {
        "schema": _SCHEMA,
        "analysis": found.analysis,
        "site": found.site,
        "rowwise": json.dumps(found.rowwise),
        "parameters": json.dumps(_plain(found.parameters), sort_keys=True, allow_nan=False),
        "note": found.note,
    }
    write_atomic(path, [save(tensors, metadata)])


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN; what is undefined is null."""
    return {
        name: None if isinstance(value, float) and value != value else value
        for name, value in parameters.items()
    }


def read_pointwise(path: Path) -> Pointwise:
    """Read one file.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as f:
            meta = f.metadata() or {}
            arrays = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        if meta.get("schema") != _SCHEMA:
            raise StoreError(f"{path} holds no numbers of rows ({meta.get('schema')!r})")
        rows = arrays.pop("row")
        return Pointwise(
            analysis=meta["analysis"],
            site=meta["site"],
            rows=rows,
            arrays=arrays,
            rowwise=tuple(json.loads(meta["rowwise"])),
            parameters=json.loads(meta["parameters"]),
            note=meta["note"],
        )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {path}: {error}; remove it and measure again") from error
