// Curves over the sites: dimension, overlaps, label overlaps, training.

// spec: {label, yTitle, yMax, yMin, curves: [{name, values, stderr, kind, dots, singles, color}], level: [{name, value, kind}],
//        marks: [{site, text}], between: true for numbers that belong to site i and i + 1, pairs(i) -> tooltip}
function curvePlot(spec) {
  return plot((box, width) => {
    const s = spec();
    const height = Math.round(Math.min(Math.max(width * (s.shape || 0.42), 230), 400));
    const svg = canvasOf(box, width, height, s.label);
    const low = s.yMin || 0;
    const high = (s.yMax || topOf(s.curves.flatMap((c) => [c.values, c.values.map((v, i) => (known(v) && known((c.stderr || [])[i]) ? v + c.stderr[i] : v)), c.singles || []]), 1e-9)) * (s.yMax ? 1 : (s.marks || []).length ? 1.16 : 1.06);
    const left = leftFor(high), right = width - 12, top = 26, foot = height - 44;
    const y = linear(low, high, foot, top);
    yAxis(svg, y, low, high, left, right, s.yTitle, height < 280 ? 4 : 5);
    const pad = SITES.length > 1 ? 12 : 0;
    const at = xAxis(svg, left + pad, right - pad, foot, s.xTitle);
    const mid = s.between ? at.slice(0, -1).map((v, i) => (v + at[i + 1]) / 2) : at;
    if (s.range && s.range.length) {
      const half = SITES.length > 1 ? (right - left) / (2 * SITES.length) : 20, a = Math.max(left, at[s.range[0]] - half * 0.7), b = Math.min(right, at[s.range[s.range.length - 1]] + half * 0.7);
      svg.append(mark("rect", { x: a, width: b - a, y: top, height: foot - top, class: "range" }), mark("text", { x: a + 6, y: top + 15, class: "rangetext" }, "plateau"));
    }
    for (const l of s.level || []) if (known(l.value)) svg.append(mark("line", { x1: left, x2: right, y1: y(l.value), y2: y(l.value), class: l.kind }));
    for (const c of s.curves) {
      const py = c.values.map((v) => (known(v) ? y(v) : null));
      if (c.stderr && c.stderr.some(known)) {
        const lower = c.values.map((v, i) => (known(v) && known(c.stderr[i]) ? y(v - c.stderr[i]) : null));
        const upper = c.values.map((v, i) => (known(v) && known(c.stderr[i]) ? y(v + c.stderr[i]) : null));
        svg.append(mark("path", { d: bandPath(mid, lower, upper), class: c.kind === "ghost" ? "ghostband" : "band" }));
        if (SITES.length === 1 && known(lower[0])) svg.append(mark("line", { x1: mid[0], x2: mid[0], y1: lower[0], y2: upper[0], class: "line" }));
      }
      for (const single of c.singles || []) single.forEach((v, i) => known(v) && svg.append(mark("circle", { cx: mid[i], cy: y(v), r: 2.1, class: "single" })));
      svg.append(mark("path", { d: path(mid, py), class: c.kind || "line", css: c.color ? { stroke: c.color, ...(c.dash ? { strokeDasharray: c.dash } : {}) } : null, opacity: c.faint ? 0.45 : null }));
      if (c.dots) py.forEach((v, i) => {
        if (known(v)) { if (SITES.length <= 60) svg.append(mark("circle", { cx: mid[i], cy: v, r: SITES.length > 30 ? 2.4 : 3.4, class: c.kind === "second" ? "seconddot" : "dot" })); }
        else if (!c.whole) svg.append(mark("path", { d: `M${mid[i] - 4},${foot - 9}l8,8m0,-8l-8,8`, class: "lost" }));
      });
    }
    for (const m of s.marks || []) {
      const v = s.curves[0].values[m.site];
      if (!known(v)) continue;
      const anchor = at[m.site] > right - 70 ? "end" : at[m.site] < left + 70 ? "start" : "middle";
      svg.append(mark("text", { x: at[m.site], y: y(v) - 13, "text-anchor": anchor, class: "strong" }, m.text));
    }
    const cursor = mark("line", { y1: top, y2: foot, class: "cursor" }), hover = mark("line", { y1: top, y2: foot, class: "hover", visibility: "hidden" });
    const here = mark("circle", { r: 5, class: "here" });
    svg.append(hover, cursor, here);
    const last = mid.length - 1;
    const follow = () => {
      const i = Math.min(state.site, last), v = (s.curves[s.main || 0] || { values: [] }).values[i];
      cursor.setAttribute("x1", at[state.site]); cursor.setAttribute("x2", at[state.site]);
      here.setAttribute("visibility", known(v) ? "visible" : "hidden");
      if (known(v)) { here.setAttribute("cx", mid[i]); here.setAttribute("cy", y(v)); }
    };
    box.follow = follow;
    follow();
    const tell = (i, x, yy) => { hover.setAttribute("x1", mid[i]); hover.setAttribute("x2", mid[i]); hover.setAttribute("visibility", "visible"); showTip(x, yy, ...s.tell(i)); };
    const inside = (e) => nearest(mid, ((e.clientX - svg.getBoundingClientRect().left) * width) / svg.getBoundingClientRect().width);
    svg.addEventListener("pointermove", (e) => tell(inside(e), e.clientX, e.clientY));
    svg.addEventListener("pointerleave", () => { hideTip(); hover.setAttribute("visibility", "hidden"); });
    svg.addEventListener("click", (e) => select(inside(e)));
    keys(svg, (move) => {
      select(state.site + move);
      const b = svg.getBoundingClientRect();
      tell(Math.min(state.site, last), b.left + mid[Math.min(state.site, last)], b.top + top + 30);
    });
  });
}
function keys(node, f) {
  node.addEventListener("keydown", (e) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[e.key];
    if (move) { e.preventDefault(); f(move); }
    if (e.key === "Escape") hideTip();
  });
  node.addEventListener("blur", hideTip);
}
// Redraw when sites are placed anew; move only the cursor when another site is looked at.
function live(...boxes) {
  listen((what) => boxes.forEach((b) => (what.includes("x") ? b.redraw() : b.follow && b.follow())));
  return boxes;
}
const siteName = (i) => SITES[i].name;
const noteOf = (curve, i) => (curve && curve.notes && curve.notes[i] ? curve.notes[i] : "");

function dimensionFigure() {
  const part = D.dimension;
  return figure("dimension", "How many dimensions a site uses", part, (box) => {
    let now = part.series[0];
    const text = el("p", { class: "caption" }), key = el("div");
    const chart = curvePlot(() => ({
      label: `Estimated dimension over sites, ${now.label}`, yTitle: `estimated dimension`,
      curves: [
        { values: now.curve.values, stderr: now.curve.stderr, dots: true, singles: now.repeats || [] },
        ...(now.null ? [{ values: now.null.values, stderr: now.null.stderr, kind: "ghost" }] : []),
      ],
      marks: now.key === part.marked ? part.marks : [], range: now.key === part.marked ? D.advice.plateau : [],
      tell: (i) => [siteName(i), [
        [now.label, pm(now.curve.values[i], now.curve.stderr[i])],
        now.null && ["untrained", pm(now.null.values[i], now.null.stderr[i])],
        known(now.curve.scale[i]) && ["at scale (distance)", sig(now.curve.scale[i])],
        known(now.curve.n[i]) && ["rows used", count(now.curve.n[i])],
      ], noteOf(now.curve, i)],
    }));
    const say = () => {
      text.textContent = now.text;
      key.replaceChildren(legend([["line", now.label], now.curve.stderr.some(known) && ["band", `± 1 standard error (${now.curve.kind || "kind unknown"})`], now.null && ["ghost", "the same network, untrained"]]));
    };
    box.append(el("div", { class: "controls" },
      choice("Estimator and scale", part.series.map((s) => ({ value: s.key, label: s.label, group: s.group })), now.key, (v) => { now = part.series.find((s) => s.key === v); say(); chart.redraw(); }),
      SITES.length > 1 && depthToggle()), key, chart, text);
    say();
    live(chart);
    return { table: () => [["site", "depth", "estimator", "dimension", "stderr", "stderr kind", "scale", "rows", "untrained", "note"], part.series.flatMap((s) => SITES.map((site, i) => [site.name, site.depth, s.label, s.curve.values[i], s.curve.stderr[i], s.curve.kind, s.curve.scale[i], s.curve.n[i], s.null ? s.null.values[i] : null, noteOf(s.curve, i)]))] };
  });
}

function nextFigure() {
  const part = D.next;
  return figure("next", "Where the neighbourhoods turn over", part, (box) => {
    let now = part.byK[0];
    const key = el("div");
    const chart = curvePlot(() => ({
      label: `Neighbourhood overlap of consecutive sites, k = ${now.k}`, yTitle: `shared neighbours, k = ${now.k}`, yMax: 1, between: true,
      curves: [{ values: now.values, stderr: now.stderr, dots: true }, ...(now.null ? [{ values: now.null, kind: "ghost" }] : [])],
      level: [{ value: now.chance, kind: "chance" }],
      tell: (i) => [`${siteName(i)} → ${siteName(i + 1)}`, [["overlap", pm(now.values[i], now.stderr[i])], now.null && ["untrained", pm(now.null[i])], ["chance", sig(now.chance)]]],
    }));
    const say = () => key.replaceChildren(legend([["line", "this network"], now.stderr.some(known) && ["band", `± 1 standard error (${now.kind})`], now.null && ["ghost", "untrained"], known(now.chance) && ["chance", `chance, ${sig(now.chance)}`]]));
    say();
    box.append(el("div", { class: "controls" }, part.byK.length > 1 && choice("Neighbours k", part.byK.map((b) => ({ value: String(b.k), label: String(b.k) })), String(now.k), (v) => { now = part.byK.find((b) => String(b.k) === v); say(); chart.redraw(); }), depthToggle()), key, chart);
    live(chart);
    return { table: () => [["from", "to", "k", "overlap", "stderr", "chance", "untrained"], part.byK.flatMap((b) => b.values.map((v, i) => [siteName(i), siteName(i + 1), b.k, v, b.stderr[i], b.chance, b.null ? b.null[i] : null]))] };
  });
}

function labelFigure() {
  const part = D.labels;
  return figure("labels", "Where neighbours share a label", part, (box) => {
    const all = part.series;
    let pick = { label: all[0].label, weighting: all[0].weighting, k: String(all[0].k) }, adjusted = "plain";
    const find = () => all.find((s) => s.label === pick.label && s.weighting === pick.weighting && String(s.k) === pick.k) || all.find((s) => s.label === pick.label && s.weighting === pick.weighting) || all.find((s) => s.label === pick.label);
    const key = el("div"), text = el("p", { class: "caption" });
    // The ceiling is shown where it leaves the curve room to be read.
    const frame = (now) => {
      const most = topOf([now.overlap.values, now.null ? now.null.values : [], now.chance.values], 1e-6), ceiling = topOf([now.ceiling.values], 1e-6);
      return most > 0.55 * ceiling ? Math.max(most, ceiling) : 1.3 * most;
    };
    const chart = curvePlot(() => {
      const now = find(), scaled = adjusted === "adjusted", curve = scaled ? now.adjusted : now.overlap, twin = scaled ? now.nullAdjusted : now.null;
      const lowest = Math.min(0, ...finite([curve.values, twin ? twin.values : []]));
      return {
        label: `Label overlap over sites, ${now.label}, ${now.weighting}, k = ${now.k}`, yTitle: scaled ? "adjusted: 0 = chance, 1 = ceiling" : "neighbours with the same label (share)",
        yMin: lowest < 0 ? ticks(lowest * 1.3, 1)[0] : 0, yMax: scaled ? (topOf([curve.values, twin ? twin.values : []]) > 0.55 ? 1 : null) : frame(now),
        curves: [{ values: curve.values, stderr: curve.stderr, dots: true }, ...(scaled ? [] : [{ values: now.chance.values, kind: "chance" }, { values: now.ceiling.values.map((v) => (v <= frame(now) ? v : null)), kind: "ceiling" }]), ...(twin ? [{ values: twin.values, kind: "ghost" }] : [])],
        tell: (i) => [siteName(i), [["overlap", pm(now.overlap.values[i], now.overlap.stderr[i])], ["adjusted", sig(now.adjusted.values[i])], ["chance", sig(now.chance.values[i])], ["ceiling", sig(now.ceiling.values[i])], now.null && ["untrained", pm(now.null.values[i], now.null.stderr[i])], known(now.overlap.n[i]) && ["rows used", count(now.overlap.n[i])]], noteOf(now.overlap, i)],
      };
    });
    const say = () => {
      const now = find();
      key.replaceChildren(legend([["line", "this network"], now.overlap.stderr.some(known) && ["band", `± 1 standard error (${now.overlap.kind})`], now.null && ["ghost", "untrained"], adjusted === "plain" && ["chance", "chance"], adjusted === "plain" && ["ceiling", `ceiling: the most that class sizes allow${topOf([now.ceiling.values]) > frame(now) ? ` (${sig(topOf([now.ceiling.values]))}, above the frame)` : ""}`]]));
      text.textContent = now.text;
      controls();
    };
    const bar = el("div", { class: "controls" });
    const options = (field, named) => [...new Set(all.filter((s) => field === "label" || (s.label === pick.label && (field === "weighting" || s.weighting === pick.weighting))).map((s) => String(s[field])))].map((v) => ({ value: v, label: named ? named(v) : v }));
    const set = (field) => (v) => { pick[field] = v; const s = find(); pick = { label: s.label, weighting: s.weighting, k: String(s.k) }; say(); chart.redraw(); };
    const words = { plain: "mean over rows", macro: "mean over classes" };
    const controls = () => {
      const labels = options("label"), weightings = options("weighting", (v) => words[v] || v), sizes = options("k");
      bar.replaceChildren(...[
        labels.length > 1 && choice("Label", labels, pick.label, set("label")),
        weightings.length > 1 && choice("Average", weightings, pick.weighting, set("weighting")),
        sizes.length > 1 && choice("Neighbours k", sizes, pick.k, set("k")),
        toggle("Scale", [{ value: "plain", label: "share" }, { value: "adjusted", label: "adjusted" }], adjusted, (v) => { adjusted = v; say(); chart.redraw(); }),
      ].filter(Boolean));
    };
    say();
    box.append(bar, key, chart, text);
    live(chart);
    return { table: () => [["site", "depth", "label", "average", "k", "overlap", "stderr", "chance", "ceiling", "adjusted", "untrained", "rows", "note"], all.flatMap((s) => SITES.map((site, i) => [site.name, site.depth, s.label, s.weighting, s.k, s.overlap.values[i], s.overlap.stderr[i], s.chance.values[i], s.ceiling.values[i], s.adjusted.values[i], s.null ? s.null.values[i] : null, s.overlap.n[i], noteOf(s.overlap, i)]))] };
  });
}

function trainingFigure() {
  const part = D.training;
  return figure("training", "How training carved it", part, (box) => {
    let now = part.names.length - 1;
    const panel = (curves, title, level) => curvePlot(() => ({
      label: `${title} over sites, one curve per checkpoint`, yTitle: title, shape: 0.7, main: now,
      curves: curves.map((c, i) => ({ values: c.values, stderr: i === now ? c.stderr : null, color: byDepth(i, curves.length), faint: i !== now })),
      level: known(level) ? [{ value: level, kind: "chance" }] : [],
      tell: (i) => [siteName(i), part.names.map((name, c) => [name, pm(curves[c].values[i], curves[c].stderr[i])])],
    }));
    const charts = [part.dimensions.length && panel(part.dimensions, "estimated dimension"), part.overlaps.length && panel(part.overlaps, `label overlap${part.label ? `, ${part.label}` : ""}`, part.chance)].filter(Boolean);
    const where = el("output", {});
    const slider = el("input", { type: "range", min: 0, max: part.names.length - 1, value: now, "aria-label": "Checkpoint", on: { input: (e) => { now = +e.target.value; say(); charts.forEach((c) => c.redraw()); } } });
    const key = el("ul", { class: "legend" });
    const say = () => {
      where.textContent = part.names[now];
      slider.setAttribute("aria-valuetext", part.names[now]);
      key.replaceChildren(...part.names.map((name, i) => el("li", { css: { fontWeight: i === now ? "650" : "400" } }, mark("svg", { width: 20, height: 10, "aria-hidden": "true" }, mark("path", { d: "M1,5H19", class: "line", css: { stroke: byDepth(i, part.names.length) } })), name)));
    };
    redraws.push(say);
    say();
    box.append(el("div", { class: "player" }, el("span", { class: "soft" }, "Checkpoint"), slider, where), key, el("div", { class: charts.length > 1 ? "two even" : "" }, charts));
    live(...charts);
    return { table: () => [["checkpoint", "step", "site", "depth", "dimension", "label overlap"], part.names.flatMap((name, c) => SITES.map((s, i) => [name, part.steps[c], s.name, s.depth, part.dimensions.length ? part.dimensions[c].values[i] : null, part.overlaps.length ? part.overlaps[c].values[i] : null]))] };
  });
}
