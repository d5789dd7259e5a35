// Parts that every figure uses: elements, numbers, scales, the selected site, tooltips.
// All text from the run reaches the page through textContent only.
const root = document.documentElement;
const faults = [];
const fault = (text) => { faults.push(String(text)); root.dataset.errors = JSON.stringify(faults); };
window.addEventListener("error", (e) => fault(e.message));
window.addEventListener("unhandledrejection", (e) => fault(e.reason));
document.addEventListener("securitypolicyviolation", (e) => fault(`${e.violatedDirective} ${e.blockedURI}`));

const D = JSON.parse(document.getElementById("data").textContent);
const SITES = D.sites;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

const SVG = "http://www.w3.org/2000/svg";
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    else if (name === "css") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}
const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const mark = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Numbers. An error decides how many digits of its value are shown.
const known = (v) => typeof v === "number" && Number.isFinite(v);
function sig(v, digits = 3) {
  if (!known(v)) return "–";
  const a = Math.abs(v);
  if (a !== 0 && (a < 1e-4 || a >= 1e7)) return v.toExponential(1).replace("-", "−");
  const decimals = a >= 1 ? Math.max(0, digits - 1 - Math.floor(Math.log10(a))) : a === 0 ? 0 : Math.min(6, digits - 1 - Math.floor(Math.log10(a)));
  return v.toFixed(decimals).replace("-", "−");
}
function pm(v, e) {
  if (!known(v)) return "no value";
  if (!known(e) || e <= 0) return sig(v);
  const decimals = Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(e))));
  return `${v.toFixed(decimals).replace("-", "−")} ± ${e.toFixed(decimals)}`;
}
const count = (n) => (known(n) ? n.toLocaleString("en-US") : "–");
const percent = (v) => (known(v) ? `${(100 * v).toFixed(v < 0.095 ? 1 : 0)} %` : "?");

// Scales and ticks.
const linear = (a, b, c, d) => { const m = b === a ? 0 : (d - c) / (b - a); return (v) => c + (v - a) * m; };
function ticks(low, high, wanted = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((m) => m * power >= raw) * power;
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) out.push(+(i * step).toPrecision(12));
  return out;
}
function logTicks(low, high) {
  const out = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const m of [1, 2, 5]) { const v = m * 10 ** p; if (v >= low * 0.999 && v <= high * 1.001) out.push(v); }
  return out;
}
const finite = (lists) => lists.flat(Infinity).filter(known);
function topOf(lists, least = 0) { const v = finite(lists); return v.length ? Math.max(least, ...v) : least || 1; }

// Colour ramps, even in lightness; the dark page runs them the other way round.
const RAMPS = {
  sea: ["#f1f6ee", "#c9e5d0", "#8ccfc0", "#4eb1b1", "#318a9f", "#2f6389", "#30406b", "#1f2140"],
  ember: ["#2a1433", "#5c1f52", "#96285c", "#c83f53", "#e86f51", "#f3a376", "#f8d0ab", "#fdf1e2"],
  depth: ["#7ec8b4", "#44a3a6", "#2f7c97", "#33567f", "#3a335f", "#33193f"],
  night: ["#2d5f78", "#2f8793", "#4bb0a2", "#86cfa4", "#c3e6ab", "#f7f6c5"],
};
const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
function ramp(stops, t) {
  const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
  const a = rgb(stops[i]), b = rgb(stops[i + 1]);
  return `rgb(${a.map((v, c) => Math.round(v + (b[c] - v) * (at - i))).join(",")})`;
}
const dark = () => root.dataset.theme === "dark";
const heat = (name, t) => ramp(RAMPS[name], dark() ? 1 - t : t);
const byDepth = (i, n) => ramp(dark() ? RAMPS.night : RAMPS.depth, n > 1 ? i / (n - 1) : 0.4);
// Relative luminance as contrast is defined on; the better of two inks for text on a colour.
function luminance(color) {
  const [r, g, b] = color.match(/\d+/g).map((v) => { const c = v / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const inkOn = (color) => (luminance(color) > 0.18 ? "#10181b" : "#fbfaf6");
const token = (name) => getComputedStyle(root).getPropertyValue(name).trim();

// What is looked at: one site for the whole page, one way of placing sites.
const state = { site: D.start || 0, x: "order" };
const listeners = [];
function listen(f) { listeners.push(f); }
function change(part) {
  Object.assign(state, part);
  for (const f of listeners) f(Object.keys(part));
}
const select = (i) => { const at = Math.min(Math.max(i, 0), SITES.length - 1); if (at !== state.site) change({ site: at }); };
const redraws = [];

// Where sites lie on the horizontal axis, from 0 to 1.
function places() {
  const n = SITES.length;
  if (state.x === "order" || !SITES.every((s) => known(s.depth))) return SITES.map((_, i) => (n > 1 ? i / (n - 1) : 0.5));
  const low = SITES[0].depth, high = Math.max(...SITES.map((s) => s.depth));
  return SITES.map((s) => (high > low ? (s.depth - low) / (high - low) : 0.5));
}
const ruler = document.createElement("canvas").getContext("2d");
ruler.font = "12px sans-serif";
const wide = (text) => ruler.measureText(text).width * 1.06;
const cut = (text, n = 16) => { const all = Array.from(text); return all.length > n ? all.slice(0, n - 1).join("") + "…" : text; };

function xAxis(g, left, right, y, title) {
  const at = places().map((p) => left + p * (right - left));
  if (state.x === "order") {
    const labels = SITES.map((s) => cut(s.label));
    for (const i of fitting(at, labels)) g.append(mark("text", { x: at[i], y: y + 18, "text-anchor": "middle" }, labels[i]));
  } else {
    const relative = state.x === "relative";
    const low = SITES[0].depth, high = Math.max(...SITES.map((s) => s.depth));
    const to = relative ? linear(0, 1, left, right) : linear(low, high, left, right);
    for (const v of relative ? ticks(0, 1, 5) : ticks(low, high, Math.min(8, (right - left) / 60)))
      g.append(mark("text", { x: to(v), y: y + 18, "text-anchor": "middle" }, sig(v, 2).replace(/\.0$/, "")));
  }
  const names = { order: D.siteWord, depth: "depth in blocks", relative: "relative depth" };
  g.append(mark("text", { x: right, y: y + 37, "text-anchor": "end", class: "title" }, title || names[state.x]));
  return at;
}
// Every m-th label, with the smallest m for which none touches another; the last one always.
function fitting(at, labels) {
  const n = labels.length;
  const clash = (i, j) => Math.abs(at[i] - at[j]) < (wide(labels[i]) + wide(labels[j])) / 2 + 7;
  for (let step = 1; step < n; step++) {
    let keep = [...Array(n).keys()].filter((i) => i % step === 0);
    if (keep[keep.length - 1] !== n - 1) {
      if (clash(keep[keep.length - 1], n - 1)) keep.pop();
      keep.push(n - 1);
    }
    if (keep.every((i, c) => c === 0 || !clash(keep[c - 1], i))) return keep;
  }
  return n > 1 && !clash(0, n - 1) ? [0, n - 1] : [0];
}
function yAxis(g, to, low, high, left, right, title, wanted = 5) {
  for (const v of ticks(low, high, wanted)) {
    g.append(mark("line", { x1: left, x2: right, y1: Math.round(to(v)), y2: Math.round(to(v)), class: v === 0 ? "base" : "grid" }));
    g.append(mark("text", { x: left - 8, y: to(v) + 4, "text-anchor": "end" }, +v.toPrecision(6)));
  }
  g.append(mark("text", { x: left, y: to(high) - 12, "text-anchor": "start", class: "title" }, title));
}
const leftFor = (high) => 14 + Math.max(...ticks(0, high).map((v) => wide(String(+v.toPrecision(6)))));

// Paths with gaps where a number is missing.
function path(at, values) {
  let out = "", pen = false;
  values.forEach((v, i) => {
    if (!known(v) || !known(at[i])) { pen = false; return; }
    out += `${pen ? "L" : "M"}${at[i].toFixed(2)},${v.toFixed(2)}`; pen = true;
  });
  return out;
}
function bandPath(at, low, high) {
  let out = "", run = [];
  const flush = () => {
    if (run.length > 1) out += "M" + run.map((i) => `${at[i].toFixed(2)},${high[i].toFixed(2)}`).join("L") + "L" + run.reverse().map((i) => `${at[i].toFixed(2)},${low[i].toFixed(2)}`).join("L") + "Z";
    run = [];
  };
  at.forEach((_, i) => (known(low[i]) && known(high[i]) ? run.push(i) : flush()));
  flush();
  return out;
}

// One tooltip for the page. Screen readers hear it politely.
const tip = el("div", { id: "tip", role: "status", "aria-live": "polite" });
function showTip(x, y, title, pairs, text) {
  tip.replaceChildren(el("b", {}, title), ...pairs.filter(Boolean).map(([name, value]) => el("div", { class: "pair" }, el("span", {}, name), el("span", {}, value))), text ? el("div", { class: "text" }, text) : "");
  const box = tip.getBoundingClientRect(), margin = 14;
  let left = x + margin, top = y - box.height - margin;
  if (left + box.width > innerWidth - 6) left = Math.max(6, x - box.width - margin);
  if (top < 6) top = Math.min(y + margin, innerHeight - box.height - 6);
  Object.assign(tip.style, { left: `${left}px`, top: `${top}px`, visibility: "visible" });
}
const hideTip = () => { tip.style.visibility = "hidden"; };

// A drawing that follows the width of its place.
function plot(draw, attributes = {}) {
  const box = el("div", { class: "plot", ...attributes });
  let width = 0;
  const redraw = () => { if (width > 0) draw(box, width); };
  new ResizeObserver((entries) => {
    const now = Math.floor(entries[0].contentRect.width);
    if (now !== width) { width = now; requestAnimationFrame(redraw); }
  }).observe(box);
  redraws.push(redraw);
  box.redraw = redraw;
  return box;
}
function canvasOf(box, width, height, label) {
  const focused = box.contains(document.activeElement);
  const svg = mark("svg", { viewBox: `0 0 ${width} ${height}`, height, width, role: "img", "aria-label": label, tabindex: 0 });
  box.replaceChildren(svg);
  if (focused) svg.focus({ preventScroll: true });
  return svg;
}
const nearest = (at, x) => at.reduce((best, v, i) => (Math.abs(v - x) < Math.abs(at[best] - x) ? i : best), 0);

// Figures as files.
function save(name, type, content) {
  const link = el("a", { download: name, href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 2000);
}
const INK = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity", "font", "paint-order", "text-anchor"];
function saveSvg(name, svg) {
  const copy = svg.cloneNode(true), from = svg.querySelectorAll("*"), to = copy.querySelectorAll("*");
  from.forEach((node, i) => { const s = getComputedStyle(node); for (const p of INK) if (s.getPropertyValue(p)) to[i].style.setProperty(p, s.getPropertyValue(p)); });
  copy.setAttribute("xmlns", SVG);
  copy.style.background = token("--paper");
  save(`${name}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
}
// Cells that a spreadsheet would take for a formula are marked as text.
const cell = (v) => {
  if (v === null || v === undefined) return "";
  const text = typeof v === "number" ? String(v) : /^[=+\-@\t\r]/.test(v) ? `'${v}` : String(v);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const csv = (head, rows) => [head, ...rows].map((r) => r.map(cell).join(",")).join("\n") + "\n";

// Controls.
function choice(title, options, now, f) {
  const groups = [...new Set(options.map((o) => o.group || ""))];
  const one = (o) => el("option", { value: o.value, selected: o.value === now }, cut(o.label, 60));
  const list = el("select", { on: { change: (e) => f(e.target.value) } },
    groups.map((g) => (g ? el("optgroup", { label: g }, options.filter((o) => (o.group || "") === g).map(one)) : options.filter((o) => !o.group).map(one))));
  return el("label", { class: "control" }, title, list);
}
function toggle(title, options, now, f) {
  const buttons = options.map((o) => el("button", { type: "button", "aria-pressed": String(o.value === now), on: { click: () => { f(o.value); press(o.value); } } }, o.label));
  const press = (value) => buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(options[i].value === value)));
  const box = el("div", { class: "control", role: "group", "aria-label": title }, title, el("span", { class: "toggle" }, buttons));
  box.press = press;
  return box;
}
const depthToggles = [];
function depthToggle() {
  const one = toggle("Sites placed by", [{ value: "order", label: "order" }, { value: "depth", label: "depth" }, { value: "relative", label: "relative depth" }], state.x, (v) => change({ x: v }));
  depthToggles.push(one);
  return one;
}
listen((what) => { if (what.includes("x")) depthToggles.forEach((t) => t.press(state.x)); });
const SWATCH = { line: "line", ghost: "ghost", chance: "chance", ceiling: "ceiling", second: "second" };
const legend = (items) => el("ul", { class: "legend" }, items.filter(Boolean).map(([kind, text]) =>
  el("li", {}, mark("svg", { width: 26, height: 10, "aria-hidden": "true" }, kind === "band" ? mark("rect", { width: 26, height: 10, class: "band" }) : mark("path", { d: "M1,5H25", class: SWATCH[kind] })), text)));

// The frame of a figure: title, finding, controls, drawing, how it was computed, its numbers.
function figure(id, title, part, build) {
  const box = el("section", { class: "figure", id, "aria-labelledby": `${id}-title` });
  box.append(el("header", {}, el("h2", { id: `${id}-title` }, title), part && part.lead ? el("p", { class: "lead" }, part.lead) : ""));
  if (!part || part.missing) {
    box.append(el("p", { class: "missing" }, part ? part.missing : "Nothing was measured.", " ", part && part.command ? el("code", {}, part.command) : ""));
    return box;
  }
  const made = build(box) || {};
  if (part.caption) box.append(el("p", { class: "caption" }, part.caption));
  const under = el("div", { class: "under" });
  if (part.how) under.append(how(part.how));
  if (made.table) {
    const holder = el("div", { class: "scroll", tabindex: 0 });
    const details = el("details", { class: "numbers" }, el("summary", {}, "Numbers"), holder);
    details.addEventListener("toggle", () => { if (details.open) holder.replaceChildren(grid(...made.table())); });
    under.append(details, el("button", { type: "button", class: "link", on: { click: () => save(`${id}.csv`, "text/csv", csv(...made.table())) } }, "CSV"));
  }
  under.append(el("button", { type: "button", class: "link", on: { click: () => {
    const canvas = box.querySelector("canvas.main");
    if (canvas) canvas.toBlob((blob) => save(`${id}.png`, "image/png", blob));
    else box.querySelectorAll(".plot > svg").forEach((svg, i) => saveSvg(i ? `${id}-${i + 1}` : id, svg));
  } } }, box.querySelector("canvas.main") ? "PNG" : "SVG"));
  box.append(under);
  return box;
}
function how(items) {
  return el("details", { class: "how" }, el("summary", {}, "How this was computed"),
    el("dl", {}, items.map(([name, text]) => [el("dt", {}, name), el("dd", { class: name === "Formula" ? "formula" : null }, text)])));
}
const grid = (head, rows) => el("table", {}, el("thead", {}, el("tr", {}, head.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, rows.map((r) => el("tr", {}, r.map((v) => el("td", { class: typeof v === "string" && v.length > 40 ? "note" : null }, typeof v === "number" ? +v.toPrecision(6) : v === null || v === undefined ? "" : v))))));
