// A part of a photo is added to the gallery that it was searched in, under a label; and what a person says of an answer
// is kept.

import * as api from "./api.js";
import { t } from "./words.js";

const whole = (box) => box?.map(Math.round) ?? null;

// Resolves to the outcome {status, item_id}. `box` is in pixels of the answer's photo; null: all of it. The service cuts it
// out, so that a picture that this browser cannot show does as well.
export async function enroll({ job }, box, label) {
  const done = await api.follow(await api.enrollFrom(job.result.gallery.name, job.id, whole(box), label), () => {});
  const [item] = done.result?.items ?? [];
  if (item && item.status !== "rejected") return item;
  const { code, message } = done.error ?? item?.error ?? {};
  throw new api.Failure(t("not_added"), message ?? "", code ?? done.status, { ours: false });
}

export const keepSaid = ({ job }, box, verdict, label) => api.say(job.id, { box: whole(box), verdict, ...(label ? { label } : {}) });

// What was said of a job's boxes before: `keyOf` the box -> words, the last of each.
export async function saidBefore({ job }) {
  const { feedback } = await api.saidOf(job.id).catch(() => ({ feedback: [] })); // the answer does without
  return new Map(feedback.map(({ box, verdict, label, answer }) => [keyOf(box), { words: label && label !== answer ? t("said.label", { label }) : t(`said.${verdict}`), good: true }]));
}

export const keyOf = (box) => JSON.stringify(whole(box));
