// The moving parts of the frame: clock, age of the data, alarms, scope and time range.
import { h, put, setText } from "./dom.js";
import { says } from "./format.js";
import { mark } from "./tiles.js";

const RANGES = [["6 h", 6], ["24 h", 24], ["7 d", 168], ["30 d", 720], ["1 a", 8784]];
const HOUR_MS = 3600000;
const SILENT_MS = 5000;

export class Head {
  constructor(context, backwards) {
    this.context = context;
    const { t } = context;
    this.clock = h("time", { class: "hl-clock" }, "––:––:––");
    this.age = h("span", { class: "hl-age", role: "status" }, t("connecting"));
    this.alarms = h("a", { class: "hl-alarms", href: context.url("/alarms", {}) });
    document.getElementById("hl-live")?.replaceChildren(this.alarms, this.age, this.clock);
    this.ranges = this.range();
    document.getElementById("hl-scope")?.replaceChildren(this.scope(), this.ranges);
    if (backwards) this.notice = this.unusable(backwards);
    for (const link of document.querySelectorAll("a[data-set]")) link.addEventListener("click", () => this.switched(link));
    this.timer = setInterval(() => this.update(), 1000);
  }

  // Said until another range is chosen.
  unusable({ from, to, later }) {
    const { t, f, config } = this.context;
    const text = later ? t("the range of this address begins at {from}, which is yet to come: shown are the last {n} h", { from: f.stamp(from), n: config.hours })
      : t("the range of this address ends before it begins ({from} – {to}): shown are the last {n} h", { from: f.stamp(from), to: f.stamp(to), n: config.hours });
    const notice = h("div", { class: "hl-notice", role: "status" }, mark(true, 3), ` ${text}`);
    document.querySelector(".hl-header").after(notice);
    return notice;
  }

  // The same page as it stands now, with its truck, alarm or moment, in another language or theme.
  switched(link) {
    const [name, value] = link.dataset.set.split("=");
    remember(link.dataset.set);
    link.href = this.context.url(location.pathname, { [name]: value });
  }

  // Made anew for another range; who came here by the keyboard stays here.
  ranged() {
    this.notice?.remove();
    const before = this.ranges;
    const focused = before.contains(document.activeElement) && document.activeElement.dataset.range;
    this.ranges = this.range();
    before.replaceWith(this.ranges);
    if (focused) (this.ranges.querySelector(`[data-range=${focused}]`) ?? this.ranges.querySelector("select")).focus();
    this.alarms.href = this.context.url("/alarms", {});
  }

  update() {
    const { live, f, t, config } = this.context;
    if (live.now === null) return;
    put(this.clock, String(Math.floor(live.now / 1000)), () => [h("b", {}, f.time(live.now)), " ", h("span", {}, f.date(live.now))]);
    this.clock.title = `${f.utc(live.now)} · ${config.timezone}`;
    this.unacknowledged();
    const cut = performance.now() - live.heard > SILENT_MS;
    const newest = Math.max(...[...live.rows("seen").values()].map((r) => r.window_start ?? 0), 0);
    const age = live.now - newest;
    const wrong = cut || live.trouble.length > 0;
    const text = cut ? t("connection lost, trying again")
      : live.trouble.length ? t("the store cannot be read: {why}", { why: says(live.trouble[0], t) })
        : newest ? t("data {age} old", { age: f.age(age, t) }) : t("no data yet");
    this.age.title = wrong ? text : "";
    setText(this.age, wrong ? `◆1 ${text}` : text);
    this.age.className = wrong ? "hl-age hl-bad" : age > 120000 + (live.pace - 1) * 4000 || !newest ? "hl-age hl-stale" : "hl-age";
    document.querySelector(".hl")?.classList.toggle("hl-cut", cut);
  }

  // Alarms that nobody has acknowledged, by priority; without a desk that watches, nothing is said to be well.
  unacknowledged() {
    const { live, t } = this.context;
    const watched = live.rows("quality").size > 0;
    const counts = new Map();
    for (const { priority } of live.unacknowledged) counts.set(priority, (counts.get(priority) ?? 0) + 1);
    const found = [...counts].sort(([a], [b]) => a - b);
    put(this.alarms, JSON.stringify([watched, found]), () => [
      h("span", { class: "hl-muted" }, t("alarms")), " ",
      found.length ? found.map(([priority, count]) => [mark(true, priority), h("b", {}, ` × ${count} `)])
        : watched ? t("none unacknowledged") : t("not available yet"),
    ]);
    this.alarms.title = watched || found.length ? t("unacknowledged") : t("alarms are not watched yet: this says nothing about the plant");
  }

  scope() {
    const { config, site, t } = this.context;
    if (config.scope.device) return this.devices(site.devices.filter((d) => d.class === site.byId.get(config.scope.device)?.class));
    const choices = [["", t("whole group")], ...config.places.map(([kind, id, name]) => [`${kind}=${id}`, name])];
    const now = config.scope.unit ? `unit=${config.scope.unit}` : config.scope.region ? `region=${config.scope.region}` : "";
    return this.select(t("scope"), choices, now, (value) => {
      const [kind, id] = value.split("=");
      location.assign(this.context.url(location.pathname, { region: "", unit: "", ...(kind ? { [kind]: id } : {}) }));
    });
  }

  devices(list) {
    const { config, t, url } = this.context;
    const here = list.findIndex((d) => d.id === config.scope.device);
    const path = (d) => url(`/substation/${encodeURIComponent(d.id)}`);
    const step = (by, label) => {
      const other = list[(here + by + list.length) % list.length];
      return h("a", { class: "hl-step", href: path(other), title: `${label}: ${other.name}`, "aria-label": label }, by < 0 ? "‹" : "›");
    };
    return h("span", { class: "hl-devices" }, step(-1, t("previous")),
      this.select(t("device"), list.map((d) => [d.id, d.name]), config.scope.device, (id) => location.assign(path({ id }))), step(1, t("next")));
  }

  select(label, choices, now, chosen, more = {}) {
    const options = choices.map(([value, text]) => h("option", { value, selected: value === now }, text));
    return h("select", { "aria-label": label, onchange: (e) => chosen(e.target.value), ...more }, options);
  }

  // The page's one range: up to now, or a fixed one further back, and whether what was before it is drawn too.
  range() {
    const { config, t, f, url, ranging } = this.context;
    const { from, to } = config.range;
    // Made anew when it is pressed: a page's own part of the address may have changed since.
    const follow = (changes) => (event) => { event.currentTarget.href = url(location.pathname, changes); ranging.follow(event); };
    const toNow = { from: "", to: "" };
    const compared = { compare: config.compare ? "" : "1" };
    const fixed = from !== null || to !== null;
    const choices = RANGES.map(([label, hours]) => [String(hours), t(label)]);
    if (!fixed && !choices.some(([value]) => value === String(config.hours))) choices.push([String(config.hours), t("{n} h", { n: config.hours })]);
    // A day and month alone are this year's.
    const year = (ms) => f.date(ms).match(/\d{4,}/)?.[0];
    const end = [from, to].every((ms) => ms === null || year(ms) === year(config.now_ms)) ? f.moment : f.stamp;
    if (fixed) choices.unshift(["fixed", `${from === null ? "" : end(from)} – ${to === null ? t("now") : end(to)}`]);
    const upToNow = (hours) => url(location.pathname, { from: "", to: "", hours: hours === "24" ? "" : hours });
    const step = (way, label, sign) => h("button", { type: "button", class: "hl-step", "data-range": way, "aria-label": label, title: label, onclick: () => this.move(way) }, sign);
    return h("span", { class: "hl-ranges" }, step("earlier", t("earlier"), "‹"),
      this.select(t("time range"), choices, fixed ? "fixed" : String(config.hours), (value) => ranging.go(value === "fixed" ? location.href : upToNow(value)), { "data-range": "choose" }),
      fixed && [step("later", t("later"), "›"), h("a", { class: "hl-step", "data-range": "now", href: url(location.pathname, toNow), onclick: follow(toNow) }, t("now"))],
      h("a", { class: `hl-compare${config.compare ? " hl-here" : ""}`, "data-range": "compare", role: "button", "aria-pressed": String(config.compare), href: url(location.pathname, compared), onclick: follow(compared) }, t("compare")));
  }

  // One range earlier or later; what would end after now is up to now again.
  move(way) {
    const { config, live, url, ranging } = this.context;
    if (live.now === null) return;
    const end = config.range.to ?? live.now;
    const span = end - (config.range.from ?? end - config.hours * HOUR_MS);
    const to = end + (way === "later" ? span : -span);
    ranging.go(url(location.pathname, to >= live.now ? { from: "", to: "" } : { from: to - span, to }));
  }

  stop() {
    clearInterval(this.timer);
    this.notice?.remove();
  }
}

function remember(setting) {
  const [name, value] = setting.split("=");
  document.cookie = `hl_${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=strict`;
}
