// Files from wherever they come: chosen, pasted, dropped, with the folders that were dropped.

import { isClutter } from "./names.js";

const MOST = 20_000; // of a dropped folder: more is a command's work

// [{file, folder}] of a choice; `folder` is the name of the nearest one, "" without.
export function chosen(files) {
  return [...files].filter(({ name }) => !isClutter(name)).map((file) => ({ file, folder: (file.webkitRelativePath ?? "").split("/").at(-2) ?? "" }));
}

// The same of a drop, folders opened.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return chosen(transfer.files);
  const found = [];
  for (const entry of entries) await open(entry, "", found);
  return found.filter(({ file }) => !isClutter(file.name));
}

async function open(entry, folder, found) {
  if (found.length >= MOST) return;
  if (entry.isFile) {
    found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most a hundred at a time
    if (!some.length) return;
    for (const inner of some) await open(inner, entry.name, found);
  }
}

// Calls `take` with what is dropped on `area`, which then is dropped nowhere else.
export function dropHere(area, take) {
  area.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    dropped(event.dataTransfer).then(take);
  });
}

// Calls `take` with what is dropped anywhere on the page; `area` shows that it would be.
export function dropAnywhere(area, take) {
  let inside = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = () => area.classList.toggle("over", inside > 0);
  addEventListener("dragenter", (event) => { if (carriesFiles(event)) { inside += 1; show(); } });
  addEventListener("dragleave", (event) => { if (carriesFiles(event)) { inside = Math.max(0, inside - 1); show(); } });
  addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    const elsewhere = event.defaultPrevented; // dropHere took it
    event.preventDefault();
    inside = 0;
    show();
    if (!elsewhere) dropped(event.dataTransfer).then(take);
  });
}
