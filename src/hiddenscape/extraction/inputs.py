"""Rows made ready for one network: tokenised or taken as arrays, measured, and cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from hiddenscape.data.dataset import Dataset
from hiddenscape.data.tokens import (
    CharSpans,
    Tokens,
    check_overlength,
    fit_tokens,
    tokenize,
)
from hiddenscape.errors import InputError
from hiddenscape.extraction.batches import OVERHEAD, cut_batches
from hiddenscape.models.batching import (
    array_batch,
    image_batch,
    start_tokens,
    token_batch,
    vocabulary,
)
from hiddenscape.models.network import Batch, TorchNetwork

__all__ = ["ArrayRows", "Rows", "TokenRows", "prepare"]

_BATCH_ELEMENTS = 2**22
_BATCH_ROWS = 256
_IN_WINDOWS = ("mean", "mean_all", "last")


class Rows(Protocol):
    """Prepared rows: what the planner and the loop need to know.

    The loop reads *pieces*: a row is one piece, unless it is read in windows. ``row`` tells the
    row of each piece, ``lengths`` its tokens (0 where it has none).
    """

    status: np.ndarray
    lengths: np.ndarray

    @property
    def n_tokens(self) -> np.ndarray: ...

    @property
    def n_content(self) -> np.ndarray: ...

    @property
    def truncated(self) -> np.ndarray: ...

    @property
    def row(self) -> np.ndarray: ...

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]: ...

    def batch(self, pieces: np.ndarray) -> Batch: ...

    def share(self, how: str, pieces: np.ndarray) -> np.ndarray | None: ...

    def every_token(self, start: int, stop: int, width: int) -> dict[str, np.ndarray]: ...

    def settings(self) -> dict[str, Any]: ...

    def seen_by(self, network: TorchNetwork) -> Rows: ...


@dataclass(slots=True, eq=False, kw_only=True)
class TokenRows:
    """Rows of token ids, in batches of pieces of similar length, at most ``budget`` tokens."""

    network: TorchNetwork
    tokens: Tokens
    budget: int
    limit: int | None
    overlength: str
    max_rows: int | None
    status: np.ndarray = field(init=False)
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        t = self.tokens
        self.status = np.where(t.skipped, 2, np.where(t.n_content == 0, 1, 0)).astype(np.uint8)
        self.lengths = np.where(t.skipped[t.row], 0, t.ids.lengths)

    @property
    def n_tokens(self) -> np.ndarray:
        """Tokens of each row, specials included."""
        return self.tokens.n_tokens

    @property
    def n_content(self) -> np.ndarray:
        """Tokens of each row without specials."""
        return self.tokens.n_content

    @property
    def truncated(self) -> np.ndarray:
        """Rows of which something was cut off."""
        return self.tokens.truncated

    @property
    def row(self) -> np.ndarray:
        """Row of each piece."""
        return self.tokens.row

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Piece numbers of each batch of a shard: longest first, ties by number.

        The composition depends only on the shard's rows, their lengths and the budget, so that an
        interrupted and an uninterrupted run make the same batches.
        """
        first, last = np.searchsorted(self.row, [start, stop])
        pieces = np.arange(first, last)
        pieces = pieces[self.lengths[first:last] > 0]
        pieces = pieces[np.lexsort((pieces, -self.lengths[pieces]))]
        for i, j in cut_batches(
            self.lengths[pieces],
            self.budget,
            max_rows=self.max_rows,
            equal=not self.network.batching,
        ):
            yield pieces[i:j]

    def batch(self, pieces: np.ndarray) -> Batch:
        """Padded ids and masks of some pieces."""
        t = self.tokens
        batch = token_batch(
            self.network,
            [t.ids[i] for i in pieces],
            [t.special[i] for i in pieces],
            weight=None if t.weight is None else [t.weight[i] for i in pieces],
            spans={name: spans[t.row[pieces]] for name, spans in t.spans.items()},
        )
        return replace(batch, rows=tuple(t.row[pieces].tolist()))

    def share(self, how: str, pieces: np.ndarray) -> np.ndarray | None:
        """How much the value of each piece counts in its row; None where rows are one piece."""
        t = self.tokens
        if t.weight is None:
            return None
        if how == "last":
            last = np.append(t.row[1:] != t.row[:-1], True)
            final: np.ndarray = last[pieces].astype(np.float64)
            return final
        whole = t.n_content if how == "mean" else t.n_tokens
        counted = np.zeros(len(pieces))
        for at, i in enumerate(pieces.tolist()):
            weight = t.weight[i][t.special[i] == 0] if how == "mean" else t.weight[i]
            counted[at] = weight.sum(dtype=np.float64)
        share: np.ndarray = counted / np.maximum(1, whole[t.row[pieces]])
        return share

    def every_token(self, start: int, stop: int, width: int) -> dict[str, np.ndarray]:
        """Offsets, ids, positions and content flags of all tokens of a shard (S4)."""
        t = self.tokens
        count = self.lengths[start:stop]
        offsets = np.concatenate([[0], np.cumsum(count)])
        rows = (np.flatnonzero(count) + start).tolist()
        ids = [t.ids[i] for i in rows]
        return {
            "offsets": offsets,
            "token_id": np.concatenate([np.zeros(0, np.int32), *ids]),
            "token_pos": np.arange(offsets[-1]) - np.repeat(offsets[:-1], count),
            "token_content": 1
            - np.concatenate([np.zeros(0, np.uint8), *(t.special[i] for i in rows)]),
        }

    def settings(self) -> dict[str, Any]:
        """Identity fields of the input."""
        return {
            "kind": "tokens",
            "max_length": self.limit,
            "overlength": self.overlength,
            "batch_tokens": self.budget,
            "batch_size": self.max_rows,
            "sort": f"length, least padding + {OVERHEAD} a batch",
            "image_size": None,
        }

    def seen_by(self, network: TorchNetwork) -> TokenRows:
        """The same rows for the network after its self-check."""
        return replace(self, network=network)


@dataclass(slots=True, eq=False, kw_only=True)
class ArrayRows:
    """Rows of arrays or images, batched in order."""

    network: TorchNetwork
    dataset: Dataset
    batch_size: int
    n_tokens: np.ndarray = field(init=False)
    n_content: np.ndarray = field(init=False)
    status: np.ndarray = field(init=False)
    truncated: np.ndarray = field(init=False)
    row: np.ndarray = field(init=False)
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.dataset)
        self.n_tokens = np.full(count, -1, dtype=np.int32)
        self.n_content = np.full(count, -1, dtype=np.int32)
        self.status = np.zeros(count, dtype=np.uint8)
        self.truncated = np.zeros(count, dtype=bool)
        self.row = np.arange(count)
        self.lengths = np.ones(count, dtype=np.int64)

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Consecutive row numbers."""
        for at in range(start, stop, self.batch_size):
            yield np.arange(at, min(at + self.batch_size, stop))

    def batch(self, pieces: np.ndarray) -> Batch:
        """Inputs of some rows."""
        rows = pieces.tolist()
        taken = self.dataset.take(rows)
        if self.dataset.kind == "images" and not isinstance(taken, np.ndarray):
            return replace(image_batch(self.network, taken), rows=tuple(rows))
        return replace(array_batch(self.network, taken), rows=tuple(rows))

    def share(self, how: str, pieces: np.ndarray) -> np.ndarray | None:
        """Rows are one piece each."""
        return None

    def every_token(self, start: int, stop: int, width: int) -> dict[str, np.ndarray]:
        """Offsets, positions and content flags of all positions of a shard; there are no ids."""
        count = stop - start
        prefix = 0 if self.network.map is None else self.network.map.prefix
        position = np.tile(np.arange(width), count)
        return {
            "offsets": np.arange(count + 1) * width,
            "token_id": np.full(count * width, -1),
            "token_pos": position,
            "token_content": (position >= prefix).astype(np.uint8),
        }

    def settings(self) -> dict[str, Any]:
        """Identity fields of the input."""
        return {
            "kind": self.dataset.kind,
            "max_length": None,
            "overlength": None,
            "batch_tokens": None,
            "batch_size": self.batch_size,
            "sort": None,
            "image_size": None,
        }

    def seen_by(self, network: TorchNetwork) -> ArrayRows:
        """The same rows for the network after its self-check."""
        return replace(self, network=network)


def prepare(
    network: TorchNetwork,
    dataset: Dataset,
    *,
    batch_tokens: int,
    batch_size: int | None,
    max_length: int | None,
    overlength: str,
    poolings: Sequence[str] = (),
) -> Rows:
    """Rows of ``dataset`` made ready for ``network``.

    Raises
    ------
    InputError
        If the network does not eat this kind of data; the message says what it eats. If a row is
        too long under the policy ``error``, holds an id the network does not know, or a pooling
        cannot be read in windows or from rows without the span it names.
    """
    if batch_tokens < 1 or (batch_size is not None and batch_size < 1):
        raise InputError("batch_tokens and batch_size must be at least 1")
    needed = [f"span:{name}" for name in network.needed_spans]
    spans = _spans(dataset, [*poolings, *needed])
    if network.kind != "tokens":
        if spans:
            raise InputError(f"network {network.name!r} eats {network.kind}: it has no spans")
        return _arrays(network, dataset, batch_size)
    if check_overlength(overlength) is not None:
        other = [how for how in (*poolings, *needed) if how not in _IN_WINDOWS]
        if other:
            raise InputError(
                f"pooling {other[0]!r} cannot be read in windows (overlength {overlength!r}); use "
                f"{', '.join(_IN_WINDOWS)}, or another policy for long rows"
            )
    limits = [v for v in (network.max_length, max_length) if v is not None]
    limit = min(limits) if limits else None
    tokens = _tokens(network, dataset, spans)
    tokens = fit_tokens(tokens, limit, overlength, ids=dataset.ids, where=dataset.name)
    _check_vocabulary(network, tokens, dataset)
    return TokenRows(
        network=network,
        tokens=tokens,
        budget=batch_tokens,
        limit=limit,
        overlength=overlength,
        max_rows=batch_size,
    )


def _spans(dataset: Dataset, poolings: Sequence[str]) -> CharSpans:
    """The spans of the data set that some pooling reads."""
    names = [how.removeprefix("span:") for how in poolings if how.startswith("span:")]
    has: CharSpans = getattr(dataset, "spans", None) or {}
    for name in names:
        if name not in has:
            known = ", ".join(has) or "none"
            raise InputError(
                f"'span:{name}': data set {dataset.name!r} has no span {name!r}; it has "
                f'{known}. Spans are a field of .jsonl files: "spans": {{"{name}": [3, 10]}}'
            )
    return {name: has[name] for name in names}


def _arrays(network: TorchNetwork, dataset: Dataset, batch_size: int | None) -> ArrayRows:
    if dataset.kind not in ("arrays", "images"):
        raise InputError(
            f"network {network.name!r} eats {network.kind}, data set {dataset.name!r} holds "
            f"{dataset.kind}; give it arrays (rows, ...) or images, or, if it eats token ids, say "
            "so: wrap_module(module, kind='tokens', tokenizer=...)"
        )
    if batch_size is None:
        first = dataset.take([0])
        batch_size = max(1, min(_BATCH_ROWS, _BATCH_ELEMENTS // max(1, np.asarray(first[0]).size)))
    return ArrayRows(network=network, dataset=dataset, batch_size=batch_size)


def _tokens(network: TorchNetwork, dataset: Dataset, spans: CharSpans) -> Tokens:
    if dataset.kind == "text":
        if network.tokenizer is None:
            raise InputError(
                f"network {network.name!r} has no tokenizer, so it cannot read text; give rows of "
                "token ids (token_dataset), name a tokenizer (--tokenizer), or keep its files "
                "beside the weights"
            )
        return tokenize(network.tokenizer, _one_by_one(dataset), spans=spans)
    if spans:
        raise InputError(f"data set {dataset.name!r} holds {dataset.kind}: spans need text")
    everything = range(len(dataset))
    if dataset.kind == "tokens":
        ids: Sequence[np.ndarray] = dataset.take(everything)
        flags = getattr(dataset, "special", None)
    else:
        array = dataset.take([0])
        if dataset.kind != "arrays" or array.ndim != 2 or array.dtype.kind not in "iu":
            raise InputError(
                f"network {network.name!r} eats token ids, data set {dataset.name!r} holds "
                f"{dataset.kind}; give it text, or rows of whole numbers"
            )
        ids, flags = list(dataset.take(everything)), None
    special = flags if flags is not None else [np.zeros(len(r), np.uint8) for r in ids]
    pairs = [start_tokens(network, i, s) for i, s in zip(ids, special, strict=True)]
    return Tokens.of((p[0] for p in pairs), (p[1] for p in pairs))


def _one_by_one(dataset: Dataset, chunk: int = 1024) -> Iterator[str]:
    for start in range(0, len(dataset), chunk):
        yield from dataset.take(range(start, min(start + chunk, len(dataset))))


def _check_vocabulary(network: TorchNetwork, tokens: Tokens, dataset: Dataset) -> None:
    # On the host: an id out of range poisons a CUDA context.
    size = vocabulary(network)
    if size is None:
        return
    wrong = np.flatnonzero((tokens.ids.flat >= size) | (tokens.ids.flat < 0))
    if len(wrong):
        piece = int(np.searchsorted(tokens.ids.offsets, wrong[0], side="right")) - 1
        row = int(tokens.row[piece])
        raise InputError(
            f"{dataset.name}: row {row} (id {dataset.ids[row]!r}) holds token id "
            f"{int(tokens.ids.flat[wrong[0]])}, network {network.name!r} knows 0 to {size - 1}"
        )
