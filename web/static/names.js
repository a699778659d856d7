// Labels from files' names: shown before they are made.

// `SKU-1001` stays itself: only a counter of one or two digits behind a blank, a dash or an underscore, or a number in
// brackets, is left out, and only if that is wanted.
export function labelOf(name, dropCounter = true) {
  const stem = name.normalize("NFC").replace(/\.[^.]*$/, "");
  const plain = dropCounter ? stem.replace(/(?:[\s_-]+\d{1,2}|[\s_-]*\(\d+\))$/, "") : stem;
  return words(plain) || words(stem) || name;
}

function words(text) {
  return text.replace(/_+/g, " ").replace(/(?<=\p{L})-+(?=\p{L})/gu, " ").replace(/\s+/g, " ").trim();
}

// What systems leave beside pictures, and a folder's choice brings along.
export function isClutter(name) {
  return name.startsWith(".") || /^(thumbs\.db|ehthumbs\.db|desktop\.ini)$/i.test(name);
}

// The labels in the order of the files, each with the names of its files.
export function grouped(names, dropCounter) {
  const groups = new Map();
  for (const name of names) {
    const label = labelOf(name, dropCounter);
    groups.set(label, [...(groups.get(label) ?? []), name]);
  }
  return groups;
}
