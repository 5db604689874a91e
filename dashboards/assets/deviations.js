// How far each substation's return lies from the middle of its network: drawing, strip and Overview say the same.
import { h, put } from "./dom.js";
import { mark } from "./tiles.js";

export const WARM_K = 3;
const SHAPES = { silent: "✕", stale: "▨", never: "?" };
const ORDER = ["silent", "stale", "never", "fresh"];

// Gives each {device, return_c} the `middle` of its network [°C], and `by` how much it is over that [K].
export function fromTheMiddle(told) {
  const networkOf = ({ device }) => device.network ?? `unit ${device.unit}`; // what no network has is alone with its unit's
  for (const network of new Set(told.map(networkOf))) {
    const mine = told.filter((x) => networkOf(x) === network);
    const middle = mine.map((x) => x.return_c).sort((a, b) => a - b)[Math.floor(mine.length / 2)];
    for (const x of mine) Object.assign(x, { middle, by: x.return_c - middle });
  }
  return told;
}

// Of each substation of the page {device, row, state, by}: `by` [K] is null where it is not known now.
export function departures({ live, site }) {
  const rows = live.believed("stations");
  const found = site.devices.filter((d) => d.class === "substation").map((device) => {
    const row = rows.get(device.id);
    return { device, row, return_c: row?.return_c, state: live.state(device, row?.window_start).state, by: null };
  });
  fromTheMiddle(found.filter((x) => x.state === "fresh" && Number.isFinite(x.return_c)));
  return new Map(found.map((x) => [x.device.id, x]));
}

export const signed = (by, f) => `${by < 0 ? "−" : "+"}${f.number(Math.abs(by), "°C")} K`;

export class Deviations {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-devs", tabindex: 0, "data-marks": "" });
  }

  // The warmest first; those of which nothing is known now stand together at the end.
  sorted() {
    const name = (x) => x.device.id;
    return [...departures(this.context).values()].sort((a, b) => (b.by ?? -Infinity) - (a.by ?? -Infinity)
      || ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || name(a).localeCompare(name(b)));
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null) return;
    const all = this.sorted();
    put(this.body, JSON.stringify(all.map((x) => [x.device.id, x.state, x.by === null ? null : Math.round(x.by * 10)])),
      () => all.length ? this.drawing(all) : h("div", { class: "hl-empty" }, t("no data yet")));
  }

  drawing(all) {
    const { t, f } = this.context;
    const most = Math.max(WARM_K, ...all.map((x) => Math.abs(x.by ?? 0)));
    const warm = all.filter((x) => x.by >= WARM_K);
    const off = ["silent", "stale", "never"].map((state) => [state, all.filter((x) => x.state === state).length]).filter(([, n]) => n);
    const says = [warm.length > 0 && [mark(true, 3), ` ${warm.length}`], ...off.map(([state, n]) => `${SHAPES[state]} ${t(state)} ${n}`)].filter(Boolean);
    return [h("div", { class: "hl-devs-scale" }, h("span", {}, signed(most, f)), h("span", {}, "0 K"), h("span", {}, signed(-most, f))),
      h("div", { class: "hl-devs-bars", style: { "--warm": `${50 - (50 * WARM_K) / most}%` } }, all.map((x) => this.bar(x, most))),
      says.length > 0 && h("div", { class: "hl-devs-says" }, says.map((x) => h("div", {}, x)))];
  }

  bar({ device, state, by }, most) {
    const { t, f, url } = this.context;
    const words = `${device.name}: ${by === null ? t(state === "fresh" ? "unknown" : state) : signed(by, f)}`;
    const warm = by >= WARM_K;
    const long = by === null ? 0 : (50 * Math.abs(by)) / most;
    return h("a", { class: `hl-dev hl-dev-${by === null ? state : warm ? "warm" : "usual"}`, href: url(`/substation/${encodeURIComponent(device.id)}`), title: words, "aria-label": words },
      by === null ? h("span", {}, SHAPES[state] ?? "?")
        : h("i", { style: { top: `${by < 0 ? 50 : 50 - long}%`, height: `${Math.max(1, long)}%` } }, warm ? "3" : ""));
  }

  table() {
    return [["device", "name", "return_c", "above_median_k", "state"],
      ...this.sorted().map((x) => [x.device.id, x.device.name, x.row?.return_c ?? null, x.by, x.state])];
  }
}
