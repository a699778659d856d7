// The service's HTTP API as functions; every failure is a Failure with words for people and the stable code.

import { t } from "./words.js";

export class Failure extends Error {
  // `passing`: the same request may do later. `ours`: the words are the page's, in the reader's language.
  constructor(title, detail, code, { errors = [], reason, passing = false, ours = true } = {}) {
    super(detail);
    Object.assign(this, { title, detail, code, errors, reason, passing, ours });
  }
}

// The service may be hosted below a path of its own; its links may name that already.
const root = document.documentElement.dataset.root ?? "";
export const at = (path) => (root && !path.startsWith(`${root}/`) && path.startsWith("/") ? root + path : path);

async function send(path, options) {
  try {
    return await fetch(at(path), options);
  } catch {
    throw unreachable();
  }
}

const unreachable = () => new Failure(t("failure.connection"), t("failure.unreachable"), "unreachable", { passing: true });

async function call(path, options = {}) {
  const response = await send(path, options);
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw failed(response, body);
}

function failed(response, body) {
  if (response.status === 401) location.assign(at(`/signin?next=${encodeURIComponent(location.pathname + location.search)}`)); // the session has ended
  return new Failure(
    body?.title ?? t("failure"),
    body?.detail ?? t("failure.status", { status: String(response.status) }),
    body?.code ?? `http_${response.status}`,
    { ...body, passing: PASSING.has(response.status) || body?.code === "idempotency_in_progress", ours: !body?.detail },
  );
}

const PASSING = new Set([408, 429, 502, 503, 504]);
const STALLED_MS = 60_000;

// A name for what is to be made once, however often it is sent: over a line that broke off nobody knows whether it arrived.
export const onceKey = () => `"${[...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")}"`;

// POSTs a form; `progressed` gets the fraction that has been sent. `fetch` does not know it, so this is the older way.
function upload(path, form, progressed, once) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stalled = 0;
    const moved = () => {
      clearTimeout(stalled); // a phone that changes its network may never learn that its line is gone
      stalled = setTimeout(() => request.abort(), STALLED_MS);
    };
    request.open("POST", at(path));
    request.responseType = "json";
    if (once) request.setRequestHeader("Idempotency-Key", once);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      moved();
      progressed(total ? loaded / total : 0);
    });
    request.addEventListener("loadend", () => {
      clearTimeout(stalled);
      const { status, response } = request;
      if (status >= 200 && status < 300 && response) resolve(response);
      else reject(status ? failed({ status }, response) : unreachable());
    });
    moved();
    request.send(form);
  });
}

const inPath = encodeURIComponent;
const asQuery = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== ""));
const asJson = (value, method = "POST") => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const galleries = () => call("/v1/galleries");
export const labels = (name, query) => call(`/v1/galleries/${inPath(name)}/labels?${asQuery(query)}`);
export const gallery = (name) => call(`/v1/galleries/${inPath(name)}`);
export const createGallery = (name) => call("/v1/galleries", asJson({ name }));
export const chooseIndex = (name, index) => call(`/v1/galleries/${inPath(name)}`, asJson({ index }, "PATCH"));
export const deleteGallery = (name) => call(`/v1/galleries/${inPath(name)}`, { method: "DELETE" });
export const restoreGallery = (name) => call(`/v1/galleries/${inPath(name)}/restore`, { method: "POST" });
export const items = (name, query) => call(`/v1/galleries/${inPath(name)}/items?${asQuery(query)}`);
export const itemImage = (name, id, version = null) => at(`/v1/galleries/${inPath(name)}/items/${inPath(id)}/preview${version ? `?version=${version}` : ""}`);
export const deleteItem = (name, id) => call(`/v1/galleries/${inPath(name)}/items/${inPath(id)}`, { method: "DELETE" });
export const deleteLabel = (name, label) => call(`/v1/galleries/${inPath(name)}/items?${asQuery({ label })}`, { method: "DELETE" });
export const versions = (name) => call(`/v1/galleries/${inPath(name)}/versions`);
export const activate = (name, version) => call(`/v1/galleries/${inPath(name)}/versions/${version}/activate`, { method: "POST" });
export const evaluate = (name, version) => call(`/v1/galleries/${inPath(name)}/versions/${version}/evaluate`, { method: "POST" });
export const difference = (name, version, query) => call(`/v1/galleries/${inPath(name)}/versions/${version}/diff?${asQuery(query)}`);
export const lint = (name, query) => call(`/v1/galleries/${inPath(name)}/lint?${asQuery(query)}`);
export const mend = ({ method, path, body }) => call(path, body ? asJson(body, method) : { method });
export const renameItem = (name, id, label) => call(`/v1/galleries/${inPath(name)}/items/${inPath(id)}`, asJson({ label }, "PATCH"));
export const renameLabel = (name, label, to, merge) => call(`/v1/galleries/${inPath(name)}/items?${asQuery({ label })}`, asJson({ label: to, ...(merge ? { merge } : {}) }, "PATCH"));
export const moveItems = (name, to, ids) => call(`/v1/galleries/${inPath(name)}/items/move`, asJson({ to, item_ids: ids }));
export const enrollFrom = (name, job, box, label) => call(`/v1/galleries/${inPath(name)}/items`, asJson({ from: { job, box }, label }));
export const say = (job, feedback) => call(`/v1/recognitions/${inPath(job)}/feedback`, asJson(feedback));
export const saidOf = (job) => call(`/v1/recognitions/${inPath(job)}/feedback`);
export const jobs = (kind, query) => call(`/v1/${kind}?${asQuery(query)}`);
export const batches = (query) => call(`/v1/batches?${asQuery(query)}`);
export const batch = (id) => call(`/v1/batches/${inPath(id)}`);
export const createBatch = (form, progressed, once) => upload("/v1/batches", form, progressed, once);
export const cancelBatch = (id) => call(`/v1/batches/${inPath(id)}/cancel`, { method: "POST" });
export const batchResults = ({ links }, format) => at(`${links.results}?format=${format}`);
export const webhooks = () => call("/v1/webhooks");
export const webhook = (id) => call(`/v1/webhooks/${inPath(id)}`);
export const createWebhook = (wanted) => call("/v1/webhooks", asJson(wanted));
export const changeWebhook = (id, changes) => call(`/v1/webhooks/${inPath(id)}`, asJson(changes, "PATCH"));
export const deleteWebhook = (id) => call(`/v1/webhooks/${inPath(id)}`, { method: "DELETE" });
export const rotateWebhook = (id, overlap) => call(`/v1/webhooks/${inPath(id)}/rotate`, asJson({ overlap_s: overlap }));
export const testWebhook = (id) => call(`/v1/webhooks/${inPath(id)}/test`, { method: "POST", headers: { Prefer: "wait=10" } });
export const deliveries = (webhook, query) => call(`/v1/webhooks/${inPath(webhook)}/deliveries?${asQuery(query)}`);
export const delivery = (webhook, id) => call(`/v1/webhooks/${inPath(webhook)}/deliveries/${inPath(id)}`);
export const replayDelivery = (webhook, id) => call(`/v1/webhooks/${inPath(webhook)}/deliveries/${inPath(id)}/replay`, { method: "POST" });
export const stopDelivery = (webhook, id) => call(`/v1/webhooks/${inPath(webhook)}/deliveries/${inPath(id)}/stop`, { method: "POST" });
export const replayDeliveries = (webhook, range) => call(`/v1/webhooks/${inPath(webhook)}/replay`, asJson(range));
export const keys = () => call("/v1/keys");
export const createKey = (wanted) => call("/v1/keys", asJson(wanted));
export const revokeKey = (id) => call(`/v1/keys/${inPath(id)}`, { method: "DELETE" });
export const system = () => call("/v1/system");
export const enroll = (name, form, progressed, once) => upload(`/v1/galleries/${inPath(name)}/items`, form, progressed, once);
export const searchItems = (name, form) => upload(`/v1/galleries/${inPath(name)}/search`, form, () => {});
export const recognize = (form, progressed, once) => upload("/v1/recognitions", form, progressed, once);
export async function photo(address) {
  const response = await send(address);
  if (response.ok) return response.blob();
  throw failed(response, await response.json().catch(() => null));
}
export const recognition = (id) => call(`/v1/recognitions/${inPath(id)}`);
export const cancel = (job) => call(job.links.cancel, { method: "POST" });

export async function isReady() {
  const response = await fetch(at("/readyz")).catch(() => null);
  return response ? { ready: response.ok, ...(await response.json().catch(() => ({}))) } : { ready: false };
}

export const isOpen = (job) => job.status === "queued" || job.status === "processing";

// Reports every change of a job until it has ended; resolves to the finished job. Streams, or polls where streams fail.
export function follow(job, changed) {
  return new Promise((resolve, reject) => {
    if (!isOpen(job)) return resolve(job);
    const stream = new EventSource(at(job.links.events));
    stream.addEventListener("status", (event) => changed(JSON.parse(event.data)));
    stream.addEventListener("completed", (event) => {
      stream.close();
      resolve(JSON.parse(event.data));
    });
    stream.addEventListener("error", () => {
      stream.close();
      poll(job, changed).then(resolve, reject);
    });
    return undefined;
  });
}

async function poll(job, changed) {
  for (let seen = job, failures = 0; ; ) {
    try {
      seen = await call(job.links.self);
      failures = 0;
    } catch (failure) {
      failures += 1;
      if (!failure.passing || failures > 15) throw failure;
    }
    if (!isOpen(seen)) return seen;
    changed(seen);
    await new Promise((wake) => setTimeout(wake, Math.min(10_000, 700 * 1.5 ** failures)));
  }
}

// Why a job did not succeed.
export function jobFailure(job) {
  if (job.status === "canceled") return new Failure(t("job.canceled"), t("job.canceled.detail"), "canceled");
  const { code, message, detail, title } = job.error ?? {};
  return new Failure(title ?? t("job.failed"), message ?? detail ?? "", code ?? "failed", { ours: false });
}
