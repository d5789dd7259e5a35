"""A run described once: TOML, flags and arguments are the same fields."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import ConfigError
from hiddenscape.spec import GROUPS, Option, RunSpec, options

# Lone surrogates cannot be written as UTF-8, in TOML or anywhere else.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def _values(option: Option) -> st.SearchStrategy[object]:
    low = 0 if option.minimum is None else option.minimum
    one: st.SearchStrategy[object] = {
        str: st.from_regex(option.pattern, fullmatch=True)
        if option.pattern
        else st.sampled_from(option.choices)
        if option.choices
        else TEXTS,
        int: st.integers(int(low), 10**9),
        float: st.floats(low, option.below or 1e9, exclude_max=option.below is not None),
        bool: st.booleans(),
    }[option.kind]
    if option.many:
        one = st.lists(one, max_size=4)
    return st.none() | one if option.optional else one


SPECS = st.fixed_dictionaries({}, optional={o.name: _values(o) for o in options()}).map(
    lambda values: RunSpec(**values)
)


@given(SPECS)
def test_dict_and_toml_give_the_spec_back(spec: RunSpec) -> None:
    import tomllib

    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert RunSpec.from_dict(tomllib.loads(spec.to_toml())) == spec


def test_toml_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('network = "gpt2"\nk = [5, 20]\nuntrained_twin = true\n', encoding="utf-8")
    spec = RunSpec.from_toml(file)
    assert (spec.network, spec.k, spec.untrained_twin) == ("gpt2", (5, 20), True)


def test_every_field_is_an_option_with_help_and_a_group() -> None:
    assert [o.name for o in options()] == [f.name for f in fields(RunSpec)]
    for option in options():
        assert option.help.endswith(".")
        assert option.group in GROUPS
        assert option.check(option.default) == option.default


def test_a_single_value_stands_for_a_list_of_one() -> None:
    assert RunSpec(k=7, sites="embed") == RunSpec(k=(7,), sites=("embed",))


def test_paths_are_taken_as_text() -> None:
    assert RunSpec(out=Path("runs") / "a").out == "runs/a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": "ten"}, "k: got 'ten', expected a list of whole numbers"),
        ({"k": [10, 2.5]}, "k: got 2.5, expected a list of whole numbers"),
        ({"k": [0]}, "k: got 0, expected at least 1"),
        ({"seed": True}, "seed: got True, expected a whole number"),
        ({"seed": None}, "seed: got None, expected a whole number"),
        ({"alpha": 1}, "alpha: got 1.0, expected less than 1"),
        ({"z": "high"}, "z: got 'high', expected a number"),
        ({"z": float("nan")}, "z: got nan, expected a number"),
        ({"z": True}, "z: got True, expected a number"),
        ({"z_scan": [1, -2]}, "z_scan: got -2.0, expected at least 0"),
        ({"density_dimension": 0.5}, "density_dimension: got 0.5, expected at least 1"),
        ({"limit": 2}, "limit: got 2, expected at least 3"),
        ({"dtype": "half"}, "dtype: got 'half', expected one of auto, float32"),
        ({"untrained_twin": "yes"}, "untrained_twin: got 'yes', expected true or false"),
        ({"sites": {"a": 1}}, "sites: got {'a': 1}, expected a list of texts"),
        ({"network": 3}, "network: got 3, expected text"),
        ({"netwrk": "gpt2"}, "unknown option 'netwrk'; did you mean network?"),
        ({"batch-tokens": 3}, "unknown option 'batch-tokens'; did you mean batch_tokens?"),
        ({"zzz": 3}, "unknown option 'zzz'; there are: network, task"),
        ({"nets": {"dtype": "float32"}}, "unknown option 'nets'; run files are flat"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"my.toml: {message}")):
        RunSpec.from_dict(values, source="my.toml")


def test_replace_refuses_unknown_names() -> None:
    with pytest.raises(ConfigError, match="unknown option 'sits'; did you mean sites"):
        RunSpec().replace(sits=["embed"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the run file .*absent\.toml: No such file"):
        RunSpec.from_toml(tmp_path / "absent.toml")


def test_broken_toml_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("network = gpt2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.toml is not valid TOML: .*line 1"):
        RunSpec.from_toml(file)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read the run file"):
        RunSpec.from_toml(file)


def test_required_fields_are_asked_for_by_flag_and_by_key() -> None:
    with pytest.raises(ConfigError, match="data is missing: give --data, or data = "):
        RunSpec(network="gpt2").require("network", "data")


@pytest.mark.parametrize(
    ("field", "value"),
    [("pooling", ["average"]), ("pooling", ["token:x"]), ("overlength", "window:0"),
     ("overlength", "cut")],
)  # fmt: skip
def test_a_mistyped_form_is_an_error_of_the_spec(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field}: got"):
        RunSpec(**{field: value})


def test_every_pooling_and_policy_can_be_written_in_a_spec() -> None:
    from hiddenscape.data.tokens import OVERLENGTH
    from hiddenscape.models.pooling import POOLINGS

    forms = [how.replace("I", "-2").replace("NAME", "subject") for how in POOLINGS]
    assert RunSpec(pooling=forms).pooling == tuple(forms)
    for policy in OVERLENGTH:
        assert RunSpec(overlength=policy.replace("STRIDE", "64")).overlength.startswith(policy[:4])


def test_defaults_are_those_of_measure_and_of_the_settings() -> None:
    import inspect
    from dataclasses import fields as fields_of

    from hiddenscape import measure
    from hiddenscape.analyses import Settings
    from hiddenscape.analyses.entry import DENSITIES

    (density,) = (o for o in options("measure") if o.name == "density")
    assert density.choices == DENSITIES
    asked = inspect.signature(measure).parameters
    made = {f.name: f.default for f in fields_of(Settings)}
    for option in options("measure"):
        if option.name != "analyses":
            assert made[option.name] == option.default, option.name
            assert asked[option.name].default in (option.default, option.default or None)
