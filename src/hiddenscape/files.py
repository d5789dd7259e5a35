"""Files that appear whole or not at all: temporary name, flush, rename."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from hiddenscape.errors import DiskFullError, StoreError

__all__ = [
    "clean_temporaries",
    "explain_failure",
    "file_stem",
    "free_bytes",
    "sync_folder",
    "temporary_name",
    "write_atomic",
]

_LONGEST_STEM = 100  # file systems take 255 bytes for a whole name
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
_TEMPORARY = re.compile(r"\.tmp-(?P<host>.+)-(?P<pid>\d+)-(?P<token>[0-9a-f]+)")
# Temporaries of this process that are being written now: a pid alone cannot tell them from those
# of a dead process that had the same pid in an earlier life of the same container.
_OPEN: set[str] = set()


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname()) or "unknown"


def file_stem(key: str) -> str:
    """A site key as a file name of its own: module paths may hold anything, of any length.

    A key that had to be changed carries a hash, so that two keys never share a file.

    Examples
    --------
    >>> file_stem("resid_post.3@mean")
    'resid_post.3@mean'
    >>> file_stem("module:conv1/a@flat"), file_stem("module:conv1_a@flat")
    ('module_conv1_a@flat+ac7659d0', 'module_conv1_a@flat+eefdb518')
    """
    stem = re.sub(r"[^A-Za-z0-9@._]", "_", key)
    if stem == key and len(stem) <= _LONGEST_STEM:
        return stem
    return f"{stem[:_LONGEST_STEM]}+{blake2b(key.encode(), digest_size=4).hexdigest()}"


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk that holds ``folder``."""
    return shutil.disk_usage(folder).free


def write_atomic(
    path: Path,
    chunks: Iterable[bytes | memoryview],
    *,
    needed: int | None = None,
    replace: bool = True,
) -> None:
    """Write a file so that its name appears only when every byte is on the disk.

    Parameters
    ----------
    path : Path
        Final name. Its folder is made where it is missing.
    chunks : iterable of bytes
        The content, in order.
    needed : int, optional
        Total size in bytes, for the message when the disk is full; needed where ``chunks`` is not
        a list.
    replace : bool
        Replace a file of that name; otherwise raise :class:`FileExistsError` and change nothing.

    Raises
    ------
    DiskFullError
        If the disk or the quota is full. The temporary file is gone.
    StoreError
        If the file cannot be written for another reason.
    FileExistsError
        If ``replace`` is false and the file exists.
    """
    if needed is None:
        chunks = list(chunks)
        needed = sum(len(chunk) for chunk in chunks)
    temporary = path.parent / temporary_name()
    _OPEN.add(temporary.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as stream:  # noqa: PTH123  (mode x, no Path equivalent)
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            _link_without_replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise
        _remove(temporary)  # the free space told is what a retry would find
        raise explain_failure(error, path, needed) from error
    finally:
        _remove(temporary)
        _OPEN.discard(temporary.name)


def temporary_name() -> str:
    """A name that nobody else uses, and that says who made it (S10)."""
    return f".tmp-{_host()}-{os.getpid()}-{secrets.token_hex(6)}"


def explain_failure(error: OSError, path: Path, needed: int) -> StoreError:
    """Why ``path`` could not be written, as an error that says what to do."""
    if error.errno in _FULL:
        limit = " (a limit on the size of files)" if error.errno == errno.EFBIG else ""
        return DiskFullError(
            f"{path}: the disk is full{limit}: {needed:,} bytes needed, "
            f"{free_bytes(path.parent):,} free; nothing half-written remains, make room and run "
            "the same command again"
        )
    return StoreError(
        f"{path}: cannot be written ({error.strerror or error}): check the folder and its "
        "permissions"
    )


def _remove(temporary: Path) -> None:
    # A parent that is a file or a disk that is read-only makes unlink fail; that must not hide the
    # error that matters, and the next writer removes what is left.
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _link_without_replace(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno not in _NO_LINKS:
            raise
        # A file system without hard links: the check and the rename are two steps there.
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    if os.name != "posix":  # folders cannot be opened elsewhere
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clean_temporaries(folder: Path, *, every: bool = False) -> list[str]:
    """Remove what killed writers left in ``folder``; return the names.

    Only temporary files of this host whose process is gone are removed. ``every`` removes those of
    other hosts too: use it only when no other writer is at work.
    """
    removed = []
    for path in sorted(folder.glob(".tmp-*")):
        found = _TEMPORARY.fullmatch(path.name)
        if found is None or path.name in _OPEN:
            continue
        if every or (found["host"] == _host() and not _alive(int(found["pid"]))):
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # ours, and not among the open ones
    if os.name != "posix":  # signal 0 would end the process elsewhere
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
