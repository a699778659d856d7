// The labels that chosen pictures would get, shown before they are sent, and changed where they are wrong.

import { element } from "./elements.js";
import { labelOf } from "./names.js";
import { t } from "./words.js";

const SHOWN = 100; // groups: more are counted only
const PICTURES = 3; // shown of each

// A label for each of `pictures` ({file, folder}) by `from` ("typed", "file", "folder"); "" where there is none.
export function labelled(pictures, { from, typed, dropCounter }) {
  return pictures.map(({ file, folder }) => (from === "typed" ? typed : from === "file" ? labelOf(file.name, dropCounter) : folder && labelOf(`${folder}.`, false)));
}

// The labels in the order of the files: label -> the pictures' numbers.
export function grouped(labels) {
  const groups = new Map();
  labels.forEach((label, number) => groups.set(label, [...(groups.get(label) ?? []), number]));
  return groups;
}

// Fills `list` with a line for each group; `renamed` gets its numbers and the new label.
export function showGroups(list, pictures, labels, renamed) {
  for (const old of list.querySelectorAll("img")) URL.revokeObjectURL(old.src);
  const groups = [...grouped(labels)];
  const lines = groups.slice(0, SHOWN).map(([label, numbers]) => line(pictures, label, numbers, renamed));
  if (groups.length > SHOWN) lines.push(element("li", { className: "quiet", textContent: t("add.more_labels", { count: groups.length - SHOWN }) }));
  list.replaceChildren(...lines);
}

function line(pictures, label, numbers, renamed) {
  const input = element("input", { type: "text", value: label, maxLength: 200, autocomplete: "off", required: true });
  const names = numbers.map((number) => pictures[number].file.name).join(", ").replace(/\p{Bidi_Control}/gu, "");
  input.setAttribute("aria-label", t("add.label_of", { names: names.slice(0, 200) }));
  input.addEventListener("change", () => { if (input.value.trim()) renamed(numbers, input.value.trim()); });
  const thumbs = numbers.slice(0, PICTURES).map((number) => {
    const picture = element("img", { src: URL.createObjectURL(pictures[number].file), alt: "", width: 36, height: 36, loading: "lazy" });
    picture.addEventListener("error", () => picture.remove()); // HEIC in most browsers
    return picture;
  });
  return element("li", {}, element("span", { className: "group-pictures" }, ...thumbs), input, element("span", { className: "quiet names", textContent: `← ${names}`, title: names }));
}
