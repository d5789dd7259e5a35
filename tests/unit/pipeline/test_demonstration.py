"""The demo goes the whole way without training and without a network connection."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import pytest

import hiddenscape as hs
from hiddenscape.analyses import DEFAULT_ANALYSES
from hiddenscape.models.demo import demo_checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("the demo opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        return hs.demo(tmp_path_factory.mktemp("demo") / "out", rows=160)


def test_there_is_a_report_with_figures(run: hs.Run) -> None:
    assert (run.path / "report.html").stat().st_size > 10_000
    assert (run.path / "figures" / "id_profile.png").exists()


def test_every_block_is_measured_with_its_twin_and_its_history(run: hs.Run) -> None:
    names = [site.name for site in run.representations.sites]
    blocks = [f"resid_post.{b}" for b in range(len(names) - 2)]
    assert names == ["embed", *blocks, "final_norm"]
    assert set(run.table.unique("analysis")) == set(DEFAULT_ANALYSES)
    assert run.null is not None
    assert set(run.null.table.unique("site")) == set(names)
    assert list(run.checkpoints) == [f"step-{step:06d}" for step in demo_checkpoints()]
    for past in run.checkpoints.values():
        assert set(past.table.unique("analysis")) == {"two_nn", "label_overlap"}
    assert all(math.isfinite(v) for v in run.table.select(analysis="two_nn").values())


def test_the_last_checkpoint_is_the_trained_network(run: hs.Run) -> None:
    last = list(run.checkpoints.values())[-1]
    assert (
        last.table.select(analysis="two_nn").values().tolist()
        == run.table.select(analysis="two_nn").values().tolist()
    )


def test_the_twin_is_another_network_on_the_same_rows(run: hs.Run) -> None:
    assert run.null is not None
    trained, twin = (
        r.table.select(analysis="two_nn").sorted_by("depth").values() for r in (run, run.null)
    )
    assert (trained != twin).all()
    ids = run.null.representations.ids
    assert ids.tolist() == run.representations.ids.tolist()


@pytest.mark.slow
def test_training_gathers_digits_of_one_kind(tmp_path: Path) -> None:
    full = hs.demo(tmp_path / "out")
    assert full.null is not None

    def best(of: hs.Run) -> float:
        found = of.table.select(analysis="label_overlap", label="digit", quantity="overlap", k=10)
        return float(found.values().max())

    # The standard error of a label overlap of 2160 rows is below 0.01.
    assert best(full) > best(full.null) + 0.03


def test_it_says_where_everything_comes_from(run: hs.Run) -> None:
    info = run.info
    assert "CC BY 4.0" in info["licences"]["digits"]
    assert {"alpaydin1998digits", "chen2020igpt", "facco2017twonn"} <= set(info["citations"])
    assert "alpaydin1998digits" in hs.cite(run)
    assert not Path(info["argv"][0]).is_absolute()
