// Boxes over the photo, each with a tag. A box can be tapped; a tag is its button for keyboards and screen readers. Tags
// keep off their neighbours' boxes and tags where they can, and shrink to a number where they cannot.

import { element } from "./elements.js";
import { placed } from "./placing.js";
import { t } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
let drawn = []; // [{object, tag}] on screen
let size = null; // of the photo

export function clearBoxes() {
  drawn = [];
  $("boxes").replaceChildren();
  $("tags").replaceChildren();
}

// Draws `objects` (objects.js), and `others`, boxes without a name. `picked` gets the object that is tapped.
export function drawBoxes(image, objects, others, picked) {
  clearBoxes();
  size = image;
  keepShape(image);
  const paper = $("boxes");
  paper.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
  paper.setAttribute("preserveAspectRatio", "none");
  for (const box of others) paper.append(rectangle(box, "maybe"));
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  const tagged = objects.filter(({ whole, answered }) => answered || !whole);
  for (const object of [...tagged].sort((a, b) => area(b.box) - area(a.box))) { // the smaller lie on top, so that each can be tapped
    const line = rectangle(object.box, object.answered ? "line" : "maybe");
    if (object.answered) {
      line.style.setProperty("--box", object.colour);
      paper.append(rectangle(object.box, "halo"));
    }
    const target = rectangle(object.box, "target");
    target.dataset.key = object.key;
    target.addEventListener("click", () => picked(object));
    paper.append(line, target);
    object.line = line;
  }
  for (const object of [...tagged].sort((a, b) => a.answered - b.answered)) {
    const tag = tagOf(object);
    tag.addEventListener("click", () => picked(object));
    for (const [name, on] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) tag.addEventListener(name, () => mark(object.key, on));
    $("tags").append(tag);
    drawn.push({ object, tag });
  }
  arrange();
}

// Makes the box `key` and its place in the list stand out, or no longer.
export function mark(key, on) {
  drawn.find(({ object }) => object.key === key)?.object.line.classList.toggle("strong", on);
  document.querySelector(`[data-object="${key}"]`)?.classList.toggle("strong", on);
}

// A long label is cut, never the number before it or what follows it.
function tagOf({ key, label, after, answered, colour }) {
  const tag = element("button", { type: "button", className: answered ? "tag" : "tag open" }, `${key} `, element("span", { textContent: label }), element("b", { textContent: ` ${after}` }));
  tag.setAttribute("aria-label", answered ? t("tag.answer", { key, label, after }) : t("tag.unsure", { key, label }));
  if (colour) tag.style.setProperty("--box", colour);
  return tag;
}

function rectangle([left, top, right, bottom], kind) {
  const made = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top, rx: 2, class: kind })) {
    made.setAttribute(name, value);
  }
  return made;
}

// Puts the tags where they cover nothing, as far as that can be.
function arrange() {
  const { clientWidth: width, clientHeight: height } = $("frame");
  if (!width || !height || !size) return;
  const scale = [width / size.width, height / size.height];
  const boxes = drawn.map(({ object: { box } }) => box.map((side, at) => side * scale[at % 2]));
  const taken = [];
  for (const index of drawn.map((_, at) => at).reverse()) { // answers first: they are drawn last
    const { tag } = drawn[index];
    const others = boxes.filter((_, at) => at !== index);
    const spot = placed(boxes[index], others, taken, { width, height }, (most) => {
      tag.classList.toggle("small", most === 0);
      tag.style.maxWidth = most ? `${most}px` : "";
      return most && tag.scrollWidth > tag.clientWidth + 1 ? null : [tag.offsetWidth, tag.offsetHeight];
    });
    tag.style.left = `${(100 * spot[0]) / width}%`;
    tag.style.top = `${(100 * spot[1]) / height}%`;
    taken.push(spot);
  }
}

// A photo that the browser cannot show has no size of its own: an empty frame of its shape takes the boxes.
function keepShape({ width, height }) {
  const shown = $("shown");
  const blank = shown.complete && !shown.naturalWidth;
  shown.classList.toggle("blank", blank);
  shown.style.aspectRatio = blank ? `${width} / ${height}` : "";
  shown.style.width = blank ? `min(${width}px, ${(70 * width) / height}vh)` : "";
}

new ResizeObserver(arrange).observe($("frame"));
