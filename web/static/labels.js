// A field for a label that offers the gallery's own while one types.

import * as api from "./api.js";
import { element } from "./elements.js";

const OFFERED = 12;
const PAUSE_MS = 150;
let lists = 0;

// {field, input}: `field` holds the input and its suggestions. `gallery` is a name.
export function labelInput(gallery, words, properties = {}) {
  const list = element("datalist", { id: `labels-${(lists += 1)}` });
  const input = element("input", { type: "text", maxLength: 200, autocomplete: "off", required: true, ...properties });
  input.setAttribute("aria-label", words);
  input.setAttribute("list", list.id);
  let timer = 0;
  let requested = null;
  const offer = async () => {
    const typed = input.value.trim();
    if (typed === requested) return;
    requested = typed;
    const { labels } = await api.labels(gallery, { prefix: typed, limit: OFFERED }).catch(() => ({ labels: [] })); // typing goes without
    if (requested === typed) list.replaceChildren(...labels.map(({ label }) => element("option", { value: label })));
  };
  input.addEventListener("focus", offer);
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(offer, PAUSE_MS);
  });
  return { input, field: element("span", { className: "label-field" }, input, list) };
}
