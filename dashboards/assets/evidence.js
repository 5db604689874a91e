// What an anomaly or an alarm rests on, as people read it: words, numbers and times of the site.
import { h, put } from "./dom.js";
import { mark } from "./tiles.js";

const A_MOMENT = 1e12; // what is larger is a time in ms

function words(value, context) {
  const { f, t } = context;
  if (typeof value === "number") return Number.isInteger(value) && value > A_MOMENT ? f.moment(value) : String(Number(value.toPrecision(5)));
  if (Array.isArray(value)) return value.map((x) => words(x, context)).join("; ");
  if (value && typeof value === "object") return pairs(value, context).map(([k, v]) => `${k} ${v}`).join(", ");
  return t(String(value));
}

// Pairs of a name and what it is; numbers that a rule compared lie one level deeper, and are told like the rest.
export function pairs(evidence, context) {
  const { numbers, ...rest } = evidence;
  return Object.entries({ ...rest, ...numbers })
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => [context.t(name), words(value, context)]);
}

export const told = (row, context) => pairs(JSON.parse(row.evidence || "{}"), context);

// Open alarms of the page's one device, each with its evidence; its name leads to what can be done about it.
export class Verdicts {
  constructor(panel, context) {
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-verdicts", tabindex: 0 });
  }

  rows() {
    const { live, config } = this.context;
    return [...live.rows("alarms").values()].filter((row) => row.subject === config.scope.device)
      .sort((a, b) => a.priority - b.priority || b.since - a.since || String(a.key).localeCompare(String(b.key)));
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null) return;
    const rows = this.rows();
    put(this.body, JSON.stringify([rows, Math.floor(live.now / 60000)]), () => (rows.length
      ? rows.map((row) => this.verdict(row)) : h("div", { class: "hl-empty" }, t("no open alarms"))));
  }

  verdict(row) {
    const { live, f, t, url } = this.context;
    const since = row.raised ?? row.since;
    const asks = row.state === "raised" && !row.suppressed && !row.shelved_until;
    return h("article", { class: "hl-verdict" },
      h("p", {}, mark(asks, row.priority), " ", h("a", { href: url("/alarms", { alarm: row.key }) }, t(row.code)), " ",
        h("span", { class: "hl-muted" }, `${t(row.state)} · ${f.age(Math.max(0, live.now - since), t)}`)),
      h("dl", { class: "hl-evidence" }, told(row, this.context).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  }

  table() {
    const { t } = this.context;
    const heads = ["priority", "what", "state", "since", "evidence"].map((x) => t(x));
    return [heads, ...this.rows().map((row) => [row.priority, row.code, row.state, new Date(row.raised ?? row.since).toISOString(), row.evidence])];
  }
}
