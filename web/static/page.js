// Wires the page: choose or make a gallery, send a photo, follow its job, show the answer.

import * as api from "./api.js";
import { clear, draw, thumbnails } from "./answer.js";
import { percent, showUnsure } from "./candidates.js";
import { element } from "./elements.js";
import { grouped, isClutter, labelOf } from "./names.js";
import { batches, persistently, shrunk } from "./sending.js";

const $ = (id) => document.getElementById(id);
const STATES = {
  uploading: "Uploading…",
  queued: "Accepted. Waiting for a free worker…",
  processing: "A worker is looking at it…",
  succeeded: "Done.",
  failed: "The job failed.",
  canceled: "Canceled.",
};
const ORDER = ["uploading", "queued", "processing", "succeeded"];
const UNSHOWN = new Set(["HEIF", "TIFF", "BMP"]); // browsers show these not at all, or each in its way
let current = null; // the job on screen
const sent = new WeakMap(); // of the pictures to add, those that were added, and how
let turn = 0; // counts the photos sent: only the latest may change the screen

function complain(place, failure) {
  if (!failure) return $(place).replaceChildren();
  const title = element("strong", { textContent: `${failure.title ?? "Something went wrong"}. ` });
  const code = element("code", { textContent: [failure.code ?? "page_error", failure.reason].filter(Boolean).join(": ") });
  const box = element("div", { className: "notice bad" }, title, failure.detail ?? String(failure), " (", code, ")");
  const listed = (failure.errors ?? []).filter((error) => error.name);
  if (listed.length > 1) {
    box.append(element("ul", {}, ...listed.map((error) => element("li", { textContent: `${error.name}: ${error.detail}` }))));
  }
  return $(place).replaceChildren(box);
}

// ---- galleries

async function showGalleries(chosen) {
  const { galleries } = await api.galleries();
  const select = $("gallery");
  const wanted = chosen ?? select.value;
  select.replaceChildren(...galleries.map(({ name, item_count: count }) => element("option", { value: name, textContent: `${name} (${count})` })));
  if (galleries.some(({ name }) => name === wanted)) select.value = wanted;
  $("gallery-choice").hidden = $("add-panel").hidden = galleries.length === 0;
  $("gallery-hint").hidden = galleries.length > 0;
  if (!galleries.length) $("create-panel").open = true;
  else await showGallery();
}

async function showGallery() {
  const name = $("gallery").value;
  const [facts, page] = await Promise.all([api.gallery(name), api.items(name, 12)]);
  const count = facts.item_count;
  $("gallery-facts").textContent = count ? `${count} ${count === 1 ? "picture" : "pictures"}, version ${facts.version}` : "Still empty: add labelled pictures below.";
  $("items").replaceChildren(...thumbnails(name, page.items.map(({ id, label }) => ({ item_id: id, label }))).children);
  if (!count) $("add-panel").open = true;
}

async function createGallery(event) {
  event.preventDefault();
  complain("gallery-error");
  try {
    const made = await api.createGallery($("create-name").value.trim());
    $("create-form").reset();
    $("create-panel").open = false;
    await showGalleries(made.name);
    $("add-panel").open = true;
    $("add-files").focus();
  } catch (failure) {
    complain("gallery-error", failure);
  }
}

function chosenFiles() {
  return [...$("add-files").files].filter(({ name }) => !isClutter(name));
}

async function addPictures(event) {
  event.preventDefault();
  complain("add-status");
  const files = chosenFiles();
  // As they are now: whoever looks at another gallery meanwhile does not send the rest there.
  const [gallery, byName, dropCounter, typed, mainBody] = [$("gallery").value, $("add-by-name").checked, $("add-drop-counter").checked, $("add-label").value.trim(), $("add-main-body").checked];
  const how = JSON.stringify([gallery, byName ? ["", dropCounter] : typed, mainBody]);
  const left = files.filter((file) => sent.get(file) !== how); // of an interrupted addition, the rest
  const button = event.submitter ?? $("add-form").querySelector("button");
  button.disabled = true;
  try {
    const results = [];
    const { maxFiles, maxBytes } = document.body.dataset;
    for await (const batch of batches(left, { maxFiles: Number(maxFiles), maxBytes: Number(maxBytes), shrink: $("add-shrink").checked })) {
      const before = files.length - left.length + results.length;
      const form = new FormData();
      for (const [file, data] of batch) {
        form.append("images", data);
        if (byName) form.append("labels", labelOf(file.name, dropCounter));
      }
      if (!byName) form.append("labels", typed);
      if (mainBody) form.append("crop", "main_body");
      const report = (text) => { $("add-status").textContent = text; };
      try {
        const job = await persistently(() => {
          report(`Sending ${files.length} pictures…`);
          return api.enroll(gallery, form, (fraction) => showSent("add-sent", (before + fraction * batch.length) / files.length));
        }, (seconds) => report(`The line broke off. Resuming in ${seconds} s with what is not sent yet…`));
        const done = await api.follow(job, ({ progress }) => {
          report(progress?.total ? `Looked at ${before + progress.done} of ${files.length}…` : "Waiting for a free worker…");
        });
        if (done.status !== "succeeded") throw done.error ? jobFailure(done) : new api.Failure("Not added", "The job was canceled.", "canceled");
        results.push(...done.result.items);
      } catch (failure) {
        if (failure.code !== "image_rejected") throw failure; // none of these few can be used: no reason to leave out the others
        results.push(...allRejected(batch, failure));
      }
      for (const [file] of batch) sent.set(file, how);
    }
    $("add-form").reset();
    nameLabels();
    reportAdded(results);
    await showGalleries();
    $("add-panel").open = $("gallery").selectedOptions[0]?.text.endsWith("(0)") ?? true;
  } catch (failure) {
    complain("add-status", failure);
    const done = files.filter((file) => sent.get(file) === how).length;
    if (done) $("add-status").append(element("p", { textContent: `${done} of ${files.length} are added. “Add pictures” goes on with the others.` }));
  } finally {
    button.disabled = false;
    showSent("add-sent", null);
  }
}

// A request of which no picture can be used, as what a job would have said of each.
function allRejected(batch, { errors, detail }) {
  return batch.map(([{ name }], at) => ({ name, status: "rejected", error: { message: errors.find(({ pointer }) => pointer === `/images/${at}`)?.detail ?? detail } }));
}

// How much of the pictures has been sent, 0 to 1; null hides the bar.
function showSent(place, fraction) {
  $(place).hidden = fraction === null;
  $(place).value = fraction ?? 0;
}

function reportAdded(results) {
  const count = (status) => results.filter((item) => item.status === status).length;
  const parts = [`${count("added")} added`];
  if (count("duplicate")) parts.push(`${count("duplicate")} there already`);
  const rejected = results.filter((item) => item.status === "rejected");
  const box = element("div", { className: rejected.length ? "notice bad" : "notice good" }, `${parts.join(", ")}${rejected.length ? `, ${rejected.length} not usable:` : "."}`);
  if (rejected.length) box.append(element("ul", {}, ...rejected.map(({ name, error }) => element("li", { textContent: `${name}: ${error?.message ?? error?.detail ?? error?.code ?? "rejected"}` }))));
  $("add-status").replaceChildren(box);
}

function nameLabels() {
  const byName = $("add-by-name").checked;
  $("add-label").disabled = byName;
  $("add-label").required = !byName;
  $("add-drop-counter-line").hidden = !byName;
  showLabels();
}

// What would be made of the chosen files, before it is made.
function showLabels() {
  const files = chosenFiles();
  $("add-preview").hidden = !$("add-by-name").checked || !files.length;
  if ($("add-preview").hidden) return;
  const groups = grouped(files.map(({ name }) => name), $("add-drop-counter").checked);
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  $("add-preview-summary").textContent = `${count(files.length, "picture")} will be added under ${count(groups.size, "label")}:`;
  $("add-preview-list").replaceChildren(...[...groups].map(([label, names]) => element("li", {}, element("strong", { textContent: label }), ` ← ${names.join(", ").replace(/\p{Bidi_Control}/gu, "")}`)));
}

// ---- the photo

function jobFailure(job) {
  const { code, message, detail, title } = job.error ?? {};
  return new api.Failure(title ?? "The picture could not be recognised", message ?? detail ?? "", code ?? "failed");
}

function options() {
  const chosen = {};
  for (const field of document.querySelectorAll("#precision [name], #options [name]")) {
    if (field.value !== "") chosen[field.name] = field.type === "number" || field.type === "range" ? Number(field.value) : field.value;
  }
  return chosen;
}

function showState(status, text = STATES[status]) {
  $("progress").hidden = false;
  $("state").textContent = text ?? status;
  $("cancel").hidden = !(status === "queued" || status === "processing");
  const ended = status === "failed" || status === "canceled";
  const now = ended ? Math.max(1, ORDER.indexOf(current?.started_at ? "processing" : "queued")) : ORDER.indexOf(status);
  for (const [position, step] of [...$("steps").children].entries()) {
    step.className = position < now || status === "succeeded" ? "done" : position > now ? "" : ended ? "failed" : "now";
    if (position === now) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
}

async function sendPhoto(file) {
  complain("photo-error");
  if (!$("gallery").value) {
    complain("photo-error", { title: "No gallery yet", detail: "Create a gallery and add labelled pictures first.", code: "no_gallery" });
    return;
  }
  const mine = ++turn;
  clear();
  current = null;
  showPicture(URL.createObjectURL(file), file.name);
  showState("uploading");
  const form = new FormData();
  form.append("gallery", $("gallery").value);
  form.append("image", $("photo-shrink").checked ? await shrunk(file) : file);
  form.append("options", JSON.stringify(options()));
  try {
    const job = await persistently(
      () => api.recognize(form, (fraction) => { if (mine === turn) showSent("photo-sent", fraction < 1 ? fraction : null); }),
      (seconds) => { if (mine === turn) showState("uploading", `The line broke off. Trying again in ${seconds} s…`); },
    );
    if (mine !== turn) return;
    history.replaceState(null, "", `#${job.id}`);
    await showJob(job);
  } catch (failure) {
    if (mine !== turn) return;
    $("progress").hidden = true;
    $("photo-sent").hidden = true;
    $("picture").hidden = true;
    complain("photo-error", failure);
  }
}

async function showJob(job) {
  current = job;
  showState(job.status);
  const isCurrent = () => current?.id === job.id;
  const done = await api.follow(job, (seen) => {
    if (!isCurrent()) return; // another photo was sent meanwhile
    current = seen;
    showState(seen.status, seen.cancel_requested ? "Canceling…" : undefined);
  });
  if (!isCurrent()) return;
  current = done;
  if (!(await shownPhoto()) || UNSHOWN.has(done.request.image.format)) {
    showPicture(`${done.links.self}/preview`, done.request.image.name); // as the worker saw it
    await shownPhoto();
  }
  if (!isCurrent()) return;
  const words = draw(done);
  if (done.result) showUnsure(done.result, (name) => addedTo(name));
  showState(done.status, done.status === "succeeded" ? `Done: ${words}` : undefined);
  if (done.status === "failed") complain("photo-error", jobFailure(done));
}

async function cancelJob() {
  try {
    const { id, status } = await api.cancel(current);
    // The stream may have sent the end already, before this answer came.
    if (status === "processing" && current.id === id && api.isOpen(current)) showState(status, "Canceling…");
  } catch (failure) {
    complain("photo-error", failure);
  }
}

function showPicture(address, name) {
  const shown = $("shown");
  if (shown.src.startsWith("blob:")) URL.revokeObjectURL(shown.src);
  shown.style.aspectRatio = shown.style.width = "";
  shown.src = address;
  $("caption").textContent = name;
  $("picture").hidden = false;
}

// The photo is cut into parts for the answer: that has to wait until it is there, or cannot be shown.
// Resolves to whether it is there.
async function shownPhoto() {
  return $("shown").decode().then(() => true, () => false);
}

function addedTo(name) {
  if ($("gallery").value === name) showGalleries(name).catch((failure) => complain("gallery-error", failure));
}

// The photo on screen once more, with the options and the gallery as they are now.
async function askAgain() {
  try {
    const photo = await api.photo(current ? `${current.links.self}/image` : $("shown").src);
    await sendPhoto(new File([photo], current?.request.image.name ?? "photo", { type: photo.type }));
  } catch (failure) {
    complain("photo-error", failure);
  }
}

async function openLinkedJob() {
  const id = location.hash.slice(1);
  if (!id.startsWith("rec_")) return;
  try {
    const job = await api.recognition(id);
    clear();
    if ([...$("gallery").options].some(({ value }) => value === job.request.gallery)) {
      $("gallery").value = job.request.gallery;
      await showGallery();
    }
    showPicture(`${job.links.self}/preview`, job.request.image.name);
    await showJob(job);
  } catch (failure) {
    complain("photo-error", failure);
  }
}

function acceptPhotos() {
  const drop = $("drop");
  const take = (files) => {
    const [file] = [...files].filter(({ type }) => type === "" || type.startsWith("image/"));
    if (file) sendPhoto(file);
    else if (files.length) complain("photo-error", { title: "Not a picture", detail: "Choose a picture file.", code: "not_a_picture" });
  };
  $("photo").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // the same file may be chosen again
  });
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, () => drop.classList.add("over"));
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) take(event.clipboardData.files);
  });
}

// ---- the whole

async function showReady() {
  const { ready, detail } = await api.isReady();
  $("ready").textContent = ready ? "Ready" : `Not ready. ${detail ?? "The service does not answer."}`;
  $("ready").className = ready ? "pill good" : "pill bad";
}

async function start() {
  acceptPhotos();
  $("create-form").addEventListener("submit", createGallery);
  $("add-form").addEventListener("submit", addPictures);
  $("add-by-name").addEventListener("change", nameLabels);
  $("add-drop-counter").addEventListener("change", showLabels);
  $("add-files").addEventListener("change", showLabels);
  nameLabels();
  $("gallery").addEventListener("change", () => showGallery().catch((failure) => complain("gallery-error", failure)));
  $("cancel").addEventListener("click", cancelJob);
  $("shown").addEventListener("error", () => {
    if (current === null || api.isOpen(current)) return; // the worker's picture of it may come
    $("caption").textContent += " – this browser cannot show this kind of picture";
  });
  $("again").addEventListener("click", askAgain);
  const precision = $("min-precision");
  precision.addEventListener("input", () => {
    $("min-precision-shown").textContent = percent(Number(precision.value));
  });
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("raw").textContent);
    $("copy").textContent = "Copied";
  });
  addEventListener("hashchange", openLinkedJob);
  showReady();
  setInterval(showReady, 15000);
  try {
    await showGalleries();
  } catch (failure) {
    complain("gallery-error", failure);
  }
  await openLinkedJob();
}

start();
