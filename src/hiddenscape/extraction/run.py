"""The extraction itself: batches through the network, shards into the store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import torch
from torch import nn

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import InputError, NetworkError
from hiddenscape.extraction.inputs import Rows, prepare
from hiddenscape.extraction.plan import ExtractionPlan, build_plan, check_space, probe_rows
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.network import TorchNetwork, move_to, wrap_module
from hiddenscape.models.pooling import parse_poolings
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.sites import Place
from hiddenscape.store.rows import write_rows
from hiddenscape.store.writer import STATUS, StoreWriter

if TYPE_CHECKING:
    from hiddenscape.store.reader import RepresentationSet

__all__ = ["extract"]

Progress = Callable[[int, int], None]


@overload
def extract(
    network: TorchNetwork | nn.Module,
    dataset: Dataset,
    out: str | Path,
    *,
    sites: str | Sequence[str] = ...,
    pooling: str | Sequence[str] = ...,
    batch_tokens: int = ...,
    batch_size: int | None = ...,
    max_length: int | None = ...,
    overlength: str = ...,
    shard_rows: int | None = ...,
    store_dtype: str = ...,
    device: str | None = ...,
    progress: Progress | None = ...,
    overwrite: bool = ...,
    store_text: bool = ...,
    dry_run: Literal[False] = ...,
) -> RepresentationSet: ...


@overload
def extract(
    network: TorchNetwork | nn.Module,
    dataset: Dataset,
    out: str | Path,
    *,
    sites: str | Sequence[str] = ...,
    pooling: str | Sequence[str] = ...,
    batch_tokens: int = ...,
    batch_size: int | None = ...,
    max_length: int | None = ...,
    overlength: str = ...,
    shard_rows: int | None = ...,
    store_dtype: str = ...,
    device: str | None = ...,
    progress: Progress | None = ...,
    overwrite: bool = ...,
    store_text: bool = ...,
    dry_run: Literal[True],
) -> ExtractionPlan: ...


def extract(
    network: TorchNetwork | nn.Module,
    dataset: Dataset,
    out: str | Path,
    *,
    sites: str | Sequence[str] = "all",
    pooling: str | Sequence[str] = "mean",
    batch_tokens: int = 4096,
    batch_size: int | None = None,
    max_length: int | None = None,
    overlength: str = "error",
    shard_rows: int | None = None,
    store_dtype: str = "float32",
    device: str | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    store_text: bool = True,
    dry_run: bool = False,
) -> RepresentationSet | ExtractionPlan:
    """Run ``dataset`` through ``network`` and write pooled points of its sites to ``out``.

    Interrupted at any moment, the same call goes on where it stopped: shards that are there are
    checked and kept. Memory does not grow with the number of rows (one shard is held).

    Parameters
    ----------
    network : TorchNetwork or Module
        From ``load_network`` or ``wrap_module``; a bare module is wrapped.
    dataset : Dataset
        From ``open_dataset``, ``text_dataset``, ``array_dataset``, ...
    out : path
        Run directory; points go to ``OUT/acts``, the row table to ``OUT/rows.csv``.
    sites, pooling : str or sequence of str
        Selections, see :mod:`hiddenscape.models.sites` and :mod:`hiddenscape.models.pooling`.
        Several poolings come from one forward pass.
    batch_tokens : int
        Networks of tokens: padded tokens per batch, specials included.
    batch_size : int, optional
        Most rows per batch. None: what the token budget allows; for arrays 256 rows or 4 million
        numbers, whichever is less.
    max_length : int, optional
        Longest row of tokens; never more than the network allows.
    overlength : {"error", "truncate:head", "truncate:tail", "skip"}
        What to do with longer rows.
    shard_rows : int, optional
        Rows per shard file; by default at most 4096 and about 128 MiB.
    store_dtype : {"float32", "float16"}
        How points are stored.
    device : str, optional
        Where the network runs; it is moved there. None: where it is.
    progress : callable, optional
        Called with (rows done, rows in all) after each batch.
    overwrite : bool
        Delete a store that is there and begin anew.
    store_text : bool
        Keep the texts in ``rows.csv``.
    dry_run : bool
        Only plan: nothing is written, the plan is returned.

    Returns
    -------
    RepresentationSet
        The finished store; with ``dry_run`` an :class:`ExtractionPlan` (print it).

    Raises
    ------
    SiteError, InputError
        If a site is unknown or withdrawn, a row is too long, the network eats other data.
    NetworkError
        If the network fails, or gives no finite number for a whole shard.
    ManifestMismatch
        If ``out`` holds a store made with other settings; the field is named.
    DiskFullError
        Before the start if there is not enough space, else when it runs out.

    Notes
    -----
    Rows with nothing to pool over become NaN with status ``empty``; rows for which some site is
    not finite keep their values and get status ``failed``; counts go to ``OUT/log``.

    Examples
    --------
    >>> import tempfile
    >>> from hiddenscape.data.arrays import array_dataset
    >>> net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    >>> data = array_dataset(np.random.default_rng(0).normal(size=(20, 3)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     points = extract(net, data, folder)
    ...     [(site.name, site.depth) for site in points.sites]
    [('input', 0.0), ('module:0', 1.0), ('module:1', 2.0), ('module:2', 3.0)]
    """
    wrapped = wrap_module(network) if isinstance(network, nn.Module) else network
    if device is not None:
        move_to(wrapped.module, device)
    wrapped.module.eval()
    rows = prepare(
        wrapped,
        dataset,
        batch_tokens=batch_tokens,
        batch_size=batch_size,
        max_length=max_length,
        overlength=overlength,
    )
    with _exact_float32(wrapped.device):
        wrapped = _examined(wrapped, rows)
        rows = rows.seen_by(wrapped)  # the check may have found that padding does harm
        requests = _requests(wrapped, sites, parse_poolings(pooling))
        folder = Path(out)
        plan = build_plan(
            wrapped, dataset, rows, requests, folder, shard_rows=shard_rows, store_dtype=store_dtype
        )
        if dry_run:
            return plan
        writer = StoreWriter(folder / "acts", plan.manifest, overwrite=overwrite)
        todo = writer.missing()
        check_space(plan, sum(stop - start for start, stop in todo))
        _write_rows(folder, dataset, rows, rows.status, store_text=store_text)
        _fill(wrapped, rows, plan, writer, todo, folder, progress)
    if (status := _final_status(writer, len(dataset))) is not None:
        _write_rows(folder, dataset, rows, status, store_text=store_text)
    return writer.finish()


def _examined(network: TorchNetwork, rows: Rows) -> TorchNetwork:
    """The network after its self-check; what is not known yet is found on the first rows."""
    if not network.checks:
        batch = probe_batch(network)
        network = self_check(network, batch or rows.batch(probe_rows(rows, 2)))
    return network.resolved(rows.batch(probe_rows(rows, 2)))


def _requests(
    network: TorchNetwork, sites: str | Sequence[str], poolings: Sequence[str]
) -> list[tuple[Place, str]]:
    return [(place, how) for place in network.select(sites) for how in poolings]


def _fill(
    network: TorchNetwork,
    rows: Rows,
    plan: ExtractionPlan,
    writer: StoreWriter,
    todo: Sequence[tuple[int, int]],
    folder: Path,
    progress: Progress | None,
) -> None:
    done = plan.rows - sum(stop - start for start, stop in todo)
    if progress is not None:
        progress(done, plan.rows)
    for start, stop in todo:
        before = done

        def tick(count: int, before: int = before) -> None:
            if progress is not None:
                progress(before + count, plan.rows)

        tensors = _shard(network, rows, plan, start, stop, tick)
        bad = writer.commit(start, stop, tensors)
        done += stop - start
        tick(stop - start)
        _journal(folder, {"rows": [start, stop], "not_finite": {k: v for k, v in bad.items() if v}})


def _shard(
    network: TorchNetwork,
    rows: Rows,
    plan: ExtractionPlan,
    start: int,
    stop: int,
    tick: Callable[[int], None],
) -> dict[str, np.ndarray]:
    count = stop - start
    entries = plan.manifest.entries
    tensors = {
        key: np.full((count, *entry["shape"]), np.nan, dtype=np.float32)
        for key, entry in entries.items()
    }
    done = 0
    for batch in rows.batches(start, stop):
        for part, found in _run(network, rows, plan, batch):
            for key, points in found.items():
                tensors[key][part - start] = points
        done += len(batch)
        tick(done)
    status = rows.status[start:stop].copy()
    status[(status == STATUS["ok"]) & _unpooled(plan, rows, start, stop)] = STATUS["empty"]
    finite = np.ones(count, dtype=bool)
    for key, points in tensors.items():
        good = np.isfinite(points).all(axis=1)
        if not good[status == STATUS["ok"]].any() and (status == STATUS["ok"]).any():
            wide = plan.dtype in ("float32", "float64")
            remedy = (
                "leave the site out (sites), or repair the network"
                if wide
                else f"the network overflows in {plan.dtype}; load it with dtype 'float32'"
            )
            raise NetworkError(
                f"site {key!r} gives NaN or infinity for every row from {start} to {stop - 1}: "
                f"{remedy}"
            )
        finite &= good
    status[(status == STATUS["ok"]) & ~finite] = STATUS["failed"]
    return {
        **{key: _narrow(key, x, entries[key]["dtype"], start) for key, x in tensors.items()},
        "n_tokens": rows.n_tokens[start:stop],
        "n_content": rows.n_content[start:stop],
        "status": status,
    }


def _unpooled(plan: ExtractionPlan, rows: Rows, start: int, stop: int) -> np.ndarray:
    """Rows for which some pooling has no position to read."""
    missing = np.zeros(stop - start, dtype=bool)
    lengths = rows.n_tokens[start:stop]
    for how in {how for _, how in plan.requests}:
        if how.startswith("token:"):
            index = int(how.removeprefix("token:"))
            needed = index + 1 if index >= 0 else -index
            missing |= (lengths >= 0) & (lengths < needed)
    return missing


def _narrow(key: str, points: np.ndarray, dtype: str, start: int) -> np.ndarray:
    if dtype == "float32":
        return points
    limit = float(np.finfo(dtype).max)
    over = np.isfinite(points) & (np.abs(points) > limit)
    if over.any():
        row = start + int(np.flatnonzero(over.any(axis=1))[0])
        raise InputError(
            f"site {key!r}, row {row}: value {np.abs(points[over]).max():.4g} does not fit into "
            f"{dtype} (largest {limit:.4g}); use store_dtype 'float32'"
        )
    return points.astype(dtype)


def _run(
    network: TorchNetwork, rows: Rows, plan: ExtractionPlan, batch: np.ndarray
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Points of one batch; halved as long as the device has not enough memory for it."""
    try:
        found = network.pooled(rows.batch(batch), plan.requests)
        points = {key: value.to(torch.float32).cpu().numpy() for key, value in found.items()}
    except torch.cuda.OutOfMemoryError as error:
        if len(batch) == 1:
            raise NetworkError(
                f"row {int(batch[0])} alone ({int(rows.n_tokens[batch[0]])} tokens) does not fit "
                "into the memory of the device: cut long rows (overlength, max_length) or use "
                "another device"
            ) from error
    else:
        yield batch, points
        return
    # Outside the handler, where the traceback would keep the failed pass's tensors alive.
    half = len(batch) // 2
    yield from _run(network, rows, plan, batch[:half])
    yield from _run(network, rows, plan, batch[half:])


@contextmanager
def _exact_float32(device: torch.device) -> Iterator[None]:
    """Float32 products in float32, not TF32, while we compute; settings are put back."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _final_status(writer: StoreWriter, count: int) -> np.ndarray | None:
    """Status of all rows as the shards have it; None while shards are missing."""
    from safetensors import safe_open

    if writer.missing():
        return None
    status = np.zeros(count, dtype=np.uint8)
    for path in sorted(writer.folder.glob("rows-*.safetensors")):
        with safe_open(path, framework="numpy") as shard:
            rows = shard.get_tensor("row")
            status[rows[0] : rows[-1] + 1] = shard.get_tensor("status")
    return status


def _write_rows(
    folder: Path, dataset: Dataset, rows: Rows, status: np.ndarray, *, store_text: bool
) -> None:
    words = {code: word for word, code in STATUS.items()}
    known = rows.n_tokens >= 0
    columns: dict[str, Sequence[object] | np.ndarray] = {"id": dataset.ids, **dataset.labels}
    if store_text and dataset.texts is not None:
        columns["text"] = dataset.texts
    if known.any():
        columns |= {"n_tokens": rows.n_tokens, "n_content": rows.n_content}
    columns |= {"truncated": rows.truncated, "status": [words[int(code)] for code in status]}
    write_rows(folder / "rows.csv", columns)


def _journal(folder: Path, entry: dict[str, object]) -> None:
    # For people only: deleting it changes nothing.
    log = folder / "log"
    log.mkdir(parents=True, exist_ok=True)
    with (log / f"extract-{os.getpid()}.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
