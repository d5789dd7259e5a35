"""From the table to the reading of the profile: which numbers ``profile_features`` is given."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hiddenscape.profile import ProfileFeatures, profile_features
from hiddenscape.runs import Run, write_json
from hiddenscape.table import Table

__all__ = ["read_profile"]

# Four disjoint subsets of a quarter of the rows each: four independent profiles.
_PARTITION = 4


def read_profile(run: Run, table: Table | None = None) -> ProfileFeatures | None:
    """Read the dimension profile of a run and write ``profile.json`` beside it.

    The profile is TwoNN (censored) over depth; its significance comes from the estimator's own
    stderr, from the profiles of four disjoint partitions of the rows, and from the untrained twin
    in ``RUN/null`` if there is one. Label overlap and the overlap of consecutive sites are read
    beside it where they were measured.

    Returns
    -------
    ProfileFeatures or None
        None if no dimension has been measured yet.
    """
    table = _main_pooling(run.table if table is None else table)
    sites = _site_order(table)
    if not sites:
        return None
    null = _main_pooling(run.null.table) if run.null is not None else Table()
    depths = np.array([depth for _, depth in sites])
    names = [site for site, _ in sites]
    values, stderrs = _over_sites(table, names)
    twin, twin_stderrs = _over_sites(null, names) if len(null) else (None, None)
    features = profile_features(
        depths,
        values,
        sites=names,
        stderr=stderrs,
        repeats=_partitions(table, names),
        null_values=twin,
        null_stderr=twin_stderrs,
        overlap_next=_consecutive(table, names),
        label_overlap=_labels(table, names),
        scale=_scale(table),
    )
    write_json(run.path / "profile.json", features.to_dict())
    return features


def _main_pooling(table: Table) -> Table:
    """The rows of the pooling that most sites were read with: a profile mixes no poolings."""
    poolings = table.select(analysis="two_nn", quantity="dimension").column("pooling")
    if not poolings:
        return table
    main = max(dict.fromkeys(poolings), key=poolings.count)
    return Table(r for r in table if r.pooling == main and r.pooling_b in ("", main))


def _site_order(table: Table) -> list[tuple[str, float]]:
    rows = table.select(analysis="two_nn", quantity="dimension")
    # final_norm has the depth of the last block; the store's order (their first appearance) holds.
    first = {(r.site, r.depth): None for r in rows}
    return sorted(first, key=lambda s: (s[1], s[0] in {"final_norm", "logits"}, s[0] == "logits"))


def _over_sites(table: Table, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    rows = {r.site: r for r in table.select(analysis="two_nn", quantity="dimension")}
    nan = float("nan")
    return (
        np.array([rows[s].value if s in rows else nan for s in names]),
        np.array([rows[s].stderr if s in rows else nan for s in names]),
    )


def _partitions(table: Table, names: list[str]) -> np.ndarray | None:
    """Dimensions of the four quarter-size subsets, (4, sites), or None where some are missing."""
    single = table.select(analysis="decimation", quantity="dimension_single")
    # Subsets of another seed are other subsets: a profile over partitions must not mix them.
    by_size: dict[tuple[str, int], dict[tuple[int, str], float]] = {}
    for r in single:
        if r.subset is not None and r.repeat is not None:
            by_size.setdefault((r.params_hash, r.subset), {})[(r.repeat, r.site)] = r.value
    for found in reversed(by_size.values()):
        repeats = sorted({repeat for repeat, _ in found})
        if len(repeats) == _PARTITION and len(found) == _PARTITION * len(names):
            return np.array([[found[(i, s)] for s in names] for i in repeats])
    return None


def _scale(table: Table) -> str:
    used = [r.n_used for r in table.select(analysis="two_nn", quantity="dimension") if r.n_used]
    return f"neighbour ranks (1, 2) among {max(used, default=0)} rows"


def _consecutive(table: Table, names: list[str]) -> np.ndarray | None:
    rows = table.select(analysis="neighborhood_overlap", quantity="overlap")
    if not len(rows):
        return None
    k = min(r.k for r in rows if r.k is not None)
    found = {(r.site, r.site_b): r.value for r in rows.select(k=k)}
    pairs = pairwise(names)
    return np.array([found.get((a, b), found.get((b, a), float("nan"))) for a, b in pairs])


def _labels(table: Table, names: list[str]) -> np.ndarray | None:
    rows = table.select(analysis="label_overlap", quantity="overlap")
    if not len(rows):
        return None
    first = rows[0]
    found = {r.site: r.value for r in rows.select(label=first.label, k=first.k)}
    return np.array([found.get(s, float("nan")) for s in names])
