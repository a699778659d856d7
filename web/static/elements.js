// Makes elements. Everything goes into the page as text, never as HTML: labels and file names are strangers' words.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
