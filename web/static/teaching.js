// Adds a part of a photo to the gallery that it was searched in, under a label.

import * as api from "./api.js";
import { asFile, cut, withMargin } from "./pictures.js";
import { t } from "./words.js";

// Resolves to the outcome {status, item_id}. `box` is in pixels of the answer's photo.
export async function teach({ job }, box, label) {
  const { image, gallery } = job.result;
  const part = cut(document.getElementById("shown"), image, withMargin(box, image));
  if (!part) throw new api.Failure(t("not_added"), t("not_added.not_shown"), "not_shown");
  const form = new FormData();
  form.append("images", await asFile(part, `${label}.jpg`));
  form.append("labels", label);
  const done = await api.follow(await api.enroll(gallery.name, form), () => {});
  const [item] = done.result?.items ?? [];
  if (item && item.status !== "rejected") return item;
  const { code, message } = done.error ?? item?.error ?? {};
  throw new api.Failure(t("not_added"), message ?? "", code ?? done.status, { ours: false });
}
