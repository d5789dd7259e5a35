"""Rows of one length in a batch: attention is edited and read without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hiddenscape.data.dataset import Dataset
from hiddenscape.data.tokens import Tokens, tokenize
from hiddenscape.errors import InputError
from hiddenscape.models.batching import (
    array_batch,
    image_batch,
    probe_batch,
    start_tokens,
    token_batch,
)
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import self_check

__all__ = ["batches_of", "self_checked"]


def self_checked(network: TorchNetwork) -> TorchNetwork:
    """The network after its self-check, where it can be probed: what fails is not offered."""
    if network.map is None or network.checks:
        return network
    batch = probe_batch(network)
    return network if batch is None else self_check(network, batch)


def batches_of(
    network: TorchNetwork, rows: Batch | Dataset, *, most: int = 64
) -> Iterator[tuple[np.ndarray, Batch]]:
    """(row numbers, batch) with rows of one length in each, at most ``most``.

    A :class:`Batch` is taken as it is. Of text, all spans that the data set has are laid out.

    Raises
    ------
    InputError
        If the network cannot read this kind of rows, or one is empty.
    """
    if isinstance(rows, Batch):
        count = len(next(iter((*rows.args, *rows.kwargs.values()))))
        yield np.arange(count), rows
    elif network.kind == "tokens":
        yield from _token_batches(network, rows, most)
    else:
        for start in range(0, len(rows), most):
            numbers = range(start, min(start + most, len(rows)))
            make = image_batch if rows.kind == "images" else array_batch
            yield np.array(numbers), make(network, rows.take(numbers))


def _token_batches(
    network: TorchNetwork, rows: Dataset, most: int
) -> Iterator[tuple[np.ndarray, Batch]]:
    tokens = _tokens(network, rows)
    lengths = tokens.ids.lengths
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise InputError(f"row {row} (id {rows.ids[row]!r}) has no tokens; leave it out")
    if network.max_length is not None and lengths.max() > network.max_length:
        row = int(lengths.argmax())
        raise InputError(
            f"row {row} (id {rows.ids[row]!r}) has {lengths[row]} tokens, network {network.name!r} "
            f"takes {network.max_length}; shorten it or leave it out"
        )
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for start in range(0, len(same), most):
            part = same[start : start + most]
            yield (
                part,
                token_batch(
                    network,
                    [tokens.ids[i] for i in part],
                    [tokens.special[i] for i in part],
                    spans={name: ranges[part] for name, ranges in tokens.spans.items()},
                ),
            )


def _tokens(network: TorchNetwork, rows: Dataset) -> Tokens:
    if rows.kind == "text":
        if network.tokenizer is None:
            raise InputError(
                f"network {network.name!r} has no tokenizer, so it cannot read text; give rows of "
                "token ids (token_dataset)"
            )
        everything = rows.take(range(len(rows)))
        return tokenize(network.tokenizer, everything, spans=getattr(rows, "spans", None) or None)
    if rows.kind != "tokens":
        raise InputError(
            f"network {network.name!r} eats token ids, data set {rows.name!r} holds {rows.kind}; "
            "give it text_dataset or token_dataset"
        )
    ids: Sequence[Any] = rows.take(range(len(rows)))
    flags = getattr(rows, "special", None) or [np.zeros(len(i), np.uint8) for i in ids]
    pairs = [start_tokens(network, i, s) for i, s in zip(ids, flags, strict=True)]
    return Tokens.of((p[0] for p in pairs), (p[1] for p in pairs))
