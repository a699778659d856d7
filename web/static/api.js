// The service's HTTP API as functions; every failure is a Failure with words for people and the stable code.

export class Failure extends Error {
  // `passing`: the same request may do later.
  constructor(title, detail, code, { errors = [], reason, passing = false } = {}) {
    super(detail);
    Object.assign(this, { title, detail, code, errors, reason, passing });
  }
}

// Below which path of its host the service is; links in its answers have it already.
const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const at = (path) => (ROOT && !path.startsWith(`${ROOT}/`) ? ROOT + path : path);

async function send(path, options) {
  try {
    return await fetch(at(path), options);
  } catch {
    throw unreachable();
  }
}

const unreachable = () => new Failure("No connection", "The service did not answer. Is it still running?", "unreachable", { passing: true });

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
    body?.title ?? "Something went wrong",
    body?.detail ?? `The service answered ${response.status}.`,
    body?.code ?? `http_${response.status}`,
    { ...body, passing: PASSING.has(response.status) },
  );
}

const PASSING = new Set([408, 429, 502, 503, 504]);
const STALLED_MS = 60_000;

// POSTs a form; `progressed` gets the fraction that has been sent. `fetch` does not know it, so this is the older way.
function upload(path, form, progressed) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stalled = 0;
    const moved = () => {
      clearTimeout(stalled); // a phone that changes its network may never learn that its line is gone
      stalled = setTimeout(() => request.abort(), STALLED_MS);
    };
    request.open("POST", at(path));
    request.responseType = "json";
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
const asJson = (value) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const galleries = () => call("/v1/galleries");
export const gallery = (name) => call(`/v1/galleries/${inPath(name)}`);
export const createGallery = (name) => call("/v1/galleries", asJson({ name }));
export const items = (name, limit) => call(`/v1/galleries/${inPath(name)}/items?limit=${limit}`);
export const itemImage = (name, id) => at(`/v1/galleries/${inPath(name)}/items/${inPath(id)}/preview`);
export const enroll = (name, form, progressed = () => {}) => upload(`/v1/galleries/${inPath(name)}/items`, form, progressed);
export const recognize = (form, progressed = () => {}) => upload("/v1/recognitions", form, progressed);
export async function photo(address) {
  const response = await send(address);
  if (response.ok) return response.blob();
  throw failed(response, await response.json().catch(() => null));
}
export const recognition = (id) => call(`/v1/recognitions/${inPath(id)}`);
export const cancel = (job) => call(job.links.cancel, { method: "POST" });

export async function isReady() {
  const response = await fetch("/readyz").catch(() => null);
  return response ? { ready: response.ok, ...(await response.json().catch(() => ({}))) } : { ready: false };
}

export const isOpen = (job) => job.status === "queued" || job.status === "processing";

// Tells every change of a job until it has ended; resolves to the finished job. Streams, or polls where streams fail.
export function follow(job, changed) {
  return new Promise((resolve, reject) => {
    if (!isOpen(job)) return resolve(job);
    const stream = new EventSource(job.links.events);
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
