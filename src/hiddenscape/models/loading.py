"""Networks from Hugging Face folders or the hub: whole, identified, and nothing run unasked."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from hiddenscape.errors import (
    HiddenscapeError,
    InputError,
    MissingDependency,
    NetworkError,
    clean_cause,
    scrub,
)
from hiddenscape.models.adapters import with_adapter
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.origin import (
    Origin,
    code_hash,
    files_hash,
    find_origin,
    stored_dtype,
    weight_files,
)
from hiddenscape.models.quantized import described, missing_package
from hiddenscape.models.reading import load_processor, load_tokenizer
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.weights import Wish, fresh_module, quiet, trained_module
from hiddenscape.models.wrapping import move_to, wrap_module

__all__ = ["DTYPES", "TASKS", "load_network"]

TASKS: Mapping[str, str] = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "classify_image": "AutoModelForImageClassification",
    "base": "AutoModel",
}
"""Task to the Auto class that loads it; without a task, the class that the config names."""
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def load_network(
    source: str | Path,
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
    adapter: str | Path | None = None,
    tokenizer: str | Path | None = None,
    quantization: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    offload_folder: str | Path | None = None,
    name: str | None = None,
) -> TorchNetwork:
    """Load a Hugging Face network, give it named sites, and check it.

    Parameters
    ----------
    source : path or str
        A local folder (``config.json``, ``*.safetensors``, tokenizer files), or a name on the hub.
        ``HF_HOME`` and ``HF_HUB_OFFLINE`` are honoured; a local folder never touches the network.
    task : {"causal", "masked", "classify_image", "base"}, optional
        Which head to load; None: the class that the config names.
    revision : str, optional
        Branch, tag or commit on the hub. Config, weights and tokenizer are read at the one commit
        that it means now, which is recorded.
    dtype : {"auto", "float32", "bfloat16", "float16", "float64"}
        ``auto`` is the dtype of the checkpoint; what the parameters have is recorded.
    device : str
        Where to put it; not used with ``device_map``.
    attn : str
        Attention implementation (``sdpa``, ``eager``, ...). Where the class knows no ``sdpa``,
        ``eager`` is taken instead and recorded; any other that cannot be had is an error.
    untrained : bool
        Same config, fresh random weights drawn with ``seed``; weight files are not read. Fresh
        weights are not quantised.
    seed : int
        Key of the fresh weights.
    trust_remote_code : bool
        Run code that comes with the checkpoint; the code's commit or hash is recorded.
    allow_bin : bool
        Where a checkpoint has no safetensors, read its old ``.bin`` file through torch's
        weights-only loader. Files that hold more than tensors are refused.
    adapter : path or str, optional
        PEFT adapter, a folder or a name on the hub: wrapped, never merged. The result offers
        ``without_adapter()``, the base from the same load (see :mod:`hiddenscape.models.adapters`).
    tokenizer : path or str, optional
        Where the tokenizer comes from, if not from ``source``.
    quantization : str, optional
        Quantise while loading: see :data:`hiddenscape.models.quantized.QUANTIZATIONS`.
    device_map : str or mapping, optional
        Spread over devices by accelerate: ``auto``, or module to device.
    offload_folder : path, optional
        Where accelerate may put what fits into no memory.
    name : str, optional
        Name for manifests; by default the folder's or hub's name.

    Returns
    -------
    TorchNetwork
        In eval mode, gradients off, self-check done, tokenizer and image processor attached where
        the checkpoint has them. ``facts["remarks"]`` are sentences that a user should see.

    Raises
    ------
    MissingDependency
        If transformers, or a package that the checkpoint needs, is not installed.
    InputError
        If the folder does not exist or an option is unknown or does not fit.
    NetworkError
        If the checkpoint cannot be loaded, has no safetensors weights, lacks weights, or fails its
        self-check; if an adapter changes nothing. Messages hold no access token.
    """
    transformers = _transformers()
    _check_options(task, dtype, seed, untrained, adapter, quantization)
    origin = find_origin(source, revision)
    wish = Wish(
        dtype=dtype,
        attn=attn,
        allow_bin=allow_bin,
        quantization=quantization,
        device_map=device_map,
        offload_folder=offload_folder,
        options=origin.options(trust_remote_code),
    )
    config: Any = None
    lacking: tuple[str, ...] = ()
    digest: str | None = None
    try:
        config = transformers.AutoConfig.from_pretrained(origin.where, **wish.options)
        factory = _factory(transformers, config, task)
        with quiet(transformers):
            if untrained:
                module, used, digest = fresh_module(factory, origin, config, wish, seed)
            else:
                module, used, lacking = trained_module(factory, origin, config, wish)
    except _LOADING as error:
        raise _explained(origin, config, error) from clean_cause(error)
    if device_map is None and not _placed_by_its_kind(module):
        module = move_to(module, device)
    module = module.eval().requires_grad_(False)
    title = name or origin.title
    facts = {
        "id": title,
        **_identity(origin, module, digest, allow_bin=allow_bin, untrained=untrained),
        "attn_implementation": used,
        "dtype_asked": dtype,
        "quantization": described(module.config),
        "adapter": None,
        "remote_code_commit": _code(origin, module) if trust_remote_code else None,
        "untrained_seed": seed if untrained else None,
    }
    facts["remarks"] = _remarks(origin, module, facts, allow_bin=allow_bin, lacking=lacking)
    network = wrap_module(module, name=title, facts=facts)
    network = _without_head(_checked_dtype(network, dtype), lacking)
    network = replace(
        network,
        tokenizer=load_tokenizer(transformers, origin, tokenizer, wish.options)
        if network.kind == "tokens"
        else None,
        processor=load_processor(transformers, origin, wish.options)
        if network.kind != "tokens"
        else None,
    )
    network = replace(network, max_length=_length(network))
    if adapter is not None:
        return with_adapter(network, adapter, check=_checked, allow_bin=allow_bin)
    return _checked(network)


_LOADING = (
    OSError, ValueError, ImportError, KeyError, RuntimeError, TypeError, AttributeError,
    NotImplementedError, SafetensorError, pickle.UnpicklingError,
)  # fmt: skip
"""What the loaders of transformers raise for checkpoints that they cannot read."""


def _check_options(
    task: str | None,
    dtype: str,
    seed: int,
    untrained: bool,
    adapter: str | Path | None,
    quantization: str | None,
) -> None:
    if task is not None and task not in TASKS:
        raise InputError(f"task {task!r} is not one of {', '.join(TASKS)}")
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    if untrained and adapter is not None:
        raise InputError(
            "an untrained network takes no adapter: with trained weights inside it would be no null"
        )
    if untrained and quantization is not None:
        raise InputError("an untrained network cannot be quantised; leave quantization out")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependency(
            'loading a Hugging Face network needs transformers: pip install "hiddenscape[hf]"'
        ) from error
    return transformers


def _explained(origin: Origin, config: Any, error: Exception) -> HiddenscapeError:
    if isinstance(error, HiddenscapeError):
        return error
    where, text = origin.where, scrub(" ".join(str(error).split()))
    missing = missing_package(where, config, error)
    if missing is not None:
        return missing
    if isinstance(error, OSError) and ("safetensors" in text or "pytorch_model.bin" in text):
        return NetworkError(
            f"{where}: no safetensors weights ({text[:200]}); convert the checkpoint to "
            "safetensors, or allow its .bin file with allow_bin"
        )
    if isinstance(error, SafetensorError):
        return NetworkError(
            f"{where}: its safetensors file is damaged ({text[:200]}); copy it again"
        )
    if "trust_remote_code" in text:
        return NetworkError(
            f"{where}: runs code that comes with it; read the code, and if you trust it allow it "
            "with trust_remote_code"
        )
    return NetworkError(f"{where}: cannot be loaded ({text[:300] or type(error).__name__})")


# Of two streams no depth profile can be made; the encoder alone has one.
_ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}


def _factory(transformers: Any, config: Any, task: str | None) -> Any:
    if task is not None:
        return getattr(transformers, TASKS[task])
    encoder = _ENCODERS.get(getattr(config, "model_type", ""))
    for name in (encoder,) if encoder else getattr(config, "architectures", None) or ():
        found = getattr(transformers, name, None)
        if found is not None:
            return found
        # A class of the checkpoint's own code: the Auto class that its config maps to it.
        for auto, path in (getattr(config, "auto_map", None) or {}).items():
            if str(path).rpartition(".")[2] == name and hasattr(transformers, auto):
                return getattr(transformers, auto)
    return transformers.AutoModel


def _placed_by_its_kind(module: nn.Module) -> bool:
    """Weights quantised by bitsandbytes lie where they were quantised and may not be moved."""
    return any(getattr(module, f"is_loaded_in_{bits}bit", False) for bits in (4, 8))


def _identity(
    origin: Origin, module: nn.Module, digest: str | None, *, allow_bin: bool, untrained: bool
) -> dict[str, Any]:
    """The commit of a hub's network; of a folder a hash of its config and weight files."""
    paths = [] if untrained else weight_files(origin, allow_bin=allow_bin)
    facts: dict[str, Any] = {"commit": origin.commit}
    if origin.local:
        found = files_hash([Path(origin.where) / "config.json", *paths])
        facts["commit"] = f"{'files' if paths else 'config'}:{found}"
    if digest is not None:
        facts["weights_hash"] = digest
    elif any(t.device.type == "meta" for t in module.state_dict().values() if hasattr(t, "device")):
        # Weights on disk cannot be read through the module: the files they came from are hashed.
        if not paths:
            raise NetworkError(
                f"{origin.where}: some weights are on no device, and the files they came from are "
                "not known; load it without device_map"
            )
        facts["weights_hash"] = f"files:{files_hash(paths)}"
    return facts


def _code(origin: Origin, module: nn.Module) -> str | None:
    """Commit or hash of the code that came with the checkpoint; None if there is none."""
    if origin.local:
        return code_hash(Path(origin.where))
    parts = {type(m).__module__ for m in (module, getattr(module, "config", module))}
    return origin.commit if any(p.startswith("transformers_modules") for p in parts) else None


def _remarks(
    origin: Origin,
    module: nn.Module,
    facts: Mapping[str, Any],
    *,
    allow_bin: bool,
    lacking: tuple[str, ...],
) -> tuple[str, ...]:
    found = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    dtype = str(found).removeprefix("torch.")
    said = f"{facts['id']}: computes in {dtype}, attention {facts['attn_implementation']}"
    paths = [] if facts["untrained_seed"] is not None else weight_files(origin, allow_bin=allow_bin)
    stored = stored_dtype(paths)
    if facts["dtype_asked"] == "auto" and stored not in (None, dtype) and not facts["quantization"]:
        said += f"; its files hold {stored}, its config says {dtype}"
    lines = [said]
    if facts["remote_code_commit"] is not None:
        lines.append(f"{facts['id']}: runs code of its own ({facts['remote_code_commit']})")
    if facts["quantization"] is not None:
        lines.append(f"{facts['id']}: quantised, {facts['quantization']}")
    if any(p.suffix == ".bin" for p in paths):
        lines.append(f"{facts['id']}: weights from a .bin file, read as tensors only")
    if lacking:
        lines.append(f"{facts['id']}: the checkpoint lacks {', '.join(lacking[:4])}")
    return tuple(lines)


def _checked_dtype(network: TorchNetwork, asked: str) -> TorchNetwork:
    # Read back from the parameters: the attribute of the module may be stale.
    if asked != "auto" and network.facts["quantization"] is None:
        found = str(network.dtype).removeprefix("torch.")
        if found != asked:
            raise NetworkError(
                f"network {network.name!r}: dtype {asked} was asked for, its parameters are "
                f"{found}; load it with dtype 'auto' or {found!r}"
            )
    return network


def _without_head(network: TorchNetwork, lacking: tuple[str, ...]) -> TorchNetwork:
    """Withdraw the logits of a head whose weights the checkpoint lacks: they would be random."""
    head = None if network.map is None else network.map.head
    gone = [] if head is None else [k for k in lacking if k == head or k.startswith(f"{head}.")]
    if not gone:
        return network
    reason = f"the checkpoint lacks {gone[0]!r}, it would be random"
    names = [n for n in network.places if n.startswith("logits")]
    return replace(
        network,
        places={n: p for n, p in network.places.items() if n not in names},
        withdrawn={**network.withdrawn, **dict.fromkeys(names, reason)},
    )


_ABSURD = 10**7


def _length(network: TorchNetwork) -> int | None:
    limits = [network.max_length, getattr(network.tokenizer, "model_max_length", None)]
    known = [int(v) for v in limits if v is not None and v < _ABSURD]
    return min(known) if known else None


def _checked(network: TorchNetwork) -> TorchNetwork:
    batch = probe_batch(network)
    if batch is None:
        return network
    try:
        return self_check(network, batch)
    except NetworkError as error:
        if "not implemented for" in str(error) and network.dtype.itemsize < 4:
            dtype = str(network.dtype).removeprefix("torch.")
            raise NetworkError(
                f"network {network.name!r}: this machine's {network.device.type} does not compute "
                f"in {dtype} ({str(error)[:120]}); load it with dtype 'float32', which changes no "
                "weight"
            ) from error
        raise
