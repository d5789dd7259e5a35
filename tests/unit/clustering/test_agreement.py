"""Agreement with labels: scikit-learn's numbers, chance, halo, levels, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.agreement import label_agreement
from hiddenscape.density.knn import knn_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors


@pytest.mark.parametrize(("n", "a_parts", "b_parts"), [(40, 3, 4), (300, 10, 2), (50, 50, 5)])
def test_values_are_those_of_scikit_learn(n: int, a_parts: int, b_parts: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng([71, n])
    a = rng.integers(a_parts, size=n)
    b = np.where(rng.random(n) < 0.5, a % b_parts, rng.integers(b_parts, size=n))
    found = label_agreement(a, b)
    assert found["ari"].value == pytest.approx(metrics.adjusted_rand_score(b, a), abs=1e-12)
    assert found["ami"].value == pytest.approx(metrics.adjusted_mutual_info_score(b, a), abs=1e-9)
    table = metrics.cluster.contingency_matrix(a, b)
    appearance = np.argsort([np.flatnonzero(a == x)[0] for x in np.unique(a)])
    assert found["purity"].value == pytest.approx(table.max(axis=1).sum() / n)
    shares = np.array(found["purity"].parameters["per_cluster"])
    assert shares == pytest.approx((table.max(axis=1) / table.sum(axis=1))[appearance])


def test_one_for_equal_partitions_and_zero_by_chance() -> None:
    rng = np.random.default_rng(72)
    a = rng.integers(4, size=200)
    same = label_agreement(a, np.array(list("wxyz"))[a])
    assert [e.value for e in same.values()] == pytest.approx([1, 1, 1])
    draws = [label_agreement(a, rng.permutation(a)) for _ in range(300)]
    for name in ("ari", "ami"):
        values = np.array([d[name].value for d in draws])
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(300)


def test_trivial_partitions_are_undefined() -> None:
    for a in (np.zeros(9, int), np.arange(9)):
        found = label_agreement(a, a)
        assert math.isnan(found["ari"].value)
        assert math.isnan(found["ami"].value)
        assert found["ari"].note == "undefined (both partitions are trivial)"
        assert found["purity"].value == 1
    assert label_agreement(np.zeros(9, int), [0, 1, 2] * 3)["ari"].value == 0


def test_levels_halo_and_errors() -> None:
    rng = np.random.default_rng(73)
    kind = np.repeat(np.arange(4), 60)
    points = np.array([[0, 0], [4, 0], [40, 0], [44, 0]])[kind] + rng.normal(size=(240, 2))
    graph = find_neighbors(points, k=40)
    clusters = adp(graph, knn_density(graph, dimension=2, k=20))
    levels = {"fine": kind.tolist(), "macro": ["left" if x < 2 else "right" for x in kind]}
    found = label_agreement(clusters, levels, bootstraps=50, seed=1)
    assert set(found) == {f"{a} {b}" for a in levels for b in ("ari", "ami", "purity")}
    assert found["macro purity"].value == 1
    assert found["fine ari"].stderr > 0
    assert found["fine ari"].stderr_kind == "bootstrap"
    again = label_agreement(clusters, levels, bootstraps=50, seed=1)
    assert again["fine ami"].stderr == found["fine ami"].stderr
    assert found["fine ari"].parameters["dimension"] == 2.0
    assert found["fine ari"].parameters["z"] == 1.65
    core = label_agreement(clusters, kind, halo="drop")["ari"]
    assert core.n_dropped == clusters.halo.sum() > 0
    keep = ~clusters.halo
    assert core.value == label_agreement(clusters.labels[keep], kind[keep])["ari"].value


def test_no_clusters_agree_with_nothing() -> None:
    flat = find_neighbors(np.ones((20, 2)), k=8)
    clusters = adp(flat, knn_density(flat, dimension=2, k=8))
    found = label_agreement(clusters, {"fine": list(range(20))})
    assert math.isnan(found["fine purity"].value)
    assert "collapsed" in found["fine purity"].note
    assert "undefined (no clusters)" in found["fine purity"].note


@pytest.mark.parametrize(
    ("clusters", "labels", "options", "message"),
    [
        ([0, 1], [0, 1, 2], {}, "3 labels for 2 rows"),
        ([0, 1], [0, None], {}, "row 1 has no label"),
        ([0, 1], [0, float("nan")], {}, "row 1 has no label"),
        ([0, 1], [0, [1]], {}, "is no label"),
        ([0, 1], "ab", {}, "must be a sequence"),
        ([0], [0], {}, "1 rows are left"),
        ([0, 1], {}, {}, "labels hold no level"),
        ([0, 1], [0, 1], {"halo": "drop"}, "needs Clusters"),
        ([0, 1], [0, 1], {"halo": "no"}, "halo must be"),
        ([0, 1], [0, 1], {"bootstraps": 1}, "bootstraps must be 0 or"),
    ],
)
def test_wrong_arguments_are_refused(
    clusters: list[int], labels: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        label_agreement(clusters, labels, **options)
