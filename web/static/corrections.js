// What a person can say of an object, in one tap: yes, this one, it is another, ignore it, the box is wrong. What is named is
// added to the gallery as a picture of that label, so that the next photo is answered.

import * as api from "./api.js";
import { inWords } from "./complaints.js";
import { editBox } from "./drawing.js";
import { button, element, thumbnail } from "./elements.js";
import { labelInput } from "./labels.js";
import { enroll, keepSaid, keyOf } from "./feedback.js";
import { percent, t } from "./words.js";

// The choices below an object; a photo shown again shows what was said before.
export function choices(photo, object) {
  const { key, answered, found, label, whole } = object;
  const gallery = photo.job.result.gallery.name;
  const box = whole ? null : object.box;
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const place = element("div", { className: "choices" });
  const guessed = new Set(answered ? [label] : found.candidates.map((guess) => guess.label));
  const say = (verdict, right, add) => submit({ photo, box, verdict, label: right, add }, place, status);
  const name = (right) => say(guessed.has(right) ? "right" : "wrong", right, true);
  const other = naming(gallery, key, name);
  const named = (words, act, spoken) => {
    const made = button(words, act);
    made.setAttribute("aria-label", spoken);
    return made;
  };
  const row = element("div", { className: "row start" });
  if (answered) row.append(named(t("yes"), () => say("right", null, false), t("yes.label", { key, label })));
  else place.append(element("ul", { className: "guesses" }, ...found.candidates.map((guess) => candidate(gallery, guess, name))));
  row.append(
    named(t("other"), () => reveal(other), t("other.of", { key })),
    named(t("ignore"), () => say("ignore", null, false), t("ignore.of", { key })),
    named(t("box.correct"), () => editBox(photo, object.box, answered ? label : ""), t("box.correct.of", { key })),
  );
  place.append(row, other, status);
  other.hidden = true;
  if (photo.said.has(keyOf(box))) showSaid(status, photo.said.get(keyOf(box)));
  return place;
}

function candidate(gallery, guess, say) {
  const picture = thumbnail(api.itemImage(guess.gallery ?? gallery, guess.item_id), 72);
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

async function submit(said, place, status) {
  const buttons = [...place.querySelectorAll("button")];
  for (const one of buttons) one.disabled = true;
  try {
    await saying(said, (words, good) => showSaid(status, { words, good }));
  } finally {
    for (const one of buttons) one.disabled = false; // who erred may say it again
  }
}

// Adds the box if that is wanted, and keeps what was said. `report(words, good)` shows how far that is.
export async function saying({ photo, box, verdict, label, add }, report) {
  let words = t(`said.${verdict}`);
  try {
    if (add) {
      report(t("adding", { label }));
      const item = await enroll(photo, box, label);
      words = item.status === "added" ? t("added_as", { label }) : t("there_as", { label });
      photo.enrolled(photo.job.result.gallery.name);
    }
    await keepSaid(photo, box, verdict, label);
    photo.said.set(keyOf(box), { words, good: true });
    report(words, true);
  } catch (failure) {
    report(inWords(failure), false);
  }
}

// Shows what became of it; `good`: whether it succeeded, undefined while that is open.
export function showSaid(status, { words, good }) {
  status.className = good === undefined ? "status" : `status ${good ? "good" : "bad"}`;
  status.textContent = words;
}
