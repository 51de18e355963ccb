/*
 * The browser as the client's platform. All addresses are relative to the page, so that the server
 * may live under a sub-path behind a proxy.
 */
import type {
    Channels,
    Clock,
    Http,
    HttpAnswer,
    Locks,
    Platform,
    Random,
    SocketOpener,
} from '@confab/client';
import { Carriers, noChannels, noLocks } from '@confab/client';

const base = new URL('.', document.baseURI);
const REQUEST_MS = 30_000;

/* A path of the server's ("/api/…") below where the page lives. */
function address(path: string): URL {
    return new URL(path.replace(/^\//, ''), base);
}

const clock: Clock = {
    now: () => Date.now(),
    after(ms, fn) {
        /* Longer ones overflow in browsers. */
        const id = setTimeout(fn, Math.min(ms, 0x7fffffff));
        return { cancel: () => clearTimeout(id) };
    },
};

const random: Random = {
    fraction() {
        const n = new Uint32Array(1);
        crypto.getRandomValues(n);
        return (n[0] ?? 0) / 2 ** 32;
    },
    id() {
        const bytes = crypto.getRandomValues(new Uint8Array(16));
        return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
    },
};

const sockets: SocketOpener = {
    open(path, events) {
        const url = address(path);
        url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
        const ws = new WebSocket(url);
        ws.onopen = () => events.onOpen();
        ws.onmessage = (e: MessageEvent<unknown>) => {
            if (typeof e.data === 'string') {
                events.onMessage(e.data);
            }
        };
        ws.onclose = (e) => events.onClose(e.code);
        return {
            send(frame) {
                if (ws.readyState === WebSocket.OPEN) {
                    ws.send(frame);
                }
            },
            close(code) {
                ws.onopen = ws.onmessage = ws.onclose = null;
                ws.close(code);
            },
        };
    },
};

function retryAfter(value: string | null): number {
    const seconds = Number(value ?? '0');
    return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 3600) * 1000 : 0;
}

const http: Http = {
    async send({ method, path, headers, body }): Promise<HttpAnswer> {
        const stop = new AbortController();
        const timer = setTimeout(() => stop.abort(), REQUEST_MS);
        try {
            const answer = await fetch(address(path), {
                method,
                headers: {
                    ...headers,
                    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
                },
                ...(body === undefined ? {} : { body: JSON.stringify(body) }),
                credentials: 'same-origin',
                cache: 'no-store',
                signal: stop.signal,
            });
            const text = await answer.text();
            let decoded: unknown = null;
            try {
                decoded = text === '' ? null : JSON.parse(text);
            } catch {
                /* Not ours: a proxy's page. The status says enough. */
            }
            return {
                status: answer.status,
                retryAfterMs: retryAfter(answer.headers.get('retry-after')),
                body: decoded,
            };
        } finally {
            clearTimeout(timer);
        }
    },

    stream({ method, path, headers }, onText) {
        const stop = new AbortController();
        const read = async (): Promise<number> => {
            const answer = await fetch(address(path), {
                method,
                headers,
                credentials: 'same-origin',
                cache: 'no-store',
                signal: stop.signal,
            });
            if (answer.status !== 200 || !answer.body) {
                return answer.status;
            }
            const reader = answer.body.getReader();
            const text = new TextDecoder();
            for (;;) {
                const { done, value } = await reader.read();
                if (done) {
                    return answer.status;
                }
                onText(text.decode(value, { stream: true }));
            }
        };
        return { done: read(), abort: () => stop.abort() };
    },
};

/* Only secure contexts have locks; without them each tab is on its own. */
function tabLocks(): Locks {
    if (!('locks' in navigator)) {
        return noLocks;
    }
    return {
        hold(name, onHeld) {
            const stop = new AbortController();
            let release: () => void = () => stop.abort();
            navigator.locks
                .request(name, { signal: stop.signal }, () => {
                    return new Promise<void>((resolve) => {
                        release = resolve;
                        onHeld();
                    });
                })
                .catch(() => undefined);
            return () => release();
        },
        async free(names) {
            const held = new Set((await navigator.locks.query()).held?.map((l) => l.name));
            return names.filter((n) => !held.has(n));
        },
    };
}

const channels: Channels = {
    open(name, onWord) {
        if (!('BroadcastChannel' in window)) {
            return noChannels.open(name, onWord);
        }
        const channel = new BroadcastChannel(name);
        channel.onmessage = (e: MessageEvent<unknown>) => onWord(e.data);
        return { say: (word) => channel.postMessage(word), close: () => channel.close() };
    },
};

export const browserPlatform: Platform = {
    clock,
    random,
    sockets: new Carriers(clock, random, http, sockets),
    http,
    locks: tabLocks(),
    channels,
};

/* What this device is called in the list of devices. */
export function deviceName(): string {
    const agent = navigator.userAgent;
    const browser = /Firefox\//.test(agent)
        ? 'Firefox'
        : /Edg\//.test(agent)
          ? 'Edge'
          : /Chrome\//.test(agent)
            ? 'Chrome'
            : /Safari\//.test(agent)
              ? 'Safari'
              : 'Browser';
    const system = /Android/.test(agent)
        ? 'Android'
        : /iPhone|iPad/.test(agent)
          ? 'iOS'
          : /Windows/.test(agent)
            ? 'Windows'
            : /Mac OS/.test(agent)
              ? 'macOS'
              : /Linux/.test(agent)
                ? 'Linux'
                : '';
    return system === '' ? browser : `${browser}, ${system}`;
}
