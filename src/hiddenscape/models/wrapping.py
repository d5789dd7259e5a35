"""From a ``torch.nn.Module`` to a network with named sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from hiddenscape.errors import InputError, NetworkError
from hiddenscape.models.discovery import discover, looks_like_a_transformer
from hiddenscape.models.families import FamilyMap, find_map
from hiddenscape.models.families.vae import latent_places
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.structure import INPUT, longest_row, user_places

__all__ = ["move_to", "wrap_module"]


def move_to(module: nn.Module, device: str) -> nn.Module:
    """Move ``module`` to a device.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    try:
        target = torch.device(device)
        return module.to(target)
    except (RuntimeError, AssertionError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise NetworkError(
                f"device {device!r} has not enough memory for the network; use a smaller dtype, "
                "or 'cpu'"
            ) from error
        text = " ".join(str(error).split())[:160]
        raise InputError(f"device {device!r} cannot be used ({text}); use 'cpu'") from error


def wrap_module(
    module: nn.Module,
    sites: Mapping[str, str] | Sequence[str] | None = None,
    *,
    name: str | None = None,
    kind: str | None = None,
    tokenizer: Any = None,
    example: torch.Tensor | None = None,
    facts: Mapping[str, Any] | None = None,
) -> TorchNetwork:
    """Give any ``torch.nn.Module`` named sites.

    Parameters
    ----------
    module : Module
        The network. Put into eval mode, otherwise left alone.
    sites : mapping, sequence or None
        ``{"name": "module.path"}``, or a list of paths (their sites are called ``module:PATH``); a
        path may end in ``:in`` (the module's input) or ``:out.K`` (K-th element of what it gives).
        None: the site map of its family where its class is known, else the input and every child
        in order of firing, containers (``Sequential``, ``ModuleList``) replaced by their children
        and modules that only reshape or pass through left out. In a known family, sites given
        here join its map, override it where the names are equal, and are what ``all`` stands for.
    name : str, optional
        Name for manifests; the class name by default.
    kind : {"arrays", "tokens", "pixels"}, optional
        What it eats; that of its family, else ``arrays``. A network of tokens is called with
        ``input_ids`` and ``attention_mask`` where its ``forward`` has these names, else with the
        ids alone.
    tokenizer : object, optional
        Hugging Face tokenizer, for networks of tokens that are to read text.
    example : tensor, optional
        A batch of one or more rows: with it the order of firing is known at once, else it is
        found when the first rows are read.
    facts : mapping, optional
        More fields for the manifest (``id``, ``revision``, ...).

    Returns
    -------
    TorchNetwork

    Raises
    ------
    SiteError
        If a path does not exist; close ones are named.

    Notes
    -----
    For networks of arrays and images the site ``input`` (the flattened input) is offered at depth
    0, so that a profile starts at the data.

    Examples
    --------
    >>> net = wrap_module(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), {"hidden": "1"})
    >>> net.site_names
    ('input', 'hidden')
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"expected a torch.nn.Module, got a {type(module).__name__}")
    module.eval()
    if kind not in (None, "tokens", "pixels", "arrays"):
        raise InputError(f"kind {kind!r} is not one of tokens, pixels, arrays")
    found, withdrawn, told = _find_sites(module, kind)
    eats = kind or ("arrays" if found is None else found.family.kind)
    places = {} if eats == "tokens" else {"input": INPUT}
    chosen: tuple[str, ...] | None = None
    if found is not None:
        places |= found.places
    if found is None or sites is not None:
        given = user_places(module, sites, {} if found is None else found.places)
        places |= given
        chosen = tuple(given) if found is not None else None
    if found is None:
        code, lost = latent_places(module, None if sites is None else places)
        # What stands for the code already need not be stored twice.
        spots = {(p.path, p.io, p.index) for p in code.values() if not p.parts}
        places = {n: p for n, p in places.items() if (p.path, p.io, p.index) not in spots} | code
        withdrawn |= lost
    title = name or type(module).__name__
    network = TorchNetwork(
        module=module,
        name=title,
        places=places,
        chosen=chosen,
        kind=eats,
        map=found,
        aliases={} if found is None else found.aliases,
        withdrawn=withdrawn,
        tokenizer=tokenizer,
        max_length=longest_row(module, found),
        facts={"id": title, "class": type(module).__name__, **told, **(facts or {})},
    )
    if example is not None:
        network = network.resolved(Batch(args=(example,)))
    return network


def _find_sites(
    module: nn.Module, kind: str | None
) -> tuple[FamilyMap | None, dict[str, str], dict[str, Any]]:
    """Its family's map, else one found by structure; sites left out; facts for the manifest."""
    found = find_map(module)
    if found is not None or kind == "arrays" or not looks_like_a_transformer(module):
        return found, {} if found is None else dict(found.withdrawn), {}
    found, why = discover(module)
    if found is not None and kind in (None, found.family.kind):
        return found, dict(found.withdrawn), {"discovered": True}
    stems = ("embed", "resid_pre.0", "resid_post.0", "final_norm", "logits")
    return None, dict.fromkeys(stems, f"its structure gives no site map: {why}"), {}
