// The page of a photo: takes photos, shows the one that is looked at with its answer, and searches again.

import { writeAnswer } from "./answer.js";
import * as api from "./api.js";
import { clearBoxes, drawBoxes } from "./boxes.js";
import { choose, chosenGallery, galleriesListed, galleryChanged, setUpChoice } from "./choosing.js";
import { complain } from "./complaints.js";
import { copy } from "./copying.js";
import { setUpDrawing, stopEditing } from "./drawing.js";
import { button } from "./elements.js";
import { chosen, dropAnywhere } from "./folders.js";
import { clearFound, goTo, listFound } from "./found.js";
import { objectsOf } from "./objects.js";
import { newPhoto, sendAll, showStrip, watch } from "./photos.js";
import { showState } from "./steps.js";
import { saidBefore } from "./feedback.js";
import { percent, t } from "./words.js";

const UNSHOWN = new Set(["HEIF", "TIFF", "BMP"]); // browsers show these not at all, or each in its way
const DETECTING = ["detection_threshold", "max_detections", "whole_image"]; // options that mean nothing where the box is given
const $ = (id) => document.getElementById(id);
let current = null; // the photo on screen

function options() {
  const picked = {};
  for (const field of document.querySelectorAll("#options [name]")) {
    if (field.value !== "") picked[field.name] = field.type === "number" || field.type === "range" ? Number(field.value) : field.value;
  }
  return picked;
}

// ---- taking photos

async function take(found) {
  const files = found.map(({ file }) => file).filter(({ type }) => type === "" || type.startsWith("image/"));
  if (!files.length) return found.length ? complain($("photo-error"), new api.Failure(t("not_picture"), t("not_picture.detail"), "not_a_picture")) : undefined;
  try {
    await galleriesListed();
  } catch (failure) {
    return complain($("photo-error"), failure);
  }
  if (!chosenGallery()) return complain($("photo-error"), new api.Failure(t("no_gallery"), t("no_gallery.detail"), "no_gallery"));
  return send(files.map((file) => newPhoto(file)));
}

// Sends photos with the gallery and the options as they are now, and shows the first.
function send(fresh, query = options()) {
  const gallery = chosenGallery();
  const form = (data) => {
    const made = new FormData();
    made.append("gallery", gallery);
    made.append("image", data);
    made.append("options", JSON.stringify(query));
    return made;
  };
  for (const photo of fresh) photo.enrolled = enrolled;
  show(fresh[0]);
  sendAll(fresh, { shrink: $("photo-shrink").checked, form, changed });
}

// ---- the photo on screen

function show(photo) {
  current = photo;
  complain($("photo-error"));
  clearBoxes();
  clearFound();
  stopEditing();
  document.body.classList.add("has-photo");
  showPicture(photo.address, photo.name);
  changed(photo, true);
}

// News of a photo; `ended`: it will have no more.
function changed(photo, ended = false) {
  showStrip(current, show);
  if (photo !== current) return;
  if (photo.job) history.replaceState(null, "", `#${photo.job.id}`);
  if (photo.failure && !photo.job) {
    $("progress").hidden = $("picture").hidden = true;
    complain($("photo-error"), photo.failure);
    return;
  }
  if (photo.job && !api.isOpen(photo.job)) {
    if (ended) finish(photo);
  } else showState(photo);
}

async function finish(photo) {
  const { job } = photo;
  if (!(await shownPhoto()) || UNSHOWN.has(job.request.image.format)) {
    if (photo === current) showPicture(api.at(`${job.links.self}/preview`), photo.name); // as the worker saw it
    await shownPhoto();
  }
  if (job.result && !photo.said.size) photo.said = await saidBefore(photo);
  if (photo !== current || job !== photo.job) return;
  const words = writeAnswer(job);
  $("draw").hidden = !job.result;
  if (job.result) {
    const objects = objectsOf(job.result);
    const named = new Set(objects.map(({ found }) => found));
    const others = (job.result.dropped ?? []).filter((miss) => miss.reason !== "suppressed" && miss.source === "detection" && !named.has(miss));
    drawBoxes(job.result.image, objects, others.map(({ box }) => box), goTo);
    listFound(photo, objects);
  }
  showState(photo, photo.state === "succeeded" ? t("state.done", { words }) : null);
  if (photo.failure) complain($("photo-error"), photo.failure);
}

function showPicture(address, name) {
  const shown = $("shown");
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

async function cancelJob() {
  try {
    const photo = current;
    const seen = await api.cancel(photo.job);
    // The stream may have sent the end already, before this answer came.
    if (seen.status === "processing" && api.isOpen(photo.job)) Object.assign(photo, { note: t("canceling") });
    changed(photo);
  } catch (failure) {
    complain($("photo-error"), failure);
  }
}

// ---- searching again

function enrolled(gallery) {
  $("changed").hidden = false;
  $("changed").replaceChildren(t("changed"), " ", button(t("again"), () => searchAgain()));
  galleryChanged(gallery);
}

// The photo on screen once more, with the options and the gallery as they are now.
async function searchAgain(more = {}) {
  try {
    const { job, name, address } = current;
    const data = await api.photo(job ? `${job.links.self}/image` : address);
    send([newPhoto(new File([data], job?.request.image.name ?? name, { type: data.type }))], { ...options(), ...more });
  } catch (failure) {
    complain($("photo-error"), failure);
  }
}

async function openLinkedJob() {
  const id = location.hash.slice(1);
  if (!id.startsWith("rec_") || id === current?.job?.id) return;
  try {
    const job = await api.recognition(id);
    await choose(job.request.gallery);
    const photo = newPhoto(null, job.request.image.name, api.at(`${job.links.self}/preview`));
    photo.enrolled = enrolled;
    photo.job = job;
    show(photo);
    await watch(photo, job, changed);
  } catch (failure) {
    complain($("photo-error"), failure);
  }
}

// ---- the whole

async function start() {
  for (const id of ["photo", "camera"]) {
    $(id).addEventListener("change", ({ target }) => {
      take(chosen(target.files));
      target.value = ""; // the same file may be chosen again
    });
  }
  dropAnywhere($("drop"), take);
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData?.files.length) take(chosen(clipboardData.files));
  });
  $("cancel").addEventListener("click", cancelJob);
  $("shown").addEventListener("error", () => {
    if (!current?.job || api.isOpen(current.job)) return; // the worker's picture of it may come
    $("caption").textContent = t("photo.caption_not_shown", { name: current.name });
  });
  $("again").addEventListener("click", () => searchAgain());
  setUpDrawing(() => current, (box) => searchAgain({ boxes: [box], ...Object.fromEntries(DETECTING.map((name) => [name, undefined])) }));
  $("min-precision").addEventListener("input", ({ target }) => { $("min-precision-shown").textContent = percent(Number(target.value)); });
  $("copy").addEventListener("click", () => copy($("raw"), $("copy")));
  addEventListener("hashchange", openLinkedJob);
  await setUpChoice();
  await openLinkedJob();
}

start();
