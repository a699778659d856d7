// The page of one gallery: its pictures and labels, what is added, and the way back from every change.

import { offer, setUpAdding } from "./adding.js";
import * as api from "./api.js";
import { agreed } from "./confirming.js";
import { showChange } from "./changes.js";
import { complain } from "./complaints.js";
import { dropAnywhere, dropHere } from "./folders.js";
import { pickedLabel, selection, setUpGrid, showAlike, showItems, showNearest } from "./item-grid.js";
import { markPicked, setUpLabels } from "./label-list.js";
import { askGallery, askLabel } from "./naming.js";
import { setUpSearching } from "./searching.js";
import { showVersions } from "./versions.js";
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);
const { name } = $("gallery").dataset;
const failed = (failure) => complain($("error"), failure);
let now = null; // the gallery as it is

const tried = (act) => async () => {
  complain($("error"));
  await act().catch(failed);
};

const showLabels = setUpLabels(name, pickedLabel, {
  pick: (label) => { filter(label === pickedLabel() ? null : label); },
  rename: (label) => tried(() => rename(label))(),
  remove: (label, count) => tried(() => removeLabel(label, count))(),
  failed,
});

const showSearching = setUpSearching(name, (act) => tried(() => change(t("searching.changed"), () => act().then(() => [])))());

async function refresh() {
  now = await api.gallery(name);
  const { item_count: count, version } = now;
  $("facts").textContent = count ? t("gallery.facts", { pictures: t("pictures", { count }), version: String(version) }) : t("gallery.empty");
  $("whole").hidden = false;
  showSearching(now);
  await Promise.all([showItems(), showLabels(), showVersions(name, (chosen) => tried(() => activate(chosen))())]);
}

function filter(label) {
  markPicked(label);
  showItems(label).catch(failed);
}

async function nearest(picture) {
  if (!picture) return;
  await showNearest(picture);
  markPicked(null);
}

async function alike() {
  await showAlike();
  markPicked(null);
  $("pictures-heading").focus(); // the button is disabled now
}

// Does `act`, which changes this gallery, and shows it with a way back.
async function change(words, act) {
  const { version: before } = await api.gallery(name);
  let others = [];
  try {
    others = (await act()) ?? [];
  } finally {
    await refresh(); // a part may have been done
  }
  showChange($("undo"), words, [{ gallery: name, before, after: now.version }, ...others], { undone: refresh, failed });
}

const removeLabel = (label, count) => change(t("deleted.label", { label, pictures: t("pictures", { count }) }), async () => {
  await api.deleteLabel(name, label);
  if (pickedLabel() === label) await showItems(null);
});

function removeItems() {
  const ids = selection();
  return change(t("deleted.pictures", { pictures: t("pictures", { count: ids.length }) }), async () => {
    for (const id of ids) await api.deleteItem(name, id);
  });
}

const rename = (label) => askLabel(name, t("rename.label", { label }), label, async (to, merge) => {
  if (!to || to === label) return;
  await change(t("renamed", { label, to }), async () => {
    await api.renameLabel(name, label, to, merge);
    if (pickedLabel() === label) await showItems(to);
  });
});

function relabel() {
  const ids = selection();
  const pictures = t("pictures", { count: ids.length });
  return askLabel(name, t("items.relabel.title", { pictures }), "", (to) => change(t("relabelled", { pictures, to }), async () => {
    for (const id of ids) await api.renameItem(name, id, to);
  }));
}

async function move() {
  const ids = selection();
  const pictures = t("pictures", { count: ids.length });
  const { galleries } = await api.galleries();
  const others = galleries.filter((one) => one.name !== name);
  if (!others.length) throw new api.Failure(t("items.move.nowhere"), t("items.move.nowhere.detail"), "no_other_gallery");
  await askGallery(t("items.move.title", { pictures }), others.map((one) => one.name), (to) => change(t("moved", { pictures, to }), async () => {
    const { target } = await api.moveItems(name, to, ids);
    return [{ gallery: to, before: others.find((one) => one.name === to).version, after: target.version }];
  }));
}

async function activate(version) {
  await change(t("activated", { version: String(version) }), () => api.activate(name, version).then(() => []));
}

async function removeGallery() {
  if (!(await agreed(t("delete.gallery.ask", { name, pictures: t("pictures", { count: now?.item_count ?? 0 }) })))) return;
  await api.deleteGallery(name);
  location.assign(api.at("/galleries"));
}

setUpGrid(name, failed);
setUpAdding(() => name, async () => {
  const before = now.version;
  await refresh();
  showChange($("undo"), t("changed"), [{ gallery: name, before, after: now.version }], { undone: refresh, failed });
});
dropAnywhere($("adding"), (found) => {
  offer(found);
  $("adding").scrollIntoView({ block: "nearest" });
});
$("filter-off").addEventListener("click", () => filter(null));
$("delete-items").addEventListener("click", tried(removeItems));
$("relabel").addEventListener("click", tried(relabel));
$("by-picture").addEventListener("change", () => {
  const [picture] = $("by-picture").files;
  $("by-picture").value = ""; // the same one may be chosen again
  tried(() => nearest(picture))();
});
dropHere($("search-place"), ([found]) => tried(() => nearest(found?.file))());
$("alike").addEventListener("click", tried(alike));
$("move").addEventListener("click", tried(move));
$("delete-gallery").addEventListener("click", tried(removeGallery));
tried(refresh)();
