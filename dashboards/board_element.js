// The live part of a page: starts the board's own modules on an element that NiceGUI owns.
export default {
  props: { config: String },
  render() {
    return Vue.h("div", { class: "hl-board" });
  },
  async mounted() {
    const config = JSON.parse(this.config);
    const { start } = await import(`${config.assets}/index.js`);
    this.running = start(this.$el, config, (name, value) => this.$emit(name, value));
  },
  unmounted() {
    this.running?.stop();
  },
};
