"""Static figures: all of them, as PNG and SVG, the same bytes every time, no global state."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest

from hiddenscape.errors import InputError, StoreError
from hiddenscape.plots import (
    draw_id_profile,
    estimators_data,
    gride_scales_data,
    id_profile_data,
    imbalance_matrix_data,
    label_overlap_data,
    landscape_data,
    overlap_matrix_data,
    overlap_next_data,
    topography_data,
    training_dynamics_data,
    write_figures,
)
from hiddenscape.plots.write import FIGURES
from hiddenscape.table import Table


@pytest.fixture(scope="module")
def data(fake: ModuleType) -> dict[str, object]:
    table = Table(fake.fake_rows(fake.site_names(5), n=300, labels=("$x$ <b>",), max_rank=16))
    return {
        "id_profile": id_profile_data(table, null=table),
        "gride_scales": gride_scales_data(table),
        "overlap_matrix": overlap_matrix_data(table),
        "imbalance_matrix": imbalance_matrix_data(table),
        "overlap_next": overlap_next_data(table, null=table),
        "label_overlap": label_overlap_data(table, null=table),
        "training_dynamics": training_dynamics_data(table, {"step-1": table}),
        "estimators": estimators_data(table),
        "landscape": landscape_data(table),
        "topography": topography_data(fake.fake_peaks("a", 30).arrays, {"z": 1.65}, site="a"),
    }


def test_every_figure_as_png_and_svg(data: dict[str, object], tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    written = write_figures(tmp_path / "figures", data)
    assert {p.name for p in written} == {f"{n}.{t}" for n in data for t in ("png", "svg")}
    assert set(data) == set(FIGURES) - {"pca_maps"}
    assert all(p.stat().st_size > 1000 for p in written)
    assert dict(mpl.rcParams) == before


def test_the_same_data_give_the_same_bytes(data: dict[str, object], tmp_path: Path) -> None:
    one = {"id_profile": data["id_profile"]}
    first = [p.read_bytes() for p in write_figures(tmp_path / "a", one)]
    assert first == [p.read_bytes() for p in write_figures(tmp_path / "b", one)]


def test_axes_go_in_and_out(data: dict[str, object]) -> None:
    ax = draw_id_profile(data["id_profile"])
    assert draw_id_profile(data["id_profile"], ax) is ax


def test_a_site_without_a_value_is_drawn_as_a_gap(fake: ModuleType, tmp_path: Path) -> None:
    table = Table(fake.fake_rows(fake.site_names(4), nan_sites=("embed", "resid_post.1")))
    figures = {"id_profile": id_profile_data(table), "overlap_matrix": overlap_matrix_data(table)}
    assert len(write_figures(tmp_path, figures)) == 4


def test_a_single_site(fake: ModuleType, tmp_path: Path) -> None:
    table = Table(fake.fake_rows(fake.site_names(1)))
    figures = {"id_profile": id_profile_data(table), "overlap_next": overlap_next_data(table),
               "imbalance_matrix": imbalance_matrix_data(table)}  # fmt: skip
    assert len(write_figures(tmp_path, figures)) == 6


def test_unknown_figure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no figure profile; there are: id_profile"):
        write_figures(tmp_path, {"profile": None})


def test_a_folder_that_cannot_be_made(data: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot write .*id_profile\.png"):
        write_figures(tmp_path / "figures", {"id_profile": data["id_profile"]})


def test_pyplot_with_its_global_state_is_never_imported() -> None:
    import hiddenscape.plots

    folder = Path(hiddenscape.plots.__file__).parent
    assert not any("matplotlib.pyplot" in p.read_text() for p in folder.glob("*.py"))
