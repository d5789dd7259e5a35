"""Tidy results: one row per number, CSV parts on disk. The only place that knows data frames.

A part is one file ``results/ANALYSIS-PARAMSHASH-UNIT.csv``, written whole and renamed into place;
writers never share a file and readers merge all parts. Floats are written with ``repr`` (they read
back bit for bit), NaN as ``nan``, an absent field as nothing.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiddenscape.errors import InputError, StoreError
from hiddenscape.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Row", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number and everything that fixes it.

    Attributes
    ----------
    run, model, revision, dataset : str
        Where the number comes from.
    site, pooling, depth
        The site it was measured at; ``run_b``, ``site_b`` and ``pooling_b``: the second one of a
        comparison.
    label : str
        Label column, for comparisons with labels.
    analysis, quantity : str
        Name in ``analyses``, and which of its numbers this is.
    scale : float
        Neighbour distance the number is measured at (NaN where it has none).
    k, n1, n2 : int
        Neighbour rank(s).
    subset, repeat : int
        Rows of a subsample, and which of its repeats.
    setting : str
        What else tells this number from its neighbours: ``z = 2.5``.
    value, stderr, stderr_kind, n_used, n_dropped, note
        The estimate itself.
    params_hash : str
        Hash over the parameters of the analysis; the parameters are in ``run.json``.
    """

    run: str = ""
    model: str = ""
    revision: str = ""
    dataset: str = ""
    site: str = ""
    pooling: str = ""
    depth: float = math.nan
    run_b: str = ""
    site_b: str = ""
    pooling_b: str = ""
    label: str = ""
    analysis: str = ""
    quantity: str = ""
    scale: float = math.nan
    k: int | None = None
    n1: int | None = None
    n2: int | None = None
    subset: int | None = None
    repeat: int | None = None
    setting: str = ""
    value: float = math.nan
    stderr: float = math.nan
    stderr_kind: str = ""
    n_used: int | None = None
    n_dropped: int | None = None
    note: str = ""
    params_hash: str = ""


COLUMNS = tuple(f.name for f in fields(Row))
_FLOATS = frozenset({"depth", "scale", "value", "stderr"})
_INTS = frozenset({"k", "n1", "n2", "subset", "repeat", "n_used", "n_dropped"})


class Table:
    """An ordered collection of :class:`Row`, immutable.

    Examples
    --------
    >>> t = Table([Row(site="a", analysis="two_nn", value=2.0), Row(site="b", value=3.0)])
    >>> t.select(site="a").values().tolist()
    [2.0]
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, i: int) -> Row:
        return self._rows[i]

    def __add__(self, other: Table) -> Table:
        return Table((*self._rows, *other._rows))

    def __repr__(self) -> str:
        return f"Table({len(self)} rows, analyses {sorted({r.analysis for r in self})})"

    def select(self, **equals: object) -> Table:
        """Rows whose fields equal the given values (a tuple, list or set means any of them)."""
        for name in equals:
            if name not in COLUMNS:
                raise InputError(f"the table has no column {name!r}; columns: {COLUMNS}")

        def keep(row: Row) -> bool:
            for name, wanted in equals.items():
                got = getattr(row, name)
                if isinstance(wanted, tuple | list | set | frozenset):
                    if got not in wanted:
                        return False
                elif got != wanted:
                    return False
            return True

        return Table(r for r in self._rows if keep(r))

    def column(self, name: str) -> list[Any]:
        """One column as a list, in row order."""
        if name not in COLUMNS:
            raise InputError(f"the table has no column {name!r}; columns: {COLUMNS}")
        return [getattr(r, name) for r in self._rows]

    def values(self, name: str = "value") -> np.ndarray:
        """One numeric column as float64; absent entries are NaN."""
        column = self.column(name)
        return np.array([math.nan if v is None else float(v) for v in column], dtype=np.float64)

    def unique(self, name: str) -> list[Any]:
        """Distinct entries of a column in order of appearance."""
        return list(dict.fromkeys(self.column(name)))

    def sorted_by(self, *names: str) -> Table:
        """Rows in ascending order of the named columns (stable; absent and NaN entries last)."""

        def key(row: Row) -> list[tuple[bool, Any]]:
            out: list[tuple[bool, Any]] = []
            for name in names:
                v = getattr(row, name)
                absent = v is None or (isinstance(v, float) and math.isnan(v))
                out.append((absent, 0 if absent else v))
            return out

        return Table(sorted(self._rows, key=key))

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas data frame."""
        import pandas as pd

        return pd.DataFrame([asdict(r) for r in self._rows], columns=list(COLUMNS))

    def to_csv(self) -> str:
        """The table as CSV text."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self._rows:
            writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
        return out.getvalue()

    def write_part(self, folder: Path, name: str) -> Path:
        """Write the table as one part, atomically: a reader sees all of it or nothing.

        Raises
        ------
        StoreError
            If the part cannot be written.
        """
        path = Path(folder) / f"{name}.csv"
        write_atomic(path, [self.to_csv().encode("utf-8")])
        return path

    @classmethod
    def read_csv(cls, path: Path) -> Table:
        """Read one part.

        Raises
        ------
        StoreError
            If the file is missing, not UTF-8, or a row or field does not parse (named).
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        reader = csv.reader(io.StringIO(text))
        header = next(reader, None)
        if header is None or not set(header) <= set(COLUMNS):
            extra = [] if header is None else sorted(set(header) - set(COLUMNS))
            raise StoreError(f"{path} is not a table of results (unknown columns {extra})")
        rows = []
        for line, cells in enumerate(reader, start=2):
            if len(cells) != len(header):
                raise StoreError(
                    f"{path}, line {line}: {len(cells)} fields where {len(header)} are expected; "
                    "the file is damaged, measure again"
                )
            rows.append(_parse(dict(zip(header, cells, strict=True)), path, line))
        return cls(rows)

    @classmethod
    def read(cls, folder: Path, *, last: tuple[str, ...] = ()) -> Table:
        """Merge every part of a folder, in the order of their names; empty if there is none.

        Parts whose names begin with one of ``last`` come after all the others.
        """
        parts: Sequence[Path] = sorted(
            Path(folder).glob("*.csv"), key=lambda part: (part.name.startswith(last), part.name)
        )
        return cls(row for part in parts for row in cls.read_csv(part))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    return str(value)


def _parse(cells: Mapping[str, str], path: Path, line: int) -> Row:
    out: dict[str, Any] = {}
    for name, text in cells.items():
        try:
            if name in _FLOATS:
                out[name] = float(text) if text else math.nan
            elif name in _INTS:
                out[name] = int(text) if text else None
            else:
                out[name] = text
        except ValueError:
            raise StoreError(f"{path}, line {line}: {name} = {text!r} is not a number") from None
    return Row(**out)
