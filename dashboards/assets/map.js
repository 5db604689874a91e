// The map of the trucks, drawn from the site's own places; a shape for each state, never colour alone.
import { h, put, s, startOf } from "./dom.js";
import { KM_A_DEGREE, believable, fixes } from "./positions.js";
import { DayReplay } from "./replay.js";

const MARGIN = 0.12;
const HOUR_MS = 3600000;
const LIKELY_LATE = 0.5;
const AGAIN_MS = 3000;

export class TruckMap {
  constructor(panel, context) {
    this.context = context;
    this.picture = h("div", { class: "hl-map-picture", "data-marks": "" });
    this.legend = h("div", { class: "hl-map-legend" });
    this.slider = h("input", { type: "range", min: 0, max: 1000, value: 1000, hidden: true, "aria-label": context.t("time on the trail"), oninput: () => this.slid(), onchange: () => this.day.on && this.day.tell() });
    this.when = h("span", { class: "hl-muted" });
    this.player = h("span", { class: "hl-map-player" });
    this.body = h("div", { class: "hl-map" }, this.picture, h("div", { class: "hl-map-foot" }, this.legend, this.player, this.slider, this.when));
    this.truck = new URLSearchParams(location.search).get("truck");
    this.day = new DayReplay(context, () => this.update());
    this.observer = new ResizeObserver(() => { this.drawn = null; this.update(); });
    this.observer.observe(this.picture);
  }

  stop() {
    this.observer.disconnect();
    clearTimeout(this.again);
    this.day.stop();
  }

  // The range that is looked at: that of the page. [ms UTC]
  span() {
    const { config, live } = this.context;
    const long = config.hours * HOUR_MS;
    const { from } = config.range;
    const { time } = this.day;
    // Who was sent a moment that has left the last hours meanwhile sees what was around it.
    const sent = !this.moved && from === null && config.range.to === null && time !== null && time < live.now - long;
    const to = config.range.to ?? (sent ? time + long / 2 : live.now);
    return [from ?? to - long, to];
  }

  // Places and believable positions are in; who is far off is counted, and does not shrink the others.
  frame(trucks) {
    const points = this.context.site.places.map((p) => [p.lat_deg, p.lon_deg]);
    const all = points.length ? points : trucks.map((x) => [x.lat, x.lon]);
    const trail = (this.trail ?? []).map((p) => [p.lat_deg, p.lon_deg]);
    const known = this.trail?.length ? [...trail, ...points.filter((p) => near(p, trail))] : all;
    if (!known.length) return null;
    const lats = known.map((p) => p[0]);
    const lons = known.map((p) => p[1]);
    const squeeze = Math.cos((Math.PI / 180) * ((Math.min(...lats) + Math.max(...lats)) / 2));
    const box = this.picture.getBoundingClientRect();
    const width = box.width || 800;
    const height = box.height || 500;
    const north = (Math.max(...lats) + Math.min(...lats)) / 2;
    const east = (Math.max(...lons) + Math.min(...lons)) / 2;
    const tall = Math.max(Math.max(...lats) - Math.min(...lats), 0.02) * (1 + 2 * MARGIN);
    const wide = Math.max((Math.max(...lons) - Math.min(...lons)) * squeeze, 0.02) * (1 + 2 * MARGIN);
    const scale = Math.min(height / tall, width / wide);
    const at = (lat, lon) => [width / 2 + (lon - east) * squeeze * scale, height / 2 - (lat - north) * scale];
    return { at, width, height, km: scale / KM_A_DEGREE };
  }

  trucks() {
    const { live, site } = this.context;
    const tracks = live.rows("tracks");
    const arrivals = live.rows("arrivals");
    const loads = new Map();
    for (const trip of live.rows("trips").values()) if (trip.state === "open") loads.set(site.plates[trip.plate], trip);
    const plates = new Map(Object.entries(site.plates).map(([plate, device]) => [device, plate]));
    return [...live.rows("positions").values()]
      .filter((r) => typeof r.lat_deg === "number" && typeof r.lon_deg === "number" && site.byId.has(r.key))
      .map((r) => {
        const { state } = live.state(site.byId.get(r.key), r.window_start);
        const told = tracks.get(r.key)?.state;
        const trip = loads.get(r.key);
        return {
          device: r.key, plate: plates.get(r.key) ?? r.key, lat: r.lat_deg, lon: r.lon_deg, heading: r.heading_deg ?? 0, at: r.window_start,
          state: state === "silent" ? "offline" : told ?? (r.speed_m_s > 1 ? "driving" : "stopped"),
          trip, late: arrivals.get(trip?.key)?.late_p ?? 0,
        };
      })
      .sort((a, b) => a.late - b.late || a.device.localeCompare(b.device));
  }

  // Where the trucks are that are drawn, in a replay at its time; of a chosen one its trail.
  table() {
    const iso = (at) => (typeof at === "number" ? new Date(at).toISOString() : at);
    if (this.truck) return [["device", "at", "lat_deg", "lon_deg"], ...(this.trail ?? []).map((p) => [this.truck, iso(p.window_start), p.lat_deg, p.lon_deg])];
    const { past } = this.day;
    const arrivals = this.context.live.rows("arrivals");
    const trucks = past ? this.day.trucks() : this.trucks();
    return [["device", "plate", "at", "lat_deg", "lon_deg", "state", "contract", "loaded_kg", "eta", "late_p"],
      ...trucks.map((x) => [x.device, x.plate, iso(x.at), x.lat, x.lon, x.state, x.trip?.contract, x.trip?.loaded_kg, iso(x.trip?.eta), past ? null : arrivals.get(x.trip?.key)?.late_p])];
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null) return;
    if (this.truck && !this.asked) this.fetchTrail();
    if (!this.truck) this.replayDay();
    const trucks = this.day.past ? this.day.trucks() : this.trucks();
    const key = JSON.stringify([trucks.map((x) => [x.device, x.lat, x.lon, x.state, x.late > LIKELY_LATE, Boolean(x.trip)]), this.trail?.length, this.trail?.[0]?.window_start, this.context.site.places.length, location.search, this.day.state === "there" && this.day.time]);
    if (key === this.drawn) return;
    this.drawn = key;
    const view = this.frame(trucks);
    if (!view) {
      put(this.picture, "none", () => h("div", { class: "hl-empty" }, t("no places are registered")));
      return;
    }
    this.view = view;
    const inside = trucks.filter((x) => within(view.at(x.lat, x.lon), view));
    this.ghost = s("g", { class: "hl-map-ghost" });
    put(this.picture, key, () => s("svg", { viewBox: `0 0 ${view.width} ${view.height}`, role: "group", "aria-label": t("map of the trucks") },
      this.scaleBar(view), this.trailLine(view), this.context.site.places.map((p) => this.place(p, view)), inside.map((x) => this.truckMark(x, view)), this.ghost));
    put(this.legend, `${key}`, () => this.legendOf(trucks, inside.length));
    if (this.truck) this.replay();
  }

  place(p, view) {
    const [x, y] = view.at(p.lat_deg, p.lon_deg);
    const mine = p.kind === "mine" || p.kind === "station";
    const [from, below] = besides(p.name, x, y, view);
    return s("g", { class: `hl-place hl-place-${p.kind}` },
      s("circle", { cx: x, cy: y, r: Math.max(11, (view.km * p.radius_m) / 1000) }),
      s("text", { x, y: y + 5, "text-anchor": "middle", class: "hl-place-shape" }, mine ? "M" : "P"),
      s("text", { x: from, y: below }, p.name));
  }

  truckMark(x, view) {
    const [cx, cy] = view.at(x.lat, x.lon);
    const { t, f } = this.context;
    const late = x.late > LIKELY_LATE;
    const words = [x.plate, t(x.state), x.trip && `${x.trip.contract ?? ""} ${f.number(x.trip.loaded_kg / 1000, "t")} t`, x.trip?.eta && t("arrives {time}", { time: f.moment(x.trip.eta) }), late && t("likely late"), f.moment(x.at)];
    const shape = SHAPES[x.state] ?? SHAPES.stopped;
    const classes = ["hl-truck", `hl-truck-${x.state}`, x.trip && "hl-truck-loaded", late && "hl-truck-late", x.device === this.truck && "hl-truck-chosen"];
    return s("a", { href: this.context.url("/logistics", { truck: x.device, replay: "", ...(this.day.on ? {} : { from: "", to: "" }) }), class: classes.filter(Boolean).join(" "), "aria-label": words.filter(Boolean).join(", ") },
      s("title", {}, words.filter(Boolean).join("\n")),
      s("g", { transform: `translate(${cx.toFixed(1)} ${cy.toFixed(1)})` },
        s("circle", { r: 12, class: "hl-truck-target" }),
        s("path", { d: shape, transform: x.state === "driving" ? `rotate(${x.heading})` : null }),
        late && s("text", { x: 10, y: 5, class: "hl-truck-digit" }, "3")));
  }

  legendOf(trucks, shown) {
    const { t } = this.context;
    const count = (state) => trucks.filter((x) => x.state === state).length;
    const entries = ["driving", "stopped", "offline"].map((state) => h("span", { class: "hl-map-entry" },
      s("svg", { viewBox: "-9 -9 18 18", width: 18, height: 18 }, s("path", { d: SHAPES[state], class: `hl-truck-${state}` })), `${t(state)} ${count(state)}`));
    const loaded = h("span", { class: "hl-map-entry" }, t("filled: loaded ({n})", { n: trucks.filter((x) => x.trip).length }));
    const off = trucks.length - shown ? h("span", { class: "hl-map-entry" }, t("{n} outside the map", { n: trucks.length - shown })) : null;
    const chosen = this.truck ? h("a", { href: this.context.url("/logistics", { truck: "", from: "", to: "", replay: "" }) }, t("all trucks")) : null;
    return [...entries, loaded, off, chosen];
  }

  scaleBar(view) {
    const km = [200, 100, 50, 20, 10, 5, 2, 1, 0.5].find((x) => x * view.km < view.width / 4) ?? 0.2;
    const y = view.height - 14;
    return s("g", { class: "hl-map-scale" }, s("path", { d: `M16 ${y - 6}V${y}H${16 + km * view.km}V${y - 6}` }), s("text", { x: 22, y: y - 8 }, `${km} km`));
  }

  trailLine(view) {
    if (!this.trail?.length) return null;
    return s("polyline", { class: "hl-trail", points: this.trail.map((p) => view.at(p.lat_deg, p.lon_deg).map((v) => v.toFixed(1)).join(",")).join(" ") });
  }

  // The trail stays until that of the new range is there.
  ranged() {
    clearTimeout(this.again);
    this.days = null;
    this.moved = true;
    this.day.follow();
    this.asked = undefined;
    this.update();
  }

  async fetchTrail() {
    const mine = this.asked = {};
    const [from, to] = this.span();
    const found = await fixes(from, to, Math.max(60000, Math.round((to - from) / 1440 / 60000) * 60000), [["key", this.truck]]);
    if (this.asked !== mine) return; // a newer range has its own
    if (!found) this.again = setTimeout(() => this.ranged(), AGAIN_MS);
    this.trail = believable(found ?? []);
    this.slider.hidden = !this.trail.length;
    const { t } = this.context;
    if (!this.trail.length) this.when.textContent = found ? t("no positions of {truck} in this time", { truck: this.truck }) : t("the measurements could not be read");
    this.drawn = null;
    this.update();
  }

  slid() {
    if (this.truck) this.replay();
    else this.day.seek(this.slider.value / 1000);
  }

  // All trucks in the page's range: what is asked for, and what can be done with it.
  replayDay() {
    const { day } = this;
    const { t, f } = this.context;
    if (day.on) {
      this.days ??= this.span(); // now goes on, and the range that is replayed stays
      day.begin(...this.days);
    } else this.days = null;
    const state = day.state;
    this.slider.hidden = state !== "there";
    if (state === "there") this.slider.value = 1000 * day.share;
    const says = { reading: t("reading the trucks' ways…"), nothing: t("no positions in this time"), away: t("the measurements could not be read"), there: state === "there" ? `${t("replay")} · ${f.moment(day.time)}` : "" };
    this.when.textContent = says[state] ?? "";
    this.picture.classList.toggle("hl-map-past", day.past);
    const focused = this.player.contains(document.activeElement);
    const moved = this.player.dataset.state !== state;
    this.player.dataset.state = state;
    const button = (name, text, does) => h("button", { class: "hl-button", type: "button", "data-replay": name, onclick: does }, text);
    put(this.player, `${state} ${day.playing}`, () => [
      state === "" && button("begin", `▶ ${t("replay")}`, () => { day.on = true; this.update(); day.tell(); }),
      state === "there" && (day.playing ? button("pause", `■ ${t("pause")}`, () => day.pause()) : button("play", `▶ ${t("play")}`, () => day.play())),
      state === "away" && button("again", t("try again"), () => day.again()),
      state !== "" && button("leave", t("back to now"), () => day.leave()),
    ].filter(Boolean));
    if (focused && (moved || !this.player.contains(document.activeElement))) this.player.querySelector("button").focus(); // the pressed one is gone
  }

  // The chosen truck where it was at the slider's time.
  replay() {
    if (!this.trail?.length || !this.ghost) return;
    const point = this.trail[Math.round((this.slider.value / 1000) * (this.trail.length - 1))];
    const [x, y] = this.view.at(point.lat_deg, point.lon_deg);
    this.ghost.replaceChildren(s("circle", { cx: x, cy: y, r: 9 }));
    this.when.textContent = this.context.f.moment(point.window_start);
  }
}

const SHAPES = { driving: "M0 -9L7 8L0 4L-7 8Z", stopped: "M-6 -6H6V6H-6Z", offline: "M-6 -6L6 6M6 -6L-6 6" };
const within = ([x, y], view) => x >= 0 && x <= view.width && y >= 0 && y <= view.height;

// Where a place's name stands: below it, or above where the scale's bar is.
function besides(name, x, y, view) {
  const from = startOf(name, x, 18, view.width);
  return [from, y + 24 > view.height - 44 && from < view.width / 4 + 60 ? y - 18 : y + 24];
}

const near = (place, trail) => trail.some(([lat, lon]) => Math.hypot(lat - place[0], lon - place[1]) < 0.2);
