// The labels of a gallery: searched, picked to see their pictures, renamed, merged, deleted.

import * as api from "./api.js";
import { button, element, thumbnail } from "./elements.js";
import { t } from "./words.js";

const PAGE = 50;
const PAUSE_MS = 200;
const $ = (id) => document.getElementById(id);
let shown = { gallery: "", after: null, turn: 0 };

// `does`: {pick(label), rename(label), remove(label, count), failed(failure)}; `picked()` is the label whose pictures are shown.
export function setUpLabels(gallery, picked, does) {
  let timer = 0;
  shown.gallery = gallery;
  const load = (more) => showLabels(picked, does, more).catch(does.failed);
  $("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load(false), PAUSE_MS);
  });
  $("more-labels").addEventListener("click", () => load(true));
  return () => load(false);
}

async function showLabels(picked, does, more) {
  const turn = (shown.turn += 1);
  const { labels, next_after: after } = await api.labels(shown.gallery, { prefix: $("search").value.trim(), limit: PAGE, after: more ? shown.after : null });
  if (turn !== shown.turn) return; // typed on meanwhile
  shown.after = after;
  const lines = labels.map((label) => line(label, picked, does));
  if (more) $("label-list").append(...lines);
  else $("label-list").replaceChildren(...lines);
  $("more-labels").hidden = !after;
  $("no-labels").hidden = lines.length > 0 || more;
}

function line({ label, item_count: count, item_id: id }, picked, does) {
  const picture = thumbnail(api.itemImage(shown.gallery, id), 40);
  const pick = element("button", { type: "button", className: "pick", title: label }, picture, element("span", { textContent: label }), element("b", { textContent: t("number", { count }) }));
  pick.setAttribute("aria-pressed", String(picked() === label));
  pick.addEventListener("click", () => does.pick(label));
  const rename = button(t("rename"), () => does.rename(label));
  rename.setAttribute("aria-label", t("rename.label", { label }));
  const remove = button(t("delete"), () => does.remove(label, count));
  remove.setAttribute("aria-label", t("delete.label", { label }));
  return element("li", {}, pick, rename, remove);
}

export function markPicked(label) {
  for (const pick of $("label-list").querySelectorAll(".pick")) pick.setAttribute("aria-pressed", String(pick.title === label));
}
