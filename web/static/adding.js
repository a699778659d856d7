// Adds labelled pictures to a gallery: what is chosen or dropped, the labels it gets, and how far the sending is.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { element } from "./elements.js";
import { chosen } from "./folders.js";
import { grouped, labelled, showGroups } from "./groups.js";
import { batches, persistently } from "./sending.js";
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);
const sent = new WeakMap(); // of the pictures, those that were added, and how
let pictures = []; // [{file, folder}]
let labels = []; // of each

// `target` returns the gallery's name; `added` is called with it when it has new pictures.
export function setUpAdding(target, added) {
  $("add-form").addEventListener("submit", (event) => {
    event.preventDefault();
    addPictures(target(), added, event.submitter ?? $("add-form").querySelector("[type=submit]"));
  });
  for (const id of ["add-files", "add-folder"]) $(id).addEventListener("change", () => offer(chosen($(id).files)));
  for (const id of ["add-from", "add-label", "add-drop-counter"]) $(id).addEventListener("input", nameLabels);
  nameLabels();
}

// Takes pictures to be added; those from folders are named by them.
export function offer(found) {
  pictures = found;
  if (found.some(({ folder }) => folder)) $("add-from").value = "folder";
  else if ($("add-from").value === "folder") $("add-from").value = "file";
  nameLabels();
}

function nameLabels() {
  const from = $("add-from").value;
  $("add-label-line").hidden = from !== "typed";
  $("add-label").required = from === "typed";
  $("add-drop-counter-line").hidden = from !== "file";
  labels = labelled(pictures, { from, typed: $("add-label").value.trim(), dropCounter: $("add-drop-counter").checked });
  showLabels();
}

// What would be made of the chosen files, before it is made.
function showLabels() {
  $("add-preview").hidden = !pictures.length || $("add-from").value === "typed";
  if ($("add-preview").hidden) return;
  const groups = grouped(labels).size;
  $("add-preview-summary").textContent = t("add.preview", { pictures: t("pictures", { count: pictures.length }), labels: t("labels", { count: groups }) });
  showGroups($("add-preview-list"), pictures, labels, (numbers, label) => {
    for (const number of numbers) labels[number] = label;
    showLabels();
  });
}

async function addPictures(gallery, added, button) {
  const report = (text) => { $("add-status").textContent = text; };
  complain($("add-status"));
  const wanted = pictures.map(({ file }, number) => ({ file, label: labels[number] })); // as they are now, whatever is chosen meanwhile
  if (!wanted.length) return complain($("add-status"), new api.Failure(t("add.nothing"), t("add.nothing.detail"), "no_pictures"));
  if (wanted.some(({ label }) => !label)) return complain($("add-status"), new api.Failure(t("add.no_label"), t("add.no_label.detail"), "no_label"));
  const mainBody = $("add-main-body").checked;
  const how = ({ label }) => JSON.stringify([gallery, label, mainBody]);
  const left = wanted.filter((one) => sent.get(one.file) !== how(one)); // of an interrupted addition, the rest
  const labelOf = new Map(left.map(({ file, label }) => [file, label]));
  const { maxFiles, maxBytes } = document.body.dataset;
  const results = [];
  button.disabled = true;
  try {
    for await (const batch of batches([...labelOf.keys()], { maxFiles: Number(maxFiles), maxBytes: Number(maxBytes), shrink: $("add-shrink").checked })) {
      const before = wanted.length - left.length + results.length;
      const form = new FormData();
      for (const [file, data] of batch) {
        form.append("images", data);
        form.append("labels", labelOf.get(file));
      }
      if (mainBody) form.append("crop", "main_body");
      const once = api.onceKey();
      try {
        const job = await persistently(() => {
          report(t("add.sending", { count: wanted.length }));
          return api.enroll(gallery, form, (fraction) => showSent((before + fraction * batch.length) / wanted.length), once);
        }, (seconds) => report(t("add.resuming", { seconds })));
        const done = await api.follow(job, ({ progress }) => {
          report(progress?.total ? t("add.looked", { done: before + progress.done, total: wanted.length }) : t("waiting"));
        });
        if (done.status !== "succeeded") throw api.jobFailure(done);
        results.push(...done.result.items);
      } catch (failure) {
        if (failure.code !== "image_rejected") throw failure; // none of these few can be used: no reason to leave out the others
        results.push(...allRejected(batch, failure));
      }
      for (const [file] of batch) sent.set(file, how({ label: labelOf.get(file) }));
    }
    $("add-form").reset();
    offer([]);
    reportAdded(results);
    await added(gallery);
  } catch (failure) {
    complain($("add-status"), failure);
    const done = wanted.filter((one) => sent.get(one.file) === how(one)).length;
    if (done) $("add-status").append(element("p", { textContent: t("add.interrupted", { done, total: wanted.length }) }));
  } finally {
    button.disabled = false;
    showSent(null);
  }
  return undefined;
}

// A request of which no picture can be used, as what a job would have said of each.
function allRejected(batch, { errors, detail }) {
  return batch.map(([{ name }], number) => ({ name, status: "rejected", error: { message: errors.find(({ pointer }) => pointer === `/images/${number}`)?.detail ?? detail } }));
}

// How much of the pictures has been sent, 0 to 1; null hides the bar.
function showSent(fraction) {
  $("add-sent").hidden = fraction === null;
  $("add-sent").value = fraction ?? 0;
}

function reportAdded(results) {
  const count = (status) => results.filter((item) => item.status === status).length;
  const rejected = results.filter((item) => item.status === "rejected");
  const parts = [t("added", { count: count("added") })];
  if (count("duplicate")) parts.push(t("added.duplicates", { count: count("duplicate") }));
  if (rejected.length) parts.push(t("added.rejected", { count: rejected.length }));
  const box = element("div", { className: rejected.length ? "notice bad" : "notice good" }, `${parts.join(t("comma"))}${rejected.length ? t("colon") : t("stop")}`);
  if (rejected.length) box.append(element("ul", {}, ...rejected.map(({ name, error }) => element("li", { textContent: `${name}: ${error?.message ?? error?.detail ?? error?.code}` }))));
  $("add-status").replaceChildren(box);
}
