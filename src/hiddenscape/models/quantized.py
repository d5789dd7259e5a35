"""Quantised networks: how to ask for one, what a loaded one says of itself, what it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from hiddenscape.errors import InputError, MissingDependency

__all__ = ["QUANTIZATIONS", "described", "missing_package", "quantization_config"]

QUANTIZATIONS = ("bitsandbytes-8bit", "bitsandbytes-4bit", "torchao-int8", "torchao-int4")
"""What full weights can be quantised to while they are loaded. Checkpoints that are quantised
already (GPTQ, AWQ, bitsandbytes, torchao, ...) say so themselves and need no option."""

_PACKAGES: Mapping[str, str] = {
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel optimum",
    "awq": "autoawq",
    "torchao": "torchao",
    "compressed-tensors": "compressed-tensors",
    "quanto": "optimum-quanto",
    "hqq": "hqq",
    "aqlm": "aqlm",
    "eetq": "eetq",
}


def quantization_config(name: str) -> Any:
    """The configuration object that ``from_pretrained`` takes.

    Raises
    ------
    InputError
        If the name is unknown.
    MissingDependency
        If the package that quantises is not installed.
    """
    if name not in QUANTIZATIONS:
        raise InputError(f"quantization {name!r} is not one of {', '.join(QUANTIZATIONS)}")
    package, _, kind = name.partition("-")
    try:
        import_module(package)
    except ImportError as error:
        raise MissingDependency(
            f"quantization {name!r} needs {package}: pip install {package}"
        ) from error
    transformers: Any = import_module("transformers")
    if package == "bitsandbytes":
        return transformers.BitsAndBytesConfig(**{f"load_in_{kind}": True})
    quantization = import_module("torchao.quantization")
    kinds = {"int8": "Int8WeightOnlyConfig", "int4": "Int4WeightOnlyConfig"}
    return transformers.TorchAoConfig(getattr(quantization, kinds[kind])())


def described(config: Any) -> str | None:
    """What a loaded config says of the quantisation: ``METHOD {settings}``; None if there is none.

    Examples
    --------
    >>> class Config:
    ...     quantization_config = {"quant_method": "gptq", "bits": 4}
    >>> described(Config())
    'gptq {"bits": 4}'
    """
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    content: Any = found
    if not isinstance(found, Mapping):
        # Only what differs from the defaults, which change between versions.
        to_dict = getattr(found, "to_diff_dict", None) or getattr(found, "to_dict", None)
        content = to_dict() if callable(to_dict) else {"class": type(found).__name__}
        content.setdefault("quant_method", getattr(found, "quant_method", "unknown"))
    settings = {str(k): v for k, v in content.items() if k != "quant_method" and k[:1] != "_"}
    method = content.get("quant_method", "unknown")
    text = json.dumps(settings, sort_keys=True, default=str)
    return f"{getattr(method, 'value', method)} {text}"


def missing_package(where: str, config: Any, error: BaseException) -> MissingDependency | None:
    """What to install, where a quantised checkpoint cannot be loaded for lack of it."""
    said = described(config)
    if said is None or not isinstance(error, ImportError):
        return None
    method = said.split(" ")[0]
    package = _PACKAGES.get(method, method)
    return MissingDependency(
        f"{where}: is quantised ({method}) and needs {package}: pip install {package} "
        f"({' '.join(str(error).split())[:160]})"
    )
