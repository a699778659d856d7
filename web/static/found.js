// The list next to the photo: each object with what was seen, what it was taken for, and what a person can say of it.

import { itemImage } from "./api.js";
import { mark } from "./boxes.js";
import { choices } from "./corrections.js";
import { element, thumbnail } from "./elements.js";
import { agreeing } from "./evidence.js";
import { thumbnails } from "./nearest.js";
import { cut } from "./pictures.js";
import { percent, t } from "./words.js";

const SIDE = 96;
const $ = (id) => document.getElementById(id);

export function clearFound() {
  $("answer").hidden = $("details").hidden = $("unsure").hidden = $("changed").hidden = $("draw").hidden = true;
}

// Lists `objects` of a photo's answer; the photo has to be there, for parts of it are shown.
export function listFound(photo, objects) {
  const { result } = photo.job;
  $("rows").replaceChildren(...objects.filter(({ answered }) => answered).map((object) => card(photo, result, object)));
  const unsure = objects.filter(({ answered }) => !answered);
  $("unsure-list").replaceChildren(...unsure.map((object) => card(photo, result, object)));
  $("unsure").hidden = !unsure.length;
}

// Brings the object's place in the list into view, to be heard by a screen reader.
export function goTo({ key }) {
  const place = document.querySelector(`[data-object="${key}"]`);
  place.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  place.querySelector("h3, h4").focus({ preventScroll: true });
  for (const other of document.querySelectorAll("[data-object]")) mark(other.dataset.object, other === place);
}

function card(photo, result, object) {
  const { key, answered, found, label, colour } = object;
  const number = element("span", { className: answered ? "number" : "number open", textContent: key });
  if (colour) number.style.setProperty("--box", colour);
  const heading = answered
    ? element("h3", { tabIndex: -1 }, number, element("span", { className: "label", textContent: label }), chance(found.probability))
    : element("h4", { tabIndex: -1 }, number, t("unsure.which"));
  const place = element("li", { id: answered ? `row-${Number(key) - 1}` : `unsure-${key}` }, heading, sides(result, object), choices(photo, object), more(result, object));
  place.dataset.object = key;
  for (const [name, on] of [["mouseenter", true], ["mouseleave", false]]) place.addEventListener(name, () => mark(key, on));
  return place;
}

// A probability with a bar; what was answered before there were any has none.
function chance(probability) {
  const fill = element("i");
  fill.style.width = `${100 * (probability ?? 0)}%`;
  return element("span", { className: "chance" }, percent(probability), element("span", { className: "bar" }, fill));
}

// What was seen next to the picture that it is most like.
function sides(result, { answered, found, whole }) {
  const part = cut($("shown"), result.image, found.box, 2 * SIDE) ?? element("span", { className: "blank", textContent: t("no_preview") });
  if (part instanceof HTMLCanvasElement) {
    part.setAttribute("role", "img");
    part.setAttribute("aria-label", whole ? t("whole_photo") : t("seen"));
  }
  const what = whole ? t("whole_photo") : Number.isFinite(found.confidence) ? t("detected", { confidence: percent(found.confidence) }) : t("by_hand");
  const seen = element("figure", { className: "seen" }, part, element("figcaption", { textContent: what }));
  const match = found.matches?.find((one) => one.label === found.label) ?? found.matches?.[0];
  if (!answered || !match) return element("div", { className: "sides" }, seen);
  const itemBox = found.verification?.item_id === match.item_id ? found.verification.item_box : null;
  const picture = thumbnail(itemImage(match.gallery ?? result.gallery.name, match.item_id), SIDE, itemBox);
  const near = element("figure", {}, picture, element("figcaption", { textContent: t("alike", { similarity: match.similarity.toFixed(2) }) }));
  return element("div", { className: "sides" }, seen, near);
}

function more(result, { found, whole, answered }) {
  const place = element("div", { className: "more" });
  if (found.verification) place.append(agreeing(result, found));
  if (!answered || !found.matches?.length) return place;
  const facts = t("facts", { similarity: found.similarity.toFixed(3), detector: whole ? t("whole_photo") : found.confidence?.toFixed(2) ?? t("by_hand") });
  place.append(element("details", { className: "agreeing" }, element("summary", { textContent: t("near") }), element("p", { className: "quiet", textContent: facts }), thumbnails(result.gallery.name, found.matches.slice(0, 5))));
  return place;
}
