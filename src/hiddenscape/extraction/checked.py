"""A network fit to be read: self-checked, its modules timed, its products in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hiddenscape.extraction.inputs import Rows
from hiddenscape.extraction.plan import probe_rows
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.selfcheck import self_check

__all__ = ["exact_float32", "examined"]


def examined(network: TorchNetwork, rows: Rows) -> TorchNetwork:
    """The network after its self-check; what is not known yet is found on the first rows."""
    if not network.checks:
        batch = probe_batch(network)
        network = self_check(network, batch or rows.batch(probe_rows(rows, 2)))
    return network.resolved(rows.batch(probe_rows(rows, 2)))


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Float32 products in float32, not TF32, while we compute; settings are put back."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
