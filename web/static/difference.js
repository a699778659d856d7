// What differs between two versions of a gallery. The service tells; one without that route has its items listed and compared here.

import * as api from "./api.js";

const PAGE = 1000;
const MOST = 50_000; // items of a version that are compared here

// An async iterator of {change: "added" | "removed" | "relabelled", item, before}: `before` is the label that it had.
export async function* differences(gallery, from, to) {
  let page = null;
  try {
    page = await api.difference(gallery, from, { to, limit: PAGE });
  } catch (failure) {
    if (failure.code !== "route_not_found") throw failure;
    yield* compared(gallery, from, to);
    return;
  }
  for (;;) {
    for (const change of ["added", "removed"]) for (const item of page[change] ?? []) yield { change, item, before: null };
    for (const { before, after, ...item } of page.relabelled ?? []) yield { change: "relabelled", item: { ...item, ...after }, before: before?.label ?? before };
    if (!page.next_after) return;
    page = await api.difference(gallery, from, { to, limit: PAGE, after: page.next_after });
  }
}

async function* compared(gallery, from, to) {
  const [old, now] = [await itemsOf(gallery, from), await itemsOf(gallery, to)];
  const added = [...now.values()].filter(({ id }) => !old.has(id));
  const removed = [...old.values()].filter(({ id }) => !now.has(id));
  // An item's id comes of its picture and its label: one that was relabelled is another item of the same picture.
  const place = ({ sha256, box }) => `${sha256} ${box ?? ""}`;
  const gone = new Map(removed.map((item) => [place(item), item]));
  for (const item of added) {
    const before = gone.get(place(item));
    gone.delete(place(item));
    yield before ? { change: "relabelled", item, before: before.label } : { change: "added", item, before: null };
  }
  for (const item of gone.values()) yield { change: "removed", item, before: null };
}

async function itemsOf(gallery, version) {
  const found = new Map();
  for (let after = ""; after !== null && found.size < MOST; ) {
    const page = await api.items(gallery, after ? { limit: PAGE, after } : { limit: PAGE, version });
    for (const item of page.items) found.set(item.id, item);
    after = page.next_after;
  }
  return found;
}
