import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answer, FakeClock, FakeHttp, FakeSockets, SeededRandom, settle } from '../mocks/index.js';
import type { FakeStream } from '../mocks/index.js';
import type { HttpAnswer, HttpRequest, Socket } from '../platform/platform.js';
import { type Carrier, Carriers } from './carriers.js';

const hello = { event: 'hello', protocol: 1, session_id: '00ab', user_id: '7' };
const caughtUp = { event: 'caught_up', since: 't' };

/* The server's side by hand: opens sessions, holds polls, takes posts. */
class Rig {
    readonly clock = new FakeClock();
    readonly sockets = new FakeSockets();
    readonly http = new FakeHttp();
    readonly carriers: Carriers;
    readonly posts: unknown[] = [];
    readonly polls: { request: HttpRequest; reply: (a: HttpAnswer) => void }[] = [];
    frames: unknown[] = [];
    closed: number[] = [];
    openStatus = 201;
    postStatus = 202;
    ended = 0;

    constructor(wish: Carrier | 'auto' = 'auto') {
        this.carriers = new Carriers(
            this.clock, new SeededRandom(3), this.http, this.sockets, wish,
        );
        this.http.handler = (request) => this.handle(request);
    }

    private handle(request: HttpRequest): HttpAnswer | Promise<HttpAnswer> {
        if (request.method === 'DELETE') {
            this.ended++;
            return answer(204);
        }
        if (request.method === 'GET') {
            return new Promise((reply) => this.polls.push({ request, reply }));
        }
        if (request.path === '/api/v1/events') {
            return answer(this.openStatus, this.openStatus === 201 ? hello : null);
        }
        if (this.postStatus === 0) {
            throw new TypeError('network');
        }
        this.posts.push(...(request.body as unknown[]));
        return answer(this.postStatus, {});
    }

    open(): Socket {
        const socket = this.carriers.open('/ws', {
            onOpen: () => socket.send(JSON.stringify({ event: 'auth', token: 'T' })),
            onMessage: (text) => this.frames.push(JSON.parse(text)),
            onClose: (code) => this.closed.push(code),
        });
        return socket;
    }

    get stream(): FakeStream {
        const stream = this.http.streams.at(-1);
        assert.ok(stream, 'no stream was opened');
        return stream;
    }

    /* Two sockets that do not open. */
    refuse(): void {
        for (let i = 0; i < 2; i++) {
            this.open();
            this.sockets.last.cut();
        }
        this.closed = [];
    }

    async carried(): Promise<Socket> {
        const socket = this.open();
        await this.clock.pass(1);
        return socket;
    }
}

void test('carriers: a socket while that works, also when it breaks', () => {
    const rig = new Rig();
    for (let i = 0; i < 5; i++) {
        rig.open();
        rig.sockets.last.accept();
        rig.sockets.last.cut();
    }
    assert.deepEqual(rig.closed, [1006, 1006, 1006, 1006, 1006]);
    assert.equal(rig.sockets.all.length, 5);
    assert.equal(rig.http.requests.length, 0);
});

void test('carriers: two sockets that do not open lead to a stream', async () => {
    const rig = new Rig();
    rig.refuse();
    const socket = await rig.carried();
    assert.equal(rig.sockets.all.length, 2);
    assert.deepEqual(rig.http.requests[0]?.body, { mode: 'sse' });
    assert.equal(rig.http.requests[0]?.headers['authorization'], 'Bearer T');
    assert.deepEqual(rig.frames, [hello]);
    assert.equal(rig.stream.request.path, '/api/v1/events/00ab?after=0');
    assert.equal(rig.stream.request.headers['accept'], 'text/event-stream');
    socket.send('{"event":"resume"}');
    socket.send('{"event":"heartbeat"}');
    await settle();
    assert.deepEqual(rig.posts, [{ event: 'resume' }, { event: 'heartbeat' }]);
    /* In any pieces. */
    const text = `:\n\nid: 1\r\ndata: ${JSON.stringify(caughtUp)}\r\n\r\nid: 2\ndata: {"event":"x"}\n\n`;
    for (const piece of text.match(/[^]{1,7}/g) ?? []) {
        rig.stream.write(piece);
    }
    assert.deepEqual(rig.frames.slice(1), [caughtUp, { event: 'x' }]);
    /* The stream breaks: again behind the last, and nothing twice. */
    rig.stream.cut();
    await rig.clock.pass(5000);
    assert.equal(rig.http.streams.length, 2);
    assert.equal(rig.stream.request.path, '/api/v1/events/00ab?after=2');
    rig.stream.event(2, { event: 'x' });
    rig.stream.event(3, { event: 'y' });
    assert.deepEqual(rig.frames.slice(3), [{ event: 'y' }]);
    assert.deepEqual(rig.closed, []);
    socket.close(1000);
    await settle();
    assert.equal(rig.ended, 1);
    assert.equal(rig.stream.aborted, true);
});

void test('carriers: a silent stream leads to polls of the same session', async () => {
    const rig = new Rig();
    rig.refuse();
    await rig.carried();
    await rig.clock.pass(9000);
    assert.equal(rig.polls.length, 0);
    await rig.clock.pass(1000);
    assert.equal(rig.stream.aborted, true);
    assert.equal(rig.polls[0]?.request.path, '/api/v1/events/00ab?after=0&wait=25');
    rig.stream.event(1, caughtUp);
    rig.polls[0]?.reply(answer(200, { events: [caughtUp], last: 1 }));
    await settle();
    assert.deepEqual(rig.frames, [hello, caughtUp]);
    assert.equal(rig.polls[1]?.request.path, '/api/v1/events/00ab?after=1&wait=25');
    /* The next connection polls at once. */
    rig.polls[1]?.reply(answer(404));
    await settle();
    assert.deepEqual(rig.closed, [1006]);
    await rig.carried();
    assert.equal(rig.http.streams.length, 1);
    assert.equal(rig.polls.length, 3);
});

void test('carriers: where requests fare no better it goes back to sockets', async () => {
    const rig = new Rig();
    rig.refuse();
    rig.openStatus = 502;
    await rig.carried();
    assert.deepEqual(rig.closed, [1006]);
    rig.open();
    assert.equal(rig.sockets.all.length, 3);
    rig.sockets.last.cut();
    rig.openStatus = 201;
    await rig.carried();
    assert.equal(rig.http.streams.length, 1);
});

void test('carriers: tries a socket again after ten minutes', async () => {
    const rig = new Rig();
    rig.refuse();
    await rig.carried();
    for (let i = 0; i < 10; i++) {
        rig.stream.write(':\n\n');
        await rig.clock.pass(59_000);
    }
    assert.deepEqual(rig.closed, []);
    rig.stream.write(':\n\n');
    await rig.clock.pass(10_001);
    assert.deepEqual(rig.closed, [1006]);
    rig.open();
    assert.equal(rig.sockets.all.length, 3);
    rig.sockets.last.accept();
    assert.equal(rig.carriers.carrier, 'ws');
});

void test('carriers: tells what the server closes with, and refused tokens', async () => {
    const rig = new Rig('sse');
    await rig.carried();
    rig.stream.write('data: {"event":"closed","close_code":4401,"reason":"signed out"}\n\n');
    assert.deepEqual(rig.closed, [4401]);
    rig.openStatus = 401;
    await rig.carried();
    assert.deepEqual(rig.closed, [4401, 4401]);
});

void test('carriers: a stream with a gap, or without a word, ends', async () => {
    const rig = new Rig('sse');
    await rig.carried();
    rig.stream.event(2, { event: 'x' });
    assert.deepEqual(rig.closed, [1006]);
    await rig.carried();
    rig.stream.write(':\n\n');
    await rig.clock.pass(89_000);
    assert.deepEqual(rig.closed, [1006]);
    await rig.clock.pass(1000);
    assert.deepEqual(rig.closed, [1006, 1006]);
});

void test('carriers: posts keep their order, wait when busy, and end it when lost', async () => {
    const rig = new Rig('poll');
    const socket = await rig.carried();
    rig.postStatus = 503;
    socket.send('{"event":"send_message","client_msg_id":"a"}');
    await settle();
    socket.send('{"event":"send_message","client_msg_id":"b"}');
    await settle();
    rig.posts.length = 0;
    rig.postStatus = 202;
    await rig.clock.pass(5000);
    assert.deepEqual(
        rig.posts.map((p) => (p as { client_msg_id: string }).client_msg_id),
        ['a', 'b'],
    );
    rig.postStatus = 0;
    socket.send('{"event":"heartbeat"}');
    await settle();
    assert.deepEqual(rig.closed, [1006]);
});

void test('carriers: a new token is used from then on, and told', async () => {
    const rig = new Rig('poll');
    const socket = await rig.carried();
    socket.send('{"event":"auth","token":"U"}');
    await settle();
    assert.deepEqual(rig.posts, [{ event: 'auth', token: 'U' }]);
    assert.equal(rig.http.requests.at(-1)?.headers['authorization'], 'Bearer U');
});

/* Ways come and go while the server tells numbers: each is shown once and in order. */
void test('carriers: nothing is lost or doubled, whatever breaks', async () => {
    for (let seed = 1; seed <= 20; seed++) {
        const rig = new Rig(seed % 2 === 0 ? 'sse' : 'poll');
        const random = new SeededRandom(seed);
        const below = (n: number) => Math.floor(random.fraction() * n);
        const log: unknown[] = [];
        await rig.carried();
        const shown = () => rig.frames.filter((f) => (f as { event: string }).event === 'n');
        const serve = () => {
            const poll = rig.polls.at(-1);
            const stream = rig.http.streams.at(-1);
            const request = poll?.request ?? stream?.request;
            const after = Number(/after=(\d+)/.exec(request?.path ?? '')?.[1]);
            const rest = log.slice(after, after + 1 + below(4));
            if (poll) {
                rig.polls.pop();
                poll.reply(below(4) === 0 ? answer(502) : answer(200, { events: rest, last: after + rest.length }));
            } else if (stream) {
                rest.forEach((f, i) => stream.event(after + 1 + i, f));
                if (below(3) === 0) {
                    stream.cut();
                } else {
                    stream.end();
                }
            }
        };
        for (let i = 0; i < 200; i++) {
            if (below(2) === 0) {
                log.push({ event: 'n', number: log.length });
            }
            serve();
            await rig.clock.pass(below(3000));
        }
        for (let i = 0; i < 1000 && shown().length < log.length && rig.closed.length === 0; i++) {
            serve();
            await rig.clock.pass(3000);
        }
        assert.deepEqual(shown(), rig.closed.length === 0 ? log : log.slice(0, shown().length), `seed ${seed}`);
    }
});
