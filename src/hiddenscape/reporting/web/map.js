// The rows of the selected site on two principal components; they travel when the site changes.

const PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const PALETTE_DARK = ["#5aa5ea", "#ffb833", "#f0634a", "#a9b8b6", "#b778e0", "#c98f7c", "#ff8a3c", "#cfc389", "#969bab", "#a9ecef"];
function unpack(text) {
  const bytes = atob(text), view = new DataView(new ArrayBuffer(bytes.length));
  for (let i = 0; i < bytes.length; i++) view.setUint8(i, bytes.charCodeAt(i));
  const out = new Float32Array(bytes.length / 2);
  for (let i = 0; i < out.length; i++) { const v = view.getInt16(2 * i, true); out[i] = v === -32768 ? NaN : v / 32767; }
  return out;
}
function mapFigure() {
  const part = D.map;
  return figure("map", "The rows, seen from each site", part, (box) => {
    const maps = new Map(part.sites.map((name, i) => [name, i])), cache = new Map();
    const pointsOf = (m) => { if (!cache.has(m)) cache.set(m, unpack(part.points[m])); return cache.get(m); };
    const which = () => { const m = maps.get(siteName(state.site)); return m === undefined ? null : m; };
    const n = part.n;
    let color = part.columns[0] || null, only = null, hovered = -1, size = 0;
    let from = null, shown = which() === null ? new Float32Array(2 * n).fill(NaN) : pointsOf(which()).slice(), started = 0, timer = 0;
    const canvas = el("canvas", { class: "main", role: "img", tabindex: 0, "aria-label": "Map of the rows on two principal components" });
    const holder = el("div", { class: "plot" }, canvas), pen = canvas.getContext("2d");
    const paletteNow = () => (dark() ? PALETTE_DARK : PALETTE);
    const grey = () => (dark() ? "#4b565b" : "#c9c6bf");
    const range = () => { const v = finite([color.codes]); return [Math.min(...v), Math.max(...v)]; };
    const colorOf = () => {
      if (!color) return () => token("--main");
      if (color.kind === "numbers") { const [a, b] = range(); return (i) => (known(color.codes[i]) ? byDepth(color.codes[i] - a, b - a + 1) : grey()); }
      const p = paletteNow();
      return (i) => (color.codes[i] < p.length ? p[color.codes[i]] : grey());
    };
    const sx = (v) => ((v * 0.97 + 1) / 2) * size, sy = (v) => ((1 - v * 0.97) / 2) * size;
    function paint() {
      const dpr = window.devicePixelRatio || 1;
      if (canvas.width !== Math.round(size * dpr)) { canvas.width = canvas.height = Math.round(size * dpr); canvas.style.height = `${size}px`; }
      pen.setTransform(dpr, 0, 0, dpr, 0, 0);
      pen.fillStyle = token("--lift");
      pen.fillRect(0, 0, size, size);
      const f = colorOf(), r = Math.max(1.3, Math.min(3.4, (size / 46) * Math.sqrt(60 / Math.max(n, 60)) + 0.6));
      const draw = (i, radius) => { const x = shown[2 * i], y = shown[2 * i + 1]; if (x === x && y === y) { pen.beginPath(); pen.arc(sx(x), sy(y), radius, 0, 6.2832); pen.fill(); } };
      const chosen = (i) => only === null || color.codes[i] === only;
      pen.globalAlpha = only === null ? 0.78 : 0.22;
      for (let i = 0; i < n; i++) { const k = part.order[i]; if (only === null || !chosen(k)) { pen.fillStyle = only === null ? f(k) : grey(); draw(k, r); } }
      if (only !== null) { pen.globalAlpha = 0.95; const c = only < paletteNow().length ? paletteNow()[only] : token("--accent"); for (let i = 0; i < n; i++) if (chosen(i)) { pen.fillStyle = c; draw(i, r + 0.6); } }
      pen.globalAlpha = 1;
      if (hovered >= 0) { pen.strokeStyle = token("--ink"); pen.lineWidth = 1.6; pen.beginPath(); pen.arc(sx(shown[2 * hovered]), sy(shown[2 * hovered + 1]), r + 4, 0, 6.2832); pen.stroke(); }
      if (which() === null) { pen.fillStyle = token("--soft"); pen.font = "15px sans-serif"; pen.fillText("no map of this site", 20, 34); }
    }
    function travel() {
      const m = which();
      say();
      if (m === null) { shown.fill(NaN); paint(); return; }
      const goal = pointsOf(m);
      cancelAnimationFrame(timer);
      if (calm.matches || document.hidden) { shown.set(goal); paint(); return; }
      from = shown.slice();
      for (let i = 0; i < from.length; i++) if (from[i] !== from[i]) from[i] = goal[i];
      started = performance.now();
      const step = (now) => {
        const t = Math.min(1, (now - started) / 520), e = t < 0.5 ? 4 * t ** 3 : 1 - (-2 * t + 2) ** 3 / 2;
        for (let i = 0; i < shown.length; i++) shown[i] = from[i] + (goal[i] - from[i]) * e;
        paint();
        if (t < 1) timer = requestAnimationFrame(step);
      };
      timer = requestAnimationFrame(step);
    }
    new ResizeObserver((entries) => { const w = Math.floor(entries[0].contentRect.width); if (w && w !== size) { size = w; requestAnimationFrame(paint); } }).observe(holder);
    redraws.push(() => { key(); if (size) paint(); });
    listen((what) => { if (what.includes("site")) { hovered = -1; slider.value = state.site; travel(); } });

    const find = (e) => {
      const b = canvas.getBoundingClientRect(), mx = ((e.clientX - b.left) * size) / b.width, my = ((e.clientY - b.top) * size) / b.height;
      let best = -1, gap = 144;
      for (let i = 0; i < n; i++) { const d = (sx(shown[2 * i]) - mx) ** 2 + (sy(shown[2 * i + 1]) - my) ** 2; if (d < gap) { gap = d; best = i; } }
      return best;
    };
    const valueOf = (c, i) => (c.kind === "numbers" ? sig(c.codes[i], 4) : c.classes[c.codes[i]]);
    canvas.addEventListener("pointermove", (e) => {
      const i = find(e);
      if (i !== hovered) { hovered = i; paint(); }
      if (i < 0) hideTip(); else showTip(e.clientX, e.clientY, part.ids ? part.ids[i] : `row ${part.rows[i]}`, part.columns.map((c) => [c.name, cut(valueOf(c, i), 40)]), part.texts ? part.texts[i] : "");
    });
    canvas.addEventListener("pointerleave", () => { hovered = -1; hideTip(); paint(); });
    keys(canvas, (move) => select(state.site + move));

    const classes = el("div"), where = el("p", { class: "num" });
    const key = () => {
      if (!color) { classes.replaceChildren(el("p", { class: "soft" }, "The rows carry no label to colour by.")); return; }
      if (color.kind === "numbers") {
        const bar = el("canvas", { class: "ramp", width: 200, height: 8, "aria-hidden": "true" }), c = bar.getContext("2d"), [a, b] = range();
        for (let i = 0; i < 200; i++) { c.fillStyle = byDepth(i, 200); c.fillRect(i, 0, 1, 8); }
        classes.replaceChildren(bar, el("div", { class: "rampends" }, el("span", {}, sig(a)), el("span", {}, sig(b))));
        return;
      }
      const p = paletteNow(), many = color.classes.length > p.length;
      classes.replaceChildren(...[many && el("p", { class: "soft" }, `${color.classes.length} classes: the ${p.length} commonest have a colour. Press a name to show that class alone.`),
        el("ul", { class: "classes" }, color.classes.map((name, i) => el("li", {}, el("button", { type: "button", "aria-pressed": String(only === i), title: name, on: { click: () => { only = only === i ? null : i; key(); paint(); } } }, el("span", { class: "chip", css: { background: i < p.length ? p[i] : grey() } }), el("span", { class: "name" }, name === "" ? "(empty)" : cut(name, 60)), el("span", { class: "count" }, count(color.counts[i]))))))].filter(Boolean));
    };
    const slider = el("input", { type: "range", min: 0, max: SITES.length - 1, value: state.site, "aria-label": "Site", on: { input: (e) => select(+e.target.value) } });
    let playing = 0;
    const stop = () => { clearInterval(playing); playing = 0; play.textContent = "Play"; };
    const play = el("button", { type: "button", on: { click: () => {
      if (playing) { stop(); return; }
      if (state.site === SITES.length - 1) select(0);
      play.textContent = "Pause";
      playing = setInterval(() => { if (state.site >= SITES.length - 1) stop(); else select(state.site + 1); }, 900);
    } } }, "Play");
    const say = () => {
      const m = which();
      slider.setAttribute("aria-valuetext", siteName(state.site));
      where.replaceChildren(el("b", {}, siteName(state.site)), el("br"), m === null ? "" : `PC 1 (→) ${percent(part.explained[m][0])} and PC 2 (↑) ${percent(part.explained[m][1])} of the variance`, part.outside[m] ? el("span", { class: "soft" }, el("br"), `${count(part.outside[m])} rows lie beyond the frame and sit on its edge`) : "");
    };
    key();
    say();
    box.append(el("div", { class: "map" }, el("div", {}, holder, SITES.length > 1 ? el("div", { class: "player" }, play, slider) : ""),
      el("aside", {}, where, part.columns.length > 1 ? choice("Colour by", part.columns.map((c, i) => ({ value: String(i), label: c.name })), "0", (v) => { color = part.columns[+v]; only = null; key(); paint(); }) : color ? el("p", { class: "soft" }, `Coloured by ${color.name}`) : "", classes)));
    return { table: () => { const m = which(), p = m === null ? [] : pointsOf(m), w = m === null ? NaN : part.widths[m]; return [["row", "id", "site", "pc1", "pc2", ...part.columns.map((c) => c.name)], m === null ? [] : part.rows.map((r, i) => [r, part.ids ? part.ids[i] : r, siteName(state.site), p[2 * i] * w, p[2 * i + 1] * w, ...part.columns.map((c) => valueOf(c, i))])]; } };
  });
}
