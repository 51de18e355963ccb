/*
 * Keeps the shell of the page: what a first visit loads and what comes later, all named by content,
 * and the page itself. So it opens without a connection, and always with files that belong together.
 *
 *     new build ─► other bytes here ─► installs, with a cache of its own ─► waits
 *                                       the page says so; "Reload" ─► 'go' ─► takes over, old caches go
 *
 * Nothing of the API is ever looked at here, let alone kept: only the files of SHELL and the address
 * of the page itself are answered, everything else goes past.
 */
declare const self: ServiceWorkerGlobalScope;
/* Put in by build.mjs: the files below the page, and a name made from all of their contents. */
declare const SHELL: string[];
declare const BUILD: string;

const PREFIX = 'confab-shell-';
const cacheName = PREFIX + BUILD;
const scope = new URL(self.registration.scope);
const files = new Set(SHELL.map((f) => new URL(f, scope).href));

self.addEventListener('install', (e) => {
    /* no-cache: the page itself may be in the browser's cache from before. */
    const requests = [scope.href, ...files].map((url) => new Request(url, { cache: url === scope.href ? 'no-cache' : 'default' }));
    e.waitUntil(caches.open(cacheName).then((c) => c.addAll(requests)));
});

self.addEventListener('activate', (e) => {
    e.waitUntil(
        caches
            .keys()
            .then((names) => Promise.all(names.filter((n) => n.startsWith(PREFIX) && n !== cacheName).map((n) => caches.delete(n))))
            .then(() => self.clients.claim()),
    );
});

self.addEventListener('message', (e) => {
    if (e.data === 'go') {
        void self.skipWaiting();
    }
});

self.addEventListener('fetch', (e) => {
    const url = new URL(e.request.url);
    url.hash = '';
    const page = e.request.mode === 'navigate' && url.href === scope.href;
    if (e.request.method !== 'GET' || (!page && !files.has(url.href))) {
        return;
    }
    e.respondWith(
        caches.open(cacheName).then(async (c) => (await c.match(page ? scope.href : url.href)) ?? fetch(e.request)),
    );
});

self.addEventListener('notificationclick', (e) => {
    const hash = (e.notification.data as { hash?: unknown } | null)?.hash;
    const open = typeof hash === 'string' && hash.startsWith('#/') ? hash : '#/';
    e.notification.close();
    e.waitUntil(
        self.clients.matchAll({ type: 'window', includeUncontrolled: true }).then(async (all) => {
            const page = all.find((c) => c.url.startsWith(scope.href));
            if (page) {
                await page.focus();
                page.postMessage({ open });
            } else {
                await self.clients.openWindow(scope.href + open);
            }
        }),
    );
});

export {};
