// A wall: pages turn by themselves, as the address says (wall=30), until somebody touches mouse or keyboard.
import { h, setText } from "./dom.js";

const TOUCHED = "hl_wall_touched"; // of this tab, so that whoever goes to another page is left alone there too
const USUAL_S = 30;
const PAUSE_MS = 120000;
const GRACE_MS = 5000; // the hand that pressed "go on" leaves
const MOVED_PX = 4; // browsers tell of a pointer that lies still when a page comes up below it
const AGAIN_MS = 3000;
const GONE = 404;
const TOUCHES = ["pointermove", "pointerdown", "keydown", "wheel"];

const remembered = () => { try { return Number(sessionStorage.getItem(TOUCHED)); } catch { return 0; } };
const remember = (at) => { try { sessionStorage.setItem(TOUCHED, String(at)); } catch { /* for this page only then */ } };

export class Wall {
  constructor(context) {
    this.context = context;
    this.turnMs = 1000 * context.config.wall.turn_s;
    if (!this.turnMs) return;
    const { t } = context;
    this.touched = remembered();
    this.since = this.asked = performance.now();
    this.passed = 0;
    this.text = h("span");
    const way = (name, sign, label, onclick) => [" ", h("button", { type: "button", class: "hl-enter", "data-wall": name, title: label, "aria-label": label, onclick }, sign)];
    this.ways = h("span", {}, way("on", "▶", t("go on"), () => this.goOn()), way("off", "■", t("turn no more pages"), () => this.toggle()));
    this.box = h("span", { class: "hl-wall" }, this.text, this.ways);
    this.touch = (event) => this.touchedBy(event);
    for (const name of TOUCHES) document.addEventListener(name, this.touch, { passive: true, capture: true });
    this.timer = setInterval(() => this.tick(), 500);
  }

  // On, or off where it is on.
  toggle() {
    remember(0);
    const alarm = new URLSearchParams(location.search).get("alarm");
    location.assign(this.context.url(location.pathname, { wall: this.turnMs ? "" : USUAL_S, alarm }));
  }

  touchedBy(event) {
    if (event.type === "pointermove") {
      const at = [event.screenX, event.screenY];
      this.lay ??= at;
      if (performance.now() < (this.leaving ?? 0)) this.lay = at;
      if (Math.hypot(at[0] - this.lay[0], at[1] - this.lay[1]) < MOVED_PX) return;
      this.lay = at;
    }
    remember((this.touched = Date.now()));
    this.tick();
  }

  goOn() {
    remember((this.touched = 0));
    this.leaving = performance.now() + GRACE_MS;
    this.since = performance.now();
    this.tick();
  }

  tick() {
    const { config, live, t } = this.context;
    if (document.querySelector("dialog[open]")) this.touched = Date.now();
    const pause = PAUSE_MS - (Date.now() - this.touched);
    const alarm = live.unacknowledged.some((row) => row.priority === 1);
    if (pause > 0 || alarm || document.hidden) this.since = performance.now();
    const left = Math.ceil((this.turnMs - (performance.now() - this.since)) / 1000);
    if (pause > 0) this.say(t("paused: {n} s", { n: Math.ceil(pause / 1000) }), t("somebody touched it; it goes on after two minutes without a touch"), true);
    else if (alarm && config.page.id === "alarms") this.say(t("stays: priority 1"), t("a priority 1 alarm that nobody has acknowledged"));
    else if (alarm) this.turn("/alarms");
    else if (left > 0) this.say(`⟳ ${t("{n} s", { n: left })}`, t("{n} s to the next page", { n: left }));
    else if (live.trouble.length) this.stay();
    else this.turn(this.next());
  }

  next() {
    const { pages } = this.context.config.wall;
    return pages[(pages.indexOf(location.pathname) + 1 + this.passed) % pages.length];
  }

  // Only to a page that is there: what a browser shows in the place of one turns no more.
  async turn(path) {
    if (performance.now() < this.asked) return;
    this.asked = performance.now() + AGAIN_MS;
    const to = this.context.url(path, { truck: "" });
    try {
      const answer = await fetch(to, { cache: "no-store", signal: AbortSignal.timeout(AGAIN_MS) });
      if (!answer.ok) this.passed += 1; // it cannot be made: the one after it perhaps can
      else if (!this.stopped && Date.now() - this.touched > PAUSE_MS) location.replace(to);
      if (!answer.ok) this.stay(answer.status === GONE);
    } catch {
      this.stay();
    }
  }

  stay(gone = false) {
    const { t } = this.context;
    if (gone) this.say(t("stays: no such page"), t("the region or unit of this address is registered no more: choose another"));
    else this.say(t("stays: no answer"), t("the server or the store is away: tried again until it answers"));
  }

  // What it does, in the frame; where it is paused also what can be done about that.
  say(text, why, paused = false) {
    if (!this.box.isConnected) document.getElementById("hl-live")?.prepend(this.box);
    setText(this.text, text);
    this.text.title = why;
    this.ways.hidden = !paused;
  }

  stop() {
    this.stopped = true;
    clearInterval(this.timer);
    if (this.touch) for (const name of TOUCHES) document.removeEventListener(name, this.touch, { capture: true });
    this.box?.remove();
  }
}
