// Makes elements. Everything goes into the page as text, never as HTML: labels and file names are strangers' words.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// A small picture of the gallery; words in its place where the browser cannot show it (HEIC in most, TIFF), or it is gone.
export function thumbnail(address, side) {
  const picture = element("img", { src: address, alt: "", loading: "lazy", width: side, height: side });
  picture.addEventListener("error", () => picture.replaceWith(element("span", { className: "blank", textContent: "no preview", title: "This browser cannot show this picture. It is searched all the same." })));
  return picture;
}
