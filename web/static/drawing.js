// A box drawn or corrected by hand: by finger or mouse over the photo, by arrow keys, or as four coordinates. What is in it is
// added to the gallery, or searched alone.

import { saying, showSaid } from "./corrections.js";
import { labelInput } from "./labels.js";
import { t } from "./words.js";

const GRIP_PX = 22; // a finger's reach around a corner
const STEP = 0.01; // of the photo's sides, for an arrow key
const SIDES = ["left", "top", "right", "bottom"];
const $ = (id) => document.getElementById(id);
let edited = null; // {photo, box, input}
let query = () => {};

// `search` gets a box that is to be searched alone.
export function setUpDrawing(current, search) {
  query = search;
  $("draw").addEventListener("click", () => editBox(current(), null, ""));
  $("box-off").addEventListener("click", stopEditing);
  $("box-query")?.addEventListener("click", () => { const { box } = edited; stopEditing(); query(box); });
  $("box-form").addEventListener("submit", add);
  for (const side of SIDES) $(`box-${side}`).addEventListener("input", typed);
  $("editor").addEventListener("pointerdown", grab);
  $("drawn").addEventListener("keydown", moveByKey);
}

export function stopEditing() {
  edited = null;
  $("editor").hidden = $("box-form").hidden = true;
  $("box-status").textContent = "";
}

// Opens the editor with a box (x1, y1, x2, y2 of the photo's pixels; null: one in the middle) and a label to begin with.
export function editBox(photo, box, label) {
  const { width, height } = photo.job.result.image;
  const { field, input } = labelInput(photo.job.result.gallery.name, t("box.label"), { value: label, placeholder: t("add.label.example") });
  $("box-label").replaceChildren(field);
  edited = { photo, input, width, height, box: [] };
  for (const [number, side] of SIDES.entries()) $(`box-${side}`).max = number % 2 ? height : width;
  $("editor").hidden = $("box-form").hidden = false;
  $("box-status").textContent = "";
  put(box ?? [width / 4, height / 4, (3 * width) / 4, (3 * height) / 4]);
  $("drawn").focus({ preventScroll: true });
  $("frame").scrollIntoView({ block: "nearest" });
}

// Sets the box: whole pixels, in order, within the photo, one at least.
function put([x1, y1, x2, y2]) {
  const { width, height } = edited;
  const span = (a, b, most) => {
    const low = Math.max(0, Math.min(Math.round(Math.min(a, b)), most - 1));
    return [low, Math.min(most, Math.max(low + 1, Math.round(Math.max(a, b))))];
  };
  const [left, right] = span(x1, x2, width);
  const [top, bottom] = span(y1, y2, height);
  edited.box = [left, top, right, bottom];
  Object.assign($("drawn").style, { left: `${(100 * left) / width}%`, top: `${(100 * top) / height}%`, width: `${(100 * (right - left)) / width}%`, height: `${(100 * (bottom - top)) / height}%` });
  SIDES.forEach((side, number) => { if (document.activeElement !== $(`box-${side}`)) $(`box-${side}`).value = edited.box[number]; });
}

function typed() {
  const values = SIDES.map((side) => $(`box-${side}`).valueAsNumber);
  if (values.every(Number.isFinite)) put(values);
}

// A corner is pulled, the inside moved; elsewhere a new box begins.
function grab(event) {
  event.preventDefault();
  const editor = $("editor");
  const area = editor.getBoundingClientRect();
  const scale = edited.width / area.width;
  const at = ({ clientX, clientY }) => [(clientX - area.left) * scale, (clientY - area.top) * scale];
  const [x, y] = at(event);
  const [left, top, right, bottom] = edited.box;
  const near = (a, b) => Math.abs(a - b) < GRIP_PX * scale;
  const corner = (near(x, left) || near(x, right)) && (near(y, top) || near(y, bottom));
  const inside = x > left && x < right && y > top && y < bottom;
  let follow = ([toX, toY]) => put([x, y, toX, toY]);
  if (corner) {
    const fixed = [Math.abs(x - left) < Math.abs(x - right) ? right : left, Math.abs(y - top) < Math.abs(y - bottom) ? bottom : top];
    follow = (to) => put([...fixed, ...to]);
  } else if (inside) follow = ([toX, toY]) => shift([left, top, right, bottom], toX - x, toY - y);
  const moved = (next) => follow(at(next));
  editor.setPointerCapture(event.pointerId);
  editor.addEventListener("pointermove", moved);
  for (const end of ["pointerup", "pointercancel"]) editor.addEventListener(end, () => editor.removeEventListener("pointermove", moved), { once: true });
}

function shift([left, top, right, bottom], across, down) {
  const x = Math.max(-left, Math.min(across, edited.width - right));
  const y = Math.max(-top, Math.min(down, edited.height - bottom));
  put([left + x, top + y, right + x, bottom + y]);
}

// Arrows move the box; with Shift they move its lower right corner.
function moveByKey(event) {
  const to = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Escape") stopEditing();
  if (!to) return;
  event.preventDefault();
  const [x, y] = [Math.max(1, edited.width * STEP) * to[0], Math.max(1, edited.height * STEP) * to[1]];
  const [left, top, right, bottom] = edited.box;
  if (event.shiftKey) put([left, top, Math.max(left + 1, right + x), Math.max(top + 1, bottom + y)]);
  else shift(edited.box, x, y);
}

async function add(event) {
  event.preventDefault();
  const { photo, box, input } = edited;
  const label = input.value.trim();
  if (!label) return;
  $("box-add").disabled = true;
  await saying({ photo, box, verdict: "right", label, add: true }, (words, good) => showSaid($("box-status"), { words, good }));
  $("box-add").disabled = false;
}
