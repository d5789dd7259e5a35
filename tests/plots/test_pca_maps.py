"""Maps: the same rows at every site, inside the frame, without jumps of sign."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.plots.pca_maps import coloring, draw_pca_maps, pca_maps_data
from hiddenscape.plots.sites import SiteAxis

AXIS = SiteAxis(names=("a", "b", "c"), depths=np.arange(3.0), pooling="mean")


def maps(n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    xy = rng.normal(size=(n, 2)) * [3, 1]
    return {
        "row": np.arange(n) + 7,
        "a@mean": xy,
        "b@mean": 40 * xy * [-1, 1],
        "c@mean": xy * [-1, -1],
    }


def test_mirrored_components_are_mirrored_back() -> None:
    data = pca_maps_data(maps(), AXIS)
    assert np.allclose(data.points[0], data.points[1])
    assert np.allclose(data.points[0], data.points[2])
    assert data.half_widths[1] == pytest.approx(40 * data.half_widths[0])


def test_components_are_never_rotated_or_exchanged() -> None:
    swapped = maps()
    swapped["b@mean"] = swapped["a@mean"][:, ::-1]
    data = pca_maps_data(swapped, AXIS)
    assert not np.allclose(data.points[0], data.points[1])


def test_an_outlier_is_put_on_the_edge_and_counted() -> None:
    wild = maps()
    wild["a@mean"][3] = [1e6, 0]
    data = pca_maps_data(wild, AXIS)
    assert np.abs(data.points).max() <= 1
    assert data.points[0, 3, 0] == 1
    assert data.outside[0] >= 1
    assert np.median(np.abs(data.points[0])) > 0.05


def test_rows_are_the_same_at_every_site_and_for_every_call() -> None:
    one, two = (pca_maps_data(maps(), AXIS, max_rows=50) for _ in range(2))
    assert one.points.shape == (3, 50, 2)
    assert np.array_equal(one.rows, two.rows)
    assert len(set(one.rows.tolist())) == 50
    assert one.total == 200
    assert not np.array_equal(one.rows, pca_maps_data(maps(), AXIS, max_rows=50, seed=1).rows)


def test_colours_follow_the_row_numbers_of_the_maps() -> None:
    column = [str(i) for i in range(207)]
    data = pca_maps_data(maps(), AXIS, column=("index", column), max_rows=20)
    assert data.coloring is not None
    assert data.coloring.codes.tolist() == data.rows.tolist() or [
        data.coloring.classes[int(c)] for c in data.coloring.codes
    ] == [str(r) for r in data.rows]


def test_a_collapsed_site_stays_finite() -> None:
    flat = maps()
    flat["b@mean"] = np.zeros((200, 2))
    flat["c@mean"] = np.full((200, 2), np.nan)
    data = pca_maps_data(flat, AXIS)
    assert np.isfinite(data.points[1]).all()
    assert np.isnan(data.points[2]).all()


def test_refusals() -> None:
    with pytest.raises(InputError, match="no map for any of the sites a, b, c"):
        pca_maps_data({}, AXIS)
    with pytest.raises(InputError, match=r"must all be \(200, 2\)"):
        pca_maps_data({**maps(), "b@mean": np.zeros((4, 2))}, AXIS)


@given(st.lists(st.text(max_size=3), min_size=1, max_size=60))
def test_every_row_keeps_its_class(column: list[str]) -> None:
    colors = coloring("c", column)
    if colors.kind == "classes":
        assert [colors.classes[i] for i in colors.codes] == column
        assert sum(colors.counts) == len(column)


def test_digits_keep_their_order_and_many_classes_go_by_size() -> None:
    assert coloring("d", list("310210")).classes == ("0", "1", "2", "3")
    names = [f"c{i}" for i in range(30)] + ["c7"] * 5
    assert coloring("many", names).classes[0] == "c7"


def test_drawing_many_classes_and_numbers() -> None:
    many = ("name", [f"c{i % 60}" for i in range(207)])
    assert len(draw_pca_maps(pca_maps_data(maps(), AXIS, column=many)).axes) >= 3
    numbers = ("length", [str(i / 3) for i in range(207)])
    assert len(draw_pca_maps(pca_maps_data(maps(), AXIS, column=numbers)).axes) >= 3
