"""Numbers of single rows: written, read, and put beside the rows of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.errors import InputError, StoreError
from hiddenscape.pointwise import Pointwise, read_pointwise, write_pointwise


@pytest.fixture
def found() -> Pointwise:
    return Pointwise(
        analysis="adp", site="a@mean", rows=np.array([0, 2, 5]), rowwise=("labels", "halo", "x"),
        arrays={"labels": np.array([1, 0, 1]), "halo": np.array([True, False, False]),
                "x": np.array([0.5, np.nan, 2.0]), "heights": np.array([3.0, 1.0])},
        parameters={"dimension": float("nan"), "z": 1.65, "from": "TwoNN"}, note="ties",
    )  # fmt: skip


def test_what_is_written_is_read(found: Pointwise, tmp_path: Path) -> None:
    write_pointwise(tmp_path / "a.safetensors", found)
    again = read_pointwise(tmp_path / "a.safetensors")
    for name, array in found.arrays.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    assert again.rows.tolist() == [0, 2, 5]
    assert (again.analysis, again.site, again.note) == ("adp", "a@mean", "ties")
    assert again.rowwise == found.rowwise
    assert again.parameters == {"dimension": None, "z": 1.65, "from": "TwoNN"}


def test_rows_that_were_not_measured_stand_apart(found: Pointwise) -> None:
    assert found.aligned("labels", 7).tolist() == [1, -1, 0, -1, -1, 1, -1]
    assert found.aligned("halo", 6).tolist() == [True, False, False, False, False, False]
    np.testing.assert_array_equal(found.aligned("x", 6), [0.5, *[np.nan] * 4, 2.0])
    with pytest.raises(InputError, match="'heights' is not given per row; those are: labels"):
        found.aligned("heights", 6)
    with pytest.raises(InputError, match="row 5 was measured, got n = 5"):
        found.aligned("labels", 5)
    with pytest.raises(InputError, match="adp holds no 'label'; there are: labels, halo"):
        found["label"]


def test_damaged_files_are_named(found: Pointwise, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(StoreError, match=r"cannot read .*a\.safetensors"):
        read_pointwise(path)
    write_pointwise(path, found)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match="remove it and measure again"):
        read_pointwise(path)


def _run(folder: Path, copies: int = 0) -> tuple[hs.Run, np.ndarray]:
    rng = np.random.default_rng(3)
    x = np.vstack([rng.normal(size=(120, 2)), 9 + rng.normal(size=(80, 2))])
    x = np.insert(x, 100, x[:copies], axis=0)
    np.savez(folder / "p.npz", a=x, b=np.ones((len(x), 2)))
    labels = {"side": (np.arange(len(x)) % 200 >= 120).astype(int)}
    hs.import_points(folder / "p.npz", folder / "run", labels=labels)
    return hs.open_run(folder / "run"), x


def test_a_run_gives_the_clusters_that_the_functions_give(tmp_path: Path) -> None:
    run, x = _run(tmp_path)
    table = hs.measure(run, ["adp", "adp_labels", "k_star"], kstar_depth=50)
    graph = hs.find_neighbors(x, k=50)
    d = hs.two_nn(graph)
    own = hs.k_star(graph, dimension=d.value)
    by_hand = hs.adp(graph, hs.pak_density(graph, dimension=d.value, k=own), points=x)
    found = run.clusters("a")
    np.testing.assert_array_equal(found.labels, by_hand.labels)
    np.testing.assert_array_equal(found.saddle_pairs, by_hand.saddle_pairs)
    np.testing.assert_array_equal(run.pointwise("a", "k_star")["k"], own.k)
    assert table.select(site="a", quantity="clusters").values().tolist() == [by_hand.n_clusters]
    side = np.arange(200) >= 120
    scores = hs.label_agreement(found, side.tolist())
    row = table.select(site="a", quantity="ari", setting="")[0]
    assert row.value == scores["ari"].value
    used = table.select(site="a", analysis="k_star", quantity="dimension_used")[0]
    assert (used.value, used.n1, used.n2) == (d.value, 1, 2)
    assert run.pointwise("a").parameters["dimension"] == d.value
    assert hs.merge_tree(found).peaks.tolist() == found.heights.tolist()


def test_copies_are_left_out_and_rows_keep_their_numbers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run, x = _run(tmp_path, copies=5)
    hs.measure(run, ["adp"], sites=["a"], kstar_depth=50)
    found = run.pointwise("a")
    assert found.rows.tolist() == [*range(100), *range(105, 205)]
    assert found.aligned("labels", len(x))[100:105].tolist() == [-1] * 5
    clean, _ = _run(tmp_path_factory.mktemp("clean"))
    hs.measure(clean, ["adp"], sites=["a"], kstar_depth=50)
    np.testing.assert_array_equal(found["labels"], clean.pointwise("a")["labels"])
    assert "duplicates (5 of 205 rows" in found.note


def test_a_constant_site_has_a_reason_instead_of_clusters(tmp_path: Path) -> None:
    run, _ = _run(tmp_path)
    table = hs.measure(run, ["density", "peaks"], kstar_depth=50, stability_draws=2)
    lost = table.select(site="b")
    assert {r.analysis for r in lost} == {r.analysis for r in table.select(site="a")}
    assert np.isnan(lost.values()).all()
    assert all("collapsed" in r.note for r in lost)
    with pytest.raises(InputError, match="no numbers of single rows by adp at 'b'"):
        run.clusters("b")


def test_numbers_of_rows_follow_the_latest_settings_and_the_points(tmp_path: Path) -> None:
    run, x = _run(tmp_path)
    hs.measure(run, ["adp"], sites=["a"], kstar_depth=50, z=0.0)
    many = run.clusters("a").n_clusters
    hs.measure(run, ["adp"], sites=["a"], kstar_depth=50, z=3.0)
    assert run.clusters("a").n_clusters < many
    assert run.pointwise("a").parameters["z"] == 3.0
    assert len(list((run.path / "points").iterdir())) == 2
    np.savez(tmp_path / "p.npz", a=x[::-1], b=np.ones((len(x), 2)))
    hs.import_points(tmp_path / "p.npz", tmp_path / "run", overwrite=True)
    hs.measure(tmp_path / "run", ["two_nn"])
    assert not list((run.path / "points").iterdir())


def test_a_dimension_below_one_makes_no_density_and_the_run_goes_on(tmp_path: Path) -> None:
    steps = np.cumsum(np.random.default_rng(0).pareto(0.3, size=300) + 1e-9)
    np.savez(
        tmp_path / "p.npz",
        a=np.log(steps)[:, None] ** 9,
        b=np.random.default_rng(1).normal(size=(300, 3)),
    )
    run = hs.import_points(tmp_path / "p.npz", tmp_path / "run")
    del run
    table = hs.measure(tmp_path / "run", ["two_nn", "k_star", "pak_density", "adp"])
    low = table.select(site="a", analysis="two_nn")[0]
    assert low.value < 1
    for row in table.select(site="a", analysis=("k_star", "pak_density", "adp")):
        if row.quantity != "dimension_used":
            assert np.isnan(row.value)
            assert "is below 1, no density" in row.note
    assert np.isfinite(table.select(site="b", analysis="adp").values()).all()
