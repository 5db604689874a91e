// A page: its frame, and its live part, which starts the board's own modules, or a word about why there is none.
const link = (to, text, more = {}) =>
  Vue.h("a", { href: to.url, class: to.here ? "hl-here" : undefined, "data-set": to.set, ...more }, text);

function header({ home, pages, switches }) {
  const nav = pages.map((page) => link(page, page.text, { "aria-current": page.here ? "page" : undefined }));
  const sets = switches.map((choices) =>
    Vue.h("div", { class: "hl-switch" }, choices.map((one) => link(one, one.text, { "aria-current": one.here ? "true" : undefined }))));
  return Vue.h("header", { class: "hl-header" }, [
    link({ url: home }, "Hearthline", { class: "hl-brand" }),
    Vue.h("nav", { class: "hl-nav" }, nav),
    Vue.h("div", { class: "hl-scope", id: "hl-scope" }), Vue.h("div", { class: "hl-live", id: "hl-live" }),
    Vue.h("div", { class: "hl-switches" }, sets),
  ]);
}

function apology({ title, why, home }) {
  return Vue.h("main", { class: "hl-apology" },
    [Vue.h("div", { class: "hl-apology-title" }, title), Vue.h("div", {}, why), link(home, home.text)]);
}

// Whoever has chosen no theme has that of the system: only the browser knows it.
const system = window.matchMedia("(prefers-color-scheme: dark)");
const WRITING_MS = 5000;
const writing = () => document.querySelector("dialog[open]")
  || [...document.querySelectorAll(".hl input[type=text], .hl textarea")].some((field) => field.value !== field.defaultValue);

// At dusk all is made anew, as drawings take their colours then; never while somebody writes.
function turnedOver() {
  if (document.querySelector(".hl")?.classList.contains("hl-dark") === system.matches) return;
  if (writing()) setTimeout(turnedOver, WRITING_MS);
  else location.reload();
}

function themed(frame) {
  if (!frame.follows_system || !system.matches) return frame;
  const dark = (one) => (one.set?.startsWith("theme=") ? { ...one, here: one.set === "theme=dark" } : one);
  return { ...frame, theme: "dark", switches: frame.switches.map((choices) => choices.map(dark)) };
}

// On a phone the row of pages is wider than the screen: who is on the last one sees that.
function here(nav) {
  const link = nav.querySelector("[aria-current]");
  if (!link) return;
  const [row, its] = [nav.getBoundingClientRect(), link.getBoundingClientRect()];
  nav.scrollLeft += its.left - row.left - (row.width - its.width) / 2;
}

const AGAIN_MS = 10000;

export default {
  props: { frame: String, config: String },
  render() {
    const frame = themed(JSON.parse(this.frame));
    return Vue.h("div", { class: "hl-page" }, [
      frame.simulated ? Vue.h("div", { class: "hl-simulated" }, frame.simulated) : null,
      header(frame),
      frame.apology ? apology(frame.apology) : Vue.h("div", { class: "hl-board", ref: "board" }),
    ]);
  },
  async mounted() {
    const frame = themed(JSON.parse(this.frame));
    document.documentElement.lang = frame.language;
    if (frame.theme === "dark") document.querySelector(".hl").classList.replace("hl-light", "hl-dark");
    if (frame.follows_system) system.addEventListener("change", turnedOver);
    here(this.$el.querySelector(".hl-nav"));
    if (!this.config) return;
    const config = JSON.parse(this.config);
    config.theme = frame.theme ?? config.theme;
    const { start } = await import(`${config.assets}/index.js`).catch((error) => {
      if (config.wall.turn_s) setTimeout(() => location.reload(), AGAIN_MS); // nobody stands before a wall to do it
      throw error;
    });
    this.running = start(this.$refs.board, config, (name, value) => this.$emit(name, value));
  },
  unmounted() {
    system.removeEventListener("change", turnedOver);
    this.running?.stop();
  },
};
