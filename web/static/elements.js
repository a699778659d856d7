// Makes elements. Everything goes into the page as text, never as HTML: users choose labels and file names.

import { cut } from "./pictures.js";
import { t } from "./words.js";

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// A small picture of the gallery, of its part `box` alone where only that was enrolled; words in its place where the browser
// cannot show it (HEIC in most, TIFF), or it is gone.
export function thumbnail(address, side, box = null) {
  const src = box ? address : `${address}${address.includes("?") ? "&" : "?"}width=${2 * side}`; // a page of phones' photos would be heavy
  const picture = element("img", { src, alt: "", loading: "lazy", width: side, height: side });
  picture.addEventListener("error", () => {
    if (picture.getAttribute("src") === address) picture.replaceWith(element("span", { className: "blank", textContent: t("no_preview"), title: t("no_preview.why") }));
    else picture.src = address; // the service may be too busy to make it small
  });
  if (box) {
    picture.addEventListener("load", () => {
      const part = cut(picture, { width: picture.naturalWidth, height: picture.naturalHeight }, box, 2 * side);
      if (part) picture.replaceWith(part);
    });
  }
  return picture;
}

// A button of words that does something at a tap.
export function button(words, act, properties = {}) {
  const made = element("button", { type: "button", className: "plain", textContent: words, ...properties });
  made.addEventListener("click", act);
  return made;
}
