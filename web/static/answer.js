// Draws a finished job: boxes and labels over the photo, the table of answers, what decided, what was dropped, the timings.

import { itemImage } from "./api.js";
import { isUnsure, letter, percent as chance } from "./candidates.js";
import { element, thumbnail } from "./elements.js";
import { agreeing } from "./evidence.js";

const COLOURS = ["#0b6e75", "#a8324a", "#5a3fa8", "#8a5200", "#1f6f35", "#1c57a5", "#8b2f86", "#525c12"]; // white on each: 4.5:1 or more
const REASONS = {
  below_min_precision: "not sure enough",
  below_similarity_threshold: "nothing in the gallery is similar enough",
  unlike_whole_image: "the whole photo looks like something else",
  suppressed: "another recognition covers it",
  empty_gallery: "the gallery is empty",
  no_match: "the gallery has nothing like it",
  invalid_embedding: "its features could not be computed",
};
const EMPTY = {
  empty_gallery: "The gallery is empty: add labelled pictures first.",
  nothing_detected: "No product was found in this photo.",
  nothing_recognized: "Something was found, but no answer is sure enough.",
};
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const exact = (fraction) => `${Number((100 * fraction).toFixed(1))} %`;
const percent = (part, whole) => `${(100 * part) / whole}%`;

export function clear() {
  $("boxes").replaceChildren();
  $("tags").replaceChildren();
  $("answer").hidden = $("unsure").hidden = true;
}

export function draw(job) {
  const { result } = job;
  $("answer").hidden = false;
  $("raw").textContent = JSON.stringify(job, null, 2);
  $("job-link").href = job.links.self;
  $("rows").replaceChildren();
  $("table-frame").hidden = true;
  $("dropped-panel").hidden = true;
  $("decision").textContent = result?.decision ? decided(result.decision) : ""; // answers kept since before there were probabilities have none
  $("timings-panel").hidden = !result;
  const words = result ? summary(result) : "This job has no answer.";
  $("summary").textContent = `${words}${result ? ` (${searched(result)})` : ""}`;
  if (!result) return words;
  overlay(result);
  table(result);
  dropped(result);
  timings(result.timings_ms);
  return words;
}

function summary(result) {
  const found = result.recognitions.length;
  if (!found) return EMPTY[result.reason] ?? "Nothing was recognised.";
  return `${found} ${found === 1 ? "product" : "products"} recognised.`;
}

function searched({ gallery: { name, version, items } }) {
  return `Gallery ${name}, version ${version}, ${items} ${items === 1 ? "picture" : "pictures"}.`;
}

function decided({ min_precision: wanted, probability_threshold: least, similarity_threshold: similarity, calibration, calibration_queries: queries, verified }) {
  const whose = calibration === "gallery" ? "to this gallery's own pictures" : "to the embedder's evaluation, not to this gallery";
  const fitted = `Probabilities were fitted ${whose}${queries ? ` (${queries} queries)` : ""}.`;
  const rule = least === null || least === undefined ? `Answers have a similarity of at least ${similarity.toFixed(2)}.` : `Answers have a probability of at least ${exact(least)}, so that ${exact(wanted)} of them should be right.`;
  const looked = verified ? ` ${verified} ${verified === 1 ? "object" : "objects"} compared feature by feature.` : "";
  return `${rule} ${fitted}${looked}`;
}

// A photo that the browser cannot show has no size of its own: an empty frame of its shape takes the boxes.
function keepShape(width, height) {
  const shown = $("shown");
  const blank = shown.complete && !shown.naturalWidth;
  shown.classList.toggle("blank", blank);
  shown.style.aspectRatio = blank ? `${width} / ${height}` : "";
  shown.style.width = blank ? `min(${width}px, ${(70 * width) / height}vh)` : "";
}

function overlay(result) {
  const { width, height } = result.image;
  keepShape(width, height);
  const boxes = $("boxes");
  boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
  boxes.setAttribute("preserveAspectRatio", "none");
  boxes.replaceChildren();
  $("tags").replaceChildren();
  for (const miss of result.dropped ?? []) {
    if (miss.reason !== "suppressed" && miss.source === "detection") boxes.append(rectangle(miss.box, "maybe"));
  }
  (result.dropped ?? []).filter(isUnsure).forEach((miss, number) => {
    if (miss.source !== "detection") return;
    const tag = placed(named(letter(number), miss.candidates[0].label, "?"), miss.box, result.image);
    tag.classList.add("open");
    tag.addEventListener("click", () => $(`unsure-${letter(number)}`).scrollIntoView({ block: "nearest", behavior: "smooth" }));
    $("tags").append(tag);
  });
  result.recognitions.forEach((found, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const line = rectangle(found.box, "line");
    line.style.setProperty("--box", colour);
    boxes.append(rectangle(found.box, "halo"), line);
    const tag = placed(named(index + 1, found.label, chance(found.probability)), found.box, result.image);
    tag.style.setProperty("--box", colour);
    tag.addEventListener("click", () => $(`row-${index}`).scrollIntoView({ block: "nearest", behavior: "smooth" }));
    link(tag, index, line);
    $("tags").append(tag);
  });
}

// A long label is cut, never the number before it or what follows it.
function named(number, label, after) {
  return element("button", { type: "button", className: "tag" }, `${number} `, element("span", { textContent: label }), ` ${after}`);
}

// A tag at the upper edge of its box, turned inwards near the photo's edges.
function placed(tag, [left, top, right], { width, height }) {
  const fromRight = left > width * 0.6;
  tag.classList.toggle("left", fromRight);
  tag.classList.toggle("inside", top < height * 0.09);
  tag.style.left = percent(fromRight ? right : left, width);
  tag.style.top = percent(top, height);
  return tag;
}

function rectangle([left, top, right, bottom], kind) {
  const made = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top, rx: 2, class: kind })) {
    made.setAttribute(name, value);
  }
  return made;
}

// Whoever points at a tag sees its box and its row.
function link(tag, index, line) {
  const mark = (on) => {
    line.classList.toggle("strong", on);
    $(`row-${index}`)?.classList.toggle("strong", on);
  };
  for (const name of ["mouseenter", "focus"]) tag.addEventListener(name, () => mark(true));
  for (const name of ["mouseleave", "blur"]) tag.addEventListener(name, () => mark(false));
}

function table(result) {
  $("table-frame").hidden = result.recognitions.length === 0;
  result.recognitions.forEach((found, index) => {
    const number = element("span", { className: "number", textContent: index + 1 });
    number.style.setProperty("--box", COLOURS[index % COLOURS.length]);
    const fill = element("i");
    fill.style.width = percent(found.probability ?? 0, 1);
    const sure = element("td", {}, chance(found.probability), element("span", { className: "bar" }, fill));
    const similarity = element("td", { className: "detector", textContent: found.similarity.toFixed(3) });
    similarity.dataset.name = "Similarity";
    const detector = element("td", { className: "detector", textContent: found.source === "whole_image" ? "whole photo" : found.confidence.toFixed(2) });
    detector.dataset.name = "Detector";
    const near = element("td", { className: "near" }, thumbnails(result.gallery.name, found.matches.slice(0, 5)));
    const row = element("tr", { id: `row-${index}` }, element("td", {}, number), element("td", { className: "label", textContent: found.label }), sure, similarity, detector, near);
    if (found.verification) near.append(agreeing(result, found));
    $("rows").append(row);
  });
}

export function thumbnails(gallery, matches) {
  const list = element("ul", { className: "thumbs" });
  for (const match of matches) {
    const picture = thumbnail(itemImage(gallery, match.item_id), 64);
    const caption = match.similarity === undefined ? match.label : `${match.similarity.toFixed(2)} ${match.label}`;
    list.append(element("li", { title: match.label }, picture, element("span", { textContent: caption })));
  }
  return list;
}

function dropped(result) {
  const misses = (result.dropped ?? []).filter((miss) => !isUnsure(miss)).map((miss) => {
    const what = miss.source === "whole_image" ? "The whole photo" : `An object (detector ${miss.confidence.toFixed(2)})`;
    const nearest = miss.matches?.[0];
    const near = nearest ? `; nearest: ${nearest.label}, ${nearest.similarity.toFixed(2)}` : "";
    const item = element("li", { textContent: `${what}: ${REASONS[miss.reason] ?? miss.reason}${near}.` });
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
      fill.style.width = percent(Math.min(ms, total), total || 1);
      const bar = element("span", { className: "bar" }, fill);
      return [
        element("dt", { textContent: name, className: name === "total" ? "total" : "" }),
        element("dd", {}, bar, element("span", { className: "ms", textContent: `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` })),
      ];
    }),
  );
}
