// The page of all galleries.

import * as api from "./api.js";
import { agreed } from "./confirming.js";
import { complain } from "./complaints.js";
import { button, element } from "./elements.js";
import { t, time } from "./words.js";

const $ = (id) => document.getElementById(id);

async function show() {
  const { galleries } = await api.galleries();
  $("none").hidden = galleries.length > 0;
  $("table").hidden = !galleries.length;
  $("rows").replaceChildren(...galleries.map(row));
}

function row({ name, item_count: count, version, created_at: changed }) {
  const link = element("a", { href: api.at(`/galleries/${encodeURIComponent(name)}`), textContent: name });
  const away = button(t("delete"), () => remove(name, count));
  away.setAttribute("aria-label", t("delete.gallery", { name }));
  const cells = [["name", link], ["pictures", String(count)], ["version", String(version)], ["changed", time(changed)], ["actions", away]];
  return element("tr", {}, ...cells.map(([key, content]) => {
    const cell = element("td", { className: key }, content);
    cell.dataset.name = t(`galleries.${key}`);
    return cell;
  }));
}

async function remove(name, count) {
  if (!(await agreed(t("delete.gallery.ask", { name, pictures: t("pictures", { count }) })))) return;
  await tried(async () => {
    await api.deleteGallery(name);
    const back = button(t("undo"), () => tried(() => restore(name)));
    $("status").replaceChildren(element("div", { className: "notice good row" }, t("deleted.gallery", { name }), back));
    await show();
  });
}

async function restore(name) {
  await api.restoreGallery(name);
  $("status").replaceChildren(element("p", { className: "notice good", textContent: t("undone") }));
  await show();
}

async function create(event) {
  event.preventDefault();
  await tried(async () => {
    const { name } = await api.createGallery($("create-name").value.trim());
    location.assign(api.at(`/galleries/${encodeURIComponent(name)}`));
  });
}

async function tried(act) {
  complain($("error"));
  try {
    await act();
  } catch (failure) {
    complain($("error"), failure);
  }
}

$("create-form").addEventListener("submit", create);
tried(show);
