// One substation: its process drawing, its indicators within their bands, its meter.
import { h, put, s } from "./dom.js";
import { flagged, IMPLAUSIBLE } from "./live.js";
import { mark } from "./tiles.js";
import { plausible, quantiles } from "./charts.js";

const NOT_VALUES = new Set(["key", "unit", "window_start", "window_ms", "quality", "extra"]);

class OfDevice {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
  }

  get row() {
    return this.context.live.rows("device").get(this.context.config.scope.device);
  }

  get device() {
    return this.context.site.byId.get(this.context.config.scope.device);
  }

  // Whether the newest value cannot be so, or is computed of one that cannot: the pipeline has flagged it.
  flagged(series) {
    return flagged(this.row, series);
  }

  get stale() {
    return this.context.live.state(this.device, this.row?.window_start).state !== "fresh";
  }
}

export class Process extends OfDevice {
  constructor(panel, context) {
    super(panel, context);
    this.body = h("div", { class: "hl-process", tabindex: 0 });
    this.narrow = window.matchMedia("(max-width: 900px)"); // as the style sheet's phone
  }

  update() {
    const { live, f, t } = this.context;
    if (live.now === null) return;
    const row = this.row ?? {};
    const unit = Object.fromEntries(this.panel.series.map((x) => [x.field, x.unit]));
    const flagged = new Set(this.panel.series.filter((x) => this.flagged(x)).map((x) => x.field));
    const value = (field) => (typeof row[field] === "number" ? `${flagged.has(field) ? "✕3 " : ""}${f.number(row[field], unit[field])} ${unit[field]}` : "–");
    const key = JSON.stringify([this.panel.series.map((x) => row[x.field]), [...flagged], this.stale, this.narrow.matches]);
    put(this.body, key, () => this.drawing(value, t));
  }

  drawing(value, t) {
    const text = (x, y, content, classes = "", anchor = "middle") => s("text", { x, y, class: classes, "text-anchor": anchor }, content);
    const arrow = (x, y, way) => s("path", { class: "hl-arrow", d: `M${x} ${y - 7}L${x + 13 * way} ${y}L${x} ${y + 7}Z` });
    const pipe = (y, from, to, kind) => s("line", { x1: from, x2: to, y1: y, y2: y, class: `hl-pipe hl-pipe-${kind}` });
    const seen = (viewBox, name, ...parts) => s("svg", { viewBox, role: "img", "aria-label": `${t("process drawing")}: ${name}`, class: this.stale ? "hl-stale" : "" }, parts);
    const exchanger = () => [s("rect", { x: 340, y: 64, width: 80, height: 186, class: "hl-vessel" }), s("path", { d: "M340 250L420 64", class: "hl-vessel-line" })];
    const outdoor = (x, anchor) => text(x, 26, `${t("outdoor")} ${value("outdoor_c")}`, "hl-small", anchor);
    const primary = [
      pipe(92, 10, 340, "supply"), pipe(222, 10, 340, "return"), arrow(150, 92, 1), arrow(130, 222, -1),
      s("path", { d: "M262 80L262 104L298 80L298 104Z", class: "hl-vessel" }),
      s("circle", { cx: 240, cy: 222, r: 16, class: "hl-vessel" }), text(240, 228, "F", "hl-small"),
      text(10, 26, t("primary"), "hl-title", "start"),
      text(110, 74, value("supply_c"), "hl-number"), text(230, 62, value("supply_kpa"), "hl-small"),
      text(280, 128, value("valve_pct"), "hl-small"),
      text(110, 262, value("return_c"), "hl-number"), text(110, 286, value("return_kpa"), "hl-small"),
      text(240, 262, value("flow_m3_h"), "hl-number"),
      text(130, 164, value("heat_kw"), "hl-number hl-main")];
    const secondary = [
      pipe(92, 420, 750, "supply"), pipe(222, 420, 750, "return"), arrow(680, 92, 1), arrow(690, 222, -1),
      s("circle", { cx: 560, cy: 222, r: 19, class: "hl-vessel" }), s("path", { d: "M568 211L568 233L545 222Z", class: "hl-arrow" }),
      text(750, 26, t("secondary"), "hl-title", "end"),
      text(590, 74, value("secondary_supply_c"), "hl-number"), text(700, 62, value("secondary_supply_kpa"), "hl-small"),
      text(590, 164, value("secondary_flow_m3_h"), "hl-number"),
      text(640, 262, value("secondary_return_c"), "hl-number"), text(640, 286, value("secondary_return_kpa"), "hl-small"),
      text(560, 262, value("pump_hz"), "hl-small")];
    // On a phone the two sides stand below each other: a drawing beyond the frame is not looked for.
    if (this.narrow.matches) return [
      seen("0 0 430 300", t("primary"), primary, exchanger(), outdoor(425, "end")),
      seen("330 0 430 300", t("secondary"), secondary, exchanger())];
    return [seen("0 0 760 300", `${t("primary")}, ${t("secondary")}`, primary, secondary, exchanger(), outdoor(380, "middle"))];
  }
}

export class Bands extends OfDevice {
  constructor(panel, context) {
    super(panel, context);
    this.body = h("div", { class: "hl-bands" });
  }

  history(answer) {
    this.past = new Map(answer.series.map((line) => [line.index, plausible(line).filter((v) => v !== null)]));
    this.update();
  }

  update() {
    const { live } = this.context;
    if (live.now === null) return;
    const row = this.row ?? {};
    const shown = this.panel.series.map((series, i) => ({ series, value: row[series.field], flagged: this.flagged(series), band: this.band(series, i, row), seen: this.past?.get(i) ?? [] }));
    put(this.body, JSON.stringify([shown.map((x) => [x.value, x.flagged, x.band]), this.stale]), () => shown.map((x) => this.line(x)));
  }

  band(series, index, row) {
    const band = series.band;
    if (band?.around && typeof row[band.around] === "number") {
      return { limits: [row[band.around] - band.within, row[band.around] + band.within], wanted: true };
    }
    const usual = band?.usual ? quantiles(this.past?.get(index) ?? [], 0.05, 0.95) : null;
    return usual ? { limits: usual, wanted: false } : null;
  }

  line({ series, value, flagged, band, seen }) {
    const { f, t } = this.context;
    const told = typeof value === "number";
    const known = told && !flagged; // what cannot be so has no place on a scale
    const low = band?.wanted && known && value < band.limits[0];
    const high = band?.wanted && known && value > band.limits[1];
    const all = [...seen, ...(band?.limits ?? []), ...(known ? [value] : [])];
    const [from, to] = all.length ? [Math.min(...all), Math.max(...all)] : [0, 1];
    const margin = Math.max((to - from) * 0.08, 1e-6);
    const at = (v) => `${(100 * (v - from + margin)) / (to - from + 2 * margin)}%`;
    const words = band ? `${f.number(band.limits[0], series.unit)}–${f.number(band.limits[1], series.unit)}` : "";
    return h("div", { class: "hl-indicator" },
      h("span", { class: "hl-indicator-name" }, series.label),
      h("span", { class: `hl-indicator-value${this.stale && told ? " hl-stale" : ""}`, title: flagged ? t("out_of_range") : null },
        flagged ? mark(true, 3, "✕") : mark(low || high, series.band.priority, low ? "▼" : "▲"), flagged || low || high ? " " : "",
        h("b", {}, f.number(value, series.unit)), h("small", {}, ` ${series.unit}`)),
      h("span", { class: "hl-gauge", title: band ? `${t(band.wanted ? "wanted" : "usual")} ${words} ${series.unit}` : "" },
        band && h("i", { class: band.wanted ? "hl-range hl-wanted" : "hl-range", style: { left: at(band.limits[0]), right: `calc(100% - ${at(band.limits[1])})` } }),
        known && h("i", { class: low || high ? "hl-pin hl-pin-bad" : "hl-pin", style: { left: at(value) } })),
      h("span", { class: "hl-indicator-band" }, words));
  }
}

export class Health extends OfDevice {
  constructor(panel, context) {
    super(panel, context);
    this.body = h("div", { class: "hl-facts" });
  }

  // Of which value a flag is, where it is of one.
  flag(text) {
    const { t } = this.context;
    return text.startsWith(IMPLAUSIBLE) ? `${t("out_of_range")}: ${t(text.slice(IMPLAUSIBLE.length))}` : t(text);
  }

  update() {
    const { live, f, t } = this.context;
    if (live.now === null || !this.device) return;
    const row = this.row ?? {};
    const heat = [...live.rows("windows").values()]
      .filter((r) => r.window_start + r.window_ms <= live.now)
      .sort((a, b) => b.window_start - a.window_start)[0];
    const { state, age } = live.state(this.device, row.window_start);
    const device = this.device;
    const facts = [
      [t("last reading"), age === null ? t("never") : t("{age} ago", { age: f.age(age, t) }), state !== "fresh"],
      [t("interval"), device.interval_s ? `${f.count(device.interval_s)} s` : t("unknown")],
      [t("coverage, last full window"), heat ? `${f.percent(heat.coverage)} %` : t("no data yet"), heat && heat.coverage < 0.9],
      [t("quality flags"), row.quality ? String(row.quality).split(";").map((flag) => this.flag(flag)).join("; ") : t("none"), Boolean(row.quality)],
      [t("heat counter"), typeof row.energy_gj === "number" ? `${f.number(row.energy_gj, "GJ")} GJ` : t("none")],
      [t("volume counter"), typeof row.volume_m3 === "number" ? `${f.number(row.volume_m3, "m³")} m³` : t("none")],
      [t("accuracy class"), device.accuracy_class ? String(device.accuracy_class) : t("unknown")],
      [t("nominal flow qp"), device.qp_m3_h ? `${f.number(device.qp_m3_h, "m³/h")} m³/h` : t("unknown")],
      [t("flow meter on"), device.mounting ? t(`${device.mounting} pipe`) : t("unknown")],
      [t("values sent"), String(Object.keys(row).filter((x) => !NOT_VALUES.has(x)).length)],
    ];
    put(this.body, JSON.stringify(facts), () => h("dl", {}, facts.map(([name, value, bad]) => [
      h("dt", {}, name), h("dd", { class: bad ? "hl-stale" : "" }, bad ? mark(true, 3, "▲") : null, bad ? " " : "", value)])));
  }
}
