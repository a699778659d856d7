// Parts of the photo on screen: cut out for thumbnails, for evidence, and to be added to the gallery.

import { t } from "./words.js";

// Of a box's sides, on each side: what the models search with, models.pictures.image.BOX_MARGIN. A test compares the two.
const BOX_MARGIN = 0.06;

// What was searched with of an object's box, within the photo: its picture in the gallery should be cut like the next photo.
export function withMargin([left, top, right, bottom], { width, height }) {
  const [along, across] = [BOX_MARGIN * (right - left), BOX_MARGIN * (bottom - top)];
  return [Math.max(0, left - along), Math.max(0, top - across), Math.min(width, right + along), Math.min(height, bottom + across)].map(Math.trunc);
}

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

export function asFile(canvas, name) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(new File([blob], name, { type: "image/jpeg" })) : reject(new Error(t("picture.not_cut")))), "image/jpeg", 0.95);
  });
}

export function loaded(address) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.addEventListener("load", () => resolve(picture));
    picture.addEventListener("error", () => reject(new Error(t("picture.item_not_shown"))));
    picture.src = address;
  });
}
