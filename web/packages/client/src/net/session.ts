/*
 * One connection: signing in by the first frame, heartbeats, noticing silence. Frames go to the
 * handler as they come, decoded. A session is used once; the Reconnector makes the next.
 */
import type { Clock, Socket, SocketOpener, Timer } from '../platform/platform.js';
import { type ClientFrame, decodeFrames, type Hello, type ServerFrame } from '../wire.js';

export const CLOSE_TOKEN = 4401;
export const CLOSE_TOO_MANY = 4429;
const CLOSE_PROTOCOL = 1002;
const CLOSE_NORMAL = 1000;
/* The server has to say something that often, in units of its heartbeat. */
const SILENCE = 2.5;
const LATE_MS = 2000;
const HELLO_MS = 15_000;

export interface SessionEvents {
    onHello(hello: Hello): void;
    onFrame(frame: ServerFrame): void;
    /* Once, last, unless close() was called. `why` is for the log. */
    onEnd(code: number, why: string): void;
}

export class Session {
    hello: Hello | undefined;
    private socket: Socket | undefined;
    private beat: Timer | undefined;
    private silence: Timer | undefined;
    private probing: Timer | undefined;
    private heardAt = 0;
    private ended = false;

    constructor(
        private readonly clock: Clock,
        private readonly events: SessionEvents,
    ) {}

    open(sockets: SocketOpener, path: string, token: string): void {
        this.heardAt = this.clock.now();
        this.silence = this.clock.after(HELLO_MS, () => this.end(CLOSE_NORMAL, 'no hello in time'));
        this.socket = sockets.open(path, {
            onOpen: () => this.send({ event: 'auth', token }),
            onMessage: (frame) => this.onMessage(frame),
            onClose: (code) => this.end(code, 'closed'),
        });
    }

    /* The token with which the session goes on. */
    renew(token: string): void {
        this.send({ event: 'auth', token });
    }

    send(frame: ClientFrame): void {
        if (!this.ended) {
            this.socket?.send(JSON.stringify(frame.event === 'resume' ? { ...frame, batch: true } : frame));
        }
    }

    /* Has it been silent for so long that this device must have slept, or is still not there? */
    overdue(): boolean {
        const allowed = this.hello ? this.hello.heartbeatMs + LATE_MS : LATE_MS;
        return this.clock.now() - this.heardAt > allowed;
    }

    /* Is anybody there? Without an answer within that time it ends. */
    probe(ms: number): void {
        const asked = this.clock.now();
        this.send({ event: 'heartbeat' });
        this.probing?.cancel();
        this.probing = this.clock.after(ms, () => {
            if (this.heardAt < asked) {
                this.end(CLOSE_NORMAL, 'no answer');
            }
        });
    }

    /* Ends it without onEnd. */
    close(): void {
        if (!this.ended) {
            this.finish();
            this.socket?.close(CLOSE_NORMAL);
        }
    }

    private finish(): void {
        this.ended = true;
        this.beat?.cancel();
        this.silence?.cancel();
        this.probing?.cancel();
    }

    private end(code: number, why: string): void {
        if (this.ended) {
            return;
        }
        this.finish();
        this.socket?.close(CLOSE_NORMAL);
        this.events.onEnd(code, why);
    }

    private onMessage(text: string): void {
        if (this.ended) {
            return;
        }
        this.heardAt = this.clock.now();
        let frames: ServerFrame[];
        try {
            frames = decodeFrames(text);
        } catch (e) {
            this.end(CLOSE_PROTOCOL, e instanceof Error ? e.message : 'not a frame');
            return;
        }
        for (const frame of frames) {
            if (frame.event === 'hello') {
                this.onHello(frame);
            } else {
                this.events.onFrame(frame);
            }
            /* What an event has led to may have ended it. */
            if (this.finished()) {
                return;
            }
        }
    }

    private finished(): boolean {
        return this.ended;
    }

    private onHello(hello: Hello): void {
        if (this.hello || hello.protocol !== 1) {
            this.end(CLOSE_PROTOCOL, 'the server speaks another version');
            return;
        }
        this.hello = hello;
        const every = Math.min(Math.max(hello.heartbeatMs, 1000), 300_000);
        this.silence?.cancel();
        this.beatAfter(every);
        this.watch(every * SILENCE);
        this.events.onHello(hello);
    }

    private beatAfter(ms: number): void {
        this.beat = this.clock.after(ms, () => {
            this.send({ event: 'heartbeat' });
            this.beatAfter(ms);
        });
    }

    private watch(ms: number): void {
        const left = this.heardAt + ms - this.clock.now();
        this.silence = this.clock.after(Math.max(left, 0), () => {
            if (this.clock.now() - this.heardAt >= ms) {
                this.end(CLOSE_NORMAL, 'the server is silent');
            } else {
                this.watch(ms);
            }
        });
    }
}
