"""Direct logit attribution: a logit as a sum over embedding, heads, biases and MLPs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import InputError
from hiddenscape.interventions.readout import Readout, open_readout, require_sites
from hiddenscape.interventions.rows import batches_of
from hiddenscape.interventions.shares import (
    Component,
    block_shares,
    embedding_shares,
    watched_embeddings,
)
from hiddenscape.interventions.spots import Ids, ids_at, read_spots
from hiddenscape.models.network import Batch, TorchNetwork

__all__ = ["Attribution", "direct_attribution"]

_WHAT = "direct attribution"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Attribution:
    """What each component adds to a logit, or to a difference of two.

    Attributes
    ----------
    components : tuple of Component
        Their names, kinds (``embedding``, ``head``, ``attention_bias``, ``mlp``), blocks and heads.
    values : float64 (n, components)
        In logits.
    constants : float64 (n,)
        What no component gives: the bias of the final norm through the head, and the head's own.
    logit : float64 (n,)
        What the network itself gives (before a soft cap).
    row, position, targets : int64 (n,)
        Row of the data set, token position, and the id whose logit it is.
    against : int64 (n,) or None
        The id whose logit is subtracted.
    tolerance : float
        What ``residual`` may be.
    """

    components: tuple[Component, ...]
    values: np.ndarray
    constants: np.ndarray
    logit: np.ndarray
    row: np.ndarray
    position: np.ndarray
    targets: np.ndarray
    against: np.ndarray | None
    tolerance: float

    @property
    def residual(self) -> np.ndarray:
        """(n,) what the sum of everything lacks of the network's own number."""
        return np.asarray(self.logit - self.values.sum(1) - self.constants)

    @property
    def failing(self) -> np.ndarray:
        """Indices of results that do not add up within the tolerance; they are not left out."""
        return np.flatnonzero(~(np.abs(self.residual) <= self.tolerance))

    def column(self, name: str) -> np.ndarray:
        """(n,) values of one component, such as ``block 3 head 1``."""
        names = [c.name for c in self.components]
        if name not in names:
            raise InputError(f"no component {name!r}; there are {names[0]!r} to {names[-1]!r}")
        return np.asarray(self.values[:, names.index(name)])

    def heads(self) -> dict[tuple[int, int], np.ndarray]:
        """(block, head) to its values (n,)."""
        return {
            (c.block, c.head): self.values[:, i]
            for i, c in enumerate(self.components)
            if c.kind == "head" and c.block is not None and c.head is not None
        }

    def share(self, kind: str = "head", *, sign: int = 1) -> dict[str, float]:
        """Mean of each component over the sum of means, among those of ``kind`` with that sign.

        Shares of one sign sum to 1; a component of the other sign has none.
        """
        if sign not in (1, -1):
            raise InputError(f"sign {sign!r} is not 1 or -1")
        means = self.values.mean(0)
        chosen = {
            c.name: float(means[i])
            for i, c in enumerate(self.components)
            if c.kind == kind and not means[i] * sign <= 0  # NaN stays, and makes all shares NaN
        }
        if not chosen:
            raise InputError(f"no component of kind {kind!r} has a mean of sign {sign:+d}")
        total = sum(chosen.values())
        return {name: value / total for name, value in chosen.items()}


def direct_attribution(
    network: TorchNetwork,
    rows: Batch | Dataset,
    targets: Ids | None = None,
    *,
    against: Ids | None = None,
    position: str | int = "last",
    tolerance: float = 1e-4,
) -> Attribution:
    r"""Split a logit, or the difference of two, into what each component of the stream adds to it.

    The last stream r is a sum over components q: embeddings, the heads (each its slice of z through
    the output projection), the bias of each attention, the MLPs. With c, s, g, beta of the final
    norm and the row (or difference of rows) v of the unembedding,

    .. math:: \mathrm{logit} = \sum_q \frac{(g \odot c(q)) \cdot v}{s(r)} + \beta \cdot v + u ,

    with s(r) taken from the stream as it is. Norms inside an add (Gemma-2, OLMo-2) are applied with
    their scale frozen likewise. Under grouped heads a head is a query head.

    Parameters
    ----------
    network : TorchNetwork
        A network of tokens with a linear head on a final norm; self-checked if it was not.
    rows : Batch or Dataset
        Rows may be padded.
    targets : int or sequence of int, optional
        Whose logit: one id for all, or one per row; with ``position="all"`` also one per row and
        position. The largest logit by default.
    against : int or sequence of int, optional
        Whose logit is subtracted.
    position : "last", "all" or int
        Last real position of each row, every real one, or the i-th (negative from the end).
    tolerance : float
        How far the sum may be from the network's own number. Float32 keeps about 1e-6 of the
        largest term; half precision cannot pass.

    Returns
    -------
    Attribution
        In float64. A direct effect: what a component adds, not what happens without it
        (:func:`run_edited`). ``residual`` and ``failing`` tell where the sum does not hold.

    Raises
    ------
    InterventionNotSupported
        If the head has a transform (BERT, ESM), a block adds to a normed stream, or a site failed
        the self-check.
    InputError
        If ids are out of range or of the wrong number, or a row has no such position.

    References
    ----------
    Elhage et al. 2021, "A mathematical framework for transformer circuits"; nostalgebraist 2020
    (logit lens); Wang et al. 2023, arXiv:2211.00593.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from hiddenscape.data.arrays import token_dataset
    >>> from hiddenscape.models.wrapping import wrap_module
    >>> config = GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=9, n_positions=16,
    ...                     bos_token_id=None, eos_token_id=None)
    >>> network = wrap_module(GPT2LMHeadModel(config))
    >>> out = direct_attribution(network, token_dataset([[1, 2, 3], [4, 5]]), 7, against=2)
    >>> [c.name for c in out.components][1:4]
    ['position embedding', 'block 0 head 0', 'block 0 head 1']
    >>> bool((abs(out.residual) < 1e-5).all()), len(out.failing)
    (True, 0)
    """
    readout = open_readout(network, _WHAT)
    parts: list[_Part] = []
    for numbers, batch in batches_of(readout.network, rows):
        parts.append(_attribute(readout, batch, numbers, targets, against, position))
    order = np.argsort(np.concatenate([p.row for p in parts]), kind="stable")

    def joined(name: str) -> np.ndarray:
        return np.asarray(np.concatenate([getattr(p, name) for p in parts])[order])

    return Attribution(
        components=parts[0].components,
        **{n: joined(n) for n in ("values", "constants", "logit", "row", "position", "targets")},
        against=None if against is None else joined("against"),
        tolerance=tolerance,
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Part:
    components: tuple[Component, ...]
    values: np.ndarray
    constants: np.ndarray
    logit: np.ndarray
    row: np.ndarray
    position: np.ndarray
    targets: np.ndarray
    against: np.ndarray | None


def _attribute(
    readout: Readout,
    batch: Batch,
    numbers: np.ndarray,
    targets: Ids | None,
    against: Ids | None,
    position: str | int,
) -> _Part:
    network = readout.network
    assert network.map is not None
    blocks = range(network.map.n_blocks)
    last, logits = f"resid_post.{network.map.n_blocks - 1}", readout.logits_site
    inner = [f"{stem}.{b}" for b in blocks for stem in ("z", "attn_out", "mlp_out")]
    require_sites(network, ["embed", *inner, last, logits], _WHAT)
    with watched_embeddings(network) as given:
        spots, at = read_spots(network, batch, [*inner, last, logits], position)
    components, embedded = embedding_shares(network, given, spots, at["embed"])
    row = numbers[spots.row.numpy()]
    every = spots.position.numpy() if position == "all" else None
    chosen = _one_id(targets, row, every, at[logits], "targets")
    chosen = at[logits].argmax(1) if chosen is None else chosen
    less = _one_id(against, row, every, at[logits], "against")
    v, constant = readout.direction(chosen, less)
    w = readout.norm.pull(v) / readout.norm.scale(at[last].double())
    shares = [(x.double() * w).sum(1)[:, None] for x in embedded]
    for b in blocks:
        named, values = block_shares(network, b, at, w)
        components += named
        shares.append(values)
    logit = at[logits].double().gather(1, chosen[:, None])[:, 0]
    if less is not None:
        logit = logit - at[logits].double().gather(1, less[:, None])[:, 0]
    return _Part(
        components=tuple(components),
        values=torch.cat(shares, 1).numpy(),
        constants=constant.numpy(),
        logit=logit.numpy(),
        row=row,
        position=spots.position.numpy(),
        targets=chosen.numpy(),
        against=None if less is None else less.numpy(),
    )


def _one_id(
    given: Ids | None, row: np.ndarray, every: np.ndarray | None, logits: torch.Tensor, name: str
) -> torch.Tensor | None:
    ids = ids_at(given, row, logits.shape[1], name)
    if ids is None or ids.shape[1] == 1:
        return None if ids is None else ids[:, 0]
    if every is None or ids.shape[1] <= int(every.max()):
        raise InputError(f"{name}: one id per result, got {ids.shape[1]} per row")
    return ids[torch.arange(len(ids)), torch.from_numpy(every)]
