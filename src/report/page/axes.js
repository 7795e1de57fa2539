// First part of the script of an nll report: the numbers of the page, numbers as text, axes, steps as tokens and seconds.
// The parts stand one after the other inside one function (html_report.cpp).
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
root.classList.remove("unscripted");
root.classList.add("scripted");
const state = { axis: "step", logX: false, hidden: new Set(), cursor: null, zoom: null, printing: false };
const charts = [];

// ---- numbers as text

const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const units = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];
function count(value) {
  for (const [size, unit] of units) {
    if (Math.abs(value) >= size) return trimmed((value / size).toPrecision(4)) + unit;
  }
  return trimmed(value.toPrecision(4));
}
function number(value) {
  if (value === null || !Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  if (size >= 1e5) return count(value);
  if (size > 0 && 1e-3 > size) return value.toExponential(2).replace("e-0", "e-");
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 4);
}
function seconds(value) {
  const whole = Math.round(value);
  if (60 > whole) return trimmed(value.toFixed(1)) + " s";
  if (3600 > whole) return Math.floor(whole / 60) + " min " + (whole % 60) + " s";
  return Math.floor(whole / 3600) + " h " + Math.round((whole % 3600) / 60) + " min";
}

// ---- axes

const spans = { s: 1, min: 60, h: 3600, d: 86400 };
// What a tick of the axis over `high` stands for: its divisor and the words below the axis.
function xMeaning(high) {
  if (state.axis === "step") return [1, "optimizer step"];
  if (state.axis === "tokens") return [1, "training tokens"];
  const unit = high >= 4 * 86400 ? "d" : high >= 4 * 3600 ? "h" : high >= 240 ? "min" : "s";
  const words = { s: "seconds", min: "minutes", h: "hours", d: "days" };
  return [spans[unit], words[unit] + " of training"];
}
function linearTicks(low, high, wanted) {
  const power = Math.pow(10, Math.floor(Math.log10((high - low) / wanted)));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => (high - low) / s <= wanted) || power * 10;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push(i * step);
  const decimals = Math.max(0, Math.min(12, Math.ceil(-Math.log10(step) - 1e-9)));
  const label = (tick) => {
    if (tick === 0) return "0";
    const size = Math.max(Math.abs(low), Math.abs(high));
    if (0.01 > size || size >= 1e15) return trimmed(tick.toExponential(2).replace(/(\.\d*?)0+e/, "$1e")).replace(".e", "e").replace("e+", "e");
    return size >= 1e4 ? count(tick) : tick.toFixed(decimals);
  };
  return ticks.map((tick) => [tick, label(tick)]);
}
function logTicks(low, high, wanted) {
  const ticks = [];
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const factors = last - first > wanted ? [1] : 2.5 * (last - first) > wanted ? [1, 3] : [1, 2, 5];
  const every = Math.ceil((last - first) / wanted);
  for (let e = first; e <= last; e += factors.length > 1 ? 1 : every) {
    for (const factor of factors) {
      const tick = factor * Math.pow(10, e);
      if (tick >= low * 0.999999 && tick <= high * 1.000001) {
        ticks.push([tick, tick >= 1e3 ? count(tick) : tick >= 1e-3 ? trimmed(tick.toFixed(4)) : factor + "e" + e]);
      }
    }
  }
  return ticks.length > 1 ? ticks : linearTicks(low, high, wanted);
}
function scale(low, high, from, to, log) {
  const f = log ? Math.log : (x) => x;
  const a = f(low), b = f(high);
  const at = (value) => from + ((f(value) - a) / (b - a)) * (to - from);
  const inverse = (place) => {
    const value = a + ((place - from) / (to - from)) * (b - a);
    return log ? Math.exp(value) : value;
  };
  return { low, high, at, inverse, log };
}

// ---- steps as tokens and seconds

// The last index of a rising list whose entry is not above `value`; 0 when all are.
function before(list, value) {
  let low = 0, high = list.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list[middle] <= value) low = middle;
    else high = middle;
  }
  return low;
}
function closest(list, value) {
  const i = before(list, value);
  return i + 1 < list.length && Math.abs(list[i + 1] - value) < Math.abs(list[i] - value) ? i + 1 : i;
}
function interpolate(from, to, value) {
  if (from.length === 0) return NaN;
  if (from.length === 1) return to[0];
  const i = Math.min(before(from, value), from.length - 2);
  const width = from[i + 1] - from[i];
  const share = width > 0 ? (value - from[i]) / width : 0;
  return to[i] + Math.max(0, Math.min(1, share)) * (to[i + 1] - to[i]);
}
const place = (run, step) => (state.axis === "step" ? step : interpolate(run.clock.step, run.clock[state.axis], step));
// Where the points of a curve are on the axis that is chosen.
function places(series) {
  series.places ??= { step: series.x };
  series.places[state.axis] ??= series.x.map((step) => place(data.runs[series.run], step));
  return series.places[state.axis];
}
