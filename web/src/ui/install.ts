/*
 * The page as an app: the service worker that keeps the shell, a new version of it, the offer to
 * install. Only where the browser has it: HTTPS, or the machine itself.
 */
import { signal } from '@preact/signals';

interface InstallEvent extends Event {
    prompt(): Promise<unknown>;
}

/* Asks to install the page as an app; undefined where that is not offered. */
export const installable = signal<(() => Promise<void>) | undefined>(undefined);
/* A new version waits: goes over to it, in all tabs. */
export const newVersion = signal<(() => void) | undefined>(undefined);

const LOOK_EVERY_MS = 60 * 60_000;
const SETTLE_MS = 2000;

interface Hooks {
    /* A notification was clicked, which belongs there. */
    open: (hash: string) => void;
    /* Until everything that was written is kept. */
    settled: () => Promise<void>;
}

export function startInstall({ open, settled }: Hooks): void {
    window.addEventListener('beforeinstallprompt', (e) => {
        e.preventDefault();
        installable.value = async () => {
            installable.value = undefined;
            await (e as InstallEvent).prompt();
        };
    });
    window.addEventListener('appinstalled', () => (installable.value = undefined));
    if (!('serviceWorker' in navigator) || !isSecureContext) {
        return;
    }
    const workers = navigator.serviceWorker;
    workers.addEventListener('message', (e: MessageEvent<unknown>) => {
        const hash = (e.data as { open?: unknown } | null)?.open;
        if (typeof hash === 'string' && hash.startsWith('#/')) {
            open(hash);
        }
    });
    /*
     * The first worker takes over a page that is already the newest; later ones bring another page,
     * in whichever tab they were asked to: what this one would load later is gone with the old one.
     */
    let before = workers.controller;
    workers.addEventListener('controllerchange', () => {
        if (before) {
            const late = new Promise((done) => setTimeout(done, SETTLE_MS));
            void Promise.race([settled(), late]).finally(() => location.reload());
        }
        before = workers.controller;
    });
    const offer = (worker: ServiceWorker | null): void => {
        if (worker && workers.controller) {
            newVersion.value = () => worker.postMessage('go');
        }
    };
    workers
        .register(new URL('sw.js', document.baseURI))
        .then((registration) => {
            /* What is told may be late: what was installing then may be waiting now. */
            const follow = (): void => {
                const coming = registration.installing;
                offer(registration.waiting);
                coming?.addEventListener('statechange', () => {
                    if (coming.state === 'installed') {
                        offer(coming);
                    }
                });
            };
            follow();
            registration.addEventListener('updatefound', follow);
            /* Also what another tab found, should this one have missed it. */
            const seen = (): void => offer(registration.waiting);
            const look = (): void => void registration.update().then(seen, seen);
            setInterval(look, LOOK_EVERY_MS);
            window.addEventListener('online', look);
            document.addEventListener('visibilitychange', seen);
        })
        .catch(() => undefined); /* private windows of some browsers: without it, then */
}

export async function workerRegistration(): Promise<ServiceWorkerRegistration | undefined> {
    return 'serviceWorker' in navigator ? navigator.serviceWorker.getRegistration() : undefined;
}
