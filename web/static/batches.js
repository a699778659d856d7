// The page of the batches: sends many photos at once, and lists what was sent, newest first.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { element } from "./elements.js";
import { chosen, dropAnywhere } from "./folders.js";
import { persistently, shrunk } from "./sending.js";
import { pill, row } from "./tables.js";
import { t, time } from "./words.js";

const PAGE = 25;
const EVERY_MS = 3000;
const FORM_BYTES = 1000; // of each photo's own lines in the form
const $ = (id) => document.getElementById(id);
let batches = [];
let after = null;
let turn = 0;
let timer = 0;
let photos = []; // to be sent

async function show(more = false) {
  clearTimeout(timer);
  const mine = (turn += 1);
  try {
    const found = await api.batches({ limit: PAGE, after: more ? after : "" });
    if (mine !== turn) return;
    complain($("error"));
    after = found.next_after;
    batches = more ? [...batches, ...found.batches] : found.batches;
    $("rows").replaceChildren(...batches.map(line));
    $("table").hidden = !batches.length;
    $("none").textContent = batches.length ? "" : t("batches.none");
    $("more").hidden = !after;
    if (batches.length <= PAGE && batches.some((one) => !one.completed_at)) timer = setTimeout(show, EVERY_MS);
  } catch (failure) {
    if (mine === turn) complain($("error"), failure);
  }
}

function line({ id, status, counts, request, created_at: created }) {
  const link = element("a", { href: api.at(`/batches/${id}`), textContent: t("batches.photos", { count: counts.total }) });
  const ended = counts.total - counts.queued - counts.processing;
  const bad = counts.failed + counts.rejected;
  const done = t("batches.done", { done: ended, count: counts.total });
  return row([
    ["name", "", link],
    ["", t("jobs.status"), pill(status, t(`batches.status.${status}`))],
    ["", t("gallery"), request.gallery],
    ["", t("batches.ended"), bad ? `${done}${t("comma")}${t("batches.bad", { count: bad })}` : done],
    ["", t("jobs.created"), time(created)],
  ]);
}

// ---- a new one

function take(found) {
  photos = found.map(({ file }) => file).filter(({ type }) => type === "" || type.startsWith("image/"));
  $("chosen").textContent = photos.length ? t("batches.chosen", { count: photos.length }) : "";
}

async function create(event) {
  event.preventDefault();
  complain($("new-error"));
  if (!photos.length) return complain($("new-error"), new api.Failure(t("add.nothing"), t("batches.nothing"), "no_pictures"));
  const { maxFiles, maxBytes } = document.body.dataset;
  const button = $("new").querySelector("[type=submit]");
  button.disabled = true;
  try {
    const form = new FormData();
    form.append("gallery", $("batch-gallery").value);
    form.append("priority", $("batch-priority").value);
    let bytes = 0;
    for (const file of photos) {
      const data = $("batch-shrink").checked ? await shrunk(file) : file;
      bytes += data.size + FORM_BYTES;
      form.append("images", data);
    }
    if (photos.length > maxFiles || bytes > maxBytes) throw new api.Failure(t("batches.too_many"), t("batches.too_many.detail", { files: Number(maxFiles), megabytes: Math.floor(maxBytes / 1e6) }), "batch_too_large");
    const once = api.onceKey();
    $("sent").hidden = false;
    const made = await persistently(() => api.createBatch(form, (fraction) => { $("sent").value = fraction; }, once), (seconds) => { $("chosen").textContent = t("resuming", { seconds }); });
    location.assign(api.at(`/batches/${made.id}`));
  } catch (failure) {
    complain($("new-error"), failure);
  } finally {
    button.disabled = false;
    $("sent").hidden = true;
  }
  return undefined;
}

async function start() {
  $("batch-files").addEventListener("change", ({ target }) => take(chosen(target.files)));
  dropAnywhere($("new"), (found) => {
    $("batch-files").value = "";
    take(found);
  });
  $("new").addEventListener("submit", create);
  $("more").addEventListener("click", () => show(true));
  await show();
  try {
    const { galleries } = await api.galleries();
    $("batch-gallery").append(...galleries.map(({ name }) => element("option", { value: name, textContent: name })));
    $("no-gallery").hidden = galleries.length > 0;
  } catch (failure) {
    complain($("new-error"), failure);
  }
}

start();
