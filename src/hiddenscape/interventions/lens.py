"""Logit lens: what the head makes of the stream before its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import InputError, InterventionNotSupported, NetworkError
from hiddenscape.interventions.readout import open_readout, require_sites
from hiddenscape.interventions.rows import batches_of, self_checked
from hiddenscape.interventions.spots import Ids, ids_at, spots_of
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.streamchecks import read_out
from hiddenscape.types import whole

__all__ = ["LensReading", "logit_lens"]

MODES = ("own", "frozen")
_STREAM = ("embed", "resid_pre.", "resid_mid.", "resid_post.", "attn_out.", "mlp_out.")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LensReading:
    """What the head makes of S sites at n positions, for K targets.

    Attributes
    ----------
    sites : tuple of str
        By depth.
    logit : float64 (S, n, K)
        Logits of the targets.
    rank : int64 (S, n, K)
        Rank of the targets in the vocabulary, 1 for the largest.
    argmax : int64 (S, n)
        Id of the largest logit; ``agrees`` tells where it is that of the network itself.
    top : int64 (S, n, k)
        Ids of the largest logits.
    entropy, kl : float64 (S, n)
        In nats: of the distribution, and from the network's own to it, sum p ln(p / q) with p the
        network's. NaN in mode ``frozen``, whose numbers are no distribution.
    final : float64 (n, K)
        The network's own logits of the targets.
    row, position : int64 (n,)
        Row of the data set and token position.
    targets : int64 (n, K)
    """

    sites: tuple[str, ...]
    logit: np.ndarray
    rank: np.ndarray
    argmax: np.ndarray
    top: np.ndarray
    entropy: np.ndarray
    kl: np.ndarray
    agrees: np.ndarray
    final: np.ndarray
    row: np.ndarray
    position: np.ndarray
    targets: np.ndarray


def logit_lens(
    network: TorchNetwork,
    rows: Batch | Dataset,
    targets: Ids | None = None,
    *,
    sites: str | Sequence[str] = "resid_post.*",
    mode: str = "own",
    position: str | int = "last",
    center_vocab: bool = False,
    top: int = 5,
) -> LensReading:
    r"""Read the stream through the head, at each site.

    ==========  ==========================================  ======================================
    mode        formula at one position                     meaning
    ==========  ==========================================  ======================================
    ``own``     head(final_norm(x)), with every bias and    what leaving early would predict
                the soft cap
    ``frozen``  :math:`U (g \odot c(x) / s(r))`, no bias    what x contributes to the real logits;
                of norm or head, r the last stream          adds up over components
    ==========  ==========================================  ======================================

    At the last stream ``own`` is the network's logits, bit for bit, and ``frozen`` lacks of them
    (before a cap) the constants U beta + u. At any x, without biases, the modes differ by the
    factor s(r) / s(x): the same ranks, other values.

    Parameters
    ----------
    network : TorchNetwork
        With a head; self-checked if it was not. Heads with a transform (BERT, ESM) and post-norm
        networks have the mode ``own`` only.
    rows : Batch or Dataset
        Rows may be padded.
    targets : int or sequence, optional
        Ids: one for all, one per row, or (n, K). By default the network's own answer.
    sites : str or sequence of str
        Of the stream (``embed``, ``resid_*``), or what is added to it (``attn_out``, ``mlp_out``).
    mode : {"own", "frozen"}
    position : "last", "all" or int
        As in :func:`direct_attribution`.
    center_vocab : bool
        Subtract from logits their mean over the vocabulary: differences and ranks do not change,
        means of single logits do. Libraries that centre the unembedding show these.
    top : int
        How many of the largest ids are kept.

    Returns
    -------
    LensReading
        Never all logits: they would be vocabulary times tokens times sites.

    Raises
    ------
    InterventionNotSupported
        If the network has no head, or none of the kind that the mode needs.
    InputError
        If a site is not of the stream, or ids are out of range.

    References
    ----------
    nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, arXiv:2303.08112.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from hiddenscape.data.arrays import token_dataset
    >>> from hiddenscape.models.wrapping import wrap_module
    >>> config = GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=9, n_positions=16,
    ...                     bos_token_id=None, eos_token_id=None)
    >>> network = wrap_module(GPT2LMHeadModel(config))
    >>> seen = logit_lens(network, token_dataset([[1, 2, 3], [4, 5]]), sites="resid_post.*")
    >>> seen.sites, seen.agrees[-1].tolist(), seen.rank[-1, :, 0].tolist()
    (('resid_post.0', 'resid_post.1'), [True, True], [1, 1])
    """
    if mode not in MODES:
        raise InputError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    if whole("top", top) < 0:
        raise InputError(f"top must not be negative, got {top}")
    reader = _Reader(network, mode, center_vocab, top)
    names = _stream_sites(reader.network, sites)
    parts = [
        reader.read(batch, numbers, names, targets, position)
        for numbers, batch in batches_of(reader.network, rows)
    ]
    order = np.argsort(np.concatenate([p["row"] for p in parts]), kind="stable")
    axis = {k: 0 if k in ("final", "row", "position", "targets") else 1 for k in parts[0]}
    joined = {
        k: np.take(np.concatenate([p[k] for p in parts], axis[k]), order, axis[k]) for k in axis
    }
    return LensReading(sites=tuple(names), **joined)


def _stream_sites(network: TorchNetwork, sites: str | Sequence[str]) -> list[str]:
    names = [place.name for place in network.select(sites)]
    wrong = [n for n in names if not n.startswith(_STREAM)]
    if wrong:
        raise InputError(
            f"site {wrong[0]!r} is not of the stream, so the head cannot read it; use embed, "
            "resid_*, attn_out or mlp_out"
        )
    return sorted(names, key=list(network.places).index)


class _Reader:
    """One network in one mode, batch by batch."""

    def __init__(self, network: TorchNetwork, mode: str, centred: bool, top: int) -> None:
        self.mode, self.centred, self.count = mode, centred, top
        if mode == "frozen":
            self.readout = open_readout(network, "a frozen lens")
            self.network = self.readout.network
            self.logits = self.readout.logits_site
        else:
            self.network, self.logits = _with_head(network), "logits"
        assert self.network.map is not None
        self.last = f"resid_post.{self.network.map.n_blocks - 1}"

    def read(
        self,
        batch: Batch,
        numbers: np.ndarray,
        names: Sequence[str],
        targets: Ids | None,
        position: str | int,
    ) -> dict[str, np.ndarray]:
        values = self.network.trace(batch, list(dict.fromkeys([*names, self.last, self.logits])))
        width = values[self.last].shape[1]
        spots = spots_of(self.network, batch, width, len(values[self.last]), position)
        own = self._centred(spots.take(values[self.logits]).cpu().double())
        row = numbers[spots.row.numpy()]
        ids = ids_at(targets, row, own.shape[1], "targets")
        ids = own.argmax(1)[:, None] if ids is None else ids
        parts: list[dict[str, torch.Tensor]] = []
        _require_numbers(own, self.logits)
        for name in names:
            if self.mode == "own":
                logits = spots.take(self._capped(read_out(self.network, values[name]))).cpu()
            else:
                scale = self.readout.norm.scale(spots.take(values[self.last]).cpu().double())
                x = spots.take(values[name]).cpu().double()
                logits = self.readout.frozen_logits(x, scale)
            _require_numbers(logits, name)
            parts.append(self._numbers(self._centred(logits.double()), own, ids))
        found = {k: torch.stack([p[k] for p in parts]).numpy() for k in parts[0]}
        return {
            **found,
            "final": own.gather(1, ids).numpy(),
            "row": row,
            "position": spots.position.numpy(),
            "targets": ids.numpy(),
        }

    def _capped(self, logits: torch.Tensor) -> torch.Tensor:
        assert self.network.map is not None
        cap = self.network.map.softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _centred(self, logits: torch.Tensor) -> torch.Tensor:
        return logits - logits.mean(1, keepdim=True) if self.centred else logits

    def _numbers(
        self, logits: torch.Tensor, own: torch.Tensor, ids: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        chosen = logits.gather(1, ids)
        nothing = torch.full((len(logits),), float("nan"), dtype=torch.float64)
        log_q, log_p = logits.log_softmax(1), own.log_softmax(1)
        frozen = self.mode == "frozen"
        best = logits.argmax(1)
        return {
            "logit": chosen,
            "rank": 1 + (logits[:, None, :] > chosen[:, :, None]).sum(2),
            "argmax": best,
            "top": logits.topk(min(self.count, logits.shape[1]), dim=1).indices,
            "entropy": nothing if frozen else -(log_q.exp() * log_q).sum(1),
            "kl": nothing if frozen else (log_p.exp() * (log_p - log_q)).sum(1),
            "agrees": best == own.argmax(1),
        }


def _require_numbers(logits: torch.Tensor, site: str) -> None:
    """Refuse NaN: nothing is larger than NaN, so every target would have rank 1."""
    if bool(logits.isnan().any()):
        raise NetworkError(
            f"the head makes NaN of site {site!r}, so there are no ranks; the network overflows or "
            "its weights are not finite: try a wider dtype"
        )


def _with_head(network: TorchNetwork) -> TorchNetwork:
    """The self-checked network, if its head gives its logits from the last stream alone."""
    network = self_checked(network)
    if network.map is None or network.map.head is None or network.map.family.maps:
        raise InterventionNotSupported(
            f"a lens of {type(network.module).__name__}: it has no head that reads a stream; load "
            "the class with its head"
        )
    require_sites(network, ["logits", f"resid_post.{network.map.n_blocks - 1}"], "a lens")
    return network
