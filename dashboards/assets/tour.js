// The demo's first steps: what is made up here, and where to see what the system is for.
import { h } from "./dom.js";

const SEEN = "hl_tour_seen";
const STOPS = [
  ["/water", "a leak found", "Water, leak suspects: what is lost, since when, where, and how sure that is. One click further is the balance it was found in."],
  ["/logistics", "a late truck", "Logistics: exceptions come first; a truck that is kept waiting before the yard or strays says since when, and its trail is one click away."],
  ["/alarms", "an alarm acknowledged", "Alarms: choose one, read why, put in your name and press acknowledge. Its count in the header goes down."],
  ["/trust", "a restatement", "Trust, restatements: when late data changes what was said, the old and the new value stand side by side with the reason."],
];

export class Tour {
  constructor(context) {
    this.context = context;
    const { config, t } = context;
    if (!config.tour) return;
    this.link = h("button", { type: "button", class: "hl-tour-link", onclick: () => this.open() }, t("what is this, and where to begin"));
    document.querySelector(".hl-simulated")?.append(" ", this.link);
    if (config.page.id === "overview" && !config.wall.turn_s && !this.seen) this.open();
  }

  get seen() {
    try { return localStorage.getItem(SEEN) === "1"; } catch { return true; }
  }

  open() {
    const { t, url } = this.context;
    const close = () => { try { localStorage.setItem(SEEN, "1"); } catch { /* asked again next time */ } };
    const dialog = h("dialog", { class: "hl-dialog hl-tour", "aria-label": t("where to begin") }, h("h2", {}, t("where to begin")),
      h("p", {}, t("Everything here is made up by a simulator that runs faster than the clock: a plant, thirty substations, trucks, weighbridges and a mine. The system that watches it is the real one and knows nothing of how it is made.")),
      h("ol", {}, STOPS.map(([path, what, where]) => h("li", {}, h("a", { href: url(path), onclick: close }, t(what)), h("div", { class: "hl-muted" }, t(where))))),
      h("p", {}, t("Press ? for keys. What has not happened yet is not shown: at the demo's usual speed the first alarm, a pump's, comes after two minutes, the restatement after four, the leak after five, the truck after eleven.")),
      h("form", { method: "dialog" }, h("button", { class: "hl-button" }, t("begin"))));
    dialog.addEventListener("close", () => { close(); dialog.remove(); });
    document.querySelector(".hl").append(dialog);
    dialog.showModal();
  }

  stop() {
    this.link?.remove();
  }
}
