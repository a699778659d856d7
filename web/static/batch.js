// The page of one batch: how far it is, its answers page by page, as files, and the way to give it up.

import * as api from "./api.js";
import { agreed } from "./confirming.js";
import { complain } from "./complaints.js";
import { element, thumbnail } from "./elements.js";
import { isUnsure } from "./objects.js";
import { pill, row } from "./tables.js";
import { known, percent, t, time } from "./words.js";

const PAGE = 25; // photos on screen: only the jobs of these are fetched
const EVERY_MS = 2000;
const LABELS = 4; // shown of an answer
const $ = (id) => document.getElementById(id);
const { id } = $("batch").dataset;
const answers = new Map(); // job id -> the ended job
let batch = null;
let first = 0; // on screen
let timer = 0;

async function show() {
  clearTimeout(timer);
  try {
    batch = await api.batch(id);
    complain($("error"));
    write();
    await fill();
  } catch (failure) {
    complain($("error"), failure);
    if (!failure.passing) return;
  }
  if (!batch?.completed_at) timer = setTimeout(show, EVERY_MS);
}

function write() {
  const { status, counts, request, created_at: created, completed_at: ended } = batch;
  const done = counts.total - counts.queued - counts.processing;
  $("whole").hidden = false;
  $("state").replaceChildren(pill(status, t(`batches.status.${status}`)));
  $("done").textContent = t("batches.done", { done, count: counts.total });
  Object.assign($("progress"), { max: counts.total, value: done });
  $("cancel").hidden = Boolean(ended) || batch.cancel_requested;
  const eta = batch.queue?.eta_s;
  const rows = [[t("gallery"), request.gallery], ...["succeeded", "failed", "rejected", "canceled"].filter((one) => counts[one] || one === "succeeded").map((one) => [t(`status.${one}`), t("number", { count: counts[one] })]), [t("jobs.created"), time(created)], ended ? [t("batches.ended"), time(ended)] : [t("batches.eta"), Number.isFinite(eta) ? t("seconds", { seconds: String(Math.ceil(eta)) }) : "–"]];
  $("facts").replaceChildren(...rows.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
  for (const format of ["csv", "ndjson"]) $(format).href = api.batchResults(batch, format);
  const kept = $("only").value;
  $("only").replaceChildren(...["", "succeeded", "failed", "rejected", "canceled", "processing", "queued"].filter((one) => !one || counts[one] || one === kept).map((one) => element("option", { value: one, textContent: one ? `${t(`status.${one}`)} (${counts[one]})` : t("jobs.any"), selected: one === kept })));
}

const wanted = () => batch.jobs.filter(({ status }) => !$("only").value || status === $("only").value);

// Writes the photos on screen, and fetches the answers that are not there yet.
async function fill() {
  const all = wanted();
  first = Math.min(first, Math.max(0, Math.ceil(all.length / PAGE - 1) * PAGE));
  const shown = all.slice(first, first + PAGE);
  $("rows").replaceChildren(...shown.map(line));
  $("table").hidden = !shown.length;
  $("page-facts").textContent = shown.length ? t("items.page", { first: first + 1, last: first + shown.length, count: all.length }) : t("batches.no_such");
  $("previous").disabled = first === 0;
  $("next").disabled = first + PAGE >= all.length;
  const missing = shown.filter((one) => one.id && !api.isOpen(one) && answers.get(one.id)?.status !== one.status);
  await Promise.all(missing.map(async (one) => {
    const job = await api.recognition(one.id).catch((failure) => ({ status: one.status, error: { code: failure.code } }));
    answers.set(one.id, job);
    $(`photo-${one.index}`)?.replaceWith(line(one));
  }));
}

function line(entry) {
  const { index, name, status, links } = entry;
  const job = answers.get(entry.id);
  const words = name || t("batches.photo", { number: index + 1 });
  const photo = links ? element("a", { href: api.at(`/#${entry.id}`), className: "job" }, thumbnail(api.at(`${links.self}/preview`), 64), words) : element("span", { className: "job", textContent: words });
  return row([
    ["name", "", photo],
    ["", t("jobs.status"), pill(status, t(`status.${status}`))],
    ["", t("jobs.answer"), answer(job ?? entry)],
  ], { id: `photo-${index}` });
}

function answer({ result, error }) {
  if (error) return element("span", {}, element("code", { textContent: error.code }), ` ${error.message ?? ""}`);
  if (!result) return "";
  const found = result.recognitions.map(({ label, probability }) => `${label} ${percent(probability)}`);
  if (found.length) return found.slice(0, LABELS).join(t("comma")) + (found.length > LABELS ? " …" : "");
  const guess = (result.dropped ?? []).find(isUnsure)?.candidates[0];
  const why = known(`empty.${result.reason}`, t("jobs.nothing"));
  return guess ? `${why} ${t("batches.guess", { label: guess.label })}` : why;
}

async function cancel() {
  if (!(await agreed(t("batches.cancel.ask"), t("batches.cancel"), t("batches.cancel.no")))) return;
  try {
    await api.cancelBatch(id);
  } catch (failure) {
    if (failure.code !== "job_finished") complain($("error"), failure); // all had ended meanwhile
  }
  await show();
}

function turnTo(start) {
  first = Math.max(0, start);
  fill().then(() => $("answers-heading").focus());
}

$("cancel").addEventListener("click", cancel);
$("only").addEventListener("change", () => turnTo(0));
$("previous").addEventListener("click", () => turnTo(first - PAGE));
$("next").addEventListener("click", () => turnTo(first + PAGE));
show();
