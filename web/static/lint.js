// The page of a gallery's problems: each finding with its pictures side by side and the one tap that fixes it.

import * as api from "./api.js";
import { showChange } from "./changes.js";
import { complain } from "./complaints.js";
import { button, element, thumbnail } from "./elements.js";
import { pill } from "./tables.js";
import { known, language, t } from "./words.js";

const PAGE = 50;
const SIDE = 160;
const AGAIN_MS = 500; // while the service is still comparing
const COLOURS = { error: "failed", warning: "queued", info: "" };
const $ = (id) => document.getElementById(id);
const { name } = $("lint").dataset;
const failed = (failure) => complain($("error"), failure);
let after = null;
let turn = 0;
let timer = 0;

async function show(more = false) {
  clearTimeout(timer);
  const mine = (turn += 1);
  const found = await api.lint(name, { level: $("level").value, kind: $("kind").value, limit: PAGE, after: more ? after : "" });
  if (mine !== turn) return;
  after = found.next_after;
  if (!more) head(found);
  const lines = found.findings.map(card);
  if (more) $("findings").append(...lines);
  else $("findings").replaceChildren(...lines);
  $("more").hidden = !after;
  $("none").textContent = $("findings").childElementCount || !found.complete ? "" : t("lint.none");
  if (!found.complete) timer = setTimeout(() => show().catch(failed), AGAIN_MS); // each request resumes where the last one stopped
}

function head({ version, item_count: count, checked_items: checked, complete, levels, kinds }) {
  $("facts").textContent = t("gallery.facts", { pictures: t("pictures", { count }), version: String(version) });
  $("checked").hidden = complete;
  $("checked").textContent = complete ? "" : t("lint.checked", { checked, count });
  $("levels").replaceChildren(...Object.entries(levels).map(([level, found]) => element("div", {}, element("dt", { textContent: t(`lint.level.${level}`) }), element("dd", { textContent: t("number", { count: found }) }))));
  const kept = $("kind").value;
  $("kind").replaceChildren(...["", ...Object.keys(kinds)].map((kind) => element("option", { value: kind, selected: kind === kept, textContent: kind ? `${known(`lint.kind.${kind}`, kind)} (${kinds[kind]})` : t("jobs.any") })));
}

function card(finding) {
  const { kind, level, message, items, fix } = finding;
  const about = fix.method === "POST" ? null : items.find(({ id }) => fix.path.endsWith(`/items/${encodeURIComponent(id)}`));
  const title = element("h3", {}, pill(COLOURS[level], t(`lint.level.${level}`)), ` ${known(`lint.kind.${kind}`, kind)}`);
  const words = element("p", { textContent: message });
  if (language !== "en") words.lang = "en"; // the service's own words
  const pictures = element("ul", { className: "pictures" }, ...items.map((item) => picture(item, item === about)));
  return element("li", { className: "finding" }, title, words, pictures, element("p", { className: "row start" }, mending(finding)));
}

function picture({ id, label, box }, doubted) {
  const shown = thumbnail(api.itemImage(name, id), SIDE, box);
  return element("li", { className: doubted ? "doubted" : "" }, shown, element("span", { textContent: doubted ? t("lint.this", { label }) : label }));
}

// What one tap does, in words.
function mending({ fix, labels }) {
  if (fix.content_type === "multipart/form-data") return element("a", { className: "button", href: `${api.at(`/galleries/${encodeURIComponent(name)}`)}#adding`, textContent: t("lint.fix.add", { label: labels[0] }) });
  const words = fix.method === "DELETE" ? t("lint.fix.delete") : fix.body.merge ? t("lint.fix.merge", { label: labels.find((one) => one !== fix.body.label) ?? labels[0], to: fix.body.label }) : t("lint.fix.relabel", { to: fix.body.label });
  const made = button(words, () => mend(fix, words, made), { className: "" });
  return made;
}

async function mend(fix, words, pressed) {
  pressed.disabled = true;
  complain($("error"));
  try {
    const { version: before } = await api.gallery(name);
    await api.mend(fix);
    const { version } = await api.gallery(name);
    await show();
    showChange($("undo"), t("lint.fixed", { what: words }), [{ gallery: name, before, after: version }], { undone: show, failed });
    $("findings-heading").focus(); // what was tapped has gone
  } catch (failure) {
    failed(failure);
    pressed.disabled = false;
  }
}

for (const id of ["level", "kind"]) $(id).addEventListener("change", () => show().catch(failed));
$("more").addEventListener("click", () => show(true).catch(failed));
show().catch(failed);
