// The newest rows, as the hub sends them: everything once, then only what changed.

const WAY_MS = 4000;
export const IMPLAUSIBLE = "implausible:";

// Whether the newest value of a row cannot be so, or is computed of one that cannot: the pipeline has flagged it.
export function flagged(row, series) {
  const flags = (row?.quality ?? "").split(";");
  return series.judged_by.some((field) => flags.includes(IMPLAUSIBLE + field));
}

function sound(row) {
  if (!row.quality?.includes(IMPLAUSIBLE)) return row;
  const flags = row.quality.split(";");
  return Object.fromEntries(Object.entries(row).filter(([field]) => !flags.includes(IMPLAUSIBLE + field)));
}

export class Live {
  constructor() {
    this.feeds = new Map();
    this.sound = new Map();
    this.now = null;
    this.trouble = [];
    this.heard = null;
    this.pace = 1;
  }

  rows(feed) {
    return this.feeds.get(feed) ?? new Map();
  }

  // The same without values that cannot be so: whoever compares or adds them up has none there.
  believed(feed) {
    if (!this.sound.has(feed)) this.sound.set(feed, new Map([...this.rows(feed)].map(([key, row]) => [key, sound(row)])));
    return this.sound.get(feed);
  }

  // Alarms that ask for somebody: raised, and neither put aside nor covered by another.
  get unacknowledged() {
    return [...this.rows("alarms").values()].filter((row) => row.state === "raised" && !row.suppressed && !row.shelved_until);
  }

  // Takes one message in and returns the names of the feeds that changed.
  take(message) {
    const changed = new Set();
    this.sound.clear();
    this.measurePace(message.now);
    this.now = message.now;
    this.heard = performance.now();
    this.trouble = message.trouble ?? [];
    for (const [feed, rows] of Object.entries(message.all ?? {})) {
      this.feeds.set(feed, new Map(Object.entries(rows)));
      changed.add(feed);
    }
    for (const [feed, rows] of Object.entries(message.set ?? {})) {
      changed.add(feed);
      const mine = this._feed(feed);
      for (const [key, delta] of Object.entries(rows)) {
        const row = { ...mine.get(key), ...delta };
        for (const [field, value] of Object.entries(delta)) if (value === null) delete row[field];
        mine.set(key, row);
      }
    }
    for (const [feed, keys] of Object.entries(message.gone ?? {})) {
      changed.add(feed);
      for (const key of keys) this._feed(feed).delete(key);
    }
    return changed;
  }

  // How fast the site's clock runs against ours: 1, or more where time is simulated.
  measurePace(now) {
    if (this.now !== null && this.now !== now) {
      const pace = (now - this.now) / Math.max(200, performance.now() - this.heard);
      this.pace = Math.max(1, 0.7 * this.pace + 0.3 * Math.min(pace, 10000));
    }
  }

  _feed(feed) {
    if (!this.feeds.has(feed)) this.feeds.set(feed, new Map());
    return this.feeds.get(feed);
  }

  // fresh, stale, silent or never; `age` in ms. `at` is the newest reading's time.
  state(device, at) {
    if (at === undefined || at === null) return { state: "never", age: null };
    const age = Math.max(0, this.now - at);
    const way = (this.pace - 1) * WAY_MS; // the way from device to page takes real time, which is longer in fast time
    if (age > device.silent_ms + way) return { state: "silent", age };
    return { state: age > device.stale_ms + way ? "stale" : "fresh", age };
  }
}
