"""What a reader must know before reading the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hiddenscape.reporting.source import Source
from hiddenscape.reporting.words import count
from hiddenscape.results import listed, note_words
from hiddenscape.table import Row

__all__ = ["warnings_of"]

_NOTES = {
    "duplicates": "repeated rows entered once",
    "ties": "equal distances",
    "capped": "a value was capped",
    "collapsed": "rows have collapsed onto each other",
    "few_points": "few rows",
    "low_for_high_dimension": "a dimension this high is underestimated at this number of rows",
    "disconnected": "the neighbour graph falls apart",
    "undefined": "no value",
    "coarse_dtype": "stored coarsely",
    "approximate": "approximate neighbours",
    "no_length": "the metric is no length",
}
_NAMES = {
    "two_nn": "TwoNN",
    "two_nn_mle": "TwoNN (maximum likelihood)",
    "two_nn_fit": "TwoNN (linear fit)",
    "gride": "GRIDE",
    "decimation": "Decimation",
    "mle": "Maximum likelihood dimension",
    "pca": "PCA",
    "k_star": "k*",
    "pak_density": "PAk density",
    "adp": "Peaks (ADP)",
    "adp_z_scan": "Peaks at other Z",
    "adp_labels": "Peaks against labels",
    "neighborhood_overlap": "Neighbourhood overlap",
    "information_imbalance": "Information imbalance",
    "label_overlap": "Label overlap",
    "label_overlap_macro": "Label overlap (mean over classes)",
}
_FEW = 100


def warnings_of(source: Source) -> list[str]:
    """Sentences, the weightiest first."""
    out = [*_pieces(source), *_lost(source), *_measured(source), *_rows(source), *_twin(source)]
    return list(dict.fromkeys([*out, *_notes(source)]))


def _pieces(source: Source) -> Iterable[str]:
    yield from source.problems
    if missing := source.run.missing:
        yield f"Checkpoints left out: {listed(missing)}. They were missing or could not be read."
    if source.disagreements:
        yield (
            f"Measured more than once with different results: {count(source.disagreements)} of the "
            "numbers; the part read last is shown."
        )
    others = source.poolings[1:]
    if others:
        yield (
            f"This page shows the pooling {source.axis.pooling!r}; the table also holds "
            f"{listed(map(repr, others))}."
        )


def _lost(source: Source) -> Iterable[str]:
    """Sites without a value, by analysis and reason."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for r in source.table:
        if r.value != r.value and r.repeat is None:
            site = f"{r.site} → {r.site_b}" if r.site_b else r.site
            groups.setdefault((r.analysis, r.note), {})[site] = None
    for (analysis, note), sites in groups.items():
        where = listed(_in_order(sites, source.axis.names))
        what = f"{_NAMES.get(analysis, analysis)} has no value at {where}"
        yield f"{what}: {note or 'no reason was recorded'}."


def _measured(source: Source) -> Iterable[str]:
    dropped = source.measured.get("rows_dropped") or ()
    warned = [str(w) for w in source.measured.get("warnings") or ()]
    yield from (w if w.endswith((".", "!", "?")) else f"{w}." for w in warned)
    if isinstance(dropped, list) and dropped and not any("not finite" in w for w in warned):
        were = "row was" if len(dropped) == 1 else "rows were"
        yield f"{count(len(dropped))} {were} left out at every site: {listed(map(str, dropped))}."


def _rows(source: Source) -> Iterable[str]:
    rows = max((r.n_used or 0 for r in source.table), default=0)
    if 0 < rows < _FEW:
        yield (
            f"Only {rows} rows: neighbourhoods of so few say little, and dimensions above "
            f"{rows.bit_length() - 1} or so cannot be told apart."
        )
    shares = [
        r for r in source.table.select(analysis="duplicates", quantity="share") if r.value > 0
    ]
    if shares:
        worst = max(shares, key=lambda r: r.value)
        where = listed(_in_order((r.site for r in shares), source.axis.names))
        yield (
            f"Rows repeat at {where} (most at {worst.site}: {worst.value:.1%} repeat another row)."
        )


def _twin(source: Source) -> Iterable[str]:
    if source.null is None:
        if len(source.table):
            yield (
                "There is no untrained twin, so nothing here shows what training did. With the "
                "network at hand, “hiddenscape run” makes one."
            )
        return
    own, twin = (_n_used(t) for t in (source.table, source.null))
    if own != twin and own and twin:
        yield (
            f"The untrained twin was measured on {count(max(twin))} rows, this network on "
            f"{count(max(own))}: dimensions and imbalances compare only at equal numbers."
        )
    names = set(source.axis.names)
    if not names & {r.site for r in source.null}:
        yield "The untrained twin shares no site with this run and is not shown."


def _n_used(rows: Iterable[Row]) -> set[int]:
    return {r.n_used for r in rows if r.analysis == "two_nn" and r.n_used}


def _notes(source: Source) -> Iterable[str]:
    """Remarks on numbers that do exist: analyses with one remark at the same sites share a line."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for r in source.table:
        if not r.note or r.value != r.value or r.repeat is not None:
            continue
        for part, word in zip(r.note.split("; "), note_words(r.note), strict=False):
            # Small subsets are what decimation is for.
            if (r.analysis, word) != ("decimation", "few_points"):
                site = f"{r.site} → {r.site_b}" if r.site_b else r.site
                groups.setdefault((r.analysis, word), {}).setdefault(site, part)
    shared: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    remarks: dict[tuple[str, tuple[str, ...]], str] = {}
    for (analysis, word), sites in groups.items():
        key = (word, _in_order(sites, source.axis.names))
        shared.setdefault(key, []).append(_NAMES.get(analysis, analysis))
        remarks.setdefault(key, next(iter(sites.values()))[len(word) :].strip())
    for (word, where), analyses in shared.items():
        every = len(where) > 2 and set(source.axis.names) <= set(where)
        remark = f" {remarks[word, where]}" if remarks[word, where] else ""
        at = "every site" if every else listed(where)
        yield f"{listed(analyses)}: {_NOTES.get(word, word)} at {at}{remark}."


def _in_order(sites: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    place = {name: i for i, name in enumerate(names)}
    return tuple(sorted(sites, key=lambda s: (place.get(s.split(" ")[0], len(names)), s)))
