"""The page in a real browser: it draws, without an error and without asking the network.

The browser is driven through its own command line; a page that holds the report in a frame plays
the reader (moves the slider, presses keys, hovers) and writes down what it saw.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiddenscape.reporting import html as page_maker
from hiddenscape.reporting import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

EVIL = "</script><script>window.struck=1</script><img src=x onerror=window.struck=1>\u202e"


@pytest.fixture(autouse=True)
def no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_maker, "write_figures", lambda folder, data: ())


def browse(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    """The page as it stands after its script has run, and what the browser logged."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--enable-logging=stderr", "--v=0",
         "--allow-file-access-from-files", f"--user-data-dir={profile}",
         "--virtual-time-budget=20000", *flags, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def state(dom: str) -> tuple[bool, list[str]]:
    """Whether the page says it is ready, and the errors it collected."""
    opening = re.search(r"<html[^>]*>", dom)
    assert opening is not None
    found = re.search(r'data-errors="([^"]*)"', opening.group())
    errors = json.loads(html.unescape(found.group(1))) if found else ["no list of errors"]
    return 'data-ready="1"' in opening.group(), errors


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("whole", {"sites": 8, "checkpoints": 3, "labels": ("digit", "style")}),
        ("bare", {"sites": 4, "labels": (), "null": False, "maps": False, "profile": False}),
        ("one site", {"sites": 1}),
        ("two sites", {"sites": 2, "null": False}),
        ("lost sites", {"sites": 6, "nan_sites": ("embed", "resid_post.2")}),
        ("50 sites, 200 classes", {"sites": 50, "n": 1000, "classes": 200, "max_rank": 64}),
        ("hostile", {"sites": 4, "labels": (EVIL,), "text": EVIL + "{i}", "class_name": EVIL}),
    ],
)
def test_draws_without_error_or_request(
    fake: ModuleType, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    folder = fake.fake_run(tmp_path / "run", **{"n": 200, "max_rank": 32, **options})
    dom, log = browse(report(folder, title=EVIL), tmp_path / "profile")
    ready, errors = state(dom)
    assert ready, name
    assert errors == []
    # Chromium writes what a page complains of as "...:CONSOLE(line)] ...".
    assert not [line for line in log.splitlines() if "CONSOLE" in line]
    if options["sites"] > 1 and "maps" not in options:
        assert dom.count("<svg") > 10
        assert "<canvas" in dom
    # Nothing of the run became markup.
    assert "<img" not in dom.replace(html.escape("<img"), "")
    assert len(re.findall(r"<script\b", dom)) == 2


def test_a_page_without_measurements_opens(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    ready, errors = state(browse(report(tmp_path / "run"), tmp_path / "profile")[0])
    assert (ready, errors) == (True, [])


# A busy machine draws late; time in the browser is virtual and costs nothing.
_READY = (
    "for (let i = 0; i < 100 && d.documentElement.dataset.ready !== '1'; i += 1) await rest(100);"
    " await rest(600); "
)
READER = """<!doctype html><meta charset="utf-8"><body><iframe id="f" width="%(width)d" height="900"
src="report.html"></iframe><pre id="seen"></pre><script>
const seen = {};
document.getElementById("f").addEventListener("load", async () => {
  const w = document.getElementById("f").contentWindow, d = w.document;
  const rest = (ms = 150) => new Promise((f) => setTimeout(f, ms));
  const one = (q) => d.querySelector(q), all = (q) => [...d.querySelectorAll(q)];
  const press = (node, key) => node.dispatchEvent(new w.KeyboardEvent("keydown", { key, bubbles: true }));
  const move = (node, x, y) => { const b = node.getBoundingClientRect(); node.dispatchEvent(new w.PointerEvent("pointermove", { clientX: b.left + x * b.width, clientY: b.top + y * b.height, bubbles: true })); };
  try { %(script)s } catch (e) { seen.failed = String(e) + e.stack; }
  seen.errors = d.documentElement.dataset.errors;
  seen.struck = w.struck === undefined ? 0 : 1;
  document.getElementById("seen").textContent = JSON.stringify(seen);
  document.documentElement.dataset.errors = seen.errors;
});
</script>"""  # noqa: E501


@pytest.fixture
def read(fake: ModuleType, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Play a script inside the page and return what it put into ``seen``."""

    def play(script: str, *, width: int = 1200, **options: Any) -> dict[str, Any]:
        folder = fake.fake_run(
            tmp_path / "run", **{"sites": 8, "n": 200, "max_rank": 32, **options}
        )
        report(folder)
        reader = folder / "reader.html"
        body = _READY + script
        reader.write_text(READER % {"script": body, "width": width}, encoding="utf-8")
        dom, _ = browse(reader, tmp_path / "profile")
        found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
        assert found is not None
        assert found.group(1), "the reader wrote nothing down"
        seen: dict[str, Any] = json.loads(html.unescape(found.group(1)))
        assert "failed" not in seen, seen["failed"]
        assert json.loads(seen["errors"]) == []
        assert not seen["struck"]
        return seen

    return play


def test_one_slider_moves_every_figure(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        const bar = one(".depthbar input"), where = () => one(".depthbar b").textContent;
        const cursor = () => all("svg .cursor").map((c) => c.getAttribute("x1")).join();
        seen.before = where(); const old = cursor();
        bar.value = 1; bar.dispatchEvent(new w.Event("input", { bubbles: true })); await rest();
        seen.after = where(); seen.moved = cursor() !== old;
        seen.row = one("tr.here td").textContent;
        seen.map = one(".map aside b").textContent;
        seen.slice = one("#overlap h3").textContent;
        """
    )
    assert seen["after"] == seen["row"] == seen["map"] == "resid_post.0"
    assert seen["before"] != seen["after"]
    assert seen["moved"]
    assert seen["slice"] == "resid_post.0 against every site"


def test_the_keyboard_reaches_sites_and_cells(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        const svg = one("#dimension .plot > svg"); svg.focus();
        press(svg, "Home"); await rest(); seen.first = one(".depthbar b").textContent;
        press(svg, "ArrowRight"); await rest(); seen.second = one(".depthbar b").textContent;
        seen.tip = one("#tip").textContent; seen.role = one("#tip").getAttribute("role");
        press(svg, "Escape"); seen.gone = one("#tip").style.visibility;
        const matrix = one("#overlap .plot > svg"); matrix.focus();
        press(matrix, "ArrowDown"); await rest(); seen.cell = one("#tip b").textContent;
        seen.reach = all("svg[tabindex='0']").length; seen.named = all("svg[role=img]:not([aria-label])").length;
        """  # noqa: E501
    )
    assert (seen["first"], seen["second"]) == ("embed", "resid_post.0")
    assert "±" in seen["tip"]
    assert seen["role"] == "status"
    assert seen["gone"] == "hidden"
    assert seen["cell"] == "resid_post.1 and resid_post.0"
    assert seen["reach"] >= 6
    assert seen["named"] == 0


def test_hovering_tells_numbers(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        for (const [name, q, x, y] of [["curve", "#dimension .plot > svg", .5, .5], ["scales", "#scales .plot > svg", .5, .6], ["cell", "#imbalance .plot > svg", .4, .5], ["next", "#next .plot > svg", .5, .5]]) {
          move(one(q), x, y); await rest(30); seen[name] = one("#tip").textContent; seen.shown = one("#tip").style.visibility;
        }
        """  # noqa: E501
    )
    assert "untrained" in seen["curve"]
    assert "rows used200" in seen["curve"]
    assert "mean distance" in seen["scales"]
    assert "backwards" in seen["cell"]
    assert "→" in seen["next"]
    assert seen["shown"] == "visible"


def test_estimators_scales_and_placing(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        const list = one("#dimension select"), line = () => one("#dimension .plot path.line").getAttribute("d");
        seen.options = [...list.options].map((o) => o.value); const old = line();
        list.value = "gride-4-8"; list.dispatchEvent(new w.Event("change")); await rest();
        seen.changed = line() !== old; seen.caption = one("#dimension .caption").textContent;
        const placed = line();
        all("#dimension .toggle button").find((b) => b.textContent === "relative depth").click(); await rest();
        seen.placed = line() !== placed; seen.axis = one("#dimension .plot > svg").textContent.includes("relative depth");
        seen.pressed = all("#next .toggle button[aria-pressed=true]").map((b) => b.textContent);
        """  # noqa: E501
    )
    assert {"two_nn", "two_nn_mle", "two_nn_fit", "gride-1-2", "decimation-100"} <= set(
        seen["options"]
    )
    assert seen["changed"]
    assert "neighbours 4 and 8" in seen["caption"]
    assert seen["placed"]
    assert seen["axis"]
    assert seen["pressed"] == ["relative depth"]


def test_numbers_as_a_table_and_how(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        const details = one("#gride .numbers") || one("#scales .numbers"); details.open = true; await rest();
        seen.head = [...details.querySelectorAll("th")].map((t) => t.textContent);
        seen.rows = details.querySelectorAll("tbody tr").length;
        seen.how = one("#labels .how").textContent;
        seen.csv = one("#reproduce a[download]").href.slice(0, 14);
        """  # noqa: E501
    )
    assert seen["head"][:6] == ["site", "depth", "n1", "n2", "scale", "dimension"]
    assert seen["rows"] == 8 * 5
    assert "Formula" in seen["how"]
    assert "Doimo" in seen["how"]
    assert seen["csv"] == "data:text/csv;"


def test_a_class_alone_and_light_and_dark(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        const canvas = one("canvas.main"), ink = () => canvas.toDataURL().length + canvas.toDataURL().slice(-400);
        const old = ink(); one(".classes button").click(); await rest(300);
        seen.alone = ink() !== old; seen.pressed = one(".classes button").getAttribute("aria-pressed");
        const paper = w.getComputedStyle(d.body).backgroundColor;
        one(".top button").click(); await rest(); seen.theme = d.documentElement.dataset.theme;
        seen.turned = w.getComputedStyle(d.body).backgroundColor !== paper;
        """  # noqa: E501
    )
    assert seen["alone"]
    assert seen["pressed"] == "true"
    assert seen["theme"] == "dark"
    assert seen["turned"]


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_sticks_out(read: Callable[..., dict[str, Any]], width: int) -> None:
    seen = read(
        """
        const inner = d.documentElement.clientWidth; seen.width = inner; seen.scroll = d.documentElement.scrollWidth;
        seen.out = all("h1, h2, p, select, button, .plot, canvas, dl, pre").filter((n) => { const b = n.getBoundingClientRect(); return b.width && b.right > inner + 1 && !n.closest(".scroll"); }).map((n) => n.tagName + " " + n.className + " " + n.textContent.slice(0, 30));
        // Labels of an axis must not run into each other.
        seen.clashes = [];
        for (const svg of all(".plot > svg")) {
          const boxes = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
          boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => { if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3) seen.clashes.push(svg.getAttribute("aria-label").slice(0, 30) + ": " + a + " | " + b); }));
        }
        """,  # noqa: E501
        width=width,
        labels=("a label with quite a long name that nobody should need " * 2,),
        checkpoints=3,
        sites=14,
    )
    assert seen["scroll"] <= seen["width"]
    assert seen["out"] == []
    assert seen["clashes"] == []


def test_hostile_texts_are_shown_as_text(read: Callable[..., dict[str, Any]]) -> None:
    seen = read(
        """
        seen.label = one("#labels .lead").textContent; seen.images = all("img").length;
        const c = one("canvas.main"); for (let i = 1; i < 40; i++) { move(c, .3 + i * .01, .5); if (one("#tip").style.visibility === "visible") break; }
        await rest(30); seen.tip = one("#tip").textContent;
        """,  # noqa: E501
        labels=(EVIL,),
        text=EVIL + "{i}",
        class_name=EVIL,
    )
    assert "<script>" in seen["label"]
    assert seen["images"] == 0
    assert "<img src=x" in seen["tip"]
