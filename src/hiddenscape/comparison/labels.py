"""Label overlap: how many nearest neighbours carry the label of the row itself.

Sources: Doimo et al. 2020, arXiv:2007.03506; Valeriani et al. 2023, arXiv:2302.00294 (plain, fixed
k); Doimo et al. 2024, arXiv:2409.03662 (mean over classes, k a share of the class).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hiddenscape.comparison.overlap import (
    Overlap,
    check_k,
    graph_notes,
    proof_note,
    undefined_note,
)
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import whole

__all__ = ["label_overlap"]

Weighting = Literal["plain", "macro"]
Singletons = Literal["exclude", "zero"]
_BLOCK_ENTRIES = 1 << 20


def label_overlap(
    graph: NeighborGraph,
    labels: Sequence[Any] | np.ndarray,
    *,
    k: int | None = None,
    weighting: Weighting = "plain",
    class_fraction: float | None = None,
    singletons: Singletons = "exclude",
) -> Overlap:
    """Share of the nearest neighbours that carry the label of the row.

    chi(y) = sum_i w_i (1 / k_i) \\|{j in N_k_i(i): y_j = y_i}\\|, where w_i = 1 / n (``plain``) or
    1 / (C n_c) (``macro``: the mean of C class means). Class c holds n_c rows.

    Parameters
    ----------
    graph : NeighborGraph
        Neighbours of n rows, duplicates kept.
    labels : sequence of n hashable values
        Text, numbers, tuples, ... compared by equality; one per row of the graph. They are never
        rounded or cast.
    k : int, optional
        Neighbours per row; by default as many as the graph stores. Not with ``class_fraction``.
    weighting : {'plain', 'macro'}
        Mean over rows, or over class means.
    class_fraction : float in (0, 1], optional
        q of a neighbourhood that follows the class: k_c = max(1, floor(q n_c + 1e-9)), where n_c
        counts the row itself.
    singletons : {'exclude', 'zero'}
        Rows whose label no other row carries can only score 0. They are left out and counted in
        ``n_dropped`` (they stay neighbours of others), or kept with 0 as in published work.

    Returns
    -------
    Overlap
        ``chance`` is the exact expectation for permuted labels, sum_i w_i (n_c - 1) / (n - 1);
        ``ceiling`` is sum_i w_i min(1, (n_c - 1) / k_c): large k lowers the overlap of small
        classes for no geometric reason; ``adjusted`` = (value - chance) / (ceiling - chance).
        ``stderr`` is the limit of a bootstrap over points with the lists fixed (within classes for
        ``macro``).

    Raises
    ------
    InputError
        If the labels are not n, some are missing (None, NaN) or cannot be compared, k is not in
        1..n-1 or not stored, or an option is unknown.

    Notes
    -----
    NaN with the note ``undefined`` where fewer than 3 rows are distinct, or where every class is a
    single row and these are excluded. Other packages cast labels to integers (0.2 and 0.7 become
    one class), weight by class by default, or divide by a k they do not store.

    References
    ----------
    Doimo et al. 2020, arXiv:2007.03506; Valeriani et al. 2023, arXiv:2302.00294; Doimo et al.
    2024, arXiv:2409.03662.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape.neighbors.graph import NeighborGraph
    >>> g = NeighborGraph.from_arrays(
    ...     np.array([[1, 2], [0, 2], [3, 1], [2, 1]]), np.ones((4, 2)), exact=True)
    >>> result = label_overlap(g, ["cat", "cat", "dog", "dog"], k=1)
    >>> result.value, round(result.chance, 3), result.ceiling
    (1.0, 0.333, 1.0)
    >>> label_overlap(g, ["cat", "cat", "dog", "dog"], k=2).ceiling
    0.5
    """
    if weighting not in ("plain", "macro"):
        raise InputError(f"weighting must be 'plain' or 'macro', got {weighting!r}")
    if singletons not in ("exclude", "zero"):
        raise InputError(f"singletons must be 'exclude' or 'zero', got {singletons!r}")
    classes = Classes.of(labels, graph)
    per_class_k = _per_class_k(graph, classes.counts, k, class_fraction)
    weights = classes.class_weights(weighting, singletons)
    used = weights[classes.codes] > 0
    chance, ceiling = _levels(classes, weights, per_class_k)
    shared: dict[str, Any] = {
        "n_used": int(used.sum()),
        "n_dropped": int((~used).sum()),
        "k": None if class_fraction is not None else int(per_class_k[0]),
        "chance": chance,
        "ceiling": ceiling,
        "parameters": {
            "k": None if class_fraction is not None else int(per_class_k[0]),
            "weighting": weighting,
            "class_fraction": class_fraction,
            "singletons": singletons,
            "metric": graph.metric,
            "classes": len(classes.counts),
            "duplicates": "keep",
        },
    }
    reason = undefined_note(graph)
    if not used.any():
        reason = join_notes(reason, "undefined (no label occurs twice)")
    if reason:
        nothing = np.full(graph.n, math.nan)
        note = join_notes(reason, proof_note(graph))
        return Overlap(value=math.nan, note=note, per_point=nothing, **shared)
    ks = per_class_k[classes.codes]
    shares = np.where(used, same_label_counts(graph.indices, classes.codes, ks) / ks, math.nan)
    value, stderr = _mean(shares, classes, used, weighting)
    return Overlap(
        value=value,
        stderr=stderr,
        stderr_kind="bootstrap",
        note=graph_notes(graph, k=ks),
        per_point=shares,
        **shared,
    )


@dataclass(frozen=True, slots=True)
class Classes:
    """Labels as numbers 0..C-1 in order of appearance (text and numbers: sorted), and counts."""

    codes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[Any] | np.ndarray, graph: NeighborGraph) -> Classes:
        """Number the labels of the rows of a graph; see :func:`label_overlap` for the errors."""
        if isinstance(labels, Set | Mapping) or not hasattr(labels, "__len__"):
            raise InputError(
                f"labels must be a sequence, one per row in row order, got {type(labels).__name__}"
            )
        n = len(labels)
        if n != graph.n:
            hint = ""
            if graph.rows is not None and n == graph.n_rows:
                hint = ": the graph was made from selected rows, use labels[graph.rows]"
            raise InputError(f"{n} labels for a graph of {graph.n} rows{hint}")
        codes = _codes(labels)
        return cls(codes, np.bincount(codes))

    def class_weights(self, weighting: Weighting, singletons: Singletons) -> np.ndarray:
        """Weight of each class in the mean; they sum to 1, or to 0 if no row is left."""
        kept = self.counts > 1 if singletons == "exclude" else self.counts > 0
        share = np.where(kept, self.counts if weighting == "plain" else 1, 0)
        out: np.ndarray = share / max(1, int(share.sum()))
        return out


def same_label_counts(indices: np.ndarray, codes: np.ndarray, ks: np.ndarray) -> np.ndarray:
    """Per row, how many of its first k_i neighbours carry its own label."""
    widest = int(ks.max())
    out = np.empty(len(indices), dtype=np.int64)
    step = max(1, _BLOCK_ENTRIES // widest)
    position = np.arange(widest)
    for start in range(0, len(indices), step):
        rows = slice(start, start + step)
        same = codes[indices[rows, :widest]] == codes[rows, None]
        same &= position < ks[rows, None]
        out[rows] = np.count_nonzero(same, axis=1)
    return out


def _codes(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "biufcSUmM":
        if labels.ndim != 1:
            raise InputError(f"one label per row is expected, got an array of {labels.shape}")
        if labels.dtype.kind in "fcmM":
            _refuse_missing(np.flatnonzero(labels != labels))
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    _refuse_missing([i for i, label in enumerate(values) if _missing(label)])
    known: dict[Any, int] = {}
    try:
        return np.array([known.setdefault(v, len(known)) for v in values], dtype=np.int64)
    except TypeError:
        bad = next(v for v in values if getattr(type(v), "__hash__", None) is None)
        raise InputError(
            f"labels must be hashable (text, numbers, tuples), got {type(bad).__name__}"
        ) from None


def _missing(label: Any) -> bool:
    if label is None:
        return True
    if isinstance(label, str | bytes | int | tuple):
        return False
    try:
        return bool(label != label)
    except TypeError:  # pandas.NA answers neither yes nor no
        return True
    except ValueError:  # an array: not missing, but not hashable either
        return False


def _refuse_missing(rows: Sequence[int] | np.ndarray) -> None:
    if len(rows):
        shown = ", ".join(str(r) for r in rows[:10]) + (", ..." if len(rows) > 10 else "")
        raise InputError(
            f"{len(rows)} rows have no label (rows {shown}): leave them out at every site, or give "
            "them a label of their own"
        )


def _per_class_k(
    graph: NeighborGraph, counts: np.ndarray, k: int | None, class_fraction: float | None
) -> np.ndarray:
    if class_fraction is None:
        k = graph.k if k is None else whole("k", k)
        check_k(graph, k)
        return np.full(len(counts), k)
    if k is not None:
        raise InputError("give k or class_fraction, not both")
    if not 0 < class_fraction <= 1:
        raise InputError(f"class_fraction must lie in (0, 1], got {class_fraction}")
    ks = np.maximum(1, np.floor(class_fraction * counts + 1e-9)).astype(np.int64)
    check_k(graph, int(ks.max()))
    return ks


def _levels(classes: Classes, weights: np.ndarray, ks: np.ndarray) -> tuple[float, float]:
    """Chance and ceiling, averaged as the overlap itself."""
    if not weights.any():
        return math.nan, math.nan
    others = classes.counts - 1
    chance = float(weights @ others) / (len(classes.codes) - 1)
    return chance, float(weights @ np.minimum(1.0, others / ks))


def _mean(
    shares: np.ndarray, classes: Classes, used: np.ndarray, weighting: Weighting
) -> tuple[float, float]:
    if weighting == "plain":
        kept = shares[used]
        return float(kept.mean()), float(kept.std(ddof=1)) / math.sqrt(len(kept))
    codes, size = classes.codes[used], len(classes.counts)
    counts = np.bincount(codes, minlength=size)
    present = counts > 0
    counts = counts[present]
    means = np.bincount(codes, shares[used], minlength=size)[present] / counts
    squares = np.bincount(codes, shares[used] ** 2, minlength=size)[present] / counts
    # A class of one row (score 0) has no spread that a bootstrap could see.
    spread = np.maximum(squares - means**2, 0.0) / np.maximum(counts - 1, 1)
    return float(means.mean()), math.sqrt(float(spread.sum())) / len(counts)
