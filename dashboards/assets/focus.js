// Where the keyboard stands: it stays when what it stands in is drawn anew, and one stop of it leads to many marks.

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
const STOPS = "a[href], button, [tabindex]";

const nameOf = (element) => element.dataset.alarm ?? element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.textContent;
const marksOf = (group) => [...group.querySelectorAll("a[href]")];

// Of the marks of a drawing the tab key stops at one: where it stood last, else at the first.
function oneStop(group) {
  const marks = marksOf(group);
  const stop = marks.find((mark) => nameOf(mark) === group.dataset.marks) ?? marks[0];
  for (const mark of marks) mark.setAttribute("tabindex", mark === stop ? "0" : "-1");
}

// Replaces what stands in `element`, which may be a group of marks (`data-marks`) or hold some.
export function replaceHeld(element, children) {
  const at = document.activeElement;
  const held = at !== element && element.contains(at) ? nameOf(at) : null;
  element.replaceChildren(...children);
  for (const group of [element, ...element.querySelectorAll("[data-marks]")]) if (group.hasAttribute("data-marks")) oneStop(group);
  if (held !== null) [...element.querySelectorAll(STOPS)].find((stop) => nameOf(stop) === held)?.focus({ preventScroll: true });
}

document.addEventListener("focusin", ({ target }) => {
  const group = target.closest("a[href]") && target.closest("[data-marks]");
  if (!group) return;
  group.dataset.marks = nameOf(target);
  oneStop(group);
});

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const group = target.closest?.("a[href]") && target.closest("[data-marks]");
  if (!group || !(key in STEPS) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  event.preventDefault();
  const marks = marksOf(group);
  const next = marks.indexOf(target) + STEPS[key];
  marks[Math.max(0, Math.min(marks.length - 1, next))].focus();
});
