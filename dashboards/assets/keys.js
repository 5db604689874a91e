// Keys: pages by number, the range, comparing, printing, turning. They can be turned off, for people whose software sends keys.
import { h } from "./dom.js";

const OFF = "hl_keys_off";
const off = () => { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } };

export class Keys {
  constructor(context) {
    this.context = context;
    this.press = (event) => this.pressed(event);
    document.addEventListener("keydown", this.press);
    this.skip();
  }

  // The first stop of the tab key leads past the frame.
  skip() {
    const { t, root } = this.context;
    root.tabIndex = -1;
    this.link = h("a", { class: "hl-skip", href: `#${root.id}`, onclick: (event) => { event.preventDefault(); root.focus(); } }, t("skip to the panels"));
    document.querySelector(".hl")?.prepend(this.link);
  }

  get doings() {
    const click = (selector) => () => document.querySelector(selector)?.click();
    return {
      "/": () => document.querySelector("#hl-scope select")?.focus(),
      "[": click("[data-range=earlier]"), "]": click("[data-range=later]"), n: click("[data-range=now]"),
      c: click("[data-range=compare]"), d: click(".hl-switches a[data-set^=theme]:not(.hl-here)"), l: click(".hl-switches a[data-set^=lang]:not(.hl-here)"),
      e: click("[data-enter]"), p: () => window.print(), w: () => this.context.wall.toggle(), "?": () => this.help(),
    };
  }

  pressed(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || target.closest?.("input, select, textarea, dialog")) return;
    if (off() && key !== "?") return;
    const page = /^[1-9]$/.test(key) ? document.querySelectorAll(".hl-nav a")[Number(key) - 1] : null;
    const doing = page ? () => page.click() : this.doings[key];
    if (!doing) return;
    event.preventDefault();
    doing();
  }

  help() {
    const { t } = this.context;
    const list = [["1–9", t("page")], ["/", t("scope")], ["[ ]", t("earlier, later")], ["n", t("now")], ["c", t("compare with before")], ["← →", t("from mark to mark of a drawing")],
      ["d", t("light or dark")], ["l", t("language")], ["e", t("enter by hand")], ["p", t("print")], ["w", t("turn the pages by themselves, or no more")], ["?", t("this help")]];
    const box = h("input", { type: "checkbox", checked: !off(), onchange: (event) => { try { localStorage.setItem(OFF, event.target.checked ? "0" : "1"); } catch { /* not kept then */ } } });
    const dialog = h("dialog", { class: "hl-dialog", "aria-label": t("keys") }, h("h2", {}, t("keys")),
      h("dl", {}, list.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
      h("label", {}, box, " ", t("keys are on")), h("form", { method: "dialog" }, h("button", { class: "hl-button" }, t("close"))));
    dialog.addEventListener("close", () => dialog.remove());
    document.querySelector(".hl").append(dialog);
    dialog.showModal();
  }

  stop() {
    document.removeEventListener("keydown", this.press);
    this.link.remove();
  }
}
