"""The cache of neighbour graphs: one file per site, valid for exactly one content of the site."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hiddenscape.files import write_atomic
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["CACHED_NEIGHBORS", "load_graph", "save_graph"]

_SCHEMA = "hiddenscape-graph/2"
CACHED_NEIGHBORS = 128
"""Neighbours kept on disk per row; deeper scans search again rather than fill the disk."""


def save_graph(path: Path, graph: NeighborGraph, content: str) -> None:
    """Write the first :data:`CACHED_NEIGHBORS` neighbours, atomically.

    Distances stay float64: a number must not depend on whether its graph came from the cache.
    """
    k = min(graph.k, CACHED_NEIGHBORS)
    tensors = {"indices": graph.indices[:, :k], "distances": graph.distances[:, :k]}
    if graph.multiplicity is not None:
        tensors["multiplicity"] = graph.multiplicity
    if graph.distinct is not None and graph.distinct.rows is not None:
        kd = min(graph.distinct.k, CACHED_NEIGHBORS)
        tensors |= {
            "distinct_rows": graph.distinct.rows,
            "distinct_indices": graph.distinct.indices[:, :kd],
            "distinct_distances": graph.distinct.distances[:, :kd],
        }
    metadata = {
        "schema": _SCHEMA,
        "content": content,
        "metric": graph.metric,
        "exact": str(int(graph.exact)),
        "note": graph.note,
    }
    if graph.certificate is not None:
        tensors["rung"] = graph.certificate.rung
        metadata["rungs"] = json.dumps(graph.certificate.rungs)
    write_atomic(path, [save({n: np.ascontiguousarray(t) for n, t in tensors.items()}, metadata)])


def load_graph(path: Path, content: str, k: int) -> NeighborGraph | None:
    """The cached graph of a site, or None if there is none of this content with k neighbours.

    A damaged file counts as absent: it is a cache, and is written again.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as f:
            meta = f.metadata() or {}
            if meta.get("schema") != _SCHEMA or meta.get("content") != content:
                return None
            t = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        if t["indices"].shape[1] < k:
            return None
        common = {
            "metric": meta["metric"],
            "exact": meta["exact"] == "1",
            "note": meta.get("note", ""),
        }
        proof = None
        if "rung" in t:
            proof = Certificate(tuple(json.loads(meta["rungs"])), t["rung"])
        distinct = None
        if "distinct_rows" in t:
            distinct = NeighborGraph(
                indices=t["distinct_indices"],
                distances=t["distinct_distances"],
                rows=t["distinct_rows"],
                n_rows=len(t["indices"]),
                multiplicity=np.ones(len(t["distinct_rows"]), dtype=np.int64),
                certificate=None if proof is None else proof.take(t["distinct_rows"]),
                **common,
            )
            # A short distinct list may be all there is, or a truncated one; only k decides.
            if distinct.k < min(k, distinct.n - 1):
                return None
        return NeighborGraph(
            indices=t["indices"],
            distances=t["distances"],
            multiplicity=t.get("multiplicity"),
            distinct=distinct,
            certificate=proof,
            **common,
        )
    except (SafetensorError, KeyError, ValueError, OSError):
        return None
