"""The grammar of site selections."""

from __future__ import annotations

import pytest

from hiddenscape.errors import SiteError
from hiddenscape.models.sites import expand, hf_index, parse_module_site

NAMES = [
    "embed",
    *(f"resid_post.{b}" for b in range(12)),
    "mlp_out.3",
    "final_norm",
    "module:net.0",
]
ALIASES = {"hf.0": "embed", **{f"hf.{i}": f"resid_post.{i - 1}" for i in range(1, 13)}}


def chosen(spec: str | list[str], withdrawn: dict[str, str] | None = None) -> list[str]:
    return expand(
        spec, names=NAMES, everything=NAMES[:-2], aliases=ALIASES, withdrawn=withdrawn or {}
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("resid_post.7", ["resid_post.7"]),
        ("resid_post.-1", ["resid_post.11"]),
        ("resid_post.-12", ["resid_post.0"]),
        ("resid_post.2-4", ["resid_post.2", "resid_post.3", "resid_post.4"]),
        ("resid_post.-2--1", ["resid_post.10", "resid_post.11"]),
        ("resid_post.10-11, embed", ["resid_post.10", "resid_post.11", "embed"]),
        ("resid_post.*", [f"resid_post.{b}" for b in range(12)]),
        ("hf.0", ["embed"]),
        ("hf.-1", ["resid_post.11"]),
        ("hf.1-2", ["resid_post.0", "resid_post.1"]),
        ("mlp_out.3", ["mlp_out.3"]),
        ("net.0", ["module:net.0"]),
        (["embed", "embed, final_norm"], ["embed", "final_norm"]),
    ],
)
def test_selection(spec, expected):
    assert chosen(spec) == expected


def test_all_is_what_the_network_says():
    assert chosen("all") == NAMES[:-2]


def test_every_alias_is_resolved():
    assert not any(name.startswith("hf.") for name in chosen("hf.*"))
    assert len(chosen("hf.*")) == 13


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resid_pots.3", r"unknown site 'resid_pots.3': did you mean resid_post.3"),
        ("resid_post.12", r"out of range: resid_post.0 to resid_post.11"),
        ("resid_post.5-3", "out of range"),
        ("resid_post.-13", "out of range"),
        ("zzz", "list all with network.site_names"),
        ("zzz.*", "unknown site"),
        ("", "no site is named"),
        (" , ", "no site is named"),
    ],
)
def test_unknown_sites_are_errors_with_a_remedy(spec, message):
    with pytest.raises(SiteError, match=message):
        chosen(spec)


def test_withdrawn_sites_give_their_reason():
    withdrawn = {"z.0": "self-check 'heads' failed", "z.1": "self-check 'heads' failed"}
    for spec in ("z.0", "z.*"):
        with pytest.raises(SiteError, match="not offered: self-check 'heads' failed"):
            chosen(spec, withdrawn)


@pytest.mark.parametrize(
    ("name", "path", "io", "index"),
    [
        ("module:a.b", "a.b", "out", 0),
        ("module:a.b:in", "a.b", "in", 0),
        ("module:a.b:out", "a.b", "out", 0),
        ("module:rnn:out.2", "rnn", "out", 2),
    ],
)
def test_module_sites(name, path, io, index):
    place = parse_module_site(name)
    assert place is not None
    assert (place.path, place.io, place.index) == (path, io, index)


@pytest.mark.parametrize(
    "name", ["module:", "module:a:b", "module:a:out.x", "a.b", "module:a@mean"]
)
def test_what_is_no_module_site(name):
    assert parse_module_site(name) is None


def test_hf_index():
    assert hf_index("hf.-13", 13) == "hf.0"
    assert hf_index("hf.-14", 13) is None
