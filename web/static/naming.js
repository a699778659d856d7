// Asks for a name in a dialog: a label's, or another gallery's.

import { element } from "./elements.js";
import { labelInput } from "./labels.js";
import { t } from "./words.js";

const $ = (id) => document.getElementById(id);

// Asks for a label of `gallery`; `act(label, merge)` is done on it. Where it fails with `label_exists`, asks whether both are to
// become one. Resolves when it is done or given up; other failures are thrown.
export function askLabel(gallery, title, label, act) {
  const { field, input } = labelInput(gallery, title, { value: label });
  return ask(title, field, t("save"), async (merge) => act(input.value.trim(), merge), () => input.select());
}

// Asks for one of `names`.
export function askGallery(title, names, act) {
  const select = element("select", {}, ...names.map((name) => element("option", { value: name, textContent: name })));
  select.setAttribute("aria-label", title);
  return ask(title, select, t("items.move.do"), async () => act(select.value), () => select.focus());
}

function ask(title, field, words, act, ready) {
  const dialog = $("naming");
  const form = dialog.querySelector("form");
  let merge = false;
  $("naming-title").textContent = title;
  $("naming-field").replaceChildren(field);
  $("naming-merge").hidden = true;
  $("naming-do").textContent = words;
  field.addEventListener("input", () => {
    merge = false;
    $("naming-merge").hidden = true;
    $("naming-do").textContent = words;
  });
  dialog.showModal();
  ready();
  return new Promise((resolve, reject) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      $("naming-do").disabled = true;
      try {
        await act(merge);
        dialog.close();
      } catch (failure) {
        if (failure.code === "label_exists") {
          merge = true;
          $("naming-merge").textContent = t("labels.merge.ask");
          $("naming-merge").hidden = false;
          $("naming-do").textContent = t("labels.merge");
          return;
        }
        reject(failure);
        dialog.close();
      } finally {
        $("naming-do").disabled = false;
      }
    };
    $("naming-off").onclick = () => dialog.close();
    dialog.addEventListener("close", () => resolve(), { once: true });
  });
}
