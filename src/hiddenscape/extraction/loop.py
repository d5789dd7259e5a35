"""One shard after the other: points of all sites for its rows, what became of each row, a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiddenscape.errors import NetworkError
from hiddenscape.extraction.inputs import Rows
from hiddenscape.extraction.plan import ExtractionPlan
from hiddenscape.extraction.reading import Reading
from hiddenscape.extraction.rounding import check_range, neighbor_agreement, rounded
from hiddenscape.store.writer import STATUS, StoreWriter

__all__ = ["Filling", "fill"]

Progress = Callable[[int, int], None]
_ROWS_THAT_TELL = 8


@dataclass(slots=True, eq=False)
class Filling:
    """What the loop works with, and what it found out.

    ``silent`` counts, by key, the shards in which a site gave no finite number; ``rounding`` says
    what a coarse dtype did to neighbours in the first shard that was written; ``dead`` counts the
    rows of the last shards, as far as no site gave a finite number in them.
    """

    reading: Reading
    plan: ExtractionPlan
    writer: StoreWriter
    folder: Path
    silent: dict[str, int] = field(default_factory=dict)
    rounding: dict[str, object] = field(default_factory=dict)
    told: bool = False
    dead: int = 0

    @property
    def rows(self) -> Rows:
        """The prepared rows."""
        return self.reading.rows


def fill(filling: Filling, todo: list[tuple[int, int]], progress: Progress | None) -> None:
    """Write the shards of ``todo``; those that another process has written by then are left."""
    plan, writer = filling.plan, filling.writer
    total = sum(stop - start for start, stop in todo)
    done = plan.rows - total

    def tick(count: int) -> None:
        if progress is not None:
            progress(count, plan.rows)

    tick(done)
    for start, stop in todo:
        if (start, stop) in writer.missing():
            tensors = _shard(filling, start, stop, partial(_shifted, tick, done))
            bad = writer.commit(start, stop, tensors)
            _journal(filling, start, stop, bad)
        done += stop - start
        tick(done)


def _shifted(tick: Callable[[int], None], before: int, count: int) -> None:
    tick(before + count)


def _shard(
    filling: Filling, start: int, stop: int, tick: Callable[[int], None]
) -> dict[str, np.ndarray]:
    rows, plan = filling.rows, filling.plan
    entries = plan.manifest.entries
    tokens = rows.every_token(start, stop, plan.positions) if plan.ragged else {}
    points = {
        key: np.full((stop - start, *entry["shape"]), np.nan, dtype=np.float32)
        for key, entry in entries.items()
        if key not in plan.ragged
    }
    if rows.share("mean", np.zeros(0, dtype=np.int64)) is not None:
        first, last = np.searchsorted(rows.row, [start, stop])
        read = np.unique(rows.row[first:last][rows.lengths[first:last] > 0]) - start
        for x in points.values():
            x[read] = 0.0
    spread = {key: _spread(entries[key], tokens) for key in plan.ragged}
    done = 0
    for pieces, found in filling.reading.read(rows.batches(start, stop)):
        place = rows.row[pieces] - start
        for key, value in found.items():
            if key in spread:
                _put_tokens(spread[key], value, tokens["offsets"], place, key, start)
            else:
                _put(points[key], value, place, rows.share(key.partition("@")[2], pieces))
        done += len(np.unique(place))
        tick(min(done, stop - start))
    lost = _lost(filling, start, stop)
    for x in points.values():
        x[lost] = np.nan
    finite = {key: _finite_points(x) for key, x in points.items()}
    finite |= {key: _finite_tokens(x, tokens["offsets"]) for key, x in spread.items()}
    status = _status(filling, finite, lost, start, stop)
    stored = {key: rounded(key, x, entries[key]["dtype"], start) for key, x in points.items()}
    _note_rounding(filling, points, stored)
    return {
        **stored,
        **spread,
        **tokens,
        "n_tokens": rows.n_tokens[start:stop],
        "n_content": rows.n_content[start:stop],
        "status": status,
    }


def _put(
    points: np.ndarray, value: torch.Tensor, place: np.ndarray, share: np.ndarray | None
) -> None:
    found = value.to(torch.float32).numpy()
    if share is None:
        points[place] = found
        return
    # Rows read in windows begin at 0, and the shares of a row add up to 1.
    for at, weight, vector in zip(place.tolist(), share.tolist(), found, strict=True):
        if weight > 0.0:
            points[at] += np.float32(weight) * vector


def _spread(entry: Mapping[str, Any], tokens: dict[str, np.ndarray]) -> np.ndarray:
    count = int(tokens["offsets"][-1])
    shape, dtype = entry["shape"], entry["dtype"]
    if dtype == "bfloat16":
        return np.full((count, *shape), 0x7FC0, dtype=np.uint16)
    return np.full((count, *shape), np.nan, dtype=dtype)


def _put_tokens(
    spread: np.ndarray,
    value: torch.Tensor,
    offsets: np.ndarray,
    place: np.ndarray,
    key: str,
    start: int,
) -> None:
    """Tokens of some rows, one row after the other, to where the shard has them."""
    if spread.dtype == np.uint16:
        found = value.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    else:
        found = value.to(torch.float32).numpy()
    at = 0
    for row in place.tolist():
        count = int(offsets[row + 1] - offsets[row])
        check_range(key, found[at : at + count], spread.dtype, start + row)
        spread[offsets[row] : offsets[row + 1]] = found[at : at + count]
        at += count
    if at != len(found):
        raise NetworkError(
            f"a site of every token gave {len(found)} positions for rows of {at} tokens: its "
            "second axis is not the token axis"
        )


def _lost(filling: Filling, start: int, stop: int) -> np.ndarray:
    """Rows of the shard, counted from its start, that did not fit into memory."""
    rows = np.unique(filling.rows.row[np.array(filling.reading.failed, dtype=np.int64)])
    return rows[(rows >= start) & (rows < stop)] - start


def _status(
    filling: Filling, good: dict[str, np.ndarray], lost: np.ndarray, start: int, stop: int
) -> np.ndarray:
    """What became of each row: ok, empty, skipped or failed; ``good`` has the finite rows by key.

    A site that gives no finite number at any row says nothing of the rows: it is counted as silent,
    and measured as NaN with a note. A network of which every site is silent is an error; but a few
    rows, such as those left for the last shard, may just be bad ones.
    """
    rows = filling.rows
    status = rows.status[start:stop].copy()
    status[lost] = STATUS["failed"]
    ok = status == STATUS["ok"]
    status[ok & _unpooled(filling, start, stop)] = STATUS["empty"]
    ok = status == STATUS["ok"]
    finite = np.ones(stop - start, dtype=bool)
    silent = []
    ranges = filling.plan.manifest.ranges
    some = min(_ROWS_THAT_TELL, max(b - a for a, b in ranges), filling.plan.status["ok"])
    for key, rows_of in good.items():
        if ok.any() and ok.sum() >= some and not rows_of[ok].any():
            silent.append(key)
        else:
            finite &= rows_of
    if len(silent) == len(good):
        filling.dead += int(ok.sum())
        tell = min(_ROWS_THAT_TELL, filling.plan.status["ok"])
        if ok.sum() >= tell or filling.dead >= tell:
            raise NetworkError(_nothing(filling, start, stop))
        finite[ok], silent = False, []
    else:
        filling.dead = 0
    for key in silent:
        filling.silent[key] = filling.silent.get(key, 0) + 1
    status[ok & ~finite] = STATUS["failed"]
    return status


def _finite_points(points: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(points).all(axis=1)
    return finite


def _finite_tokens(spread: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Rows of which every token is finite."""
    if spread.dtype == np.uint16:  # bf16 words: NaN and infinity have all bits of the exponent
        finite = ((spread & np.uint16(0x7F80)) != 0x7F80).all(axis=1)
    else:
        finite = np.isfinite(spread).all(axis=1)
    before = np.concatenate([[0], np.cumsum(~finite)])
    all_of: np.ndarray = before[offsets[1:]] == before[offsets[:-1]]
    return all_of


def _nothing(filling: Filling, start: int, stop: int) -> str:
    wide = filling.plan.dtype in ("float32", "float64")
    remedy = (
        "repair the network"
        if wide
        else f"it overflows in {filling.plan.dtype}; load it with dtype 'float32'"
    )
    return (
        f"network {filling.plan.network!r} gives NaN or infinity at every site for every row from "
        f"{start} to {stop - 1}: {remedy}"
    )


def _unpooled(filling: Filling, start: int, stop: int) -> np.ndarray:
    """Rows for which some pooling has no position to read."""
    missing = np.zeros(stop - start, dtype=bool)
    lengths = filling.rows.n_tokens[start:stop]
    spans = getattr(getattr(filling.rows, "tokens", None), "spans", {})
    for how in {how for _, how in filling.plan.requests}:
        if how.startswith("token:"):
            index = int(how.removeprefix("token:"))
            needed = index + 1 if index >= 0 else -index
            missing |= (lengths >= 0) & (lengths < needed)
        elif how.startswith("span:"):
            missing |= spans[how.removeprefix("span:")][start:stop, 0] < 0
    return missing


def _note_rounding(
    filling: Filling, points: dict[str, np.ndarray], stored: dict[str, np.ndarray]
) -> None:
    coarse = {k: x for k, x in stored.items() if x.dtype != np.float32}
    if coarse and not filling.rounding:
        filling.rounding = {k: neighbor_agreement(points[k], x) for k, x in coarse.items()}


def _journal(filling: Filling, start: int, stop: int, bad: dict[str, int]) -> None:
    # For people only: deleting it changes nothing.
    log = filling.folder / "log"
    log.mkdir(parents=True, exist_ok=True)
    entry: dict[str, object] = {
        "rows": [start, stop],
        "not_finite": {key: count for key, count in bad.items() if count},
    }
    if filling.reading.splits:
        entry["out_of_memory"] = filling.reading.splits
    if filling.rounding and not filling.told:
        entry["neighbors_kept"] = filling.rounding
        filling.told = True
    with (log / f"extract-{os.getpid()}.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
    filling.reading.splits.clear()
