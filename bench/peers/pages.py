"""docs/performance.md from the record: tables between markers, one picture, nothing by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

OURS = "hiddenscape"
FORCED = "hiddenscape float32"
ORDER = (OURS, FORCED, "faiss", "scikit-learn", "torch", "dadapy")
SHOWN = {
    OURS: "ours",
    FORCED: "ours, float32",
    "faiss": "faiss-cpu",
    "torch": "torch.cdist + topk",
    "dadapy": "DADApy",
}


def draw(record: dict[str, Any], docs: Path) -> None:
    """Fill the tables of docs/performance.md and draw docs/images/roofline.png."""
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        made = table(record) or "Not measured yet."
        mark = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        if not re.search(mark, text, flags=re.S):
            raise ValueError(f"{page.name} has no place for the table {name!r}")
        filled = partial(_between, made)
        text = re.sub(mark, filled, text, flags=re.S)
    page.write_text(text, encoding="utf-8")
    if picture(record):
        roofline(record, docs / "images" / "roofline.png")
    for line in goals(record):
        print(line)


def _between(made: str, m: re.Match[str]) -> str:
    return f"{m[1]}\n{made}\n\n{m[2]}"


def machine(record: dict[str, Any]) -> str:
    m = record["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
    apart = m.get("dadapy_environment") or {}
    beside = ", ".join(f"{name} {v}" for name, v in apart.items())
    measured = sorted({f"{e['commit']} ({e['date']})" for s in SECTIONS for e in record.get(s, [])})
    lines = [
        (
            "processor",
            f"{m['processor']}, family and model {'/'.join(map(str, m['family_model']))}",
        ),
        ("units", ", ".join(m["units"])),
        ("cores", f"{m['cores']}, threads allowed to everybody: {m['threads']}"),
        ("memory", f"{m['memory_gib']} GiB"),
        ("system", f"{m['system']}, Python {m['python']}"),
        ("versions", versions),
        ("DADApy's own interpreter", beside or "not used"),
        ("measured", "commit " + ", ".join(measured)),
    ]
    return table(("", ""), lines)


def graph(record: dict[str, Any]) -> str:
    entries = record.get("graph", [])
    names = [c for c in ORDER if any(c in e["contenders"] for e in entries)]
    rows = []
    for e in entries:
        ours = e["contenders"].get(OURS, {}).get("median")
        cells = [_time(e["contenders"].get(c), ours, c) for c in names]
        rows.append((e["data"], f"{e['n']:,}", e["d"], e["k"], *cells))
    return table(("points", "n", "D", "k", *(SHOWN.get(c, c) for c in names)), rows)


def _time(entry: dict[str, Any] | None, ours: float | None, name: str) -> str:
    if entry is None:
        return ""
    text = f"{entry['median']:.3g} s"
    if entry["extrapolated"]:
        text += f" (from {entry['queries']} rows)"
    if ours and not name.startswith(OURS):
        text += f", {entry['median'] / ours:.2f} x"
    return text


def details(record: dict[str, Any]) -> str:
    rows = []
    for e in record.get("graph", []):
        for name in ORDER:
            if name in e["contenders"]:
                c = e["contenders"][name]
                rows.append(
                    (
                        f"{e['data']}, D = {e['d']}, k = {e['k']}",
                        SHOWN.get(name, name),
                        len(c["seconds"]),
                        f"{100 * c['spread']:.0f} %",
                        f"{c['cores_used']:.1f}",
                        _said(c),
                    )
                )
    head = ("graph", "by", "rounds", "slowest over fastest", "cores used", "lists")
    return table(head, rows)


def _said(c: dict[str, Any]) -> str:
    if "agreement" in c:
        return _agreement(c["agreement"])
    proof = c.get("certificate", "")
    if isinstance(proof, dict):
        proof = "proven by " + ", ".join(f"{name} {rows:,}" for name, rows in proof.items())
    return f"{proof}; {c['rows_verified']} rows checked" if "rows_verified" in c else str(proof)


def _agreement(a: dict[str, float]) -> str:
    return (
        f"recall {a['recall']:.4f}, rows with an error {100 * a['wrong_rows']:.1f} %, distances "
        f"within {a['max_relative_error']:.1g}"
    )


def agreement(record: dict[str, Any]) -> str:
    where = {"gaussian": "about zero", "offset": "300 sd off zero"}
    rows = [
        (
            where.get(e["data"], e["data"]),
            f"{e['n']:,}",
            e["d"],
            e["k"],
            SHOWN.get(c, c),
            _agreement(a),
        )
        for e in record.get("agreement", [])
        for c, a in e["contenders"].items()
    ]
    return table(("Gaussian points", "n", "D", "k", "by", "against the exact lists"), rows)


def memory(record: dict[str, Any]) -> str:
    rows = [
        (f"{e['n']:,}", e["d"], e["k"], f"{e['points_mib']:.0f}", SHOWN.get(c, c),
         f"{m['peak_mib']:.0f}", f"{m['working_mib']:.0f}")
        for e in record.get("memory", [])
        for c, m in e["contenders"].items()
    ]  # fmt: skip
    head = ("n", "D", "k", "points, MiB", "by", "peak of the process, MiB", "beyond its start, MiB")
    return table(head, rows)


def growth(record: dict[str, Any]) -> str:
    rows = [
        (SHOWN.get(e["contender"], e["contender"]), f"{e['n']:,} to {2 * e['n']:,}", e["d"], e["k"],
         f"{e['time_ratio']:.2f}", f"{e['peak_ratio']:.2f}", f"{e['working_ratio']:.2f}")
        for e in record.get("growth", [])
    ]  # fmt: skip
    head = ("by", "n", "D", "k", "time x", "peak memory x", "working memory x")
    return table(head, rows)


def imbalance(record: dict[str, Any]) -> str:
    rows: list[tuple[Any, ...]] = []
    for e in record.get("imbalance", []):
        what = f"{e['sites']} x {e['sites']} sites, n = {e['n']:,}, D = {e['d']}"
        ours = e[OURS]
        rows.append(
            (what, "ours", f"{ours['median']:.3g} s", "",
             f"{ours['peak_mib']:.0f} ({ours['anonymous_mib']:.0f} without mapped files)")
        )  # fmt: skip
        if "dadapy" in e:
            theirs, x = e["dadapy"], e["dadapy"]["extrapolated"]
            how = f"extrapolated: {x['pairs']} pairs of {theirs['one_pair']['median']:.3g} s each"
            rows += [
                (what, "DADApy", f"{x['seconds']:.4g} s", how, f"{theirs['peak_mib']:.0f}"),
                (what, "DADApy, least", f"{theirs['least']['seconds']:.4g} s",
                 "extrapolated: every search once, then the ranks of every pair", ""),
            ]  # fmt: skip
    return table(("work", "by", "time", "how", "peak memory, MiB"), rows)


def rates(record: dict[str, Any]) -> str:
    rows = []
    for e in record.get("graph", []):
        best = _rates_at(record, e["d"])
        for name in ORDER:
            if name in e["contenders"] and best:
                useful = e["n"] ** 2 * e["d"] / e["contenders"][name]["median"] / 1e9
                cells = [f"{100 * useful / rate:.0f} %" for rate in best.values()]
                where = f"{e['data']}, D = {e['d']}, k = {e['k']}"
                rows.append((where, SHOWN.get(name, name), f"{useful:.3g}", *cells))
    if not rows:
        return ""
    names = list(_rates_at(record, record["graph"][0]["d"]))
    return table(("graph", "by", "useful Gflop/s", *(f"of {n}" for n in names)), rows)


def _rates_at(record: dict[str, Any], d: int) -> dict[str, float]:
    """The best measured rate of each arithmetic at this D."""
    best: dict[str, float] = {}
    for entry in record.get("rates", []):
        for r in entry["products"]:
            if r["d"] == d:
                name = r["arithmetic"].split()[0]
                best[name] = max(best.get(name, 0.0), r["gflops"])
    return best


def picture(record: dict[str, Any]) -> str:
    if not (record.get("graph") and record.get("rates")):
        return ""
    return "![Useful Gflop/s over D beside the measured rates](images/roofline.png)"


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(map(str, r)) + " |" for r in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *lines])


def roofline(record: dict[str, Any], path: Path) -> None:
    """Useful Gflop/s over D: measured ceilings, the slope of memory, and every contender."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib.ticker import LogLocator, ScalarFormatter

    dims = sorted({e["d"] for e in record["graph"]})
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    wide = np.geomspace(min(dims) / 16, max(dims) * 2, 200)
    moved = max(e["gb_per_s"] for e in record["rates"])
    ceilings: dict[str, float] = {}
    for d in dims:
        for name, rate in _rates_at(record, d).items():
            ceilings[name] = max(ceilings.get(name, 0.0), rate)
    for number, (name, rate) in enumerate(sorted(ceilings.items(), key=lambda c: -c[1])):
        grey = f"{0.15 + 0.2 * number:.2f}"
        # A score of four bytes is written once and read once per 2 D operations.
        slope = moved * 2 * wide / 8
        axes.plot(wide, np.minimum(slope, rate), color=grey, lw=1.2)
        said = f"{name} products: {rate:.0f} Gflop/s"
        axes.annotate(said, (wide[0], rate), va="bottom", fontsize=8, color=grey)
    marks = dict(zip(ORDER, "o^sDvP", strict=True))
    for number, name in enumerate(ORDER):
        at = [
            (e["d"], e["n"] ** 2 * e["d"] / e["contenders"][name]["median"] / 1e9)
            for e in record["graph"]
            if name in e["contenders"]
        ]
        if at:
            x, y = np.array(at).T
            size = 46 if name.startswith(OURS) else 22
            # Side by side, so that none hides another.
            x = x * 1.05 ** (number - len(ORDER) / 2)
            axes.scatter(x, y, size, marker=marks[name], label=SHOWN.get(name, name), zorder=3)
    axes.set(xscale="log", yscale="log", xlabel="columns D (multiplications per pair)")
    axes.set_ylabel("useful Gflop/s (n² D / time)")
    axes.set_xticks(dims, [str(d) for d in dims])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    figure.legend(fontsize=8, loc="outside right upper")
    axes.grid(alpha=0.25)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def goals(record: dict[str, Any]) -> Iterable[str]:
    """Our share of each peer's time beside what was asked for; worst case over data and k."""
    asked = {
        (OURS, "faiss", 1024): 1 / 2, (OURS, "faiss", 4096): 1 / 3,
        (FORCED, "faiss", 1024): 0.75, (FORCED, "faiss", 4096): 0.75,
        (OURS, "scikit-learn", 1024): 1 / 4, (OURS, "scikit-learn", 4096): 1 / 4,
        (OURS, "dadapy", 1024): 1 / 4, (OURS, "dadapy", 4096): 1 / 4,
    }  # fmt: skip
    for (mine, peer, d), share in asked.items():
        ratios = [
            e["contenders"][mine]["median"] / e["contenders"][peer]["median"]
            for e in record.get("graph", [])
            if e["d"] == d and {mine, peer} <= set(e["contenders"])
        ]
        if ratios:
            yield _goal(f"{mine} / {peer}, D = {d}: {min(ratios):.2f} to {max(ratios):.2f}",
                        max(ratios) <= share, f"at most {share:.2f}")  # fmt: skip
    for e in record.get("imbalance", []):
        if "dadapy" in e:
            for name, theirs in (("public call", "extrapolated"), ("least", "least")):
                ratio = e[OURS]["median"] / e["dadapy"][theirs]["seconds"]
                yield _goal(f"imbalance / DADApy ({name}): {ratio:.3f}", ratio <= 0.05, "1/20")
        peak = e[OURS]["peak_mib"]
        yield _goal(f"imbalance: peak {peak:.0f} MiB", peak * 2**20 < 1e9, "under 1 GB")
    for e in record.get("growth", []):
        yield _goal(f"{e['contender']}: n x 2 takes time x {e['time_ratio']:.2f}",
                    3.6 <= e["time_ratio"] <= 4.4, "4 +- 10 %")  # fmt: skip
        yield _goal(f"{e['contender']}: n x 2 takes peak memory x {e['peak_ratio']:.2f}",
                    e["peak_ratio"] <= 2, "2 at most")  # fmt: skip


def _goal(said: str, reached: bool, asked: str) -> str:
    return f"{'reached' if reached else 'MISSED '}  {said} (asked: {asked})"


SECTIONS = ("rates", "graph", "agreement", "memory", "growth", "imbalance")
TABLES = {
    "machine": machine,
    "graph": graph,
    "details": details,
    "agreement": agreement,
    "memory": memory,
    "growth": growth,
    "imbalance": imbalance,
    "rates": rates,
    "picture": picture,
}
