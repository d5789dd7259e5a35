"""Telling that a device, or the machine, has run out of memory from every other failure."""

from __future__ import annotations

import torch

__all__ = ["out_of_memory"]

_SIGNS = (
    "can't allocate memory",  # torch on the processor
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out: on an accelerator, or in torch on the processor.

    Torch has a type of its own for accelerators only; its allocator on the processor raises a
    plain ``RuntimeError``.

    Examples
    --------
    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shapes do not match"))
    (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
