// The page, top to bottom.

function theme(now) {
  root.dataset.theme = now;
  redraws.forEach((f) => f());
}
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
root.dataset.theme = prefersDark.matches ? "dark" : "light";
prefersDark.addEventListener("change", (e) => theme(e.matches ? "dark" : "light"));

function masthead() {
  const button = el("button", { type: "button", on: { click: () => theme(dark() ? "light" : "dark") } }, "Light / dark");
  return [el("div", { class: "top" }, el("span", { class: "mark" }, "hiddenscape"), button),
    el("header", { class: "masthead" }, el("h1", {}, D.title), el("p", { class: "provenance" }, D.provenance.map((p) => el("span", {}, p))))];
}
function headline() {
  const a = D.advice;
  return el("section", { class: "headline", "aria-label": "What this run says" },
    el("div", {}, el("p", { class: "eyebrow" }, "Which layers to use"), el("p", { class: "say" }, a.say), a.why ? el("p", { class: "why" }, a.why) : "", a.command ? el("p", {}, el("code", {}, a.command)) : "",
      a.labels ? el("p", { class: "why" }, a.labels) : "",
      a.reading.length ? el("details", { class: "reading" }, el("summary", {}, "The profile, read line by line"), el("ul", { class: "features" }, a.reading.map((f) => el("li", {}, f)))) : ""),
    el("dl", { class: "facts" }, D.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
}
function warnings() {
  if (!D.warnings.length) return null;
  return el("details", { class: "warnings", open: D.warnings.length <= 4, id: "warnings" }, el("summary", {}, `${D.warnings.length} ${D.warnings.length === 1 ? "thing" : "things"} to know before reading the numbers`), el("ul", {}, D.warnings.map((w) => el("li", {}, w))));
}
function sitesTable() {
  const part = D.table;
  const box = el("section", { class: "figure", id: "sites" }, el("header", {}, el("h2", {}, "Every site in numbers")));
  if (!part.rows.length) { box.append(el("p", { class: "missing" }, "Nothing has been measured yet. ", el("code", {}, D.measureCommand))); return box; }
  const rows = part.rows.map((r, i) => el("tr", { on: { click: () => select(i) } }, r.map((v, c) => el("td", { class: c === r.length - 1 ? "note" : null }, v))));
  const follow = () => rows.forEach((r, i) => r.classList.toggle("here", i === state.site));
  follow();
  listen(follow);
  box.append(el("div", { class: "scroll", tabindex: 0 }, el("table", { class: "sites" }, el("thead", {}, el("tr", {}, part.head.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, rows))));
  if (part.note) box.append(el("p", { class: "caption" }, part.note));
  return box;
}
function reproduce() {
  const r = D.reproduce;
  const box = el("section", { class: "figure", id: "reproduce" }, el("header", {}, el("h2", {}, "How to make this again")));
  for (const [title, text] of r.blocks) box.append(el("h3", {}, title), el("pre", {}, text));
  if (r.citations.length) box.append(el("h3", {}, "Please cite"), el("ul", { class: "features" }, r.citations.map((c) => el("li", {}, c))));
  if (D.csv) box.append(el("p", {}, el("a", { href: D.csv.href, download: D.csv.name }, `Every number of this run (${D.csv.name}, ${count(D.csv.rows)} rows)`)));
  return box;
}
function depthBar() {
  if (SITES.length < 2) return null;
  const line = D.dimension && !D.dimension.missing ? D.dimension.series[0] : null;
  const labels = D.labels && !D.labels.missing ? D.labels.series[0] : null;
  const name = el("b"), text = el("span");
  const range = el("input", { type: "range", min: 0, max: SITES.length - 1, step: 1, value: state.site, "aria-label": "Site looked at on the whole page", on: { input: (e) => select(+e.target.value) } });
  const track = plot((box, width) => {
    const high = line ? topOf([line.curve.values], 1e-9) : 1, pad = 8, at = SITES.map((_, i) => pad + (i / (SITES.length - 1)) * (width - 2 * pad)), y = linear(0, high, 29, 3);
    const svg = mark("svg", { viewBox: `0 0 ${width} 30`, "aria-hidden": "true", preserveAspectRatio: "none" });
    const values = line ? line.curve.values.map((v) => (known(v) ? y(v) : null)) : [];
    svg.append(mark("path", { d: path(at, values), class: "line", css: { strokeWidth: 1.6 } }));
    const dot = mark("circle", { r: 4, class: "here" });
    svg.append(dot);
    box.replaceChildren(svg, range);
    box.follow = () => { const v = values[state.site]; dot.setAttribute("cx", at[state.site]); dot.setAttribute("cy", known(v) ? v : 29); };
    box.follow();
  }, { class: "track" });
  const say = () => {
    const i = state.site, parts = [];
    if (line) parts.push(`dimension ${pm(line.curve.values[i], line.curve.stderr[i])}`);
    if (labels) parts.push(`label overlap ${sig(labels.overlap.values[i])}`);
    name.textContent = siteName(i);
    text.textContent = parts.join(" · ");
    range.value = i;
    range.setAttribute("aria-valuetext", `${siteName(i)}, ${text.textContent}`);
    if (track.follow) track.follow();
  };
  say();
  listen((what) => { if (what.includes("site")) say(); });
  return el("div", { class: "depthbar", role: "region", "aria-label": "Position in the network" }, el("div", { class: "in" }, el("div", { class: "where" }, name, text), track));
}

const page = document.getElementById("page");
const figures = [
  ["dimension", "Dimension", dimensionFigure], ["estimators", "Estimators", D.estimators ? estimatorsFigure : null], ["scales", "Scale", scalesFigure], ["labels", "Labels", labelFigure], ["map", "Map", mapFigure],
  ["peaks", "Peaks", peaksFigure], ["topography", "Tree", D.topography ? topographyFigure : null],
  ["next", "Turnover", SITES.length > 1 ? nextFigure : null], ["overlap", "Overlap", SITES.length > 1 ? overlapFigure : null], ["imbalance", "Imbalance", SITES.length > 1 ? imbalanceFigure : null],
  ["training", "Training", D.training ? trainingFigure : null], ["sites", "All sites", sitesTable], ["reproduce", "Reproduce", reproduce],
].filter((f) => f[2]);
page.append(...[
  ...masthead(), headline(), warnings(), ...(landscape() || []),
  el("nav", { class: "toc", "aria-label": "Figures" }, figures.map(([id, name]) => el("a", { href: `#${id}` }, name))),
  ...figures.map(([, , f]) => f()),
  el("footer", {}, D.footer),
].filter(Boolean));
const bar = depthBar();
if (bar) document.body.append(bar);
document.body.append(tip);

// Paper wants light colours and every explanation open.
let before = null;
window.addEventListener("beforeprint", () => {
  before = { theme: root.dataset.theme, shut: [...document.querySelectorAll("details:not(.numbers):not([open])")] };
  before.shut.forEach((d) => { d.open = true; });
  theme("light");
});
window.addEventListener("afterprint", () => { if (before) { before.shut.forEach((d) => { d.open = false; }); theme(before.theme); } });
if (!root.dataset.errors) root.dataset.errors = "[]";
const ready = () => { root.dataset.ready = "1"; };
requestAnimationFrame(() => requestAnimationFrame(ready));
setTimeout(ready, 500); // a hidden page gets no frames
