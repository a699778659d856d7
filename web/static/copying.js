// Copies text. Over plain HTTP from another machine a browser has no clipboard for pages: the text is selected there, to be
// copied by hand.

import { button, element } from "./elements.js";
import { t } from "./words.js";

// Copies what `place` (an element) shows; `pressed`, the button, says so.
export async function copy(place, pressed) {
  try {
    await navigator.clipboard.writeText(place.textContent);
    pressed.textContent = t("copied");
  } catch {
    getSelection().selectAllChildren(place);
    pressed.textContent = t("copy.by_hand");
  }
}

// Shows in `place` what is shown this once.
export function showOnce(place, words, secret) {
  const shown = element("code", { className: "secret", textContent: secret, tabIndex: 0 });
  const pressed = button(t("copy"), () => copy(shown, pressed));
  const box = element("div", { className: "notice good" }, element("p", { textContent: words }), element("p", {}, shown), element("p", { className: "row start" }, pressed));
  place.replaceChildren(box);
  pressed.focus();
}
