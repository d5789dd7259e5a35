"""The word under the site axis says what bare numbers stand for, if there are any."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hiddenscape.reporting.payload import _site_word


@pytest.mark.parametrize(
    ("names", "labels", "word"),
    [
        (("embed", "resid_post.0"), ("emb", "0"), "site (numbers: resid_post)"),
        (("input", "module:linear"), ("input", "linear"), "site"),
    ],
)
def test_site_word(names: tuple[str, ...], labels: tuple[str, ...], word: str) -> None:
    source = SimpleNamespace(axis=SimpleNamespace(names=names, labels=labels))
    assert _site_word(source) == word  # type: ignore[arg-type]
