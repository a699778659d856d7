// Small pictures of the gallery, with their labels.

import { itemImage } from "./api.js";
import { element, thumbnail } from "./elements.js";

// `matches`: {item_id, label, similarity?, box?}.
export function thumbnails(gallery, matches) {
  const list = element("ul", { className: "thumbs" });
  for (const match of matches) {
    const picture = thumbnail(itemImage(match.gallery ?? gallery, match.item_id), 64, match.box);
    const caption = match.similarity === undefined ? match.label : `${match.similarity.toFixed(2)} ${match.label}`;
    list.append(element("li", { title: match.label }, picture, element("span", { textContent: caption })));
  }
  return list;
}
