// What stands in a panel, taken along: as CSV with every digit, or as a picture.
import { h, s } from "./dom.js";

const FLAGS = ["final", "provisional", "partial", "out_of_range"];
const NOT_XML = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu;

// A text that a spreadsheet would take for a formula gets an apostrophe in front; a number stays one.
export function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csvOf = (rows) => `\uFEFF${rows.map((row) => row.map(csvCell).join(",")).join("\r\n")}\r\n`;

function historyRows(panel, answer, { f, site }) {
  const extremes = answer.series.some((line) => line.low) ? ["low", "high"] : [];
  const bins = answer.series.some((line) => line.bin) ? ["step_s"] : []; // from that time on, where a value is of more than one row
  const rows = [["series", "key", "name", "time", "utc", "value", "unit", "state", ...extremes, ...bins]];
  for (const line of answer.series) {
    const { label, unit } = panel.series[line.index];
    line.t.forEach((at, i) => rows.push([label, line.key, site.byId.get(line.key)?.name ?? "",
      new Date(f.shifted(at)).toISOString().slice(0, 19), new Date(at).toISOString(), line.v[i], unit, FLAGS[line.f[i]] ?? "",
      ...extremes.map((name) => line[name]?.[i]), ...bins.map(() => line.bin && line.bin / 1000)]));
  }
  return rows;
}

// As it is read on the page: for what is made of words rather than of numbers.
function shownRows(body) {
  const words = (x) => x.textContent.trim();
  const of = (selector, cells) => [...body.querySelectorAll(selector)].map((row) => [...row.querySelectorAll(cells)].map(words));
  const rows = [...of("tr", "th, td"), ...of(".hl-component", ":scope > *"), ...of(".hl-indicator", ":scope > *")];
  const terms = [...body.querySelectorAll("dt")].map((dt) => [words(dt), words(dt.nextElementSibling)]);
  const drawn = [...body.querySelectorAll("svg > text")].map((x) => [words(x)]);
  return [...rows, ...terms, ...(rows.length || terms.length ? [] : drawn.length ? drawn : [[words(body)]])];
}

export function panelRows(panel, view, answer, context) {
  const own = view.table?.();
  if (own) return own;
  return answer && answer.series.length ? historyRows(panel, answer, context) : shownRows(view.body);
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000); // a browser may first ask where to
}

async function picture(card, config) {
  const { width, height } = card.getBoundingClientRect();
  const css = await (await fetch(`${config.assets}/board.css`)).text();
  const copy = card.cloneNode(true);
  copy.querySelector(".hl-tools")?.remove();
  copy.removeAttribute("id");
  const drawn = card.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, i) => canvas.replaceWith(
    h("img", { src: drawn[i].toDataURL(), style: { width: `${drawn[i].clientWidth}px`, height: `${drawn[i].clientHeight}px` } })));
  for (const [name, value] of [["width", `${width}px`], ["height", `${height}px`], ["margin", "0"]]) copy.style.setProperty(name, value);
  const frame = h("div", { class: `hl hl-${config.theme}`, style: { position: "static", "min-height": "0", width: `${width}px`, height: `${height}px` } }, copy);
  const svg = s("svg", { width, height }, s("foreignObject", { width: "100%", height: "100%" }, h("style", {}, css), frame));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(svg).replace(NOT_XML, "\uFFFD"))}`;
  await image.decode();
  const canvas = h("canvas", { width: Math.round(2 * width), height: Math.round(2 * height) });
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  pen.drawImage(image, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

export function tools(entry, context) {
  const { panel, view, card } = entry;
  const { config, t } = context;
  const name = (ending) => [panel.id, config.scope.device || config.scope.unit || config.scope.region || "group"].join("_").replaceAll(/[^\w.-]/g, "_") + ending;
  // The keyboard stays where the menu was opened, not in what is hidden now.
  const close = () => {
    const held = menu.contains(document.activeElement);
    menu.open = false;
    if (held) menu.firstElementChild.focus();
  };
  const csv = () => { save(new Blob([csvOf(panelRows(panel, view, entry.answer, context))], { type: "text/csv;charset=utf-8" }), name(".csv")); close(); };
  const png = async () => { close(); save(await picture(card, config), name(".png")); };
  const says = `${t("take along")}: ${panel.title}`;
  const menu = h("details", { class: "hl-tools" }, h("summary", { "aria-label": says, title: says }, "⤓"),
    h("div", {}, h("button", { type: "button", class: "hl-button", "data-take": "csv", onclick: csv }, "CSV"),
      h("button", { type: "button", class: "hl-button", "data-take": "png", onclick: png }, "PNG")));
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  menu.addEventListener("focusout", (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false; });
  return menu;
}
