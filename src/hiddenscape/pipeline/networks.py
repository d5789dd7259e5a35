"""Every way to name a network in a run file, on the command line or in ``open_network``."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiddenscape.errors import ConfigError, HiddenscapeError, InputError

if TYPE_CHECKING:
    from hiddenscape.models.network import TorchNetwork

__all__ = ["network_key", "open_demo", "open_network"]

_PYTHON = "python:"


def open_network(
    name: str,
    *,
    task: str | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "cpu",
    attn: str = "sdpa",
    untrained: bool = False,
    seed: int = 0,
    trust_remote_code: bool = False,
    allow_bin: bool = False,
    adapter: str | None = None,
    tokenizer: str | None = None,
    tokenizer_else: str | None = None,
    quantization: str | None = None,
    device_map: str | None = None,
    offload_folder: str | None = None,
) -> TorchNetwork:
    """Open a network by its name.

    Parameters
    ----------
    name : str
        ``demo``: the network inside the package. ``python:MODULE:FUNCTION`` or
        ``python:FILE.py:FUNCTION``: what your function returns, a ``torch.nn.Module`` or the
        result of :func:`hiddenscape.wrap_module`; this runs your code. Anything else: a folder
        with a checkpoint, or a Hugging Face id.
    task, revision, attn, trust_remote_code, allow_bin, adapter, tokenizer, quantization, \
device_map, offload_folder
        For Hugging Face networks, see :func:`hiddenscape.load_network`.
    dtype, device : str
        Numbers it computes with, and where.
    untrained : bool
        The same network with fresh random weights, drawn from ``seed``.
    tokenizer_else : str, optional
        Where the tokenizer comes from if ``name`` is a folder without one.

    Raises
    ------
    ConfigError
        If a ``python:`` name cannot be resolved, its function returns something else, or an option
        is given that only Hugging Face networks have.
    HiddenscapeError
        Whatever loading raises.

    Examples
    --------
    >>> open_network("python:math:nonsense")
    Traceback (most recent call last):
    hiddenscape.errors.ConfigError: python:math:nonsense: math has no function nonsense
    """
    special = {
        "task": task, "revision": revision, "adapter": adapter, "tokenizer": tokenizer,
        "quantization": quantization, "device_map": device_map, "offload_folder": offload_folder,
        "allow_bin": allow_bin or None, "trust_remote_code": trust_remote_code or None,
    }  # fmt: skip
    if name == "demo" or name.startswith(_PYTHON):
        given = [key for key, value in special.items() if value is not None]
        if given:
            raise ConfigError(
                f"{given[0]} is for Hugging Face folders and ids, and {name} is none; leave it out"
            )
    if name == "demo":
        network = open_demo(untrained=untrained, seed=seed)
    elif name.startswith(_PYTHON):
        network = _wrapped(name, _function(name)())
        if untrained:
            network = _fresh(network, seed)
    else:
        from hiddenscape.models.loading import load_network

        return load_network(
            name,
            task=task,
            revision=revision,
            dtype=dtype,
            device=device,
            attn=attn,
            untrained=untrained,
            seed=seed,
            trust_remote_code=trust_remote_code,
            allow_bin=allow_bin,
            adapter=adapter,
            tokenizer=tokenizer or _tokenizer_else(name, tokenizer_else),
            quantization=quantization,
            device_map=device_map,
            offload_folder=offload_folder,
        )
    return _placed(network, dtype, device)


def _tokenizer_else(name: str, other: str | None) -> str | None:
    from hiddenscape.models.reading import has_tokenizer

    return None if other is None or has_tokenizer(Path(name).expanduser()) else other


def network_key(
    name: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    tokenizer: str | None = None,
    tokenizer_else: str | None = None,
    untrained: bool = False,
    seed: int = 0,
    **settings: Any,
) -> str | None:
    """What identifies a network, without loading it; None where only loading can tell.

    A folder by the contents of its files, a network of the hub by its commit, an adapter by its
    files. Equal keys mean equal points on equal data.
    """
    from hiddenscape.models.origin import folder_hash, source_key

    if name.startswith(_PYTHON):
        return None
    try:
        source = "demo" if name == "demo" else source_key(name, revision)
        parts: dict[str, Any] = {
            "source": source,
            "adapter": None if adapter is None else folder_hash(adapter),
            "tokenizer": None if tokenizer is None else folder_hash(tokenizer),
            "tokenizer_else": None if tokenizer_else is None else folder_hash(tokenizer_else),
        }
    except HiddenscapeError:
        return None  # loading says what is wrong with it
    places = ("device", "device_map", "offload_folder")
    parts |= {key: value for key, value in settings.items() if key not in places}
    parts["seed"] = seed if untrained else None
    return json.dumps(parts, sort_keys=True)


def open_demo(step: int | None = None, *, untrained: bool = False, seed: int = 0) -> TorchNetwork:
    """The network inside the package, at a training step, or its untrained twin."""
    from hiddenscape.models.demo import load_demo_network
    from hiddenscape.models.wrapping import wrap_module

    module = load_demo_network(step, untrained=untrained, seed=seed)
    facts = {
        "id": "demo",
        "commit": None if step is None else f"step {step}",
        "untrained_seed": seed if untrained else None,
    }
    return wrap_module(module, name="demo", facts=facts)


def _function(name: str) -> Callable[[], Any]:
    where, _, function = name.removeprefix(_PYTHON).rpartition(":")
    if not where or not function:
        raise ConfigError(f"{name}: expected python:MODULE:FUNCTION or python:FILE.py:FUNCTION")
    module = _load_file(Path(where), name) if where.endswith(".py") else _load_module(where, name)
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"{name}: {where} has no function {function}")
    return found  # type: ignore[no-any-return]


def _load_file(path: Path, name: str) -> Any:
    if not path.is_file():
        raise ConfigError(f"{name}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{name}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _load_module(where: str, name: str) -> Any:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not where.startswith(error.name):
            raise
        raise ConfigError(
            f"{name}: there is no module {where}; name a file instead (python:FILE.py:FUNCTION), "
            "or set PYTHONPATH"
        ) from error


def _wrapped(name: str, made: Any) -> TorchNetwork:
    from torch import nn

    from hiddenscape.models.network import TorchNetwork
    from hiddenscape.models.wrapping import wrap_module

    if isinstance(made, TorchNetwork):
        return made
    if isinstance(made, nn.Module):
        # Only the last part of the name: a store holds no paths of the machine that made it.
        return wrap_module(made, name=name.rpartition(":")[2])
    raise ConfigError(
        f"{name} returned a {type(made).__name__}, expected a torch.nn.Module or what "
        "hiddenscape.wrap_module returns"
    )


def _fresh(network: TorchNetwork, seed: int) -> TorchNetwork:
    from hiddenscape.models.fresh import untrained_twin

    facts = {**network.facts, "untrained_seed": seed}
    return replace(network, module=untrained_twin(network.module, seed), checks=(), facts=facts)


def _placed(network: TorchNetwork, dtype: str, device: str) -> TorchNetwork:
    import torch

    try:
        network.module.to(device)
    except (RuntimeError, AssertionError) as error:
        # AssertionError: torch was built without this kind of device.
        raise InputError(f"device {device!r} cannot be used: {error}") from error
    if dtype != "auto":
        network.module.to(getattr(torch, dtype))
    network.module.eval().requires_grad_(False)
    return network
