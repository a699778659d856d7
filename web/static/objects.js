// What an answer says of the objects in a photo, in the order and under the names that the page gives them.

import { percent } from "./words.js";

const COLOURS = ["#0b6e75", "#a8324a", "#5a3fa8", "#8a5200", "#1f6f35", "#1c57a5", "#8b2f86", "#525c12"]; // white on each: 4.5:1 or more
const UNSURE = new Set(["below_min_precision", "below_similarity_threshold", "unlike_whole_image"]);
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

export const letter = (number) => (number < LETTERS.length ? "" : letter(Math.floor(number / LETTERS.length) - 1)) + LETTERS[number % LETTERS.length]; // A to Z, then AA
export const isUnsure = (miss) => UNSURE.has(miss.reason) && miss.candidates?.length > 0;

// [{key, answered, label, after, box, whole, colour, found}]: answers are 1, 2, 3; what is not sure enough is A, B, C.
// `label` is the best guess there. `found` is the entry as it came.
export function objectsOf(result) {
  const answers = result.recognitions.map((found, number) => ({
    key: String(number + 1),
    answered: true,
    label: found.label,
    after: percent(found.probability),
    colour: COLOURS[number % COLOURS.length],
    ...common(found),
  }));
  const unsure = (result.dropped ?? []).filter(isUnsure).map((found, number) => ({
    key: letter(number),
    answered: false,
    label: found.candidates[0].label,
    after: "?",
    colour: null,
    ...common(found),
  }));
  return [...answers, ...unsure];
}

const common = (found) => ({ found, box: found.box, whole: found.source === "whole_image" });
