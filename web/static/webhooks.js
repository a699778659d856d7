// The page of the registered webhook endpoints: which events they get and whether they take them; registering one.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { showOnce } from "./copying.js";
import { element } from "./elements.js";
import { pill, row } from "./tables.js";
import { eventsPicked } from "./webhook-form.js";
import { known, t, time } from "./words.js";

const $ = (id) => document.getElementById(id);

async function show() {
  const { webhooks } = await api.webhooks();
  $("rows").replaceChildren(...webhooks.toReversed().map(line));
  $("table").hidden = !webhooks.length;
  $("none").textContent = webhooks.length ? "" : t("webhooks.none");
}

function line({ id, url, description, events, enabled, disabled, failures, created_at: created }) {
  const link = element("a", { href: api.at(`/webhooks/${id}`), textContent: url });
  const name = element("span", {}, link, description ? element("span", { className: "quiet", textContent: ` ${description}` }) : "");
  const state = enabled ? (failures ? pill("queued", t("webhooks.failing", { count: failures })) : pill("succeeded", t("webhooks.enabled"))) : pill("failed", `${t("webhooks.disabled")}${t("colon")} ${known(`webhooks.reason.${disabled.reason}`, disabled.reason)}`);
  return row([["name", "", name], ["", t("jobs.status"), state], ["", t("webhooks.events"), events.join(t("comma"))], ["", t("jobs.created"), time(created)]]);
}

async function create(event) {
  event.preventDefault();
  complain($("new-error"));
  try {
    const made = await api.createWebhook({ url: $("url").value.trim(), description: $("description").value.trim(), events: eventsPicked() });
    $("new").reset();
    showOnce($("made"), t("webhooks.secret.once"), made.secret);
    await show();
  } catch (failure) {
    complain($("new-error"), failure);
  }
}

$("new")?.addEventListener("submit", create);
if ($("table")) show().catch((failure) => complain($("error"), failure));
