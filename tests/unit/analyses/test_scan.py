"""Dimension over ranks and over subsets of the rows, by hand and in a plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.analyses import ANALYSES, Settings, choose
from hiddenscape.analyses import scan as engine
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.results import note_words

N = 240


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(8).normal(size=(N, 4))


def test_ranks_and_subsets_are_those_of_the_functions(points: np.ndarray) -> None:
    scan = hs.dimension_scan(points, ["two_nn", "gride", "mle"], k=(5, 10), subsets=(2, 4))
    graph = hs.find_neighbors(points, k=60)
    assert scan.over_ranks("mle").values.tolist() == [
        hs.mle_dimension(graph, k).value for k in (5, 10)
    ]
    assert scan.over_ranks("gride").values.tolist() == hs.gride_scan(graph).values.tolist()
    # The deal is that of decimation, so that both speak of the same subsets.
    curve = hs.decimation(points)
    np.testing.assert_allclose(scan.over_rows("two_nn").values, curve.values[:3], rtol=1e-12)
    assert scan.over_rows("two_nn").subset == (240, 120, 60)
    assert scan.over_rows("mle", k=10).n2 == (10, 10, 10)


def test_every_dimension_is_measured_on_every_subset(points: np.ndarray) -> None:
    names = [e.name for e in choose(["dimension"]) if e.name != "parallel_analysis"]
    scan = hs.dimension_scan(points, names, k=(8,), subsets=(3,), max_rank=8)
    for name in names:
        if name == "decimation":
            continue
        found = [m for analysis, m in scan.found if analysis == name]
        singles = [m for m in found if m.quantity.endswith("_single")]
        means = [m for m in found if m.quantity.endswith("_subset")]
        assert len(singles) == 3 * len(means) > 0, name
        assert {m.repeat for m in singles} == {0, 1, 2}
        assert {m.subset for m in (*means, *singles)} == {80}, name
        for mean in means:
            own = [m.estimate.value for m in singles if m.quantity[:-7] == mean.quantity[:-7]
                   and (m.k, m.n1, m.setting) == (mean.k, mean.n1, mean.setting)]  # fmt: skip
            assert mean.estimate.value == pytest.approx(np.mean(own)), name


def test_one_search_in_each_subset_serves_all(
    points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = engine.find_neighbors

    def counted(x: np.ndarray, *, k: int) -> object:
        calls.append((len(x), k))
        return real(x, k=k)

    monkeypatch.setattr(engine, "find_neighbors", counted)
    hs.dimension_scan(points, ["two_nn", "mle", "tle", "mind"], k=(10,), subsets=(2,))
    assert calls == [(240, 11), (120, 11), (120, 11)]


def test_small_parts_and_bad_names(points: np.ndarray) -> None:
    scan = hs.dimension_scan(points, ["two_nn"], subsets=(2, 20))
    assert scan.over_rows("two_nn").subset == (240, 120)
    with pytest.raises(ConfigError, match="no dimension pak; there are: two_nn"):
        hs.dimension_scan(points, ["pak"])
    with pytest.raises(InputError, match="at least 3 distinct rows, got 1"):
        hs.dimension_scan(np.ones((30, 2)))
    with pytest.raises(InputError, match="no such dimension was measured"):
        scan.over_ranks("mle")


def test_notes_count_subsets_once(points: np.ndarray) -> None:
    scan = hs.dimension_scan(points, ["mle"], k=(10,), subsets=(4,))
    mean = next(m for m in scan.of("mle") if m.quantity == "dimension_subset")
    assert "few_points (4 of 4 subsets)" in mean.estimate.note
    assert set(note_words(mean.estimate.note)) <= {"few_points", "low_for_high_dimension"}


def test_a_plan_scans_every_site(points: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", a=points, b=points[:, :2])
    hs.import_points(tmp_path / "p.npz", tmp_path / "run")
    table = hs.measure(tmp_path / "run", ["two_nn", "mle"], dimension_k=(5, 10), subsets=(2,))
    scan = hs.dimension_scan(points, ["two_nn", "mle"], k=(5, 10), subsets=(2,))
    rows = table.select(site="a", quantity="dimension_subset", analysis="mle")
    assert rows.values().tolist() == [
        m.estimate.value for m in scan.of("mle") if m.quantity == "dimension_subset"
    ]
    assert len(table.select(quantity="dimension_single", analysis="two_nn")) == 4
    # The profile is that of all rows, whatever else was measured.
    assert hs.open_run(tmp_path / "run").profile["scale"].endswith("among 240 rows")
    # Other subsets are other numbers, and all rows stay what they are.
    again = hs.measure(tmp_path / "run", ["two_nn"], subsets=(3,))
    assert {r.subset for r in again.select(analysis="two_nn", repeat=None)} == {None, 120, 80}


def test_settings_that_an_analysis_reads_fix_its_numbers() -> None:
    mle, pca = ANALYSES["mle"], ANALYSES["pca"]
    assert mle.used(Settings(dimension_k=(7,), z=9)) == {"dimension_k": (7,)}
    assert pca.used(Settings(subsets=(2,), seed=5)) == {"subsets": (2,), "seed": 5}
    assert ANALYSES["adp"].used(Settings(subsets=(2,))).keys() == set(ANALYSES["adp"].uses)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dimension_k": (2,)}, r"dimension_k must be one or more numbers >= 3, got \(2,\)"),
        ({"subsets": (1,)}, "subsets must be one or more numbers >= 2"),
        ({"density": "kernel"}, "density must be one of pak, kstar, knn, bmti"),
        ({"density_rank": 5}, "density_rank must be even, got 5"),
        ({"density_dimension": 0.5}, "density_dimension must be a number of at least 1"),
        ({"alpha": 1.0}, r"alpha must lie in \(0, 1\)"),
        ({"z": -1}, "z and z_scan must not be negative"),
        ({"z_scan": (1, float("nan"))}, "z and z_scan must not be negative"),
        ({"kstar_depth": 5}, "kstar_depth must be at least 6"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**wrong)  # type: ignore[arg-type]


def test_groups_are_names() -> None:
    assert [e.name for e in choose(["rows", "adp"])] == ["adp", "duplicates", "norms"]
    assert choose(["all"]) == tuple(ANALYSES.values())
    assert choose(None) == choose(["default"])
    assert "parallel_analysis" not in [e.name for e in choose(None)]
    with pytest.raises(ConfigError, match="and the groups dimension, density, peaks, labels"):
        choose(["dimensions"])
