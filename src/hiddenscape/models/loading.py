"""Networks from Hugging Face folders or the hub, by safetensors only."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from hiddenscape.errors import InputError, MissingDependency, NetworkError
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.network import TorchNetwork, move_to, wrap_module
from hiddenscape.models.selfcheck import self_check

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
        Branch, tag or commit on the hub; the resolved commit is recorded.
    dtype : {"auto", "float32", "bfloat16", "float16", "float64"}
        ``auto`` is the dtype of the checkpoint; what it was is recorded.
    device : str
        Where to put it.
    attn : str
        Attention implementation (``sdpa``, ``eager``, ...). Where the class knows no ``sdpa``,
        ``eager`` is taken instead and recorded; any other that cannot be had is an error.
    untrained : bool
        Same config, fresh random weights drawn with ``seed``; weight files are not read.
    seed : int
        Key of the fresh weights.
    trust_remote_code : bool
        Run code that comes with the checkpoint; recorded.
    name : str, optional
        Name for manifests; by default the folder's or hub's name.

    Returns
    -------
    TorchNetwork
        In eval mode, gradients off, self-check done, tokenizer and image processor attached where
        the checkpoint has them.

    Raises
    ------
    MissingDependency
        If transformers is not installed.
    InputError
        If the folder does not exist or an option is unknown.
    NetworkError
        If the checkpoint cannot be loaded, has no safetensors weights, or fails its self-check.
    """
    transformers = _transformers()
    if task is not None and task not in TASKS:
        raise InputError(f"task {task!r} is not one of {', '.join(TASKS)}")
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    where, local = _where(source)
    options: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "local_files_only": local or _offline(),
    }
    if revision is not None:
        options["revision"] = revision
    try:
        config = transformers.AutoConfig.from_pretrained(where, **options)
        factory = _factory(transformers, config, task)
        build = _fresh if untrained else _trained
        with _no_bars(transformers):
            module, used = build(factory, where, config, dtype, attn, options, seed)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, NetworkError | InputError | MissingDependency):
            raise
        raise NetworkError(_reason(where, error)) from error
    module = move_to(module, device).eval().requires_grad_(False)
    title = name or (Path(where).name if local else where)
    facts = {
        "id": title,
        "commit": _commit(where, local, config),
        "attn_implementation": used,
        "dtype_asked": dtype,
        "remote_code_commit": _commit(where, local, config) if trust_remote_code else None,
        "untrained_seed": seed if untrained else None,
    }
    network = wrap_module(module, name=title, facts=facts)
    network = replace(
        network,
        tokenizer=_tokenizer(transformers, where, options) if network.kind == "tokens" else None,
        processor=_processor(transformers, where, options) if network.kind != "tokens" else None,
    )
    network = replace(network, max_length=_length(network))
    return _checked(network)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependency(
            'loading a Hugging Face network needs transformers: pip install "hiddenscape[hf]"'
        ) from error
    return transformers


@contextmanager
def _no_bars(transformers: Any) -> Iterator[None]:
    """A library prints nothing; the setting is put back."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _where(source: str | Path) -> tuple[str, bool]:
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{path}: no config.json here; expected a Hugging Face folder")
        return str(path), True
    if path.exists():
        raise InputError(f"{path}: a file; expected a folder with config.json and safetensors")
    text = str(source)
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise InputError(f"{path}: no such folder")
    return text, False


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _reason(where: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and ("safetensors" in text or "pytorch_model.bin" in text):
        return (
            f"{where}: no safetensors weights ({text[:200]}); convert the checkpoint to "
            "safetensors, other formats are not loaded"
        )
    if isinstance(error, SafetensorError):
        return f"{where}: its safetensors file is damaged ({text[:200]}); copy it again"
    if not Path(where).is_dir():
        # The hub's own message does not say that a path may have been meant.
        return f"{where}: no folder of that name is here, and the hub gave nothing: {text[:300]}"
    return f"{where}: cannot be loaded ({text[:300]})"


def _factory(transformers: Any, config: Any, task: str | None) -> Any:
    if task is not None:
        return getattr(transformers, TASKS[task])
    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, name, None)
        if found is not None:
            return found
    return transformers.AutoModel


def _dtype(dtype: str) -> Any:
    return dtype if dtype == "auto" else getattr(torch, dtype)


def _trained(
    factory: Any, where: str, config: Any, dtype: str, attn: str, options: Any, seed: int
) -> tuple[Any, str]:
    last: Exception | None = None
    for implementation in _attempts(attn):
        try:
            module, info = factory.from_pretrained(
                where,
                config=copy.deepcopy(config),
                dtype=_dtype(dtype),
                attn_implementation=implementation,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
        except (ValueError, ImportError) as error:
            if attn != "sdpa" or implementation == "eager" or not _about_attention(error):
                raise
            last = error
            continue
        _complete(module, where, info)
        return module, _implementation(module)
    raise NetworkError(f"{where}: cannot be loaded ({last})")


def _fresh(
    factory: Any, where: str, config: Any, dtype: str, attn: str, options: Any, seed: int
) -> tuple[Any, str]:
    kind: Any = getattr(config, "dtype", None) if dtype == "auto" else _dtype(dtype)
    build = getattr(factory, "from_config", None) or factory._from_config
    extra = {"trust_remote_code": True} if options["trust_remote_code"] else {}
    with torch.random.fork_rng(devices=[]):
        for implementation in _attempts(attn):
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
                if attn != "sdpa" or implementation == "eager" or not _about_attention(error):
                    raise
                continue
            return module.to(kind or torch.float32), _implementation(module)
    raise NetworkError(f"{where}: cannot be built from its config")


def _attempts(attn: str) -> tuple[str, ...]:
    return ("sdpa", "eager") if attn == "sdpa" else (attn,)


def _about_attention(error: Exception) -> bool:
    text = str(error).lower()
    return "attention" in text or "attn" in text


def _implementation(module: Any) -> str:
    return str(getattr(module.config, "_attn_implementation", None) or "eager")


def _complete(module: Any, where: str, info: Mapping[str, Any]) -> None:
    """A weight that the checkpoint lacks would silently be random."""
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


def _commit(where: str, local: bool, config: Any) -> str | None:
    if not local:
        return getattr(config, "_commit_hash", None)
    digest = hashlib.blake2b(digest_size=16)
    digest.update((Path(where) / "config.json").read_bytes())
    return f"config:{digest.hexdigest()}"


_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "tokenizer_config.json",
)  # fmt: skip


def _tokenizer(transformers: Any, where: str, options: Mapping[str, Any]) -> Any:
    folder = Path(where)
    if folder.is_dir() and not any((folder / f).is_file() for f in _TOKENIZER_FILES):
        return None
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if folder.is_dir():
            raise NetworkError(f"{where}: its tokenizer cannot be loaded ({error})") from error
        return None
    tokenizer.padding_side = "right"
    return tokenizer


def _processor(transformers: Any, where: str, options: Mapping[str, Any]) -> Any:
    folder = Path(where)
    if folder.is_dir() and not (folder / "preprocessor_config.json").is_file():
        return None
    try:
        return transformers.AutoImageProcessor.from_pretrained(where, **options)
    except (OSError, ValueError, KeyError) as error:
        if folder.is_dir():
            raise NetworkError(
                f"{where}: its image processor cannot be loaded ({error})"
            ) from error
        return None
    except ImportError as error:
        raise MissingDependency(
            f'{where}: its image processor needs pillow: pip install "hiddenscape[images]"'
        ) from error


_ABSURD = 10**7


def _length(network: TorchNetwork) -> int | None:
    limits = [network.max_length, getattr(network.tokenizer, "model_max_length", None)]
    known = [int(v) for v in limits if v is not None and v < _ABSURD]
    return min(known) if known else None


def _checked(network: TorchNetwork) -> TorchNetwork:
    batch = probe_batch(network)
    return network if batch is None else self_check(network, batch)
