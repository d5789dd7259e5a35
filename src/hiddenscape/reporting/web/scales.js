// Dimension against scale: the landscape at the head of the page, and one curve per site.

// A monotone cubic through the points: it passes through every number and overshoots none.
function smooth(xs, ys) {
  const n = xs.length;
  if (n < 3) return xs.map((x, i) => `${i ? "L" : "M"}${x.toFixed(1)},${ys[i].toFixed(1)}`).join("");
  const h = xs.slice(1).map((x, i) => Math.max(x - xs[i], 1e-6)), d = h.map((w, i) => (ys[i + 1] - ys[i]) / w);
  const m = ys.map((_, i) => (i === 0 ? d[0] : i === n - 1 ? d[n - 2] : d[i - 1] * d[i] <= 0 ? 0 : (3 * (h[i - 1] + h[i])) / ((2 * h[i] + h[i - 1]) / d[i - 1] + (h[i] + 2 * h[i - 1]) / d[i])));
  let out = `M${xs[0].toFixed(1)},${ys[0].toFixed(1)}`;
  for (let i = 0; i < n - 1; i++) out += `C${(xs[i] + h[i] / 3).toFixed(1)},${(ys[i] + (m[i] * h[i]) / 3).toFixed(1)},${(xs[i + 1] - h[i] / 3).toFixed(1)},${(ys[i + 1] - (m[i + 1] * h[i]) / 3).toFixed(1)},${xs[i + 1].toFixed(1)},${ys[i + 1].toFixed(1)}`;
  return out;
}
function mix(a, b, t) {
  const p = rgb(a), q = rgb(b);
  return `rgb(${p.map((v, i) => Math.round(v + (q[i] - v) * t)).join(",")})`;
}
function landscape() {
  const part = D.gride && !D.gride.missing ? D.gride : null;
  const ridges = part ? part.pairs.map((p, s) => ({ name: `ranks ${p[0]}, ${p[1]}`, values: part.values.map((v) => v[s]) })) : D.dimension && !D.dimension.missing ? [{ name: D.dimension.series[0].label, values: D.dimension.series[0].curve.values }] : [];
  if (!ridges.length || SITES.length < 3 || !finite(ridges.map((r) => r.values)).length) return null;
  const chart = plot((box, width) => {
    const height = Math.round(Math.min(Math.max(width * 0.3, 220), 400));
    const svg = canvasOf(box, width, height, "The landscape of dimension: one ridge per scale");
    const high = topOf(ridges.map((r) => r.values)) * 1.04, side = Math.max(18, (width - 1088) / 2 + 48), left = side + 22, right = width - side;
    const foot = height - 30, y = linear(0, high, foot, 62), at = places().map((p) => left + p * (right - left));
    for (const v of ticks(0, high, 4)) {
      if (v > 0) svg.append(mark("line", { x1: left, x2: right, y1: y(v), y2: y(v), class: "grid" }));
      svg.append(mark("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, v));
    }
    // Low ridges in front, and every outline on top: a scale that lies below another stays visible.
    const height0 = (r) => { const v = finite([r.values]); return v.length ? v.reduce((a, b) => a + b, 0) / v.length : 0; };
    const outlines = [];
    ridges.map((r, s) => [r, s]).sort((a, b) => height0(b[0]) - height0(a[0])).forEach(([r, s]) => {
      const good = r.values.map((v, i) => (known(v) ? i : -1)).filter((i) => i >= 0);
      if (good.length < 2) return;
      const xs = good.map((i) => at[i]), ys = good.map((i) => y(r.values[i]));
      const d = smooth(xs, ys), color = mix(token("--far"), token("--near"), ridges.length > 1 ? s / (ridges.length - 1) : 0.75);
      svg.append(mark("path", { d: `${d}L${xs[xs.length - 1]},${foot}L${xs[0]},${foot}Z`, fill: color, class: "ridge" }));
      outlines.push(mark("path", { d, fill: "none", stroke: token("--paper"), "stroke-width": s ? 0.9 : 1.8, "stroke-opacity": s ? 0.6 : 0.95, class: "ridge" }));
    });
    svg.append(...outlines);
    const labels = SITES.map((s) => cut(s.label));
    for (const i of fitting(at, labels)) svg.append(mark("text", { x: at[i], y: foot + 19, "text-anchor": "middle" }, labels[i]));
    const peak = (i) => Math.min(...ridges.map((r) => (known(r.values[i]) ? y(r.values[i]) : foot)));
    const flag = D.advice.sites[0];
    if (flag !== undefined) {
      const run = D.advice.plateau.length ? D.advice.plateau : [flag], pole = Math.max(34, Math.min(...run.map(peak)) - 34);
      const a = at[run[0]], b = at[run[run.length - 1]], half = wide(D.advice.flag) * 0.62;
      svg.append(mark("path", { d: `M${at[flag]},${peak(flag)}V${pole}`, class: "flag" }));
      if (b > a) svg.append(mark("path", { d: `M${a},${pole + 7}V${pole}H${b}V${pole + 7}`, class: "flag" }));
      svg.append(mark("text", { x: Math.min(Math.max(at[flag], half + 6), width - half - 6), y: pole - 9, "text-anchor": "middle", class: "flagtext" }, cut(D.advice.flag, 40)));
    }
    if (side > 84 && ridges.length > 1) {
      const last = ridges.map((r) => r.values[r.values.length - 1]), ends = [0, ridges.length - 1].filter((s) => known(last[s]));
      const apart = ends.length < 2 || Math.abs(y(last[0]) - y(last[ridges.length - 1])) > 15;
      ends.forEach((s, c) => { if (apart || !c) svg.append(mark("text", { x: right + 12, y: y(last[s]) + 4 }, ridges[s].name)); });
    }
    svg.append(mark("text", { x: left, y: 18, class: "title" }, "estimated dimension"));
    const cursor = mark("line", { y2: foot, class: "cursor" }), here = mark("circle", { r: 4.5, class: "here" });
    svg.append(cursor, here);
    box.follow = () => {
      const x = at[state.site], top = peak(state.site);
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.setAttribute("y1", top);
      here.setAttribute("cx", x); here.setAttribute("cy", top);
    };
    box.follow();
    const tell = (i, x, yy) => showTip(x, yy, siteName(i), ridges.map((r) => [r.name, sig(r.values[i])]));
    const inside = (e) => nearest(at, ((e.clientX - svg.getBoundingClientRect().left) * width) / svg.getBoundingClientRect().width);
    svg.addEventListener("pointermove", (e) => tell(inside(e), e.clientX, e.clientY));
    svg.addEventListener("pointerleave", hideTip);
    svg.addEventListener("click", (e) => select(inside(e)));
    keys(svg, (move) => { select(state.site + move); const b = svg.getBoundingClientRect(); tell(state.site, b.left + at[state.site], b.top + 80); });
  });
  live(chart);
  const text = part ? `The landscape of this network. Each ridge is the profile of estimated dimension over depth at one scale: from the finest (ranks ${part.pairs[0].join(", ")}, the bold outline) to the coarsest (ranks ${part.pairs[part.pairs.length - 1].join(", ")}), the lighter the finer. Curves between sites only guide the eye.` : "Estimated dimension over depth. The curve between sites only guides the eye.";
  return [el("div", { class: "landscape" }, chart), el("p", { class: "caption inner" }, text)];
}

function scalesFigure() {
  const part = D.gride;
  return figure("scales", "Dimension depends on the scale", part, (box) => {
    let mode = "rank";
    const chart = plot((host, width) => {
      const height = Math.round(Math.min(Math.max(width * 0.46, 250), 430));
      const svg = canvasOf(host, width, height, "GRIDE dimension against scale, one curve per site");
      const n = SITES.length, xOf = (i, s) => (mode === "rank" ? part.pairs[s][0] : part.scales[i][s]);
      const xs = finite(part.values.map((v, i) => v.map((d, s) => (known(d) ? xOf(i, s) : null)))).filter((v) => v > 0);
      if (!xs.length) { svg.append(mark("text", { x: 10, y: 30 }, "no value at any scale")); return; }
      const high = topOf([part.values], 1e-9) * 1.06, left = leftFor(high), right = width - 14, top = 26, foot = height - 44;
      const low = Math.min(...xs), far = Math.max(...xs), flat = linear(Math.log(low), Math.log(far === low ? low * 2 : far), left + 12, right - 12), x = (v) => (known(v) && v > 0 ? flat(Math.log(v)) : null);
      const y = linear(0, high, foot, top);
      yAxis(svg, y, 0, high, left, right, "estimated dimension");
      const at = mode === "rank" ? part.pairs.map((p) => p[0]) : logTicks(low, far), names = at.map((v) => (mode === "rank" ? String(v) : sig(v, 2)));
      for (const i of fitting(at.map(x), names)) svg.append(mark("text", { x: x(at[i]), y: foot + 18, "text-anchor": "middle" }, names[i]));
      svg.append(mark("text", { x: right, y: foot + 37, "text-anchor": "end", class: "title" }, mode === "rank" ? "neighbour rank n₁ (n₂ = 2 n₁)" : "mean distance to these neighbours"));
      const lines = part.values.map((v, i) => {
        const px = v.map((_, s) => x(xOf(i, s))), py = v.map((d) => (known(d) ? y(d) : null));
        const line = mark("path", { d: path(px, py), class: "line", css: { stroke: byDepth(i, n), strokeWidth: 1.5 } });
        svg.append(line);
        return { px, py, line };
      });
      const top2 = mark("g");
      svg.append(top2);
      const raise = (i) => {
        const { px, py } = lines[i];
        const d = (sign) => part.values[i].map((v, s) => (known(v) && known(part.stderr[i][s]) ? y(v + sign * part.stderr[i][s]) : null));
        lines.forEach((l) => l.line.setAttribute("opacity", n > 1 ? 0.5 : 1));
        const end = py.findIndex(known);
        top2.replaceChildren(mark("path", { d: bandPath(px, d(-1), d(1)), class: "band" }), mark("path", { d: path(px, py), class: "second", css: { strokeWidth: 2.6 } }), ...py.map((v, s) => known(v) && mark("circle", { cx: px[s], cy: v, r: 3.4, class: "seconddot" })).filter(Boolean));
        if (end >= 0) top2.append(mark("text", { x: right, y: top - 12, "text-anchor": "end", css: { fill: token("--accent"), fontWeight: 600 } }, cut(siteName(i), 30)));
      };
      host.follow = () => raise(state.site);
      raise(state.site);
      const close = (e) => {
        const b = svg.getBoundingClientRect(), mx = ((e.clientX - b.left) * width) / b.width, my = ((e.clientY - b.top) * width) / b.width;
        let best = null;
        lines.forEach(({ px, py }, i) => px.forEach((v, s) => {
          if (!known(v) || !known(py[s])) return;
          const gap = (v - mx) ** 2 + (py[s] - my) ** 2;
          if (!best || gap < best.gap) best = { gap, i, s };
        }));
        return best;
      };
      const tell = (i, s, cx, cy) => showTip(cx, cy, siteName(i), [["dimension", pm(part.values[i][s], part.stderr[i][s])], ["ranks", part.pairs[s].join(", ")], ["mean distance", sig(part.scales[i][s])], known(part.n[i][s]) && ["rows used", count(part.n[i][s])]]);
      svg.addEventListener("pointermove", (e) => { const hit = close(e); if (hit) { raise(hit.i); tell(hit.i, hit.s, e.clientX, e.clientY); } });
      svg.addEventListener("pointerleave", () => { raise(state.site); hideTip(); });
      svg.addEventListener("click", (e) => { const hit = close(e); if (hit) select(hit.i); });
      keys(svg, (move) => { select(state.site + move); const b = svg.getBoundingClientRect(); showTip(b.left + 60, b.top + 60, siteName(state.site), part.pairs.map((p, s) => [`ranks ${p.join(", ")}`, pm(part.values[state.site][s], part.stderr[state.site][s])])); });
    });
    const ends = el("span", { class: "soft" });
    const bar = el("canvas", { width: 120, height: 8, "aria-hidden": "true" });
    const paint = () => { const c = bar.getContext("2d"); for (let i = 0; i < 120; i++) { c.fillStyle = byDepth(i, 120); c.fillRect(i, 0, 1, 8); } };
    paint();
    redraws.push(paint);
    box.append(el("div", { class: "controls" }, toggle("Scale as", [{ value: "rank", label: "rank" }, { value: "distance", label: "distance" }], mode, (v) => { mode = v; chart.redraw(); })),
      el("ul", { class: "legend" }, el("li", {}, siteName(0), bar, siteName(SITES.length - 1)), el("li", {}, mark("svg", { width: 26, height: 10, "aria-hidden": "true" }, mark("path", { d: "M1,5H25", class: "second" })), `the selected site, ± 1 standard error (${part.kind || "none"})`), ends), chart);
    live(chart);
    return { table: () => [["site", "depth", "n1", "n2", "scale", "dimension", "stderr", "rows"], part.values.flatMap((v, i) => v.map((d, s) => [siteName(i), SITES[i].depth, ...part.pairs[s], part.scales[i][s], d, part.stderr[i][s], part.n[i][s]]))] };
  });
}
