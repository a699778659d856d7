// The page of the jobs: newest first, filtered, followed while any is open.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { element, thumbnail } from "./elements.js";
import { t, time } from "./words.js";

const PAGE = 25;
const EVERY_MS = 3000;
const PAUSE_MS = 250;
const LABELS = 4; // shown of an answer
const $ = (id) => document.getElementById(id);
const filters = $("filters");
let after = null;
let turn = 0;
let jobs = [];
let timer = 0;

function query() {
  const { status, gallery, label, since } = Object.fromEntries(new FormData(filters));
  return { status, gallery, label: label.trim(), created_after: since ? new Date(since).toISOString() : "", limit: PAGE };
}

async function show(more = false) {
  clearTimeout(timer);
  const mine = (turn += 1);
  const kind = filters.elements.kind.value;
  complain($("error"));
  try {
    const found = await api.jobs(kind, { ...query(), after: more ? after : "" });
    if (mine !== turn) return;
    after = found.next_after;
    jobs = more ? [...jobs, ...found[kind]] : found[kind];
    $("rows").replaceChildren(...jobs.map(kind === "recognitions" ? recognition : enrolment));
    $("table").hidden = !jobs.length;
    $("none").textContent = jobs.length ? "" : t("jobs.none");
    $("more").hidden = !after;
    if (jobs.length <= PAGE && jobs.some(api.isOpen)) timer = setTimeout(show, EVERY_MS);
  } catch (failure) {
    if (mine === turn) complain($("error"), failure);
  }
}

function recognition(job) {
  const { image } = job.request;
  const link = element("a", { href: api.at(`/#${job.id}`), className: "job" }, thumbnail(api.at(`${job.links.self}/preview`), 64), image.name || job.id);
  const labels = [...new Set((job.result?.recognitions ?? []).map(({ label }) => label))];
  const found = labels.slice(0, LABELS).join(t("comma")) + (labels.length > LABELS ? " …" : "");
  return row(job, link, job.error ? job.error.code : found || (job.result ? t("jobs.nothing") : ""));
}

function enrolment(job) {
  const { gallery, items = [] } = job.request;
  const link = element("a", { href: api.at(`/galleries/${encodeURIComponent(gallery)}`), className: "job" }, `${t("pictures", { count: items.length })}`);
  const added = (job.result?.items ?? []).filter(({ status }) => status === "added").length;
  return row(job, link, job.error ? job.error.code : job.result ? t("added", { count: added }) : "");
}

function row(job, link, answer) {
  const state = element("span", { className: `state ${job.status}`, textContent: t(`status.${job.status}`) });
  const took = job.completed_at ? `${((new Date(job.completed_at) - new Date(job.created_at)) / 1000).toFixed(1)} s` : "–";
  const cells = [["name", "", link], ["", t("jobs.status"), state], ["", t("gallery"), String(job.request.gallery)], ["", t("jobs.answer"), answer], ["", t("jobs.created"), time(job.created_at)], ["", t("jobs.took"), took]];
  return element("tr", {}, ...cells.map(([className, name, content]) => {
    const cell = element("td", { className }, content);
    cell.dataset.name = name;
    return cell;
  }));
}

async function start() {
  filters.addEventListener("submit", (event) => event.preventDefault());
  let typing = 0;
  filters.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(show, PAUSE_MS);
  });
  $("more").addEventListener("click", () => show(true));
  await show();
  const { galleries } = await api.galleries().catch(() => ({ galleries: [] }));
  filters.elements.gallery.append(...galleries.map(({ name }) => element("option", { value: name, textContent: name })));
}

start();
