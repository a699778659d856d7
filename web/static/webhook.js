// The page of one webhook endpoint: whether it is notified, its secret, its settings, and the messages to it.

import * as api from "./api.js";
import { agreed } from "./confirming.js";
import { complain } from "./complaints.js";
import { showOnce } from "./copying.js";
import { setUpDeliveries } from "./deliveries.js";
import { element } from "./elements.js";
import { pill } from "./tables.js";
import { eventsPicked, pickEvents } from "./webhook-form.js";
import { known, t, time } from "./words.js";

const $ = (id) => document.getElementById(id);
const { id } = $("webhook").dataset;
let webhook = null;

const tried = (act) => async (event) => {
  event?.preventDefault();
  complain($("error"));
  await act().catch((failure) => complain($("error"), failure));
};
const showDeliveries = setUpDeliveries(id);

function write(now) {
  webhook = now;
  const { url, description, events, enabled, disabled, failures, failing_since: failing, public_key: key, previous_keys: before } = now;
  $("whole").hidden = $("message-log").hidden = false;
  $("webhook-heading").textContent = url;
  const why = enabled ? (failures ? t("webhooks.failing.since", { count: failures, since: time(failing) }) : "") : t("webhooks.disabled.since", { reason: known(`webhooks.reason.${disabled.reason}`, disabled.reason), since: time(disabled.at) });
  $("state").replaceChildren(enabled ? pill(failures ? "queued" : "succeeded", t("webhooks.enabled")) : pill("failed", t("webhooks.disabled")), " ", why);
  $("switch").textContent = enabled ? t("webhooks.disable") : t("webhooks.enable");
  const rows = [[t("webhooks.events"), events.join(t("comma"))], [t("webhooks.description"), description || "–"], [t("webhooks.public_key"), key], ...(before ? [[t("webhooks.previous_key", { until: time(before.valid_until) }), before.public_key]] : []), [t("webhooks.changed"), time(now.updated_at)]];
  $("facts").replaceChildren(...rows.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
}

function fillForm() {
  Object.assign($("url"), { value: webhook.url });
  Object.assign($("description"), { value: webhook.description });
  pickEvents(webhook.events);
}

async function rotate() {
  const { secret, ...now } = await api.rotateWebhook(id, Number($("overlap").value));
  write(now);
  showOnce($("said"), t("webhooks.secret.once"), secret);
}

async function test() {
  $("test").disabled = true;
  $("said").replaceChildren(element("p", { className: "quiet", textContent: t("webhooks.testing") }));
  try {
    const { status, last_status: answer, last_error: error } = await api.testWebhook(id);
    const good = status === "delivered";
    const words = good ? t("webhooks.test.good", { status: String(answer) }) : status === "pending" ? t("webhooks.test.pending") : t("webhooks.test.bad", { error: error ?? String(answer) });
    $("said").replaceChildren(element("p", { className: good ? "notice good" : "notice bad", textContent: words }));
    await showDeliveries();
  } catch (failure) {
    $("said").replaceChildren();
    throw failure;
  } finally {
    $("test").disabled = false;
  }
}

async function save() {
  write(await api.changeWebhook(id, { url: $("url").value.trim(), description: $("description").value.trim(), events: eventsPicked() }));
  $("said").replaceChildren(element("p", { className: "notice good", textContent: t("webhooks.saved") }));
}

async function remove() {
  if (!(await agreed(t("webhooks.delete.ask", { url: webhook.url })))) return;
  await api.deleteWebhook(id);
  location.assign(api.at("/webhooks"));
}

async function start() {
  write(await api.webhook(id));
  fillForm();
  await showDeliveries();
}

$("switch").addEventListener("click", tried(async () => write(await api.changeWebhook(id, { enabled: !webhook.enabled }))));
$("test").addEventListener("click", tried(test));
$("rotate").addEventListener("submit", tried(rotate));
$("change").addEventListener("submit", tried(save));
$("delete").addEventListener("click", tried(remove));
tried(start)();
