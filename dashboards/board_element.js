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

export default {
  props: { frame: String, config: String },
  render() {
    const frame = JSON.parse(this.frame);
    return Vue.h("div", { class: "hl-page" }, [
      frame.simulated ? Vue.h("div", { class: "hl-simulated" }, frame.simulated) : null,
      header(frame),
      frame.apology ? apology(frame.apology) : Vue.h("div", { class: "hl-board", ref: "board" }),
    ]);
  },
  async mounted() {
    document.documentElement.lang = JSON.parse(this.frame).language;
    if (!this.config) return;
    const config = JSON.parse(this.config);
    const { start } = await import(`${config.assets}/index.js`);
    this.running = start(this.$refs.board, config, (name, value) => this.$emit(name, value));
  },
  unmounted() {
    this.running?.stop();
  },
};
