// The photos that were sent, a few at a time: where each stands, and which is on screen.

import * as api from "./api.js";
import { element } from "./elements.js";
import { persistently, shrunk } from "./sending.js";
import { t } from "./words.js";

const AT_ONCE = 3; // a browser keeps six lines to a server, and each open job streams on one
const $ = (id) => document.getElementById(id);
const photos = [];
const waiting = [];
let busy = 0;

// A photo to be shown: {name, file, address, job, state, note, sent, failure, said}. `changed` is called for each news.
export function newPhoto(file, name = file.name, address = URL.createObjectURL(file)) {
  return { file, name, address, job: null, state: "uploading", note: null, sent: null, failure: null, said: new Map() };
}

// Sends photos in their order; `form` makes the request of what is sent of one.
export function sendAll(fresh, { shrink, form, changed }) {
  photos.push(...fresh);
  waiting.push(...fresh.map((photo) => () => deliver(photo, { shrink, form, changed })));
  while (busy < AT_ONCE && waiting.length) next();
}

async function next() {
  busy += 1;
  while (waiting.length) await waiting.shift()();
  busy -= 1;
}

async function deliver(photo, { shrink, form, changed }) {
  try {
    const data = shrink ? await shrunk(photo.file) : photo.file;
    const once = api.onceKey();
    const job = await persistently(
      () => api.recognize(form(data), (fraction) => { photo.sent = fraction < 1 ? fraction : null; changed(photo); }, once),
      (seconds) => { photo.note = t("resuming", { seconds }); changed(photo); },
    );
    await watch(photo, job, changed);
  } catch (failure) {
    Object.assign(photo, { failure, state: "failed", sent: null });
    changed(photo);
  }
}

// Follows a job to its end.
export async function watch(photo, job, changed) {
  Object.assign(photo, { job, state: job.status, sent: null, note: null });
  changed(photo);
  const seen = (now) => {
    Object.assign(photo, { job: now, state: now.status, note: now.cancel_requested && api.isOpen(now) ? t("canceling") : null });
    changed(photo);
  };
  try {
    seen(await api.follow(job, seen));
    if (photo.state === "failed") photo.failure = api.jobFailure(photo.job);
  } catch (failure) {
    Object.assign(photo, { failure, state: "failed" });
  }
  changed(photo, true);
}

// The strip of several photos; `pick` shows another.
export function showStrip(current, pick) {
  const strip = $("photos");
  strip.hidden = photos.length < 2;
  if (strip.hidden) return;
  photos.forEach((photo, number) => {
    const place = strip.children[number] ?? strip.appendChild(entry(photo, pick));
    const words = stateWords(photo);
    const tap = place.firstElementChild;
    if (tap.lastElementChild.textContent !== words) tap.lastElementChild.textContent = words;
    place.className = photo.state;
    if (photo === current) tap.setAttribute("aria-current", "true");
    else tap.removeAttribute("aria-current");
  });
}

function entry(photo, pick) {
  const picture = element("img", { src: photo.address, alt: "", width: 72, height: 54 });
  picture.addEventListener("error", () => picture.replaceWith(element("span", { className: "blank", textContent: t("no_preview") })));
  const tap = element("button", { type: "button", title: photo.name }, picture, element("span", { className: "name", textContent: photo.name }), element("span", { className: "words" }));
  tap.addEventListener("click", () => pick(photo));
  return element("li", {}, tap);
}

function stateWords({ state, job }) {
  if (state === "succeeded") return t("photos.found", { count: job.result.recognitions.length });
  return t(`photos.${state}`);
}
