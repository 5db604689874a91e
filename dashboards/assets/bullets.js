// Bullet bars: what was reached of a whole, against where it should be by now and the least that is asked for.
import { h, put } from "./dom.js";
import { mark } from "./tiles.js";

const percent = (value) => `${Math.min(Math.max(value, 0), 100)}%`;

const dueOf = (row) => (row.planned_kg ? (100 * row.planned_to_date_kg) / row.planned_kg : null);

export class Bullets {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-bullets", tabindex: 0 });
  }

  // Those that lack most first.
  rows() {
    const rows = [...this.context.live.rows(this.panel.feeds[0]).values()].filter((r) => typeof r.rate_pct === "number");
    const lacking = (r) => (r.forecast_pct ?? r.rate_pct) - 100;
    return rows.sort((a, b) => lacking(a) - lacking(b) || a.key.localeCompare(b.key));
  }

  table() {
    return [["contract", "rate_pct", "due_pct", "forecast_pct", "shortfall_p"],
      ...this.rows().map((r) => [r.contract ?? r.key, r.rate_pct, dueOf(r), r.forecast_pct, r.shortfall_p])];
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null) return;
    const rows = this.rows();
    put(this.body, JSON.stringify(rows.map((r) => [r.key, r.rate_pct, r.forecast_pct, r.planned_to_date_kg, r.shortfall_p])), () => rows.length
      ? rows.map((r) => this.bar(r))
      : h("div", { class: "hl-empty" }, t("no data yet")));
  }

  bar(row) {
    const { t, f } = this.context;
    const [series] = this.panel.series;
    const due = dueOf(row);
    const short = row.shortfall_p > 0.2;
    const words = [t("{n} % reached", { n: f.number(row.rate_pct, "%") }), due !== null && t("{n} % due by now", { n: f.number(due, "%") }), typeof row.forecast_pct === "number" && t("{n} % expected", { n: f.number(row.forecast_pct, "%") })];
    return h("div", { class: "hl-bullet", role: "img", "aria-label": [row.key, ...words].filter(Boolean).join(", ") },
      h("span", { class: "hl-bullet-name" }, row.contract ?? row.key),
      h("div", { class: "hl-bullet-track", title: words.filter(Boolean).join("\n") },
        h("div", { class: "hl-bullet-band", style: { left: percent(series.band.low), right: 0 } }),
        due !== null && h("div", { class: "hl-bullet-due", style: { left: percent(due) } }),
        typeof row.forecast_pct === "number" && h("div", { class: "hl-bullet-expected", style: { left: percent(row.rate_pct), width: `${Math.max(0, Math.min(row.forecast_pct, 100) - row.rate_pct)}%` } }),
        h("div", { class: "hl-bullet-bar", style: { width: percent(row.rate_pct) } }),
        [80, 90].map((line) => h("div", { class: "hl-bullet-line", style: { left: percent(line) } }))),
      h("span", { class: "hl-bullet-value" }, mark(short, 2), ` ${f.number(row.rate_pct, "%")} %`));
  }
}
