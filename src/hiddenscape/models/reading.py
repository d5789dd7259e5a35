"""What turns text or images into inputs: the tokenizer and the image processor of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiddenscape.errors import MissingDependency, NetworkError, clean_cause, scrub
from hiddenscape.models.hub import offline
from hiddenscape.models.origin import Origin

__all__ = ["has_tokenizer", "load_processor", "load_tokenizer", "open_tokenizer"]

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "tokenizer_config.json",
)  # fmt: skip


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a tokenizer."""
    return any((folder / f).is_file() for f in _TOKENIZER_FILES)


def open_tokenizer(
    source: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> Any:
    """The tokenizer of a folder or of a Hugging Face id, without its network.

    Raises
    ------
    MissingDependency
        If transformers is not installed.
    NetworkError
        If there is none.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependency(
            'a tokenizer needs transformers: pip install "hiddenscape[hf]"'
        ) from error
    folder = Path(source).expanduser()
    local = folder.is_dir()
    where = str(folder) if local else str(source)
    options: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "local_files_only": local or offline(),
    }
    if revision is not None and not local:
        options["revision"] = revision
    found = load_tokenizer(transformers, Origin(where=where, local=local), None, options)
    if found is None:
        raise NetworkError(f"{where}: no tokenizer here; name one with tokenizer")
    return found


def load_tokenizer(
    transformers: Any, origin: Origin, other: str | Path | None, options: Mapping[str, Any]
) -> Any:
    """The tokenizer, padding on the right; None if the checkpoint has none.

    One without a padding token gets one in the tokenizer only, from the specials that it has: the
    embedding matrix is never resized, and no ordinary token becomes special. Where there is no
    special at all it stays without; batches are masked by length and need none.
    """
    where, asked = origin.where, dict(options)
    if other is not None:
        where = str(Path(other).expanduser()) if Path(other).expanduser().is_dir() else str(other)
        asked.pop("revision", None)
        asked["local_files_only"] = Path(where).is_dir() or offline()
    folder = Path(where)
    if folder.is_dir() and not has_tokenizer(folder):
        if other is None:
            return None
        raise NetworkError(f"{where}: no tokenizer here; expected tokenizer.json or its kin")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **asked)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if folder.is_dir() or other is not None:
            raise NetworkError(
                f"{where}: its tokenizer cannot be loaded ({scrub(str(error))})"
            ) from clean_cause(error)
        return None
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        for name in ("eos_token", "unk_token", "bos_token", "sep_token"):
            if getattr(tokenizer, name, None) is not None:
                tokenizer.pad_token = getattr(tokenizer, name)
                break
    return tokenizer


def load_processor(transformers: Any, origin: Origin, options: Mapping[str, Any]) -> Any:
    """The image processor; None if the checkpoint has none."""
    folder = Path(origin.where)
    if folder.is_dir() and not (folder / "preprocessor_config.json").is_file():
        return None
    try:
        return transformers.AutoImageProcessor.from_pretrained(origin.where, **options)
    except (OSError, ValueError, KeyError) as error:
        if folder.is_dir():
            raise NetworkError(
                f"{origin.where}: its image processor cannot be loaded ({scrub(str(error))})"
            ) from clean_cause(error)
        return None
    except ImportError as error:
        raise MissingDependency(
            f'{origin.where}: its image processor needs pillow: pip install "hiddenscape[images]"'
        ) from error
