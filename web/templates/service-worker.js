// Keeps the page's own files, so that it opens without a connection; made by the service (web/pages/app_shell.py). What the API
// answers, photos above all, is never kept: requests that are not named here pass by.

const SHELL = {{ shell | tojson }};
const OFFLINE = {{ offline | tojson }};
const KEPT = "shitu-{{ version }}";

addEventListener("install", (event) => {
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(SHELL)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("shitu-") && name !== KEPT;
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name)))));
});

// The service's own answer first: a newer page must not get older scripts.
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const { origin, pathname } = new URL(request.url);
  if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  else if (origin === location.origin && SHELL.includes(pathname)) event.respondWith(fetch(request).catch(() => caches.match(pathname)));
});
