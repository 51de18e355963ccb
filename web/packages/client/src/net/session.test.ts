import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, FakeSockets } from '../mocks/index.js';
import type { ServerFrame } from '../wire.js';
import { Session } from './session.js';

const hello = {
    event: 'hello',
    protocol: 1,
    server_time: '2026-01-01T00:00:00.000Z',
    session_id: 's',
    user_id: '7',
    device_id: '8',
    limits: { text_bytes: 16384, frame_bytes: 65536, inflight: 64 },
    heartbeat_ms: 30000,
};

function rig() {
    const clock = new FakeClock();
    const sockets = new FakeSockets();
    const frames: ServerFrame[] = [];
    const ends: [number, string][] = [];
    const session = new Session(clock, {
        onHello: () => undefined,
        onFrame: (f) => frames.push(f),
        onEnd: (code, why) => ends.push([code, why]),
    });
    session.open(sockets, '/ws', 'token');
    return { clock, socket: sockets.last, session, frames, ends };
}

void test('session: signs in by the first frame, then beats', async () => {
    const { clock, socket } = rig();
    assert.deepEqual(socket.take(), []);
    socket.accept();
    assert.deepEqual(socket.take(), [{ event: 'auth', token: 'token' }]);
    socket.deliver(hello);
    await clock.pass(30_000);
    assert.deepEqual(socket.take(), [{ event: 'heartbeat' }]);
    socket.deliver({ event: 'heartbeat' });
    await clock.pass(30_000);
    assert.deepEqual(socket.take(), [{ event: 'heartbeat' }]);
});

void test('session: takes several events in one frame, up to the one that ends it', () => {
    const { socket, session, frames, ends } = rig();
    socket.accept();
    socket.deliver(hello);
    session.send({ event: 'resume' });
    assert.deepEqual(socket.take()[1], { event: 'resume', batch: true });
    socket.deliver([{ event: 'heartbeat' }, { event: 'resync' }, { event: 'heartbeat' }]);
    assert.deepEqual(
        frames.map((f) => f.event),
        ['heartbeat', 'resync', 'heartbeat'],
    );
    socket.deliver([{ event: 'heartbeat' }, hello, { event: 'heartbeat' }]);
    assert.equal(frames.length, 4);
    assert.deepEqual(ends, [[1002, 'the server speaks another version']]);
});

void test('session: ends when the server is silent, and only then', async () => {
    const { clock, socket, ends } = rig();
    socket.accept();
    socket.deliver(hello);
    for (let i = 0; i < 10; i++) {
        await clock.pass(30_000);
        socket.deliver({ event: 'heartbeat' });
    }
    assert.deepEqual(ends, []);
    await clock.pass(75_001);
    assert.deepEqual(ends, [[1000, 'the server is silent']]);
    assert.equal(socket.closed, true);
});

void test('session: ends without a hello in time', async () => {
    const { clock, socket, ends } = rig();
    socket.accept();
    await clock.pass(15_000);
    assert.equal(ends.length, 1);
});

void test('session: a probe that is not answered ends it, one that is does not', async () => {
    const { clock, socket, session, ends } = rig();
    socket.accept();
    socket.deliver(hello);
    await clock.pass(1000);
    session.probe(5000);
    socket.deliver({ event: 'heartbeat' });
    await clock.pass(5000);
    assert.deepEqual(ends, []);
    await clock.pass(1000);
    session.probe(5000);
    await clock.pass(5000);
    assert.equal(ends.length, 1);
});

void test('session: what is not a frame ends it; unknown events are passed over', () => {
    for (const bad of ['nonsense', '[]', '{"event":"new_message","seq":1}', '{"event":"caught_up"}']) {
        const { socket, ends } = rig();
        socket.accept();
        socket.deliver(hello);
        socket.deliver({ event: 'something_new', detail: 1 });
        assert.deepEqual(ends, []);
        socket.deliver(bad);
        assert.equal(ends[0]?.[0], 1002, bad);
    }
});

void test('session: tells the close code, once, and nothing after close()', () => {
    const first = rig();
    first.socket.accept();
    first.socket.cut(4401);
    assert.deepEqual(first.ends, [[4401, 'closed']]);
    const second = rig();
    second.socket.accept();
    second.session.close();
    second.socket.deliver({ event: 'heartbeat' });
    assert.deepEqual([second.ends, second.frames], [[], []]);
});
