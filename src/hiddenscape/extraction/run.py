"""The extraction itself: batches through the network, shards into the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
from torch import nn

from hiddenscape.data.dataset import Dataset
from hiddenscape.extraction.checked import exact_float32, examined
from hiddenscape.extraction.inputs import Rows, prepare
from hiddenscape.extraction.loop import Filling, fill
from hiddenscape.extraction.plan import ExtractionPlan, build_plan, check_space
from hiddenscape.extraction.reading import Reading
from hiddenscape.extraction.sharding import mine, parse_share
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.pooling import parse_poolings
from hiddenscape.models.sites import Place
from hiddenscape.models.wrapping import move_to, wrap_module
from hiddenscape.store.joining import added_folder
from hiddenscape.store.reader import RepresentationSet, open_store
from hiddenscape.store.rows import write_rows
from hiddenscape.store.writer import STATUS, StoreWriter

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
    store_text: bool = ...,
    on_oom: str = ...,
    shard: str | None = ...,
    add: str | None = ...,
    device: str | None = ...,
    progress: Progress | None = ...,
    overwrite: bool = ...,
    strict: bool = ...,
    clean: bool = ...,
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
    store_text: bool = ...,
    on_oom: str = ...,
    shard: str | None = ...,
    add: str | None = ...,
    device: str | None = ...,
    progress: Progress | None = ...,
    overwrite: bool = ...,
    strict: bool = ...,
    clean: bool = ...,
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
    store_dtype: str = "auto",
    store_text: bool = True,
    on_oom: str = "fail",
    shard: str | None = None,
    add: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    strict: bool = False,
    clean: bool = False,
    dry_run: bool = False,
) -> RepresentationSet | ExtractionPlan:
    """Run ``dataset`` through ``network`` and write pooled points of its sites to ``out``.

    Interrupted at any moment, the same call goes on where it stopped: shards that are there are
    checked and kept. Memory does not grow with the number of points (one shard is held); of the
    rows, only texts and token ids are kept.

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
        Several poolings come from one forward pass. ``SITE@POOLING`` brings its own.
    batch_tokens : int
        Networks of tokens: padded tokens per batch, specials included.
    batch_size : int, optional
        Most rows per batch. None: what the token budget allows; for arrays 256 rows or 4 million
        numbers, whichever is less.
    max_length : int, optional
        Longest row of tokens; never more than the network allows.
    overlength : {"error", "truncate:head", "truncate:tail", "window:STRIDE", "skip"}
        What to do with longer rows. Windows begin STRIDE content tokens apart; every token of the
        row counts equally in ``mean`` and ``mean_all``, and ``last`` is that of the last window.
    shard_rows : int, optional
        Rows per shard file; by default at most 4096 and about 128 MiB.
    store_dtype : {"auto", "float32", "bfloat16", "float16"}
        How points are stored. ``auto`` is float32, save that ``tokens`` of a network that computes
        in bfloat16 stay bfloat16. With the other two ``OUT/log`` tells how many neighbours of a
        sample of rows the rounding leaves in place.
    store_text : bool
        Keep the texts in ``rows.csv``.
    on_oom : {"fail", "skip", "cpu"}
        What to do with a row that alone does not fit into the memory of the device; batches are
        halved before it comes to that, and smaller ones are used from then on.
    shard : str, optional
        ``I/N``: write every N-th file of the store from number I on, and leave the others to other
        processes; ``auto`` reads I and N from the variables of SLURM or torchrun. Called without
        it, whatever is missing is written.
    add : str, optional
        Add these sites to a run that is there already, as ``OUT/acts.ADD``; rows, data and network
        must be those of ``OUT/acts``. ``rows.csv`` is left as it is.
    device : str, optional
        Where the network runs; it is moved there. None: where it is.
    progress : callable, optional
        Called with (rows done, rows in all) after each batch.
    overwrite : bool
        Delete a store that is there and begin anew.
    strict : bool
        Refuse to go on with other versions or another device than the store was begun with.
    clean : bool
        Remove temporary files of other hosts. Only when no other writer is at work.
    dry_run : bool
        Only plan: nothing is written, the plan is returned.

    Returns
    -------
    RepresentationSet
        The store; unfinished (``partial``) where ``shard`` was given and files of other shares are
        missing. With ``dry_run`` an :class:`ExtractionPlan` (print it).

    Raises
    ------
    SiteError, InputError
        If a site is unknown or withdrawn, a row is too long, the network eats other data.
    NetworkError
        If the network fails, or gives no finite number at any site for a whole shard.
    ManifestMismatch
        If ``out`` holds a store made with other settings; the field is named.
    DiskFullError
        Before the start if there is not enough space, else when it runs out.

    Notes
    -----
    Rows with nothing to pool over become NaN with status ``empty``; rows for which some site is
    not finite keep their values and get status ``failed``; counts go to ``OUT/log``. A site that
    is not finite at any row ends nothing: it is stored as it is, and measured as NaN with a note.

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
    share = parse_share(shard)
    wishes = _wishes(sites, pooling)
    rows = prepare(
        wrapped,
        dataset,
        batch_tokens=batch_tokens,
        batch_size=batch_size,
        max_length=max_length,
        overlength=overlength,
        poolings=tuple(dict.fromkeys(how for _, hows in wishes for how in hows)),
    )
    with exact_float32(wrapped.device):
        wrapped = examined(wrapped, rows)
        rows = rows.seen_by(wrapped)  # the check may have found that padding does harm
        requests = _requests(wrapped, wishes)
        folder = Path(out)
        plan = build_plan(
            wrapped,
            dataset,
            rows,
            requests,
            folder,
            shard_rows=shard_rows,
            store_dtype=store_dtype,
            timed=dry_run,
        )
        if dry_run:
            return plan
        store = folder / "acts" if add is None else added_folder(folder, add)
        writer = StoreWriter(store, plan.manifest, overwrite=overwrite, strict=strict, clean=clean)
        todo = mine(writer.missing(), plan.manifest.ranges, share)
        check_space(plan, sum(stop - start for start, stop in todo))
        # A late process must not put preliminary statuses over final ones.
        if add is None and (overwrite or not (folder / "rows.csv").exists()):
            _write_rows(folder, dataset, rows, rows.status, store_text=store_text)
        reading = Reading(wrapped, rows, requests, dataset.ids, on_oom)
        fill(Filling(reading, plan, writer, folder), todo, progress)
    if share[1] > 1 and writer.missing():
        return open_store(writer.folder, partial=True)
    found = writer.finish()
    if add is None:
        _write_rows(folder, dataset, rows, found.status, store_text=store_text)
    return found


def _wishes(
    sites: str | Sequence[str], pooling: str | Sequence[str]
) -> list[tuple[list[str], tuple[str, ...]]]:
    """Selections with their poolings: ``SITE@POOLING`` brings its own, the others share one."""
    items = [sites] if isinstance(sites, str) else list(sites)
    items = [part.strip() for item in items for part in item.split(",") if part.strip()]
    shared = parse_poolings(pooling)
    wishes: list[tuple[list[str], tuple[str, ...]]] = []
    for item in items or [""]:
        name, at, how = item.partition("@")
        hows = parse_poolings(how) if at else shared
        if wishes and wishes[-1][1] == hows:
            wishes[-1][0].append(name)
        else:
            wishes.append(([name], hows))
    return wishes


def _requests(
    network: TorchNetwork, wishes: Sequence[tuple[list[str], tuple[str, ...]]]
) -> list[tuple[Place, str]]:
    found = {
        (place.name, how): (place, how)
        for names, hows in wishes
        for place in network.select(names)
        for how in hows
    }
    return list(found.values())


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
