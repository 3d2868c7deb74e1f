"use strict";
/* The explorable page. Facts come from the JSON in the page, newer ones through `renew`; every name
   in them is only ever set as text. A view draws from `state`; every change goes through `update`. */
(() => {
  const MOST = 8; // settings compared at once
  const MOST_CLASSES = 100; // with a weight image
  const MOST_PIXELS = 100_000_000; // of a picture
  const COLOURS = { // each 3:1 or more against the paper
    light: ["#0072b2", "#c85800", "#00875f", "#b0558b", "#2a86bd", "#a06f00", "#6f6f6f", "#7a52a8"],
    dark: ["#4aa3df", "#ff8c42", "#00c896", "#e39ac5", "#9ad4f5", "#f2bd4a", "#b0b0b0", "#b99bd8"],
  };
  const DARK = matchMedia("(prefers-color-scheme: dark)");
  const $ = (id) => document.getElementById(id);

  // ---- numbers -------------------------------------------------------------------------------

  const TYPES = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array, float16: Uint16Array };

  /** The array of {type, shape, data}; halves become singles. */
  function unpack({ type, data }) {
    const text = atob(data), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const values = new TYPES[type](bytes.buffer);
    if (type !== "float16") return values;
    const halves = Float32Array.from({ length: 2 ** 16 }, (_, bits) => half(bits)), singles = new Float32Array(values.length);
    for (let i = 0; i < values.length; i++) singles[i] = halves[values[i]];
    return singles;
  }

  /** The number that 16 bits of a float16 stand for. */
  function half(bits) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }

  const QUALITIES = [["validation_accuracy", "validation accuracy"], ["test_accuracy", "test accuracy"], ["train_accuracy", "training accuracy"],
    ["validation_loss", "validation loss"], ["train_loss", "training loss"], ["train_cost", "training cost"]];
  let facts, K, M, E, D, shift, factor, weights, biases, slot, finals, curves, METRICS;

  function know(news) {
    facts = news;
    [K, M, E] = [facts.classes.length, facts.settings.length, facts.epochs.length];
    [shift, factor, weights, biases] = [facts.scaling.shift, facts.scaling.factor, facts.weights, facts.biases].map(unpack);
    D = shift.length;
    slot = new Map(facts.weighted.map((model, place) => [model, place]));
    const unpackAll = (packed) => Object.fromEntries(Object.entries(packed).map(([name, one]) => [name, unpack(one)]));
    [finals, curves] = [unpackAll(facts.finals), unpackAll(facts.curves)];
    METRICS = QUALITIES.filter(([name]) => finals[name].some(Number.isFinite));
  }

  know(JSON.parse($("facts").textContent));

  const curve = (name, model) => Array.from(curves[name].subarray(model * E, (model + 1) * E), (v) => (Number.isFinite(v) ? v : null));

  const past = facts.snapshots && {
    epochs: facts.snapshots.epochs, weights: unpack(facts.snapshots.weights), biases: unpack(facts.snapshots.biases),
    slot: new Map(facts.snapshots.models.map((model, place) => [model, place * facts.snapshots.epochs.length])),
  };

  /** The weights and biases at hand and the place of a model in them: kept ones, or those of an epoch. */
  function at(model) {
    return state.epoch === null ? { W: weights, b: biases, place: slot.get(model) }
      : { W: past.weights, b: past.biases, place: past.slot.get(model) + state.epoch };
  }

  const has = (model) => (state.epoch === null ? slot : past.slot).has(model);

  function rowOf(model, k) {
    const { W, place } = at(model);
    return W.subarray((place * K + k) * D, (place * K + k + 1) * D);
  }

  /** x = (stored − shift) · factor. */
  function scaled(stored) {
    const x = new Float64Array(D);
    for (let d = 0; d < D; d++) x[d] = (stored[d] - shift[d]) * factor[d];
    return x;
  }

  /** The scores (K) of a stored row, equation (1). */
  function scores(model, stored) {
    const x = scaled(stored), S = new Float64Array(K), { b, place } = at(model);
    for (let k = 0; k < K; k++) {
      const W = rowOf(model, k);
      let sum = b[place * K + k];
      for (let d = 0; d < D; d++) sum += W[d] * x[d];
      S[k] = sum;
    }
    return S;
  }

  /** The probabilities of scores by the model's link, null where its loss has none. */
  function probabilities(model, S) {
    const link = facts.settings[model].link;
    if (link === null) return null;
    const Z = link === "softmax" ? S : S.map((s) => Math.min(s, 0) - Math.log1p(Math.exp(-Math.abs(s))));
    const most = Math.max(...Z), P = Z.map((z) => Math.exp(z - most)), sum = P.reduce((a, b) => a + b, 0);
    return P.map((p) => p / sum);
  }

  const best = (S) => S.indexOf(Math.max(...S));
  const ranked = (S) => Array.from(S.keys()).sort((a, b) => S[b] - S[a] || a - b);
  const written = (value, digits) => (Math.abs(value) < 1e6 ? value.toFixed(digits) : value.toExponential(2));
  const shown = (value, digits = 4) => (Number.isFinite(value) ? written(value, digits).replaceAll("-", "−") : "–");

  // ---- pictures ------------------------------------------------------------------------------

  /** Resize 8-bit channels (C arrays of H·W) bilinearly with antialiasing, as Pillow does. */
  function resize(planes, from, to) {
    const wide = from.W === to.W ? planes : planes.map((plane) => pass(plane, from.W, from.H, to.W, false));
    return from.H === to.H ? wide : wide.map((plane) => pass(plane, from.H, to.W, to.H, true));
  }

  /** One direction: `lines` lines of `size` pixels become `length` long; across, if these are columns. */
  function pass(plane, size, lines, length, across) {
    const ratio = size / length, reach = Math.max(ratio, 1), out = new Uint8Array(lines * length);
    for (let i = 0; i < length; i++) {
      const centre = (i + 0.5) * ratio;
      const first = Math.max(0, Math.floor(centre - reach + 0.5));
      const last = Math.min(size, Math.floor(centre + reach + 0.5));
      const share = [];
      for (let j = first; j < last; j++) share.push(Math.max(0, 1 - Math.abs(j - centre + 0.5) / reach));
      const whole = share.reduce((a, b) => a + b, 0);
      const fixed = share.map((one) => Math.floor((one / whole) * 2 ** 22 + 0.5));
      for (let line = 0; line < lines; line++) {
        let sum = 2 ** 21;
        for (let j = first; j < last; j++) sum += fixed[j - first] * plane[across ? j * lines + line : line * size + j];
        out[across ? i * lines + line : line * length + i] = Math.max(0, Math.min(255, Math.floor(sum / 2 ** 22)));
      }
    }
    return out;
  }

  /** A stored row of the pixels of a canvas: as `onelayer predict` reads a picture. */
  function rowOfPixels({ data, width, height }) {
    const [C, H, W] = facts.image_shape, n = width * height;
    const planes = Array.from({ length: C }, () => new Uint8Array(n));
    for (let i = 0; i < n; i++) {
      if (C === 1) planes[0][i] = (data[4 * i] * 19595 + data[4 * i + 1] * 38470 + data[4 * i + 2] * 7471 + 0x8000) >> 16;
      else for (let c = 0; c < 3; c++) planes[c][i] = data[4 * i + c];
    }
    const small = resize(planes, { W: width, H: height }, { W, H }), row = new Float64Array(D);
    small.forEach((plane, c) => plane.forEach((value, i) => { row[c * H * W + i] = (value * facts.full_scale) / 255; }));
    return row;
  }

  function isTransparent({ data }) {
    for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
    return false;
  }

  /** Paint (C, H, W) values on a canvas; `level` makes bytes of them. */
  function paint(canvas, values, level) {
    const [C, H, W] = facts.image_shape, context = canvas.getContext("2d");
    [canvas.width, canvas.height] = [W, H];
    const image = context.createImageData(W, H);
    for (let i = 0; i < H * W; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = level(values[(C < 3 ? 0 : c) * H * W + i]);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  const paintStored = (canvas, row) => paint(canvas, row, (value) => (value * 255) / facts.full_scale);

  /** Paint numbers (H·W) from blue through white to red, ±limit. */
  function paintSigned(canvas, values, limit) {
    const [, H, W] = facts.image_shape, context = canvas.getContext("2d");
    [canvas.width, canvas.height] = [W, H];
    const image = context.createImageData(W, H);
    values.forEach((value, i) => {
      const t = Math.max(-1, Math.min(1, value / limit)), pale = 255 * (1 - Math.abs(t));
      const [strong, other] = [255 - 77 * Math.abs(t), pale];
      image.data.set(t > 0 ? [strong, other, other, 255] : [other, Math.max(other, 0.45 * strong), strong, 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
    return canvas;
  }

  // ---- elements ------------------------------------------------------------------------------

  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "scope") made.setAttribute(name, value);
      else made[name] = value;
    }
    made.append(...children);
    return made;
  }

  function table(caption, head, rows) {
    return element("table", {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows.map(([first, ...cells]) => element("tr", {}, element("th", { scope: "row" }, first),
        ...cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : element("td", {}, cell)))))));
  }

  function figure(canvas, name, ...lines) {
    const caption = element("figcaption", {}, element("b", {}, name));
    lines.forEach((line) => caption.append(element("br"), line));
    return element("figure", {}, canvas, caption);
  }

  const canvas = (label) => element("canvas", { role: "img", "aria-label": label });

  // ---- state ---------------------------------------------------------------------------------

  const firstMetric = () => (METRICS.length ? METRICS[0][0] : "train_cost");
  const state = {
    current: facts.chosen, compared: [], metric: firstMetric(),
    x: facts.options.length - 1, y: 0, row: null, cell: null, at: 0, which: "all",
    epoch: null, // the place of a snapshot, null: the weights that were kept
  };
  const lines = () => [...new Set([state.current, ...state.compared])].slice(0, MOST);
  const colour = (place) => COLOURS[DARK.matches ? "dark" : "light"][place % MOST];
  const letter = (place) => String.fromCharCode(65 + place);

  const VIEWS = [ // what draws, and what of the state it draws
    [drawGrid, "current metric x y"], [drawSliders, "current"], [drawEpoch, "epoch current"], [drawCompared, "current compared"],
    [drawCurves, "current compared"], [markEpoch, "epoch"], [drawPath, "current epoch"], [drawWeights, "current epoch"],
    [drawAnswer, "current compared row epoch"], [drawTestInView, "current compared cell at which epoch"],
  ].map(([draw, names]) => [draw, names.split(" ")]);

  /** Change the state, and draw anew what shows a part of it that is another now. */
  function update(changes) {
    const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
    Object.assign(state, changes);
    for (const [draw, names] of VIEWS) if (names.some((name) => changed.includes(name))) draw();
  }

  /** Draw all but the test pictures, which wait until they are seen. */
  function drawAll() { for (const [draw] of VIEWS.slice(0, -1)) draw(); }

  /** Take newer facts of the same settings; what the reader has chosen stays. */
  function renew(news) {
    const before = METRICS.length;
    know(news);
    judged.clear();
    if (METRICS.length !== before) {
      if (!METRICS.some(([name]) => name === state.metric)) state.metric = firstMetric();
      drawAxes();
    }
    tellNotes(); drawAll();
  }

  const tellNotes = () => $("notes").replaceChildren(...facts.notes.map((note) => element("p", { className: "hint" }, note)));

  // ---- the grid of settings --------------------------------------------------------------------

  const valueOf = (model, option) => facts.settings[model].values[option.name];

  /** The setting with this value of this option that is most like the current one. */
  function nearest(option, value) {
    let found = -1, most = -1;
    for (let model = 0; model < M; model++) {
      if (valueOf(model, option) !== value) continue;
      const alike = facts.options.filter((other) => valueOf(model, other) === valueOf(state.current, other)).length;
      if (alike > most) [found, most] = [model, alike];
    }
    return found;
  }

  function drawAxes() {
    const choices = (chosen) => facts.options.map((option, i) => element("option", { value: i, selected: i === chosen }, option.label));
    const pick = (name, chosen, change) => {
      const select = element("select", { onchange: (event) => change(event.target.value) }, ...chosen);
      return element("label", {}, `${name} `, select);
    };
    const metrics = METRICS.map(([name, label]) => element("option", { value: name, selected: name === state.metric }, label));
    const parts = [pick("colour", metrics, (metric) => update({ metric }))];
    if (facts.options.length > 1) {
      parts.push(pick("rows", choices(state.y), (y) => update({ y: +y })), pick("columns", choices(state.x), (x) => update({ x: +x })));
    }
    $("axes").replaceChildren(...parts);
  }

  /** The trained setting in a cell of the grid, the others of its options as in the current one. */
  function inCell(row, column) {
    const [down, across] = [facts.options[state.y], facts.options[state.x]];
    const rest = facts.options.filter((option) => option !== down && option !== across);
    for (let model = 0; model < M; model++) {
      const fits = valueOf(model, down) === row && valueOf(model, across) === column;
      if (fits && rest.every((option) => valueOf(model, option) === valueOf(state.current, option))) return model;
    }
    return -1;
  }

  let drawn = null; // what the cells of the grid depend on

  function drawGrid() {
    const held = facts.options.filter((_, i) => i !== state.x && i !== state.y).map((option) => valueOf(state.current, option));
    const asked = JSON.stringify([state.metric, state.x, state.y, held]);
    if (asked !== drawn) drawCells();
    drawn = asked;
    for (const button of $("grid").querySelectorAll("button")) button.setAttribute("aria-pressed", +button.value === state.current);
    const setting = facts.settings[state.current];
    const told = METRICS.map(([name, words]) => `${words} ${shown(finals[name][state.current])}`).join(", ");
    $("current").textContent = `${setting.label}: ${setting.stopped ? `diverged in ${setting.stopped}` : told}`;
  }

  function drawCells() {
    const [down, across] = [facts.options[state.y], facts.options[state.x]], values = finals[state.metric];
    const known = Array.from(values).filter(Number.isFinite), [low, high] = [Math.min(...known), Math.max(...known)];
    const label = METRICS.find(([name]) => name === state.metric)?.[1] ?? state.metric;
    const single = down === across;
    const rows = (single ? [valueOf(state.current, down)] : down.values).map((row) => [
      single ? label : `${down.label} = ${row}`,
      ...across.values.map((column) => {
        const model = inCell(single ? column : row, column);
        if (model < 0) return element("td", {}, "–");
        const value = values[model], share = high > low ? (value - low) / (high - low) : 1;
        const button = element("button", {
          type: "button", className: model === facts.chosen ? "chosen" : "", value: model,
          "aria-label": `${facts.settings[model].label}: ${label} ${shown(value)}${model === facts.chosen ? ", selected" : ""}`,
          onclick: (event) => (event.ctrlKey || event.metaKey ? compare(model) : update({ current: model })),
        }, facts.settings[model].stopped ? "diverged" : shown(value));
        if (Number.isFinite(value)) {
          button.style.background = `color-mix(in oklab, var(--high) ${Math.round(100 * share)}%, var(--low))`;
        }
        return element("td", {}, button);
      }),
    ]);
    const made = table(`${label} by ${single ? across.label : `${down.label} and ${across.label}`}; ★: selected without the test split.`,
      ["", ...across.values.map((value) => `${across.label} = ${value}`)], rows);
    made.className = "map";
    const focused = document.activeElement?.closest?.("#grid") ? [...$("grid").querySelectorAll("button")].indexOf(document.activeElement) : -1;
    $("grid").replaceChildren(made);
    if (focused >= 0) $("grid").querySelectorAll("button")[focused]?.focus();
  }

  /** Move among the cells with the arrow keys. */
  function moveInGrid(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const cell = event.target.closest("td");
    if (!steps || !cell) return;
    event.preventDefault();
    const rows = [...$("grid").querySelectorAll("tbody tr")], row = rows.indexOf(cell.parentElement) + steps[0];
    rows[row]?.cells[cell.cellIndex + steps[1]]?.querySelector("button")?.focus();
  }

  function drawSliders() {
    $("sliders").replaceChildren(...facts.options.filter((option) => option.values.length > 1).map((option, place) => {
      const at = option.values.indexOf(valueOf(state.current, option));
      const old = document.getElementById(`slider-${place}`);
      const input = old ?? element("input", { type: "range", min: 0, max: option.values.length - 1, step: 1, id: `slider-${place}` });
      input.value = at;
      input.setAttribute("aria-valuetext", `${option.label} = ${option.values[at]}`);
      input.oninput = () => update({ current: nearest(option, option.values[input.value]) });
      if (old) { old.previousSibling.textContent = `${option.label} = ${option.values[at]}`; return old.parentElement; }
      return element("label", {}, `${option.label} = ${option.values[at]}`, input);
    }));
  }

  function compare(model) {
    const compared = state.compared.includes(model) ? state.compared : [...state.compared, model].slice(-MOST + 1);
    update({ compared });
  }

  function drawCompared() {
    $("compare").disabled = state.compared.includes(state.current) || state.compared.length >= MOST - 1;
    $("compared").replaceChildren(...state.compared.map((model) => {
      const label = facts.settings[model].label;
      const mark = element("b", {}, `━ ${letter(lines().indexOf(model))} `);
      mark.style.color = colour(lines().indexOf(model));
      return element("span", { className: "chip" }, mark, label, element("button", {
        type: "button", "aria-label": `Compare ${label} no longer`, onclick: () => update({ compared: state.compared.filter((one) => one !== model) }),
      }, "✕"));
    }));
  }

  // ---- curves ----------------------------------------------------------------------------------

  const charts = {};

  function drawCurves() {
    const quantity = $("with-cost").checked ? "cost" : "loss";
    drawChart("loss-chart", quantity, $("log-loss").checked);
    drawChart("accuracy-chart", "accuracy", false);
    if ($("curve-details").open) drawCurveTable(quantity);
  }

  function drawChart(id, quantity, logarithmic) {
    const from = $("log-epochs").checked && facts.epochs[0] === 0 ? 1 : 0;
    const series = [], data = [facts.epochs.slice(from)];
    lines().forEach((model, place) => {
      for (const split of ["validation", "train"]) {
        const values = curve(`${split}_${quantity}`, model).slice(from);
        if (values.every((value) => value === null)) continue;
        data.push(logarithmic ? values.map((value) => (value > 0 ? value : null)) : values);
        series.push({
          label: `${letter(place)}: ${facts.settings[model].label}, ${split === "train" ? "training" : split}`, stroke: colour(place), width: 1.6,
          dash: split === "train" ? [6, 4] : undefined, points: { show: data[0].length < 3 }, value: (_, value) => (value === null ? "–" : shown(value)),
        });
      }
    });
    const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink"), rule = style.getPropertyValue("--grid");
    const axis = { stroke: ink, grid: { stroke: rule }, ticks: { stroke: rule } };
    const brushed = brushOf(charts[id]);
    charts[id]?.destroy();
    charts[id] = new uPlot({
      width: Math.max(260, $(id).clientWidth), height: 280, title: quantity,
      scales: { x: { time: false, distr: $("log-epochs").checked ? 3 : 1 }, y: { distr: logarithmic ? 3 : 1 } },
      axes: [{ ...axis, label: "epoch" }, { ...axis, size: 64 }],
      series: [{ label: "epoch" }, ...series],
      legend: { live: true }, cursor: { sync: { key: "epochs" } }, hooks: { draw: [writeLetters, drawEpochLine] },
    }, data, $(id));
    if (brushed) charts[id].setScale("x", brushed);
  }

  /** The epochs that a reader looks at more closely, null for all. */
  function brushOf(chart) {
    if (!chart?.data[0].length) return null;
    const [epochs, { min, max }] = [chart.data[0], chart.scales.x];
    return min > epochs[0] || max < epochs[epochs.length - 1] ? { min, max } : null;
  }

  /** Write its letter on every curve: colour is not the only sign. */
  function writeLetters(chart) {
    const { ctx: context, data } = chart, { min, max } = chart.scales.x, shown = data[0].flatMap((x, i) => (x >= min && x <= max ? [i] : []));
    context.save();
    context.font = `bold ${13 * devicePixelRatio}px sans-serif`;
    context.textAlign = "center";
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
    context.lineWidth = 4 * devicePixelRatio;
    chart.series.slice(1).forEach((series, n) => {
      const place = series.label.charCodeAt(0) - 65, values = data[n + 1], known = shown.filter((i) => values[i] !== null);
      const i = known[Math.floor(((place + 1) / (lines().length + 1)) * known.length)];
      if (i === undefined) return;
      const [x, y] = [chart.valToPos(data[0][i], "x", true), chart.valToPos(values[i], "y", true) - 5 * devicePixelRatio];
      context.fillStyle = colour(place);
      context.strokeText(letter(place), x, y);
      context.fillText(letter(place), x, y);
    });
    context.restore();
  }

  function drawEpochLine(chart) {
    if (state.epoch === null) return;
    const { ctx: context, bbox } = chart, x = chart.valToPos(past.epochs[state.epoch], "x", true);
    if (!(x >= bbox.left && x <= bbox.left + bbox.width)) return;
    context.save();
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    context.setLineDash([]);
    context.beginPath(); context.moveTo(x, bbox.top); context.lineTo(x, bbox.top + bbox.height); context.stroke();
    context.restore();
  }

  function markEpoch() { for (const chart of Object.values(charts)) chart.redraw(false); }

  // ---- epochs ----------------------------------------------------------------------------------

  let playing = null;

  /** Play through the stored epochs, once; from the beginning if at the end. */
  function play() {
    if (playing) { stop(); return; }
    if (state.epoch === null) update({ epoch: 0 });
    playing = setInterval(() => {
      const next = state.epoch === null ? past.epochs.length : state.epoch + 1;
      update({ epoch: next < past.epochs.length ? next : null });
      if (state.epoch === null) stop();
    }, 500);
    drawEpoch();
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    drawEpoch();
  }

  function drawEpoch() {
    if (!past) return;
    $("play").textContent = playing ? "Pause" : "Play";
    const { kept } = facts.settings[state.current];
    const told = state.epoch === null ? `as kept, of epoch ${kept}` : `after epoch ${past.epochs[state.epoch]}`;
    $("epoch").value = state.epoch ?? past.epochs.length;
    $("epoch").setAttribute("aria-valuetext", told);
    $("epoch-told").textContent = `weights ${told}`;
  }

  function drawCurveTable(quantity) {
    const head = ["epoch"], columns = [];
    for (const model of lines()) {
      for (const name of [`validation_${quantity}`, `train_${quantity}`, "validation_accuracy", "train_accuracy"]) {
        head.push(`${facts.settings[model].label}: ${name.replace("_", " ").replace("train ", "training ")}`);
        columns.push(curve(name, model));
      }
    }
    $("curve-table").replaceChildren(table("Of the settings in the charts.", head,
      facts.epochs.map((epoch, i) => [`${epoch}`, ...columns.map((values) => shown(values[i] ?? NaN))])));
  }

  function missing(model) {
    if (state.epoch !== null) return `The weights of this setting after epoch ${past.epochs[state.epoch]} are not in the page.`;
    return facts.settings[model].stopped ? "This setting diverged: it has no weights." : "The weights of this setting are not in the page.";
  }

  // ---- weights -----------------------------------------------------------------------------------

  function drawWeights() {
    if (!facts.image_shape) return;
    if (!has(state.current)) {
      $("weights").replaceChildren(element("p", {}, missing(state.current)));
      return;
    }
    $("weights").replaceChildren(...facts.classes.slice(0, MOST_CLASSES).map((name, k) => {
      const W = rowOf(state.current, k), low = W.reduce((a, b) => Math.min(a, b)), size = W.reduce((a, b) => Math.max(a, b)) - low;
      return figure(paint(canvas(`Weights of ${name}`), W, (w) => (size > 0 ? (255 * (w - low)) / size : 0)), name);
    }));
  }

  // ---- the path of the descent ---------------------------------------------------------------------

  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  function shape(tag, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function drawPath() {
    if (!past) return;
    const place = facts.snapshots.models.indexOf(state.current);
    if (place < 0) {
      $("path").replaceChildren(); $("path-table").replaceChildren();
      $("path-told").textContent = "The weights of this setting after earlier epochs are not in the page.";
      return;
    }
    const { points, shares } = facts.snapshots.paths[place], [width, highest, edge] = [480, 320, 30];
    $("path-told").textContent = `Of the variance of the weights, ${percent(shares[0])} lie along the first component and ${percent(shares[1])} along the second.`;
    const least = [0, 1].map((i) => Math.min(...points.map((point) => point[i]))), most = [0, 1].map((i) => Math.max(...points.map((point) => point[i])));
    const [wide, high] = [most[0] - least[0], most[1] - least[1]];
    const scale = Math.min((width - 2 * edge) / (wide || 1), (highest - 2 * edge) / (high || 1)), height = 2 * edge + high * scale;
    const spots = points.map(([x, y]) => [edge + (x - least[0]) * scale, height - edge - (y - least[1]) * scale]);
    const named = [];
    for (const [x, y] of spots) named.push(!named.some((is, at) => is && Math.hypot(spots[at][0] - x, spots[at][1] - y) < 18));
    $("path").replaceChildren(shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Path of the descent over ${points.length} epochs; the table below has its points` },
      shape("polyline", { points: spots.map((spot) => spot.join(",")).join(" ") }),
      ...spots.map(([x, y], i) => shape("circle", { cx: x, cy: y, r: i === state.epoch ? 7 : 4, class: i === state.epoch ? "now" : "" })),
      ...spots.flatMap(([x, y], i) => (named[i] ? [shape("text", { x: x + 7, y: y - 7 }, `${past.epochs[i]}`)] : []))));
    $("path-table").replaceChildren(table("Coordinates along the two components.", ["epoch", `first (${percent(shares[0])})`, `second (${percent(shares[1])})`],
      points.map(([x, y], i) => [`${past.epochs[i]}`, shown(x), shown(y)])));
  }

  // ---- try it --------------------------------------------------------------------------------------

  const say = (text) => { $("message").textContent = text; };

  function take(row) {
    say("");
    if (facts.image_shape) paintStored($("seen"), row);
    update({ row });
  }

  async function takePicture(blob, name) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
    } catch {
      say(`${name}: not a picture that this browser can read; PNG and JPEG always are`);
      return;
    }
    const { width, height } = bitmap, large = `${name}: ${width} × ${height} pixels; expected ${MOST_PIXELS.toLocaleString("en")} in all, or fewer`;
    if (width * height > MOST_PIXELS) { say(large); return; }
    const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, width, height);
    take(rowOfPixels(pixels));
    if (isTransparent(pixels)) {
      say(`${name}: has transparent parts, whose colour may differ here from the one that onelayer predict reads`);
    }
  }

  /** A file that was dropped, pasted or chosen: a picture, or the text of a row. */
  async function takeFile(file) {
    if (facts.image_shape) { takePicture(file, file.name); return; }
    if (file.type.startsWith("image/")) { say(`${file.name}: a picture, but the models were trained on rows of features`); return; }
    if (file.size > 30 * D + 1000) { say(`${file.name}: ${file.size} bytes are more than one row of ${D} features`); return; }
    $("row").value = await file.text();
    takeText($("row").value);
  }

  function takeText(text) {
    const cells = text.trim().split(/[\s,;]+/).filter(Boolean), row = cells.map(Number);
    if (!cells.length) { say(""); update({ row: null }); return; }
    if (row.length !== D) { say(`found ${row.length} numbers, expected the ${D} features of a row`); return; }
    const wrong = row.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) { say(`number ${wrong + 1} is ${JSON.stringify(cells[wrong].slice(0, 40))}; expected a finite number`); return; }
    take(Float64Array.from(row));
  }

  function drawAnswer() {
    const models = lines().filter(has);
    $("evidence-part").hidden = !state.row || !facts.image_shape || !has(state.current);
    if (!state.row || !models.length) { $("answer").replaceChildren(state.row ? element("p", {}, missing(state.current)) : ""); return; }
    const all = models.map((model) => { const S = scores(model, state.row); return { model, S, P: probabilities(model, S) }; });
    const order = ranked(all[0].S).slice(0, 20);
    const head = ["class", ...all.flatMap(({ model, P }) => [`${facts.settings[model].label}: score`, ...(P ? ["probability", ""] : [])])];
    const rows = order.map((k) => [facts.classes[k], ...all.flatMap(({ S, P }) => {
      if (!P) return [shown(S[k])];
      const bar = element("span", { className: "bar" });
      bar.style.width = `${100 * P[k]}%`;
      return [shown(S[k]), shown(P[k]), element("td", { className: "bars", "aria-hidden": "true" }, bar)];
    })]);
    $("answer").replaceChildren(table("Most likely first, by the setting at hand.", head, rows));
    if (!$("evidence-part").hidden) drawEvidence(order.slice(0, 3), all[0].S);
  }

  function drawEvidence(classes, S) {
    const [C, H, W] = facts.image_shape, x = scaled(state.row);
    const maps = classes.map((k) => {
      const w = rowOf(state.current, k), map = new Float64Array(H * W);
      for (let d = 0; d < C * H * W; d++) map[d % (H * W)] += w[d] * x[d];
      return map;
    });
    const sizes = maps.flatMap((map) => Array.from(map, Math.abs)).sort((a, b) => a - b);
    const limit = sizes[Math.floor(0.995 * (sizes.length - 1))] || 1;
    $("evidence").replaceChildren(...classes.map((k, i) => figure(paintSigned(canvas(`Evidence for ${facts.classes[k]}`), maps[i], limit), facts.classes[k], `score ${shown(S[k], 3)}`)));
  }

  function prepareDrawing() {
    const board = $("draw"), context = board.getContext("2d", { willReadFrequently: true });
    let last = null;
    const ink = () => ($("dark-ink").checked ? ["#fff", "#000"] : ["#000", "#fff"]);
    const clear = () => { [context.fillStyle] = ink(); context.fillRect(0, 0, board.width, board.height); };
    const place = (event) => { const box = board.getBoundingClientRect(); return [((event.clientX - box.left) * board.width) / box.width, ((event.clientY - box.top) * board.height) / box.height]; };
    const stroke = (event) => {
      const now = place(event);
      context.strokeStyle = ink()[1];
      [context.lineWidth, context.lineCap] = [Math.max(18, (1.6 * board.width) / facts.image_shape[2]), "round"];
      context.beginPath(); context.moveTo(...(last ?? now)); context.lineTo(...now); context.stroke();
      last = now;
      take(rowOfPixels(context.getImageData(0, 0, board.width, board.height)));
    };
    board.addEventListener("pointerdown", (event) => { board.setPointerCapture(event.pointerId); last = null; stroke(event); });
    board.addEventListener("pointermove", (event) => { if (last) stroke(event); });
    for (const end of ["pointerup", "pointercancel"]) board.addEventListener(end, () => { last = null; });
    $("clear").addEventListener("click", () => { clear(); say(""); update({ row: null }); });
    $("dark-ink").addEventListener("change", clear);
    clear();
  }

  // ---- test pictures ---------------------------------------------------------------------------------

  const judged = new Map(); // model → {predicted, sure} of every test picture in the page
  let pixels = null;

  const picture = (n) => pixels.subarray(n * D, (n + 1) * D);

  const keyOf = (model) => `${model} ${state.epoch}`;

  /** The scores of stored rows as a function: the scaling is moved into W and b, once for all rows. */
  function scorer(model) {
    const { b, place } = at(model), W = new Float64Array(K * D), B = new Float64Array(K);
    for (let k = 0; k < K; k++) {
      const row = rowOf(model, k);
      B[k] = b[place * K + k];
      for (let d = 0; d < D; d++) { W[k * D + d] = row[d] * factor[d]; B[k] -= W[k * D + d] * shift[d]; }
    }
    return (stored) => B.map((sum, k) => { for (let d = 0, i = k * D; d < D; d++, i++) sum += W[i] * stored[d]; return sum; });
  }

  function judge(model) {
    const key = keyOf(model);
    if (!judged.has(key)) {
      const predicted = [], sure = [], scored = scorer(model);
      for (let n = 0; n < facts.pictures.y.length; n++) {
        const S = scored(picture(n)), P = probabilities(model, S), first = best(S);
        predicted.push(first);
        sure.push(P ? P[first] : S[first]);
      }
      judged.set(key, { predicted, sure });
    }
    return judged.get(key);
  }

  function chosenPictures({ predicted, sure }) {
    const { y } = facts.pictures, { which } = state;
    const others = which === "apart" ? lines().filter(has).map((model) => judge(model).predicted) : [];
    const keep = {
      all: () => true, right: (n) => predicted[n] === y[n], wrong: (n) => predicted[n] !== y[n],
      confident: (n) => predicted[n] !== y[n], apart: (n) => others.some((other) => other[n] !== predicted[n]),
    }[which];
    const found = y.map((_, n) => n).filter((n) => keep(n) && (!state.cell || (state.cell[0] === y[n] && state.cell[1] === predicted[n])));
    return which === "confident" ? found.sort((a, b) => sure[b] - sure[a]) : found;
  }

  const PAGE = 24;

  let testInView = false, testWaits = true, rest = null;

  /** Scores of all test pictures take a while: they wait until their section is in view, and a slider at rest. */
  function drawTestInView() {
    clearTimeout(rest);
    testWaits = !testInView;
    if (!testInView) return;
    if (!has(state.current) || judged.has(keyOf(state.current))) drawTest();
    else rest = setTimeout(drawTest, 150);
  }

  function watchTest() {
    new IntersectionObserver(([{ isIntersecting }]) => {
      testInView = isIntersecting;
      if (testInView && testWaits) drawTestInView();
    }, { rootMargin: "200px" }).observe($("test-section"));
  }

  function drawTest() {
    const usable = has(state.current);
    $("confusion").hidden = $("samples").hidden = !usable;
    if (!usable) { $("place").textContent = missing(state.current); return; }
    pixels ??= unpack(facts.pictures.X);
    const { y } = facts.pictures, { predicted, sure } = judge(state.current), found = chosenPictures({ predicted, sure });
    state.at = Math.max(0, Math.min(state.at, Math.floor((found.length - 1) / PAGE) * PAGE));
    const some = found.slice(state.at, state.at + PAGE);
    $("place").textContent = found.length ? `${state.at + 1} to ${state.at + some.length} of ${found.length}` : "none";
    $("previous").disabled = state.at === 0;
    $("next").disabled = state.at + PAGE >= found.length;
    $("samples").replaceChildren(...some.map((n) => {
      const right = predicted[n] === y[n], likely = facts.settings[state.current].link ? ` ${shown(sure[n], 2)}` : "";
      const made = figure(paintStored(canvas(`Test picture ${n}: ${facts.classes[y[n]]}`), picture(n)), facts.classes[y[n]], `predicted ${facts.classes[predicted[n]]}${likely}`);
      made.className = right ? "right" : "wrong";
      [made.tabIndex, made.role, made.title] = [0, "button", "try this picture"];
      made.onclick = () => take(Float64Array.from(picture(n)));
      made.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); made.click(); } };
      return made;
    }));
    if (K <= 20) drawConfusion(y, predicted);
  }

  function drawConfusion(y, predicted) {
    const counts = Array.from({ length: K }, () => new Array(K).fill(0));
    y.forEach((label, n) => { counts[label][predicted[n]] += 1; });
    const rows = counts.map((row, k) => [facts.classes[k], ...row.map((count, j) => {
      const pressed = state.cell !== null && state.cell[0] === k && state.cell[1] === j;
      const button = element("button", {
        type: "button", disabled: count === 0, "aria-pressed": pressed, "aria-label": `${facts.classes[k]} taken for ${facts.classes[j]}: ${count}`,
        onclick: () => update({ cell: pressed ? null : [k, j], at: 0 }),
      }, `${count}`);
      const share = Math.round((100 * count) / Math.max(1, ...row));
      button.style.background = `color-mix(in oklab, var(--high) ${share}%, var(--low))`;
      return element("td", {}, button);
    })]);
    const made = table("Rows: the true class. Columns: the predicted one. A cell shows its pictures.", ["", ...facts.classes], rows);
    made.className = "map";
    $("confusion").replaceChildren(made);
  }

  // ---- begin -----------------------------------------------------------------------------------------

  function listen() {
    $("grid").addEventListener("keydown", moveInGrid);
    $("compare").addEventListener("click", () => compare(state.current));
    for (const id of ["log-loss", "log-epochs", "with-cost"]) $(id).addEventListener("change", drawCurves);
    $("curve-details").addEventListener("toggle", drawCurves);
    $("row").addEventListener("input", (event) => takeText(event.target.value));
    for (const id of ["file", "camera"]) {
      $(id).addEventListener("change", (event) => { const [file] = event.target.files; if (file) takeFile(file); event.target.value = ""; });
    }
    const zone = $("try");
    // Wherever it is dropped: else the browser would leave the page to show it.
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => { if (carriesFiles(event)) { event.preventDefault(); zone.classList.add("over"); } });
    document.addEventListener("dragleave", () => zone.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      zone.classList.remove("over");
      if (!carriesFiles(event)) return;
      event.preventDefault();
      takeFile(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => {
      const [file] = event.clipboardData.files;
      if (file) takeFile(file);
    });
    if (past) {
      $("epoch").max = past.epochs.length;
      $("epoch").addEventListener("input", (event) => update({ epoch: +event.target.value < past.epochs.length ? +event.target.value : null }));
      $("play").addEventListener("click", play);
    }
    $("which").addEventListener("change", (event) => update({ which: event.target.value, at: 0 }));
    $("any-cell").addEventListener("click", () => update({ cell: null, at: 0 }));
    $("previous").addEventListener("click", () => update({ at: state.at - PAGE }));
    $("next").addEventListener("click", () => update({ at: state.at + PAGE }));
    window.addEventListener("resize", () => {
      for (const [id, chart] of Object.entries(charts)) chart.setSize({ width: Math.max(260, $(id).clientWidth), height: 280 });
    });
    DARK.addEventListener("change", () => { drawCompared(); drawCurves(); });
  }

  function begin() {
    tellNotes();
    $("weights-section").hidden = $("try-picture").hidden = !facts.image_shape;
    $("try-row").hidden = Boolean(facts.image_shape);
    if (K > MOST_CLASSES) $("weights-told").textContent = ` The first ${MOST_CLASSES} of ${K} classes.`;
    $("test-section").hidden = !facts.pictures;
    $("epochs-part").hidden = $("path-section").hidden = !past;
    if (facts.pictures) {
      const { y, samples } = facts.pictures;
      $("test-hint").textContent = y.length < samples ? `The first ${y.length} of ${samples} samples of the test split.` : `All ${samples} samples of the test split.`;
    }
    if (facts.features) $("row").placeholder = facts.features.slice(0, 30).join(", ");
    if (facts.image_shape) prepareDrawing();
    drawAxes(); listen(); drawAll();
    performance.mark("drawn");
    if (facts.pictures) watchTest();
    // For a live page, for tests, and for the curious.
    window.onelayer = { get facts() { return facts; }, scores, probabilities, state, charts, update, renew, colours: COLOURS };
  }

  begin();
})();
