/*
 * What the client needs from the world around it. A browser, Node and the tests' mocks each bring
 * their own; nothing else in this package reaches for time, sockets, requests or randomness.
 */

export interface Timer {
    cancel(): void;
}

export interface Clock {
    /* Milliseconds since 1970. */
    now(): number;
    after(ms: number, fn: () => void): Timer;
}

export interface SocketEvents {
    onOpen(): void;
    onMessage(frame: string): void;
    /* Once, last. 1006 when the connection broke or never came to be. */
    onClose(code: number): void;
}

export interface Socket {
    send(frame: string): void;
    /* No event follows. */
    close(code: number): void;
}

export interface SocketOpener {
    open(path: string, events: SocketEvents): Socket;
}

export interface HttpRequest {
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
    path: string;
    headers: Record<string, string>;
    body?: unknown;
}

export interface HttpAnswer {
    status: number;
    /* From Retry-After; 0 when there is none. */
    retryAfterMs: number;
    /* The decoded JSON body, null when there is none. */
    body: unknown;
}

export interface HttpStream {
    /* The status, when the answer has ended; rejects when it broke or never came. */
    done: Promise<number>;
    abort(): void;
}

export interface Http {
    /* Rejects only when there was no answer. */
    send(request: HttpRequest): Promise<HttpAnswer>;
    /* An answer that is read while it comes, if the platform can: the text of one with status 200. */
    stream?(request: HttpRequest, onText: (text: string) => void): HttpStream;
}

export interface Random {
    /* In [0, 1). */
    fraction(): number;
    /* 32 hex digits. */
    id(): string;
}

/*
 * Locks between the tabs of a browser. `hold` asks for a lock and calls back when it is held, which
 * may be never; the returned function gives it up. `free` tells which of the names nobody holds.
 */
export interface Locks {
    hold(name: string, onHeld: () => void): () => void;
    free(names: string[]): Promise<string[]>;
}

/* Between the tabs of a browser: what one says all others hear that have the channel open. */
export interface Channels {
    open(name: string, onWord: (word: unknown) => void): Channel;
}

export interface Channel {
    say(word: unknown): void;
    close(): void;
}

export interface Platform {
    clock: Clock;
    sockets: SocketOpener;
    http: Http;
    random: Random;
    locks: Locks;
    channels: Channels;
}

/* For one process that has its data to itself: Node, and browsers without locks. */
export const noLocks: Locks = {
    hold(_name, onHeld) {
        onHeld();
        return () => undefined;
    },
    free: (names) => Promise.resolve(names),
};

export const noChannels: Channels = {
    open: () => ({ say: () => undefined, close: () => undefined }),
};
