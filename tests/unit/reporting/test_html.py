"""The page: one file, closed to the network, complete where the run is, silent where it is not."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hiddenscape as hs
from hiddenscape.errors import StoreError
from hiddenscape.reporting import html, report

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)> \u2028\u202e {{data}} "'


@pytest.fixture(autouse=True)
def no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Static figures have their own tests, and cost seconds."""
    monkeypatch.setattr(html, "write_figures", lambda folder, data: ())


@pytest.fixture(scope="module")
def run(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = fake.fake_run(
        tmp_path_factory.mktemp("runs") / "run", sites=6, n=200, checkpoints=2, max_rank=32
    )
    return folder


def payload(page: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_one_file_that_names_no_address(run: Path, tmp_path: Path) -> None:
    text = report(run, out=tmp_path / "page.html").read_text(encoding="utf-8")
    head, _, script = text.partition('id="data"')
    outside = head + script.partition("</script>")[2]
    addresses = set(re.findall(r"https?://[^\s\"'<>`]+", outside))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=\"(?!data:)", outside)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|import)\s*\(", outside)
    assert "innerHTML" not in outside
    assert "eval(" not in outside


def test_the_policy_admits_its_own_script_and_style_alone(run: Path, tmp_path: Path) -> None:
    text = report(run, out=tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy.group(1)
    assert "unsafe" not in policy.group(1)
    for tag in ("script", "style"):
        body = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(body) == 1
        digest = base64.b64encode(hashlib.sha256(body[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy.group(1)


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    pages = [report(run, out=tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_hostile_names_stay_data(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(
        tmp_path / "run", sites=3, n=60, labels=(EVIL,), text=EVIL.replace("{{data}}", "") + "{i}",
        class_name=EVIL.replace("{{data}}", "") + "{c}", max_rank=8,
    )  # fmt: skip
    text = report(folder, title=EVIL).read_text(encoding="utf-8")
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "\u2028" not in text.partition('id="data"')[2]
    assert "\u202e" not in text
    data = payload(folder / "report.html")
    assert data["title"] == EVIL.replace("\u202e", "\ufffd")
    assert "{{data}}" in data["labels"]["series"][0]["label"]


def test_formulas_are_text_in_the_table(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(tmp_path / "run", sites=2, n=60, labels=("=cmd|calc",), max_rank=8)
    link = payload(report(folder))["csv"]
    raw = base64.b64decode(link["href"].partition(",")[2])
    text = (gzip.decompress(raw) if link["name"].endswith(".gz") else raw).decode()
    assert "'=cmd|calc" in text
    assert ",=cmd" not in text


def test_every_section_of_a_whole_run(run: Path) -> None:
    data = payload(report(run))
    for part in ("dimension", "gride", "overlap", "next", "imbalance", "labels", "map", "training"):
        assert "missing" not in data[part], part
        assert data[part]["lead"]
        names = [name for name, _ in data[part]["how"]]
        assert names[:2] == ["Formula", "How to read it"]
    assert data["sites"][0]["name"] == "embed"
    assert data["dimension"]["series"][0]["null"] is not None
    assert data["training"]["names"] == ["step-000010", "step-000100", "final"]
    assert data["map"]["n"] == 200
    assert data["reproduce"]["blocks"][0] == ["The command", "hiddenscape demo --out run"]


def test_map_points_come_back(run: Path) -> None:
    import numpy as np

    part = payload(report(run))["map"]
    points = np.frombuffer(base64.b64decode(part["points"][0]), "<i2").reshape(-1, 2)
    assert points.shape == (200, 2)
    assert np.abs(points).max() <= 32767


def test_a_bare_run_says_what_is_missing_and_how_to_make_it(
    fake: ModuleType, tmp_path: Path
) -> None:
    folder = fake.fake_run(tmp_path / "my run", sites=3, n=60, labels=(), null=False, maps=False,
                           profile=False, pairs=False, max_rank=8)  # fmt: skip
    data = payload(report(folder))
    for part, analysis in (("overlap", "neighborhood_overlap"), ("labels", "label_overlap"),
                           ("imbalance", "information_imbalance")):  # fmt: skip
        command = data[part]["command"]
        assert command == f"hiddenscape measure '{folder}' --analyses {analysis}"
    assert "missing" in data["map"]
    assert data["training"] is None
    assert data["advice"]["say"] == "The profile has not been read yet."
    assert any("no untrained twin" in w for w in data["warnings"])


def test_a_run_with_nothing_measured(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    data = payload(report(tmp_path))
    assert data["sites"] == []
    assert data["table"]["rows"] == []
    assert "missing" in data["dimension"]


@pytest.mark.parametrize("sites", [1, 2])
def test_few_sites(fake: ModuleType, tmp_path: Path, sites: int) -> None:
    data = payload(report(fake.fake_run(tmp_path / "run", sites=sites, n=60, max_rank=8)))
    assert len(data["sites"]) == sites
    assert data["advice"]["say"].startswith("No clear answer")


def test_lost_sites_are_null_and_named(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(tmp_path / "run", sites=5, n=60, nan_sites=("resid_post.1",), max_rank=8)
    data = payload(report(folder))
    assert data["dimension"]["series"][0]["curve"]["values"][2] is None
    lost = [w for w in data["warnings"] if w.startswith("TwoNN has no value at resid_post.1")]
    assert lost == ["TwoNN has no value at resid_post.1: undefined (all distances are zero)."]


def test_a_damaged_map_costs_the_map_alone(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(tmp_path / "run", sites=3, n=60, max_rank=8)
    (folder / "map" / "pca.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    data = payload(report(folder))
    assert "missing" in data["map"]
    assert any("pca.safetensors" in w and "measure again" in w for w in data["warnings"])
    assert "missing" not in data["dimension"]


def test_a_damaged_table_is_an_error(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(tmp_path / "run", sites=3, n=60, max_rank=8)
    part = next((folder / "results").glob("gride-*.csv"))
    part.write_text(part.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    with pytest.raises(StoreError, match="gride-0badcafe"):
        report(folder)


def test_a_twin_from_elsewhere(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(tmp_path / "run", sites=3, n=60, null=False, max_rank=8)
    other = fake.fake_run(tmp_path / "other", sites=3, n=80, null=False, max_rank=8)
    assert payload(report(folder))["dimension"]["series"][0]["null"] is None
    data = payload(report(folder, null=other))
    assert data["dimension"]["series"][0]["null"] is not None
    assert any("80 rows, this network on 60" in w for w in data["warnings"])


def test_where_the_page_goes(run: Path, tmp_path: Path) -> None:
    assert report(hs.open_run(run)) == run / "report.html"
    assert report(run, out=tmp_path) == tmp_path / "report.html"
    assert report(run, out=tmp_path / "new" / "x.html", title="Mine").exists()
    assert "<title>Mine</title>" in (tmp_path / "new" / "x.html").read_text(encoding="utf-8")


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a run directory .* make one with"):
        report(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        report(tmp_path / "nowhere")


def test_a_page_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        report(run, out=tmp_path / "file" / "report.html")


def test_the_machine_is_not_named(fake: ModuleType, tmp_path: Path) -> None:
    folder = fake.fake_run(tmp_path / "run", sites=2, n=60, max_rank=8)
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    info["host"] = {"name": "my-own-laptop", "cpus": 2}
    info["argv"] = ["/home/somebody/.venv/bin/hiddenscape", "run", "run.toml"]
    fake.write(folder / "run.json", info)
    text = report(folder).read_text(encoding="utf-8")
    assert "my-own-laptop" not in text
    assert "/home/somebody" not in text
    assert "hiddenscape run run.toml" in text


def test_static_figures_lie_beside_the_page(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, set[str]]] = []
    monkeypatch.setattr(html, "write_figures", lambda f, d: asked.append((f, set(d))))
    folder = fake.fake_run(tmp_path / "run", sites=3, n=60, max_rank=8)
    shutil.rmtree(folder / "map")
    report(folder)
    assert asked == [
        (
            folder / "figures",
            {"id_profile", "gride_scales", "overlap_matrix", "imbalance_matrix", "overlap_next",
             "label_overlap", "estimators", "landscape", "topography"},
        )
    ]  # fmt: skip
