// Several curves with one axis, chosen from a list: estimators, densities, clusters; and the tree of peaks.

const hues = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];

function viewsFigure(id, title, part, labelled) {
  return figure(id, title, part, (box) => {
    const dash = (i) => (i < hues.length ? null : "5 3");
    let now = part.views[0];
    const key = el("ul", { class: "legend" });
    const many = () => now.curves.length > 1;
    const hue = (i) => (many() ? hues[i % hues.length] : null);
    const chart = curvePlot(() => {
      const lowest = Math.min(0, ...finite(now.curves.map((c) => c.values)));
      return {
        label: `${now.title} over sites`, yTitle: now.unit, yMin: lowest < 0 ? ticks(lowest * 1.3, 1)[0] : 0, yMax: now.top,
        // The first curve is drawn last, above the others.
        main: now.curves.length - 1,
        curves: now.curves.map((c, i) => ({ values: c.values, stderr: many() ? null : c.stderr, dots: i === 0, color: hue(i), dash: dash(i), faint: labelled ? false : i > 0 })).reverse(),
        tell: (i) => [siteName(i), now.names.map((name, c) => [name, pm(now.curves[c].values[i], now.curves[c].stderr[i])]), noteOf(now.curves[0], i)],
      };
    });
    const say = () => key.replaceChildren(...now.names.map((name, i) => el("li", {}, mark("svg", { width: 20, height: 10, "aria-hidden": "true" }, mark("path", { d: "M1,5H19", class: "line", css: hue(i) ? { stroke: hue(i), strokeDasharray: dash(i) || "none" } : null })), name)));
    say();
    box.append(el("div", { class: "controls" },
      part.views.length > 1 && choice("Show", part.views.map((v) => ({ value: v.key, label: v.title })), now.key, (v) => { now = part.views.find((s) => s.key === v); say(); chart.redraw(); }),
      SITES.length > 1 && depthToggle()), key, chart);
    live(chart);
    return { table: () => [["site", "depth", "figure", "curve", "value", "stderr", "stderr kind", "scale", "rows", "note"], part.views.flatMap((v) => v.curves.flatMap((c, j) => SITES.map((site, i) => [site.name, site.depth, v.title, v.names[j], c.values[i], c.stderr[i], c.kind, c.scale[i], c.n[i], noteOf(c, i)])))] };
  });
}
const estimatorsFigure = () => viewsFigure("estimators", "Estimators beside one another", D.estimators, true);
const peaksFigure = () => viewsFigure("peaks", "Density and its peaks", D.peaks, false);

function topographyFigure() {
  const part = D.topography;
  return figure("topography", "Peaks of one site and the passes between them", part, (box) => {
    const text = el("p", { class: "caption" });
    const chart = plot((inner, width) => {
      const t = part.trees[state.site], height = Math.round(Math.min(Math.max(width * 0.45, 250), 420));
      const svg = canvasOf(inner, width, height, `Tree of peaks at ${siteName(state.site)}`);
      if (!t) {
        svg.append(mark("text", { x: width / 2, y: height / 2, "text-anchor": "middle", class: "strong" }, "no clusters at this site"));
        return;
      }
      const values = finite([t.segments.map((s) => [s[1], s[3]]), t.peaks.flatMap((p, i) => [p - (t.errors[i] || 0), p + (t.errors[i] || 0)])]);
      const low = Math.min(...values), high = Math.max(...values), pad = 0.06 * (high - low || 1);
      const left = 14 + Math.max(wide(sig(low)), wide(sig(high))) + 14, right = width - 14, top = 26, foot = height - 44;
      const y = linear(low - pad, high + pad, foot, top), n = t.peaks.length;
      const x = (i) => left + ((i + 0.5) / n) * (right - left);
      yAxis(svg, y, low - pad, high + pad, left, right, "log density (nats)", 5);
      for (const [x0, y0, x1, y1] of t.segments) svg.append(mark("line", { x1: x(x0), y1: y(y0), x2: x(x1), y2: y(y1), class: "line", css: { strokeWidth: 1.2 } }));
      const most = Math.max(...t.sizes);
      const room = (right - left) / n;
      t.peaks.forEach((p, i) => {
        if (known(t.errors[i])) svg.append(mark("line", { x1: x(i), x2: x(i), y1: y(p - t.errors[i]), y2: y(p + t.errors[i]), class: "ceiling" }));
        const dot = mark("circle", { cx: x(i), cy: y(p), r: 3 + 7 * Math.sqrt(t.sizes[i] / most), class: "dot" });
        dot.addEventListener("pointermove", (e) => showTip(e.clientX, e.clientY, t.names[i] || `cluster ${i + 1}`, [["log density", pm(p, t.errors[i])], ["rows", count(t.sizes[i])]]));
        dot.addEventListener("pointerleave", hideTip);
        svg.append(dot);
        const name = cut(t.names[i] || count(t.sizes[i]), 18);
        if (wide(name) < room) svg.append(mark("text", { x: x(i), y: foot + 18, "text-anchor": "middle", class: "tick" }, name));
      });
    });
    const say = () => {
      const t = part.trees[state.site];
      text.textContent = t ? `${siteName(state.site)}: ${t.caption}. Dots: area by rows.${t.lost ? ` ${t.lost + 1} parts share no pass and are joined at the foot.` : ""}` : `${siteName(state.site)} has no clusters; the notes say why.`;
    };
    say();
    box.append(chart, text);
    listen((what) => { if (what.includes("site")) { chart.redraw(); say(); } });
    return { table: () => [["site", "leaf", "log density", "stderr", "rows", "commonest label"], part.trees.flatMap((t, i) => (t ? t.peaks.map((p, c) => [siteName(i), c + 1, p, t.errors[c], t.sizes[c], t.names[c] || ""]) : []))] };
  });
}
