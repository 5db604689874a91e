// Elements from data. Text only ever becomes a text node, so a name that looks like HTML stays a name.
import { replaceHeld } from "./focus.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Replaces what stands in `element` only when `key` says that it would look different.
export function put(element, key, make) {
  if (element.dataset.shown === key) return;
  element.dataset.shown = key;
  replaceHeld(element, [make()].flat(Infinity).filter((n) => n !== null && n !== undefined && n !== false));
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const cssColour = (name) =>
  getComputedStyle(document.querySelector(".hl")).getPropertyValue(`--${name}`).trim() || "#888";

// About how long a text of 16 px is. [px]
export const lengthOf = (text) => [...text].reduce((sum, letter) => sum + (letter > "\u2e7f" ? 16 : 8.5), 0);

// Where a text beside `x` begins, `gap` away: on the side that has room for it, and whole on a drawing so wide.
export function startOf(text, x, gap, width) {
  const long = lengthOf(text);
  const wanted = x > width * 0.6 ? x - gap - long : x + gap;
  return Math.max(4, Math.min(wanted, width - long - 4));
}
