/*
 * Sockets and requests that go to a handler in the test instead of a network. A test sees what the
 * client sent, answers by hand or through the FakeServer, and cuts connections.
 */
import type {
    Http,
    HttpAnswer,
    HttpRequest,
    HttpStream,
    Socket,
    SocketEvents,
    SocketOpener,
} from '../platform/platform.js';

export class FakeSocket implements Socket {
    /* Frames that the client sent and nobody took yet. */
    readonly sent: string[] = [];
    closed = false;

    constructor(
        readonly path: string,
        private readonly events: SocketEvents,
    ) {}

    send(frame: string): void {
        if (!this.closed) {
            this.sent.push(frame);
        }
    }

    close(): void {
        this.closed = true;
    }

    /* ---- The test's side ---- */

    accept(): void {
        this.events.onOpen();
    }

    deliver(frame: unknown): void {
        if (!this.closed) {
            this.events.onMessage(typeof frame === 'string' ? frame : JSON.stringify(frame));
        }
    }

    cut(code = 1006): void {
        if (!this.closed) {
            this.closed = true;
            this.events.onClose(code);
        }
    }

    /* What was sent since the last call, decoded. */
    take(): Record<string, unknown>[] {
        return this.sent.splice(0).map((f) => JSON.parse(f) as Record<string, unknown>);
    }
}

export class FakeSockets implements SocketOpener {
    readonly all: FakeSocket[] = [];
    onOpen: (socket: FakeSocket) => void = () => undefined;

    open(path: string, events: SocketEvents): Socket {
        const socket = new FakeSocket(path, events);
        this.all.push(socket);
        this.onOpen(socket);
        return socket;
    }

    get last(): FakeSocket {
        const socket = this.all.at(-1);
        if (!socket) {
            throw new Error('no socket was opened');
        }
        return socket;
    }
}

/* An answer that the test writes as long as it likes. */
export class FakeStream implements HttpStream {
    readonly done: Promise<number>;
    aborted = false;
    private settle: (status: number) => void = () => undefined;
    private fail: (error: Error) => void = () => undefined;

    constructor(
        readonly request: HttpRequest,
        private readonly onText: (text: string) => void,
    ) {
        this.done = new Promise((resolve, reject) => {
            this.settle = resolve;
            this.fail = reject;
        });
    }

    abort(): void {
        this.aborted = true;
        this.fail(new Error('aborted'));
    }

    /* ---- The test's side ---- */

    write(text: string): void {
        this.onText(text);
    }

    event(id: number, frame: unknown): void {
        this.write(`id: ${id}\ndata: ${JSON.stringify(frame)}\n\n`);
    }

    end(status = 200): void {
        this.settle(status);
    }

    cut(): void {
        this.fail(new TypeError('network'));
    }
}

export class FakeHttp implements Http {
    readonly streams: FakeStream[] = [];
    readonly requests: HttpRequest[] = [];
    handler: (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer> = () => {
        throw new TypeError('network');
    };

    async send(request: HttpRequest): Promise<HttpAnswer> {
        this.requests.push(request);
        await Promise.resolve();
        return this.handler(request);
    }

    stream(request: HttpRequest, onText: (text: string) => void): HttpStream {
        const stream = new FakeStream(request, onText);
        this.streams.push(stream);
        return stream;
    }
}

export function answer(status: number, body: unknown = null, retryAfterMs = 0): HttpAnswer {
    return { status, body, retryAfterMs };
}

export function refusal(status: number, code: string): HttpAnswer {
    return answer(status, { error: { code, message: code } });
}
