"""PEFT adapters: wrapped, never merged; the base and the adapted network from one load.

A projection that an adapter changes becomes a wrapper at the same path: what it gives is the
adapted output, its own weights are in its ``base_layer``. Seen from the base model all module paths
are unchanged, so family maps hold. Switched off, the wrapper gives what the base gives, bit for
bit; that, and that switched on it changes something, is checked when an adapter is loaded.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from hiddenscape.errors import (
    HiddenscapeError,
    InputError,
    MissingDependency,
    NetworkError,
    clean_cause,
    scrub,
)
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.hub import hub_errors, offline
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.origin import files_hash
from hiddenscape.models.wrapping import wrap_module

__all__ = ["AdaptedNetwork", "AdapterSwitch", "with_adapter"]

_CONFIG, _SAFE, _BIN = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
Check = Callable[[TorchNetwork], TorchNetwork]


@dataclass(slots=True, eq=False)
class AdapterSwitch:
    """Turns the adapter inside a module on and off.

    Attributes
    ----------
    wrapped : object
        The PEFT model around the module.
    on : bool
        How it stands.
    exact : bool
        Whether the module with the adapter off is the base, bit for bit. Adapters that train
        biases of the base are not.
    """

    wrapped: Any
    on: bool = True
    exact: bool = True

    def turn(self, on: bool) -> None:
        """Set it; nothing is done where it stands so already."""
        if on == self.on:
            return
        tuner = self.wrapped.base_model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PEFT warns of is checked by the probe
            if on:
                tuner.enable_adapter_layers()
            else:
                tuner.disable_adapter_layers()
        self.wrapped.requires_grad_(False)
        self.on = on


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AdaptedNetwork(TorchNetwork):
    """A network with an adapter inside, or its base: the switch is set before every pass.

    Both may be used in turn; they share one module.
    """

    switch: AdapterSwitch
    adapted: bool = True
    check: Check

    def forward(self, batch: Batch) -> Any:
        """One plain forward pass, the adapter switched as this network needs it."""
        self.switch.turn(self.adapted)
        return TorchNetwork.forward(self, batch)

    def without_adapter(self) -> AdaptedNetwork:
        """The base from the same load, checked anew.

        Raises
        ------
        NetworkError
            If the module with the adapter off is not the base.
        """
        if not self.switch.exact:
            raise NetworkError(
                f"network {self.name!r}: with the adapter switched off it is not its base (the "
                "adapter changed weights of the base, such as biases); load the base alone"
            )
        self.switch.turn(False)
        facts = {**self.facts, "adapter": None, "remarks": ()}
        return _named(self, self.module, facts["id"], facts, self.switch, self.check, adapted=False)


def with_adapter(
    network: TorchNetwork, adapter: str | Path, *, check: Check, allow_bin: bool = False
) -> AdaptedNetwork:
    """Put an adapter into a freshly loaded network, and prove that it works.

    Parameters
    ----------
    network : TorchNetwork
        The base. Its module is changed in place.
    adapter : path or str
        A folder with ``adapter_config.json`` and ``adapter_model.safetensors``, or a name on the
        hub.
    check : callable
        The self-check that both networks go through.
    allow_bin : bool
        Read ``adapter_model.bin`` through torch's weights-only loader, where there is nothing else.

    Raises
    ------
    MissingDependency
        If peft is not installed.
    InputError
        If there is no adapter at ``adapter``.
    NetworkError
        If it does not fit the network, leaves weights unread or random, or changes nothing.
    """
    peft = _peft()
    folder, title = _folder(adapter)
    weights = _weights(folder, allow_bin)
    base_hash = network.facts.get("weights_hash") or weights_hash(network.module)
    batch = probe_batch(network)
    if batch is None:
        raise NetworkError(
            f"network {network.name!r}: its config does not say what it eats, so it cannot be "
            "tried whether the adapter changes anything; adapters need such a network"
        )
    before = _answer(network, network.module, batch)
    wrapped = _wrapped(peft, network, folder, title, weights)
    module = wrapped.get_base_model()
    # Wrapping leaves the new modules in training mode.
    wrapped.eval().requires_grad_(False)
    switch = AdapterSwitch(wrapped)
    on = _answer(network, module, batch)
    switch.turn(False)
    off = _answer(network, module, batch)
    switch.exact = torch.equal(off, before)
    switch.turn(True)
    again = _answer(network, module, batch)
    if torch.equal(on, off):
        raise NetworkError(
            f"adapter {title!r} changes nothing: the network answers the same with it and without "
            "it, bit for bit. It was never trained, or its weights are zero"
        )
    if not torch.equal(on, again):
        raise NetworkError(f"adapter {title!r}: switched off and on again it is another network")
    facts = {
        **network.facts,
        "weights_hash": base_hash,
        "adapter": {
            "id": title,
            "hash": files_hash([folder / _CONFIG, weights]),
            "merged": False,
        },
        "remarks": (*network.facts.get("remarks", ()), *_fits(network, folder, title, switch)),
    }
    name = f"{network.name} + {title}"
    return _named(network, module, name, facts, switch, check, adapted=True)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingDependency(
            'adapters need peft: pip install "hiddenscape[adapters]"'
        ) from error
    return peft


def _folder(adapter: str | Path) -> tuple[Path, str]:
    path = Path(adapter).expanduser()
    if path.is_dir():
        if not (path / _CONFIG).is_file():
            raise InputError(f"{path}: no {_CONFIG} here; expected a folder that PEFT saved")
        return path, path.resolve().name
    text = str(adapter)
    if isinstance(adapter, Path) or text.startswith((".", "/", "~")) or text.count("/") != 1:
        raise InputError(f"adapter {text}: no such folder")
    import huggingface_hub

    try:
        found = huggingface_hub.snapshot_download(
            text,
            allow_patterns=[_CONFIG, "adapter_model.*"],
            local_files_only=offline(),
        )
    except hub_errors() as error:
        said = scrub(" ".join(str(error).split()))[:300]
        raise NetworkError(
            f"adapter {text}: no folder of that name is here, and the hub gave nothing: {said}"
        ) from clean_cause(error)
    return Path(found), text


def _weights(folder: Path, allow_bin: bool) -> Path:
    if (folder / _SAFE).is_file():
        return folder / _SAFE
    if not (folder / _BIN).is_file():
        raise InputError(f"{folder}: no {_SAFE} here; expected a folder that PEFT saved")
    if not allow_bin:
        raise NetworkError(
            f"{folder}: its weights are a pickle ({_BIN}); save them as safetensors, or allow the "
            "file with allow_bin"
        )
    return folder / _BIN


_READING = (
    OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, SafetensorError,
    NotImplementedError, ImportError, pickle.UnpicklingError,
)  # fmt: skip


def _wrapped(peft: Any, network: TorchNetwork, folder: Path, title: str, weights: Path) -> Any:
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            wrapped = peft.PeftModel.from_pretrained(
                network.module, str(folder), is_trainable=False
            )
            known = _own_names(peft, wrapped)
    except _READING as error:
        if isinstance(error, HiddenscapeError):
            raise
        text = scrub(" ".join(str(error).split()))[:300]
        raise NetworkError(
            f"adapter {title!r} cannot be put into {network.name!r} ({text}); it belongs to "
            "another network, or its files are damaged"
        ) from clean_cause(error)
    if not hasattr(wrapped.base_model, "disable_adapter_layers"):
        raise NetworkError(
            f"adapter {title!r} works around the network (prompt tuning and its kin): no site "
            "would see it. Only adapters inside the network can be measured"
        )
    said = [" ".join(str(w.message).split()) for w in heard]
    missing = next((text for text in said if "missing adapter keys" in text), None)
    if missing is not None:
        raise NetworkError(
            f"adapter {title!r}: weights are missing from its file and would be random "
            f"({missing[:200]})"
        )
    unread = sorted(_names_in(weights) - known)
    if unread:
        raise NetworkError(
            f"adapter {title!r}: {len(unread)} of its weights have no place in {network.name!r}, "
            f"the first {unread[0]!r}; it belongs to another network"
        )
    return wrapped


def _own_names(peft: Any, wrapped: Any) -> set[str]:
    state = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    plain = (k.replace(".base_layer", "").replace(".default", "") for k in wrapped.state_dict())
    return {*state, *plain}


def _names_in(path: Path) -> set[str]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as stream:
            return set(stream.keys())
    return set(torch.load(path, map_location="cpu", weights_only=True))


def _answer(network: TorchNetwork, module: nn.Module, batch: Batch) -> torch.Tensor:
    """The first floating tensor that the whole network gives: logits where it has a head."""
    out: Any = replace(network, module=module).forward(batch)
    values = list(out.values()) if hasattr(out, "values") else out
    values = [values] if isinstance(values, torch.Tensor) else list(values)
    found = [v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point()]
    if not found:
        raise NetworkError(f"network {network.name!r} gives no tensor to compare")
    return found[0].detach().clone()


def _fits(
    network: TorchNetwork, folder: Path, title: str, switch: AdapterSwitch
) -> tuple[str, ...]:
    """Remarks: an adapter that names another base may still fit by shape."""
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    named = config.get("base_model_name_or_path")
    said = [f"{network.name}: adapter {title} ({config.get('peft_type', 'unknown')}), not merged"]
    if isinstance(named, str) and named:
        own = str(network.facts.get("id", network.name))
        if Path(named).name.lower() != Path(own).name.lower():
            said.append(f"adapter {title} says that it was trained on {named}, not on {own}")
    if not switch.exact:
        said.append(f"adapter {title} changes weights of its base; load the base by itself")
    return tuple(said)


def _named(
    like: TorchNetwork,
    module: nn.Module,
    name: str,
    facts: dict[str, Any],
    switch: AdapterSwitch,
    check: Check,
    *,
    adapted: bool,
) -> AdaptedNetwork:
    plain = wrap_module(module, name=name, facts=facts)
    kept = {
        "tokenizer": like.tokenizer,
        "processor": like.processor,
        "max_length": like.max_length,
    }
    values = {f.name: getattr(plain, f.name) for f in fields(plain)} | kept
    network = AdaptedNetwork(**values, switch=switch, check=check, adapted=adapted)
    checked = check(network)
    assert isinstance(checked, AdaptedNetwork)
    return checked
