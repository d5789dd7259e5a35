"""A network with edits of attention: a network like any other, for as long as the edits last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from hiddenscape.errors import InputError
from hiddenscape.interventions.attention import ActiveEdits, active_edits, using
from hiddenscape.interventions.entries import require_no_padding
from hiddenscape.interventions.locate import Located, active_for, locate
from hiddenscape.interventions.probes import prove
from hiddenscape.interventions.spec import AttentionEdit, as_edits, edits_hash
from hiddenscape.interventions.switch import LOCK, switched
from hiddenscape.models.hooks import StopForward
from hiddenscape.models.network import Batch, TorchNetwork

__all__ = ["EditedNetwork", "edited", "edited_unproven", "require_no_edits"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EditedNetwork(TorchNetwork):
    """A network whose attention is edited; made by :func:`edited`, dead when its block ends.

    It has the sites of the network it was made from, and is read and extracted like it.

    Attributes
    ----------
    origin : TorchNetwork
        The network it was made from, which makes its passes.
    edits : tuple of AttentionEdit
        What is changed, in this order.
    active : ActiveEdits
        The same, laid onto its attention modules.
    modules : mapping
        Attention module of each block.
    """

    origin: TorchNetwork
    edits: tuple[AttentionEdit, ...] = ()
    active: ActiveEdits = field(default_factory=ActiveEdits)
    modules: Mapping[int, nn.Module] = field(default_factory=dict)

    @property
    def needed_spans(self) -> tuple[str, ...]:
        """Spans that the edits name: extraction lays them out for every batch."""
        return tuple(dict.fromkeys(name for edit in self.edits for name in edit.spans))

    def forward(self, batch: Batch) -> Any:
        """One forward pass with the edits.

        Raises
        ------
        InputError
            If the edits are over, rows are padded, nothing would be edited, or the pass is left
            before an edited block.
        InterventionNotSupported
            If an edited module is not called once.
        """
        if active_edits() is not self.active:
            raise InputError(
                f"the edits of network {self.name!r} are not in force here: call it inside "
                "'with edited(...)', in the thread that entered it"
            )
        # The network need not have been told: without a mask it takes padding for tokens.
        if self.edits and batch.masks.real is not None:
            require_no_padding(batch.masks.real)
        with LOCK:
            self.active.spans = batch.masks.spans
            try:
                # The pass of the network it was made from: of one with an adapter, the switch too.
                return self.origin.forward(batch)
            except StopForward:
                self.active.require_one_call(left_early=True)
                raise
            finally:
                self.active.spans = {}


def require_no_edits(network: TorchNetwork) -> None:
    """Refuse edits inside edits: the outer ones would be left out, and nothing would say so."""
    if isinstance(network, EditedNetwork) or active_edits() is not None:
        raise InputError("edits inside edits: give them together, edited(network, [first, second])")


@contextmanager
def edited(
    network: TorchNetwork, edit: AttentionEdit | Sequence[AttentionEdit]
) -> Iterator[EditedNetwork]:
    """The network with its attention edited, inside a ``with`` block.

    Parameters
    ----------
    network : TorchNetwork
        From ``load_network`` or ``wrap_module``. It is self-checked if it was not.
    edit : AttentionEdit or sequence of AttentionEdit
        Several are made in this order, those of scores first. An empty sequence edits nothing and
        gives the network under eager attention: what an edited one should be compared with.

    Yields
    ------
    EditedNetwork
        To be read with ``trace``, ``pooled`` or ``extract``; the hash of the edits is part of a
        store's identity. Calling the module itself inside the block is edited as well.

    Raises
    ------
    InputError
        If a block or head does not exist; inside, if rows of a batch differ in length, a row lacks
        a span, a position is out of range, or nothing would be edited.
    InterventionNotSupported
        If the network does not let its attention be edited, or a probe fails. Always probed, for
        each block and head: times 1 gives the bits of the network's own eager attention, something
        else changes the result, and the module is called once. A network that ignores an edit
        gives no number.

    Notes
    -----
    Attention is eager inside. The implementation that was active before is put back, also after an
    error. Other threads do not see the edit. Passes of ``TorchNetwork`` in other threads are waited
    for; a pass of the bare module there must not be under way when the block begins or ends.

    Examples
    --------
    >>> import torch
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from hiddenscape.models.wrapping import wrap_module
    >>> config = GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=9, n_positions=16,
    ...                     bos_token_id=None, eos_token_id=None)
    >>> network = wrap_module(GPT2LMHeadModel(config))
    >>> batch = Batch(kwargs={"input_ids": torch.tensor([[1, 2, 3, 4]])})
    >>> with edited(network, ()) as plain:
    ...     before = plain.trace(batch, "logits")["logits"]
    >>> with edited(network, AttentionEdit(heads=[(1, 0)], key=1)) as changed:
    ...     after = changed.trace(batch, "logits")["logits"]
    >>> (before == after).all(-1).tolist()  # only the last token was edited
    [[True, True, True, False]]
    """
    edits = as_edits(edit)
    require_no_edits(network)
    located = locate(network)
    prove(located, edits)
    with edited_unproven(located, edits) as changed:
        yield changed


@contextmanager
def edited_unproven(located: Located, edits: Sequence[AttentionEdit]) -> Iterator[EditedNetwork]:
    """As :func:`edited`, for a network whose probes have been passed."""
    network, edits = located.network, tuple(edits)
    active = active_for(located, edits)
    own = {f.name: getattr(network, f.name) for f in fields(TorchNetwork)}
    own["facts"] = {
        **network.facts,
        "intervention_hash": edits_hash(edits) if edits else None,
        "attn_implementation": "eager",  # whatever the network was loaded with
    }
    own["batching"] = False  # rows of one length only
    changed = EditedNetwork(
        **own, origin=network, edits=edits, active=active, modules=located.modules
    )
    with switched(network.module), using(active), _counted(network.module, active):
        yield changed


@contextmanager
def _counted(module: nn.Module, active: ActiveEdits) -> Iterator[None]:
    """Count calls in each forward pass of the whole network, whoever asks for it."""

    def before(*_: Any) -> None:
        if active_edits() is active:
            active.fired.clear()

    def after(*_: Any) -> None:
        if active_edits() is active:
            active.require_one_call()

    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
