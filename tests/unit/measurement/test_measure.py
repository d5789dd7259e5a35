"""measure(): one search per site, rows that stay together, pathology noted, work not repeated."""

from __future__ import annotations

import json
import operator
from pathlib import Path

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.analyses import ANALYSES, Settings
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import ConfigError, InputError, StoreError
from hiddenscape.measurement import sites as engine
from hiddenscape.measurement.reading import _partitions
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.plots.sites import latest
from hiddenscape.table import Table

N = 240


def _make(folder: Path, sites: dict[str, np.ndarray], labels: dict | None = None) -> Path:
    source = folder / "points.npz"
    np.savez(source, **sites)
    out = folder / "run"
    hs.import_points(source, out, labels=labels)
    return out


@pytest.fixture
def sites() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    a = rng.normal(size=(N, 3)) @ rng.normal(size=(3, 12))
    return {
        "l0": a.astype(np.float32),
        "l1": (np.tanh(a) + 0.01 * rng.normal(size=a.shape)).astype(np.float32),
        "l2": rng.normal(size=(N, 12)).astype(np.float32),
    }


@pytest.fixture
def labels() -> dict[str, np.ndarray]:
    return {"shape": np.arange(N) % 4}


def test_every_analysis_gives_its_quantities_at_every_site(tmp_path, sites, labels) -> None:
    table = hs.measure(_make(tmp_path, sites, labels), ["all"], max_rank=16, stability_draws=2)
    for entry in ANALYSES.values():
        rows = table.select(analysis=entry.name)
        assert {r.quantity for r in rows} == set(entry.quantities), entry.name
        assert {r.site for r in rows} == set(sites), entry.name
    pairs = table.select(analysis="neighborhood_overlap", quantity="overlap", k=10)
    assert len(pairs) == 6
    assert len(table.select(analysis="information_imbalance")) == 9
    # Boxes are for few columns.
    assert {r.analysis for r in table if np.isnan(r.value)} == {"box_counting"}


def test_numbers_equal_the_functions_by_hand(tmp_path, sites, labels) -> None:
    table = hs.measure(_make(tmp_path, sites, labels), max_rank=16, k=7)
    graphs = {s: find_neighbors(x, k=16) for s, x in sites.items()}
    for site, graph in graphs.items():
        row = table.select(analysis="two_nn", site=site)[0]
        by_hand = hs.two_nn(graph, stderr="blocks", blocks=spatial_blocks(sites[site]))
        assert (row.value, row.stderr) == (by_hand.value, by_hand.stderr)
        assert row.stderr_kind == "blocks"
        assert row.value == hs.two_nn(graph).value
        row = table.select(analysis="gride", site=site, n1=8)[0]
        assert row.value == hs.gride(graph, n1=8).value
        row = table.select(analysis="label_overlap", quantity="overlap", site=site)[0]
        assert row.value == hs.label_overlap(graph, labels["shape"], k=7).value
    row = table.select(analysis="neighborhood_overlap", quantity="overlap", site="l0", site_b="l1")[
        0
    ]
    assert row.value == hs.neighborhood_overlap(graphs["l0"], graphs["l1"], k=7).value
    row = table.select(analysis="information_imbalance", site="l1", site_b="l2")[0]
    assert row.value == pytest.approx(
        hs.information_imbalance(sites["l1"], sites["l2"]).value, rel=1e-12
    )


def test_one_search_per_site_serves_all(tmp_path, sites, labels, monkeypatch) -> None:
    run = _make(tmp_path, sites, labels)
    calls = []
    real = engine.find_neighbors

    def counted(points, *, k, **options):
        calls.append(k)
        return real(points, k=k, **options)

    monkeypatch.setattr(engine, "find_neighbors", counted)
    hs.measure(run, max_rank=16)
    # The widest need is that of k*.
    assert calls == [100, 100, 100]


def test_measuring_again_repeats_no_work_and_changes_nothing(
    tmp_path, sites, labels, monkeypatch
) -> None:
    run = _make(tmp_path, sites, labels)
    first = hs.measure(run, max_rank=16)

    def never(*args, **kwargs):
        raise AssertionError("searched again")

    monkeypatch.setattr(engine, "find_neighbors", never)
    monkeypatch.setattr(engine, "find_duplicates", never)
    again = hs.measure(run, max_rank=16)
    assert again.to_csv() == first.to_csv()


def test_a_new_analysis_reads_the_cached_graph(tmp_path, sites, monkeypatch) -> None:
    run = _make(tmp_path, sites)
    fresh = hs.measure(run, ["two_nn", "gride"], max_rank=16)
    for part in (run / "results").glob("gride-*.csv"):
        part.unlink()

    def never(*args, **kwargs):
        raise AssertionError("searched again")

    monkeypatch.setattr(engine, "find_neighbors", never)
    assert hs.measure(run, ["two_nn", "gride"], max_rank=16).to_csv() == fresh.to_csv()


def test_other_content_replaces_the_numbers(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    before = hs.measure(run, ["two_nn"])
    again = tmp_path / "again"
    again.mkdir()
    new = _make(again, {s: 2 * x[::-1] ** 3 for s, x in sites.items()})
    (new / "results").mkdir(exist_ok=True)
    for part in (run / "results").glob("*.csv"):
        (new / "results" / part.name).write_bytes(part.read_bytes())
    after = hs.measure(new, ["two_nn"])
    assert len(after) == len(before) == 3
    assert not set(after.values()) & set(before.values())


def test_numbers_of_other_points_go_whatever_the_settings(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    hs.measure(run, ["two_nn"], seed=0)
    np.savez(tmp_path / "other.npz", **{s: x[::-1] ** 3 for s, x in sites.items()})
    hs.import_points(tmp_path / "other.npz", run, overwrite=True)
    table = hs.measure(run, ["two_nn"], seed=1)
    assert sorted(table.column("site")) == ["l0", "l1", "l2"]
    assert len(table.unique("params_hash")) == 1


def test_of_two_settings_the_latest_call_counts_whatever_their_hashes(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    for seed in (0, 1, 2, 0, 3, 1):
        table = hs.measure(run, ["two_nn", "decimation"], seed=seed)
        alone = hs.measure(_make(_folder(tmp_path), sites), ["two_nn", "decimation"], seed=seed)
        # All settings are in the table; whoever reads one number per site reads the last.
        kept, want = latest(table)[0], latest(alone)[0]
        key = operator.attrgetter("site", "analysis", "quantity", "subset", "repeat", "value")
        assert {key(r) for r in kept} == {key(r) for r in want}
    hs.measure(run, ["two_nn", "decimation"], seed=4, sites=["l0"])
    single = hs.open_run(run).table.select(quantity="dimension_single", subset=60)
    mixed = _partitions(single, ["l0", "l1", "l2"])
    values = {(r.params_hash, r.site, r.repeat): r.value for r in single}
    assert mixed is not None
    # The newest seed has one site only: the profiles are those of one seed that has all.
    assert any(
        np.array_equal(mixed, [[values[h, s, i] for s in ("l0", "l1", "l2")] for i in range(4)])
        for h in {h for h, s, _ in values if s == "l1"}
    )


def _folder(parent: Path) -> Path:
    path = parent / f"alone-{len(list(parent.iterdir()))}"
    path.mkdir()
    return path


def test_sites_whose_names_look_alike_as_file_names_keep_their_numbers(tmp_path, sites) -> None:
    x = sites["l0"]
    names = ("a/b", "a_b", "a-b", "a:b", "b" * 300, "b" * 301, "..")
    source = {name: x * (np.arange(12) < 4 + i) for i, name in enumerate(names)}
    hs.import_points(source, tmp_path / "run")
    for _ in range(2):
        table = hs.measure(tmp_path / "run", ["two_nn"])
        assert sorted(table.column("site")) == sorted(names)
    parts = list((tmp_path / "run" / "results").iterdir())
    hs.measure(tmp_path / "run", ["two_nn"])
    assert list((tmp_path / "run" / "results").iterdir()) == parts


def test_measuring_some_sites_keeps_what_was_measured_over_all(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    analyses = ["neighborhood_overlap", "information_imbalance"]
    before = hs.measure(run, analyses).to_csv()
    assert hs.measure(run, analyses, sites=["l1"]).to_csv() == before
    assert hs.measure(run, analyses).to_csv() == before


def test_rows_with_nan_leave_every_site_and_are_named(tmp_path, sites) -> None:
    broken = {s: x.copy() for s, x in sites.items()}
    broken["l1"][17, 3] = np.nan
    broken["l2"][40] = np.inf
    run = _make(tmp_path, broken)
    table = hs.measure(run, ["two_nn", "neighborhood_overlap"])
    keep = np.setdiff1d(np.arange(N), [17, 40])
    for site in ("l0", "l1", "l2"):
        row = table.select(analysis="two_nn", site=site)[0]
        assert row.value == hs.two_nn(find_neighbors(broken[site][keep], k=2)).value
        assert (row.n_used, row.n_dropped) == (N - 2, 2)
    measured = json.loads((run / "measure.json").read_text())
    assert measured["rows_dropped"] == ["17", "40"]
    assert any("2 rows are not finite" in w for w in measured["warnings"])


def test_identical_rows_leave_the_dimensions_of_every_site_but_not_the_overlaps(
    tmp_path, sites
) -> None:
    repeated = {s: x.copy() for s, x in sites.items()}
    repeated["l1"][100:120] = repeated["l1"][:20]
    run = _make(tmp_path, repeated)
    table = hs.measure(run, ["two_nn", "neighborhood_overlap"], k=5)
    keep = np.setdiff1d(np.arange(N), np.arange(100, 120))
    for site in repeated:
        row = table.select(analysis="two_nn", site=site)[0]
        assert row.value == hs.two_nn(find_neighbors(repeated[site][keep], k=2)).value
        assert (row.n_used, row.n_dropped) == (220, 20)
        assert "duplicates (20 of 240 rows left out)" in row.note
    row = table.select(site="l0", site_b="l1", quantity="overlap")[0]
    assert row.n_used == N
    assert (
        row.value
        == hs.neighborhood_overlap(
            find_neighbors(repeated["l0"], k=5), find_neighbors(repeated["l1"], k=5)
        ).value
    )


def test_a_site_of_mostly_repeats_does_not_empty_the_others(tmp_path, sites) -> None:
    few = {**sites, "l0": sites["l0"][np.arange(N) % 8]}
    run = _make(tmp_path, few)
    table = hs.measure(run, ["two_nn"])
    assert table.select(site="l1")[0].n_used == N
    row = table.select(site="l0")[0]
    assert row.n_used == 8
    assert "duplicates" in row.note
    warnings = json.loads((run / "measure.json").read_text())["warnings"]
    assert any(w.startswith("l0: 232 of 240 rows repeat another") for w in warnings)


@pytest.mark.parametrize("what", ["constant", "pairs_only"])
def test_a_pathological_site_gives_nan_with_a_note_and_the_run_goes_on(
    tmp_path, sites, labels, what
) -> None:
    strange = np.ones((N, 4)) if what == "constant" else np.arange(N)[:, None] % 2 * np.ones((1, 4))
    run = _make(tmp_path, {**sites, "l1": strange.astype(np.float32)}, labels)
    table = hs.measure(run, max_rank=16)
    nan = [r for r in table if np.isnan(r.value)]
    assert nan
    assert all(r.note for r in nan)
    assert all("l1" in (r.site, r.site_b) for r in nan)
    assert np.isnan(table.select(analysis="two_nn", site="l1")[0].value)
    assert np.isfinite(table.select(analysis="two_nn", site="l2")[0].value)


def test_labels_that_cannot_be_used_are_named(tmp_path, sites) -> None:
    labels = {
        "good": np.arange(N) % 3,
        "all_different": np.arange(N),
        "all_the_same": np.zeros(N, dtype=int),
        "height": np.linspace(0.1, 7.7, N),
    }
    run = _make(tmp_path, sites, labels)
    table = hs.measure(run, ["label_overlap"], k=5)
    assert table.unique("label") == ["good"]
    text = " ".join(json.loads((run / "measure.json").read_text())["warnings"])
    for name in ("all_different", "all_the_same", "height"):
        assert f"label {name!r}" in text


def test_k_that_is_too_large_is_left_out_with_a_warning(tmp_path, sites) -> None:
    run = _make(tmp_path, {s: x[:20] for s, x in sites.items()})
    table = hs.measure(run, ["neighborhood_overlap"], k=(5, 30))
    assert table.unique("k") == [5]
    assert "k = 30 was left out: the run has 20 rows" in (run / "measure.json").read_text()


def test_misuse_is_refused_by_name(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    with pytest.raises(ConfigError, match="no analysis tow_nn; there are: two_nn"):
        hs.measure(run, ["tow_nn"])
    with pytest.raises(ConfigError, match="no label column species; there are: none"):
        hs.measure(run, labels=["species"])
    with pytest.raises(LookupError, match="no site 'l9'"):
        hs.measure(run, sites=["l9"])
    with pytest.raises(ConfigError, match="k must be one or more numbers >= 1"):
        hs.measure(run, k=0)
    with pytest.raises(StoreError, match="the directory does not exist"):
        hs.measure(tmp_path / "nowhere")


def test_counts_may_be_of_numpy_and_must_be_whole(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    one = {"sites": ["l0"], "analyses": ["neighborhood_overlap"]}
    table = hs.measure(run, k=np.int64(5), seed=np.int64(3), **one)
    assert table.unique("k") == [5]
    assert len(hs.measure(run, k=(5, 5.0), seed=3, **one)) == len(table)
    for wrong in ({"k": 2.5}, {"k": "5"}, {"k": None}, {"seed": "a"}, {"imbalance_k": 1.5}):
        with pytest.raises(InputError, match="must be a whole number"):
            hs.measure(run, **one, **wrong)
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        hs.measure(run, seed=-1, **one)


def test_norms_of_huge_rows_are_finite(sites) -> None:
    points = sites["l0"].astype(np.float64)
    huge, plain = (
        next(iter(ANALYSES["norms"].compute(x, Settings()))).estimate
        for x in (1e200 * points, points)
    )
    assert huge.value == pytest.approx(1e200 * plain.value)
    assert huge.stderr == pytest.approx(1e200 * plain.stderr)


def test_too_few_finite_rows_are_refused(tmp_path, sites) -> None:
    broken = {s: x.copy() for s, x in sites.items()}
    for i, points in enumerate(broken.values()):
        points[i::2] = np.nan
    with pytest.raises(InputError, match="0 of 240 rows are finite at every site"):
        hs.measure(_make(tmp_path, broken))


def test_a_site_without_finite_rows_is_set_aside(tmp_path, sites) -> None:
    names = list(sites)
    broken = {s: x.copy() for s, x in sites.items()}
    broken[names[0]][2:] = np.nan
    run = _make(tmp_path, broken)
    table = hs.measure(run, ["two_nn", "label_overlap", "neighborhood_overlap"], k=5)
    first = table.select(site=names[0])
    assert len(first)
    assert all(np.isnan(r.value) and "only 2 of 240 rows are finite" in r.note for r in first)
    rest = {s: x for s, x in sites.items() if s != names[0]}
    (tmp_path / "rest").mkdir()
    alone = hs.measure(_make(tmp_path / "rest", rest), ["two_nn"], k=5)
    for name in rest:
        assert table.select(site=name, analysis="two_nn").values() == pytest.approx(
            alone.select(site=name, analysis="two_nn").values()
        )
    warned = json.loads((run / "measure.json").read_text())["warnings"]
    assert any(f"site {names[0]}" in w and "set aside" in w for w in warned)


def test_progress_counts_to_the_end(tmp_path, sites) -> None:
    seen: list[tuple[int, int]] = []
    hs.measure(
        _make(tmp_path, sites),
        ["two_nn", "neighborhood_overlap"],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_damaged_graph_cache_is_made_again(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    first = hs.measure(run, ["two_nn"])
    for part in (run / "results").iterdir():
        part.unlink()
    for file in (run / "graph").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert hs.measure(run, ["two_nn"]).to_csv() == first.to_csv()


def test_sites_may_be_chosen(tmp_path, sites) -> None:
    table = hs.measure(_make(tmp_path, sites), ["two_nn"], sites=["l2", "l0"])
    assert table.unique("site") == ["l0", "l2"]
    table = hs.measure(tmp_path / "run", ["two_nn_mle"], sites=["l[01]"])
    assert table.select(analysis="two_nn_mle").unique("site") == ["l0", "l1"]


def test_rows_of_the_table_name_the_network_and_the_data(tmp_path) -> None:
    import torch

    torch.manual_seed(0)
    data = hs.array_dataset(np.random.default_rng(0).normal(size=(40, 5)), name="a cloud")
    network = hs.wrap_module(torch.nn.Sequential(torch.nn.Linear(5, 4)), name="a map")
    hs.extract(network, data, tmp_path / "run")
    table = hs.measure(tmp_path / "run", ["two_nn"])
    assert {(r.model, r.dataset) for r in table} == {("a map", "a cloud")}


def test_choosing_sites_changes_no_number(tmp_path, sites) -> None:
    repeated = {s: x.copy() for s, x in sites.items()}
    repeated["l1"][100:120] = repeated["l1"][:20]
    run = _make(tmp_path, repeated)
    alone = hs.measure(run, ["two_nn"], sites=["l0"]).to_csv()
    together = hs.measure(run, ["two_nn"])
    assert Table(together.select(site="l0")).to_csv() == alone


def test_choosing_labels_keeps_the_others(tmp_path, sites) -> None:
    labels = {"a": np.arange(N) % 3, "b": np.arange(N) % 4}
    run = _make(tmp_path, sites, labels)
    everything = hs.measure(run, ["label_overlap"], k=5).to_csv()
    assert hs.measure(run, ["label_overlap"], k=5, labels=["a"]).to_csv() == everything


def test_a_setting_that_an_analysis_does_not_use_files_nothing_anew(tmp_path, sites) -> None:
    run = _make(tmp_path, sites)
    before = hs.measure(run, ["two_nn", "gride"], k=5, max_rank=8)
    after = hs.measure(run, ["two_nn", "gride"], k=9, seed=4, max_rank=8)
    assert after.to_csv() == before.to_csv()
    deeper = hs.measure(run, ["gride"], max_rank=16)
    assert len(deeper.select(analysis="two_nn")) == 3


def test_sites_that_a_network_does_not_offer_are_named(tmp_path) -> None:
    import torch

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = torch.nn.Linear(5, 5)
            self.last = torch.nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.shared(self.shared(x)))

    data = hs.array_dataset(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    hs.extract(hs.wrap_module(Twice()), data, tmp_path / "run")
    hs.measure(tmp_path / "run", ["two_nn"])
    warnings = json.loads((tmp_path / "run" / "measure.json").read_text())["warnings"]
    assert any(w.startswith("site module:shared was not offered") for w in warnings)


def test_rows_that_are_finite_nowhere_set_no_site_aside(tmp_path) -> None:
    points = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    points[:60] = np.nan
    other = points * 2
    hs.import_points({"a": points, "b": other}, tmp_path)
    table = hs.measure(tmp_path, ["two_nn"])
    assert [row.n_used for row in table.select(quantity="dimension")] == [40, 40]
    assert all(np.isfinite(table.select(quantity="dimension").values()))
