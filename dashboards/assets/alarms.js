// Alarms: the list, and the chosen one with its evidence, its trend and what can be done about it.
import { h, put, s } from "./dom.js";
import { subject, told } from "./evidence.js";
import { deviceLink } from "./tables.js";
import { mark } from "./tiles.js";

const DAY_MS = 86400000;
const HOUR_MS = 3600000;
const TAKES_WORDS = new Set(["shelve", "assign", "comment"]);
const WIDTH = 320;
const HEIGHT = 64;

const chosen = (context) => (context.alarm ??= { id: new URLSearchParams(location.search).get("alarm") ?? "" });

// What asks for something first: not quiet, then by priority, then what is raised, then the newest.
function ordered(rows) {
  const quiet = (r) => Boolean(r.suppressed || r.shelved_until);
  const phase = (r) => ["raised", "acknowledged", "cleared", "pending"].indexOf(r.state);
  return [...rows].sort((a, b) => quiet(a) - quiet(b) || a.priority - b.priority || phase(a) - phase(b)
    || b.since - a.since || String(a.key).localeCompare(String(b.key)));
}

// Alarms for a file: by their ids and with whole times.
const COLUMNS = ["id", "priority", "subject", "code", "state", "raised", "until", "acknowledged_by", "owner", "shelved_until", "shelf_reason", "suppressed"];
const TIMES = new Set(["raised", "until", "shelved_until"]);

function listed(rows) {
  const cell = (row, name) => {
    const value = name === "id" ? row.key : row[name];
    return TIMES.has(name) && typeof value === "number" ? new Date(value).toISOString() : value;
  };
  return [COLUMNS, ...rows.map((row) => COLUMNS.map((name) => cell(row, name)))];
}

function where(row, context) {
  const device = context.site.byId.get(row.subject);
  return device ? deviceLink(device, context) : h("span", { title: row.subject }, subject(row.subject ?? "", context));
}

function state(row, { f, t }) {
  const words = [t(row.state)];
  if (row.provisional) words.push(t("provisional"));
  if (row.shelved_until) words.push(t("shelved until {time}", { time: f.moment(row.shelved_until) }));
  const shared = row.suppressed?.startsWith("cause:");
  if (row.suppressed) words.push(shared ? t("under a shared cause") : t("in maintenance"));
  if (row.acknowledged_by) words.push(row.acknowledged_by);
  return words.join(" · ");
}

export class Alarms {
  constructor(panel, context) {
    this.panel = panel;
    this.context = context;
    this.lines = h("tbody");
    this.empty = h("div", { class: "hl-empty", hidden: true }, context.t("no open alarms"));
    const heads = panel.columns.map((c) => h("th", { scope: "col" }, c.label));
    this.body = h("div", { class: "hl-scroll", tabindex: 0 },
      h("table", { class: "hl-table" }, h("thead", {}, h("tr", {}, heads)), this.lines), this.empty);
  }

  update() {
    const { context, panel } = this;
    const { live, f, t } = context;
    if (live.now === null) return;
    const pick = chosen(context);
    const rows = ordered(live.rows("alarms").values());
    if (!pick.id && rows.length) pick.id = rows[0].key;
    this.empty.hidden = rows.length > 0;
    const minute = Math.floor(live.now / 60000);
    put(this.lines, JSON.stringify([rows, pick.id, minute]), () => rows.map((row) => {
      const quiet = row.suppressed || row.shelved_until;
      const cells = {
        priority: mark(!quiet && row.state === "raised", row.priority) ?? h("span", { class: "hl-muted" }, String(row.priority)),
        subject: where(row, context),
        code: t(row.code),
        state: state(row, context),
        since: h("time", { title: f.utc(row.raised ?? row.since) },
          `${f.moment(row.raised ?? row.since)} · ${f.age(Math.max(0, live.now - (row.raised ?? row.since)), t)}`),
        owner: row.owner ?? "",
      };
      return h("tr", {
        class: row.key === pick.id ? "hl-chosen" : "", tabindex: 0, "data-alarm": row.key,
        onclick: () => this.choose(row.key),
        onkeydown: (event) => event.key === "Enter" && this.choose(row.key),
      }, panel.columns.map((c) => h("td", { class: `hl-cell hl-wrap${quiet ? " hl-muted" : ""}`, "data-label": c.label }, cells[c.field])));
    }));
  }

  table() {
    return listed(ordered(this.context.live.rows("alarms").values()));
  }

  choose(key) {
    chosen(this.context).id = key;
    this.context.refreshAlarms();
  }
}

// What nobody has acknowledged, on the overview: one click to the alarm itself.
export class Strip {
  constructor(panel, context) {
    this.context = context;
    this.body = h("div", { class: "hl-scroll hl-strip", tabindex: 0 });
  }

  table() {
    return listed(ordered(this.context.live.unacknowledged));
  }

  update() {
    const { live, f, t, url } = this.context;
    if (live.now === null) return;
    const rows = ordered(live.unacknowledged);
    const watched = rows.length > 0 || live.rows("quality").size > 0;
    put(this.body, JSON.stringify([rows, watched, Math.floor(live.now / 60000)]), () => {
      if (!rows.length) return h("div", { class: "hl-empty" }, t(watched ? "none unacknowledged" : "alarms are not watched yet: this says nothing about the plant"));
      const link = (row) => url("/alarms", { alarm: row.key });
      return rows.map((row) => h("a", { class: "hl-strip-row", href: link(row), "data-alarm": row.key }, mark(true, row.priority),
        h("b", { title: row.subject }, subject(row.subject ?? "", this.context)), h("span", {}, t(row.code)),
        h("span", { class: "hl-muted" }, f.age(Math.max(0, live.now - (row.raised ?? row.since)), t))));
    });
  }
}

export class Alarm {
  constructor(panel, context) {
    this.context = context;
    this.drafts = new Map(); // what is being written, by alarm: somebody else may close it, or choose to read another meanwhile
    this.sent = new Map(); // words that are not answered yet, by deed: the next may be done before
    this.deed = 0;
    this.facts = h("div");
    this.trend = h("div", { class: "hl-alarm-trend" });
    this.deeds = h("div", { class: "hl-alarm-deeds" });
    this.body = h("div", { class: "hl-scroll hl-alarm", tabindex: 0 }, this.facts, this.deeds, this.trend);
  }

  update() {
    const { context } = this;
    if (context.live.now === null) return;
    const row = [...context.live.rows("alarms").values()].find((r) => r.key === chosen(context).id);
    put(this.facts, JSON.stringify(row ?? chosen(context).id), () => (row ? this.says(row) : h("div", { class: "hl-empty" }, this.nobody())));
    const left = row ? "" : this.drafts.get(chosen(context).id);
    put(this.deeds, JSON.stringify([row?.key ?? [chosen(context).id, Boolean(left)], row?.state, row?.shelved_until, context.asked.get(row?.key)]),
      () => (row && context.config.actions ? this.does(row) : left ? this.unsent(left) : null));
    if (row && this.drawn !== row.key) this.draw(row);
    if (!row) { this.drawn = ""; this.trend.replaceChildren(); }
  }

  // Whoever followed a link to an alarm learns that it is over.
  nobody() {
    const { t } = this.context;
    const { id } = chosen(this.context);
    return id ? t("alarm {id} is not open: it was closed, or there never was one", { id }) : t("no alarm is chosen");
  }

  says(row) {
    const { t, f } = this.context;
    const comments = JSON.parse(row.comments || "[]");
    return [
      h("p", {}, mark(true, row.priority), " ", where(row, this.context), h("b", {}, ` ${t(row.code)}`)),
      h("p", { class: "hl-muted" }, `${state(row, this.context)} · ${f.moment(row.window_start)} – ${row.active ? "" : f.moment(row.until)}`),
      row.shelf_reason ? h("p", {}, row.shelf_reason) : null,
      h("dl", { class: "hl-evidence" }, told(row, this.context).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      comments.map((c) => h("p", {}, h("b", {}, c.who), ` ${f.moment(c.at)} `, c.text)),
    ];
  }

  does(row) {
    const { t } = this.context;
    const name = h("input", { type: "text", maxlength: 80, placeholder: t("your name"), "aria-label": t("your name"), value: remembered(), oninput: () => remember(name.value) });
    const words = this.words(this.drafts.get(row.key), { maxlength: 500, oninput: () => this.drafts.set(row.key, words.value) });
    const hours = h("select", { "aria-label": t("for how long") }, [1, 8, 24, 72].map((n) => h("option", { value: n }, t("{n} h", { n }))));
    const act = (deed, more = {}) => {
      remember(name.value);
      this.deed += 1;
      if (TAKES_WORDS.has(deed)) this.sent.set(this.deed, [row.key, words.value]);
      this.context.emit("alarm", { alarm: row.key, do: deed, who: name.value, reason: words.value, deed: this.deed, ...more });
    };
    const button = (label, deed, more) => h("button", { type: "button", class: "hl-button", "data-do": deed, onclick: () => act(deed, more?.()) }, t(label));
    const waits = !row.acknowledged_by && (row.state === "raised" || row.state === "cleared");
    return [
      h("div", {}, name, words),
      h("div", {},
        waits ? button("acknowledge", "acknowledge") : null,
        row.shelved_until ? button("unshelve", "unshelve") : [button("shelve", "shelve", () => ({ hours: Number(hours.value) })), hours],
        button("assign", "assign"), button("comment", "comment")),
    ];
  }

  words(value, more) {
    const label = this.context.t("reason, comment or owner");
    return h("input", { type: "text", "data-words": "", placeholder: label, "aria-label": label, value, ...more });
  }

  // Somebody else closed what one was writing to: nothing more can be said to it, and the words are nobody's but the writer's.
  unsent(left) {
    const { t } = this.context;
    const { id } = chosen(this.context);
    const away = () => { this.drafts.delete(id); this.update(); };
    return [h("p", { role: "status", class: "hl-unsent" }, mark(true, 3), ` ${t("this alarm was closed while you were writing; your words were not sent:")}`),
      h("div", {}, this.words(left, { readonly: true }), h("button", { type: "button", class: "hl-button", onclick: away }, t("discard")))];
  }

  // Words that were taken are not there to be sent again, nor as the name of an owner; newer ones stay.
  answered(deed, done) {
    const [key, sent] = this.sent.get(deed) ?? [];
    this.sent.delete(deed);
    if (!done || key === undefined) return;
    const words = this.deeds.querySelector("[data-words]");
    if (this.drafts.get(key) === sent) this.drafts.delete(key);
    if (words && key === chosen(this.context).id && words.value === sent) words.value = "";
    this.update();
  }

  // About its beginning, of whatever tells of such a subject; what the rule looked at comes first.
  async draw(row) {
    this.drawn = row.key;
    this.trend.replaceChildren();
    const response = await fetch(`/api/alarms/trend?alarm=${encodeURIComponent(row.key)}`);
    const found = response.ok ? await response.json() : null;
    if (this.drawn !== row.key) return;
    const { t } = this.context;
    const says = (words) => h("div", { class: "hl-empty" }, words);
    if (!found) this.trend.replaceChildren(says(t("the measurements could not be read")));
    else if (!found.kept) this.trend.replaceChildren(says(t("no series is kept for {subject}", { subject: row.subject })));
    else if (!found.lines.length) this.trend.replaceChildren(says(t("nothing is stored from about its beginning")));
    else {
      const whose = found.of ? [h("p", { class: "hl-muted" }, t("a branch has no series of its own: those of network {network}", { network: found.of }))] : [];
      this.trend.replaceChildren(...whose, ...found.lines.map((line) => curve(line, found.at_ms, this.context)));
    }
  }
}

function spanOf(ms, t) {
  if (ms >= 2 * DAY_MS) return t("±{n} d", { n: ms / DAY_MS });
  return ms > 2 * HOUR_MS ? `±${t("{n} h", { n: ms / HOUR_MS })}` : t("±{n} min", { n: ms / 60000 });
}

function curve({ term, unit, span_ms, points }, at, { config, t }) {
  const values = points.map((p) => p[1]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (time) => ((time - at + span_ms) / (2 * span_ms)) * WIDTH;
  const y = (value) => HEIGHT - 4 - ((value - low) / (high - low || 1)) * (HEIGHT - 8);
  const span = spanOf(span_ms, t);
  const name = term[config.language];
  return h("figure", {},
    h("figcaption", {}, `${name}: ${[`${Number(low.toPrecision(4))} – ${Number(high.toPrecision(4))}`, unit].join(" ").trim()} · ${span}`),
    s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: "100%", height: HEIGHT, role: "img", "aria-label": name, preserveAspectRatio: "none" },
      s("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT, stroke: "currentColor", "stroke-dasharray": "3 3", opacity: 0.5 }),
      s("polyline", { fill: "none", stroke: "currentColor", "stroke-width": 1.5, points: points.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" ") })));
}

function remembered() {
  try { return localStorage.getItem("hl_who") ?? ""; } catch { return ""; }
}

function remember(name) {
  try { localStorage.setItem("hl_who", name); } catch { /* a browser that keeps nothing */ }
}
