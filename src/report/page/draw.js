// Second part of the script of an nll report: a chart is drawn over the SVG that is there for readers without a script.

const svgNamespace = "http://www.w3.org/2000/svg";
function element(name, attributes, text) {
  const made = document.createElementNS(svgNamespace, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}
const visible = (series) => !state.hidden.has(series.run);

function valueRange(chart) {
  const values = [];
  for (const series of chart.spec.series.filter(visible)) {
    const at = places(series);
    const inside = (i) => state.zoom === null || (at[i] >= state.zoom[0] && at[i] <= state.zoom[1]);
    let finite = series.y.filter((y, i) => y !== null && (!chart.log || y > 0) && inside(i));
    // One spike must not flatten the rest: what a smoothed course accompanies shows all but its highest 2 %.
    if (series.kind === "raw" && finite.length > 50) {
      finite = finite.slice().sort((a, b) => a - b);
      finite = [finite[0], finite[Math.floor(0.98 * (finite.length - 1))]];
    }
    for (const y of finite) values.push(y);
  }
  if (values.length === 0) return chart.log ? [0.1, 1] : [0, 1];
  let low = values[0], high = values[0];
  for (const y of values) {
    low = Math.min(low, y);
    high = Math.max(high, y);
  }
  if (chart.log) {
    return low === high ? [low / 2, high * 2] : [low * Math.pow(low / high, 0.04), high * Math.pow(high / low, 0.04)];
  }
  if (chart.spec.zero && low >= 0) low = 0;
  if (high - low <= Math.max(Math.abs(low), Math.abs(high)) * 1e-9) {
    const room = Math.abs(high) * 0.1 || 1;
    return [low - (low === 0 ? 0 : room), high + room];
  }
  const room = (high - low) * 0.04;
  return [low === 0 ? 0 : low - room, high + room];
}

function stepRange(chart) {
  if (state.zoom !== null) return state.zoom;
  let high = 0, least = Infinity;
  for (const series of chart.spec.series.filter(visible)) {
    for (const at of places(series)) {
      if (!Number.isFinite(at)) continue;
      high = Math.max(high, at);
      if (at > 0) least = Math.min(least, at);
    }
  }
  if (!(high > 0)) return state.logX ? [1, 10] : [0, 1];
  return state.logX ? [least === high ? high / 10 : Math.min(least, high / 2), high] : [0, high];
}

function path(series, x, y) {
  let text = "", open = false, points = 0;
  places(series).forEach((at, i) => {
    const value = series.y[i];
    const shown = value !== null && Number.isFinite(at) && (!y.log || value > 0) && (!x.log || at > 0);
    if (!shown) {
      open = false;
      return;
    }
    text += (open ? "L" : "M") + x.at(at).toFixed(1) + " " + y.at(value).toFixed(1);
    open = true;
    ++points;
  });
  return points > 0 ? text : "";
}

// Resumes as dashed lines, skipped steps as crosses at the top, checkpoints as ticks at the bottom.
function drawMarks(svg, x, top, bottom) {
  data.runs.forEach((run, index) => {
    if (state.hidden.has(index)) return;
    const at = (step) => x.at(place(run, step));
    const color = "mark c" + (data.runs.length > 1 ? index % 7 : 6);
    for (const kind of ["resume", "skipped", "checkpoint"]) {
      for (const step of run.marks[kind]) {
        const left = at(step);
        if (!Number.isFinite(left) || (x.log && !(step > 0))) continue;
        const shape = {
          resume: `M${left} ${top}V${bottom}`,
          skipped: `M${left - 4} ${top + 2}l8 8m0-8l-8 8`,
          checkpoint: `M${left} ${bottom}v-6`,
        }[kind];
        const mark = element("path", { class: color + (kind === "resume" ? " d2" : ""), d: shape });
        mark.append(element("title", {}, kind + " at step " + step));
        svg.append(mark);
      }
    }
  });
}

let clips = 0;
function draw(chart) {
  const screen = Math.floor(chart.plot.clientWidth);
  if (!(screen > 0)) return;
  // Paper is some 700 pixels wide: drawn for it, letters keep their size.
  const width = !state.printing ? screen : chart.main ? 700 : 340;
  chart.width = width;
  const height = chart.main ? Math.max(260, Math.min(420, width * 0.42)) : 250;
  const top = 10, bottom = height - 42, right = width - 14;
  const [lowY, highY] = valueRange(chart);
  const y = scale(lowY, highY, bottom, top, chart.log);
  const yTicks = (chart.log ? logTicks : linearTicks)(lowY, highY, Math.max(3, Math.floor((bottom - top) / 32)));
  const longest = Math.max(...yTicks.map((tick) => tick[1].length), 2);
  const left = 30 + 7 * longest;
  const [lowX, highX] = stepRange(chart);
  const x = scale(lowX, highX, left, right, state.logX);
  const [divisor, words] = xMeaning(highX);
  const wanted = Math.max(2, Math.floor((right - left) / 80));
  const xTicks = (state.logX ? logTicks : linearTicks)(lowX / divisor, highX / divisor, wanted);

  const svg = element("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: "0",
    "aria-label": `${chart.spec.title}, ${chart.spec.unit}, over ${words}. Arrow keys move along the curve, plus and minus zoom.`,
  });
  for (const [tick, label] of yTicks) {
    svg.append(element("path", { class: "grid", d: `M${left} ${y.at(tick)}H${right}` }));
    svg.append(element("text", { x: left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, label));
  }
  for (const [tick, label] of xTicks) {
    const at = x.at(tick * divisor);
    svg.append(element("path", { class: "grid", d: `M${at} ${top}V${bottom}` }));
    const anchor = at > right - 16 ? "end" : "middle";
    svg.append(element("text", { x: anchor === "end" ? right + 10 : at, y: bottom + 17, "text-anchor": anchor }, label));
  }
  svg.append(element("path", { class: "axis", d: `M${left} ${bottom}H${right}` }));
  svg.append(element("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, words));
  const unit = { transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" };
  svg.append(element("text", unit, chart.spec.unit));

  const clip = "clip" + ++clips;
  const clipPath = element("clipPath", { id: clip });
  clipPath.append(element("rect", { x: left - 3, y: top - 4, width: right - left + 6, height: bottom - top + 8 }));
  svg.append(clipPath);
  drawMarks(svg, x, top, bottom);
  const curves = element("g", { "clip-path": `url(#${clip})` });
  for (const series of chart.spec.series.filter(visible)) {
    const color = "c" + (series.color % 7);
    const d = path(series, x, y);
    if (d === "") continue;
    const kind = series.kind === "raw" ? " raw" : " d" + (series.dash % 5);
    curves.append(element("path", { class: "curve " + color + kind, d }));
    if (series.kind === "points") drawDots(curves, series, x, y, color);
  }
  svg.append(curves);
  chart.cursorLine = element("path", { class: "cursor", d: "" });
  chart.selection = element("path", { class: "selection", d: "" });
  svg.append(chart.cursorLine, chart.selection);
  Object.assign(chart, { svg, x, y, left, right, top, bottom });
  chart.stops = stops(chart);
  const focused = chart.plot.contains(document.activeElement);
  chart.plot.replaceChildren(svg);
  if (focused) svg.focus({ preventScroll: true });
  listen(chart);
  showCursor(chart);
}

function drawDots(curves, series, x, y, color) {
  const every = Math.floor(series.x.length / 40) + 1;
  places(series).forEach((at, i) => {
    const value = series.y[i];
    if ((series.x.length - 1 - i) % every !== 0) return;
    if (value === null || (y.log && !(value > 0)) || (x.log && !(at > 0)) || !Number.isFinite(at)) return;
    curves.append(element("circle", { class: "dot " + color, cx: x.at(at), cy: y.at(value), r: 3.5 }));
  });
}
