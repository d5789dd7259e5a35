"""Bounds on what a file may unpack to, and text read within them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

from hiddenscape.errors import ConfigError, InputError

__all__ = ["LIMITS", "Limits", "check_characters", "kind_of", "read_text", "title_of"]

_CHUNK = 2**20
_ALWAYS = 2**26
"""Unpacked bytes below which no ratio is too high: a small file of one letter is no bomb."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large inputs may be: a guard against damaged and hostile files, not a memory plan.

    Attributes
    ----------
    bytes : int
        Of one file once unpacked; memory-mapped ``.npy`` files and images are not counted.
    rows : int
        Rows of one file.
    cell : int
        Characters of one text, sequence or cell.
    ratio : int
        Unpacked over packed size of ``.gz`` and ``.npz`` files, where they unpack to more than
        64 MiB.
    pixels : int
        Of one image.

    Examples
    --------
    >>> Limits(bytes=2**35).ratio
    200
    """

    bytes: int = 2**31
    rows: int = 10**7
    cell: int = 2**24
    ratio: int = 200
    pixels: int = 89_478_485

    def __post_init__(self) -> None:
        for f in fields(self):
            if getattr(self, f.name) < 1:
                raise ConfigError(f"limit {f.name!r} must be at least 1")

    @classmethod
    def parse(cls, parts: Sequence[str]) -> Limits:
        """Limits from ``NAME=NUMBER`` words, as the command line has them.

        Raises
        ------
        ConfigError
            For an unknown name or a number that is none.

        Examples
        --------
        >>> Limits.parse(["bytes=8e9", "rows=100"]).bytes
        8000000000
        """
        known = [f.name for f in fields(cls)]
        values: dict[str, int] = {}
        for part in parts:
            name, sign, number = part.partition("=")
            try:
                values[name] = int(float(number))
            except (ValueError, OverflowError):
                sign = ""
            if not sign or name not in known:
                raise ConfigError(
                    f"input_limits: got {part!r}, expected NAME=NUMBER with a name among "
                    f"{', '.join(known)}"
                )
        return cls(**values)

    def refuse(self, name: str, what: str) -> InputError:
        """The error of a limit: what was found, the limit, and how to raise it."""
        return InputError(
            f"{what}; the limit is {getattr(self, name):,}. If you trust the file, raise it with "
            f"limits=Limits({name}=...), on the command line --input-limits {name}=..."
        )


LIMITS = Limits()


def kind_of(path: Path) -> str:
    """Suffix in lower case, that of the packed file for ``.gz``.

    Examples
    --------
    >>> kind_of(Path("a/B.FASTA.gz")), kind_of(Path("b.csv"))
    ('.fasta', '.csv')
    """
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def title_of(path: Path) -> str:
    """Name of a data set made of a file.

    Examples
    --------
    >>> title_of(Path("a/rows.v1.csv.gz"))
    'rows.v1'
    """
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).stem


def read_text(path: Path, limits: Limits = LIMITS) -> str:
    """Content of a UTF-8 file, unpacked if it ends in ``.gz``; a byte order mark is dropped.

    Raises
    ------
    InputError
        If the file cannot be read, unpacks to more than the limits, is not UTF-8, or holds NUL
        bytes; names the line.
    """
    raw = _read(path, limits)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            f"{path}: is UTF-16, expected UTF-8; convert it (iconv -f UTF-16 -t UTF-8)"
        )
    if (at := raw.find(b"\0")) >= 0:
        raise InputError(
            f"{path}: line {_line(raw, at)} holds a NUL byte; the file is damaged, or no text in "
            "UTF-8"
        )
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line {_line(raw, error.start)} is not UTF-8 (byte {raw[error.start]:#04x}); "
            "convert the file"
        ) from error
    if "\r" in content and "\n" not in content:
        raise InputError(
            f"{path}: lines end in a bare carriage return; convert them (tr '\\r' '\\n')"
        )
    return content


def _line(raw: bytes, at: int) -> int:
    return raw[:at].count(b"\n") + 1


def _read(path: Path, limits: Limits) -> bytes:
    packed = path.suffix.lower() == ".gz"
    try:
        size = path.stat().st_size
        if not packed and size > limits.bytes:
            raise limits.refuse("bytes", f"{path}: {size:,} bytes")
        with path.open("rb") as stream:
            if not packed:
                return b"".join(_pieces(path, stream, limits, None))
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return b"".join(_pieces(path, unpacked, limits, size))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: a damaged .gz file ({error}); get it again") from error


def _pieces(
    path: Path, stream: IO[bytes] | gzip.GzipFile, limits: Limits, packed: int | None
) -> Iterator[bytes]:
    total = lines = 0
    # A pipe or a device tells no size beforehand, a packed file a false one: count.
    while piece := stream.read(_CHUNK):
        total += len(piece)
        if total > limits.bytes:
            raise limits.refuse("bytes", f"{path}: more than {total:,} bytes, at line {lines + 1}")
        if packed is not None and total > max(_ALWAYS, limits.ratio * packed):
            raise limits.refuse(
                "ratio",
                f"{path}: {packed:,} bytes unpack to more than {total:,}, at line {lines + 1}, "
                f"which is {total // max(1, packed)} times as much",
            )
        lines += piece.count(b"\n")
        yield piece


def check_characters(text: str, where: str) -> None:
    """Refuse halves of surrogate pairs: they are no text, and no file or tokenizer takes them."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: character {error.start} ({text[error.start]!r}) is half of a surrogate "
            "pair, which is no text; repair it"
        ) from error
