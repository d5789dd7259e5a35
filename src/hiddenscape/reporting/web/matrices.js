// Site by site: overlap and imbalance, each with a slice through the selected site.

function matrixPlot(spec) {
  return plot((box, width) => {
    const s = spec(), n = SITES.length;
    const labels = SITES.map((v) => cut(v.label, 12));
    const left = Math.min(110, 14 + Math.max(...labels.map(wide))), bar = 46;
    const side = Math.min(width - left - bar - 14, 560), size = side / n;
    const top = 20, height = Math.round(top + side + 44);
    const svg = canvasOf(box, width, height, s.label);
    const span = s.max - s.min || 1, tone = s.floor ? (v) => Math.log(Math.max(v, s.floor) / s.floor) / Math.log(s.max / s.floor) : (v) => (v - s.min) / span, color = (v) => heat(s.ramp, tone(v));
    const crisp = size > 4 ? 0 : 0.3;
    s.values.forEach((row, i) => row.forEach((v, j) => {
      const fillColor = known(v) ? color(v) : token("--empty");
      svg.append(mark("rect", { x: left + j * size, y: top + i * size, width: size + crisp, height: size + crisp, fill: fillColor }));
      if (size >= 36 && known(v)) svg.append(mark("text", { x: left + (j + 0.5) * size, y: top + (i + 0.5) * size + 4, "text-anchor": "middle", css: { fill: inkOn(fillColor), fontSize: "11px", pointerEvents: "none" } }, v.toFixed(v < 0.0995 ? 3 : 2).replace(/^0/, "")));
    }));
    const at = labels.map((_, i) => left + (i + 0.5) * size), down = labels.map((_, i) => top + (i + 0.5) * size);
    for (const i of fitting(at, labels)) svg.append(mark("text", { x: at[i], y: top + side + 17, "text-anchor": "middle" }, labels[i]));
    const every = Math.max(1, Math.ceil(15 / size));
    labels.forEach((t, i) => { if (i % every === 0) svg.append(mark("text", { x: left - 8, y: down[i] + 4, "text-anchor": "end" }, t)); });
    if (s.xTitle) svg.append(mark("text", { x: left + side, y: top + side + 36, "text-anchor": "end", class: "title" }, s.xTitle), mark("text", { x: left - 8, y: top - 8, "text-anchor": "end", class: "title" }, s.yTitle));
    // Colour bar with the level of chance.
    const bx = left + side + 14;
    for (let q = 0; q < 60; q++) svg.append(mark("rect", { x: bx, y: top + (side * q) / 60, width: 9, height: side / 60 + 0.6, fill: heat(s.ramp, 1 - (q + 0.5) / 60) }));
    const y = (v) => top + side * (1 - tone(v));
    for (const v of s.floor ? logTicks(s.floor, s.max).filter((v) => y(v) < top + side - 12 || v <= s.floor * 1.01) : ticks(s.min, s.max, 5)) svg.append(mark("text", { x: bx + 13, y: y(v) + 4 }, +v.toPrecision(4)));
    if (known(s.chance) && s.chance > s.min && s.chance < s.max) svg.append(mark("path", { d: `M${bx - 6},${y(s.chance)}h15`, class: "flag" }));
    const frame = mark("rect", { x: left, width: side, height: size, class: "frame" }), column = mark("rect", { y: top, height: side, width: size, class: "frame", opacity: 0.45 }), spot = mark("rect", { width: size, height: size, class: "cellframe", visibility: "hidden" });
    svg.append(column, frame, spot);
    let focus = null;
    box.follow = () => {
      focus = [state.site, state.site];
      frame.setAttribute("y", top + state.site * size);
      column.setAttribute("x", left + state.site * size);
    };
    box.follow();
    const tell = (i, j, x, yy) => {
      focus = [i, j];
      spot.setAttribute("x", left + j * size); spot.setAttribute("y", top + i * size); spot.setAttribute("visibility", "visible");
      showTip(x, yy, ...s.tell(i, j));
    };
    const hit = (e) => {
      const b = svg.getBoundingClientRect(), scale = width / b.width;
      const j = Math.floor(((e.clientX - b.left) * scale - left) / size), i = Math.floor(((e.clientY - b.top) * scale - top) / size);
      return i >= 0 && j >= 0 && i < n && j < n ? [i, j] : null;
    };
    const leave = () => { hideTip(); spot.setAttribute("visibility", "hidden"); };
    svg.addEventListener("pointermove", (e) => { const h = hit(e); if (h) tell(...h, e.clientX, e.clientY); else leave(); });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("click", (e) => { const h = hit(e); if (h) select(h[0]); });
    svg.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
      if (e.key === "Escape") leave();
      if (e.key === "Enter") select(focus[0]);
      if (!move) return;
      e.preventDefault();
      const i = Math.min(Math.max(focus[0] + move[0], 0), n - 1), j = Math.min(Math.max(focus[1] + move[1], 0), n - 1), b = svg.getBoundingClientRect();
      tell(i, j, b.left + left + (j + 0.5) * size, b.top + top + (i + 0.5) * size);
    });
    svg.addEventListener("blur", leave);
  });
}
const heading = (text) => { const h = el("h3", {}, text()); listen((what) => { if (what.includes("site")) h.textContent = text(); }); return h; };

function overlapFigure() {
  const part = D.overlap;
  return figure("overlap", "Who keeps whose neighbours", part, (box) => {
    let now = part.byK[0];
    const matrix = matrixPlot(() => ({
      label: `Neighbourhood overlap of every pair of sites, k = ${now.k}`, values: now.values, ramp: "sea", min: 0, max: 1, chance: now.chance,
      tell: (i, j) => [`${siteName(i)} and ${siteName(j)}`, [["overlap", pm(now.values[i][j], now.stderr[i][j])], ["chance", sig(now.chance)]]],
    }));
    const slice = curvePlot(() => ({
      label: `Overlap of ${siteName(state.site)} with every site`, yTitle: `shared neighbours, k = ${now.k}`, yMax: 1, shape: 0.78,
      curves: [{ values: now.values[state.site].map((v, i) => (i === state.site ? null : v)), stderr: now.stderr[state.site], dots: true, whole: true }],
      level: [{ value: now.chance, kind: "chance" }],
      tell: (i) => [`${siteName(state.site)} and ${siteName(i)}`, [["overlap", pm(now.values[state.site][i], now.stderr[state.site][i])], ["chance", sig(now.chance)]]],
    }));
    box.append(part.byK.length > 1 ? el("div", { class: "controls" }, choice("Neighbours k", part.byK.map((b) => ({ value: String(b.k), label: String(b.k) })), String(now.k), (v) => { now = part.byK.find((b) => String(b.k) === v); matrix.redraw(); slice.redraw(); })) : "",
      el("div", { class: "two" }, matrix, el("div", {}, heading(() => `${cut(siteName(state.site), 40)} against every site`), slice)));
    live(matrix);
    listen(() => slice.redraw());
    return { table: () => [["site", "other", "k", "overlap", "stderr", "chance"], part.byK.flatMap((b) => b.values.flatMap((row, i) => row.map((v, j) => [siteName(i), siteName(j), b.k, v, b.stderr[i][j], b.chance])))] };
  });
}

function imbalanceFigure() {
  const part = D.imbalance;
  return figure("imbalance", "Who predicts whom", part, (box) => {
    const top = Math.max(1, topOf([part.values]));
    const least = Math.max(1e-6, known(part.floor) && part.floor > 0 ? part.floor : Math.min(...finite([part.values]).filter((v) => v > 0), 0.1));
    // Sites that predict each other well crowd near 0: then only a logarithm tells them apart.
    const others = finite(part.values.map((row, i) => row.filter((_, j) => j !== i))).sort((a, b) => a - b);
    let log = others.length > 0 && others[others.length >> 1] < 0.15;
    const both = (i, j) => [`${siteName(i)} → ${siteName(j)}`, [["imbalance", pm(part.values[i][j], part.stderr[i][j])], ["backwards", pm(part.values[j][i], part.stderr[j][i])], ["floor, 2 / N", sig(part.floor)]]];
    const matrix = matrixPlot(() => ({ label: `Information imbalance from row to column, k = ${part.k}`, values: part.values, ramp: "ember", min: 0, max: top, floor: log ? least : 0, chance: 1, xTitle: "to", yTitle: "from", tell: both }));
    const plane = plot((host, width) => {
      const height = Math.round(Math.min(Math.max(width * 0.92, 250), 430)), svg = canvasOf(host, width, height, "Information imbalance plane of the selected site");
      const left = 44, right = width - 14, head = 26, foot = height - 44, from = log ? least : 0, scale = log ? (v) => Math.log(Math.max(v, least)) : (v) => v;
      const flatX = linear(scale(from), scale(top), left, right), flatY = linear(scale(from), scale(top), foot, head), x = (v) => flatX(scale(v)), y = (v) => flatY(scale(v));
      const marks = log ? logTicks(least, top).filter((v, i, all) => all.length < 8 || /^1/.test(v.toExponential())) : ticks(0, top);
      for (const v of marks) svg.append(mark("line", { x1: left, x2: right, y1: y(v), y2: y(v), class: "grid" }), mark("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, +v.toPrecision(4)));
      svg.append(mark("line", { x1: left, x2: right, y1: foot, y2: foot, class: "base" }), mark("text", { x: left, y: head - 12, class: "title" }, "every site → the selected one"));
      for (const v of marks) svg.append(mark("text", { x: x(v), y: foot + 18, "text-anchor": "middle" }, +v.toPrecision(4)));
      svg.append(mark("line", { x1: x(from), y1: y(from), x2: x(top), y2: y(top), class: "chance" }), mark("text", { x: right, y: foot + 37, "text-anchor": "end", class: "title" }, "the selected one → every site"));
      const s = state.site;
      const dots = SITES.map((_, i) => ({ i, x: x(part.values[s][i]), y: y(part.values[i][s]) })).filter((p) => p.i !== s && known(part.values[s][p.i]) && known(part.values[p.i][s]));
      const drawn = [];
      for (const p of dots) svg.append(mark("circle", { cx: p.x, cy: p.y, r: 5, fill: byDepth(p.i, SITES.length), stroke: token("--paper"), "stroke-width": 1.2 }));
      for (const p of dots) {
        const text = cut(SITES[p.i].label, 10), w = wide(text), spot = { x1: p.x + 7, x2: p.x + 9 + w, y1: p.y - 11, y2: p.y + 5 };
        const covers = (q) => spot.x1 < q.x2 && q.x1 < spot.x2 && spot.y1 < q.y2 && q.y1 < spot.y2;
        const box2 = dots.some((q) => q !== p && covers({ x1: q.x - 5, x2: q.x + 5, y1: q.y - 5, y2: q.y + 5 }));
        if (spot.x2 < width && !box2 && !drawn.some(covers)) { drawn.push(spot); svg.append(mark("text", { x: p.x + 8, y: p.y + 4 }, text)); }
      }
      svg.addEventListener("pointermove", (e) => {
        const b = svg.getBoundingClientRect(), mx = e.clientX - b.left, my = e.clientY - b.top;
        const hit = dots.map((p) => ({ p, gap: Math.hypot(p.x - mx, p.y - my) })).sort((a, c) => a.gap - c.gap)[0];
        if (hit && hit.gap < 24) showTip(e.clientX, e.clientY, ...both(s, hit.p.i)); else hideTip();
      });
      svg.addEventListener("pointerleave", hideTip);
      keys(svg, (move) => select(state.site + move));
    });
    box.append(el("div", { class: "controls" }, toggle("Scale of the numbers", [{ value: "linear", label: "linear" }, { value: "log", label: "logarithmic" }], log ? "log" : "linear", (v) => { log = v === "log"; matrix.redraw(); plane.redraw(); })),
      el("div", { class: "two" }, matrix, el("div", {}, heading(() => `${cut(siteName(state.site), 40)} and the others`), plane, el("p", { class: "caption" }, "Low on the left: each predicts the other. Below the diagonal: the other sites predict the selected one better than it predicts them. Top right: unrelated."))));
    live(matrix);
    listen((what) => { if (what.includes("site")) plane.redraw(); });
    return { table: () => [["from", "to", "k", "imbalance", "stderr"], part.values.flatMap((row, i) => row.map((v, j) => [siteName(i), siteName(j), part.k, v, part.stderr[i][j]]))] };
  });
}
