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
  const lazy = (make) => { // made when first asked for: each takes some ms
    let made = null;
    return { format: (t) => (made ??= make()).format(t), formatToParts: (t) => (made ??= make()).formatToParts(t) };
  };
  const parts = (options, zone, place = locale) => lazy(() => new Intl.DateTimeFormat(place, { timeZone: zone, hourCycle: "h23", ...options }));
  const day = { year: "numeric", month: "2-digit", day: "2-digit" };
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const minute = { hour: "2-digit", minute: "2-digit" };
  const date = parts(day, timezone);
  const time = parts(clock, timezone);
  const short = parts(minute, timezone);
  const moment = parts({ month: "2-digit", day: "2-digit", ...minute }, timezone);
  const utc = parts({ ...day, ...clock }, "UTC");
  const offset = parts({ ...day, ...clock }, timezone, "en-US");
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
    date: (t) => date.format(t),
    time: (t) => time.format(t),
    short: (t) => short.format(t),
    moment: (t) => moment.format(t),
    utc: (t) => `${utc.format(t)} UTC`,
    // Site time as if it were UTC: ECharts then draws the site's hours whatever the browser's zone is.
    shifted: (t) => t + ahead(t),
    age: (ms, t) => {
      const seconds = Math.max(0, Math.round(ms / 1000));
      if (seconds < 90) return t("{n} s", { n: seconds });
      if (seconds < 5400) return t("{n} min", { n: Math.round(seconds / 60) });
      if (seconds < 172800) return t("{n} h", { n: Math.round(seconds / 3600) });
      return t("{n} d", { n: Math.round(seconds / 86400) });
    },
  };
}

// Texts of the catalogue; a code that it does not know is shown as words.
export const translator = (texts) => (text, values = {}) =>
  (texts[text] ?? String(text).replaceAll("_", " ")).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
