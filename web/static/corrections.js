// What a person can say of an object, in one tap: yes, this one, it is another, it is none. What is named is added to the
// gallery as a picture of that label, so that the next photo is answered.

import * as api from "./api.js";
import { inWords } from "./complaints.js";
import { button, element, thumbnail } from "./elements.js";
import { labelInput } from "./labels.js";
import { teach } from "./teaching.js";
import { percent, t } from "./words.js";

// The choices below an object; the same photo shown again shows what was said before.
export function choices(photo, object) {
  const { key, answered, found, label } = object;
  const gallery = photo.job.result.gallery.name;
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const place = element("div", { className: "choices" });
  const say = (right) => settle(photo, object, right, place, status);
  const other = naming(gallery, key, say);
  const row = element("div", { className: "row start" });
  if (answered) row.append(button(t("other"), () => reveal(other), { className: "plain" }));
  else place.append(element("ul", { className: "guesses" }, ...found.candidates.map((guess) => candidate(gallery, guess, say))));
  place.append(row, other, status);
  other.hidden = answered;
  if (photo.said.has(key)) tell(status, photo.said.get(key));
  return place;
}

function candidate(gallery, guess, say) {
  const picture = thumbnail(api.itemImage(gallery, guess.item_id), 72);
  const chosen = button(t("this"), () => say(guess.label));
  chosen.setAttribute("aria-label", t("this.label", { label: guess.label }));
  const words = element("span", { className: "guess", title: guess.label }, element("b", { textContent: percent(guess.probability) }), ` ${guess.label}`);
  return element("li", {}, picture, words, chosen);
}

// "It is …": a label typed or chosen.
function naming(gallery, key, say) {
  const { field, input } = labelInput(gallery, t("what_is", { key }), { placeholder: t("other.example") });
  const form = element("form", { className: "other" }, field, element("button", { type: "submit", className: "plain", textContent: t("add_as") }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) say(input.value.trim());
  });
  return form;
}

function reveal(form) {
  form.hidden = false;
  form.querySelector("input").focus();
}

async function settle(photo, object, label, place, status) {
  const buttons = [...place.querySelectorAll("button")];
  for (const one of buttons) one.disabled = true;
  tell(status, { words: t("adding", { label }) });
  try {
    const item = await teach(photo, object.box, label);
    const said = { words: item.status === "added" ? t("added_as", { label }) : t("there_as", { label }), good: true };
    photo.said.set(object.key, said);
    tell(status, said);
    photo.taught(photo.job.result.gallery.name);
  } catch (failure) {
    for (const one of buttons) one.disabled = false;
    tell(status, { words: inWords(failure), good: false });
  }
}

function tell(status, { words, good }) {
  status.className = good === undefined ? "status" : `status ${good ? "good" : "bad"}`;
  status.textContent = words;
}
