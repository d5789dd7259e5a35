"""Rows made ready for one network: tokenised or taken as arrays, measured, and cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from hiddenscape.data.dataset import Dataset
from hiddenscape.data.tokens import Tokens, fit_tokens, tokenize
from hiddenscape.errors import InputError
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


class Rows(Protocol):
    """Prepared rows: what the planner and the loop need to know."""

    n_tokens: np.ndarray
    n_content: np.ndarray
    status: np.ndarray
    truncated: np.ndarray

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]: ...

    def batch(self, rows: np.ndarray) -> Batch: ...

    def settings(self) -> dict[str, Any]: ...

    def seen_by(self, network: TorchNetwork) -> Rows: ...


@dataclass(slots=True, eq=False, kw_only=True)
class TokenRows:
    """Rows of token ids. Batches hold rows of similar length, at most ``budget`` padded tokens."""

    network: TorchNetwork
    tokens: Tokens
    budget: int
    limit: int | None
    overlength: str
    max_rows: int | None
    n_tokens: np.ndarray = field(init=False)
    n_content: np.ndarray = field(init=False)
    status: np.ndarray = field(init=False)
    truncated: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        tokens = self.tokens
        self.n_tokens = np.array([len(r) for r in tokens.ids], dtype=np.int32)
        self.n_content = np.array(
            [len(r) - int(s.sum()) for r, s in zip(tokens.ids, tokens.special, strict=True)],
            dtype=np.int32,
        )
        self.truncated = tokens.truncated
        self.status = np.where(tokens.skipped, 2, np.where(self.n_content == 0, 1, 0)).astype(
            np.uint8
        )

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Row numbers of each batch of a shard: longest first, ties by row.

        The composition depends only on the shard's rows, their lengths and the budget, so that an
        interrupted and an uninterrupted run make the same batches.
        """
        rows = np.arange(start, stop)
        rows = rows[(self.n_tokens[start:stop] > 0) & (self.status[start:stop] != 2)]
        rows = rows[np.lexsort((rows, -self.n_tokens[rows].astype(np.int64)))]
        at = 0
        while at < len(rows):
            width = int(self.n_tokens[rows[at]])
            count = max(1, self.budget // width)
            count = min(count, self.max_rows) if self.max_rows else count
            chunk = rows[at : at + count]
            if not self.network.batching:
                chunk = chunk[self.n_tokens[chunk] == width]
            yield chunk
            at += len(chunk)

    def batch(self, rows: np.ndarray) -> Batch:
        """Padded ids and masks of some rows."""
        return token_batch(
            self.network,
            [self.tokens.ids[i] for i in rows],
            [self.tokens.special[i] for i in rows],
        )

    def settings(self) -> dict[str, Any]:
        """Identity fields of the input."""
        return {
            "kind": "tokens",
            "max_length": self.limit,
            "overlength": self.overlength,
            "batch_tokens": self.budget,
            "batch_size": self.max_rows,
            "sort": "length",
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

    def __post_init__(self) -> None:
        count = len(self.dataset)
        self.n_tokens = np.full(count, -1, dtype=np.int32)
        self.n_content = np.full(count, -1, dtype=np.int32)
        self.status = np.zeros(count, dtype=np.uint8)
        self.truncated = np.zeros(count, dtype=bool)

    def batches(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Consecutive row numbers."""
        for at in range(start, stop, self.batch_size):
            yield np.arange(at, min(at + self.batch_size, stop))

    def batch(self, rows: np.ndarray) -> Batch:
        """Inputs of some rows."""
        taken = self.dataset.take(rows.tolist())
        if self.dataset.kind == "images" and not isinstance(taken, np.ndarray):
            return image_batch(self.network, taken)
        return array_batch(self.network, taken)

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
) -> Rows:
    """Rows of ``dataset`` made ready for ``network``.

    Raises
    ------
    InputError
        If the network does not eat this kind of data; the message says what it eats. If a row is
        too long under the policy ``error``, or holds an id the network does not know.
    """
    if batch_tokens < 1 or (batch_size is not None and batch_size < 1):
        raise InputError("batch_tokens and batch_size must be at least 1")
    if network.kind != "tokens":
        return _arrays(network, dataset, batch_size)
    limits = [v for v in (network.max_length, max_length) if v is not None]
    limit = min(limits) if limits else None
    tokens = _tokens(network, dataset)
    tokens = fit_tokens(tokens, limit, overlength, ids=dataset.ids, where=dataset.name)
    _check_vocabulary(network, tokens.ids, dataset)
    return TokenRows(
        network=network,
        tokens=tokens,
        budget=batch_tokens,
        limit=limit,
        overlength=overlength,
        max_rows=batch_size,
    )


def _arrays(network: TorchNetwork, dataset: Dataset, batch_size: int | None) -> ArrayRows:
    if dataset.kind not in ("arrays", "images"):
        raise InputError(
            f"network {network.name!r} eats {network.kind}, data set {dataset.name!r} holds "
            f"{dataset.kind}; give it arrays (rows, ...) or images"
        )
    if batch_size is None:
        first = dataset.take([0])
        batch_size = max(1, min(_BATCH_ROWS, _BATCH_ELEMENTS // max(1, np.asarray(first[0]).size)))
    return ArrayRows(network=network, dataset=dataset, batch_size=batch_size)


def _tokens(network: TorchNetwork, dataset: Dataset) -> Tokens:
    everything = range(len(dataset))
    if dataset.kind == "text":
        if network.tokenizer is None:
            raise InputError(
                f"network {network.name!r} has no tokenizer, so it cannot read text; give rows of "
                "token ids (token_dataset), or keep the tokenizer's files beside the weights"
            )
        return tokenize(network.tokenizer, dataset.take(everything))
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
        ids, flags = list(dataset.take(everything).astype(np.int32)), None
    special = flags if flags is not None else [np.zeros(len(r), np.uint8) for r in ids]
    pairs = [start_tokens(network, i, s) for i, s in zip(ids, special, strict=True)]
    return Tokens.of([p[0] for p in pairs], [p[1] for p in pairs])


def _check_vocabulary(network: TorchNetwork, ids: Sequence[np.ndarray], dataset: Dataset) -> None:
    # On the host: an id out of range poisons a CUDA context.
    size = vocabulary(network)
    if size is None:
        return
    for row, values in enumerate(ids):
        if len(values) and int(values.max()) >= size:
            raise InputError(
                f"{dataset.name}: row {row} (id {dataset.ids[row]!r}) holds token id "
                f"{int(values.max())}, network {network.name!r} knows 0 to {size - 1}"
            )
