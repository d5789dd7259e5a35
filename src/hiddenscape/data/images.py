"""Images as data sets: a folder with one subfolder per class, or files held in a table."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hiddenscape.data.dataset import check_ids, check_labels, identify
from hiddenscape.data.labelmap import chosen_labels
from hiddenscape.data.limits import LIMITS, Limits
from hiddenscape.errors import ConfigError, InputError, MissingDependency

__all__ = ["ALPHA", "IMAGE_SUFFIXES", "ImageDataset", "image_dataset"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
ALPHA = ("error", "drop", "white", "black")
"""What becomes of pixels that are transparent: an error, their hidden color, or a background."""
_MODES = {1: "L", 3: "RGB"}
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
_WIDE = ("I", "F")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImageDataset:
    """Images that are read when they are needed. Made by :func:`image_dataset`.

    With ``size`` every row is a float32 array (channels, height, width); without, a byte image
    (height, width, channels) for a network that brings its own image processor. ``files`` holds
    paths, or the bytes of files.
    """

    files: Sequence[Path | bytes]
    name: str
    ids: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    size: tuple[int, int] | None
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    alpha: Literal["error", "drop", "white", "black"] = "error"
    orient: bool = True
    limits: Limits = LIMITS
    origin: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = field(init=False)
    identical: int = field(init=False)
    kind: str = "images"
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        settings = repr((self.size, self.channels, self.mean, self.std, self.alpha, self.orient))
        # The bytes of the files, not the pixels: a decoder may change, the files may not.
        files = (settings + self._digest(row) for row in range(len(self)))
        found = identify(self.ids, files, self.labels)
        object.__setattr__(self, "fingerprint", found[0])
        object.__setattr__(self, "identical", found[1])

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: Sequence[int]) -> list[np.ndarray] | np.ndarray:
        """Images of some rows."""
        images = [self._read(int(row)) for row in rows]
        return images if self.size is None else np.stack(images)

    def _where(self, row: int) -> str:
        found = self.files[row]
        return str(found) if isinstance(found, Path) else f"{self.name}: row {row}"

    def _bytes(self, row: int) -> bytes:
        found = self.files[row]
        if not isinstance(found, Path):
            return found
        try:
            if found.stat().st_size > self.limits.bytes:
                raise self.limits.refuse("bytes", f"{found}: {found.stat().st_size:,} bytes")
            return found.read_bytes()
        except OSError as error:
            raise InputError(f"{found}: cannot be read ({error.strerror or error})") from error

    def _digest(self, row: int) -> str:
        raw = self._bytes(row)
        with self._opened(raw, row):  # a file that is no image is named now, not hours later
            return hashlib.blake2b(raw, digest_size=16).hexdigest()

    @contextmanager
    def _opened(self, raw: bytes, row: int) -> Iterator[Any]:
        pillow, where = _pillow(), self._where(row)
        try:
            with warnings.catch_warnings(), _pixels(pillow, self.limits.pixels):
                warnings.simplefilter("error", pillow.DecompressionBombWarning)
                with pillow.open(io.BytesIO(raw)) as image:
                    if image.width * image.height > self.limits.pixels:
                        raise pillow.DecompressionBombError
                    _check(image, where)
                    yield image
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
            raise self.limits.refuse("pixels", f"{where}: too many pixels") from error
        except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{where}: not a readable image ({error})") from error

    def _read(self, row: int) -> np.ndarray:
        with self._opened(self._bytes(row), row) as image:
            image = _flat(image, self._where(row), self.alpha, self.orient)
            image = image.convert(_MODES[self.channels])
            if self.size is not None:
                height, width = self.size
                image = image.resize((width, height), _pillow().Resampling.BILINEAR)
            pixels = np.asarray(image, dtype=np.uint8)
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
    alpha: Literal["error", "drop", "white", "black"] = "error",
    orient: bool = True,
    labels: Mapping[str, Any] | Sequence[Any] | str | Path | None = None,
    label_columns: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    missing: str = "error",
    name: str | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> ImageDataset:
    """Images of a folder, in sorted order of their paths.

    Parameters
    ----------
    folder : path
        ``FOLDER/CLASS/image.png``: the subfolder's name becomes the label ``class``. Images that
        lie in ``FOLDER`` itself have no label; the two may not be mixed. Ids are paths within the
        folder, with ``/``.
    size : (height, width), optional
        Resize (bilinear) and scale to [0, 1], then ``(x - mean) / std``: needed for networks
        without an image processor of their own.
    channels : {3, 1}
        Color or grey.
    mean, std : sequence of float, optional
        One per channel; 0 and 1 by default.
    alpha : {"error", "drop", "white", "black"}
        What becomes of transparent pixels: an error, the color that is hidden under them (as most
        programs do), or a background. Images whose pixels are all opaque are taken as they are.
    orient : bool
        Turn photographs as their EXIF tag says, as viewers do.
    labels : optional
        More label columns, in the order of the sorted paths; or the path of a table as
        ``label_map``.
    label_columns : sequence of str, optional
        Some of the columns.
    label_map : path, optional
        Table whose ids are paths within the folder; see ``missing`` ("error" or "nan").
    name : str, optional
        Name for manifests.
    limit : int, optional
        Use the first rows only.
    limits : Limits
        Bounds on bytes and pixels of one image.

    Raises
    ------
    MissingDependency
        If pillow is not installed.
    InputError
        If the folder holds no images or mixes layouts; or an image is no image, has too many
        pixels, more than 8 bits per channel in one channel, or several frames (checked at once),
        or is damaged further on (when it is needed). The file is named.

    Notes
    -----
    Palettes become colors. CMYK becomes RGB without a color profile; profiles are not applied.
    Color images with 16 bits per channel are read with their upper 8.
    """
    _pillow()
    if channels not in _MODES:
        raise InputError(f"channels must be 1 or 3, got {channels}")
    if alpha not in ALPHA:
        raise ConfigError(f"alpha must be one of {', '.join(ALPHA)}, got {alpha!r}")
    root = Path(folder)
    paths = _paths(root)
    ids = [p.relative_to(root).as_posix() for p in paths]
    named = check_ids(ids, len(paths), where=str(root))
    columns: dict[str, Any] = {}
    nested = ["/" in i for i in ids]
    if all(nested):
        columns["class"] = np.array([i.split("/", 1)[0] for i in ids])
    elif any(nested):
        odd = ids[nested.index(False)]
        raise InputError(f"{root}: {odd!r} lies beside class folders; put it into one of them")
    if isinstance(labels, str | Path):
        label_map, labels = labels, None
    if labels is not None:
        columns |= labels if isinstance(labels, Mapping) else {"label": labels}
    found = chosen_labels(
        check_labels(columns, len(paths), where=str(root)), named, where=str(root),
        label_map=label_map, missing=missing, wanted=label_columns, limits=limits,
    )  # fmt: skip
    return ImageDataset(
        files=tuple(paths[:limit]),
        name=name or root.name,
        ids=named[:limit],
        labels={column: values[:limit] for column, values in found.items()},
        size=None if size is None else (int(size[0]), int(size[1])),
        channels=channels,
        mean=per_channel(mean, channels, 0.0, "mean"),
        std=per_channel(std, channels, 1.0, "std"),
        alpha=alpha,
        orient=orient,
        limits=limits,
    )


def _paths(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    paths = sorted(
        (p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()),
        key=lambda p: p.relative_to(root).as_posix(),
    )
    if not paths:
        raise InputError(f"{root}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return paths


def per_channel(
    values: Sequence[float] | None, channels: int, default: float, what: str
) -> tuple[float, ...]:
    """One number per channel, checked."""
    if values is None:
        return (default,) * channels
    if len(values) != channels:
        raise InputError(f"{what} must hold {channels} numbers, got {len(values)}")
    if what == "std" and min(values) <= 0:
        raise InputError(f"std must be positive, got {tuple(values)}")
    return tuple(map(float, values))


def _check(image: Any, where: str) -> None:
    if image.mode in _WIDE or image.mode.startswith("I;"):
        raise InputError(
            f"{where}: more than 8 bits in one channel (mode {image.mode}), which would be cut "
            "off; convert it to 8 bits, or give the numbers as an array"
        )
    # The second frame of a camera's MPO file is a preview of the first.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise InputError(
            f"{where}: holds several frames; save the one that is meant as a file of its own"
        )


def _flat(image: Any, where: str, alpha: str, orient: bool) -> Any:
    """Turned upright, and without transparency."""
    from PIL import ImageOps

    if orient:
        image = ImageOps.exif_transpose(image)
    if image.mode not in _TRANSPARENT and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    if alpha == "drop" or image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB")
    if alpha == "error":
        raise InputError(
            f"{where}: has transparent pixels; choose alpha='white', 'black' or 'drop' "
            "(--image-alpha)"
        )
    below = _pillow().new("RGBA", image.size, alpha)
    return _pillow().alpha_composite(below, image).convert("RGB")


@contextmanager
def _pixels(pillow: Any, limit: int) -> Iterator[None]:
    # Pillow keeps its limit in the module; ours may be larger or smaller.
    before = pillow.MAX_IMAGE_PIXELS
    pillow.MAX_IMAGE_PIXELS = limit
    try:
        yield
    finally:
        pillow.MAX_IMAGE_PIXELS = before


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency(
            'reading images needs pillow: pip install "hiddenscape[images]"'
        ) from error
    return Image
