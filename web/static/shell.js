// What every page has: whether the service is ready, the switch of the language, and the worker that keeps the page's files.

import { at, isReady } from "./api.js";
import { t } from "./words.js";

const READY_EVERY_MS = 15_000;
const YEAR_S = 365 * 24 * 3600;

async function showReady() {
  const { ready, detail } = await isReady();
  const pill = document.getElementById("ready");
  pill.textContent = ready ? t("ready.yes") : `${t("ready.no")} ${detail ?? t("failure.unreachable")}`;
  pill.className = ready ? "pill good" : "pill bad";
}

function switchLanguage({ target }) {
  const chosen = target.closest("button")?.value;
  if (!chosen) return;
  const { cookie } = this.dataset;
  document.cookie = `${cookie}=${chosen}; path=${document.documentElement.dataset.root || "/"}; max-age=${YEAR_S}; samesite=lax`;
  location.reload();
}

document.getElementById("languages").addEventListener("click", switchLanguage);
showReady();
setInterval(showReady, READY_EVERY_MS);
navigator.serviceWorker?.register(at("/service-worker.js"), { scope: at("/") }).catch(() => {}); // the page does without
