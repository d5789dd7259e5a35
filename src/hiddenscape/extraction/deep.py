"""Compute some rows of a store anew, one by one: the drift of machines, versions and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import InputError, ManifestMismatch
from hiddenscape.extraction.checked import exact_float32, examined
from hiddenscape.extraction.identity import identity_of
from hiddenscape.extraction.inputs import Rows, prepare
from hiddenscape.extraction.rounding import neighbor_agreement
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.sites import Place
from hiddenscape.models.wrapping import wrap_module
from hiddenscape.store.canonical import differences, frozen
from hiddenscape.store.reader import RepresentationSet, open_store

__all__ = ["Drift", "recompute"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drift:
    """What :func:`recompute` found.

    Attributes
    ----------
    rows : int array
        The rows that were computed again.
    relative : dict
        Key to the largest difference of a row, as a share of the row's norm.
    neighbors : dict
        Key to the share of first neighbours, among these rows, that stay the same; None where there
        are fewer than two rows.
    changed : tuple of str
        Fields of the network or the input that differ from the manifest and explain a difference.
    limit : float
        The relative difference that batch shapes may make: 1024 units of rounding, 32 where the
        network computed or the store rounds to half precision (a quarter, in bfloat16).
    """

    rows: np.ndarray
    relative: dict[str, float]
    neighbors: dict[str, float | None]
    changed: tuple[str, ...]
    limit: float

    @property
    def within_rounding(self) -> bool:
        """Whether no site differs by more than :attr:`limit`; NaN does."""
        return all(gap <= self.limit for gap in self.relative.values())

    @property
    def worst(self) -> tuple[str, float]:
        """The key with the largest relative difference, and that difference."""
        key = max(self.relative, key=lambda k: np.nan_to_num(self.relative[k], nan=np.inf))
        return key, self.relative[key]


def recompute(
    network: TorchNetwork | nn.Module,
    dataset: Dataset,
    run: str | Path | RepresentationSet,
    *,
    rows: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Drift:
    """Run some rows of a store through the network again, each alone, and compare.

    What two batch shapes, two machines or two versions do to the numbers is the difference
    between the stored point and the same row computed alone: max over rows of
    ``|x - y| / |x|`` (Euclidean norms).

    Parameters
    ----------
    network, dataset
        Those the store was made from.
    run : path or RepresentationSet
        The run directory.
    rows : int
        How many rows with status ``ok``, drawn with ``seed``.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    Drift

    Raises
    ------
    ManifestMismatch
        If the data set is another one: nothing could be compared.
    InputError
        If the store was imported, or no row is there to be compared.

    Examples
    --------
    >>> import tempfile, hiddenscape as hs
    >>> net = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    >>> data = hs.array_dataset(np.random.default_rng(0).normal(size=(20, 3)).astype("float32"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = hs.extract(net, data, folder)
    ...     drift = recompute(net, data, folder, rows=5)
    >>> drift.worst[1] < 1e-6
    True
    """
    wrapped = wrap_module(network) if isinstance(network, nn.Module) else network
    store = run if isinstance(run, RepresentationSet) else open_store(run, partial=True)
    identity = store.manifest.identity
    _same_data(store, dataset)
    settings = identity["input"]
    prepared = prepare(
        wrapped,
        dataset,
        batch_tokens=settings["batch_tokens"] or 1,
        batch_size=settings["batch_size"],
        max_length=settings["max_length"],
        overlength=settings["overlength"] or "error",
        poolings=tuple(dict.fromkeys(site.pooling for site in store.sites)),
    )
    chosen = _chosen(store, rows, seed)
    relative = dict.fromkeys(store.keys, 0.0)
    ragged = {site.key for site in store.ragged_sites}
    again: dict[str, list[np.ndarray]] = {key: [] for key in store.keys}
    with exact_float32(wrapped.device):
        wrapped = examined(wrapped, prepared)
        prepared = prepared.seen_by(wrapped)
        requests = [(wrapped.select(site.name)[0], site.pooling) for site in store.sites]
        for done, row in enumerate(chosen.tolist()):
            if progress is not None:
                progress(done, len(chosen))
            found = _alone(wrapped, prepared, requests, row)
            for key, value in found.items():
                stored = np.asarray(store[key][row], dtype=np.float64)
                if key in ragged and stored.shape != value.shape:
                    raise ManifestMismatch(
                        f"{store.path}: row {row} has {len(stored)} tokens in the store and "
                        f"{len(value)} now: give the tokenizer it was made with",
                        "tokenizer",
                        len(stored),
                        len(value),
                    )
                stored = stored.reshape(value.shape)
                gap = _gap(value, stored)
                relative[key] = max(relative[key], gap) if gap == gap else float("nan")
                again[key].append(value.reshape(-1))
    if progress is not None:
        progress(len(chosen), len(chosen))
    neighbors: dict[str, float | None] = {}
    for site in store.point_sites:
        old = np.asarray(store.points(site.key)[chosen]).reshape(len(chosen), -1)
        new = np.array(again[site.key], dtype=np.float32)
        neighbors[site.key] = neighbor_agreement(old.astype(np.float32), new)["first"]
    return Drift(
        rows=chosen,
        relative=relative,
        neighbors=neighbors,
        changed=_changed(store, wrapped, dataset),
        limit=_limit(store, wrapped),
    )


def _gap(value: np.ndarray, stored: np.ndarray) -> float:
    """Relative difference; numbers that are NaN, or the same infinity, in both are equal."""
    same = (np.isnan(value) & np.isnan(stored)) | (np.isinf(stored) & (value == stored))
    value, stored = (np.where(same, 0.0, x) for x in (value, stored))
    scale = max(float(np.linalg.norm(stored)), float(np.finfo(np.float32).tiny))
    return float(np.linalg.norm(value - stored)) / scale


def _limit(store: RepresentationSet, network: TorchNetwork) -> float:
    names = {str(entry["dtype"]) for entry in store.entries.values()}
    eps = max(torch.finfo(d).eps for d in (network.dtype, *(getattr(torch, n) for n in names)))
    # Unrelated points differ by 1.4: a limit near that would let anything pass.
    return (1024 if eps < 1e-6 else 32) * eps


def _alone(
    network: TorchNetwork, rows: Rows, requests: list[tuple[Place, str]], row: int
) -> dict[str, np.ndarray]:
    """Points of one row in batches of one piece each."""
    pieces = np.flatnonzero(rows.row == row)
    total: dict[str, np.ndarray] = {}
    for piece in pieces:
        one = np.array([piece])
        for key, value in network.pooled(rows.batch(one), requests).items():
            how = key.partition("@")[2]
            found = value.to("cpu", torch.float64).numpy()
            share = rows.share(how, one)
            found = found if how == "tokens" else found[0]
            total[key] = total.get(key, 0.0) + found * (1.0 if share is None else share[0])
    return total


def _chosen(store: RepresentationSet, rows: int, seed: int) -> np.ndarray:
    ok = np.flatnonzero(store.status == 0)
    if rows < 1 or not len(ok):
        raise InputError(f"{store.path}: no row with status ok to compute again ({rows} asked for)")
    return np.sort(np.random.default_rng([seed, 42]).permutation(ok)[:rows])


def _same_data(store: RepresentationSet, dataset: Dataset) -> None:
    identity = store.manifest.identity
    if identity.get("kind") != "extracted":
        raise InputError(f"{store.path}: these points were imported, no network can be asked again")
    stored = identity["dataset"]["fingerprint"]
    if stored != dataset.fingerprint:
        raise ManifestMismatch(
            f"{store.path}: the store was made of other data (dataset.fingerprint is {stored} "
            f"there and {dataset.fingerprint} for {dataset.name!r}): give the data it was made of",
            "dataset.fingerprint",
            stored,
            dataset.fingerprint,
        )


_EXPLAIN = ("model", "adapter", "attn_implementation", "tokenizer", "processor_hash")


def _changed(store: RepresentationSet, network: TorchNetwork, dataset: Dataset) -> tuple[str, ...]:
    stored, now = store.manifest.identity, frozen(identity_of(network, dataset, {}))
    found = [d for name in _EXPLAIN for d in differences(stored.get(name), now[name], name)]
    return tuple(f"{name} is {new}, {old} in the store" for name, old, new in found)
