/*
 * Node as the client's platform, for bots. Requests go by Node's own fetch; for the socket Node 22
 * and later bring a WebSocket, with earlier ones the caller brings one (that of `ws` fits).
 */
import { randomBytes } from 'node:crypto';
import { type HttpAnswer, noChannels, noLocks, type Platform, type SocketOpener } from './platform.js';

/* As much of a WebSocket as is used. */
interface WebSocketLike {
    onopen: (() => void) | null;
    onmessage: ((e: { data: unknown }) => void) | null;
    onclose: ((e: { code: number }) => void) | null;
    onerror: ((e: unknown) => void) | null;
    readonly readyState: number;
    send(data: string): void;
    close(code?: number): void;
}
export type WebSocketMaker = new (url: string) => WebSocketLike;

const OPEN = 1;
const REQUEST_MS = 30_000;
const TIMER_MAX_MS = 0x7fffffff;

export interface NodeOptions {
    /* Where the server is, "https://chat.example.org/"; a path of a proxy belongs to it. */
    url: string;
    /* For Node before 22. */
    WebSocket?: unknown;
}

export function nodePlatform(opt: NodeOptions): Platform {
    const base = new URL(opt.url.endsWith('/') ? opt.url : `${opt.url}/`);
    const made = opt.WebSocket ?? (globalThis as { WebSocket?: unknown }).WebSocket;
    if (typeof made !== 'function') {
        throw new Error('this Node has no WebSocket: give one, as that of the package ws');
    }
    const address = (path: string): URL => new URL(path.replace(/^\//, ''), base);
    return {
        clock: {
            now: () => Date.now(),
            after(ms, fn) {
                const timer = setTimeout(fn, Math.min(ms, TIMER_MAX_MS));
                return { cancel: () => clearTimeout(timer) };
            },
        },
        random: {
            fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
            id: () => randomBytes(16).toString('hex'),
        },
        sockets: sockets(made as WebSocketMaker, address),
        http: {
            async send({ method, path, headers, body }): Promise<HttpAnswer> {
                const answer = await fetch(address(path), {
                    method,
                    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
                    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
                    signal: AbortSignal.timeout(REQUEST_MS),
                });
                const text = await answer.text();
                const seconds = Number(answer.headers.get('retry-after') ?? '0');
                return {
                    status: answer.status,
                    retryAfterMs: Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 3600) * 1000 : 0,
                    body: decoded(text),
                };
            },
        },
        locks: noLocks,
        channels: noChannels,
    };
}

function decoded(text: string): unknown {
    try {
        return text === '' ? null : JSON.parse(text);
    } catch {
        return null; /* a proxy's page: the status says enough */
    }
}

function sockets(Maker: WebSocketMaker, address: (path: string) => URL): SocketOpener {
    return {
        open(path, events) {
            const url = address(path);
            url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
            const ws = new Maker(url.href);
            ws.onopen = () => events.onOpen();
            ws.onmessage = (e) => {
                if (typeof e.data === 'string') {
                    events.onMessage(e.data);
                }
            };
            ws.onclose = (e) => events.onClose(e.code);
            ws.onerror = () => undefined; /* onclose follows */
            return {
                send(frame) {
                    if (ws.readyState === OPEN) {
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
}
