// The network: where its heat went, its pipes by flow, and its pressures over the way from the plant.
import { Chart, loaded } from "./charts.js";
import { WARM_K, departures, signed } from "./deviations.js";
import { cssColour, h, put, s } from "./dom.js";
import { around, placed } from "./labels.js";
import { mark } from "./tiles.js";

const PARTS = ["loss_gj", "storage_gj", "leak_gj", "residual_gj"];
const EDGE = 26;
const FOOT = 26; // the line below that counts what is not as it should be
const OFF = ["silent", "never", "stale"];

const known = (value) => typeof value === "number" && Number.isFinite(value);

// Registered networks of the scope with their places, asked for once.
function networks(context) {
  const { region, unit } = context.config.scope;
  context.networks ??= fetch(`/api/networks?${new URLSearchParams({ region, unit })}`).then((r) => (r.ok ? r.json() : Promise.reject(r.status)));
  return context.networks.catch(() => { context.networks = null; return null; });
}

// The newest window that is final for every network, or else the newest at all.
function newestWindow(rows) {
  const windows = new Map();
  for (const row of rows) windows.set(row.window_start, [...(windows.get(row.window_start) ?? []), row]);
  const found = [...windows.values()].sort((a, b) => b[0].window_start - a[0].window_start);
  const said = (list) => list.every((r) => known(r.residual_gj));
  return found.find((list) => list.every((r) => r.status === "final")) ?? found.find(said) ?? found[0] ?? [];
}

export class Waterfall {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-fall", tabindex: 0 });
  }

  update() {
    const { live } = this.context;
    if (live.now === null) return;
    this.rows = newestWindow(live.rows("balances").values());
    put(this.body, JSON.stringify(this.rows), () => this.drawing(this.rows));
  }

  drawing(rows) {
    const { f, t } = this.context;
    if (!rows.length) return h("div", { class: "hl-empty" }, this.panel.absent || t("no data yet"));
    const sum = Object.fromEntries(this.panel.series.map(({ field }) => [field, rows.every((r) => known(r[field])) ? rows.reduce((n, r) => n + r[field], 0) : null]));
    const off = rows.find((r) => r.status === "unknown");
    const lacking = off ?? rows.find((r) => r.reason); // a window that still fills says why, too
    const when = `${f.moment(rows[0].window_start)} · ${t(off ? "unknown" : rows.every((r) => r.status === "final") ? "final" : "provisional")}`;
    if (sum.supplied_gj === null || sum.delivered_gj === null || PARTS.some((name) => sum[name] === null)) {
      return h("div", { class: "hl-empty" }, `? ${t("heat unknown: {reason}", { reason: t(lacking?.reason ?? "no reason given") })} (${when})`);
    }
    const wide = Math.sqrt(rows.reduce((n, r) => n + (r.residual_u_gj ?? 0) ** 2, 0));
    return [h("div", { class: "hl-fall-when hl-muted" }, when), ...this.bars(sum, wide)];
  }

  bars(sum, wide) {
    const { t } = this.context;
    const label = Object.fromEntries(this.panel.series.map((x) => [x.field, x.label]));
    let level = sum.supplied_gj;
    const steps = PARTS.map((name) => ({ name, from: level, to: (level -= sum[name]) }));
    const levels = [sum.supplied_gj, sum.delivered_gj, ...steps.flatMap((x) => [x.from, x.to]), level + wide, level - wide];
    const high = Math.max(...levels, 0);
    const near = Math.min(...levels);
    const base = near > high / 2 ? near - 0.4 * (high - near) : Math.min(0, near);
    const place = (value) => (100 * (value - base)) / (high - base || 1);
    const missing = Math.abs(sum.residual_gj) > wide;
    const row = (name, from, to, whisker) => {
      const [left, right] = [Math.max(0, place(Math.min(from, to))), place(Math.max(from, to))];
      return h("div", { class: "hl-fall-row" }, h("span", {}, label[name]),
        h("span", { class: "hl-fall-track" },
          h("i", { class: `hl-fall-bar hl-fall-${name}`, style: { left: `${left}%`, width: `${Math.max(0.4, right - left)}%` } }),
          whisker && h("i", { class: "hl-fall-u", style: { left: `${place(to - wide)}%`, width: `${Math.max(0.4, place(to + wide) - place(to - wide))}%` } })),
        h("span", { class: "hl-right" }, whisker && missing ? [mark(true, 2), " "] : "", h("b", {}, this.number(sum[name])), whisker ? ` ± ${this.number(wide)}` : "", " GJ"));
    };
    return [row("supplied_gj", base, sum.supplied_gj), ...steps.map((x) => row(x.name, x.from, x.to, x.name === "residual_gj")),
      row("delivered_gj", base, sum.delivered_gj),
      base > 0 ? h("div", { class: "hl-muted" }, t("bars begin at {value} GJ", { value: this.number(base) })) : null];
  }

  number(value) {
    return this.context.f.number(value, "MW");
  }

  table() {
    return [["network", "window_start", ...this.panel.series.map((x) => `${x.label} GJ`), "± (k = 2) GJ"],
      ...(this.rows ?? []).map((r) => [r.key, new Date(r.window_start).toISOString(), ...this.panel.series.map((x) => r[x.field]), r.residual_u_gj])];
  }
}

export class NetworkDrawing {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.body = h("div", { class: "hl-net", tabindex: 0, "data-marks": "" });
    this.observer = new ResizeObserver(() => this.update());
    this.observer.observe(this.body);
    networks(context).then((list) => { this.list = list; this.update(); });
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null || !this.list) return;
    const drawn = this.list.filter((n) => !n.missing);
    const size = [this.body.clientWidth, this.body.clientHeight];
    const stations = [...live.believed("stations").values()];
    const shown = stations.map((r) => [r.key, Math.round(r.flow_m3_h * 2), Math.round(r.return_c * 5), live.state(this.context.site.byId.get(r.key) ?? {}, r.window_start).state]);
    put(this.body, JSON.stringify([size, shown]), () => {
      if (!drawn.length) return h("div", { class: "hl-empty" }, t(this.list[0]?.missing ?? "no network registered"));
      return drawn.map((network) => this.one(network, size[0] / drawn.length, Math.max(200, size[1])));
    });
  }

  one(network, width, height) {
    const { t } = this.context;
    const places = Object.values(network.nodes);
    const span = (axis) => Math.max(...places.map((p) => p[axis])) - Math.min(...places.map((p) => p[axis])) || 1;
    const [fx, fy] = [(width - 2 * EDGE - 90) / span("x"), (height - 2 * EDGE - FOOT) / span("y")];
    const [sx, sy] = network.placed === "map" ? [Math.min(fx, fy * 2.2), Math.min(fy, fx * 2.2)] : [fx, fy];
    const at = (node) => [EDGE + network.nodes[node].x * sx, EDGE + network.nodes[node].y * sy];
    const flows = network.pipes.map((pipe) => this.flow(network, pipe));
    const most = Math.max(1, ...flows.map((x) => x.sum));
    const departed = departures(this.context);
    const found = Object.entries(network.nodes).flatMap(([node, place]) => place.devices.map((id) => this.look(id, at(node), departed.get(id)?.by ?? null))).filter(Boolean);
    return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `${t("network drawing")}: ${network.name}` },
      network.pipes.map((pipe, i) => this.pipe(pipe, flows[i], most, at)),
      this.devices(found, { width, height: height - FOOT }), this.foot(network, found, height));
  }

  // Marks of all devices, and labels of those that call for one and have room for it.
  devices(found, size) {
    const loud = found.filter((x) => x.label).sort((a, b) => a.rank - b.rank);
    const spots = placed(loud.map((x) => ({ at: x.at, text: x.label, needed: x.plant })), found.map((x) => around(x.at, 8)), size);
    loud.forEach((x, i) => { x.spot = spots[i]; });
    return found.map((x) => this.device(x));
  }

  // How many are not heard of, which the drawing may have no room to say beside each.
  foot(network, found, height) {
    const { t } = this.context;
    const count = (state) => found.filter((x) => x.state === state).length;
    const says = OFF.filter(count).map((state) => `✕ ${t(state)} ${count(state)}`);
    if (network.apart.length) says.push(t("{n} substations without a pipe", { n: network.apart.length }));
    return says.length > 0 && s("text", { x: 8, y: height - 6, class: "hl-net-text" }, says.join(" · "));
  }

  flow(network, pipe) {
    const rows = this.context.live.believed("stations");
    const values = (pipe.behind ? network.substations.slice(...pipe.behind) : []).map((id) => rows.get(id)?.flow_m3_h);
    return { sum: values.filter(known).reduce((n, v) => n + v, 0), n: values.filter(known).length, of: pipe.behind ? values.length : null };
  }

  pipe(pipe, flow, most, at) {
    const { f, t } = this.context;
    const [[x1, y1], [x2, y2]] = [at(pipe.from), at(pipe.to)];
    const whole = flow.of !== null && flow.n === flow.of;
    const says = flow.of === null ? t("flow unknown: part of a loop") : `${f.number(flow.sum, "m³/h")} m³/h${whole ? "" : ` (${t("{n} of {of} known", { n: flow.n, of: flow.of })})`}`;
    return s("line", { x1, y1, x2, y2, class: `hl-net-pipe${whole ? "" : " hl-net-part"}`, "stroke-width": (1.5 + (12 * flow.sum) / most).toFixed(1) },
      s("title", {}, `${pipe.pipe}: ${says}, ${f.count(pipe.length_m)} m`));
  }

  look(id, at, by) {
    const { f, t, live, site } = this.context;
    const device = site.byId.get(id);
    if (!device || !this.context.metered(device)) return null;
    const plant = device.class === "plant";
    const row = live.believed(plant ? "plants" : "stations").get(id);
    const { state } = live.state(device, row?.window_start);
    const warm = !plant && by >= WARM_K;
    const words = state !== "fresh" ? t(state) : !known(row?.return_c) ? t("unknown") : plant ? `${f.number(row.return_c, "°C")} °C` : signed(by, f);
    const label = plant ? device.name : warm ? `3 ${words}` : state !== "fresh" ? words : "";
    return { at, device, row, plant, state, warm, words, label, rank: plant ? 0 : warm ? 1 : 2 + OFF.indexOf(state) };
  }

  device({ at: [x, y], device, row, plant, state, warm, words, label, spot }) {
    const { f, url } = this.context;
    const shape = plant ? s("rect", { x: x - 9, y: y - 9, width: 18, height: 18, class: "hl-net-plant" })
      : state !== "fresh" ? s("path", { d: `M${x - 6} ${y - 6}L${x + 6} ${y + 6}M${x - 6} ${y + 6}L${x + 6} ${y - 6}`, class: `hl-net-${state}` })
        : warm ? s("path", { d: `M${x} ${y - 9}L${x + 9} ${y + 7}L${x - 9} ${y + 7}Z`, class: "hl-net-warm" })
          : s("circle", { cx: x, cy: y, r: 6, class: "hl-net-station" });
    return s("a", { href: url(`/substation/${encodeURIComponent(device.id)}`), "aria-label": `${device.name}: ${words}` },
      s("title", {}, `${device.name}: ${words}, ${f.number(row?.flow_m3_h, "m³/h")} m³/h`), shape,
      spot && s("text", { x: spot[0], y: spot[1], class: "hl-net-text" }, label));
  }

  table() {
    const rows = this.context.live.rows("stations");
    return [["pipe", "from", "to", "length_m", "flow_m3_h", "known", "of"],
      ...(this.list ?? []).flatMap((n) => n.pipes.map((p) => { const x = this.flow(n, p); return [p.pipe, p.from, p.to, p.length_m, x.of === null ? null : x.sum, x.n, x.of]; })),
      [], ["device", "flow_m3_h", "return_c", "supply_kpa", "return_kpa", "quality"], ...[...rows.values()].map((r) => [r.key, r.flow_m3_h, r.return_c, r.supply_kpa, r.return_kpa, r.quality])];
  }

  stop() {
    this.observer.disconnect();
  }
}

export class Profile extends Chart {
  constructor(panel, context) {
    super(context);
    this.panel = panel;
    this.body = this.element;
    // A slow line may bring the pipes before the library that draws.
    Promise.all([networks(context), loaded]).then(([list]) => { this.list = list; this.update(); },
      (error) => this.empty(context.t("cannot be read: {why}", { why: error.message })));
  }

  points() {
    const { live, site } = this.context;
    const found = [];
    this.stale = 0;
    for (const network of this.list ?? []) {
      for (const node of Object.values(network.nodes)) {
        for (const id of node.devices) {
          const row = live.believed("stations").get(id) ?? live.believed("plants").get(id);
          const device = site.byId.get(id);
          if (!row || !device) continue;
          const { state } = live.state(device, row.window_start);
          if (state !== "fresh") this.stale += 1;
          else found.push({ id, name: device.name, plant: device.class === "plant", km: node.distance_m / 1000, supply_kpa: row.supply_kpa, return_kpa: row.return_kpa });
        }
      }
    }
    return found.sort((a, b) => a.km - b.km);
  }

  update() {
    const { live, t, f } = this.context;
    if (live.now === null || !this.list) return;
    const points = this.points();
    const drawn = JSON.stringify([points.map((p) => [p.id, Math.round(p.supply_kpa), Math.round(p.return_kpa)]), this.stale > 0, this.element.clientWidth]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    if (!points.some((p) => known(p.supply_kpa) || known(p.return_kpa))) {
      this.empty(t(this.list[0]?.missing || (this.stale ? "all readings are stale" : "no data yet")));
      return;
    }
    this.ready();
    this.set({
      grid: { left: 8, right: 44, top: 30, bottom: 4, containLabel: true },
      legend: { top: 0, right: 4, itemWidth: 14, itemHeight: 10, textStyle: { color: cssColour("ink"), fontSize: 14 } },
      tooltip: this.tooltip((p) => h("div", { class: "hl-hint" }, h("div", {}, p.data.name),
        h("div", {}, `${p.seriesName} `, h("b", {}, `${f.number(p.data.value[1], "kPa")} kPa`), ` · ${f.number(p.data.value[0])} km`))),
      xAxis: this.axis({ type: "value", name: "km", min: 0, nameGap: 6 }),
      yAxis: this.axis({ type: "value", name: "kPa", scale: true, splitNumber: 4, nameGap: 10, nameTextStyle: { color: cssColour("muted"), fontSize: 14, align: "left" } }),
      series: this.panel.series.map((x, i) => ({
        type: "scatter", name: x.label, color: cssColour(`line-${x.colour}`), symbol: i ? "emptyCircle" : "triangle",
        data: points.filter((p) => known(p[x.field])).map((p) => ({ name: p.name, value: [p.km, p[x.field]], symbolSize: p.plant ? 14 : 8 })),
      })),
    });
  }

  table() {
    return [["device", "name", "km", "supply_kpa", "return_kpa"], ...this.points().map((p) => [p.id, p.name, p.km, p.supply_kpa, p.return_kpa])];
  }
}
