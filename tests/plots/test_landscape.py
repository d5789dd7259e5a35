"""What the figures of estimators, densities and peaks would draw."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.plots import estimators_data, landscape_data, topography_data
from hiddenscape.plots.id_profile import dimension_analyses, dimension_series, id_profile_data
from hiddenscape.table import Row, Table


@pytest.fixture(scope="module")
def table(fake: ModuleType) -> Table:
    rows = fake.fake_rows(fake.site_names(5), labels=("fine", "macro"), max_rank=64)
    return Table(rows)


def test_estimators_stand_beside_one_another_each_with_its_scale(table: Table) -> None:
    d = estimators_data(table)
    assert [s.key for s in d.series] == ["two_nn", "gride-16-32", "mle-20",
                                         "pca-participation_ratio"]  # fmt: skip
    assert d.labels[2].startswith("Maximum likelihood, k = 20, scale ")
    assert d.labels[3] == "Participation ratio, global"
    mle = table.select(analysis="mle")
    assert d.curves[2].values.tolist() == mle.values().tolist()


def test_one_estimator_has_nothing_beside_it(table: Table) -> None:
    with pytest.raises(InputError, match="fewer than two estimators"):
        estimators_data(table.select(analysis="two_nn"))


def test_an_analysis_that_the_figures_never_heard_of_is_a_dimension_too(table: Table) -> None:
    more = table + Table(
        Row(site=r.site, pooling=r.pooling, depth=r.depth, analysis="brand_new",
            quantity="dimension", value=3.0)
        for r in table.select(analysis="two_nn")
    )  # fmt: skip
    assert "brand_new" in dimension_analyses(more)
    assert "brand_new" in [s.key for s in dimension_series(more)]
    assert id_profile_data(more, "brand_new").curve.values.tolist() == [3.0] * 5


def test_dimensions_of_subsets_stay_out_of_the_profile(table: Table) -> None:
    first = table.select(analysis="two_nn")[0]
    part = Row(site=first.site, pooling=first.pooling, depth=first.depth, analysis="two_nn",
               quantity="dimension_subset", subset=100, value=99.0)  # fmt: skip
    assert 99.0 not in id_profile_data(table + Table([part])).curve.values
    assert len(dimension_series(table + Table([part]))) == len(dimension_series(table))


def test_views_hold_what_was_measured(table: Table) -> None:
    d = landscape_data(table)
    views = {v.key: v for v in d.views}
    assert views["kstar"].names == ("median", "mean")
    assert views["kstar"].unit == "k*, at most 99"
    assert views["clusters"].names == ("as measured", "z = 1", "z = 4")
    assert views["clusters"].curves[0].values.tolist() == [1, 1, 2, 3, 3]
    # Several levels of labels are several curves, halo kept.
    assert views["ari"].names == ("fine", "macro")
    assert views["ari"].curves[0].values[-1] == pytest.approx(0.6)


def test_without_density_or_clusters_it_says_what_to_measure(table: Table) -> None:
    with pytest.raises(InputError, match="measure k_star or adp first"):
        landscape_data(table.select(analysis="two_nn"))


def test_tree_of_peaks(fake: ModuleType) -> None:
    peaks = fake.fake_peaks("a", 31)
    label = ["dog" if r % 3 else "cat" for r in peaks.rows]
    d = topography_data(peaks.arrays, peaks.parameters, site="a", label=label)
    assert d.names == ("cat (100%)", "dog (100%)", "dog (100%)")
    assert d.sizes.tolist() == [10, 10, 10]
    assert d.lost == 1
    assert d.caption == "dimension 7.5 (TwoNN at ranks (1, 2)), Z 1.65"
    # Clusters 1 and 0 stand side by side and join at their saddle, half way between.
    assert d.segments[0].tolist() == [[1.0, 1.0], [1.0, -1.0]]
    assert d.segments[1].tolist() == [[0.0, 3.0], [0.0, -1.0]]
    assert d.segments[2].tolist() == [[1.0, -1.0], [0.0, -1.0]]
    # The part without a pass is joined below everything that was measured.
    assert d.segments[5][:, 1].max() < -1.0
    assert d.segments[4][0].tolist() == [0.5, -1.0]


def test_a_site_without_clusters_has_no_tree(fake: ModuleType) -> None:
    arrays = dict(fake.fake_peaks("a", 9).arrays) | {"heights": np.array([])}
    with pytest.raises(InputError, match="a has no clusters"):
        topography_data(arrays, {}, site="a")
    with pytest.raises(InputError, match="2 labels for 8 measured rows"):
        topography_data(fake.fake_peaks("a", 9).arrays, {}, label=["x", "y"])


def test_one_hill_is_a_stroke(fake: ModuleType) -> None:
    arrays = dict(fake.fake_peaks("a", 9).arrays) | {
        "labels": np.zeros(8, dtype=int), "heights": np.array([2.0]),
        "height_errors": np.array([0.1]), "tree_joined": np.empty((0, 2), dtype=int),
        "tree_heights": np.empty(0), "tree_order": np.array([0]),
    }  # fmt: skip
    d = topography_data(arrays, {"dimension": None})
    assert d.segments.shape == (1, 2, 2)
    assert math.isclose(d.segments[0][0][1], 2.0)
    assert d.caption == "no dimension"
