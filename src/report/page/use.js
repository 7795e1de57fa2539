// Third part of the script of an nll report: values under a pointer, a finger or the arrow keys, zoom, buttons, print.
// ---- the cursor: one place on the axis, the same in all charts

// The value of a curve where it is nearest to `at`, or null when that is farther away than its own points are apart.
function nearest(series, at) {
  const list = places(series);
  if (list.length === 0) return null;
  const i = closest(list, at);
  const apart = list.length > 1 ? (list[list.length - 1] - list[0]) / (list.length - 1) : 0;
  return Math.abs(list[i] - at) > 1.5 * apart + 1e-9 ? null : series.y[i];
}

function showCursor(chart) {
  const cells = chart.legend.querySelectorAll("b");
  const at = state.cursor;
  chart.listed.forEach((series, i) => {
    const cell = cells[i];
    cell.closest("li").hidden = state.hidden.has(series.run);
    const found = at === null ? null : nearest(series, at);
    cell.textContent = found === null ? series.last : number(found);
  });
  const outside = at === null || at > chart.x.high * 1.0001 || chart.x.low * 0.9999 > at;
  chart.cursorLine.setAttribute("d", outside ? "" : `M${chart.x.at(at)} ${chart.top}V${chart.bottom}`);
}

// Where the cursor is, in words: step, tokens and seconds of the first run that is shown.
function cursorWords(chart) {
  const shown = chart.spec.series.filter(visible);
  if (state.cursor === null || shown.length === 0) return "";
  const clock = data.runs[shown[0].run].clock;
  const step = state.axis === "step" ? state.cursor : interpolate(clock[state.axis], clock.step, state.cursor);
  const parts = ["step " + Math.round(step).toLocaleString("en")];
  if (clock.step.length > 0) {
    parts.push(count(Math.round(interpolate(clock.step, clock.tokens, step))) + " tokens");
    parts.push(seconds(interpolate(clock.step, clock.seconds, step)));
  }
  return parts.join(" · ");
}

function moveCursor(chart, at) {
  state.cursor = at;
  for (const other of charts) {
    if (!other.svg) continue;
    showCursor(other);
    other.readout.textContent = other === chart && at !== null ? cursorWords(chart) : "";
  }
}

// All places on the axis at which a shown curve of the chart has a point, rising.
function stops(chart) {
  const all = new Set();
  for (const series of chart.spec.series.filter(visible)) {
    for (const at of places(series)) all.add(at);
  }
  const { low, high } = chart.x;
  return [...all].filter((at) => at >= low && at <= high).sort((a, b) => a - b);
}

// A part of the axis in all charts, or all of it again (null).
function zoom(to) {
  state.zoom = to;
  state.cursor = null;
  whole.hidden = to === null;
  drawAll();
}

function listen(chart) {
  let start = null;  // where a mouse began to mark a part of the axis
  const across = (event) => {
    const box = chart.svg.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * chart.width;
  };
  const clamped = (at) => Math.max(chart.left, Math.min(chart.right, at));
  const follow = (event) => {
    const here = across(event);
    if (start !== null) {
      const [from, to] = [start, clamped(here)];
      chart.selection.setAttribute("d", `M${from} ${chart.top}H${to}V${chart.bottom}H${from}z`);
    }
    if (chart.left - 8 > here || here > chart.right + 8) return;
    const wanted = chart.x.inverse(clamped(here));
    if (chart.stops.length > 0) moveCursor(chart, chart.stops[closest(chart.stops, wanted)]);
  };
  chart.svg.addEventListener("pointermove", follow);
  chart.svg.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0) {
      start = clamped(across(event));
      chart.svg.setPointerCapture(event.pointerId);
    }
    follow(event);
  });
  chart.svg.addEventListener("pointerup", (event) => {
    const from = start, to = clamped(across(event));
    start = null;
    chart.selection.setAttribute("d", "");
    if (from === null || 8 > Math.abs(to - from)) return;
    zoom([chart.x.inverse(Math.min(from, to)), chart.x.inverse(Math.max(from, to))]);
  });
  chart.svg.addEventListener("dblclick", () => zoom(null));
  chart.svg.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && document.activeElement !== chart.svg) moveCursor(chart, null);
  });
  chart.svg.addEventListener("blur", () => moveCursor(chart, null));
  chart.svg.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "-") {
      event.preventDefault();
      zoomBy(chart, event.key === "+" ? 0.5 : 2);
      return;
    }
    const list = chart.stops;
    if (list.length === 0) return;
    const here = state.cursor === null ? -1 : before(list, state.cursor * (1 + 1e-12));
    const page = Math.max(1, Math.round(list.length / 20));
    const next = {
      ArrowRight: here + 1, ArrowLeft: here - 1, PageUp: here + page, PageDown: here - page, Home: 0, End: list.length - 1,
    }[event.key];
    if (event.key === "Escape") moveCursor(chart, null);
    if (next === undefined) return;
    event.preventDefault();
    moveCursor(chart, list[Math.max(0, Math.min(list.length - 1, next))]);
  });
}

// Half as much of the axis around the cursor, or twice as much.
function zoomBy(chart, factor) {
  const place = state.cursor === null ? (chart.left + chart.right) / 2 : chart.x.at(state.cursor);
  const half = ((chart.right - chart.left) / 2) * factor;
  const [low, high] = [chart.x.inverse(place - half), chart.x.inverse(place + half)];
  const kept = state.cursor, old = state.zoom;
  state.zoom = null;
  const all = stepRange(chart);
  state.zoom = old;
  zoom(low > all[0] || all[1] > high ? [Math.max(low, all[0]), Math.min(high, all[1])] : null);
  if (kept !== null) moveCursor(chart, kept);
}

// ---- the page

const whole = document.getElementById("whole");
whole.hidden = true;
whole.addEventListener("click", () => zoom(null));
function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}
function drawAll() {
  for (const chart of charts) draw(chart);
}
function choices(name, apply) {
  const buttons = [...document.querySelectorAll(`[data-${name}]`)];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      buttons.forEach((other) => press(other, other === button));
      state.cursor = null;
      state.zoom = null;
      whole.hidden = true;
      apply(button.dataset[name]);
      drawAll();
    });
  }
}

data.charts.forEach((spec) => {
  const figure = document.getElementById(spec.id);
  const chart = {
    spec, listed: spec.series.filter((series) => series.listed), log: spec.log, main: figure.classList.contains("main"), plot: figure.querySelector(".plot"),
    legend: figure.querySelector(".legend"), readout: figure.querySelector(".readout"), width: 0,
  };
  figure.querySelectorAll(".legend b").forEach((cell, i) => (chart.listed[i].last = cell.textContent));
  chart.plot.classList.add("live");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "log y";
  button.setAttribute("aria-label", "logarithmic vertical axis of " + spec.title);
  press(button, chart.log);
  button.addEventListener("click", () => {
    chart.log = !chart.log;
    press(button, chart.log);
    draw(chart);
  });
  figure.querySelector(".head").append(button);
  charts.push(chart);
  // A folded section has no width: its charts are drawn when it opens.
  new ResizeObserver(() => {
    if (!state.printing && Math.floor(chart.plot.clientWidth) !== chart.width) draw(chart);
  }).observe(chart.plot);
  draw(chart);
});

choices("axis", (axis) => (state.axis = axis));
choices("scale", (kind) => (state.logX = kind === "log"));
for (const button of document.querySelectorAll("[data-run]")) {
  button.addEventListener("click", () => {
    const run = Number(button.dataset.run);
    if (!state.hidden.delete(run)) state.hidden.add(run);
    press(button, !state.hidden.has(run));
    drawAll();
  });
}
// The reliability diagram is drawn by the program; its points say their numbers in a line below.
for (const bin of document.querySelectorAll(".bin")) {
  const say = () => (bin.closest("figure").querySelector(".readout").textContent = bin.dataset.say);
  for (const kind of ["pointerenter", "pointerdown", "focus"]) bin.addEventListener(kind, say);
}
const printing = (now) => {
  state.printing = now;
  if (now) document.querySelectorAll("details[data-print]").forEach((details) => (details.open = true));
  drawAll();
};
addEventListener("beforeprint", () => printing(true));
addEventListener("afterprint", () => printing(false));
