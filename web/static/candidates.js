// Bodies without an answer: what each was taken for, with pictures, and a way to say which it is. What a person confirms is
// added to the gallery as a picture of that label, so that the next photo is answered.

import * as api from "./api.js";
import { element, thumbnail } from "./elements.js";
import { agreeing } from "./evidence.js";
import { asFile, cut, withMargin } from "./pictures.js";

const $ = (id) => document.getElementById(id);
const UNSURE = new Set(["below_min_precision", "below_similarity_threshold", "unlike_whole_image"]);
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

export const percent = (probability) => (Number.isFinite(probability) ? `${probability >= 0.995 ? "over 99" : Math.round(100 * probability)} %` : "–");
export const isUnsure = (miss) => UNSURE.has(miss.reason) && miss.candidates?.length > 0;
export const letter = (number) => (number < LETTERS.length ? "" : letter(Math.floor(number / LETTERS.length) - 1)) + LETTERS[number % LETTERS.length]; // A to Z, then AA

// `result` is an answer's; `added` is called with a gallery's name when it has a new picture.
export function showUnsure(result, added) {
  const misses = (result.dropped ?? []).filter(isUnsure);
  $("unsure-list").replaceChildren(...misses.map((miss, number) => unsure(result, miss, letter(number), added)));
  $("unsure").hidden = misses.length === 0;
}

function unsure(result, miss, name, added) {
  const status = element("p", { className: "status" });
  status.setAttribute("role", "status");
  const confirm = (label) => enrol(result, miss, label, status, added);
  const guesses = element("ul", { className: "guesses" }, ...miss.candidates.map((guess) => candidate(result.gallery.name, guess, confirm)));
  const other = element("input", { type: "text", maxLength: 200, autocomplete: "off", placeholder: "something else", required: true });
  other.setAttribute("aria-label", `What ${name} is, if none of these`);
  const form = element("form", { className: "other" }, other, element("button", { type: "submit", className: "plain", textContent: "Add it as this" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    confirm(other.value.trim());
  });
  const part = cut($("shown"), result.image, miss.box, 160) ?? element("span");
  const what = miss.source === "whole_image" ? "The whole photo" : `Detected with ${percent(miss.confidence)}`;
  const seen = element("div", { className: "seen" }, part, element("span", { className: "quiet", textContent: what }));
  const item = element("li", { id: `unsure-${name}` }, element("h4", {}, element("span", { className: "number open", textContent: name }), "Is it one of these?"), element("div", { className: "pair" }, seen, element("div", {}, guesses, form, status)));
  if (miss.verification) item.append(agreeing(result, miss));
  return item;
}

function candidate(gallery, guess, confirm) {
  const picture = thumbnail(api.itemImage(gallery, guess.item_id), 88);
  const button = element("button", { type: "button", className: "plain", textContent: "This is it" });
  button.setAttribute("aria-label", `This is it: ${guess.label}`);
  button.addEventListener("click", () => confirm(guess.label));
  const words = element("span", { className: "guess", title: guess.label }, element("b", { textContent: percent(guess.probability) }), ` ${guess.label}`);
  return element("li", {}, picture, words, button);
}

async function enrol(result, miss, label, status, added) {
  const buttons = [...status.closest("li").querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  status.className = "status";
  status.textContent = `Adding this part of the photo as ${label}…`;
  try {
    const part = cut($("shown"), result.image, withMargin(miss.box, result.image));
    if (!part) throw new api.Failure("Not added", "This browser cannot show the photo, so it cannot cut the part out.", "not_shown");
    const form = new FormData();
    form.append("images", await asFile(part, `${label}.jpg`));
    form.append("labels", label);
    const job = await api.follow(await api.enroll(result.gallery.name, form), () => {});
    const [item] = job.result?.items ?? [];
    if (!item || item.status === "rejected") {
      const { code, message } = job.error ?? item?.error ?? {};
      throw new api.Failure("Not added", message ?? "The picture was not added.", code ?? job.status);
    }
    status.classList.add("good");
    status.textContent = item.status === "added" ? `Added as ${label}. Look again to have it answered.` : `It was in the gallery as ${label} already.`;
    added(result.gallery.name);
  } catch (failure) {
    for (const button of buttons) button.disabled = false;
    status.classList.add("bad");
    status.textContent = `${failure.message}${failure.code ? ` (${failure.code})` : ""}`;
  }
}
