"""Conventions by name: the numbers of the packages themselves, and of the reference cases.

Those of DADApy 0.3.4 and scikit-dimension 0.5.0 below are what
``python bench/peers/conventions.py dadapy`` and ``... skdim`` printed.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape import compat
from hiddenscape.compat.convention import slope
from hiddenscape.compat.peers import mind_with_coefficient
from hiddenscape.errors import DuplicateRowsError, InputError

NAN = float("nan")
DADAPY: dict[str, dict[str, Any]] = {
    "cube": {
        "compute_id_2NN": 5.248554241589385,
        "compute_id_2NN_ml": 5.187017216822496,
        "compute_id_2NN_wprior": 5.042806249930166,
        "return_id_scaling_gride": [
            *(5.187017218791734, 5.159861684108996, 4.981695138931246),
            *(5.099246440332471, 4.917452688392106, 4.862582069341822),
        ],
    },
    "pairs": {
        "compute_id_2NN": 3.925418982887777,
        "compute_id_2NN_ml": 0.0,
        "compute_id_2NN_wprior": 0.0,
        "return_id_scaling_gride": [
            *(0.0010000291038013529, 4.732146049420844, 4.904649809761759),
            *(5.1275997710636885, 4.905573215171083, 4.847516952232313),
        ],
    },
    "a triple": {
        "compute_id_2NN": 5.1962205765264535,
        "compute_id_2NN_ml": NAN,
        "compute_id_2NN_wprior": NAN,
        "return_id_scaling_gride": [
            *(0.0010000291038013529, 5.172825506760825, 4.978624629680912),
            *(5.099693882174469, 4.907790750211366, 4.859545262293454),
        ],
    },
}
SKDIM = {
    "cube": (5.248554242451802, 5.076991318966771, 4.880943093149397, 5.4918704145942066),
    "pairs": (5.488017524381255, 0.0, 4.856862615067346, 5.659000855133915),
    "a triple": (5.243054466285233, 0.0, 4.87694217463428, 5.49885206240051),
}
TLE = {"cube": 5.635670468004222, "pairs": 5.62808158279549, "a triple": 5.631265810351116}


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "bench" / "peers" / "conventions.py"
    spec = importlib.util.spec_from_file_location("conventions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("cloud", DADAPY)
@pytest.mark.parametrize("name", DADAPY["cube"])
def test_numbers_of_dadapy(name: str, cloud: str, peer: ModuleType) -> None:
    pair = compat.reproduce(f"dadapy.{name}", peer.clouds()[cloud])
    assert pair.published == pytest.approx(DADAPY[cloud][name], abs=2e-7, nan_ok=True)
    clean = compat.reproduce(f"dadapy.{name}", peer.clouds()["cube"])
    assert pair.corrected == pytest.approx(clean.corrected, rel=1e-12)


def test_overlaps_and_clusters_of_dadapy(peer: ModuleType) -> None:
    cube, labels = peer.clouds()["cube"], peer.labels()
    name = "dadapy.return_label_overlap"
    assert compat.reproduce(name, cube, labels).published == pytest.approx(0.4003193214055283)
    plain = compat.reproduce(name, cube, labels, weighted=False)
    assert plain.published == pytest.approx(0.498375)
    assert plain.corrected == pytest.approx(0.498375 * 800 / 799)  # without the lonely row
    macro = compat.reproduce("doimo24.label_overlap", cube, labels)
    assert macro.published == pytest.approx(0.3632656538788352)
    overlap = compat.reproduce("dadapy.return_data_overlap", cube, cube[:, :4])
    assert overlap.published == overlap.corrected == pytest.approx(0.423125)
    hills = np.concatenate([cube[:, :2], cube[:, 2:4] + [1.5, 0], cube[:, 4:] + [0, 1.5]])
    assert compat.reproduce("dadapy.compute_clustering_ADP", hills).published == 4


@pytest.mark.parametrize("cloud", SKDIM)
def test_numbers_of_scikit_dimension(cloud: str, peer: ModuleType) -> None:
    points = peer.clouds()[cloud]
    names = ("TwoNN", "MLE", "MOM", "MADA")
    found = [compat.reproduce(f"skdim.{n}", points) for n in names]
    assert [p.published for p in found] == pytest.approx(SKDIM[cloud], rel=1e-9)
    clean = [compat.reproduce(f"skdim.{n}", peer.clouds()["cube"]).corrected for n in names]
    assert [p.corrected for p in found] == pytest.approx(clean, rel=1e-12)
    # It lists k neighbours of the tree, which sorts copies as it likes.
    assert compat.reproduce("skdim.TLE", points).published == pytest.approx(TLE[cloud], rel=2e-3)


def test_copies_spoil_an_overlap_that_drops_the_first_entry(peer: ModuleType) -> None:
    four = np.tile(peer.clouds()["cube"][:100], (4, 1))
    near = four + 1e-3 * np.random.default_rng(7).normal(size=four.shape)
    pair = compat.reproduce("dadapy.return_data_overlap", four, near)
    assert pair.published < pair.corrected - 0.02
    # DADApy says 0.94575: equal distances come in another order.
    assert pair.published == pytest.approx(0.94575, abs=2e-3)


@pytest.mark.real
def test_reference_cases(shared: Path) -> None:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    cases = {c["id"]: c["expected"] for c in content["cases"]}
    points = np.load(shared / "reference" / "2gaussians_in_2d.npy")
    pair = compat.reproduce("dadapy.compute_id_2NN", points)
    assert pair.published == pytest.approx(cases["c-2gauss-2nn-base-0.9"], rel=1e-6)
    assert compat.reproduce("facco17.two_nn", points).published == pytest.approx(pair.published)
    pair = compat.reproduce("dadapy.compute_id_2NN_ml", points)
    assert pair.published == pytest.approx(cases["c-2gauss-2nn-ml"], rel=1e-6)
    pair = compat.reproduce("dadapy.compute_id_2NN_wprior", points)
    assert pair.published == pytest.approx(cases["dadapy-2nn-bayes"], abs=1e-4)
    figure = np.loadtxt(shared / "reference" / "Fig1.dat")[:5000]
    pair = compat.reproduce("dadapy.compute_clustering_ADP", figure)
    assert pair.published == cases["dadapy-adp-fig1-nclusters"]
    steps = np.random.default_rng(0).exponential(size=(1000, 21))
    r = np.cumsum(steps, axis=1) ** (1 / 5)
    log_rho = np.log(r[:, 0] / r[:, 20])
    right, wrong = cases["a-mind-ml-k"]
    assert mind_with_coefficient(log_rho, 19) == pytest.approx(right, rel=1e-8)
    assert mind_with_coefficient(log_rho, 20) == pytest.approx(wrong, rel=1e-8)


def test_lines_of_the_other_packages_by_their_formulas() -> None:
    points = np.random.default_rng(9).normal(size=(300, 4))
    r = hs.find_neighbors(points, k=2).distances
    x = np.sort(np.log(r[:, 1] / r[:, 0]))
    n, i = len(x), np.arange(1, len(x) + 1)

    def line(m: int, shares: np.ndarray) -> float:
        return float(np.linalg.lstsq(x[:m, None], -np.log(1 - shares[:m]), rcond=None)[0][0])

    published = {
        "torchid.two_nn": line(270, (i - 1) / n),
        "intRinsic.twonn_linfit": line(297, (i - 1) / 297),
        "ansuini19.two_nn": line(270, i / n),
        "doimo20.two_nn": round(line(285, i / n)),
    }
    for name, want in published.items():
        assert compat.reproduce(name, points).published == pytest.approx(want, rel=1e-9), name
    # With ties and copies: they leave before ranks are counted.
    whole = np.rint(3 * points)
    pair = compat.reproduce("ansuini19.two_nn", whole)
    assert np.isfinite(pair.published)
    assert pair.published != pytest.approx(compat.reproduce("skdim.TwoNN", whole).published)


def test_trimmed_lines_are_as_wrong_as_measured() -> None:
    values = []
    for seed in range(60):
        x = np.sort(np.random.default_rng([91, seed]).exponential(size=1000) / 5)[:990]
        values.append(slope(x, np.arange(990) / 990))
    assert np.mean(values) == pytest.approx(5.37, abs=0.04)


def test_settings_of_papers() -> None:
    rng = np.random.default_rng(10)
    points, labels = rng.normal(size=(700, 4)), rng.integers(4, size=700)
    graph = hs.find_neighbors(points, k=32)
    assert compat.reproduce("doimo24.gride", points).corrected == hs.gride(graph, 16, 32).value
    for name, k in (("doimo20.label_overlap", 30), ("valeriani23.label_overlap", 10)):
        want = hs.label_overlap(graph, labels, k=k).value
        assert compat.reproduce(name, points, labels).published == want
    naive = compat.reproduce("doimo20.two_nn_ml", points)
    assert naive.published / naive.corrected == pytest.approx(1.344, abs=0.03)
    pca = compat.reproduce("ansuini19.pca", points)
    assert pca.difference == -1
    subsets = compat.reproduce("valeriani23.two_nn", points)
    assert subsets.published_answer.n_used == subsets.corrected_answer.n_used == 22
    assert subsets.published == compat.reproduce("valeriani23.two_nn", points).published
    assert subsets.published != compat.reproduce("valeriani23.two_nn", points, seed=1).published
    scan = compat.reproduce("cheng25.gride", points, range_max=64)
    assert scan.published.shape == scan.corrected.shape == scan.difference.shape == (6,)


@pytest.mark.parametrize("name", compat.names())
def test_every_convention_explains_itself(name: str) -> None:
    text = compat.explain(name)
    assert text.startswith(f"{name}(points")
    found = compat.CONVENTIONS[name]
    assert found.what.endswith(".")
    assert found.why.endswith(".")
    for call in re.findall(r"\b([a-z_]+)\(", found.call):
        assert call in hs.__all__ or call == "round", call


def test_misuse() -> None:
    points = np.zeros((5, 2))
    with pytest.raises(InputError, match=r"no convention 'nobody\.id'; known are ansuini19\.pca"):
        compat.reproduce("nobody.id", points)
    with pytest.raises(InputError, match="no convention"):
        compat.explain("nobody.id")
    with pytest.raises(InputError, match="source must be one of ansuini19"):
        compat.names("nobody")
    with pytest.raises(InputError, match="takes points, labels; got 1 of them"):
        compat.reproduce("doimo20.label_overlap", points)
    with pytest.raises(InputError, match=r"has no option depth: see compat\.explain"):
        compat.reproduce("skdim.MLE", points, depth=3)
    with pytest.raises(InputError, match="keeps one row of 32: 100 rows leave 3"):
        compat.reproduce("valeriani23.two_nn", np.random.default_rng(0).normal(size=(100, 2)))
    with pytest.raises(DuplicateRowsError):
        compat.reproduce("facco17.two_nn", np.repeat(np.eye(20), 2, axis=0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dadapy.compute_id_2NN", {"mu_fraction": 2}, r"mu_fraction must lie in \(0, 1\], got 2"),
        ("dadapy.compute_id_2NN", {"mu_fraction": 1e-3}, "keeps none of 200 ratios"),
        ("ansuini19.two_nn", {"fraction": -1}, r"fraction must lie in \(0, 1\], got -1"),
        ("ansuini19.two_nn", {"fraction": 1e-3}, "keeps none of 200 ratios"),
        ("intRinsic.twonn_linfit", {"c_trimmed": -1}, r"c_trimmed must lie in \(0, 1\), got -1"),
        ("intRinsic.twonn_linfit", {"c_trimmed": 0.999}, "leaves none of 200 ratios"),
        ("skdim.MLE", {"n_neighbors": 1}, "needs at least 2 neighbours"),
        ("torchid.mind", {"k": 0}, "k"),
    ],
)
def test_settings_out_of_range(name: str, options: dict[str, Any], message: str) -> None:
    points = np.random.default_rng(0).normal(size=(200, 3))
    with pytest.raises(InputError, match=message):
        compat.reproduce(name, points, **options)


def test_the_whole_line_of_dadapy_is_its_likelihood() -> None:
    points = np.random.default_rng(0).normal(size=(200, 3))
    whole = compat.reproduce("dadapy.compute_id_2NN", points, mu_fraction=1.0)
    likelihood = compat.reproduce("dadapy.compute_id_2NN_ml", points)
    assert whole.published == likelihood.published
    assert whole.corrected == hs.two_nn(hs.find_neighbors(points, k=2)).value
