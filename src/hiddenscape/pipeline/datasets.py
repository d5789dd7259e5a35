"""The data set of a spec: opened by the kind of its path, its labels chosen, its first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiddenscape.errors import ConfigError
from hiddenscape.spec import RunSpec

if TYPE_CHECKING:
    from hiddenscape.data.dataset import Dataset

__all__ = ["open_data"]

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")


def open_data(spec: RunSpec) -> Dataset:
    """The data set that a spec names.

    Raises
    ------
    ConfigError
        If a label column does not exist.
    HiddenscapeError
        Whatever opening raises: a missing file, a damaged row.
    """
    from hiddenscape.data.open import open_dataset

    path = Path(spec.data)
    options: dict[str, Any] = {}
    chosen: tuple[str, ...] = spec.labels
    if path.suffix.lower() in _TABLES:
        options = {"text": spec.text, "label_columns": spec.labels or None}
        chosen = ()
    elif path.suffix.lower() == ".npy" and len(spec.labels) == 1:
        # One array has no columns: its labels are another file.
        options = {"labels": spec.labels[0]}
        chosen = ()
    elif path.suffix.lower() == ".npz":
        options = {"input": spec.input}
    elif path.is_dir() and spec.image_size is not None:
        options = {"size": (spec.image_size, spec.image_size)}
    dataset = open_dataset(spec.data, **options)
    limit = len(dataset) if spec.limit is None else min(spec.limit, len(dataset))
    if limit == len(dataset) and not chosen:
        return dataset
    return _Part(dataset, limit, _columns(dataset, chosen))


def _columns(dataset: Dataset, chosen: Sequence[str]) -> tuple[str, ...]:
    known = list(dataset.labels)
    for name in chosen:
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "it has no labels"
            raise ConfigError(f"labels: {dataset.name} has no column {name!r}; {there}")
    return tuple(chosen or known)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The first rows of a data set with some of its label columns."""

    whole: Dataset
    rows: int
    columns: tuple[str, ...]
    kind: str = field(init=False)
    name: str = field(init=False)
    ids: tuple[str, ...] = field(init=False)
    labels: Mapping[str, np.ndarray] = field(init=False)
    texts: Sequence[str] | None = field(init=False)
    fingerprint: str = field(init=False)
    identical: int = field(init=False)

    def __post_init__(self) -> None:
        from hiddenscape.data.dataset import count_identical, fingerprint

        whole, n = self.whole, self.rows
        texts = whole.texts
        labels = {name: whole.labels[name][:n] for name in self.columns}
        values: dict[str, Any] = {
            "kind": whole.kind,
            "name": whole.name,
            "ids": whole.ids[:n],
            "labels": labels,
            "texts": None if texts is None else texts[:n],
            "fingerprint": fingerprint(whole.ids[:n], self._inputs(), labels),
            "identical": count_identical(self._inputs()),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _inputs(self) -> Any:
        return (self.whole.take([row])[0] for row in range(self.rows))

    def __len__(self) -> int:
        return self.rows

    def take(self, rows: Sequence[int]) -> Any:
        """Inputs of some rows."""
        return self.whole.take(rows)
