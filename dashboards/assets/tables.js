// Tables and lists: ledgers, windows, dead letters, what needs attention, components.
import { h, put, setText } from "./dom.js";
import { nameOf, sentence, subject, told } from "./evidence.js";
import { keepFocus } from "./focus.js";
import { says } from "./format.js";
import { mark } from "./tiles.js";

const NAME_LENGTH = 16;
const NEVER_LATE = { stale_ms: Infinity, silent_ms: Infinity }; // an office speaks when a person does
const HOUR_MS = 3600000;
const CHANGES_SHOWN = 6; // of a contract's day there are twenty: all of them are in the hint and in the file
const NORMAL = new Set(["ok", "running", "ready", "connected", "up"]);

export class Table {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.lines = h("tbody");
    this.empty = h("div", { class: "hl-empty", hidden: true });
    const heads = panel.columns.map((c) => h("th", { scope: "col", class: numeric(c) ? "hl-right" : "" },
      c.label, unitOf(c) && h("small", {}, ` ${unitOf(c)}`)));
    this.body = h("div", { class: "hl-scroll", tabindex: 0 },
      h("table", { class: "hl-table" }, h("thead", {}, h("tr", {}, heads)), this.lines), this.empty);
    this.rows = new Map();
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null) return;
    const rows = this.ordered();
    keepFocus(this.lines, () => this.fill(rows));
    this.empty.hidden = rows.length > 0;
    if (!rows.length) setText(this.empty, this.nothing());
  }

  // Rows that are there stay; one that comes to another place loses the keyboard on its way.
  fill(rows) {
    const names = new Set(rows.map(([name]) => name));
    for (const [name, line] of this.rows) if (!names.has(name)) { line.remove(); this.rows.delete(name); }
    rows.forEach(([name, row], place) => {
      let line = this.rows.get(name);
      if (!line) this.rows.set(name, (line = h("tr", {}, this.panel.columns.map((c) => h("td", { "data-label": [c.label, unitOf(c)].join(" ").trim() })))));
      this.panel.columns.forEach((column, i) => this.cell(line.children[i], column, row));
      if (this.lines.children[place] !== line) this.lines.insertBefore(line, this.lines.children[place] ?? null);
    });
  }

  // Rows that are there for what is wrong: none of them is good news; of others it is said why there are none.
  nothing() {
    const { t, live } = this.context;
    const { codes, feeds, absent } = this.panel;
    const watched = watchedMs(live) + HOUR_MS > live.now;
    if (feeds[0] === "actors" && !watched) return t("not available yet");
    const ended = this.panel.states.includes("active") ? this.ended() : 0;
    if (ended) return t("none is open now; ended in this range: {n}", { n: ended });
    return NOTHING[feeds[0]] ? t(NOTHING[feeds[0]]) : codes.length ? t("nothing of that kind was found") : absent || t("no data yet");
  }

  // How many were open within the page's range and are not any more: who looks an hour later learns that there were any.
  ended() {
    const { live, config } = this.context;
    const { codes, states } = this.panel;
    const to = config.range.to ?? live.now;
    const from = config.range.from ?? to - config.hours * HOUR_MS;
    return [...live.rows(this.panel.feeds[0]).values()].filter((row) => codes.includes(row.code) && !states.includes(row.state)
      && row.until > from && row.window_start < to).length;
  }

  ordered() {
    const { live, site } = this.context;
    const { codes, states } = this.panel;
    const rows = [...live.rows(this.panel.feeds[0])].filter(([, row]) =>
      (!codes.length || codes.includes(row.code)) && (!states.length || states.includes(row.state)));
    if (this.panel.feeds[0] === "actors") return ranked(rows, live);
    if (this.panel.feeds[0] === "forecasts") return toCome(rows, live.now);
    if (this.panel.id !== "ledger") return rows.sort(([, a], [, b]) => (b.restated_ms ?? b.window_start) - (a.restated_ms ?? a.window_start));
    const bad = (r) => [r.unaccounted ?? 0, r.dead_lettered ?? 0, r.waiting ?? 0];
    const seen = live.rows("seen");
    return rows
      .map(([name, row]) => [name, { ...row, seen: seen.get(row.key)?.window_start, device: site.byId.get(row.key) }])
      .sort(([, a], [, b]) => {
        const [x, y] = [bad(a), bad(b)];
        const first = x.findIndex((v, i) => v !== y[i]);
        return first >= 0 ? y[first] - x[first] : String(a.key).localeCompare(String(b.key));
      });
  }

  // An unknown says unknown and why: the first of a row that has that reason in words, the others in their hint.
  unknown({ field }, row) {
    if (valueOf(row, field) !== undefined) return null;
    const fits = (x) => x.fields.includes(field) && (!x.zero || row[x.zero] === 0);
    const found = this.panel.unknown.find(fits);
    if (!found) return null;
    const first = this.panel.columns.find((c) => found.fields.includes(c.field) && valueOf(row, c.field) === undefined);
    const { t } = this.context;
    const says = first.field === field ? t("unknown: {why}", { why: found.why }) : t("unknown");
    return { content: { key: `?${says}`, make: () => h("span", { title: found.why }, says) }, classes: ["hl-muted", first.field === field && "hl-words"] };
  }

  // Every digit, as it came: with its unit in the head, and times as such.
  table() {
    const { columns } = this.panel;
    return [heads(columns), ...this.ordered().map(([, row]) => columns.map((c) => plain(c, row, this.context)))];
  }

  cell(cell, column, row) {
    const { content, classes } = this.unknown(column, row) ?? show(column, row, this.context);
    const wanted = ["hl-cell", numeric(column) && "hl-right", ...(classes ?? [])].filter(Boolean).join(" ");
    if (cell.className !== wanted) cell.className = wanted;
    if (typeof content === "string") {
      if (cell.dataset.shown !== undefined) { delete cell.dataset.shown; cell.replaceChildren(); }
      setText(cell, content);
    } else put(cell, content.key, content.make);
  }
}

// Heads of a file, where nothing stands beside anything: what is of the column before it, as an uncertainty, a rank
// or a usual value may be, says so.
export function heads(columns) {
  const alone = ({ label, unit }) => [label, unit === "span" ? "s" : unitOf({ unit }).trim()].filter(Boolean).join(" ");
  const all = columns.map(alone);
  const leans = columns.map(({ label }, i) => label.startsWith("±") || all.filter((head) => head === all[i]).length > 1);
  return columns.map(({ label }, i) => {
    const of = columns.findLast((_, j) => j < i && !leans[j])?.label;
    return leans[i] && of !== label && of ? `${of} ${all[i]}` : all[i];
  });
}

// The newest ten minutes that a desk told of.
const watchedMs = (live) => Math.max(...[...live.rows("quality").values()].map((row) => row.window_start));

// By their place today: those of an earlier day are somebody's who has no place any more. What a desk tells
// of a day it tells together: once it spoke of today, yesterday's are over where today has none.
function ranked(rows, live) {
  const newest = Math.max(...rows.map(([, row]) => row.window_start));
  const over = (row) => live.now >= newest + row.window_ms + HOUR_MS || watchedMs(live) >= newest + row.window_ms;
  return rows.filter(([, row]) => row.window_start === newest && !over(row)).sort(([, a], [, b]) => a.rank - b.rank);
}

// The next hour first; an hour that is over is a forecast of nothing any more.
function toCome(rows, now) {
  return rows.filter(([, row]) => row.window_start + HOUR_MS > now)
    .sort(([, a], [, b]) => a.window_start - b.window_start || String(a.key).localeCompare(String(b.key)));
}

// What waits for each stage, in the order that a message takes: parts of which that is measured.
const STAGES = new Map([["journalled", "journalling"], ["stepped", "computing"], ["stored", "storing"]]);

export class Stages extends Table {
  ordered() {
    const order = [...STAGES.keys()];
    return [...this.context.live.rows("status")].filter(([, row]) => STAGES.has(row.stage))
      .sort(([, a], [, b]) => order.indexOf(a.stage) - order.indexOf(b.stage))
      .map(([name, row]) => [name, { ...row, part: row.process ? `${this.context.t(row.part)} · ${row.process}` : name, stage: STAGES.get(row.stage) }]);
  }
}

const NOTHING = { losses: "no loss of water is suspected", dead_letters: "no dead letters", restatements: "nothing was restated", actors: "no alarm within 30 days" };
const TEXTS = new Set(["time", "device", "status", "reason", "text", "retry", "age", "change", "codes", "span", "trail", "evidence", "named", "part", "rule", "subject", "ahead", "arrival"]);
const TIMES = new Set(["time", "age", "arrival"]);
const numeric = (column) => !TEXTS.has(column.unit) || column.unit === "age" || column.unit === "span";
const unitOf = (column) => (TEXTS.has(column.unit) || column.unit === "count" ? "" : column.unit);

// A cell for a file: a share is what its head says, parts of a hundred.
function plain(column, row, context) {
  if (column.unit === "change") return changes(row, context);
  const value = column.unit === "age" ? row.seen : valueOf(row, column.field);
  if (typeof value !== "number") return value && typeof value === "object" ? JSON.stringify(value) : value;
  if (TIMES.has(column.unit)) return new Date(value).toISOString();
  return column.field === "coverage" && unitOf(column) ? 100 * value : value;
}

function show(column, row, context) {
  const { f, t, live } = context;
  const value = valueOf(row, column.field);
  switch (column.unit) {
    case "time":
      if (typeof value !== "number") return { content: "" };
      return { content: { key: String(value), make: () => h("time", { title: f.utc(value) }, f.moment(value)) } };
    case "rule":
      return { content: sentence(String(value ?? ""), context), classes: ["hl-wrap"] };
    case "subject":
      return { ...text(subject(value ?? "", context)), classes: ["hl-wrap"] };
    case "named":
      return text(nameOf(value ?? "", context));
    case "ahead": {
      const [whose, hours] = String(value).split(/:(?=\d+$)/);
      return { content: `${nameOf(whose, context)} · ${t("{n} h", { n: hours })}` };
    }
    case "arrival":
      if (typeof row.arrived === "number") return { content: { key: `there ${row.arrived}`, make: () => h("time", { title: f.utc(row.arrived) }, t("there since {time}", { time: f.moment(row.arrived) })) }, classes: ["hl-words"] };
      return show({ ...column, unit: "time" }, row, context);
    case "device": {
      const known = context.site.byId.get(value);
      if (!known) return text(nameOf(value ?? "", context));
      return { content: { key: value, make: () => deviceLink(known, context) }, classes: ["hl-named"] };
    }
    case "age": {
      const { state, age } = live.state(row.device ?? NEVER_LATE, row.seen);
      if (state === "never") return { content: t("never"), classes: ["hl-muted"] };
      return { content: f.age(age, t), classes: state === "fresh" ? [] : ["hl-stale"] };
    }
    case "status":
      return { content: `${value === "unknown" ? "? " : ""}${t(value ?? "")}`, classes: [`hl-status-${value}`] };
    case "reason":
      return { content: value ? t(value) : "" };
    case "codes":
      return { content: (value ?? "").split(";").filter(Boolean).map((code) => t(code)).join(", "), classes: ["hl-wrap"] };
    case "span":
      return typeof value === "number" ? { content: f.age(1000 * value, t) } : { content: t("unknown"), classes: ["hl-muted"] };
    case "trail":
      return { content: { key: `${value} ${row.departed}`, make: () => trailLink(value, row, context) } };
    case "change":
      return { content: { key: `${row.was} ${row.became}`, make: () => h("span", { title: changes(row, context) }, changes(row, context, CHANGES_SHOWN)) }, classes: ["hl-wrap"] };
    case "evidence":
      return { content: told(row, context).map(([name, x]) => `${name} ${x}`).join(" · "), classes: ["hl-wrap"] };
    case "part":
      return { content: { key: value, make: () => [NORMAL.has(value) ? h("span", { class: "hl-muted" }, "●") : mark(true, value === "degraded" ? 2 : 1), ` ${t(value)}`] } };
    case "text":
      return text(String(value ?? ""));
    case "retry":
      return retry(row, context);
    case "count": {
      const wrong = column.field === "unaccounted" ? value > 0 : column.field === "dead_lettered" && value > 0;
      const shape = column.field === "unaccounted" ? 1 : 3;
      if (!wrong) return { content: f.count(value) };
      return { content: { key: `!${value}`, make: () => [mark(true, shape), ` ${f.count(value)}`] }, classes: ["hl-strong"] };
    }
    default: {
      if (column.field === "coverage") {
        return { content: f.percent(value), classes: value < 0.9 && row.status !== "provisional" ? ["hl-stale"] : [] };
      }
      if (column.field === "heat_gj" && typeof row.heat_u_gj === "number" && typeof value === "number") {
        return { content: `${f.number(value, "GJ")} ± ${f.number(row.heat_u_gj, "GJ")}` };
      }
      if (value === undefined) return { content: t("unknown"), classes: ["hl-muted"] };
      return { content: f.number(value, column.unit) };
    }
  }
}

// A name with a hyphen, such as 2026-Q4, stays on one line; so does each of several.
function text(value) {
  const named = (word) => word.includes("-") && word.length <= NAME_LENGTH;
  if (named(value)) return { content: value, classes: ["hl-whole"] };
  if (!value.includes("-")) return { content: value, classes: ["hl-wrap"] };
  const words = () => value.split(/( +)/).map((word) => (named(word) ? h("span", { class: "hl-whole" }, word) : word));
  return { content: { key: `"${value}`, make: words }, classes: ["hl-wrap"] };
}

// A value of the row, or of the evidence that an anomaly carries as text.
function valueOf(row, field) {
  if (!field.startsWith("evidence.")) return row[field];
  const value = JSON.parse(row.evidence || "{}")[field.slice("evidence.".length)];
  return Array.isArray(value) ? value.join(", ") : value ?? undefined;
}

// Who corrected a weighing and why, of all that did; null where a text is no such list.
function signedBy(text) {
  if (!String(text).startsWith("[{")) return null;
  try {
    return JSON.parse(text).map((one) => [one.person, one.reason].filter(Boolean).join(": ")).join(", ");
  } catch {
    return null;
  }
}

// As a field coverage has a name of its own: as a reason the word says that it is too low.
export function changes(row, { t, f }, most = Infinity) {
  const was = JSON.parse(row.was || "{}");
  const is = JSON.parse(row.became || "{}");
  const say = (value) => {
    if (value === null || value === undefined) return t("unknown");
    if (typeof value === "number") return String(Number(value.toPrecision(5)));
    return signedBy(value) ?? String(value).split(";").map((part) => t(part)).join(", ");
  };
  const share = (value) => (typeof value === "number" ? f.percent(value) : t("unknown"));
  const named = (name) => { // a forecast's hours, one field each
    const ahead = /^outdoor_(\d+)h_c$/.exec(name);
    return ahead ? t("outdoor temperature in {n} h °C", { n: ahead[1] }) : t(name);
  };
  const one = (name) => (name === "coverage"
    ? `${t("coverage of the window")} %: ${share(was[name])} → ${share(is[name])}`
    : `${named(name)}: ${say(was[name])} → ${say(is[name])}`);
  const names = Object.keys(is);
  const more = names.length > most ? [t("{n} more", { n: names.length - most })] : [];
  return [...names.slice(0, most).map(one), ...more].join("; ");
}

function retry(row, context) {
  const { t, config, asked } = context;
  if (row.state && row.state !== "open") return { content: t(row.state), classes: ["hl-muted"] };
  if (!config.actions) return { content: "" };
  const answer = asked.get(row.key);
  if (answer && answer !== "failed") return { content: t("retry asked"), classes: ["hl-muted"] };
  const make = () => h("button", {
    type: "button", class: "hl-button",
    onclick: () => {
      if (!window.confirm(t("Give this message to ingest again?"))) return;
      asked.set(row.key, "asked");
      context.emit("retry", row.key);
      context.refresh();
    },
  }, t("retry"));
  return { content: { key: `retry ${answer ?? ""}`, make } };
}

// A truck's plate, which leads to the trail of its trip on the map.
function trailLink(plate, row, context) {
  const device = context.site.plates[plate];
  if (!device) return h("span", {}, plate ?? "");
  const span = { truck: device, from: row.departed ?? row.window_start, to: row.arrived ?? "", replay: "" };
  return h("a", { href: context.url("/logistics", span) }, plate);
}

// Trips under way with what is foretold of them: those that are likeliest to be late first. Of one that is there
// and waits for its weighing nothing is foretold any more.
export class Trips extends Table {
  ordered() {
    const arrivals = this.context.live.rows("arrivals");
    const risk = (row) => row.late_p ?? -1;
    return super.ordered()
      .map(([name, row]) => [name, { ...row, late_p: arrivals.get(row.key)?.late_p }])
      .map(([name, row]) => (typeof row.arrived === "number" ? [name, { ...row, late_p: null, eta: null, eta_p10: null, eta_p90: null }] : [name, row]))
      .sort(([, a], [, b]) => risk(b) - risk(a) || a.window_start - b.window_start);
  }
}

export function deviceLink(device, context) {
  if (!context.metered(device)) return h("span", { title: device.id }, device.name);
  return h("a", { href: context.url(`/substation/${encodeURIComponent(device.id)}`), title: device.id }, device.name);
}

export class Components {
  constructor(panel, context) {
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-components", tabindex: 0 });
  }

  update() {
    const { live, f, t } = this.context;
    const since = (row) => typeof row.since === "number" && [" · ", h("time", { title: f.utc(row.since) }, t("since {time}", { time: f.moment(row.since) }))];
    const rows = [...live.rows("status")];
    put(this.body, JSON.stringify(rows), () => rows.length
      ? rows.map(([name, row]) => h("div", { class: "hl-component" },
        NORMAL.has(row.state) ? h("span", { class: "hl-muted hl-first" }, "●") : mark(true, row.state === "degraded" ? 2 : 1),
        h("b", {}, t(row.part ?? name), row.process && h("span", { class: "hl-muted hl-process-name" }, ` ${row.process}`)), h("span", {}, t(row.state ?? "")), h("span", { class: "hl-muted hl-wrap" }, says(row.what ?? row.detail, t), since(row), row.advice && ` · ${says(row.advice, t)}`)))
      : h("div", { class: "hl-empty" }, t("no data yet")));
  }
}
