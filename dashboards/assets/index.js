// A page of the board: panels from data, kept up to date by the hub's messages and by history from HTTP.
import { Alarm, Alarms, Strip } from "./alarms.js";
import { Attention } from "./attention.js";
import { LineChart, ScatterChart, loaded, rehearse } from "./charts.js";
import { Deviations } from "./deviations.js";
import { h } from "./dom.js";
import { Entry } from "./entry.js";
import { Verdicts } from "./evidence.js";
import { formats, says, translator } from "./format.js";
import { Head } from "./head.js";
import { Keys } from "./keys.js";
import { Live } from "./live.js";
import { TruckMap } from "./map.js";
import { NetworkDrawing, Profile, Waterfall } from "./network.js";
import { Coverage, Matrix } from "./states.js";
import { Bullets } from "./bullets.js";
import { Paper } from "./paper.js";
import { Ranging, mended, rangeOf } from "./range.js";
import { Bands, Health, Process } from "./substation.js";
import { Components, Stages, Table, Trips } from "./tables.js";
import { tools } from "./take.js";
import { Tile, mark } from "./tiles.js";
import { Tour } from "./tour.js";
import { Wall } from "./wall.js";

const METERED = new Set(["plant", "substation", "meter"]);
const REFRESH_MS = 20000;
const SOONEST_MS = 3000;
const HURRY_MS = 250;
const OWN = new Set(["alarm", "replay"]); // of one page: others know nothing of them

class Refused extends Error {}

class ChartPanel {
  constructor(panel, context) {
    this.panel = panel;
    this.chart = panel.kind === "scatter" ? new ScatterChart(context) : new LineChart(context);
    this.body = this.chart.element;
  }

  history(answer, before) {
    this.shown = [answer, before];
    this.redraw();
  }

  redraw() {
    if (this.shown) this.chart.show(this.panel, ...this.shown);
  }

  settle() {
    this.chart.settle();
  }

  stop() {
    this.chart.stop();
  }
}

const KINDS = {
  tile: Tile, line: ChartPanel, scatter: ChartPanel, bands: Bands, table: Table, matrix: Matrix, heatmap: Coverage,
  process: Process, health: Health, components: Components, stages: Stages, attention: Attention,
  alarms: Alarms, alarm: Alarm, map: TruckMap, trips: Trips, bullets: Bullets,
  verdicts: Verdicts, strip: Strip, waterfall: Waterfall, network: NetworkDrawing, profile: Profile, deviations: Deviations,
};
const WITH_HISTORY = new Set(["tile", "line", "scatter", "bands", "heatmap"]);

class Board {
  constructor(root, config, emit) {
    this.root = root;
    this.live = new Live();
    this.fetched = new Map();
    this.backwards = mended(config.now_ms);
    this.context = {
      config: { ...config, ...rangeOf() }, root, live: this.live, emit, asked: new Map(), site: { devices: [], byId: new Map(), places: [], networks: [], plates: {} },
      f: formats(config.language, config.timezone), t: translator(config.texts),
      metered: (device) => METERED.has(device.class),
      url: (path, changes = {}) => url(path, config, changes), refresh: () => this.update(new Set(["dead_letters"])),
      refreshAlarms: () => this.update(new Set(["alarms"])),
    };
  }

  async start() {
    const { config, site } = this.context;
    loaded.then(() => { this.drawing = true; }, () => {}); // it is said below why not
    this.wall = this.context.wall = new Wall(this.context); // goes on where the rest of the page cannot be had
    this.listen(); // what comes before the page is built is kept
    const place = new URLSearchParams(config.scope.device ? {} : { region: config.scope.region, unit: config.scope.unit });
    const answer = await (await fetch(`/api/site?${place}`)).json();
    site.devices = answer.devices;
    site.places = answer.places;
    site.networks = answer.networks;
    site.plates = answer.plates;
    site.byId = new Map(answer.devices.map((d) => [d.id, d]));
    this.build();
    Object.assign(config, rangeOf()); // who went back meanwhile is at another address
    this.ranging = this.context.ranging = new Ranging(this.root, (found) => this.ranged(found));
    this.head = new Head(this.context, this.backwards);
    this.keys = new Keys(this.context);
    this.entry = new Entry(this.context);
    this.tour = new Tour(this.context);
    this.paper = new Paper(this.panels);
    if (this.live.now !== null) this.update(new Set(this.live.feeds.keys()));
    this.timer = setInterval(() => this.refreshHistory(), 1000);
    this.refreshHistory();
    loaded.then(() => {
      this.refreshHistory();
      if (this.panels.some(({ view }) => view instanceof ChartPanel)) {
        this.rehearsal = window.requestIdleCallback?.(() => rehearse(this.context));
      }
    }, (error) => this.cannotDraw(error));
  }

  cannotDraw(error) {
    const why = ` ${this.context.t("cannot be read: {why}", { why: error.message })}`;
    for (const { view, trouble } of this.panels) if (view instanceof ChartPanel) trouble.replaceChildren(mark(true, 3), why);
  }

  build() {
    const { page } = this.context.config;
    this.root.className = `hl-board hl-page-${page.id}`;
    this.root.style.setProperty("--rows", page.rows.join(" "));
    this.panels = page.panels.map((panel) => {
      const view = new KINDS[panel.kind](panel, this.context);
      const trouble = h("span", { class: "hl-trouble", role: "status" });
      const card = h("section", {
        class: `hl-card hl-kind-of-${panel.kind}`, id: `panel-${panel.id}`, "aria-label": panel.title, "data-unread": this.context.t("not read yet"),
        style: { "--width": panel.width, "--height": panel.height },
      }, h("header", {}, h("h2", { title: panel.title }, panel.title), panel.kind === "tile" ? null : h("span", { class: "hl-note", title: panel.note }, panel.note), trouble), view.body);
      const entry = { panel, view, card, trouble, answer: null };
      card.querySelector("header").append(tools(entry, this.context));
      return entry;
    });
    const tiles = this.panels.filter((p) => p.panel.kind === "tile");
    const others = this.panels.filter((p) => p.panel.kind !== "tile");
    const strip = tiles.length ? [h("div", { class: "hl-tiles", style: { "--tiles": tiles.length } }, tiles.map((p) => p.card))] : [];
    const about = this.context.config.about; // by name: tabs, prints and what is read aloud have no choice to look at
    const heading = about && h("h1", { class: "hl-about" }, about);
    this.root.replaceChildren(...(heading ? [heading] : []), ...strip, ...others.map((p) => p.card));
  }

  listen() {
    this.onMessage = (message) => {
      const first = this.live.now === null;
      const changed = this.live.take(message);
      if (!this.tour) return; // not built yet
      this.update(changed);
      if (first) this.refreshHistory(); // only now it is known until when
    };
    this.onNotice = (notice) => this.answered(notice);
    this.onConnect = () => this.context.emit("ready", true);
    window.socket.on("hearthline", this.onMessage);
    window.socket.on("hearthline_notice", this.onNotice);
    window.socket.on("connect", this.onConnect);
    if (window.socket.connected) this.onConnect();
  }

  update(changed) {
    this.head?.update();
    const everyTick = Math.floor((this.live.now ?? 0) / 1000) !== this.second;
    this.second = Math.floor((this.live.now ?? 0) / 1000);
    for (const { panel, view, card } of this.panels) {
      const unread = panel.feeds.some((feed) => !this.live.feeds.has(feed));
      card.classList.toggle("hl-unread", unread && this.live.now !== null);
      if (unread) continue; // nothing was heard, which is not to say that devices are silent
      if (view.update && (everyTick || panel.feeds.some((feed) => changed.has(feed)))) view.update();
    }
  }

  answered({ key, about, deed, done, detail, ref }) {
    const { t, asked } = this.context;
    if (about === "entry") {
      this.entry.answered({ done, detail, ref });
      return;
    }
    if (about === "alarm") {
      for (const { view } of this.panels) view.answered?.(deed, done);
      if (!done) window.alert(t("This could not be done: {why}", { why: says(detail, t) }));
      return;
    }
    asked.set(key, done ? "done" : "failed");
    if (!done) window.alert(t("This message could not be retried: {why}", { why: says(detail, t) }));
    this.update(new Set(["dead_letters"]));
  }

  // What is drawn stays until what was asked for is there.
  ranged(found) {
    Object.assign(this.context.config, found);
    this.head.ranged();
    for (const entry of this.panels) {
      entry.view.ranged?.();
      this.giveUp(entry);
    }
    // Whoever holds a key down passes many ranges by: only where he stops is asked for.
    const hurried = performance.now() - this.rangedAt < HURRY_MS;
    this.rangedAt = performance.now();
    clearTimeout(this.hurry);
    this.hurry = hurried ? setTimeout(() => { this.hurry = null; this.refreshHistory(); }, HURRY_MS) : null;
    this.refreshHistory();
  }

  // Nobody waits for another range's answer, and nothing drawn passes for another range's.
  giveUp({ panel, card, range }) {
    const wanted = this.rangeOf(panel);
    const asked = this.fetched.get(panel.id);
    if (asked?.busy && asked.range !== wanted) {
      asked.stop.abort();
      this.fetched.delete(panel.id);
    }
    if (range && range !== wanted) card.setAttribute("aria-busy", "true");
    else card.removeAttribute("aria-busy");
  }

  // History again every 20 s, or sooner when the site's clock runs ahead of ours; never while nobody looks.
  refreshHistory() {
    if (document.hidden || this.hurry) return; // what is passed by is not asked for by the clock either
    const now = performance.now();
    // A browser asks six questions at a time, and a chart takes longest from its answer to the screen.
    const charts = this.panels.filter(({ view }) => view instanceof ChartPanel);
    const others = this.panels.filter((entry) => !charts.includes(entry));
    for (const entry of [...charts, ...others]) {
      const { panel, view } = entry;
      if (view instanceof ChartPanel && !this.drawing) continue;
      if (!WITH_HISTORY.has(panel.kind) || !panel.series.length) continue;
      if (this.live.now === null && !this.fixed && this.hours(panel) !== 24) continue; // nobody knows yet until when
      const range = this.rangeOf(panel);
      const asked = this.fetched.get(panel.id);
      const last = asked?.range === range ? asked : undefined;
      const ran = last && this.live.now !== null && last.site !== null ? Math.abs(this.live.now - last.site) : Infinity;
      const due = !last || now - last.at > REFRESH_MS || (now - last.at > SOONEST_MS && (last.failed || ran > 60000));
      if (!due || last?.busy || (last && !last.failed && this.fixed)) continue;
      this.fetch(entry, now, range);
    }
  }

  get fixed() {
    return this.context.config.range.to !== null;
  }

  rangeOf(panel) {
    const { range, compare } = this.context.config;
    return JSON.stringify([range.from, range.to, this.hours(panel), compare && panel.kind === "line"]);
  }

  async fetch(entry, now, range) {
    const { panel, view, card, trouble } = entry;
    const { t, config } = this.context;
    const state = { at: now, site: this.live.now, range, busy: true, failed: false, stop: new AbortController() };
    this.fetched.set(panel.id, state);
    const { signal } = state.stop;
    try {
      const answer = await this.ask(panel, this.wanted(panel), signal);
      state.site ??= answer.to;
      const span = answer.to - answer.from;
      const compared = config.compare && panel.kind === "line";
      const before = compared ? await this.ask(panel, { from: answer.from - span, to: answer.from, points: 360 }, signal) : null;
      if (signal.aborted) return;
      entry.answer = answer;
      entry.range = range;
      card.removeAttribute("aria-busy");
      if (view instanceof ChartPanel && this.rehearsal) window.cancelIdleCallback(this.rehearsal);
      view.history(answer, before);
      drawn(panel.id, now);
      trouble.replaceChildren();
    } catch (error) {
      if (signal.aborted) return;
      state.failed = true; // asked again soon
      if (!(error instanceof Refused)) {
        if (!(error instanceof TypeError)) throw error; // the server is away: the frame says so
        return;
      }
      trouble.replaceChildren(mark(true, 3), ` ${t("cannot be read: {why}", { why: error.message })}`);
    } finally {
      state.busy = false;
    }
  }

  async ask(panel, wanted, signal) {
    const { config, t } = this.context;
    const query = new URLSearchParams(panel.scope === "device" ? { device: config.scope.device } : { region: config.scope.region, unit: config.scope.unit });
    for (const [name, value] of Object.entries(wanted)) if (value !== null) query.set(name, String(value));
    const response = await fetch(`/api/panels/${panel.id}/history?${query}`, { signal });
    if (response.ok) return response.json();
    const told = await response.json().catch(() => ({}));
    if (response.status === 503) throw new Refused(t("the store is away")); // the header says why
    throw new Refused(told.told ? says(told.told, t) : t("the server answered with HTTP {n}", { n: response.status }));
  }

  wanted(panel) {
    const { config } = this.context;
    const points = panel.kind === "tile" ? 100 : 360;
    if (config.range.from !== null || config.range.to !== null) return { ...config.range, points };
    const hours = this.hours(panel);
    if (hours === 24) return { points };
    return { from: (this.live.now ?? 0) - hours * 3600000, to: this.live.now, points, ...(this.live.now === null ? { from: null } : {}) };
  }

  hours(panel) {
    const short = panel.kind === "tile" || panel.kind === "bands" || panel.kind === "heatmap";
    return Math.max(short ? 24 : this.context.config.hours, panel.hours);
  }

  stop() {
    clearInterval(this.timer);
    clearTimeout(this.hurry);
    if (this.rehearsal) window.cancelIdleCallback(this.rehearsal);
    this.ranging?.stop();
    this.wall?.stop();
    this.head?.stop();
    this.keys?.stop();
    this.entry?.stop();
    this.tour?.stop();
    this.paper?.stop();
    window.socket.off("hearthline", this.onMessage);
    window.socket.off("hearthline_notice", this.onNotice);
    window.socket.off("connect", this.onConnect);
    for (const { view } of this.panels ?? []) view.stop?.();
  }
}

// How long from asking until it stood on the screen, for whoever measures the page.
function drawn(id, since) {
  const name = `hl-drawn-${id}`;
  requestAnimationFrame(() => requestAnimationFrame(() => {
    performance.clearMeasures(name);
    performance.measure(name, { start: since });
  }));
}

function url(path, config, changes) {
  const here = new URLSearchParams(location.search);
  const query = new URLSearchParams();
  for (const name of ["lang", "theme", "region", "unit", "from", "to", "hours", "truck", "compare", "wall", "alarm", "replay"]) {
    const value = name in changes ? changes[name] : OWN.has(name) && path !== location.pathname ? null : here.get(name);
    if (value !== null && value !== "" && value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export function start(root, config, emit) {
  const board = new Board(root, config, emit);
  board.start();
  return board;
}
