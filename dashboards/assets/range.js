// The page's one range: it stands in the address and changes without a new page, which costs five times as long.
const NAMES = ["from", "to", "hours", "compare"];
const MOST_H = 24 * 366;
const FRAME = ".hl-nav a, .hl-switches a, .hl-devices a";

const asked = () => new URLSearchParams(location.search);

// A range whose ends are fixed, or the last `hours` up to now; and whether what was before it is drawn too.
export function rangeOf(query = asked()) {
  const time = (name) => (query.get(name) ? Number(query.get(name)) : null);
  const hours = Number(query.get("hours"));
  const long = hours > 0 && hours <= MOST_H ? hours : 24;
  const to = time("to");
  return { range: { from: time("from") ?? (to === null ? null : to - long * 3600000), to }, hours: long, compare: query.get("compare") === "1" };
}

// A range that ends before it begins, or goes up to now and begins later, cannot be shown: it leaves the address,
// and what it was is told.
export function mended(now) {
  const { from, to } = rangeOf().range;
  if (from === null || from < (to ?? now)) return null;
  const later = to === null;
  const here = new URL(location.href);
  for (const name of ["from", "to"]) here.searchParams.delete(name);
  history.replaceState(history.state, "", here);
  return { from, to, later };
}

export class Ranging {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.query = asked();
    this.read = () => this.readAddress();
    window.addEventListener("popstate", this.read);
    for (const link of document.querySelectorAll(FRAME)) carry(link, new URLSearchParams(), this.query); // the server's have none
  }

  go(address) {
    if (new URL(address, location.href).href === location.href) return;
    history.pushState(null, "", address);
    this.read();
  }

  // A link with its own way of being followed: in a tab of its own where a key says so.
  follow(event) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.go(event.currentTarget.href);
  }

  readAddress() {
    const before = this.query;
    this.query = asked();
    for (const link of [...this.root.querySelectorAll("a[href]"), ...document.querySelectorAll(FRAME)]) carry(link, before, this.query);
    this.changed(rangeOf(this.query));
  }

  stop() {
    window.removeEventListener("popstate", this.read);
  }
}

// Links that led on with the page's range go on doing so; who leads to a time of its own is left alone.
function carry(link, before, now) {
  const to = new URL(link.getAttribute("href"), location.href);
  if (to.origin !== location.origin || NAMES.some((name) => to.searchParams.get(name) !== before.get(name))) return;
  for (const name of NAMES) {
    if (now.get(name)) to.searchParams.set(name, now.get(name));
    else to.searchParams.delete(name);
  }
  link.setAttribute("href", to.pathname + to.search + to.hash);
}
