// All trucks as they went in the page's range: where each was, whether it drove, and with a load or without.
import { asked, believable, fixes, wayTo } from "./positions.js";

const MOST_ROWS = 60000;
const LONGEST_TRIP_MS = 3 * 86400000;
const AWAY_MS = 900000;
const DRIVES_M_S = 1;
const TRIP = ["plate", "contract", "loaded_kg", "departed", "arrived", "received_ms", "state"];
const PLAYED_MS = 60000; // a whole range in a minute
const FRAME_MS = 100;
const MINUTE_MS = 60000;

export class DayReplay {
  constructor(context, changed) {
    this.context = context;
    this.changed = changed;
    this.time = standing();
    this.on = this.time !== null;
  }

  // "reading", "nothing", "away" where it could not be read, "there", or "" where nobody wants it.
  get state() {
    if (!this.on) return "";
    return this.tracks ? (this.tracks.size ? "there" : "nothing") : this.failed ? "away" : "reading";
  }

  // What is drawn is not what is now.
  get past() {
    return this.on && Boolean(this.tracks);
  }

  get playing() {
    return Boolean(this.timer);
  }

  // Asks for what it lacks of the range [from, to).
  begin(from, to) {
    if (!this.on || (this.from === from && this.to === to)) return;
    Object.assign(this, { on: true, from, to, tracks: null, failed: false });
    this.start = from;
    this.anew = this.time === null || this.time < from || this.time > to;
    if (this.anew) this.time = from;
    this.read();
  }

  async read() {
    const mine = this.reading = {};
    const { from, to } = this;
    const { site, config } = this.context;
    const every = this.every = steps(to - from, site.devices.filter((d) => d.class === "truck").length);
    const place = Object.entries({ region: config.scope.region, unit: config.scope.unit }).filter(([, name]) => name);
    const [found, trips] = await Promise.all([
      fixes(from, to, every, [["class", "truck"], ["narrow", 1], ...place]),
      asked([["measurement", "trip"], ...TRIP.map((name) => ["field", name]), ["from", from - LONGEST_TRIP_MS], ["to", to], ...place]),
    ]);
    if (this.reading !== mine || !this.on) return;
    this.failed = !found || !trips;
    if (!this.failed) {
      const interval = (key) => 1000 * (site.byId.get(key).interval_s ?? 0);
      this.tracks = tracksOf(found.filter((p) => site.byId.has(p.key)), every, to, interval);
      this.loads = loadsOf(trips, site.plates);
      // Nobody wants to watch an empty map: it begins where the first truck was heard of.
      this.start = Math.max(from, Math.min(to, ...[...this.tracks.values()].map((points) => points[0]?.window_start ?? to)));
      if (this.anew && this.tracks.size) this.time = this.start;
    }
    this.changed();
  }

  again() {
    this.failed = false;
    this.read();
    this.changed();
  }

  // The trucks at the time of the replay, as the map draws them.
  trucks() {
    const plates = new Map(Object.entries(this.context.site.plates).map(([plate, device]) => [device, plate]));
    return [...this.tracks].map(([device, points]) => {
      const found = between(points, this.time, Math.max(AWAY_MS, 3 * this.every));
      const trip = (this.loads.get(device) ?? []).filter((x) => x.departed <= this.time).at(-1);
      return found && { device, plate: plates.get(device) ?? device, ...found, trip: trip && this.time < unloaded(trip) ? trip : null, late: 0 };
    }).filter(Boolean).sort((a, b) => a.device.localeCompare(b.device));
  }

  get share() {
    return this.to > this.from ? (this.time - this.from) / (this.to - this.from) : 0;
  }

  seek(share) {
    this.time = Math.round(this.from + share * (this.to - this.from));
    this.changed();
  }

  play() {
    if (this.time >= this.to) this.time = this.start;
    let last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      const gone = now - last;
      last = now;
      if (this.state !== "there") return; // it goes on when another range has been read
      this.time = Math.min(this.to, this.time + (gone * (this.to - this.from)) / PLAYED_MS);
      if (this.time >= this.to) this.pause();
      this.changed();
    }, FRAME_MS);
    this.changed();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.tell();
    this.changed();
  }

  // Where it stands, in the address: a colleague who has it sees the same.
  tell() {
    history.replaceState(null, "", this.context.url(location.pathname, { replay: this.on ? Math.round(this.time) : "" }));
  }

  // The address is another one: whoever went back in it may have left the replay, or come to it.
  follow() {
    const at = standing();
    if (at === null && this.on) this.leave();
    else if (at !== null && !this.playing) Object.assign(this, { on: true, time: at });
  }

  leave() {
    clearInterval(this.timer);
    Object.assign(this, { on: false, timer: null, time: null, from: null, to: null, tracks: null, reading: null });
    this.tell();
    this.changed();
  }

  stop() {
    clearInterval(this.timer);
  }
}

// The time in the address, of all trucks: a chosen one has its trail. [ms UTC]
function standing() {
  const query = new URLSearchParams(location.search);
  return query.get("truck") ? null : Number(query.get("replay")) || null;
}

// Whole minutes a step, so that all trucks together are not too many rows.
function steps(span, trucks) {
  return Math.max(1, Math.ceil((span * Math.max(1, trucks)) / MOST_ROWS / MINUTE_MS)) * MINUTE_MS;
}

// The last fix of a step stands where it may be expected: an interval of its device before the step's end.
export function tracksOf(found, every, to, interval) {
  const placed = found.map((p) => ({ ...p, window_start: Math.min(to, p.window_start + Math.max(0, every - Math.max(MINUTE_MS, interval(p.key)))) }));
  const tracks = [...grouped(placed, (p) => p.key)].map(([device, points]) => [device, believable(points.sort((a, b) => a.window_start - b.window_start))]);
  return new Map(tracks.filter(([, points]) => points.length));
}

function grouped(list, keyOf) {
  const groups = new Map();
  for (const one of list) {
    if (!groups.has(keyOf(one))) groups.set(keyOf(one), []);
    groups.get(keyOf(one)).push(one);
  }
  return groups;
}

function loadsOf(trips, plates) {
  const known = trips.filter((trip) => plates[trip.plate] && typeof trip.departed === "number").sort((a, b) => a.departed - b.departed);
  return grouped(known, (trip) => plates[trip.plate]);
}

// A truck in the yard is loaded until it has been weighed there. [ms UTC]
const unloaded = (trip) => (trip.state === "open" ? Infinity : trip.received_ms ?? trip.arrived ?? Infinity);

// Where a truck was at `time`: between two fixes on the line between them, unless they are too far apart to know.
export function between(points, time, away) {
  const next = points.findIndex((p) => p.window_start > time);
  const at = next < 0 ? points.length - 1 : next - 1;
  if (at < 0) return null; // not heard of yet
  const a = points[at];
  const b = points[at + 1];
  const here = { lat: a.lat_deg, lon: a.lon_deg, heading: 0, at: a.window_start };
  if (!b || b.window_start - a.window_start > away) return { ...here, state: time - a.window_start > away ? "offline" : "stopped" };
  const share = (time - a.window_start) / (b.window_start - a.window_start);
  const [north, east] = wayTo(a, b);
  const drives = (1000 * Math.hypot(north, east)) / (b.window_start - a.window_start) > DRIVES_M_S;
  return {
    ...here, lat: a.lat_deg + share * (b.lat_deg - a.lat_deg), lon: a.lon_deg + share * (b.lon_deg - a.lon_deg), at: time,
    heading: (180 / Math.PI) * Math.atan2(east, north), state: drives ? "driving" : "stopped",
  };
}
