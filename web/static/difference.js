// What differs between two versions of a gallery. The service reports it; one without that route has its items listed and compared here.

import * as api from "./api.js";

const PAGE = 1000;
const MOST = 50_000; // items of a version that are compared here

// An async iterator of {kind: "added" | "removed" | "relabelled" | "moved", item, before}: `item` as it is in `to`, or was in
// `from`; `before` is the label that it had, where it has another one.
export async function* differences(gallery, from, to) {
  for (let after = ""; after !== null; ) {
    let page = null;
    try {
      page = await api.difference(gallery, from, { to, limit: PAGE, after });
    } catch (failure) {
      if (failure.code !== "route_not_found") throw failure;
      yield* compared(gallery, from, to);
      return;
    }
    for (const { kind, before, after: now } of page.changes) yield { kind, item: now ?? before, before: kind === "relabelled" ? before.label : null };
    after = page.next_after;
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
    yield before ? { kind: "relabelled", item, before: before.label } : { kind: "added", item, before: null };
  }
  for (const item of gone.values()) yield { kind: "removed", item, before: null };
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
