// Parts of the photo on screen: cut out for thumbnails and for evidence.

import { t } from "./words.js";

// The photo's pixels may be fewer or more than the answer's: a browser shows what it was given.
function scaleOf(photo, image) {
  if (!photo.complete || !photo.naturalWidth) return null;
  return photo.naturalWidth / image.width;
}

// The part of the photo in `box` (x1, y1, x2, y2 of the answer's pixels) as a canvas, at most `most` pixels a side; null
// where the browser cannot show the photo.
export function cut(photo, image, [left, top, right, bottom], most = Infinity) {
  const scale = scaleOf(photo, image);
  if (scale === null || right <= left || bottom <= top) return null;
  const shrink = Math.min(1, most / (Math.max(right - left, bottom - top) * scale));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round((right - left) * scale * shrink));
  canvas.height = Math.max(1, Math.round((bottom - top) * scale * shrink));
  const source = [left, top, right - left, bottom - top].map((side) => side * scale);
  canvas.getContext("2d").drawImage(photo, ...source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export function loaded(address) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.addEventListener("load", () => resolve(picture));
    picture.addEventListener("error", () => reject(new Error(t("picture.item_not_shown"))));
    picture.src = address;
  });
}
