// Numbers, ages and times as people of the site read them. The browser's own clock is never asked.

const DECIMALS = {
  "°C": 1, kW: 1, MW: 2, "m³/h": 1, kPa: 0, "%": 0, "% ": 2, "MJ/kg": 2, "kg/GJ": 1, "CNY/GJ": 2, kg: 0, Hz: 1, GJ: 3, "m³": 1, "GJ/15 min": 2, t: 1, d: 1, h: 0,
};

const QUARTER_MS = 900000;

export function formats(language, timezone) {
  const locale = language === "zh" ? "zh-CN" : "en-GB";
  const numbers = new Map();
  const number = (value, decimals) => {
    if (!numbers.has(decimals)) {
      const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
      numbers.set(decimals, new Intl.NumberFormat(locale, digits));
    }
    return numbers.get(decimals).format(value);
  };
  // One for the zone's offset; the rest is digits in their places, as each further one would take 10 ms.
  const digits = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const offset = new Intl.DateTimeFormat("en-US", { timeZone: timezone, hourCycle: "h23", ...digits });
  const aheads = new Map(); // a zone's offset changes at quarters of an hour only: asked for once each
  const ahead = (t) => {
    const quarter = Math.floor(t / QUARTER_MS);
    if (!aheads.has(quarter)) {
      if (aheads.size > 20000) aheads.clear();
      const p = Object.fromEntries(offset.formatToParts(quarter * QUARTER_MS).map((x) => [x.type, Number(x.value)]));
      aheads.set(quarter, Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second) - quarter * QUARTER_MS);
    }
    return aheads.get(quarter);
  };

  const shifted = (t) => t + ahead(t);
  const iso = (t) => new Date(t).toISOString();
  const date = (t) => (language === "zh" ? iso(t).slice(0, 10).replaceAll("-", "/") : `${monthDay(t)}/${iso(t).slice(0, 4)}`);
  const monthDay = (t) => {
    const [month, day] = iso(t).slice(5, 10).split("-");
    return language === "zh" ? `${month}/${day}` : `${day}/${month}`;
  };
  const time = (t) => iso(t).slice(11, 19);
  const short = (t) => iso(t).slice(11, 16);
  const gap = language === "zh" ? " " : ", ";
  const known = (make) => (t) => (Number.isFinite(t) ? make(t) : "–");

  return {
    number: (value, unit = "") => {
      if (typeof value !== "number" || !Number.isFinite(value)) return "–";
      let decimals = DECIMALS[unit] ?? (Number.isInteger(value) ? 0 : 2);
      if (unit === "d" && Math.abs(value) >= 100) decimals = 0;
      if (decimals > 0 && Math.abs(value) >= 1000) decimals = Math.max(0, decimals - 1);
      return number(value, decimals).replace(/^-(0([.,]0*)?)$/, "$1");
    },
    count: (value) => (typeof value === "number" ? number(value, 0) : "–"),
    percent: (share) => (typeof share === "number" ? number(100 * share, share > 0.995 || share === 0 ? 0 : 1) : "–"),
    date: known((t) => date(shifted(t))),
    time: known((t) => time(shifted(t))),
    short: known((t) => short(shifted(t))),
    moment: known((t) => `${monthDay(shifted(t))}${gap}${short(shifted(t))}`),
    stamp: known((t) => `${date(shifted(t))}${gap}${short(shifted(t))}`),
    utc: known((t) => `${date(t)}${gap}${time(t)} UTC`),
    // Site time as if it were UTC: ECharts then draws the site's hours whatever the browser's zone is.
    shifted,
    age: (ms, t) => {
      const seconds = Math.max(0, Math.round(ms / 1000));
      if (seconds < 90) return t("{n} s", { n: seconds });
      if (seconds < 5400) return t("{n} min", { n: Math.round(seconds / 60) });
      if (seconds < 172800) return t("{n} h", { n: Math.round(seconds / 3600) });
      return t("{n} d", { n: Math.round(seconds / 86400) });
    },
  };
}

// A sentence of the server's: its wording with what is filled in, said in the page's language; other text as it is.
export function says(told, t) {
  if (told === null || typeof told !== "object") return String(told ?? "");
  const values = Object.entries(told.with).map(([name, value]) => [name, says(value, t)]);
  return told.say ? t(told.say, Object.fromEntries(values)) : values.map(([, value]) => value).join(t(", "));
}

// Texts of the catalogue; a code that it does not know is shown as words.
export const translator = (texts) => (text, values = {}) =>
  (texts[text] ?? String(text).replaceAll("_", " ")).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
