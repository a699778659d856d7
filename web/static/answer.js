// Writes a finished job's answer: the summary, what decided, what was dropped, where the time went, the JSON.

import { at } from "./api.js";
import { element } from "./elements.js";
import { agreeing } from "./evidence.js";
import { isUnsure } from "./objects.js";
import { exactly, known, t } from "./words.js";

const $ = (id) => document.getElementById(id);
const fraction = (part, whole) => `${(100 * part) / whole}%`;

// Resolves nothing, returns the summary in words.
export function writeAnswer(job) {
  const { result } = job;
  $("answer").hidden = $("details").hidden = false;
  $("raw").textContent = JSON.stringify(job, null, 2);
  $("job-link").href = at(job.links.self);
  $("dropped-panel").hidden = true;
  $("decision").textContent = result?.decision ? decided(result.decision) : ""; // answers kept since before there were probabilities have none
  $("timings-panel").hidden = !result;
  const words = result ? summary(result) : t("answer.none");
  $("summary").textContent = result ? `${words} (${searched(result)})` : words;
  if (!result) return words;
  dropped(result);
  timings(result.timings_ms);
  return words;
}

function summary(result) {
  const count = result.recognitions.length;
  return count ? t("answer.found", { count }) : known(`empty.${result.reason}`, t("empty.nothing"));
}

function searched({ gallery: { name, version, items } }) {
  return t("answer.searched", { name, version, pictures: t("pictures", { count: items }) });
}

function decided({ min_precision: wanted, probability_threshold: least, similarity_threshold: similarity, calibration, calibration_queries: queries, verified }) {
  const rule = least === null || least === undefined ? t("decision.similarity", { least: similarity.toFixed(2) }) : t("decision.probability", { least: exactly(least), wanted: exactly(wanted) });
  const fitted = calibration === "gallery" ? t("decision.by_gallery", { queries: t("queries", { count: queries ?? 0 }) }) : t("decision.by_embedder");
  const looked = verified ? t("decision.verified", { count: verified }) : "";
  return [rule, fitted, looked].filter(Boolean).join(" ");
}

function dropped(result) {
  const misses = (result.dropped ?? []).filter((miss) => !isUnsure(miss)).map((miss) => {
    const what = miss.source === "whole_image" ? t("whole_photo") : t("object", { confidence: miss.confidence?.toFixed(2) ?? t("by_hand") });
    const nearest = miss.matches?.[0];
    const near = nearest ? t("nearest", { label: nearest.label, similarity: nearest.similarity.toFixed(2) }) : "";
    const item = element("li", { textContent: `${what}${t("colon")} ${known(`reason.${miss.reason}`, miss.reason)}${near}${t("stop")}` });
    if (miss.verification) item.append(agreeing(result, miss));
    return item;
  });
  $("dropped").replaceChildren(...misses);
  $("dropped-panel").hidden = misses.length === 0;
  $("dropped-panel").open = result.recognitions.length === 0;
}

function timings(stages = {}) {
  const total = stages.total ?? 1;
  const rows = Object.entries(stages).sort(([a], [b]) => (a === "total") - (b === "total"));
  $("timings").replaceChildren(
    ...rows.flatMap(([name, ms]) => {
      const fill = element("i");
      fill.style.width = fraction(Math.min(ms, total), total || 1);
      const bar = element("span", { className: "bar" }, fill);
      return [
        element("dt", { textContent: known(`stage.${name}`, name), className: name === "total" ? "total" : "" }),
        element("dd", {}, bar, element("span", { className: "ms", textContent: `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` })),
      ];
    }),
  );
}
