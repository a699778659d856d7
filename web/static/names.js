// Labels from files' names: shown before they are made.

// `SKU-1001` stays itself: only a counter of one or two digits after a blank, a dash or an underscore, or a number in
// brackets, is left out, and only if that is wanted.
export function labelOf(name, dropCounter = true) {
  const stem = name.normalize("NFC").replace(/\.[^.]*$/, "");
  const plain = dropCounter ? stem.replace(/(?:[\s_-]+\d{1,2}|[\s_-]*\(\d+\))$/, "") : stem;
  return words(plain) || words(stem) || name;
}

// What the one rule for labels refuses is left out here, so that what is shown before is what is made.
const REFUSED = /(?![\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\ufe00-\ufe0f\u{e0020}-\u{e007f}\u{e0100}-\u{e01ef}])[\p{Cc}\p{Cs}\p{DI}\u2028\u2029\u2800\ufff9-\uffff]/gu;
const MAX_LABEL_CHARS = 200;

function words(text) {
  const left = [...text.replace(REFUSED, "")].slice(0, MAX_LABEL_CHARS).join("");
  return left.replace(/_+/g, " ").replace(/(?<=\p{L})-+(?=\p{L})/gu, " ").replace(/\s+/g, " ").trim();
}

// What systems leave next to pictures, and a folder's choice brings along.
export function isClutter(name) {
  return name.startsWith(".") || /^(thumbs\.db|ehthumbs\.db|desktop\.ini)$/i.test(name);
}
