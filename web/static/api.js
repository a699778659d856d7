// The service's HTTP API as functions; every failure is a Failure with words for people and the stable code.

export class Failure extends Error {
  constructor(title, detail, code, { errors = [], reason } = {}) {
    super(detail);
    Object.assign(this, { title, detail, code, errors, reason });
  }
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Failure("No connection", "The service did not answer. Is it still running?", "unreachable");
  }
}

async function call(path, options = {}) {
  const response = await send(path, options);
  if (response.status === 204) return null;
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw failed(response, body);
}

function failed(response, body) {
  return new Failure(
    body?.title ?? "Something went wrong",
    body?.detail ?? `The service answered ${response.status}.`,
    body?.code ?? `http_${response.status}`,
    body ?? {},
  );
}

const inPath = encodeURIComponent;
const asJson = (value) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const galleries = () => call("/v1/galleries");
export const gallery = (name) => call(`/v1/galleries/${inPath(name)}`);
export const createGallery = (name) => call("/v1/galleries", asJson({ name }));
export const items = (name, limit) => call(`/v1/galleries/${inPath(name)}/items?limit=${limit}`);
export const itemImage = (name, id) => `/v1/galleries/${inPath(name)}/items/${inPath(id)}/image`;
export const enroll = (name, form) => call(`/v1/galleries/${inPath(name)}/items`, { method: "POST", body: form });
export const recognize = (form) => call("/v1/recognitions", { method: "POST", body: form });
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
      if (failure.code !== "unreachable" || failures > 10) throw failure;
    }
    if (!isOpen(seen)) return seen;
    changed(seen);
    await new Promise((wake) => setTimeout(wake, 700));
  }
}
