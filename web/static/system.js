// The page of the service itself, renewed every few seconds; the throughput is counted while the page is open.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { element } from "./elements.js";
import { known, t } from "./words.js";

const EVERY_MS = 3000;
const KEPT = 100; // points of the curve
const $ = (id) => document.getElementById(id);
const counts = []; // [time in ms, jobs that ended until then]

async function show() {
  try {
    const [now, ready] = await Promise.all([api.system(), api.isReady()]);
    complain($("error"));
    $("version").textContent = t("system.version", { version: now.version });
    $("checks").replaceChildren(...Object.entries(ready.checks ?? {}).map(([name, { ok, detail }]) => element("li", {}, element("span", { className: `state ${ok ? "succeeded" : "failed"}`, textContent: known(`check.${name}`, name) }), " ", element("span", { className: "quiet", lang: "en", textContent: detail }))));
    counters(now);
    throughput(now.finished.reduce((sum, { count }) => sum + count, 0));
    workers(now.workers);
    rows($("queues"), now.queues.map(({ name, messages, consumed_age_s: age }) => [name, t("number", { count: messages }), age === null ? t("system.never") : seconds(age)]), [t("system.queue"), t("system.messages"), t("system.taken")]);
    rows($("finished"), now.finished.map(({ kind, status, count }) => [known(`kind.${kind}`, kind), t(`status.${status}`), t("number", { count })]), [t("jobs.kind"), t("jobs.status"), t("system.count")]);
  } catch (failure) {
    complain($("error"), failure);
  }
  setTimeout(show, EVERY_MS);
}

const seconds = (age) => t("seconds", { seconds: age < 10 ? age.toFixed(1) : String(Math.round(age)) });

function counters(now) {
  const shown = [[t("status.queued"), t("number", { count: now.queued })], [t("status.processing"), t("number", { count: now.processing })], [t("system.oldest"), now.queued ? seconds(now.oldest_queued_age_s) : "–"], [t("system.workers"), t("number", { count: now.workers.length })], [t("system.webhooks"), t("number", { count: now.webhooks_pending })]];
  $("counters").replaceChildren(...shown.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
}

// Jobs in a minute, over what was seen.
function throughput(finished) {
  counts.push([performance.now(), finished]);
  if (counts.length > KEPT) counts.shift();
  const rates = counts.slice(1).map(([at, count], before) => (60_000 * Math.max(0, count - counts[before][1])) / (at - counts[before][0]));
  const [first, last] = [counts[0], counts.at(-1)];
  const mean = counts.length > 1 ? (60_000 * (last[1] - first[1])) / (last[0] - first[0]) : 0;
  $("rate").textContent = counts.length > 1 ? t("system.rate", { rate: mean.toFixed(1) }) : t("system.rate.soon");
  if (rates.length === 1) rates.push(rates[0]); // a line needs two ends
  const top = Math.max(1, ...rates);
  $("curve").firstElementChild.setAttribute("points", rates.map((rate, number) => `${(300 * number) / Math.max(1, rates.length - 1)},${57 - (54 * rate) / top}`).join(" "));
}

function workers(found) {
  $("no-workers").hidden = found.length > 0;
  $("workers-table").hidden = !found.length;
  rows($("workers"), found.map(({ name, queues, models }) => [name, queues.join(", "), element("ul", {}, ...Object.entries(models).filter(([, used]) => used).map(([part, used]) => element("li", { title: used.digest, textContent: `${known(`part.${part}`, part)}: ${used.name} · ${used.digest.slice(0, 8)} · ${used.engine} ${used.precision}` })))]), [t("system.worker"), t("system.queues"), t("system.models")]);
}

function rows(place, lines, names) {
  place.replaceChildren(...lines.map((cells) => element("tr", {}, ...cells.map((content, number) => {
    const cell = element("td", {}, content);
    cell.dataset.name = names[number];
    return cell;
  }))));
}

show();
