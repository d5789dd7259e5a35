"""The null of every trained network: the same architecture with fresh random weights.

And the identity of a network: a hash over its weights.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import nn

from hiddenscape.errors import InputError, NetworkError

__all__ = ["untrained_twin", "weights_hash"]


def untrained_twin(
    module: nn.Module, seed: int, *, init: Callable[[nn.Module], None] | None = None
) -> nn.Module:
    """A copy of ``module`` with fresh random weights.

    A module with a method ``untrained_twin(seed)`` is asked. Hugging Face networks are rebuilt
    from a copy of their config. In any other module, every submodule with parameters or buffers
    must have ``reset_parameters`` (all of torch's layers do),
    which draws the weights the way training would have started and resets running statistics.

    Parameters
    ----------
    module : Module
        The trained network; left as it is.
    seed : int
        Key of the random stream, >= 0. Torch's global generator is left as it was.
    init : callable, optional
        Called with each submodule that owns parameters but has no ``reset_parameters``.

    Returns
    -------
    Module
        In eval mode, on the device and in the dtype of ``module``.

    Raises
    ------
    NetworkError
        If a submodule owns parameters that nothing re-initialises; a twin that keeps trained
        weights would be no null.

    Examples
    --------
    >>> a = untrained_twin(nn.Linear(3, 2), seed=0)
    >>> b = untrained_twin(nn.Linear(3, 2), seed=0)
    >>> torch.equal(a.weight, b.weight)
    True
    """
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    base = getattr(module, "get_base_model", None)
    if callable(base):
        module = base()  # an adapter is trained weights: the twin is that of its base
    own = getattr(module, "untrained_twin", None)
    if callable(own):
        return cast(nn.Module, own(seed)).eval()
    first = next(iter(module.parameters()), None)
    config = getattr(module, "config", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config is not None and hasattr(module, "post_init"):
            twin = type(module)(copy.deepcopy(config))
        else:
            twin = copy.deepcopy(module).cpu()
            _reset(twin, init)
    if first is not None:
        twin = twin.to(first.device, first.dtype) if first.is_floating_point() else twin
    return twin.eval()


def _reset(twin: nn.Module, init: Callable[[nn.Module], None] | None) -> None:
    """Children first, so that a parent that sets its children's weights has the last word."""
    floating = {n: p for n, p in twin.named_parameters() if p.is_floating_point()}
    with torch.no_grad():
        for value in floating.values():
            value.fill_(torch.nan)  # what nothing resets will show
    for child in reversed(list(twin.modules())):
        reset = getattr(child, "reset_parameters", getattr(child, "_reset_parameters", None))
        if callable(reset):
            reset()
        elif init is not None and any(True for _ in child.parameters(recurse=False)):
            init(child)
    kept = [path for path, value in floating.items() if bool(value.isnan().any())]
    if kept:
        raise NetworkError(
            f"no fresh weights for {', '.join(kept[:4])}{' ...' if len(kept) > 4 else ''}: a "
            "module that owns parameters needs reset_parameters(); add one, or pass init="
        )


def weights_hash(module: nn.Module) -> str:
    """BLAKE2b (32 hex digits) over names, dtypes, shapes and bytes of the state dict.

    Packed weights of quantised modules enter with their integers, scales and zero points.

    Raises
    ------
    NetworkError
        If something in the state dict cannot be read: a weight on no device, an opaque object. A
        hash that left it out would call different networks the same.

    Examples
    --------
    >>> net = untrained_twin(nn.Linear(3, 2), seed=0)
    >>> weights_hash(net) == weights_hash(untrained_twin(net, seed=0))
    True
    >>> weights_hash(net) == weights_hash(untrained_twin(net, seed=1))
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        _feed(digest, name, value)
    return digest.hexdigest()


def _feed(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        for part, tensor in _plain_tensors(name, value):
            digest.update(f"{part}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            if flat.numel():
                digest.update(flat.view(torch.uint8).numpy().data)
    elif isinstance(value, tuple | list):
        for i, item in enumerate(value):
            _feed(digest, f"{name}[{i}]", item)
    elif isinstance(value, Mapping):
        for key, item in sorted(value.items(), key=lambda pair: str(pair[0])):
            _feed(digest, f"{name}[{key}]", item)
    elif isinstance(value, io.BytesIO | bytes):
        data = value if isinstance(value, bytes) else value.getvalue()
        digest.update(f"{name}|bytes|{len(data)}|".encode() + data)
    elif value is None or isinstance(value, str | bool | int | float | torch.dtype):
        digest.update(f"{name}|{value!r}|".encode())
    else:
        raise NetworkError(
            f"{name!r} in the state dict is a {type(value).__name__}, which cannot be hashed; give "
            "facts={'weights_hash': ...} that identifies the weights"
        )


def _plain_tensors(name: str, value: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The dense tensors that a tensor consists of, all of them readable."""
    if value.device.type == "meta":
        raise NetworkError(
            f"weight {name!r} is on no device (it was offloaded or never loaded) and cannot be "
            "hashed; give facts={'weights_hash': ...} that identifies the weights"
        )
    parts = getattr(value, "__tensor_flatten__", None)
    if callable(parts):
        names, context = parts()
        yield f"{name}|{type(value).__name__}|{context}", torch.empty(0)
        for inner in names:
            yield from _plain_tensors(f"{name}.{inner}", getattr(value, inner))
    elif value.is_quantized:
        yield f"{name}|{value.qscheme()}", value.int_repr()
        if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            scale = torch.tensor([value.q_scale(), float(value.q_zero_point())])
            yield f"{name}.scale", scale.double()
        else:
            yield f"{name}.scales", value.q_per_channel_scales()
            yield f"{name}.zeros", value.q_per_channel_zero_points()
    else:
        yield name, value
