"""Reference cases of other packages and of the definitions: overlap, labels, imbalance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.comparison.imbalance import information_imbalance, information_imbalance_matrix
from hiddenscape.comparison.jackknife import leave_one_out
from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.neighbors.search import find_neighbors

pytestmark = pytest.mark.real

GROUPS = ("overlap between spaces", "label overlap, labelling phi", "information imbalance")
ELSEWHERE = {
    "c-sim-resi-eigenspace-overlap": "a similarity of whole spaces, not of neighbourhoods",
}


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


@pytest.fixture(scope="session")
def seeded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r = np.random.default_rng(2024)
    a = r.normal(size=(500, 8))
    b = np.hstack([a[:, :4], r.normal(size=(500, 4))])
    labels = (a[:, 0] > 0) + 2 * (a[:, 1] > 1)
    assert a[0, 0] == pytest.approx(1.0288568740, abs=1e-10)
    assert b[0, 7] == pytest.approx(-0.0413268455, abs=1e-10)
    assert np.bincount(labels).tolist() == [209, 207, 36, 48]
    return a, b, labels


def delta(a: np.ndarray, b: np.ndarray, k: int = 1) -> float:
    return information_imbalance(a, b, k=k).value


def test_every_visible_case_is_tested_or_listed(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)


def test_greedy_selection_of_dadapy(cases: dict[str, Any], shared: Path) -> None:
    x = np.load(shared / "reference" / "3d_gauss_small_z_var.npy")
    want = cases["dadapy-ii-greedy"]
    chosen: list[int] = []
    for step in want["imbalances"]:
        scores = {
            c: (delta(x, x[:, [*chosen, c]]), delta(x[:, [*chosen, c]], x))
            for c in range(3)
            if c not in chosen
        }
        chosen.append(min(scores, key=lambda c: max(scores[c])))
        assert scores[chosen[-1]] == pytest.approx(step, abs=0.01)
    # Column 1 comes first (0.15, 0.51); the case lists the chosen set in ascending order.
    assert sorted(chosen) == want["best"]


def test_identical_spaces(cases: dict[str, Any], rng: np.random.Generator) -> None:
    x = rng.normal(size=(64, 8))
    assert delta(x, x) == pytest.approx(cases["tdhook-ii-identical"], abs=1e-12)
    assert cases["a-ii-identical"].startswith("(k+1)/N")
    for k in (1, 3, 63):
        assert delta(x, x, k) == pytest.approx((k + 1) / 64, rel=1e-12)
    for k in (1, 10, 63):
        graph = find_neighbors(x, k=k)
        same = neighborhood_overlap(graph, graph).value
        assert same == cases["torchdr-neighbourhood-identical"]


def test_independent_spaces(cases: dict[str, Any], rng: np.random.Generator) -> None:
    assert cases["a-ii-independent"].startswith("exactly 1")
    found = delta(rng.normal(size=(400, 5)), rng.normal(size=(400, 5)))
    assert found == pytest.approx(1, abs=2.1 / np.sqrt(400))


def test_imbalance_of_seeded_spaces(cases: dict[str, Any], seeded: Any) -> None:
    a, b, _ = seeded
    want = cases["c-rng2024-ii"]
    for k, key in ((1, "k1"), (10, "k10")):
        assert [delta(a, b, k), delta(b, a, k)] == pytest.approx(want[key], rel=1e-9)


def test_imbalance_of_weighted_spaces(cases: dict[str, Any], seeded: Any) -> None:
    a, b, _ = seeded
    found = [delta(np.hstack([w * a[:, 4:8], a[:, :4]]), b, 5) for w in (0, 0.25, 0.5, 1)]
    assert found == pytest.approx(cases["d-ii-weights-seeded"], rel=1e-9)


def test_imbalance_matrix_of_single_columns(cases: dict[str, Any], seeded: Any) -> None:
    a, b, _ = seeded
    want = np.array(cases["d-ii-matrix-seeded"])
    for i in range(3):
        for j in range(3):
            assert delta(a[:, [i]], b[:, [j]]) == pytest.approx(want[i, j], rel=1e-9)
    columns = information_imbalance_matrix([a[:, [i]] for i in range(3)])
    np.testing.assert_allclose(columns.values, want, rtol=1e-9)


def test_jackknife(cases: dict[str, Any], seeded: Any) -> None:
    a = seeded[0][:100]
    result = information_imbalance(a[:, :2], a[:, :1], stderr="jackknife")
    mean = leave_one_out(a[:, :2], a[:, :1], 1).mean()
    assert [result.value, mean, result.stderr] == pytest.approx(
        cases["d-ii-jackknife-seeded"], rel=1e-9
    )


def test_overlap_of_seeded_spaces(cases: dict[str, Any], seeded: Any) -> None:
    a, b, _ = seeded
    result = neighborhood_overlap(find_neighbors(a, k=30), find_neighbors(b, k=30))
    assert result.value == pytest.approx(cases["c-rng2024-overlap"], rel=1e-9)
    assert result.chance == 30 / 499


def test_copies(cases: dict[str, Any], rng: np.random.Generator) -> None:
    assert cases["d-overlap-mfold-duplicates"] == "1"
    x = np.tile(rng.normal(size=(50, 4)), (4, 1))
    for k in (1, 3, 4, 10, 199):
        graph = find_neighbors(x, k=k)
        assert neighborhood_overlap(graph, graph).value == 1.0


def test_label_overlap_of_seeded_space(cases: dict[str, Any], seeded: Any) -> None:
    a, _, labels = seeded
    graph = find_neighbors(a, k=30)
    found = [
        label_overlap(graph, labels, k=30, weighting="macro").value,
        label_overlap(graph, labels, k=30).value,
        label_overlap(graph, labels, class_fraction=0.1, weighting="macro").value,
        label_overlap(graph, labels, class_fraction=0.1).value,
    ]
    assert found == pytest.approx(cases["c-rng2024-label-overlap"], rel=1e-9)
    chance = [label_overlap(graph, labels, weighting=w).chance for w in ("plain", "macro")]
    assert chance == pytest.approx(cases["d-label-chance"], rel=1e-12)


def test_one_class(cases: dict[str, Any], seeded: Any) -> None:
    graph = find_neighbors(seeded[0], k=20)
    for k in (1, 10, 20):
        assert label_overlap(graph, ["same"] * 500, k=k).value == cases["a-label-overlap-one-class"]


def test_continuous_labelling(cases: dict[str, Any], seeded: Any) -> None:
    a, _, _ = seeded
    phi = (np.sin(a[:, 0]) + 0.1 * a[:, 1])[:, None]
    want = cases["d-phi-continuous"]
    graphs = find_neighbors(a, k=10), find_neighbors(phi, k=10)
    assert neighborhood_overlap(*graphs).value == pytest.approx(want["overlap"], rel=1e-9)
    assert [delta(a, phi), delta(phi, a)] == pytest.approx(want["ii"], rel=1e-9)
    # knn_r2 belongs to the probes.


def test_label_overlap_of_digits(cases: dict[str, Any]) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    assert x.sum() == 561718
    graph = find_neighbors(x, k=31)
    results = [label_overlap(graph, y, k=k) for k in (1, 5, 10, 30)]
    assert [r.value for r in results] == pytest.approx(cases["d-digits-label-overlap"], rel=1e-9)
    assert results[0].chance == pytest.approx(0.09952, abs=5e-6)
    assert "ties" in results[0].note
