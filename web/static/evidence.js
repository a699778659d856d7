// Draws which local features agree between a part of the photo and the gallery's picture: both side by side, with lines.

import { itemImage } from "./api.js";
import { element } from "./elements.js";
import { cut, loaded } from "./pictures.js";
import { t } from "./words.js";

const HEIGHT = 260; // of each of the two, in the page's pixels
const GAP = 24;
const MOST_WIDE = 1000;
const HUES = 11; // lines next to each other get colours that differ

// The label that agrees: an answer's own, or the guess that was compared where nothing was sure enough.
const labelOf = (found) => found.label ?? (found.candidates.find((guess) => guess.item_id === found.verification.item_id) ?? found.candidates[0])?.label;

// A button that shows which features of `found`, answered or not, agree with an item's picture, and the drawing below it.
export function agreeing(result, found) {
  const { inliers, points, item_id: item } = found.verification;
  const words = found.label ? t("agreeing", { count: inliers }) : t("agreeing.of", { count: inliers, label: labelOf(found) ?? t("best_guess") });
  if (!points?.length || !item) return element("p", { className: "quiet", textContent: words });
  const place = element("div", { className: "evidence" });
  const details = element("details", { className: "agreeing" }, element("summary", { textContent: words }), place);
  details.addEventListener("toggle", async () => {
    if (!details.open || place.childElementCount) return;
    try {
      place.replaceChildren(await evidence(document.getElementById("shown"), result.image, found, itemImage((found.matches ?? []).find((match) => match.item_id === item)?.gallery ?? result.gallery.name, item)));
    } catch (failure) {
      place.replaceChildren(element("p", { className: "quiet", textContent: failure.message }));
    }
  });
  return details;
}

// The box, and whatever agreeing point lies outside it: a crop is a little larger than its box.
function seen(box, points, { width, height }) {
  const xs = points.map(([x]) => x * width);
  const ys = points.map(([, y]) => y * height);
  return [
    Math.max(0, Math.min(box[0], ...xs)),
    Math.max(0, Math.min(box[1], ...ys)),
    Math.min(width, Math.max(box[2], ...xs)),
    Math.min(height, Math.max(box[3], ...ys)),
  ];
}

// A canvas for `found` of the answer's `image`; `photo` is the picture on screen, `address` that of the gallery's.
async function evidence(photo, image, found, address) {
  const { points } = found.verification;
  const box = seen(found.box, points, image);
  const crop = cut(photo, image, box, 2 * MOST_WIDE);
  if (!crop) throw new Error(t("photo.not_shown"));
  const picture = await loaded(address);
  const size = { width: picture.naturalWidth, height: picture.naturalHeight };
  const item = cut(picture, size, found.verification.item_box ?? [0, 0, size.width, size.height], 2 * MOST_WIDE);
  const rightWidth = (HEIGHT * item.width) / item.height;
  const leftWidth = (HEIGHT * crop.width) / crop.height;
  const canvas = document.createElement("canvas");
  const density = Math.max(1, devicePixelRatio);
  const width = leftWidth + GAP + rightWidth;
  canvas.width = width * density;
  canvas.height = HEIGHT * density;
  canvas.style.aspectRatio = `${width} / ${HEIGHT}`;
  canvas.style.width = `${Math.round(width)}px`;
  const pen = canvas.getContext("2d");
  pen.scale(density, density);
  pen.drawImage(crop, 0, 0, leftWidth, HEIGHT);
  pen.drawImage(item, leftWidth + GAP, 0, rightWidth, HEIGHT);
  points.forEach(([x, y, itemX, itemY], number) => {
    const from = [((x * image.width - box[0]) / (box[2] - box[0])) * leftWidth, ((y * image.height - box[1]) / (box[3] - box[1])) * HEIGHT];
    const to = [leftWidth + GAP + itemX * rightWidth, itemY * HEIGHT];
    for (const [colour, thickness] of [["rgb(0 0 0 / 55%)", 3.4], [`hsl(${(360 * (number % HUES)) / HUES} 95% 62%)`, 1.6]]) {
      pen.strokeStyle = pen.fillStyle = colour;
      pen.lineWidth = thickness;
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(...to);
      pen.stroke();
      for (const [left, top] of [from, to]) {
        pen.beginPath();
        pen.arc(left, top, 1.4 + thickness / 2, 0, 2 * Math.PI);
        pen.fill();
      }
    }
  });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", t("agreeing.drawn", { count: found.verification.inliers, label: labelOf(found) }));
  return canvas;
}
