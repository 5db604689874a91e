// Where the keyboard stands: it stays when what it stands in is drawn anew, and one stop of it leads to many marks.

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
const FIELDS = "input, select, textarea";
const STOPS = `a[href], button, ${FIELDS}, [tabindex]`;

const nameOf = (element) => element.dataset.alarm ?? element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.textContent;
const rowOf = (element) => {
  const { alarm, row } = element.closest("[data-alarm], [data-row]")?.dataset ?? {};
  return alarm ?? row;
};
const marksOf = (group) => [...group.querySelectorAll("a[href]")];

// Of the marks of a drawing the tab key stops at one: where it stood last, else at the first.
function oneStop(group) {
  const marks = marksOf(group);
  const stop = marks.find((mark) => nameOf(mark) === group.dataset.marks) ?? marks[0];
  for (const mark of marks) mark.setAttribute("tabindex", mark === stop ? "0" : "-1");
}

// What bears the name of `held`: in its own row, since several rows may lead to one device.
function sameAs(held, element) {
  const named = [...element.querySelectorAll(STOPS)].filter((stop) => nameOf(stop) === nameOf(held));
  return named.find((stop) => rowOf(stop) === rowOf(held)) ?? (rowOf(held) ? null : named[0]);
}

// Whoever is writing goes on where the caret was; what stands in the fields beside is kept with it.
function writeOn(fields, to, [from, until]) {
  for (const old of fields) {
    const field = sameAs(old, to);
    if (field) field.value = old.value;
  }
  if (typeof from === "number") document.activeElement.setSelectionRange?.(from, until);
}

// Changes what stands in `element`; the keyboard stays at the same stop, or at what holds it where that is gone.
export function keepFocus(element, change) {
  const held = document.activeElement;
  if (held === element || !element.contains(held)) return change();
  const fields = held.matches(FIELDS) ? [...element.querySelectorAll(FIELDS)] : [];
  const caret = [held.selectionStart, held.selectionEnd];
  const result = change();
  if (element.contains(document.activeElement)) return result;
  const next = held.isConnected ? held : sameAs(held, element) ?? element.closest("[tabindex]");
  next?.focus({ preventScroll: true });
  if (fields.length && next?.matches(FIELDS)) writeOn(fields, element, caret);
  return result;
}

// Replaces what stands in `element`, which may be a group of marks (`data-marks`) or hold some.
export function replaceHeld(element, children) {
  keepFocus(element, () => {
    element.replaceChildren(...children);
    for (const group of [element, ...element.querySelectorAll("[data-marks]")]) if (group.hasAttribute("data-marks")) oneStop(group);
  });
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
