// What an anomaly or an alarm rests on, as people read it: words, numbers and times of the site.
import { h, put } from "./dom.js";
import { mark } from "./tiles.js";

const A_MOMENT = 1e12; // what is larger is a time in ms

// Sentences of the catalogue in which something is filled in, each as what it looks like in English.
function sentences({ config }) {
  return Object.keys(config.texts).filter((text) => text.includes("{0}")).map((text) => [
    text, new RegExp(`^${text.split(/\{\d\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("(.+?)")}$`)]);
}

// What a rule says of itself, in the page's language.
export function sentence(text, context) {
  const { t, config } = context;
  if (config.texts[text] || !text.includes(" ")) return t(text);
  context.sentences ??= sentences(context);
  for (const [known, looks] of context.sentences) {
    const found = looks.exec(text);
    if (found) return t(known, Object.fromEntries(found.slice(1).map((part, i) => [i, config.texts[part] ?? subject(part, context)])));
  }
  return text;
}

// The name of a device, network, unit or place; what the registry does not know keeps its id.
export const nameOf = (id, context) => known(id, context) ?? id;

function known(id, { site, config }) {
  const unit = config.places.find(([kind, other]) => kind === "unit" && other === id);
  return site.byId.get(id)?.name ?? site.networks.find((n) => n.id === id)?.name ?? site.places.find((p) => p.id === id)?.name ?? unit?.[2];
}

// Whom something is about: a device by its name, all else by what it is and its name.
export function subject(text, context) {
  const { t, config } = context;
  const [kind, ...rest] = text.split(":");
  if (!rest.length || !config.texts[kind]) return nameOf(text, context);
  return `${t(kind)} ${nameOf(rest.join(":"), context)}`;
}

function words(value, context) {
  const { f, t } = context;
  if (typeof value === "number") return Number.isInteger(value) && value > A_MOMENT ? f.moment(value) : String(Number(value.toPrecision(5)));
  if (Array.isArray(value)) return value.map((x) => words(x, context)).join("; ");
  if (value && typeof value === "object") return pairs(value, context).map(([k, v]) => `${k} ${v}`).join(", ");
  if (typeof value === "string") return known(value, context) ?? sentence(value, context);
  return t(String(value));
}

// Pairs of a name and what it is; numbers that a rule compared lie one level deeper, and are told like the rest.
export function pairs(evidence, context) {
  const { numbers, children, ...rest } = evidence; // children are keys of what the devices beside them have
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
