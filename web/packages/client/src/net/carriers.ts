/*
 * Sockets where there are none: a WebSocket first, and where two in a row do not open, the same
 * frames over a stream of Server-Sent Events, or over polls when nothing of the stream arrives. To
 * the Session each of them is a Socket; every change of the way is a new one, and its resume.
 *
 *              two did not open                nothing of the stream in time
 *     socket ───────────────────► stream ──────────────────────────► polls
 *       ▲                           │                                  │
 *       └── AGAIN_MS are over, or the session cannot even be opened ────┘
 *
 * From stream to polls the server's session stays, with everything behind the last event taken.
 */
import type {
    Clock,
    Http,
    HttpAnswer,
    HttpStream,
    Random,
    Socket,
    SocketEvents,
    SocketOpener,
    Timer,
} from '../platform/platform.js';

export type Carrier = 'ws' | 'sse' | 'poll';

const EVENTS = '/api/v1/events';
const CLOSE_ABNORMAL = 1006;
const CLOSE_TOKEN = 4401;
const POLL_S = 25;
const STREAM_MS = 10_000;
/* Without a word on a stream: the server says one at least every so often. */
const SILENT_MS = 90_000;
const FAILURES = 6;
const RETRY_MS = 300;
const POST_EVENTS = 200;
const AGAIN_MS = 600_000;

interface Frame {
    event?: unknown;
    token?: unknown;
}

function fields(body: unknown): Record<string, unknown> {
    return typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
}

/* What the next connection is made of. */
export class Carriers implements SocketOpener {
    carrier: Carrier = 'ws';
    private failures = 0;
    private streamsFail = false;
    private socketAgain = Infinity;

    constructor(
        private readonly clock: Clock,
        private readonly random: Random,
        private readonly http: Http,
        private readonly sockets: SocketOpener,
        /* 'auto', or one and no other. */
        private readonly wish: Carrier | 'auto' = 'auto',
    ) {
        if (wish !== 'auto') {
            this.carrier = wish;
        }
    }

    open(path: string, events: SocketEvents): Socket {
        if (this.wish === 'auto') {
            this.choose();
        }
        return this.carrier === 'ws'
            ? this.openSocket(path, events)
            : new CarriedSocket(this.clock, this.random, this.http, this.carrier, this.owner(), events);
    }

    private choose(): void {
        const fallback = this.streamsFail || !this.http.stream ? 'poll' : 'sse';
        if (this.carrier !== 'ws' && this.clock.now() >= this.socketAgain) {
            this.back();
        } else if (this.carrier === 'ws' && this.failures >= 2) {
            this.carrier = fallback;
        }
    }

    /* To sockets; one more failure, and it is on the other way again. */
    private back(): void {
        this.carrier = 'ws';
        this.failures = 1;
        this.socketAgain = Infinity;
    }

    private openSocket(path: string, events: SocketEvents): Socket {
        let opened = false;
        return this.sockets.open(path, {
            onOpen: () => {
                opened = true;
                this.failures = 0;
                events.onOpen();
            },
            onMessage: (frame) => events.onMessage(frame),
            onClose: (code) => {
                if (!opened) {
                    this.failures++;
                }
                events.onClose(code);
            },
        });
    }

    private owner(): Owner {
        const auto = this.wish === 'auto';
        return {
            opened: () => {
                if (auto && this.socketAgain === Infinity) {
                    this.socketAgain = this.clock.now() + AGAIN_MS;
                }
                return auto ? this.socketAgain : Infinity;
            },
            notOpened: () => {
                if (auto) {
                    this.back();
                }
            },
            silentStream: () => {
                if (auto) {
                    this.streamsFail = true;
                    this.carrier = 'poll';
                }
                return auto;
            },
        };
    }
}

interface Owner {
    /* The server has a session for it: when to give it up for a socket. */
    opened(): number;
    notOpened(): void;
    /* Nothing of a stream came. May it poll? */
    silentStream(): boolean;
}

/* A Socket made of requests. */
class CarriedSocket implements Socket {
    private ended = false;
    private token = '';
    private session = '';
    private last = 0;
    private waiting: unknown[] = [];
    private posting = false;
    private postFailures = 0;
    private fetchFailures = 0;
    private stream: HttpStream | undefined;
    private streamNumber = 0;
    private readonly timers = new Set<Timer>();
    private silence: Timer | undefined;
    private mode: 'sse' | 'poll';

    constructor(
        private readonly clock: Clock,
        private readonly random: Random,
        private readonly http: Http,
        mode: 'sse' | 'poll',
        private readonly owner: Owner,
        private readonly events: SocketEvents,
    ) {
        this.mode = mode;
        /* As a socket does: not before open() has returned. */
        this.later(0, () => this.events.onOpen());
    }

    /* The first frame signs in, as on a socket: it opens the session. */
    send(text: string): void {
        if (this.ended) {
            return;
        }
        const frame = JSON.parse(text) as Frame;
        if (frame.event === 'auth' && typeof frame.token === 'string') {
            const first = this.token === '';
            this.token = frame.token;
            if (first) {
                void this.begin();
                return;
            }
        }
        this.waiting.push(frame);
        void this.post();
    }

    close(): void {
        if (!this.ended) {
            this.finish();
        }
    }

    private later(ms: number, fn: () => void): Timer {
        const timer = this.clock.after(ms, () => {
            this.timers.delete(timer);
            if (!this.ended) {
                fn();
            }
        });
        this.timers.add(timer);
        return timer;
    }

    private finish(): void {
        this.ended = true;
        for (const timer of this.timers) {
            timer.cancel();
        }
        this.timers.clear();
        this.silence?.cancel();
        this.stream?.abort();
        if (this.session !== '') {
            /* It would end by itself, later. */
            this.request('DELETE', `${EVENTS}/${this.session}`).catch(() => undefined);
        }
    }

    private fail(code: number): void {
        if (!this.ended) {
            this.finish();
            this.events.onClose(code);
        }
    }

    private headers(): Record<string, string> {
        return { authorization: `Bearer ${this.token}` };
    }

    private request(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<HttpAnswer> {
        return this.http.send({
            method,
            path,
            headers: this.headers(),
            ...(body === undefined ? {} : { body }),
        });
    }

    private async begin(): Promise<void> {
        let answer: HttpAnswer | undefined;
        try {
            answer = await this.request('POST', EVENTS, { mode: this.mode });
        } catch {
            /* No answer at all. */
        }
        if (this.ended) {
            return;
        }
        const hello = fields(answer?.body);
        const id = hello['session_id'];
        if (answer?.status === 401) {
            this.fail(CLOSE_TOKEN);
        } else if (answer?.status !== 201 || typeof id !== 'string') {
            this.owner.notOpened();
            this.fail(CLOSE_ABNORMAL);
        } else {
            this.session = encodeURIComponent(id);
            const until = this.owner.opened() - this.clock.now();
            if (until < Infinity) {
                this.later(Math.max(until, 0), () => this.fail(CLOSE_ABNORMAL));
            }
            this.ask();
            this.events.onMessage(JSON.stringify(hello));
            void this.post();
        }
    }

    /* One at a time: they keep their order. */
    private async post(): Promise<void> {
        if (this.posting || this.ended || this.session === '' || this.waiting.length === 0) {
            return;
        }
        this.posting = true;
        const batch = this.waiting.slice(0, POST_EVENTS);
        let status = 0;
        let wait = 0;
        try {
            const answer = await this.request('POST', `${EVENTS}/${this.session}`, batch);
            status = answer.status;
            wait = answer.retryAfterMs;
        } catch {
            /* Taken or not: nobody knows. */
        }
        this.posting = false;
        if (status >= 200 && status < 300) {
            this.waiting.splice(0, batch.length);
            this.postFailures = 0;
            void this.post();
        } else if ((status === 429 || status === 503) && ++this.postFailures < FAILURES) {
            this.later(Math.max(wait, this.pause(this.postFailures)), () => void this.post());
        } else {
            this.fail(status === 401 ? CLOSE_TOKEN : CLOSE_ABNORMAL);
        }
    }

    private pause(failures: number): number {
        return Math.floor(this.random.fraction() * RETRY_MS * 2 ** failures);
    }

    private ask(): void {
        if (this.ended) {
            return;
        }
        if (this.mode === 'sse' && this.http.stream) {
            this.openStream(this.http.stream.bind(this.http));
        } else {
            void this.poll();
        }
    }

    private fetchFailed(status: number, retryAfterMs: number): void {
        const passing = status === 0 || status === 200 || status === 429 || status >= 500;
        if (this.ended) {
            return;
        }
        if (passing && ++this.fetchFailures < FAILURES) {
            const wait = Math.max(retryAfterMs, this.pause(this.fetchFailures));
            this.later(wait, () => this.ask());
        } else {
            this.fail(status === 401 ? CLOSE_TOKEN : CLOSE_ABNORMAL);
        }
    }

    /* ---- Polls ---- */

    private async poll(): Promise<void> {
        const path = `${EVENTS}/${this.session}?after=${this.last}&wait=${POLL_S}`;
        let answer: HttpAnswer;
        try {
            answer = await this.request('GET', path);
        } catch {
            this.fetchFailed(0, 0);
            return;
        }
        const { events, last } = fields(answer.body);
        if (this.ended) {
            return;
        }
        if (answer.status !== 200 || !Array.isArray(events) || typeof last !== 'number') {
            this.fetchFailed(answer.status, answer.retryAfterMs);
            return;
        }
        this.fetchFailures = 0;
        this.last = last;
        for (const one of events as unknown[]) {
            this.take(JSON.stringify(one));
        }
        this.ask();
    }

    /* ---- Streams ---- */

    private openStream(open: NonNullable<Http['stream']>): void {
        const number = ++this.streamNumber;
        let rest = '';
        let heard = false;
        const mine = () => !this.ended && number === this.streamNumber;
        const first = this.later(STREAM_MS, () => {
            if (mine() && !heard) {
                this.streamNumber++;
                this.stream?.abort();
                if (this.owner.silentStream()) {
                    this.mode = 'poll';
                    this.ask();
                } else {
                    this.fail(CLOSE_ABNORMAL);
                }
            }
        });
        const request = {
            method: 'GET' as const,
            path: `${EVENTS}/${this.session}?after=${this.last}`,
            headers: { ...this.headers(), accept: 'text/event-stream' },
        };
        this.stream = open(request, (text) => {
            if (!mine()) {
                return;
            }
            heard = true;
            first.cancel();
            this.fetchFailures = 0;
            this.watch();
            rest = this.read(rest + text);
        });
        const ended = (status: number) => {
            first.cancel();
            if (!mine()) {
                return;
            }
            this.silence?.cancel();
            if (status === 200 && heard) {
                this.ask(); /* by a proxy's clock, or the server's */
            } else {
                this.fetchFailed(status, 0);
            }
        };
        this.stream.done.then(ended, () => ended(0));
    }

    private watch(): void {
        this.silence?.cancel();
        this.silence = this.clock.after(SILENT_MS, () => this.fail(CLOSE_ABNORMAL));
    }

    /* Takes the whole events off; returns what is left. */
    private read(text: string): string {
        const blocks = text.replaceAll('\r\n', '\n').split('\n\n');
        const rest = blocks.pop() ?? '';
        for (const block of blocks) {
            let id: number | undefined;
            const data: string[] = [];
            for (const line of block.split('\n')) {
                if (line.startsWith('id:')) {
                    id = Number(line.slice(3).trim());
                } else if (line.startsWith('data:')) {
                    data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
                }
            }
            if (data.length > 0 && !this.ended) {
                this.takeNumbered(id, data.join('\n'));
            }
        }
        return rest;
    }

    private takeNumbered(id: number | undefined, text: string): void {
        if (id !== undefined && id <= this.last) {
            return;
        }
        if (id !== undefined && id !== this.last + 1) {
            this.fail(CLOSE_ABNORMAL);
            return;
        }
        this.last = id ?? this.last;
        this.take(text);
    }

    private take(text: string): void {
        if (this.ended) {
            return;
        }
        if (text.includes('"closed"')) {
            const frame = fields(JSON.parse(text));
            if (frame['event'] === 'closed') {
                const code = frame['close_code'];
                this.fail(typeof code === 'number' ? code : CLOSE_ABNORMAL);
                return;
            }
        }
        this.events.onMessage(text);
    }
}
