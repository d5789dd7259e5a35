"""One self-contained page from a run directory."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from hiddenscape._version import __version__
from hiddenscape.files import write_atomic
from hiddenscape.plots.write import write_figures
from hiddenscape.reporting.payload import build
from hiddenscape.reporting.source import read_source
from hiddenscape.runs import Run

__all__ = ["page", "report"]

_SCRIPTS = ("core.js", "curves.js", "scales.js", "matrices.js", "peaks.js", "map.js", "page.js")


def report(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    null: str | Path | Run | None = None,
    title: str | None = None,
) -> Path:
    """Write the report of a run: one HTML file that asks the network for nothing.

    The page reads tables only: it is made from ``results/``, ``run.json``, ``measure.json``,
    ``profile.json``, ``rows.csv`` and ``map/``, and works on a copy of the run without ``acts/``.
    What has not been measured is said, with the command that measures it. The figures are also
    written as PNG and SVG into ``figures/`` beside the page.

    Parameters
    ----------
    run : Run or path
        A run directory.
    out : path, optional
        The file to write, or an existing directory to write ``report.html`` into;
        ``RUN/report.html`` by default.
    null : Run or path, optional
        The run of the untrained twin; ``RUN/null`` by default, where there is one.
    title : str, optional
        Title of the page; the model and its data by default.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StoreError
        If ``run`` is not a run directory, a file of results is damaged, or the page cannot be
        written.

    Notes
    -----
    The same run gives the same bytes. Every text of the run (labels, names, rows) enters the page
    as data and is shown as text; the page's policy admits only its own script and style.

    Examples
    --------
    >>> import tempfile
    >>> from hiddenscape.table import Row, Table
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = [Row(site=f"resid_post.{b}", depth=b + 1, analysis="two_nn", quantity="dimension",
    ...             value=5 + b, stderr=0.2, stderr_kind="exact", n_used=500) for b in range(3)]
    >>> _ = Table(rows).write_part(folder / "results", "two_nn")
    >>> report(folder).name
    'report.html'
    """
    source = read_source(run, null)
    target = source.run.path / "report.html" if out is None else Path(out)
    if target.is_dir():
        target = target / "report.html"
    built = build(source, title)
    write_figures(target.parent / "figures", built.figures)
    return _write(target, page(built.payload))


def page(payload: Mapping[str, object]) -> str:
    """The page that draws a payload."""
    style = _asset("style.css")
    script = "(() => {\n'use strict';\n" + "\n".join(map(_asset, _SCRIPTS)) + "\n})();"
    # ASCII JSON escapes U+2028 and lone surrogates; < keeps the data from ending its element.
    data = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    parts = {
        "version": __version__,
        "title": html.escape(str(payload["title"])),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "data": data,
    }
    # One pass: what is filled in is never looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m.group(1)], _asset("page.html"))


def _asset(name: str) -> str:
    return (files("hiddenscape.reporting") / "web" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _write(path: Path, text: str) -> Path:
    write_atomic(path, [text.encode("utf-8")])
    return path
