// Where labels of a drawing stand, so that none lies over another: what matters most is placed first.
import { lengthOf } from "./dom.js";

const ABOVE = 15; // of a line of 16 px over its base
const BELOW = 5;
const GAP = 13;

const boxOf = (x, base, long) => ({ left: x, right: x + long, top: base - ABOVE, bottom: base + BELOW });
const clash = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
export const around = ([x, y], r) => ({ left: x - r, right: x + r, top: y - r, bottom: y + r });

// Beside, above or below its point.
function spots([x, y], long, { width, height }) {
  const [right, left, middle] = [x + GAP, x - GAP - long, Math.min(Math.max(2, x - long / 2), width - long - 2)];
  return [[right, y + 5], [left, y - GAP], [left, y + 5], [middle, y - GAP - 3], [middle, y + GAP + ABOVE], [right, y - GAP], [right, y + GAP + 8], [left, y + GAP + 8]]
    .filter(([from, base]) => from >= 2 && from + long <= width - 2 && base - ABOVE >= 0 && base + BELOW <= height);
}

// Of each wanted {at, text, needed} where its text begins and its base line, or null where there is no room.
// `marks` are boxes that stay free; a text that is needed may lie over those, never over another text.
export function placed(wanted, marks, size) {
  const texts = [];
  return wanted.map(({ at, text, needed }) => {
    const long = lengthOf(text);
    const all = spots(at, long, size);
    const free = (others) => all.find(([x, base]) => !others.some((box) => clash(box, boxOf(x, base, long))));
    const spot = free([...texts, ...marks]) ?? (needed ? free(texts) : null) ?? null;
    if (spot) texts.push(boxOf(...spot, long));
    return spot;
  });
}
