// Confirms what cannot be undone.

import { t } from "./words.js";

// Resolves to whether the person agrees to `words`; `yes` and `no` are what the buttons say.
export function agreed(words, yes = t("delete"), no = t("delete.gallery.keep")) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-words").textContent = words;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.querySelector("[value=no]").textContent = no;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
