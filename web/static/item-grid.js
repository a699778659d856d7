// A gallery's pictures, page by page, to be selected.

import * as api from "./api.js";
import { element, thumbnail } from "./elements.js";
import { t } from "./words.js";

const PAGE = 48;
const $ = (id) => document.getElementById(id);
const selected = new Map(); // id -> label, on this page
let at = { gallery: "", label: null, cursors: [null], turn: 0 }; // the cursor of each page up to this one

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
  Object.assign(at, { label, cursors: [null] });
  return show();
}

async function show() {
  const turn = (at.turn += 1);
  const page = await api.items(at.gallery, { limit: PAGE, label: at.label, after: at.cursors.at(-1) });
  if (turn !== at.turn) return;
  at.next = page.next_after;
  const start = (at.cursors.length - 1) * PAGE;
  $("page-facts").textContent = page.total ? t("items.page", { first: start + 1, last: start + page.items.length, count: page.total }) : "";
  $("next").disabled = !page.next_after;
  $("previous").disabled = at.cursors.length < 2;
  $("filter").hidden = at.label === null;
  $("filter-words").textContent = at.label === null ? "" : t("items.of", { label: at.label });
  selected.clear();
  count();
  $("grid").replaceChildren(...page.items.map(tile));
}

function tile({ id, label, box: part }) {
  const box = element("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    if (box.checked) selected.set(id, label);
    else selected.delete(id);
    count();
  });
  return element("li", {}, element("label", { title: label }, box, thumbnail(api.itemImage(at.gallery, id), 104, part), label));
}

function count() {
  $("selected").textContent = t("items.selected_count", { count: selected.size });
  for (const id of ["relabel", "move", "delete-items"]) $(id).disabled = !selected.size;
}
