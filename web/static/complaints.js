// Says what went wrong, in words, with the stable code.

import { element } from "./elements.js";
import { known, language, t } from "./words.js";

// Shows a failure in `place` (an element); none empties it.
export function complain(place, failure) {
  if (!failure) return place.replaceChildren();
  const title = element("strong", { textContent: `${titled(failure)} ` });
  const code = element("code", { textContent: [failure.code ?? "page_error", failure.reason].filter(Boolean).join(": ") });
  const box = element("div", { className: "notice bad" }, title, detail(failure), " (", code, ")");
  const listed = (failure.errors ?? []).filter((error) => error.name);
  if (listed.length > 1) {
    box.append(element("ul", {}, ...listed.map((error) => element("li", { textContent: `${error.name}: ${error.detail}`, lang: failure.ours ? language : "en" }))));
  }
  return place.replaceChildren(box);
}

// One line, for places next to what was tried.
export const inWords = (failure) => `${titled(failure)} ${failure.detail ?? failure.message ?? ""}${failure.code ? ` (${failure.code})` : ""}`;

function titled({ code, title }) {
  const words = known(`problem.${code}`, title ?? t("failure"));
  return /[.!?。！？]$/.test(words) ? words : `${words}${t("stop")}`;
}

// The service speaks English; what the page itself says is in the reader's language.
function detail(failure) {
  const words = element("span", { textContent: failure.detail ?? String(failure) });
  if (!failure.ours && language !== "en") words.lang = "en";
  return words;
}
