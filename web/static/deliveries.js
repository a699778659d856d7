// The messages to an endpoint: what was sent, what was answered at each attempt; sent again one by one or of a stretch of time.

import * as api from "./api.js";
import { complain } from "./complaints.js";
import { button, element } from "./elements.js";
import { pill } from "./tables.js";
import { t, time } from "./words.js";

const PAGE = 25;
const COLOURS = { delivered: "succeeded", pending: "queued", failed: "failed", disabled: "failed", stopped: "" };
const $ = (id) => document.getElementById(id);
let after = null;

// Returns what shows the latest messages of `webhook` (its id).
export function setUpDeliveries(webhook) {
  const load = async (more = false) => {
    complain($("log-error"));
    const page = await api.deliveries(webhook, { status: $("delivery-status").value, limit: PAGE, after: more ? after : "" });
    after = page.next_after;
    const lines = page.deliveries.map((one) => entry(webhook, one, load));
    if (more) $("log").append(...lines);
    else $("log").replaceChildren(...lines);
    $("more").hidden = !after;
    $("log-none").textContent = $("log").childElementCount ? "" : t("deliveries.none");
  };
  const tried = (act) => (event) => {
    event.preventDefault();
    act().catch((failure) => complain($("log-error"), failure));
  };
  $("delivery-status").addEventListener("change", tried(() => load()));
  $("more").addEventListener("click", tried(() => load(true)));
  $("renew").addEventListener("click", tried(() => load()));
  $("replay").addEventListener("submit", tried(async () => {
    $("replayed").textContent = "";
    const iso = (field) => (field.value ? new Date(field.value).toISOString() : undefined);
    const { replayed: count, more } = await api.replayDeliveries(webhook, { since: iso($("since")), until: iso($("until")), only: $("replay-only").value });
    $("replayed").textContent = `${t("deliveries.replayed", { count })}${more ? ` ${t("deliveries.replayed.more")}` : ""}`;
    await load();
  }));
  return load;
}

function entry(webhook, delivery, renew) {
  const { id, type, status, attempts, created_at: created, last_status: answer, last_error: error } = delivery;
  const came = answer ? t("deliveries.answered", { status: String(answer) }) : error ?? "";
  const place = element("div", { className: "delivery" });
  const details = element("details", { className: "inner" }, element("summary", {}, pill(COLOURS[status], t(`deliveries.status.${status}`)), ` ${type ?? id}${t("comma")}${time(created)}${t("comma")}${t("deliveries.attempts", { count: attempts })}${came ? `${t("comma")}${came}` : ""}`), place);
  details.addEventListener("toggle", () => {
    if (details.open) open(webhook, id, place, renew).catch((failure) => complain(place, failure));
  });
  return element("li", {}, details);
}

async function open(webhook, id, place, renew) {
  const { status, body, log, next_at: next } = await api.delivery(webhook, id);
  const did = (act) => async () => {
    try {
      await act(webhook, id);
      await renew();
      $("log-heading").focus(); // what was tapped has gone
    } catch (failure) {
      complain($("log-error"), failure);
    }
  };
  const acts = element("p", { className: "row start" }, button(t("deliveries.replay"), did(api.replayDelivery)), status === "pending" ? button(t("deliveries.stop"), did(api.stopDelivery)) : "");
  const sent = body ? shown(JSON.stringify(body, null, 2), t("deliveries.sent")) : element("p", { className: "quiet", textContent: t("deliveries.sent.gone") });
  const attempts = log.map(({ at, attempt, status: answered, error, answer, duration_ms: took }) => {
    const words = [t("deliveries.attempt", { number: attempt }), time(at), answered ? t("deliveries.answered", { status: String(answered) }) : error, Number.isFinite(took) ? `${Math.round(took)} ms` : ""];
    return element("li", {}, words.filter(Boolean).join(t("comma")), answer ? shown(answer, t("deliveries.answer")) : "");
  });
  place.replaceChildren(acts, ...(next ? [element("p", { className: "quiet", textContent: t("deliveries.next", { at: time(next) }) })] : []), element("h3", { textContent: t("deliveries.sent") }), sent, element("h3", { textContent: t("deliveries.log") }), attempts.length ? element("ol", {}, ...attempts) : element("p", { className: "quiet", textContent: t("deliveries.log.none") }));
}

function shown(text, name) {
  const pre = element("pre", { tabIndex: 0, textContent: text, lang: "en" });
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", name);
  return pre;
}
