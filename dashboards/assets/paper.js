// Paper: the page as it is printed is laid out before the browser takes it, as charts must know how wide they are.

export class Paper {
  constructor(panels) {
    this.panels = panels;
    this.before = () => this.lay(true);
    this.after = () => this.lay(false);
    window.addEventListener("beforeprint", this.before);
    window.addEventListener("afterprint", this.after);
  }

  lay(onPaper) {
    const frame = document.querySelector(".hl");
    if (onPaper) this.dark = frame.classList.contains("hl-dark");
    frame.classList.toggle("hl-paper", onPaper);
    frame.classList.toggle("hl-dark", this.dark && !onPaper); // lines for a dark page are faint on a white one
    for (const { view } of this.panels) {
      view.drawn = null;
      view.redraw?.();
      view.update?.();
      view.settle?.();
    }
  }

  stop() {
    window.removeEventListener("beforeprint", this.before);
    window.removeEventListener("afterprint", this.after);
  }
}
