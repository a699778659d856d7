// A gallery's pictures, page by page, to be selected.

import * as api from "./api.js";
import { element, thumbnail } from "./elements.js";
import { t } from "./words.js";

const PAGE = 48;
const NEAREST = 48; // of a picture
const $ = (id) => document.getElementById(id);
const selected = new Map(); // id -> label, on this page
let at = { gallery: "", label: null, like: null, cursors: [null], turn: 0 }; // the cursor of each page up to this one

export const selection = () => [...selected.keys()];
export const pickedLabel = () => at.label;

export function setUpGrid(gallery, failed) {
  at.gallery = gallery;
  const turnTo = (act) => () => { act(); show().catch(failed); };
  $("next").addEventListener("click", turnTo(() => at.cursors.push(at.next)));
  $("previous").addEventListener("click", turnTo(() => at.cursors.pop()));
  $("select-page").addEventListener("click", () => {
    const boxes = [...$("grid").querySelectorAll("input")];
    const on = boxes.some((box) => !box.checked);
    for (const box of boxes) if (box.checked !== on) box.click();
  });
}

// The first page, of one label or of all (null).
export function showItems(label = at.label) {
  Object.assign(at, { label, like: null, cursors: [null] });
  return show();
}

// All the others, the most similar to the selected picture first.
export function showAlike() {
  const [[id, label]] = selected;
  Object.assign(at, { label: null, like: { id, label }, cursors: [null] });
  return show();
}

// The items nearest to a picture, best first; it is kept no longer than any job's photo.
export async function showNearest(picture) {
  const form = new FormData();
  form.append("image", picture);
  form.append("options", JSON.stringify({ limit: NEAREST }));
  Object.assign(at, { label: null, like: null, cursors: [null] });
  const turn = (at.turn += 1);
  const job = await api.follow(await api.searchItems(at.gallery, form), () => {});
  if (turn !== at.turn) return;
  if (job.status !== "succeeded") throw api.jobFailure(job);
  const { items } = job.result;
  at.next = null;
  $("page-facts").textContent = t("items.nearest_count", { count: items.length });
  $("next").disabled = $("previous").disabled = true;
  filtered(t("items.nearest", { name: picture.name }));
  fill(items.map((one) => ({ ...one, id: one.item_id })));
}

async function show() {
  const turn = (at.turn += 1);
  const page = await api.items(at.gallery, { limit: PAGE, label: at.label, like: at.like?.id, after: at.cursors.at(-1) });
  if (turn !== at.turn) return;
  at.next = page.next_after;
  const start = (at.cursors.length - 1) * PAGE;
  $("page-facts").textContent = page.total ? t("items.page", { first: start + 1, last: start + page.items.length, count: page.total }) : "";
  $("next").disabled = !page.next_after;
  $("previous").disabled = at.cursors.length < 2;
  filtered(at.like ? t("items.like", { label: at.like.label }) : at.label === null ? null : t("items.of", { label: at.label }));
  fill(page.items);
}

function filtered(words) {
  $("filter").hidden = words === null;
  $("filter-words").textContent = words ?? "";
}

function fill(items) {
  selected.clear();
  count();
  $("grid").replaceChildren(...items.map(tile));
}

function tile({ id, label, box: part, similarity }) {
  const box = element("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    if (box.checked) selected.set(id, label);
    else selected.delete(id);
    count();
  });
  return element("li", {}, element("label", { title: label }, box, thumbnail(api.itemImage(at.gallery, id), 104, part), label, ...(similarity === undefined ? [] : [element("span", { className: "quiet similarity", textContent: t("items.similarity", { value: similarity.toFixed(2) }) })])));
}

function count() {
  $("selected").textContent = t("items.selected_count", { count: selected.size });
  for (const id of ["relabel", "move", "delete-items"]) $(id).disabled = !selected.size;
  $("alike").disabled = selected.size !== 1;
}
