"""From a checkpoint to a module: its weights, or fresh ones; complete, in the dtype asked for."""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiddenscape.errors import MissingDependency, NetworkError
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.origin import Origin, stored_dtype, weight_files
from hiddenscape.models.quantized import quantization_config

__all__ = ["Wish", "fresh_module", "quiet", "trained_module"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Wish:
    """How a network is to be loaded: the arguments of ``load_network`` that reach the weights."""

    dtype: str
    attn: str
    allow_bin: bool
    quantization: str | None
    device_map: Any
    offload_folder: str | Path | None
    options: Mapping[str, Any]


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No progress bars, and no conversion that the hub would be asked for behind our back.

    A library prints nothing; settings are put back.
    """
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    before = os.environ.get("DISABLE_SAFETENSORS_CONVERSION")
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
        if before is None:
            del os.environ["DISABLE_SAFETENSORS_CONVERSION"]
        else:
            os.environ["DISABLE_SAFETENSORS_CONVERSION"] = before


def trained_module(
    factory: Any, origin: Origin, config: Any, wish: Wish
) -> tuple[nn.Module, str, tuple[str, ...]]:
    """The module with the weights of the checkpoint, its attention implementation, and the weights
    outside its body (of a head) that the checkpoint lacks.

    Raises
    ------
    NetworkError
        If there are no weights that may be read, or some are missing.
    """
    arguments: dict[str, Any] = {
        "dtype": wish.dtype if wish.dtype == "auto" else getattr(torch, wish.dtype),
        "output_loading_info": True,
        **wish.options,
    }
    if wish.quantization is not None:
        arguments["quantization_config"] = quantization_config(wish.quantization)
    if wish.device_map is not None:
        arguments |= {"device_map": wish.device_map, "offload_folder": wish.offload_folder}
    last: Exception | None = None
    for implementation in _attempts(wish.attn):
        try:
            module, info = _read(factory, origin, config, implementation, wish, arguments)
        except (ValueError, ImportError) as error:
            if _no_other(wish.attn, implementation, error):
                raise
            last = error
            continue
        if getattr(module, "_hf_peft_config_loaded", False):
            raise NetworkError(
                f"{origin.where}: holds an adapter, which would be loaded unseen; give the base "
                "as the network and the adapter as the adapter"
            )
        return module, _implementation(module), _complete(module, origin.where, info)
    raise NetworkError(f"{origin.where}: cannot be loaded ({last})")


def _read(
    factory: Any, origin: Origin, config: Any, implementation: str, wish: Wish, arguments: Any
) -> tuple[Any, Any]:
    """Safetensors; a pickle only where there is nothing else and it was allowed."""

    def load(safe: bool) -> Any:
        # Two networks made from one config object would share their attention setting.
        return factory.from_pretrained(
            origin.where,
            config=copy.deepcopy(config),
            attn_implementation=implementation,
            use_safetensors=safe,
            **({} if safe else {"weights_only": True}),
            **arguments,
        )

    try:
        return load(True)  # type: ignore[no-any-return]
    except OSError as error:
        if not wish.allow_bin or "safetensors" not in str(error):
            raise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch speaks of old pickles before it refuses them
            return load(False)  # type: ignore[no-any-return]
    except pickle.UnpicklingError as error:
        raise NetworkError(
            f"{origin.where}: its .bin file holds more than tensors, which could run code, and is "
            f"not read ({_short(error)}); get the weights as safetensors"
        ) from error


def _short(error: BaseException) -> str:
    # torch explains at length how to switch the protection off.
    found = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line]
    return (found[0] if found else str(error).split(". ")[0])[:160]


def fresh_module(
    factory: Any, origin: Origin, config: Any, wish: Wish, seed: int
) -> tuple[nn.Module, str, str | None]:
    """The module with fresh weights drawn from ``seed``, its attention implementation, and the
    hash of its weights where they are spread over devices afterwards."""
    config = copy.deepcopy(config)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config  # fresh weights are not quantised: there are no scales
    kind = _fresh_dtype(origin, config, wish)
    build = getattr(factory, "from_config", None) or factory._from_config
    extra = {"trust_remote_code": True} if wish.options["trust_remote_code"] else {}
    with torch.random.fork_rng(devices=[]):
        for implementation in _attempts(wish.attn):
            torch.manual_seed(seed)
            try:
                # Drawn in float32, then cast: the same seed gives the same weights in any dtype.
                module = build(
                    copy.deepcopy(config),
                    attn_implementation=implementation,
                    dtype=torch.float32,
                    **extra,
                )
            except (ValueError, ImportError) as error:
                if _no_other(wish.attn, implementation, error):
                    raise
                continue
            used = _implementation(module)
            module = module.to(kind)
            # Weights that accelerate puts on disk cannot be hashed any more.
            digest = None if wish.device_map is None else weights_hash(module)
            return _dispatched(module, wish), used, digest
    raise NetworkError(f"{origin.where}: cannot be built from its config")


def _fresh_dtype(origin: Origin, config: Any, wish: Wish) -> torch.dtype:
    if wish.dtype != "auto":
        return getattr(torch, wish.dtype)  # type: ignore[no-any-return]
    kind = getattr(config, "dtype", None)
    if isinstance(kind, torch.dtype):
        return kind
    # The dtype that the trained network would have.
    stored = stored_dtype(weight_files(origin))
    return getattr(torch, kind or stored or "float32")  # type: ignore[no-any-return]


def _dispatched(module: nn.Module, wish: Wish) -> nn.Module:
    if wish.device_map is None:
        return module
    try:
        accelerate: Any = import_module("accelerate")
    except ImportError as error:
        raise MissingDependency("device_map needs accelerate: pip install accelerate") from error
    where = wish.device_map
    if isinstance(where, str):
        whole = list(getattr(module, "_no_split_modules", None) or [])
        names = ("auto", "balanced", "balanced_low_0", "sequential")
        where = (
            accelerate.infer_auto_device_map(module, no_split_module_classes=whole)
            if where in names
            else {"": where}
        )
    folder = None if wish.offload_folder is None else str(wish.offload_folder)
    return accelerate.dispatch_model(module, device_map=dict(where), offload_dir=folder)  # type: ignore[no-any-return]


def _attempts(attn: str) -> tuple[str, ...]:
    return ("sdpa", "eager") if attn == "sdpa" else (attn,)


def _no_other(attn: str, implementation: str, error: Exception) -> bool:
    text = str(error).lower()
    about = "attention" in text or "attn" in text
    return attn != "sdpa" or implementation == "eager" or not about


def _implementation(module: Any) -> str:
    return str(getattr(module.config, "_attn_implementation", None) or "eager")


def _complete(module: Any, where: str, info: Mapping[str, Any]) -> tuple[str, ...]:
    """A weight that the checkpoint lacks would silently be random; gives those of heads."""
    base = getattr(module, "base_model_prefix", "")
    missing = sorted(info.get("missing_keys", ()))
    body = [k for k in missing if not base or not hasattr(module, base) or k.startswith(f"{base}.")]
    # A pooler or head may be absent; what lies on the way to the sites may not.
    body = [k for k in body if "pooler" not in k]
    wrong = sorted(map(str, info.get("mismatched_keys", ())))
    if body or wrong:
        what = body or wrong
        raise NetworkError(
            f"{where}: the checkpoint lacks {len(what)} weights of {type(module).__name__}, the "
            f"first {what[0]!r}; they would be random. Choose another task or repair the checkpoint"
        )
    return tuple(missing)
