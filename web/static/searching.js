// How a gallery is searched: the index in force with its recall, and the choice of another one.

import * as api from "./api.js";
import { exactly, t } from "./words.js";

const $ = (id) => document.getElementById(id);

const shown = ({ index_method: method, dist_type: dist, rerank, fuse, fuse_by: by }) => {
  $("index-method").value = method;
  $("dist-type").value = dist;
  $("rerank").value = String(rerank ?? 100);
  $("fuse").checked = Boolean(fuse);
  $("fuse-by").value = by ?? "";
  offered();
};

// What goes with what: codes alone are put in order again, and only fused pictures are distinguished by a name.
function offered() {
  $("rerank-part").hidden = $("dist-type").value !== "hamming";
  $("fuse-by-part").hidden = !$("fuse").checked;
}

const chosen = () => ({
  index_method: $("index-method").value,
  dist_type: $("dist-type").value,
  ...($("dist-type").value === "hamming" ? { rerank: Number($("rerank").value) } : {}),
  ...($("fuse").checked ? { fuse: true, ...($("fuse-by").value.trim() ? { fuse_by: $("fuse-by").value.trim() } : {}) } : {}),
});

// `save(change)` does the change and shows the gallery again.
export function setUpSearching(name, save) {
  for (const id of ["dist-type", "fuse"]) $(id).addEventListener("change", offered);
  $("searching-form").addEventListener("submit", (event) => {
    event.preventDefault();
    save(() => api.chooseIndex(name, chosen()));
  });
  return ({ index }) => {
    const recall = index.state !== "built" || index.recall_at_1 == null ? "" : t("searching.recall", { recall: exactly(index.recall_at_1) });
    $("searching-facts").textContent = `${t("searching.in_use", { index: index.in_use })}${index.state === "building" ? t("searching.building") : ""}${recall}`;
    shown(index);
  };
}
