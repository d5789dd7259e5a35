"""Images as data sets: a folder with one subfolder per class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hiddenscape.data.dataset import check_ids, check_labels, count_identical, fingerprint
from hiddenscape.errors import InputError, MissingDependency

__all__ = ["IMAGE_SUFFIXES", "ImageDataset", "image_dataset"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImageDataset:
    """Images on disk, read when they are needed. Made by :func:`image_dataset`.

    With ``size`` every row is a float32 array (channels, height, width); without, a byte image
    (height, width, channels) for a network that brings its own image processor.
    """

    paths: tuple[Path, ...]
    name: str
    ids: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    size: tuple[int, int] | None
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = field(init=False)
    identical: int = field(init=False)
    kind: str = "images"
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        settings = repr((self.size, self.channels, self.mean, self.std))
        # The bytes of the files, not the pixels: a decoder may change, the files may not.
        files: Iterator[Any] = (settings + _digest(path) for path in self.paths)
        object.__setattr__(self, "fingerprint", fingerprint(self.ids, files, self.labels))
        object.__setattr__(self, "identical", count_identical(map(_digest, self.paths)))

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int]) -> list[np.ndarray] | np.ndarray:
        """Images of some rows."""
        images = [self._read(int(row)) for row in rows]
        return images if self.size is None else np.stack(images)

    def _read(self, row: int) -> np.ndarray:
        pillow = _pillow()
        path = self.paths[row]
        try:
            with pillow.open(path) as stream:
                image = stream.convert(_MODES[self.channels])
                if self.size is not None:
                    height, width = self.size
                    image = image.resize((width, height), pillow.Resampling.BILINEAR)
                pixels = np.asarray(image, dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
            raise InputError(f"{path}: not a readable image ({error})") from error
        pixels = pixels.reshape(*pixels.shape[:2], self.channels)
        if self.size is None:
            return pixels
        scaled = pixels.astype(np.float32) / np.float32(255)
        mean, std = (np.array(v, dtype=np.float32) for v in (self.mean, self.std))
        scaled = (scaled - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def image_dataset(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    labels: Mapping[str, Any] | Sequence[Any] | None = None,
    name: str | None = None,
    limit: int | None = None,
) -> ImageDataset:
    """Images of a folder, in sorted order of their paths.

    Parameters
    ----------
    folder : path
        ``FOLDER/CLASS/image.png``: the subfolder's name becomes the label ``class``. Images that
        lie in ``FOLDER`` itself have no label; the two may not be mixed.
    size : (height, width), optional
        Resize (bilinear) and scale to [0, 1], then ``(x - mean) / std``: needed for networks
        without an image processor of their own.
    channels : {3, 1}
        Color or grey.
    mean, std : sequence of float, optional
        One per channel; 0 and 1 by default.
    labels : optional
        More label columns, in the order of the sorted paths.
    limit : int, optional
        Use the first rows only.

    Raises
    ------
    MissingDependency
        If pillow is not installed.
    InputError
        If the folder holds no images, mixes layouts, or an image cannot be read (when it is
        needed); the file is named.
    """
    _pillow()
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if channels not in _MODES:
        raise InputError(f"channels must be 1 or 3, got {channels}")
    paths = sorted(
        (p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()),
        key=lambda p: p.relative_to(root).as_posix(),
    )
    if not paths:
        raise InputError(f"{root}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    ids = [p.relative_to(root).as_posix() for p in paths]
    columns: dict[str, Any] = {}
    nested = ["/" in i for i in ids]
    if all(nested):
        columns["class"] = np.array([i.split("/", 1)[0] for i in ids])
    elif any(nested):
        odd = ids[nested.index(False)]
        raise InputError(f"{root}: {odd!r} lies beside class folders; put it into one of them")
    if labels is not None:
        columns |= labels if isinstance(labels, Mapping) else {"label": labels}
    checked = check_labels(columns, len(paths), where=str(root))
    return ImageDataset(
        paths=tuple(paths[:limit]),
        name=name or root.name,
        ids=check_ids(ids, len(paths), where=str(root))[:limit],
        labels={column: values[:limit] for column, values in checked.items()},
        size=None if size is None else (int(size[0]), int(size[1])),
        channels=channels,
        mean=_per_channel(mean, channels, 0.0, "mean"),
        std=_per_channel(std, channels, 1.0, "std"),
    )


def _per_channel(
    values: Sequence[float] | None, channels: int, default: float, what: str
) -> tuple[float, ...]:
    if values is None:
        return (default,) * channels
    if len(values) != channels:
        raise InputError(f"{what} must hold {channels} numbers, got {len(values)}")
    if what == "std" and min(values) <= 0:
        raise InputError(f"std must be positive, got {tuple(values)}")
    return tuple(map(float, values))


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency(
            'reading images needs pillow: pip install "hiddenscape[images]"'
        ) from error
    return Image
