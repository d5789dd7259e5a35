"""Rows with and without an edit, side by side; and the attention of every head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import InputError, InterventionNotSupported
from hiddenscape.interventions.attention import ActiveEdits, using
from hiddenscape.interventions.editing import EditedNetwork, edited_unproven, require_no_edits
from hiddenscape.interventions.locate import Located, locate
from hiddenscape.interventions.probes import prove
from hiddenscape.interventions.rows import batches_of
from hiddenscape.interventions.spec import AttentionEdit, as_edits, edits_hash
from hiddenscape.interventions.switch import LOCK, native_eager, switched
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.sites import Place

__all__ = ["EditedRun", "attention_maps", "run_edited"]

_EPS = 4e-3  # one unit in the last place of bfloat16


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EditedRun:
    """Points with and without an edit, by ``SITE@POOLING``; rows in the order they were given.

    Attributes
    ----------
    plain, edited : mapping to float array (n, ...)
        Under the network's own eager attention, and with the edit.
    edits : tuple of AttentionEdit
        What was changed.
    """

    plain: Mapping[str, np.ndarray]
    edited: Mapping[str, np.ndarray]
    edits: tuple[AttentionEdit, ...]

    @property
    def hash(self) -> str:
        """Hash of the edits."""
        return edits_hash(self.edits)

    def change(self, key: str) -> np.ndarray:
        """Edited minus plain, row by row."""
        return np.asarray(self.edited[key] - self.plain[key])


def run_edited(
    network: TorchNetwork,
    rows: Batch | Dataset,
    edit: AttentionEdit | Sequence[AttentionEdit],
    *,
    sites: str | Sequence[str] = "logits",
    pooling: str = "last",
) -> EditedRun:
    """Points with and without an edit of attention: a total effect, row by row.

    Parameters
    ----------
    network : TorchNetwork
        From ``load_network`` or ``wrap_module``.
    rows : Batch or Dataset
        Rows of text or of token ids (grouped by exact length here), images or arrays; or one batch
        of rows of one length.
    edit : AttentionEdit or sequence of AttentionEdit
        What is changed.
    sites : str or sequence of str
        What is read, as in ``extract``. None may lie before the edit alone.
    pooling : str
        One pooling, as in ``extract``.

    Returns
    -------
    EditedRun

    Raises
    ------
    InputError, InterventionNotSupported
        As :func:`edited`. Beside the probes, the edit times 1 is run on every batch of these rows,
        and must give the bits of the network's own eager attention.

    Examples
    --------
    >>> import torch
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from hiddenscape.data.arrays import token_dataset
    >>> from hiddenscape.models.wrapping import wrap_module
    >>> config = GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=9, n_positions=16,
    ...                     bos_token_id=None, eos_token_id=None)
    >>> network = wrap_module(GPT2LMHeadModel(config))
    >>> rows = token_dataset([[1, 2, 3, 4], [5, 6, 7], [1, 1, 2, 8]])
    >>> out = run_edited(network, rows, AttentionEdit(heads=[(0, 1)], key=0))
    >>> out.change("logits@last").shape
    (3, 9)
    """
    edits = as_edits(edit)
    require_no_edits(network)
    located = locate(network)
    prove(located, edits)
    requests = [(place, pooling) for place in located.network.select(sites)]
    no_op = tuple(e.no_op() for e in edits)
    found: dict[str, list[dict[str, np.ndarray]]] = {"plain": [], "edited": []}
    order: list[np.ndarray] = []
    for numbers, batch in batches_of(located.network, rows):
        with native_eager(located.network.module):
            plain = located.network.pooled(batch, requests)
        _require_same(_pooled(located, no_op, batch, requests), plain)
        changed = _pooled(located, edits, batch, requests)
        found["plain"].append({k: v.cpu().numpy() for k, v in plain.items()})
        found["edited"].append({k: v.cpu().numpy() for k, v in changed.items()})
        order.append(numbers)
    back = np.argsort(np.concatenate(order), kind="stable")
    joined = {
        name: {k: np.concatenate([part[k] for part in parts])[back] for k in parts[0]}
        for name, parts in found.items()
    }
    return EditedRun(plain=joined["plain"], edited=joined["edited"], edits=edits)


def _pooled(
    located: Located,
    edits: Sequence[AttentionEdit],
    batch: Batch,
    requests: Sequence[tuple[Place, str]],
) -> dict[str, torch.Tensor]:
    with edited_unproven(located, edits) as changed:
        return changed.pooled(batch, requests)


def _require_same(no_op: Mapping[str, torch.Tensor], plain: Mapping[str, torch.Tensor]) -> None:
    for key, value in plain.items():
        # NaN of both is the same, NaN of one is not 0.
        if not torch.allclose(no_op[key], value, rtol=0.0, atol=0.0, equal_nan=True):
            raise InterventionNotSupported(
                f"on these rows the edit times 1 does not give the network's own {key}, bit for "
                "bit; no number from such an edit could be trusted"
            )


def attention_maps(network: TorchNetwork, rows: Batch | Dataset) -> dict[int, torch.Tensor]:
    r"""Attention weights of every block: :math:`w_{qk}` as (B, H, T, T), query first.

    Parameters
    ----------
    network : TorchNetwork
        Any network whose attention can be edited; inside ``with edited(...)`` the network that it
        gives, whose edited weights are then shown.
    rows : Batch or Dataset
        Rows of one length; a batch may be padded, and what padded positions attend to means
        nothing.

    Returns
    -------
    dict
        Block number to weights. Under fused attention a library returns none, and says nothing;
        here every block has its map or an error is raised.

    Raises
    ------
    InputError
        If rows of a data set differ in length.
    InterventionNotSupported
        If the network does not let its attention be read, a block gives no map, or the weights of
        a real position do not sum to 1.

    Examples
    --------
    >>> import torch
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from hiddenscape.models.wrapping import wrap_module
    >>> config = GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=9, n_positions=16,
    ...                     bos_token_id=None, eos_token_id=None)
    >>> network = wrap_module(GPT2LMHeadModel(config))
    >>> maps = attention_maps(network, Batch(kwargs={"input_ids": torch.tensor([[1, 2, 3]])}))
    >>> sorted(maps), tuple(maps[1].shape), maps[1][0, 0, 0].tolist()
    ([0, 1], (1, 2, 3, 3), [1.0, 0.0, 0.0])
    """
    kept: dict[int, torch.Tensor] = {}

    def keep(module: nn.Module, _heads: int, weights: torch.Tensor) -> None:
        kept[id(module)] = weights.detach().clone()

    located = None if isinstance(network, EditedNetwork) else locate(network)
    batch = _one_batch(network, rows)
    if isinstance(network, EditedNetwork):
        modules, free = network.modules, network.edits
        active = network.active
        before, active.keep = active.keep, keep
        try:
            network.forward(batch)
        finally:
            active.keep = before
    else:
        assert located is not None
        modules, free = located.modules, ()
        with LOCK, switched(network.module), using(ActiveEdits(keep=keep)):
            located.network.forward(batch)
    assert network.map is not None
    missing = [b for b in range(network.map.n_blocks) if b not in modules]
    missing += [b for b, m in modules.items() if id(m) not in kept]
    if missing:
        raise InterventionNotSupported(
            f"{type(network.module).__name__}: {network.map.n_blocks} blocks, but no attention "
            f"weights of blocks {', '.join(map(str, sorted(missing)))}"
        )
    # Cloned once more, outside inference mode: they are the caller's to work with.
    maps = {b: kept[id(m)].clone() for b, m in sorted(modules.items())}
    summed = {pair for e in free if e.renormalise is False for pair in e.heads}
    _require_sums(maps, batch.masks.real, summed)
    return maps


def _one_batch(network: TorchNetwork, rows: Batch | Dataset) -> Batch:
    if isinstance(rows, Batch):
        return rows
    (_, batch), *more = batches_of(network, rows, most=len(rows))
    if more:
        raise InputError(
            f"data set {rows.name!r} has rows of {1 + len(more)} lengths, maps of which are no one "
            "array; give rows of one length at a time"
        )
    return batch


def _require_sums(
    maps: Mapping[int, torch.Tensor], real: torch.Tensor | None, free: set[tuple[int, int]]
) -> None:
    """Weights of every real query sum to 1, but for heads whose sum an edit has changed."""
    for block, weights in maps.items():
        gap = (weights.float().sum(-1) - 1.0).abs()  # (B, H, T)
        if real is not None:
            gap = gap.masked_fill(~real.to(gap.device)[:, None], 0.0)
        for head in range(gap.shape[1]):
            limit = 1e-4 if weights.dtype in (torch.float32, torch.float64) else _EPS * 8
            size = float(gap[:, head].max())
            if (block, head) not in free and not size <= limit:
                raise InterventionNotSupported(
                    f"attention of block {block}, head {head}: weights of a real position sum to "
                    f"1 within {size:.2g} only; they are no attention weights"
                )
