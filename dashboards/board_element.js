// The live part of a page: starts the board's own modules on an element that NiceGUI owns.
export default {
  props: { config: Object },
  render() {
    return Vue.h("div", { class: "hl-board" });
  },
  async mounted() {
    const { start } = await import(`${this.config.assets}/index.js`);
    this.running = start(this.$el, this.config, (name, value) => this.$emit(name, value));
  },
  unmounted() {
    this.running?.stop();
  },
};
