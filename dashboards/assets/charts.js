// Charts: ECharts for history, plain SVG for the small trend in a tile.
import { cssColour, h, s } from "./dom.js";

// A megabyte: it comes while the page is built and shows its first numbers.
let echarts = null;
export const loaded = import("nicegui-echart").then((module) => { echarts = module.echarts; });

const PROVISIONAL = 1;
const PARTIAL = 2;
const OUTSIDE = 3; // cannot be so: said, and neither drawn as a value nor learnt from
const HOUR_MS = 3600000;

export function quantiles(values, low, high) {
  const known = values.filter((v) => typeof v === "number").sort((a, b) => a - b);
  if (known.length < 12) return null;
  const at = (q) => known[Math.min(known.length - 1, Math.floor(q * known.length))];
  return [at(low), at(high)];
}

// Values that can be so: what lies beyond a quantity's range sets no scale and is usual nowhere.
export const plausible = (line) => line.v.map((v, i) => (line.f?.[i] === OUTSIDE ? null : v));

// A line with a gap wherever readings are missing: at once where every step of it should have held some.
function withGaps(line) {
  const steps = line.t.slice(1).map((t, i) => t - line.t[i]).sort((a, b) => a - b);
  const usual = line.step ?? steps[Math.floor(steps.length / 2)] ?? Infinity;
  const far = (line.step ? 1.5 : 2.5) * usual;
  const points = [];
  line.t.forEach((t, i) => {
    if (i && t - line.t[i - 1] > far) points.push({ t: line.t[i - 1] + usual, v: null, f: 0 });
    if (line.f[i] === OUTSIDE) points.push({ t, v: null, f: OUTSIDE, bin: line.bin, beyond: line.v[i], least: line.low?.[i], most: line.high?.[i] });
    else points.push({ t, v: line.v[i], f: line.f[i], bin: line.bin, n: line.n?.[i], of: line.of?.[i], low: line.low?.[i], high: line.high?.[i] });
  });
  return points;
}

// The least step of an axis: one where all are whole, as of counts, else what divides a fiftieth of the values by four.
export function leastStep(values) {
  const size = Math.max(...values.map(Math.abs));
  if (!(size > 0)) return 1;
  const wanted = size / 200;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].find((n) => n * power >= wanted * (1 - 1e-9)) * power;
  return values.every(Number.isInteger) ? Math.max(1, step) : step;
}

const known = (v) => v !== null && v !== undefined;
const sign = (priority) => `◆${priority}`; // as in tables: never by its colour alone

export function sparkline(line, colour, band, stale) {
  const width = 200;
  const height = 44;
  const values = plausible(line);
  const known = values.filter((v) => v !== null);
  if (known.length < 2) return s("svg", { class: "hl-spark", viewBox: `0 0 ${width} ${height}` });
  const limits = [...known, ...(band ?? [])].filter((v) => v !== null && Number.isFinite(v));
  let low = Math.min(...limits);
  let high = Math.max(...limits);
  if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
  const pad = 3;
  const first = line.t[0];
  const span = Math.max(1, line.t[line.t.length - 1] - first);
  const x = (t) => ((t - first) / span) * (width - 6) + 1;
  const y = (v) => height - pad - ((v - low) / (high - low)) * (height - 2 * pad);
  let path = "";
  let pen = false;
  for (const p of withGaps(line)) {
    if (p.v === null) pen = false;
    else {
      path += `${pen ? "L" : "M"}${x(p.t).toFixed(1)} ${y(p.v).toFixed(1)}`;
      pen = true;
    }
  }
  const last = values.findLastIndex((v) => v !== null);
  return s("svg", { class: stale ? "hl-spark hl-stale" : "hl-spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    band && s("rect", { class: "hl-band", x: 0, width, y: y(band[1] ?? high), height: Math.max(1, y(band[0] ?? low) - y(band[1] ?? high)) }),
    s("path", { d: path, class: `hl-stroke-${colour}`, fill: "none", "vector-effect": "non-scaling-stroke" }),
    s("circle", { cx: x(line.t[last]), cy: y(line.v[last]), r: 2.2, class: `hl-fill-${colour}` }));
}

export class Chart {
  constructor(context) {
    this.context = context;
    this.element = h("div", { class: "hl-chart" });
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.element);
  }

  // An observer also speaks when it begins to look: drawing again takes as long as drawing.
  fit() {
    const { clientWidth, clientHeight } = this.element;
    if (this.chart && (this.chart.getWidth() !== clientWidth || this.chart.getHeight() !== clientHeight)) this.chart.resize();
  }

  // At once, without waiting for the next frame: a browser that prints has none.
  settle() {
    this.fit();
    this.chart?.getZr().flush();
  }

  set(option) {
    this.chart ??= echarts.init(this.element, null, { renderer: "canvas" });
    const text = { color: cssColour("muted"), fontFamily: cssColour("font"), fontSize: 14 };
    this.chart.setOption({ animation: false, textStyle: text, useUTC: true, ...option }, { notMerge: true });
  }

  axis(extra) {
    const line = cssColour("rule");
    const label = { color: cssColour("muted"), fontSize: 14, hideOverlap: true };
    return {
      axisLine: { lineStyle: { color: line } }, axisTick: { lineStyle: { color: line } },
      splitLine: { lineStyle: { color: line, opacity: 0.6 } }, axisLabel: label,
      nameTextStyle: { color: cssColour("muted"), fontSize: 14 }, ...extra,
    };
  }

  tooltip(make) {
    return {
      confine: true, backgroundColor: cssColour("card"), borderColor: cssColour("rule"),
      textStyle: { color: cssColour("ink"), fontSize: 14 }, formatter: make,
    };
  }

  empty(text) {
    this.chart?.dispose();
    this.chart = null;
    this.element.replaceChildren(h("div", { class: "hl-empty" }, text));
  }

  ready() {
    if (!this.chart) this.element.replaceChildren();
  }

  stop() {
    this.observer.disconnect();
    this.chart?.dispose();
  }
}

// Between two gaps a point has no line to be seen by.
const alone = (points, i) => points[i].v !== null && (points[i - 1]?.v ?? null) === null && (points[i + 1]?.v ?? null) === null;

export class LineChart extends Chart {
  show(panel, history, before) {
    const { f, t } = this.context;
    const lines = history.series.filter((l) => l.v.some((v) => v !== null));
    if (!lines.length) {
      this.empty(history.fills ? t("the first window is over at {time}: it is drawn when it is whole", { time: f.short(history.fills) })
        : panel.first && history.exists ? panel.first : panel.absent && !history.exists ? panel.absent : t("no data in this range"));
      return;
    }
    this.ready();
    // A range that is mostly older than the data is not drawn as emptiness.
    const first = Math.min(...lines.map((l) => l.t[l.v.findIndex((v) => v !== null)]));
    const span = history.to - history.from;
    const begin = first > history.from + span / 2 ? Math.min(first, history.to - HOUR_MS) : history.from;
    const units = [...new Set(lines.map((l) => panel.series[l.index].unit))];
    const earlier = this.before(before, span, panel, units);
    const names = [...new Set([...lines.map((l) => panel.series[l.index].label), ...earlier.slice(0, 1).map((x) => x.series.name)])];
    const marks = this.alarms((history.alarms ?? []).filter((a) => a.t >= begin), (begin + history.to) / 2);
    const beyond = this.beyond(lines, begin);
    const above = marks.length ? 16 : 0; // room for what stands on them
    const { legend, top } = this.legend(names, units);
    const drawn = lines.map((line) => ({ line, points: withGaps(line) }));
    const extremes = units.flatMap((unit) => this.extremes(drawn.filter((x) => panel.series[x.line.index].unit === unit), panel, units));
    const heights = (unit) => drawn.filter((x) => panel.series[x.line.index].unit === unit).flatMap((x) => x.points.map((p) => p.v)).filter(known);
    this.points = [...drawn.map((x) => x.points), ...earlier.map((x) => x.points)]; // by series, for the hint
    this.units = [...lines, ...earlier.map((x) => x.line)].map((l) => panel.series[l.index].unit);
    const zero = (unit) => unit.startsWith("GJ") || unit === "kW" || unit === "m³/h";
    this.set({
      grid: { left: 16, right: units.length > 1 ? 12 : 24, top: top + above, bottom: 4, containLabel: true }, // a time at an end is half outside
      legend,
      tooltip: { trigger: "axis", ...this.tooltip((points) => this.hint(points)) },
      xAxis: this.axis({
        type: "time", min: f.shifted(begin), max: f.shifted(history.to), splitLine: { show: false },
        axisLabel: {
          color: cssColour("muted"), fontSize: 14, hideOverlap: true,
          formatter: { year: "{yyyy}-{MM}-{dd}", month: "{MM}-{dd}", day: "{MM}-{dd}", hour: "{HH}:{mm}", minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}" },
        },
      }),
      yAxis: units.map((unit, i) => this.axis({
        type: "value", name: unit, nameGap: 12 + above, nameLocation: "end", scale: !zero(unit), splitNumber: 4, minInterval: leastStep(heights(unit)),
        position: i ? "right" : "left", splitLine: { show: !i, lineStyle: { color: cssColour("rule"), opacity: 0.6 } },
        nameTextStyle: { color: cssColour("muted"), fontSize: 14, align: i ? "right" : "left" },
      })),
      series: [...drawn.map(({ line, points }) => this.line(line, points, panel, units)), ...earlier.map((x) => x.series), ...extremes, ...marks, ...beyond],
    });
  }

  // Where alarms of the device began: a dashed line with their priority; what they are is said where one points.
  alarms(found, middle) {
    if (!found.length) return [];
    const { f, t } = this.context;
    const data = found.map(({ t: at, code, priority }) => {
      const color = cssColour(`p${priority}`);
      const align = at > middle ? "right" : "left"; // so that its name has room
      const label = { show: true, position: "end", align, distance: 2, color, fontSize: 14, fontWeight: "bold", formatter: sign(priority) };
      return { xAxis: f.shifted(at), lineStyle: { color, type: [2, 3], width: 1.5 }, label, emphasis: { label: { ...label, formatter: `${sign(priority)} ${t(code)} ${f.moment(at)}` } } };
    });
    return [{ type: "line", data: [], markLine: { symbol: "none", animation: false, data } }];
  }

  // When readings were beyond their range: a cross at the top of the chart for each stretch of them, as much as there is of it.
  beyond(lines, begin) {
    const { f, t } = this.context;
    const color = cssColour("p3");
    const data = lines.flatMap((line) => {
      const at = line.t.filter((x, i) => line.f[i] === OUTSIDE && x >= begin);
      const step = line.step ?? line.t[1] - line.t[0];
      return at.filter((x) => !at.includes(x - step)).map((x) => {
        let end = x;
        while (at.includes(end + step)) end += step;
        return [{ xAxis: f.shifted(x), name: "✕3" }, { xAxis: f.shifted(end + step) }];
      });
    });
    if (!data.length) return [];
    const label = { show: true, position: "insideTop", distance: 2, color, fontSize: 14, fontWeight: "bold" }; // beside an alarm's
    return [{ type: "line", name: t("out_of_range"), data: [], markArea: { silent: true, animation: false, itemStyle: { color, opacity: 0.14 }, label, data } }];
  }

  // What the mean of a step hides: a stroke from its least to its greatest reading, where it is longer than the line is wide.
  extremes(drawn, panel, units) {
    const all = drawn.flatMap(({ points }) => points.flatMap((p) => [p.v, p.low, p.high])).filter(known);
    const seen = 0.01 * (Math.max(...all) - Math.min(...all));
    return drawn.flatMap(({ line, points }) => {
      const apart = points.filter((p) => known(p.low) && p.high - p.low > seen);
      if (!apart.length) return [];
      const { f } = this.context;
      const strokes = apart.flatMap((p) => [[f.shifted(p.t), p.low], [f.shifted(p.t), p.high], [f.shifted(p.t), null]]);
      const made = this.line(line, [], panel, units);
      return [{ ...made, data: strokes, silent: true, z: 1, lineStyle: { color: made.color, width: 1.5, opacity: 0.6 } }];
    });
  }

  // Beside the axis' unit where there is room, else in lines of its own above it.
  legend(names, units) {
    const width = this.element.clientWidth || 600;
    const pen = (this.pen ??= document.createElement("canvas").getContext("2d"));
    pen.font = `14px ${cssColour("font")}`;
    const wides = names.map((name) => pen.measureText(name).width + 22 + 5 + 18);
    const beside = wides.reduce((n, x) => n + x, 0) < width - 96 - (units.length > 1 ? 84 : 0);
    let [rows, filled] = [1, 0];
    for (const x of wides) {
      if (filled && filled + x > width - 24) [rows, filled] = [rows + 1, 0];
      filled += x;
    }
    const look = { data: names, top: 0, itemWidth: 22, itemHeight: 10, itemGap: 16, icon: "roundRect", textStyle: { color: cssColour("ink"), fontSize: 14 } };
    if (beside) return { legend: { ...look, right: units.length > 1 ? 84 : 4 }, top: 34 };
    return { legend: { ...look, left: 4, right: 4 }, top: 32 + 24 * rows };
  }

  // The range before, moved to where its values can be compared.
  before(history, span, panel, units) {
    const { t } = this.context;
    return (history?.series ?? []).filter((l) => l.v.some((v) => v !== null)).map((line) => {
      const points = withGaps(line);
      const made = this.line(line, points, panel, units, span);
      const series = { ...made, name: t("{what}, before", { what: made.name }), lineStyle: { ...made.lineStyle, width: 1.5, type: "dotted" } };
      return { line, points, series };
    });
  }

  // Plain pairs; only what is flagged has a mark, and what an item of its own costs.
  line(line, points, panel, units, later = 0) {
    const { f } = this.context;
    const series = panel.series[line.index];
    const colour = cssColour(`line-${series.colour}`);
    const card = cssColour("card");
    const flagged = (p) => ({
      value: [f.shifted(p.t + later), p.v], symbol: p.f === PARTIAL ? "diamond" : "circle", symbolSize: p.f === PARTIAL ? 10 : 7,
      itemStyle: { color: card, borderColor: colour, borderWidth: 2 },
    });
    const dot = (p) => ({ value: [f.shifted(p.t + later), p.v], symbol: "circle", symbolSize: 6, itemStyle: { color: colour } });
    return {
      type: "line", name: series.label, color: colour, connectNulls: false,
      yAxisIndex: units.indexOf(series.unit), symbol: "none", showSymbol: true,
      lineStyle: { width: 2, type: series.dashed ? "dashed" : "solid", color: colour },
      data: points.map((p, i) => (p.f === PARTIAL || p.f === PROVISIONAL ? flagged(p) : alone(points, i) ? dot(p) : [f.shifted(p.t + later), p.v])),
    };
  }

  hint(points) {
    const { f, t } = this.context;
    const shown = points.map((p) => ({ ...p, real: this.points[p.seriesIndex]?.[p.dataIndex], unit: this.units[p.seriesIndex] })).filter((p) => p.real);
    if (!shown.length) return "";
    const { t: at, bin } = shown[0].real;
    const time = bin ? `${f.moment(at)} – ${f.moment(at + bin)}` : f.moment(at); // of more than one row: all that it stands for
    return h("div", { class: "hl-hint" },
      h("div", { class: "hl-hint-time", title: f.utc(at) }, time, " ", h("small", {}, f.utc(at))),
      shown.map((p) => {
        const { real, unit } = p;
        const flags = [];
        if (real.f === PROVISIONAL) flags.push(t("provisional"));
        if (real.f === OUTSIDE) {
          const far = [real.least ?? real.beyond, real.most ?? real.beyond].map((v) => f.number(v, unit));
          return h("div", {}, h("i", { style: { background: p.color } }), `${p.seriesName} ✕3 ${t("out_of_range")}: `,
            h("b", {}, `${[...new Set(far)].join(" – ")} ${unit}`));
        }
        if (real.f === PARTIAL) flags.push(real.of ? t("{n} of {of} known", { n: real.n, of: real.of }) : t("unknown"));
        return h("div", {}, h("i", { style: { background: p.color } }), `${p.seriesName} `,
          h("b", {}, `${f.number(real.v, unit)} ${unit}`), this.spread(real, unit), flags.length ? ` (${flags.join(", ")})` : "");
      }));
  }

  spread({ low, high }, unit) {
    const { f } = this.context;
    const [least, most] = [low, high].map((v) => f.number(v, unit));
    return known(low) && least !== most ? h("small", {}, ` (${least} – ${most})`) : "";
  }
}

// The first chart of a page takes the time of three: a small one that nobody sees takes it while nothing else is done.
export function rehearse(context) {
  const unseen = new LineChart(context);
  unseen.chart = echarts.init(h("div"), null, { renderer: "canvas", width: 300, height: 150 });
  const t = [0, 1, 2, 3].map((n) => n * HOUR_MS);
  const series = ["a", "b"].map((colour) => ({ label: colour, unit: "", colour, dashed: false }));
  unseen.show({ series }, { from: 0, to: t[3], series: series.map((_, index) => ({ index, t, v: [1, 2, null, 3], f: [0, 0, 0, PROVISIONAL] })) });
  unseen.stop();
}

export class ScatterChart extends Chart {
  show(panel, history) {
    const { f, t } = this.context;
    const [across, up] = panel.series;
    const lines = [0, 1].map((i) => history.series.find((l) => l.index === i)).map((l) => l && { ...l, v: plausible(l) });
    const above = new Map(lines[1]?.t.map((time, i) => [time, lines[1].v[i]]) ?? []);
    const points = (lines[0]?.t ?? [])
      .map((time, i) => ({ value: [lines[0].v[i], above.get(time)], real: time }))
      .filter((p) => typeof p.value[0] === "number" && typeof p.value[1] === "number");
    if (!points.length) {
      this.empty(t("no data in this range"));
      return;
    }
    this.ready();
    const colour = cssColour("line-s");
    this.set({
      grid: { left: 8, right: 16, top: 30, bottom: 24, containLabel: true },
      tooltip: this.tooltip((p) => h("div", { class: "hl-hint" },
        h("div", { class: "hl-hint-time" }, f.moment(p.data.real)),
        h("div", {}, `${across.label} `, h("b", {}, `${f.number(p.value[0], across.unit)} ${across.unit}`)),
        h("div", {}, `${up.label} `, h("b", {}, `${f.number(p.value[1], up.unit)} ${up.unit}`)))),
      xAxis: this.axis({ type: "value", name: `${across.label} ${across.unit}`, scale: true, nameLocation: "middle", nameGap: 26 }),
      yAxis: this.axis({ type: "value", name: `${up.label} ${up.unit}`, scale: true, nameGap: 10, nameTextStyle: { color: cssColour("muted"), fontSize: 14, align: "left" } }),
      series: [
        { type: "scatter", data: points.slice(0, -1), symbolSize: 6, itemStyle: { color: colour, opacity: 0.45 } },
        { type: "scatter", data: points.slice(-1), symbolSize: 14, symbol: "diamond", itemStyle: { color: cssColour("ink"), borderColor: cssColour("card"), borderWidth: 2 } },
      ],
    });
  }
}
