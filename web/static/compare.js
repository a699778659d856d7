// The page of a gallery's versions side by side: which items one has and the other has not, and which got another label.

import * as api from "./api.js";
import { showChange } from "./changes.js";
import { complain } from "./complaints.js";
import { differences } from "./difference.js";
import { element, thumbnail } from "./elements.js";
import { t, time } from "./words.js";

const SHOWN = 96; // of each kind at a time
const SIDE = 104;
const KINDS = ["added", "removed", "relabelled", "moved"];
const ALWAYS = KINDS.slice(0, 3); // shown also where there are none
const $ = (id) => document.getElementById(id);
const { name } = $("compare").dataset;
const failed = (failure) => {
  $("summary").textContent = "";
  complain($("error"), failure);
};
let found = {}; // kind -> changes
let turn = 0;

async function fillChoice() {
  const { versions, current } = await api.versions(name);
  const query = new URLSearchParams(location.search);
  const wanted = { to: Number(query.get("to")) || current };
  wanted.from = Number(query.get("from")) || (versions.findLast(({ version }) => version < wanted.to) ?? versions[0]).version;
  for (const side of ["from", "to"]) {
    const options = versions.toReversed().map(({ version, item_count: count, created_at: made }) => element("option", { value: version, selected: version === wanted[side], textContent: `${version} – ${time(made)}${t("comma")}${t("pictures", { count })}${version === current ? ` (${t("versions.current")})` : ""}` }));
    $(side).replaceChildren(...options);
  }
  $("choice").hidden = false;
}

async function show() {
  const mine = (turn += 1);
  const [from, to] = [$("from").value, $("to").value];
  complain($("error"));
  history.replaceState(null, "", `?from=${from}&to=${to}`);
  $("summary").textContent = t("compare.looking");
  $("changes").hidden = true;
  found = Object.fromEntries(KINDS.map((kind) => [kind, []]));
  for await (const change of differences(name, from, to)) {
    if (mine !== turn) return;
    found[change.kind].push(change);
  }
  if (mine !== turn) return;
  $("summary").textContent = KINDS.some((kind) => found[kind].length) ? KINDS.filter((kind) => found[kind].length || ALWAYS.includes(kind)).map((kind) => t(`compare.${kind}`, { count: found[kind].length })).join(t("comma")) : t("compare.same");
  $("changes").hidden = false;
  for (const kind of KINDS) {
    $(`${kind}-part`).hidden = !found[kind].length;
    $(`${kind}-heading`).textContent = t(`compare.${kind}`, { count: found[kind].length });
    $(kind).replaceChildren();
    showMore(kind);
  }
}

function showMore(kind) {
  const there = $(kind).childElementCount;
  const version = $(kind === "removed" ? "from" : "to").value; // one that has them
  $(kind).append(...found[kind].slice(there, there + SHOWN).map((change) => tile(change, version)));
  $(`${kind}-more`).hidden = $(kind).childElementCount >= found[kind].length;
}

function tile({ item: { id, label, box }, before }, version) {
  const words = before === null ? [label] : [element("del", { textContent: before }), " → ", element("ins", { textContent: label })];
  return element("li", { title: label }, thumbnail(api.itemImage(name, id, version), SIDE, box), element("span", {}, ...words));
}

async function activate() {
  complain($("error"));
  try {
    const { version: before } = await api.gallery(name);
    const version = Number($("from").value);
    await api.activate(name, version);
    await fillChoice();
    showChange($("undo"), t("activated", { version: String(version) }), [{ gallery: name, before, after: version }], { undone: fillChoice, failed });
  } catch (failure) {
    failed(failure);
  }
}

async function start() {
  await fillChoice();
  await show();
}

for (const side of ["from", "to"]) $(side).addEventListener("change", () => show().catch(failed));
for (const kind of KINDS) $(`${kind}-more`).addEventListener("click", () => showMore(kind));
$("activate").addEventListener("click", activate);
start().catch(failed);
