// Shows what was changed of a gallery, and takes it back: the version before is put in force again.

import * as api from "./api.js";
import { button, element } from "./elements.js";
import { t } from "./words.js";

// Shows `words` in `place` with a way back. `steps`: [{gallery, before, after}], versions of each gallery that changed.
// A gallery that was changed by others since is left alone: going back would take that back too.
export function showChange(place, words, steps, { undone, failed }) {
  const back = button(t("undo"), async () => {
    back.disabled = true;
    try {
      for (const { gallery, after } of steps) {
        const { version } = await api.gallery(gallery);
        if (version !== after) throw new api.Failure(t("undo.late"), t("undo.late.detail", { gallery }), "changed_since");
      }
      for (const { gallery, before } of steps) await api.activate(gallery, before);
      place.replaceChildren(element("p", { className: "notice good", textContent: t("undone") }));
      await undone();
    } catch (failure) {
      failed(failure);
    }
  });
  const changed = steps.some(({ before, after }) => before !== after);
  place.replaceChildren(element("div", { className: "notice good row" }, words, changed ? back : ""));
}
