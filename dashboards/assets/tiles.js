// Tiles: one number, where it usually lies, and its last 24 hours.
import { h, put } from "./dom.js";
import { quantiles, sparkline } from "./charts.js";
import { flagged } from "./live.js";

const WINDOW_MS = 900000;
const DAY_MS = 86400000;
const OF_A_DAY = new Set(["a_day", "worst_10_min", "flood_pct", "chatter"]); // reckoned from less while a desk is young

export class Tile {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.value = h("div", { class: "hl-value" });
    this.detail = h("div", { class: "hl-detail" });
    this.trend = h("div", { class: "hl-trend" });
    this.body = h("div", { class: "hl-tile" }, this.value, this.detail, this.trend);
  }

  history(answer) {
    this.past = answer;
    this.update();
  }

  update() {
    const { context, panel } = this;
    if (context.live.now === null) return;
    const shown = panel.id === "reporting" ? this.reporting() : this.measured();
    const key = JSON.stringify([shown.key, this.past?.to]);
    const classes = ["hl-value", shown.stale && "hl-stale", shown.bad && "hl-bad", shown.none && "hl-none"];
    this.value.className = classes.filter(Boolean).join(" ");
    put(this.value, JSON.stringify(shown.key), () => shown.value);
    put(this.detail, shown.detail ?? "", () => document.createTextNode(shown.detail ?? ""));
    put(this.trend, key, () => this.drawing(shown));
  }

  drawing(shown) {
    const lines = (this.past?.series ?? []).filter((l) => this.shown.includes(this.panel.series[l.index]));
    return lines.slice(0, 2).filter((l) => l.v.length > 1).map((line) => {
      const series = this.panel.series[line.index];
      return sparkline(line, series.colour, this.band(series, line), shown.stale);
    });
  }

  // All series, or the first that has a value now or a reading that cannot be so.
  get shown() {
    const { series, first_known } = this.panel;
    if (!first_known) return series;
    const found = series.find((x, i) => { const { value, implausible } = this.newest(x, i); return value !== null || implausible; });
    return [found ?? series[0]];
  }

  band(series, line) {
    if (!series.band) return null;
    return series.band.usual ? quantiles(line.v, 0.05, 0.95) : [series.band.low, series.band.high];
  }

  states() {
    const { live, site } = this.context;
    const seen = live.rows("seen");
    return site.devices.map((d) => live.state(d, seen.get(d.id)?.window_start).state);
  }

  // Of a tile without a history: how many devices are in which state.
  table() {
    if (this.panel.id !== "reporting") return null;
    const names = ["fresh", "stale", "silent", "never"];
    const states = this.states();
    return [[...names, "registered"], [...names.map((x) => states.filter((y) => y === x).length), states.length]];
  }

  reporting() {
    const { t } = this.context;
    const states = this.states();
    const fresh = states.filter((x) => x === "fresh").length;
    const count = (x) => states.filter((y) => y === x).length;
    const bad = fresh < states.length;
    const words = ["silent", "stale", "never"].filter(count).map((x) => `${count(x)} ${t(x)}`);
    return {
      key: [fresh, states.length], bad,
      value: [h("b", {}, String(fresh)), h("small", {}, ` / ${states.length}`), mark(bad, 2)],
      detail: words.join(" · ") || this.panel.note,
    };
  }

  measured() {
    const { t } = this.context;
    const values = this.shown.map((series) => this.newest(series, this.panel.series.indexOf(series)));
    const known = values.filter((v) => v.value !== null);
    if (!known.length && values.some((v) => v.implausible)) return { key: "implausible", none: true, value: [h("span", {}, t("unknown"))], detail: t("out_of_range") };
    if (!known.length) return this.nothing();
    const { f } = this.context;
    const bad = known.some((v) => v.outside);
    const stale = known.find((v) => v.stale);
    const texts = values.map((v, i) => f.number(v.value, this.shown[i].unit));
    const unit = this.panel.series[0].unit;
    const parts = [];
    if (stale) parts.push(t("{age} old", { age: f.age(stale.age, t) }));
    if (values.some((v) => v.implausible)) parts.push(t("out_of_range"));
    for (const note of new Set(known.map((v) => v.note).filter(Boolean))) parts.push(note);
    const asOf = Math.min(...known.map((v) => v.asOf ?? Infinity));
    if (Number.isFinite(asOf)) parts.push(t("as of {time}", { time: this.context.live.now - asOf < DAY_MS ? f.short(asOf) : f.moment(asOf) }));
    if ((!parts.length || (parts.length === 1 && Number.isFinite(asOf))) && this.panel.note) parts.push(this.panel.note);
    return {
      key: [texts, bad, stale?.age], bad, stale: Boolean(stale),
      value: [h("b", {}, texts.join(" / ")), h("small", {}, unit ? ` ${unit}` : ""), mark(bad, this.panel.series[0].band?.priority ?? 3)],
      detail: parts.join(" · "),
    };
  }

  nothing() {
    const { live, t } = this.context;
    const known = this.past?.exists || this.panel.feeds.some((feed) => live.rows(feed).size);
    const rows = this.panel.feeds.flatMap((feed) => [...live.rows(feed).values()]);
    const lacks = [...new Set(rows.flatMap((row) => (row.missing ?? row.reason ?? "").split(";").filter(Boolean)))];
    const text = this.panel.absent && !known ? this.panel.absent : lacks.length ? t("unknown") : t("no data yet");
    return { key: text, none: true, value: [h("span", {}, text)], detail: lacks.map((code) => t(code)).join(", ") };
  }

  // The newest value of a series: of the newest complete window for sums of windows, else of the newest rows.
  newest(series, index) {
    if (series.measurement === "device_heat") return this.newestWindow(index);
    const { live, site } = this.context;
    const rows = this.panel.feeds.flatMap((feed) => [...live.rows(feed).values()]);
    const told_of = rows.filter((r) => typeof r[series.field] === "number");
    const sound = told_of.filter((r) => !flagged(r, series));
    const mine = series.across === "mean" ? fresh(sound, live, site) : sound;
    if (!mine.length) return { value: null, implausible: told_of.length > 0 };
    const value = put_together(mine.map((r) => r[series.field]), series.across) * series.scale;
    const band = series.band;
    const outside = Boolean(band && !band.usual &&
      ((band.low !== null && value < band.low) || (band.high !== null && value > band.high)));
    const oldest = series.measurement === "reading" ? worst(mine, live, site) : null;
    const told = mine.map((r) => r.as_of).filter((at) => typeof at === "number");
    const heard = OF_A_DAY.has(series.field) ? Math.min(...mine.map((r) => r.coverage ?? 1)) : 1;
    const { f, t } = this.context;
    const note = [
      heard < 1 && t("reckoned from {time}", { time: f.age(heard * DAY_MS, t) }),
      mine.length < told_of.length && t("{n} of {of}", { n: mine.length, of: told_of.length }),
    ].filter(Boolean).join(" · ");
    return { value, outside, note, implausible: sound.length < told_of.length, stale: oldest !== null, age: oldest, asOf: told.length ? Math.min(...told) : null };
  }

  newestWindow(index) {
    const { live, f, t } = this.context;
    const line = this.past?.series.find((l) => l.index === index);
    const at = line ? line.t.findLastIndex((x, i) => x + WINDOW_MS <= live.now && line.v[i] !== null) : -1;
    if (at < 0) return { value: null };
    const notes = [`${f.short(line.t[at])}–${f.short(line.t[at] + WINDOW_MS)}`];
    if (line.f[at] === 1) notes.push(t("provisional"));
    if (line.of && line.n[at] < line.of[at]) notes.push(t("{n} of {of}", { n: line.n[at], of: line.of[at] }));
    const age = live.now - line.t[at] - WINDOW_MS;
    return { value: line.v[at], note: notes.join(" · "), stale: age > 3 * WINDOW_MS, age };
  }
}

function put_together(values, across) {
  if (across === "min") return Math.min(...values);
  if (across === "max") return Math.max(...values);
  const sum = values.reduce((total, v) => total + v, 0);
  return across === "mean" ? sum / values.length : sum;
}

// A mean is of those that speak now: of one that fell silent only where nobody else speaks.
function fresh(rows, live, site) {
  const now = rows.filter((r) => !site.byId.get(r.key) || live.state(site.byId.get(r.key), r.window_start).state === "fresh");
  return now.length ? now : rows;
}

// Age of the oldest row that is stale; null when all are fresh.
function worst(rows, live, site) {
  const ages = rows
    .map((r) => [site.byId.get(r.key), r.window_start])
    .filter(([device, at]) => device && live.state(device, at).state !== "fresh")
    .map(([, at]) => live.now - at);
  return ages.length ? Math.max(...ages) : null;
}

// What is abnormal has a shape and its priority's digit besides its colour.
export function mark(bad, priority, shape = "◆") {
  return bad ? h("span", { class: `hl-mark hl-p${priority}`, role: "img", "aria-label": `P${priority}` }, `${shape}${priority}`) : null;
}
