// How far the photo on screen is.

import { t } from "./words.js";

const ORDER = ["uploading", "queued", "processing", "succeeded"];
const $ = (id) => document.getElementById(id);

export function showState({ state, note, job, sent }, done = null) {
  $("progress").hidden = false;
  $("state").textContent = note ?? done ?? t(`state.${state}`);
  $("photo-sent").hidden = sent === null;
  $("photo-sent").value = sent ?? 0;
  $("cancel").hidden = !(state === "queued" || state === "processing");
  $("progress").classList.toggle("ended", state === "succeeded"); // the answer takes the place
  const ended = state === "failed" || state === "canceled";
  const now = ended ? Math.max(1, ORDER.indexOf(job?.started_at ? "processing" : "queued")) : ORDER.indexOf(state);
  for (const [position, step] of [...$("steps").children].entries()) {
    step.className = position < now || state === "succeeded" ? "done" : position > now ? "" : ended ? "failed" : "now";
    if (position === now) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
}
