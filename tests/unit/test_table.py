"""Tables keep every number bit for bit and refuse damaged parts by name."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError, StoreError
from hiddenscape.table import COLUMNS, Row, Table

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)
floats = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(
        st.builds(
            Row,
            site=texts,
            label=texts,
            note=texts,
            depth=floats,
            value=floats,
            stderr=floats,
            k=st.none() | st.integers(0, 10**9),
        ),
        max_size=5,
    )
)
def test_csv_round_trip_is_exact(tmp_path_factory, rows: list[Row]) -> None:
    folder = tmp_path_factory.mktemp("parts")
    Table(rows).write_part(folder, "part")
    back = Table.read(folder)
    assert len(back) == len(rows)
    for a, b in zip(rows, back, strict=True):
        for name in COLUMNS:
            x, y = getattr(a, name), getattr(b, name)
            assert x == y or (isinstance(x, float) and math.isnan(x) and math.isnan(y))


def test_parts_merge_in_order_of_their_names(tmp_path) -> None:
    Table([Row(site="b")]).write_part(tmp_path, "2")
    Table([Row(site="a")]).write_part(tmp_path, "1")
    assert Table.read(tmp_path).column("site") == ["a", "b"]
    assert len(Table.read(tmp_path / "absent")) == 0


def test_select_sort_and_unique() -> None:
    t = Table([Row(site="a", k=3, value=2.0), Row(site="b", k=None), Row(site="a", k=1)])
    assert len(t.select(site="a", k=(1, 2))) == 1
    assert t.sorted_by("k").column("k") == [1, 3, None]
    assert t.unique("site") == ["a", "b"]
    with pytest.raises(InputError, match="no column 'colour'"):
        t.select(colour="red")


def test_damaged_parts_are_named(tmp_path) -> None:
    path = Table([Row(site="a", value=1.0)]).write_part(tmp_path, "part")
    text = path.read_text()
    path.write_text(text.replace("1.0", "one"))
    with pytest.raises(StoreError, match=r"part.csv, line 2: value = 'one' is not a number"):
        Table.read(tmp_path)
    path.write_text(text[:-12] + "\n")
    with pytest.raises(StoreError, match="fields where 27 are expected"):
        Table.read(tmp_path)
    path.write_text("name,age\nx,3\n")
    with pytest.raises(StoreError, match="is not a table of results"):
        Table.read(tmp_path)


def test_frame_has_one_row_per_number() -> None:
    frame = Table([Row(site="a", value=1.5), Row(site="b")]).to_frame()
    assert frame.shape == (2, len(COLUMNS))
    assert frame["value"][0] == 1.5
