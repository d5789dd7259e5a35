"""Memory that runs out, and copies that arrive in order."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hiddenscape.data.arrays import array_dataset
from hiddenscape.errors import InputError, NetworkError
from hiddenscape.extraction import extract
from hiddenscape.extraction.reading import Copies, Reading
from hiddenscape.models.memory import out_of_memory
from hiddenscape.models.wrapping import wrap_module


def points(rows: int = 40) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)


class Small(nn.Module):
    """Holds ``most`` rows at a time, and none that begin with more than ``huge``."""

    def __init__(self, most: int, huge: float = np.inf) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lin, self.most, self.huge = nn.Linear(4, 2), most, huge
        self.sizes: list[int] = []
        self.spare = False

    def to(self, device: Any) -> Any:
        self.spare = str(device) == "cpu" and not self.spare
        return super().to(device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most or ((x[:, 0] > self.huge).any() and not self.spare):
            raise torch.OutOfMemoryError("out of memory")
        return self.lin(x)


def expected(net: Small, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net.lin(torch.from_numpy(x)).numpy()


def test_what_did_not_fit_is_not_tried_again(tmp_path):
    net = Small(5)
    found = extract(net, array_dataset(points(160)), tmp_path, batch_size=16, sites="lin")
    assert net.sizes.count(16) == 1  # the first batch taught it
    assert net.sizes.count(8) == 1
    np.testing.assert_allclose(found["module:lin"][:], expected(net, points(160)), rtol=1e-5)
    log = next((tmp_path / "log").glob("*.jsonl")).read_text()
    assert [s["then"] for s in json.loads(log)["out_of_memory"]] == ["halved", "halved"]


def test_a_row_that_never_fits_can_be_left_out(tmp_path):
    x = points()
    huge = float(np.sort(x[:, 0])[-3])
    net = Small(100, huge)
    found = extract(net, array_dataset(x), tmp_path, batch_size=8, sites="lin", on_oom="skip")
    lost = np.flatnonzero(x[:, 0] > huge)
    assert len(lost) == 2
    assert np.isnan(found["module:lin"][lost]).all()
    assert set(np.flatnonzero(found.status == 3)) == set(lost)
    kept = np.setdiff1d(np.arange(len(x)), lost)
    np.testing.assert_allclose(found["module:lin"][kept], expected(net, x[kept]), rtol=1e-5)


def test_a_row_that_never_fits_can_go_to_the_processor(tmp_path):
    x = points()
    huge = float(np.sort(x[:, 0])[-3])
    net = Small(100, huge)
    found = extract(net, array_dataset(x), tmp_path, batch_size=8, sites="lin", on_oom="cpu")
    np.testing.assert_allclose(found["module:lin"][:], expected(net, x), rtol=1e-5)
    assert (found.status == 0).all()


def test_a_row_that_never_fits_ends_the_run_by_name(tmp_path):
    x = points()
    net = Small(100, float(np.sort(x[:, 0])[-3]))
    first = int(np.flatnonzero(x[:, 0] > net.huge)[0])
    with pytest.raises(NetworkError, match=rf"row {first} \(id '{first}'\) alone does not fit"):
        extract(net, array_dataset(x), tmp_path, batch_size=8, sites="lin")
    with pytest.raises(InputError, match="on_oom 'die' is not one of"):
        extract(net, array_dataset(x), tmp_path / "b", sites="lin", on_oom="die")


def test_other_errors_are_no_lack_of_memory():
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("can't allocate memory"))


class Recorded:
    """Stands for a device: a copy is worth nothing before its event was waited for."""

    def __init__(self) -> None:
        self.waited: list[int] = []

    def event(self, number: int) -> Any:
        outer = self

        class Event:
            def synchronize(self) -> None:
                outer.waited.append(number)

        return Event()


def test_copies_are_waited_for_before_they_are_read():
    device, copies = Recorded(), Copies(depth=1)
    seen = []
    for i in range(4):
        copies._waiting.append((np.array([i]), {"a": torch.tensor([i])}, [device.event(i)]))
        while len(copies._waiting) > copies.depth:
            pieces, _ = copies._take()
            assert device.waited[-1] == pieces[0]
            seen.append(int(pieces[0]))
    for pieces, _ in copies.drain():
        assert device.waited[-1] == pieces[0]
        seen.append(int(pieces[0]))
    assert seen == device.waited == [0, 1, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is at hand")
def test_copies_from_a_gpu_hold_what_was_computed():
    copies = Copies()
    values = [torch.full((1000, 1000), float(i), device="cuda") for i in range(6)]
    arrived = []
    for i, value in enumerate(values):
        work = value
        for _ in range(20):
            work = work @ torch.eye(1000, device="cuda")
        arrived += list(copies.put(np.array([i]), {"a": work}))
    arrived += list(copies.drain())
    for i, (pieces, found) in enumerate(arrived):
        assert pieces[0] == i
        assert (found["a"] == i).all()
        assert found["a"].is_pinned()


def test_the_processor_may_be_too_small_as_well(tmp_path):
    net, x = Small(5, huge=1.0), points()
    net.to = lambda device: net  # type: ignore[method-assign]  # nothing is gained by moving
    with pytest.raises(NetworkError, match="alone does not fit into the memory"):
        extract(net, array_dataset(x), tmp_path, batch_size=8, sites="lin", on_oom="cpu")


def test_a_network_on_several_devices_is_not_moved_to_the_processor():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    with pytest.raises(InputError, match="lies on 2 devices"):
        Reading(wrap_module(net), None, (), (), "cpu")  # type: ignore[arg-type]
