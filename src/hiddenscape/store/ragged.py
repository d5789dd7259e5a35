"""Sites that hold every token: rows of different lengths over mapped shards (S4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from hiddenscape.errors import IncompleteStore, InputError, ShardError
from hiddenscape.store.arrays import SiteArray, inside, name_ranges
from hiddenscape.store.layout import check_offsets
from hiddenscape.store.manifest import token_tensors
from hiddenscape.store.shards import MappedFile, decode
from hiddenscape.types import Site

__all__ = ["RaggedArray", "TokenTable"]


class TokenTable:
    """What the tokens of a store are: shared by all its ragged sites, read when first needed."""

    def __init__(
        self,
        rows: int,
        parts: tuple[tuple[int, int, MappedFile], ...],
        missing: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.rows, self.parts, self.missing = rows, parts, missing
        self._local: dict[int, np.ndarray] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (TokenTable, (self.rows, self.parts, self.missing))

    def local(self, at: int) -> np.ndarray:
        """Offsets of part ``at``, from 0; checked, so that no row can begin outside its file."""
        if at not in self._local:
            file = self.parts[at][2]
            problem = check_offsets({name: file.raw(name) for name in token_tensors()})
            if problem:
                raise ShardError(f"{file.path}: {problem}: restore it from a copy")
            self._local[at] = file.raw("offsets").astype(np.int64)
        return self._local[at]

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (rows + 1,): row i has the tokens offsets[i] to offsets[i + 1] - 1."""
        self.whole("offsets")
        lengths = [np.diff(self.local(at)) for at in range(len(self.parts))]
        found = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        found.flags.writeable = False
        return found

    @property
    def spans(self) -> tuple[tuple[int, int, MappedFile], ...]:
        """Parts by token number; files without a token are left out."""
        ends = [(int(self.offsets[a]), int(self.offsets[b]), file) for a, b, file in self.parts]
        return tuple((a, b, file) for a, b, file in ends if b > a)

    def column(self, name: str) -> np.ndarray:
        """One number per token of the whole store."""
        self.whole(name)
        for at in range(len(self.parts)):
            self.local(at)
        found = np.concatenate([file.raw(name) for _, _, file in self.parts])
        found.flags.writeable = False
        return found

    def whole(self, what: str) -> None:
        """Refuse what counts tokens over all rows while rows are missing."""
        if self.missing:
            raise IncompleteStore(
                f"{what}: {name_ranges(self.missing)} are not written yet, so tokens cannot be "
                "counted: finish the extraction, or pick rows that are there by number",
                self.missing,
            )


class RaggedArray:
    """Every token of one site: ``array[i]`` is the read-only array (T_i, d) of row i.

    Rows differ in length and may be empty. There is no one array over all rows: ``flat`` has the
    tokens of all rows one after the other, and ``offsets`` says where each row begins. Iterating
    gives the rows in order.

    Attributes
    ----------
    site : Site
    width : int
        Numbers per token, d.
    dtype : dtype
        What reading gives: bfloat16 is widened to float32, exactly.
    stored_dtype : str
        What the files hold.
    missing : tuple of (start, stop)
        Row ranges that an unfinished store does not hold yet.
    """

    def __init__(self, site: Site, width: int, stored_dtype: str, tokens: TokenTable) -> None:
        self.site = site
        self.width = width
        self.stored_dtype = stored_dtype
        self.dtype = np.dtype("float32" if stored_dtype == "bfloat16" else stored_dtype)
        self.missing = tokens.missing
        self._tokens = tokens
        self._starts = np.array([start for start, _, _ in tokens.parts], dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return (RaggedArray, (self.site, self.width, self.stored_dtype, self._tokens))

    def __len__(self) -> int:
        return self._tokens.rows

    def __repr__(self) -> str:
        return f"<RaggedArray {self.site.key} {len(self)} rows of width {self.width}>"

    def __getitem__(self, row: Any) -> np.ndarray:
        if not isinstance(row, (int, np.integer)) or isinstance(row, (bool, np.bool_)):
            raise InputError(
                f"site {self.site.key!r} has rows of different lengths: take one row by number, "
                "or tokens with .flat and .offsets"
            )
        at_row = int(inside(np.asarray(int(row)), len(self)))
        part = int(np.searchsorted(self._starts, at_row, side="right")) - 1
        if part < 0 or at_row >= self._tokens.parts[part][1]:
            lost = tuple((a, b) for a, b in self.missing if a <= at_row < b)
            raise IncompleteStore(
                f"site {self.site.key!r}: {name_ranges(lost)} are not written yet: finish the "
                "extraction, or pick rows that are there",
                lost,
            )
        start, _, file = self._tokens.parts[part]
        offsets = self._tokens.local(part)[at_row - start : at_row - start + 2]
        found = decode(
            file.raw(self.site.key)[offsets[0] : offsets[1]],
            file.header.tensors[self.site.key].code,
        )
        if found.flags.writeable:
            found.flags.writeable = False
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InputError(
            f"site {self.site.key!r} has rows of different lengths and is no single array: pool "
            "them, or take .flat"
        )

    @property
    def offsets(self) -> np.ndarray:
        """int64 (rows + 1,): row i has the tokens offsets[i] to offsets[i + 1] - 1 of ``flat``."""
        return self._tokens.offsets

    @property
    def flat(self) -> SiteArray:
        """The tokens of all rows, (T, d): a virtual array as any other site, row = token."""
        shape = (int(self.offsets[-1]), self.width)
        return SiteArray(self.site, shape, self.stored_dtype, self._tokens.spans)

    @property
    def token_id(self) -> np.ndarray:
        """int32 (T,): id of each token in the vocabulary; -1 = unknown."""
        return self._tokens.column("token_id")

    @property
    def token_pos(self) -> np.ndarray:
        """int32 (T,): position of each token in its row."""
        return self._tokens.column("token_pos")

    @property
    def token_content(self) -> np.ndarray:
        """bool (T,): whether the token is content, not a special one."""
        return self._tokens.column("token_content").view(bool)

    @cached_property
    def content_hash(self) -> str:
        """Hash of the site's name, layout and of the content hashes of its shards."""
        digest = hashlib.blake2b(digest_size=16)
        layout = (self.site.key, (len(self), "tokens", self.width), self.stored_dtype)
        digest.update(repr(layout).encode())
        for start, stop, file in self._tokens.parts:
            digest.update(f"{start}:{stop}:{file.header.metadata['content_hash']};".encode())
        return digest.hexdigest()
