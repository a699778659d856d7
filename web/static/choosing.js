// The choice of the gallery next to the photo, with a few of its pictures; making one, and adding to it.

import { offer, setUpAdding } from "./adding.js";
import * as api from "./api.js";
import { complain } from "./complaints.js";
import { element } from "./elements.js";
import { thumbnails } from "./nearest.js";
import { t } from "./words.js";

const GLIMPSE = 12; // pictures
const $ = (id) => document.getElementById(id);
let counts = new Map(); // gallery -> pictures
let listed = null; // of the first list, which may arrive after the first photo

export const chosenGallery = () => $("gallery").value;

// Waits for the list of galleries, without which `chosenGallery` means nothing; throws what kept it away.
export const galleriesListed = () => listed;

async function listGalleries(wanted) {
  const { galleries } = await api.galleries();
  counts = new Map(galleries.map(({ name, item_count: count }) => [name, count]));
  $("gallery").replaceChildren(...galleries.map(({ name, item_count: count }) => element("option", { value: name, textContent: `${name} (${count})` })));
  if (counts.has(wanted)) $("gallery").value = wanted;
  $("gallery-choice").hidden = $("add-panel").hidden = !counts.size;
  $("gallery-hint").hidden = counts.size > 0;
  if (!counts.size) $("create-panel").open = true;
}

async function showGalleries(wanted = chosenGallery()) {
  await listGalleries(wanted);
  if (counts.size) await showGallery();
}

async function showGallery() {
  const name = chosenGallery();
  const [{ version, item_count: count }, page] = await Promise.all([api.gallery(name), api.items(name, { limit: GLIMPSE })]);
  if (name !== chosenGallery()) return;
  $("gallery-facts").textContent = count ? t("gallery.facts", { pictures: t("pictures", { count }), version }) : t("gallery.empty");
  $("items").replaceChildren(...thumbnails(name, page.items.map(({ id, label, box }) => ({ item_id: id, label, box }))).children);
  $("gallery-link").href = api.at(`/galleries/${encodeURIComponent(name)}`);
  if (!count) $("add-panel").open = true;
}

// Chooses `name` if there is such a gallery.
export async function choose(name) {
  if (!counts.has(name) || name === chosenGallery()) return;
  $("gallery").value = name;
  await showGallery();
}

// Shows the gallery as it is now, if it is the chosen one.
export function galleryChanged(name) {
  if (chosenGallery() === name) showGalleries(name).catch((failure) => complain($("gallery-error"), failure));
}

async function create(event) {
  event.preventDefault();
  complain($("gallery-error"));
  try {
    const made = await api.createGallery($("create-name").value.trim());
    $("create-form").reset();
    $("create-panel").open = false;
    await showGalleries(made.name);
    $("add-panel").open = true;
    $("add-files").focus();
  } catch (failure) {
    complain($("gallery-error"), failure);
  }
}

export async function setUpChoice() {
  $("create-form").addEventListener("submit", create);
  $("gallery").addEventListener("change", () => showGallery().catch((failure) => complain($("gallery-error"), failure)));
  setUpAdding(chosenGallery, async () => {
    await showGalleries();
    $("add-panel").open = !counts.get(chosenGallery());
  });
  offer([]);
  try {
    listed = listGalleries(new URLSearchParams(location.search).get("gallery") ?? "");
    await listed;
    if (counts.size) await showGallery();
  } catch (failure) {
    complain($("gallery-error"), failure);
  }
}
