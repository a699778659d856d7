// Asks before what cannot be undone.

// Resolves to whether the person agrees to `words`.
export function agreed(words) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-words").textContent = words;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
