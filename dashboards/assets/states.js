// Which devices report, and how completely: the matrix of states and the map of coverage.
import { h, put } from "./dom.js";
import { mark } from "./tiles.js";

const STATES = ["fresh", "stale", "silent", "never"];
const SHAPES = { fresh: "", stale: "", silent: "✕", never: "?" };
const MOST_CELLS = 400;

export class Matrix {
  constructor(panel, context) {
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-matrix", tabindex: 0 });
  }

  update() {
    const { live, site } = this.context;
    if (live.now === null) return;
    const seen = live.rows("seen");
    const units = new Map();
    for (const device of site.devices) {
      const state = live.state(device, seen.get(device.id)?.window_start).state;
      const name = `${device.region} / ${device.unit}`;
      if (!units.has(name)) units.set(name, []);
      units.get(name).push({ device, state });
    }
    const key = JSON.stringify([...units].map(([name, list]) => [name, list.map((x) => x.state[0] + x.state[1]).join("")]));
    put(this.body, key, () => [this.counts(units), ...this.cells(units)]);
  }

  counts(units) {
    const { t, config } = this.context;
    const row = ([name, list]) => h("tr", {}, h("th", { scope: "row" }, config.names[name] ?? name), STATES.map((state) => {
      const n = list.filter((x) => x.state === state).length;
      const bad = n > 0 && (state === "silent" || state === "stale");
      return h("td", { class: "hl-cell hl-right" }, bad ? mark(true, ...(state === "silent" ? [2, "✕"] : [3, "▨"])) : null, bad ? " × " : "",
        h("span", { class: n ? "" : "hl-muted" }, String(n)));
    }));
    return h("table", { class: "hl-table hl-plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("region / unit")), STATES.map((x) => h("th", { scope: "col", class: "hl-right" }, t(x))))),
      h("tbody", {}, [...units].map(row)));
  }

  cells(units) {
    const { t } = this.context;
    const total = [...units.values()].reduce((n, list) => n + list.length, 0);
    if (total > MOST_CELLS) return [];
    const kinds = new Map();
    for (const list of units.values()) for (const x of list) kinds.set(x.device.class, [...(kinds.get(x.device.class) ?? []), x]);
    return [...kinds].map(([kind, list]) => h("div", { class: "hl-kind" }, h("span", { class: "hl-kind-name" }, `${t(kind)} ${list.length}`),
      h("div", { class: "hl-cells" }, list.map(({ device, state }) => h(this.context.metered(device) ? "a" : "span", {
        class: `hl-square hl-is-${state}`, role: this.context.metered(device) ? null : "img",
        href: this.context.metered(device) && this.context.url(`/substation/${encodeURIComponent(device.id)}`), title: `${device.name}: ${t(state)}`, "aria-label": `${device.name}: ${t(state)}`,
      }, SHAPES[state])))));
  }
}

export class Coverage {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.body = h("div", { class: "hl-scroll", tabindex: 0 });
  }

  history(answer) {
    const { f, t, site } = this.context;
    if (!answer.series.length) {
      this.body.replaceChildren(h("div", { class: "hl-empty" }, t("no data in this range")));
      return;
    }
    const hour = 3600000;
    const last = Math.floor((answer.to - 1) / hour) * hour;
    const hours = Array.from({ length: Math.min(24, Math.ceil((answer.to - answer.from) / hour)) }, (_, i) => last - i * hour).reverse();
    const head = h("div", { class: "hl-heat-row" }, h("span"), hours.map((x, i) => h("span", { class: "hl-heat-hour" }, i % 4 !== 1 ? "" : f.short(x))));
    const rows = answer.series.map((line) => {
      const values = new Map(line.t.map((x, i) => [x, line.v[i]]));
      const device = site.byId.get(line.key);
      return h("div", { class: "hl-heat-row" }, h("span", { class: "hl-heat-name", title: `${device?.name ?? ""} ${line.key}`.trim() }, device?.name ?? line.key),
        hours.map((x) => this.cell(device?.name ?? line.key, x, values.get(x))));
    });
    this.body.replaceChildren(h("div", { class: "hl-heat" }, head, rows));
    // On a narrow screen the newest hours are what counts; the names stay in place.
    this.body.scrollLeft = this.body.scrollWidth;
  }

  cell(name, hour, value) {
    const { f, t } = this.context;
    const known = typeof value === "number";
    const level = !known ? "none" : value >= 99 ? "full" : value >= 90 ? "most" : value > 0 ? "part" : "zero";
    const text = known ? `${f.number(value, "%")} %` : t("no data");
    return h("i", { class: `hl-heat-cell hl-heat-${level}`, title: `${name}, ${f.moment(hour)}: ${text}` });
  }
}
