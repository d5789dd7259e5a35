"""Sentences: read from the numbers, and honest about errors."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hiddenscape.plots import gride_scales_data, id_profile_data, label_overlap_data
from hiddenscape.plots.sites import SiteAxis
from hiddenscape.reporting import words
from hiddenscape.reporting.advice import advice_of
from hiddenscape.reporting.payload import plain
from hiddenscape.table import Row, Table


@pytest.mark.parametrize(
    ("value", "stderr", "said"),
    [
        (12.3456, 0.234, "12.35 ± 0.23"),
        (12.3456, 3.1, "12.3 ± 3.1"),
        (1234.5, 40.0, "1234 ± 40"),
        (0.5, float("nan"), "0.500"),
        (0.5, 0.0, "0.500"),
        (-0.25, None, "−0.250"),
        (0.0, None, "0"),
        (1e-7, None, "1.0e−07"),
        (float("nan"), 1.0, "no value"),
        (None, None, "no value"),
    ],
)
def test_numbers_show_what_their_error_allows(
    value: float | None, stderr: float | None, said: str
) -> None:
    assert words.number(value, stderr) == said


def profile(values: list[float], **more: object) -> Table:
    return Table(
        Row(site=f"resid_post.{i}", depth=i + 1, analysis="two_nn", quantity="dimension",
            n1=1, n2=2, value=v, stderr=0.1, stderr_kind="exact", scale=1.5, n_used=500,
            **more)  # type: ignore[arg-type]
        for i, v in enumerate(values)
    )  # fmt: skip


def test_a_hump_is_said_with_its_site() -> None:
    said = words.dimension_words(id_profile_data(profile([5, 9, 4])))
    assert said == (
        "The estimated dimension begins with 5.00 ± 0.10 at resid_post.0, is largest with "
        "9.00 ± 0.10 at resid_post.1 and ends with 4.00 ± 0.10 at resid_post.2."
    )


def test_a_slope_has_no_inner_maximum() -> None:
    said = words.dimension_words(id_profile_data(profile([5, 6, 7])))
    assert said.endswith("it is largest at the last site.")


def test_all_sites_lost() -> None:
    nan = float("nan")
    data = id_profile_data(profile([nan, nan], note="undefined"))
    assert words.dimension_words(data) == "No site has a value; the notes say why."


def test_scale_rows_and_error_are_named() -> None:
    said = words.dimension_caption(id_profile_data(profile([5, float("nan"), 7], note="undefined")))
    assert said.startswith("Measured at the distance of neighbours 1 and 2, 1.50 over the sites")
    assert "500 rows" in said
    assert "sampling law" in said
    assert said.endswith("Crosses mark sites without a value: resid_post.1.")


def test_a_fisher_error_is_called_a_bound(fake: ModuleType) -> None:
    table = Table(fake.fake_rows(fake.site_names(3)))
    said = words.dimension_caption(id_profile_data(table, "gride-1-2"))
    assert "Cramér–Rao bound, which is the least it can be" in said


def test_a_flat_scan_is_said_to_be_flat() -> None:
    rows = [
        Row(site="a", analysis="gride", quantity="dimension", n1=n, n2=2 * n, value=v)
        for n, v in ((1, 5.0), (2, 5.1), (4, 5.0))
    ]
    assert "hardly depends on the scale" in words.gride_words(gride_scales_data(Table(rows)))
    steep = [*rows, Row(site="a", analysis="gride", quantity="dimension", n1=8, n2=16, value=2.0)]
    said = words.gride_words(gride_scales_data(Table(steep)))
    assert "by a factor of 2.5, so a dimension means little without its scale" in said


def test_labels_against_chance(fake: ModuleType) -> None:
    table = Table(fake.fake_rows(fake.site_names(8)))
    said = words.label_words(label_overlap_data(table))
    assert said.startswith("Neighbours share “digit” most often at resid_post.4: 0.6")
    assert "where chance gives 0.100" in said


AXIS = SiteAxis(names=("embed", "resid_post.0", "resid_post.1"), depths=np.arange(3.0))


def advice(confidence: str, **more: object) -> dict[str, object]:
    return {"advice": {"confidence": confidence, "reasons": ["resid_post.1 is low", "it is so"],
                       **more}, "text": ["a line"]}  # fmt: skip


def test_clear_weak_and_no_advice() -> None:
    site = {"site": "resid_post.1", "sites": ["resid_post.0", "resid_post.1"]}
    clear = advice_of(advice("clear", **site), AXIS, Path("r"))
    assert clear.say == "Use resid_post.1."
    assert clear.why.startswith("resid_post.1 is low. It is so. By this reading resid_post.0 is")
    assert (clear.sites, clear.plateau) == ((2,), (1, 2))
    weak = advice_of(advice("weak", **site), AXIS, Path("r"))
    assert weak.say == "Perhaps resid_post.1: the evidence is weak."
    none = advice_of(advice("none", site=None, sites=[]), AXIS, Path("r"))
    assert none.say == "No clear answer: this profile singles out no layer."
    assert none.why == "resid_post.1 is low. It is so."
    assert none.sites == ()


def test_without_a_profile_the_command_is_given() -> None:
    assert advice_of({}, AXIS, Path("r")).command == "hiddenscape measure r --analyses two_nn"


def test_labels_are_kept_apart_from_the_advice() -> None:
    profile = advice("none") | {"labels": {"best_site": "embed", "best_value": 0.5,
                                           "chosen_value": None, "last_value": 0.25}}  # fmt: skip
    assert advice_of(profile, AXIS, Path("r")).labels == (
        "The labels, which the advice does not look at, are best kept at embed (overlap 0.500; "
        "at the last site 0.250)."
    )


def test_plain_json_has_no_nan_and_no_bidi_override() -> None:
    data = plain({"x": np.array([[1.0, np.inf]]), "t": ("a\u202eb", np.int64(3), None, True)})
    assert data == {"x": [[1.0, None]], "t": ["a\ufffdb", 3, None, True]}
