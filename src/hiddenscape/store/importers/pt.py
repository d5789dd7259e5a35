"""Tensors of a ``.pt`` file, by torch's weights-only loader; nothing else here needs torch."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError

__all__ = ["load_content", "load_tensors", "plain_tensor"]

# How a file begins that torch.save wrote before version 1.6: a pickled magic number.
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What the loader lets through where bytes are missing or changed.
_DAMAGED = (
    RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, AssertionError,
    struct.error,
)  # fmt: skip

_Loaded = tuple[str, int | None, tuple[int, ...], str, Callable[[int, int], np.ndarray]]


def load_tensors(path: Path) -> list[_Loaded]:
    """(name, place in a list, shape, dtype, reader) of each tensor in the file.

    A file holds one tensor, a list of tensors (index = layer), or a mapping from names or layer
    numbers to tensors. Tensors may live on any device, need gradients, or be bfloat16.

    Raises
    ------
    InputError
        If the file holds anything but tensors, or needs unpickling.
    """
    content = load_content(path)
    return [
        (name, number, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), read)
        for name, number, tensor in _named(path, content)
        for read in (_reader(path, name, tensor),)
    ]


def load_content(path: Path) -> Any:
    """What ``torch.save`` wrote, by the weights-only loader: tensors, numbers, text and containers.

    Raises
    ------
    InputError
        If the file is damaged, needs unpickling, or is a compressed archive.
    """
    import torch

    is_archive = zipfile.is_zipfile(path)
    with path.open("rb") as stream:
        if not is_archive and stream.read(len(_LEGACY)) != _LEGACY:
            raise InputError(
                f"{path}: not made by torch.save (other pickles are never opened): save a dict of "
                "tensors with torch.save"
            )
    if is_archive:
        _check_archive(path)
    try:
        # Files from before torch 1.6 cannot be mapped.
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds pickled Python objects, which are never opened: save a dict of tensors"
        ) from error
    except _DAMAGED as error:
        raise InputError(f"{path}: damaged, torch cannot read it ({_line(error)})") from error


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged, torch cannot read it ({_line(error)})") from error
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        # torch.save never compresses; a small file could unpack to anything.
        raise InputError(f"{path}: a compressed archive, not made by torch.save")


def plain_tensor(path: Path, name: str, tensor: Any) -> np.ndarray:
    """The values of one tensor; bfloat16 is widened to float32."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"{path}: {name} is a {type(tensor).__name__}, expected a tensor")
    read = _reader(path, name, tensor if tensor.ndim else tensor[None])
    return read(0, max(1, tensor.shape[0] if tensor.ndim else 1))


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _named(path: Path, content: Any) -> Iterator[tuple[str, int | None, Any]]:
    import torch

    if isinstance(content, torch.Tensor):
        yield path.stem, None, content
        return
    if isinstance(content, Mapping):
        pairs = list(content.items())
    elif isinstance(content, (list, tuple)):
        pairs = list(enumerate(content))
    else:
        raise InputError(f"{path}: holds a {type(content).__name__}, expected tensors")
    for key, tensor in pairs:
        if not isinstance(tensor, torch.Tensor):
            raise InputError(
                f"{path}: entry {key!r} is a {type(tensor).__name__}, expected a tensor: save a "
                "dict of tensors"
            )
        if isinstance(key, int):
            yield f"layer.{key}", key, tensor
        else:
            yield str(key), None, tensor


def _reader(path: Path, name: str, tensor: Any) -> Callable[[int, int], np.ndarray]:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise InputError(f"{path}: tensor {name!r} is sparse or quantized: save it dense")
    plain = tensor.detach()

    def read(start: int, stop: int) -> np.ndarray:
        block = plain[start:stop]
        if block.dtype == torch.bfloat16:
            block = block.to(torch.float32)
        values: np.ndarray = block.resolve_conj().resolve_neg().numpy()
        return values

    return read
