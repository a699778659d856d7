// The page of the API keys: listed, made, shown once, revoked.

import * as api from "./api.js";
import { agreed } from "./confirming.js";
import { complain } from "./complaints.js";
import { showOnce } from "./copying.js";
import { button, element } from "./elements.js";
import { row } from "./tables.js";
import { t, time } from "./words.js";

const LIMITS = ["requests_per_minute", "open_jobs", "bytes_per_day"];
const $ = (id) => document.getElementById(id);
const mine = $("keys").dataset.mine;

async function show() {
  const { keys } = await api.keys();
  $("rows").replaceChildren(...keys.map(line));
  $("table").hidden = !keys.length;
}

function line(key) {
  const { id, name, scopes, created_at: created, last_used_at: used, expires_at: expires, limits } = key;
  const away = button(t("keys.revoke"), () => revoke(key));
  away.setAttribute("aria-label", t("keys.revoke.one", { name }));
  const own = LIMITS.filter((one) => limits[one] !== null).map((one) => `${t(`keys.limit.${one}`)}${t("colon")} ${limits[one] ? t("number", { count: limits[one] }) : t("keys.unlimited")}`);
  const titled = element("span", {}, element("strong", { textContent: name }), " ", element("code", { className: "quiet", textContent: id }), id === mine ? ` ${t("keys.mine")}` : "");
  return row([["name", "", titled], ["short", t("keys.scopes"), scopes.map((one) => t(`keys.scope.${one}`)).join(t("comma"))], ["", t("jobs.created"), time(created)], ["", t("keys.used"), used ? time(used) : t("system.never")], ["", t("keys.expires"), expires ? time(expires) : t("system.never")], ["", t("keys.limits"), own.join(t("comma")) || t("keys.limits.usual")], ["actions", t("galleries.actions"), away]]);
}

async function revoke({ id, name }) {
  if (!(await agreed(id === mine ? t("keys.revoke.ask.mine", { name }) : t("keys.revoke.ask", { name }), t("keys.revoke"), t("keys.keep")))) return;
  complain($("error"));
  try {
    await api.revokeKey(id);
    $("made").replaceChildren(element("p", { className: "notice good", textContent: t("keys.revoked", { name }) }));
    await show();
    $("keys-heading").focus();
  } catch (failure) {
    complain($("error"), failure);
  }
}

async function create(event) {
  event.preventDefault();
  complain($("new-error"));
  const days = Number($("expires").value);
  const limits = Object.fromEntries(LIMITS.filter((one) => $(one).value !== "").map((one) => [one, Number($(one).value)]));
  try {
    const { name, token } = await api.createKey({ name: $("key-name").value.trim(), scopes: [$("scope").value], limits, ...(days ? { expires_in_s: days * 86_400 } : {}) });
    $("new").reset();
    showOnce($("made"), t("keys.once", { name }), token);
    await show();
  } catch (failure) {
    complain($("new-error"), failure);
  }
}

$("new")?.addEventListener("submit", create);
if ($("table")) show().catch((failure) => complain($("error"), failure));
