"""Two-dimensional maps of the rows, one per site, for the report and the explorer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hiddenscape.dimension.pca import pca_map
from hiddenscape.files import write_atomic
from hiddenscape.measurement.plan import digest
from hiddenscape.store.reader import RepresentationSet
from hiddenscape.types import Site

__all__ = ["write_maps"]


def write_maps(path: Path, rs: RepresentationSet, sites: Sequence[Site], rows: np.ndarray) -> None:
    """Write the leading two principal components of every site, unless they are there already.

    The file holds one float32 tensor (n, 2) per site key and ``row``, the row numbers of the
    store; its metadata hold the share of variance each axis explains.
    """
    content = digest([rs[s.key].content_hash for s in sites], rows.tolist())
    if _content(path) == content:
        return
    tensors: dict[str, np.ndarray] = {"row": rows.astype(np.int64)}
    explained: dict[str, list[float | None]] = {}
    for site in sites:
        rs.release()
        array = rs.points(site.key)
        points = array[:] if len(rows) == len(rs) else array[rows]
        coordinates, shares = pca_map(points.reshape(len(points), -1))
        tensors[site.key] = np.ascontiguousarray(coordinates, dtype=np.float32)
        explained[site.key] = [float(s) if np.isfinite(s) else None for s in shares]
    metadata = {"content": content, "explained": json.dumps(explained), "method": "pca"}
    write_atomic(path, [save(tensors, metadata)])


def _content(path: Path) -> str | None:
    try:
        with safe_open(path, framework="numpy") as f:
            return (f.metadata() or {}).get("content")
    except (OSError, SafetensorError):
        return None
