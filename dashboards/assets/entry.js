// Entering by hand what no meter sees. It asks for what it needs, says what it will do, and does it once confirmed.
import { h } from "./dom.js";
import { says } from "./format.js";

const WATER = ["flush", "fill", "drain", "draw"];
const FIELDS = {
  water: [["network", "network", "select"], ["volume_m3", "volume, m³", "number"]],
  survey: [["unit", "unit", "select"], ["stock_t", "stock, t", "number"]],
  correct: [["unit", "unit", "select"], ["ticket", "ticket", "text"], ["step", "weighing", "select"], ["mass_kg", "mass that holds, kg", "number"], ["plate", "plate that holds", "text"], ["contract", "contract that holds", "text"]],
};
const kindOf = (event) => (WATER.includes(event) ? "water" : event);

export class Entry {
  constructor(context) {
    this.context = context;
    const { config, t } = context;
    if (!config.entering) return;
    this.button = h("button", { type: "button", class: "hl-enter", "data-enter": "", onclick: () => this.open() }, t("enter …"));
    document.getElementById("hl-scope")?.append(this.button);
    const wanted = new URLSearchParams(location.search).get("enter");
    if (wanted) this.open(wanted);
  }

  open(event = "flush") {
    const { t } = this.context;
    this.event = FIELDS[kindOf(event)] ? event : "flush";
    this.values = { who: this.values?.who ?? "" };
    this.form = h("form", { class: "hl-entry", onsubmit: (e) => { e.preventDefault(); this.confirm(); } });
    this.dialog = h("dialog", { class: "hl-dialog", "aria-label": t("enter by hand") }, h("h2", {}, t("enter by hand")), this.form);
    this.dialog.addEventListener("close", () => { this.dialog.remove(); this.dialog = null; });
    document.querySelector(".hl").append(this.dialog);
    this.ask();
    this.dialog.showModal();
  }

  ask() {
    const { t } = this.context;
    const events = h("select", { name: "event", onchange: (e) => { this.keep(); this.event = e.target.value; this.ask(); } },
      [...WATER, "survey", "correct"].map((x) => h("option", { value: x, selected: x === this.event }, t(`enter ${x}`))));
    const fields = [...FIELDS[kindOf(this.event)], ["at", "when it happened (empty: now)", "datetime-local"], ["note", this.event === "correct" ? "reason" : "note", "text"], ["who", "your name", "text"]];
    this.form.replaceChildren(this.row(t("what happened"), events), ...fields.map(([name, label, type]) => this.row(t(label), this.field(name, type))),
      h("p", { class: "hl-entry-says", role: "status" }), h("div", { class: "hl-entry-foot" },
        h("button", { type: "submit", class: "hl-button" }, t("go on")), h("button", { type: "button", class: "hl-button", onclick: () => this.dialog.close() }, t("close"))));
  }

  row(label, field) {
    return h("label", {}, h("span", {}, label), field);
  }

  field(name, type) {
    const { config, t } = this.context;
    if (type !== "select") return h("input", { name, type, step: type === "number" ? "any" : null, value: this.values[name] ?? "", autocomplete: "off" });
    const scope = config.scope.unit;
    const choices = name === "network" ? config.entering.networks : name === "step" ? [["gross", t("gross")], ["tare", t("tare")]]
      : config.places.filter(([kind]) => kind === "unit").map(([, id, text]) => [id, text]);
    return h("select", { name }, choices.map(([value, text]) => h("option", { value, selected: value === (this.values[name] ?? scope) }, text)));
  }

  keep() {
    this.values = Object.fromEntries(new FormData(this.form));
  }

  // What will happen, in words, before it does.
  confirm() {
    const { t } = this.context;
    this.keep();
    const { volume_m3: volume, stock_t: stock, network, unit, ticket, at } = this.values;
    const when = at ? at.replace("T", " ") : t("now");
    const does = {
      water: () => t("{what}: {volume} m³ of network {network} at {when} counts as authorised water. Balances of that time are computed again.", { what: t(`enter ${this.event}`), volume, network, when }),
      survey: () => t("The stock of unit {unit} at {when} counts as {stock} t. Days of heat left are computed from it.", { unit, stock, when }),
      correct: () => t("What you enter holds for ticket {ticket} instead of what was weighed. Both stay in the books, with your name and reason.", { ticket }),
    };
    const yes = h("button", { type: "button", class: "hl-button", "data-enter": "yes", onclick: () => this.send(yes) }, t("enter it"));
    this.form.querySelector(".hl-entry-says").replaceChildren(does[kindOf(this.event)](), " ", t("It is kept in the journal and cannot be taken back, only followed by another entry."));
    this.form.querySelector(".hl-entry-foot").replaceChildren(yes, h("button", { type: "button", class: "hl-button", onclick: () => this.ask() }, t("change")),
      h("button", { type: "button", class: "hl-button", onclick: () => this.dialog.close() }, t("close")));
    yes.focus();
  }

  send(button) {
    button.disabled = true;
    this.context.emit("enter", this.values);
  }

  answered({ done, detail, ref }) {
    const { t } = this.context;
    if (!this.dialog) return;
    if (!done) this.ask();
    this.form.querySelector(".hl-entry-says").replaceChildren(done ? t("Entered as {ref}.", { ref }) : t("This could not be done: {why}", { why: says(detail, t) }));
    if (done) this.form.querySelector(".hl-entry-foot").replaceChildren(h("button", { type: "button", class: "hl-button", onclick: () => this.dialog.close() }, t("close")));
  }

  stop() {
    this.button?.remove();
    this.dialog?.close();
  }
}
