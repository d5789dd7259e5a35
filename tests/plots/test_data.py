"""What the figures would draw: numbers arranged by site, pair and scale, with nothing invented."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.plots import (
    dimension_series,
    gride_scales_data,
    id_profile_data,
    imbalance_matrix_data,
    label_overlap_data,
    label_series,
    overlap_matrix_data,
    overlap_next_data,
    training_dynamics_data,
)
from hiddenscape.plots.sites import latest, poolings, short_labels, site_axis
from hiddenscape.table import Row, Table


@pytest.fixture(scope="module")
def table(fake: ModuleType) -> Table:
    return Table(fake.fake_rows(fake.site_names(8), n=400, labels=("digit", "style")))


@pytest.fixture(scope="module")
def twin(fake: ModuleType) -> Table:
    return Table(fake.fake_rows(fake.site_names(8), n=400, strength=0.1))


def shuffled(table: Table) -> Table:
    order = np.random.default_rng(0).permutation(len(table))
    return Table(table[int(i)] for i in order)


class TestSites:
    def test_order_is_depth_then_the_store_then_final_norm(self) -> None:
        rows = [
            Row(site="final_norm", depth=2),
            Row(site="resid_mid.1", depth=1.5),
            Row(site="resid_post.1", depth=2),
            Row(site="embed", depth=0),
        ]
        axis = site_axis(Table(rows))
        assert axis.names == ("embed", "resid_mid.1", "resid_post.1", "final_norm")
        order = ["embed@mean", "resid_mid.1@mean", "final_norm@mean", "resid_post.1@mean"]
        assert site_axis(Table(rows), order=order).names[-1] == "resid_post.1"

    def test_the_pooling_with_most_sites_is_shown(self) -> None:
        rows = [Row(site=s, pooling=p, depth=0) for s, p in [("a", "mean"), ("b", "mean"),
                                                             ("a", "last")]]  # fmt: skip
        assert poolings(Table(rows)) == ("mean", "last")
        assert site_axis(Table(rows)).names == ("a", "b")
        assert site_axis(Table(rows), pooling="last").key(0) == "a@last"

    def test_labels_are_short_and_different(self) -> None:
        names = ["embed", "resid_post.0", "resid_mid.1", "resid_post.1", "module:a.b", "final_norm"]
        assert short_labels(names) == ("emb", "0", "mid 1", "1", "a.b", "norm")
        assert len(set(short_labels(["module:x", "x"]))) == 2

    def test_relative_depth_ends_at_one_and_survives_zero(self) -> None:
        axis = site_axis(Table([Row(site="a", depth=0), Row(site="b", depth=4)]))
        assert axis.relative.tolist() == [0, 1]
        assert site_axis(Table([Row(site="a", depth=0)])).relative.tolist() == [0]

    def test_measured_twice_the_last_counts_and_is_counted(self) -> None:
        once = Row(site="a", analysis="two_nn", quantity="dimension", value=3.0)
        again = Row(site="a", analysis="two_nn", quantity="dimension", value=4.0, params_hash="b")
        kept, differ = latest(Table([once, again]))
        assert [r.value for r in kept] == [4.0]
        assert differ == 1
        assert latest(Table([once, once]))[1] == 0

    def test_the_same_site_in_another_pooling_is_another_number(self) -> None:
        same, other = (
            Row(site="a", pooling="mean", site_b="a", pooling_b=p, depth=0, value=v,
                analysis="neighborhood_overlap", quantity="overlap", k=10)
            for p, v in (("mean", 1.0), ("last", 0.2))
        )  # fmt: skip
        kept, differ = latest(Table([same, other]))
        assert [r.value for r in kept] == [1.0, 0.2]
        assert differ == 0


class TestProfile:
    def test_every_estimator_and_scale_is_offered(self, table: Table) -> None:
        keys = [s.key for s in dimension_series(table)]
        assert keys[:3] == ["two_nn", "two_nn_mle", "two_nn_fit"]
        assert keys[3:5] == ["gride-1-2", "gride-2-4"]
        assert keys[-4:-1] == ["pca-dimension_90", "pca-dimension_99", "pca-participation_ratio"]
        assert keys[-1] == "mle-20"
        subsets = [int(k.removeprefix("decimation-")) for k in keys if k.startswith("decimation")]
        assert subsets == sorted(subsets, reverse=True)
        assert len(subsets) == 4

    def test_numbers_follow_their_site_whatever_the_order_of_rows(self, table: Table) -> None:
        for series in dimension_series(table):
            a, b = (id_profile_data(t, series) for t in (table, shuffled(table)))
            assert np.array_equal(a.curve.values, b.curve.values)
            for i, name in enumerate(a.axis.names):
                (row,) = series.rows(table).select(site=name)
                assert a.curve.values[i] == row.value

    def test_twin_and_repeats_lie_on_the_same_sites(self, table: Table, twin: Table) -> None:
        data = id_profile_data(table, null=twin)
        assert data.null is not None
        assert data.null.values.shape == data.curve.values.shape
        halves = id_profile_data(table, "decimation-200")
        assert halves.repeats is not None
        assert halves.repeats.shape == (2, 8)
        assert id_profile_data(table, "two_nn").repeats is None

    def test_a_twin_without_these_sites_is_no_twin(self, table: Table) -> None:
        other = Table([Row(site="elsewhere", pooling="mean", depth=0, analysis="two_nn",
                           quantity="dimension", value=3.0)])  # fmt: skip
        assert id_profile_data(table, null=other).null is None

    def test_a_lost_site_is_a_gap(self, fake: ModuleType) -> None:
        lost = Table(fake.fake_rows(fake.site_names(5), nan_sites=("resid_post.1",)))
        data = id_profile_data(lost)
        assert np.isnan(data.curve.values).tolist() == [False, False, True, False, False]
        assert data.curve.notes[2].startswith("undefined")

    def test_nothing_measured(self) -> None:
        with pytest.raises(InputError, match="holds no dimension; measure two_nn"):
            id_profile_data(Table())

    def test_unknown_series(self, table: Table) -> None:
        with pytest.raises(InputError, match="no dimension 'mle' in the table; there are: two_nn"):
            id_profile_data(table, "mle")


class TestScales:
    def test_pairs_ascend_and_values_stay_with_their_pair(self, table: Table) -> None:
        data = gride_scales_data(shuffled(table))
        assert data.pairs[0] == (1, 2)
        assert data.pairs == tuple(sorted(data.pairs))
        assert data.values.shape == (8, len(data.pairs))
        (row,) = table.select(analysis="gride", site="resid_post.2", n1=4)
        assert data.values[3, data.pairs.index((4, 8))] == row.value
        assert data.scales[3, data.pairs.index((4, 8))] == row.scale

    def test_nothing_measured(self) -> None:
        with pytest.raises(InputError, match="no GRIDE dimension; measure gride"):
            gride_scales_data(Table())


class TestMatrices:
    def test_overlap_is_symmetric_with_ones_on_the_diagonal(self, table: Table) -> None:
        data = overlap_matrix_data(table)
        assert data.k == 10
        assert np.array_equal(data.values, data.values.T)
        assert np.allclose(np.diag(data.values), 1)
        assert math.isclose(data.chance, 10 / 399)

    def test_imbalance_reads_from_row_to_column(self, table: Table) -> None:
        data = imbalance_matrix_data(table)
        (row,) = table.select(analysis="information_imbalance", site="embed", site_b="final_norm")
        assert data.values[0, -1] == row.value
        assert data.values[0, -1] != data.values[-1, 0]
        assert data.n_used == 400

    def test_sizes_do_not_mix(self, table: Table) -> None:
        ten, thirty = (overlap_matrix_data(table, k=k) for k in (10, 30))
        assert not np.allclose(ten.values, thirty.values)
        with pytest.raises(InputError, match=r"at k = 7 \(there is: \(10, 30\)\)"):
            overlap_matrix_data(table, k=7)

    def test_a_pair_that_was_not_measured_is_nan(self, table: Table) -> None:
        some = Table(r for r in table if (r.site, r.site_b) != ("embed", "resid_post.1"))
        values = overlap_matrix_data(some).values
        assert np.isnan(values[0, 2])
        assert np.isnan(values[2, 0])
        assert np.isfinite(values[0, 1])

    def test_consecutive_overlap_is_the_first_off_diagonal(self, table: Table, twin: Table) -> None:
        data = overlap_next_data(table, null=twin)
        assert np.array_equal(data.values, np.diag(overlap_matrix_data(table).values, 1))
        assert data.null is not None
        assert len(data.null) == 7
        assert overlap_next_data(table, null=Table()).null is None


class TestLabels:
    def test_columns_weightings_and_sizes(self, table: Table) -> None:
        found = [(s.label, s.weighting, s.k) for s in label_series(table)]
        assert found[:4] == [
            ("digit", "plain", 10), ("digit", "plain", 30),
            ("digit", "macro", 10), ("digit", "macro", 30),
        ]  # fmt: skip
        assert found[4][0] == "style"

    def test_adjusted_lies_between_chance_and_ceiling(self, table: Table, twin: Table) -> None:
        data = label_overlap_data(table, null=twin)
        expected = (data.overlap.values - data.chance.values) / (
            data.ceiling.values - data.chance.values
        )
        assert np.allclose(data.adjusted.values, expected)
        assert data.null is not None
        assert data.null_adjusted is not None

    def test_no_labels(self) -> None:
        with pytest.raises(InputError, match="no label overlap; give the rows a label column"):
            label_overlap_data(Table())


class TestTraining:
    def test_checkpoints_in_the_order_of_their_steps_the_run_last(
        self, table: Table, twin: Table
    ) -> None:
        data = training_dynamics_data(table, {"step-1000": twin, "step-20": twin, "best": twin})
        assert data.names == ("step-20", "step-1000", "best", "final")
        assert data.steps[:2].tolist() == [20, 1000]
        assert len(data.dimensions) == len(data.overlaps) == 4
        assert np.array_equal(data.dimensions[-1].values, id_profile_data(table).curve.values)

    def test_recorded_steps_come_before_names(self, table: Table, twin: Table) -> None:
        data = training_dynamics_data(table, {"a9": twin, "b1": twin}, steps={"a9": 1, "b1": 2})
        assert data.names == ("a9", "b1", "final")

    def test_none(self, table: Table) -> None:
        with pytest.raises(InputError, match="no checkpoint"):
            training_dynamics_data(table, {})
