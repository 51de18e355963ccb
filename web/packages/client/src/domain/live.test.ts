/* Presence, typing and drafts: between clients on a FakeServer, and frame by frame. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, World } from '../mocks/index.js';
import type { ClientFrame } from '../wire.js';
import { Presences } from './presence.js';
import { Typing } from './typing.js';

const MINUTE = 60_000;

function presences() {
    const clock = new FakeClock();
    const sent: ClientFrame[] = [];
    const link = { live: true };
    const changes = { count: 0 };
    const p = new Presences(clock, { send: (f) => sent.push(f), live: () => link.live, changed: () => changes.count++ });
    const taken = (): ClientFrame[] => sent.splice(0);
    return { clock, p, link, changes, taken };
}

function typing() {
    const clock = new FakeClock();
    const sent: ClientFrame[] = [];
    const link = { live: true };
    const changed: string[] = [];
    const t = new Typing(clock, {
        send: (f) => sent.push(f),
        live: () => link.live,
        me: () => 'me',
        changed: (c) => changed.push(c),
    });
    const says = (userId: string, active = true) =>
        t.onEvent({ event: 'typing', conversationId: 'c', userId, active, expiresInMs: 6000 });
    return { clock, t, says, link, changed, taken: (): ClientFrame[] => sent.splice(0) };
}

void test('presence: what is looked at is told once it has settled, and only what has changed', async () => {
    const { clock, p, taken } = presences();
    p.live();
    p.watch(['1', '2', '2']);
    p.view(['a', 'b']);
    assert.deepEqual(taken(), []);
    await clock.pass(300);
    assert.deepEqual(taken(), [
        { event: 'view', conversation_ids: ['a', 'b'] },
        { event: 'subscribe_presence', user_ids: ['1', '2'] },
    ]);
    p.watch(['2', '3']);
    p.view(['a', 'b']);
    await clock.pass(300);
    assert.deepEqual(taken(), [
        { event: 'unsubscribe_presence', user_ids: ['1'] },
        { event: 'subscribe_presence', user_ids: ['3'] },
    ]);
});

void test('presence: many are told in frames of 200, never more than 500, and 20 conversations', async () => {
    const { clock, p, taken } = presences();
    p.live();
    p.watch(Array.from({ length: 900 }, (_, i) => `u${i}`));
    p.view(Array.from({ length: 50 }, (_, i) => `c${i}`));
    await clock.pass(300);
    const sizes = taken().map((f) => (f.event === 'view' ? f.conversation_ids : 'user_ids' in f ? f.user_ids : []).length);
    assert.deepEqual(sizes, [20, 200, 200, 100]);
});

void test('presence: it is good as long as the connection, and asked again with the next one', async () => {
    const { clock, p, link, taken } = presences();
    p.live();
    p.watch(['1']);
    await clock.pass(300);
    p.onUpdate({ event: 'presence_update', userId: '1', status: 'online', lastSeen: undefined });
    p.onUpdate({ event: 'presence_update', userId: '9', status: 'online', lastSeen: undefined });
    assert.equal(p.get('1')?.status, 'online');
    assert.equal(p.get('9'), undefined, 'nobody asked for it');
    link.live = false;
    p.linkDown();
    assert.equal(p.get('1'), undefined);
    taken();
    link.live = true;
    p.live();
    assert.deepEqual(taken(), [{ event: 'subscribe_presence', user_ids: ['1'] }]);
});

void test('presence: with the connection also those are forgotten who are painted and not watched any more', async () => {
    const { clock, p, changes } = presences();
    p.live();
    p.watch(['1']);
    await clock.pass(300);
    p.onUpdate({ event: 'presence_update', userId: '1', status: 'online', lastSeen: undefined });
    p.watch([]); /* the list is behind the conversation, on a phone */
    await clock.pass(300);
    changes.count = 0;
    p.linkDown();
    assert.equal(changes.count, 1);
});

void test('presence: reading reports now and then, a page that nobody sees is away', async () => {
    const { clock, p, taken } = presences();
    p.live();
    p.view(['a']);
    await clock.pass(300);
    taken();
    p.active();
    assert.deepEqual(taken(), [], 'the connection has just said so');
    await clock.pass(MINUTE);
    p.active();
    p.active();
    assert.deepEqual(taken(), [{ event: 'presence', status: 'online' }]);
    p.visible(false);
    await clock.pass(10_000);
    assert.deepEqual(taken(), [], 'a glance elsewhere');
    await clock.pass(30_000);
    assert.deepEqual(taken(), [{ event: 'view', conversation_ids: [] }, { event: 'presence', status: 'away' }]);
    p.active();
    p.watch(['1']);
    await clock.pass(300);
    assert.deepEqual(taken(), [], 'nothing is done on a page that nobody sees');
    p.visible(true);
    await clock.pass(300);
    assert.deepEqual(taken(), [
        { event: 'presence', status: 'online' },
        { event: 'view', conversation_ids: ['a'] },
        { event: 'subscribe_presence', user_ids: ['1'] },
    ]);
});

void test('typing: it ends after its time, by a message, when cleared, and with the connection', async () => {
    const { clock, t, says, changed } = typing();
    says('1');
    says('2');
    says('me');
    assert.deepEqual(t.in('c'), ['1', '2']);
    await clock.pass(4000);
    says('1');
    await clock.pass(3000);
    assert.deepEqual(t.in('c'), ['1'], 'told again, it goes on; 2 has stopped');
    t.end('c', '1');
    assert.deepEqual(t.in('c'), []);
    says('3');
    says('3', false);
    says('4');
    t.linkDown();
    assert.deepEqual(t.in('c'), []);
    await clock.pass(MINUTE);
    assert.deepEqual(changed, ['c', 'c', 'c', 'c', 'c', 'c', 'c', 'c'], 'one repaint for each change');
});

void test('typing: told at the first key, then every four seconds, and taken back when cleared', async () => {
    const { clock, t, link, taken } = typing();
    const c = { conversation: 'c' };
    const begun = { event: 'typing', conversation_id: 'c' };
    t.typed(c, false);
    t.typed(c, false);
    await clock.pass(3999);
    t.typed(c, false);
    assert.deepEqual(taken(), [begun]);
    await clock.pass(1);
    t.typed(c, false);
    assert.deepEqual(taken(), [begun]);
    t.typed(c, true);
    t.typed(c, true);
    assert.deepEqual(taken(), [{ ...begun, active: false }]);
    t.typed(c, false);
    t.sent(c);
    t.typed(c, false);
    assert.deepEqual(taken(), [begun, begun], 'after a message it begins anew');
    t.typed({ user: '7' }, false);
    assert.deepEqual(taken(), [{ event: 'typing', to: '7' }]);
    link.live = false;
    t.typed({ user: '8' }, false);
    assert.deepEqual(taken(), []);
});

async function two(seed: number) {
    const world = new World(seed);
    for (const u of ['1', '2']) {
        world.server.addUser(u);
    }
    const conv = world.server.createGroup('1', ['2'], 'G');
    const [a, b] = [world.device('1'), world.device('2')];
    await a.signIn();
    await b.signIn();
    await world.rest();
    return { world, conv, a: a.client, b: b.client };
}

void test('live: two people see each other come, type and go', async () => {
    const { world, conv, a, b } = await two(11);
    b.presence.watch(['1']);
    b.presence.view([conv]);
    await world.rest();
    assert.equal(b.presence.get('1')?.status, 'online');
    assert.deepEqual(world.server.viewed('2'), [conv]);
    a.typing.typed({ conversation: conv }, false);
    for (let i = 0; i < 20; i++) {
        world.server.step();
    }
    assert.deepEqual(b.typing.in(conv), ['1']);
    a.send({ conversation: conv }, 'here');
    await world.rest();
    assert.deepEqual(b.typing.in(conv), []);
    world.server.cut('1');
    await a.stop();
    await world.rest();
    assert.equal(b.presence.get('1')?.status, 'offline');
    await b.stop();
});

void test('drafts: what one device has begun, another goes on with; sending ends it', async () => {
    const { world, conv, a } = await two(12);
    const other = world.device('1');
    await other.signIn();
    await world.rest();
    a.drafts.set(conv, 'Dear');
    a.drafts.set(conv, 'Dear all');
    assert.equal(a.drafts.get(conv), 'Dear all');
    assert.ok(a.drafts.pending(conv));
    await world.rest(() => !a.drafts.pending(conv));
    assert.equal(other.client.drafts.get(conv), 'Dear all');
    assert.equal(world.server.selfLogs.get('1')?.events.filter((e) => e.body['action'] === 'draft').length, 1, 'once, when it rests');
    other.client.drafts.set(conv, 'Dear all of you');
    other.client.drafts.flush(conv);
    await world.rest();
    assert.equal(a.drafts.get(conv), 'Dear all of you');
    const third = world.device('1');
    await third.signIn();
    await world.rest();
    assert.equal(third.client.drafts.get(conv), 'Dear all of you', 'pages have it');
    a.send({ conversation: conv }, 'Dear all of you');
    a.drafts.set(conv, '');
    await world.rest();
    for (const c of [a, other.client, third.client]) {
        assert.equal(c.drafts.get(conv), '');
        await c.stop();
    }
});

void test('drafts: written without a connection, told with the next one; here wins over elsewhere', async () => {
    const { world, conv, a } = await two(13);
    const other = world.device('1');
    await other.signIn();
    await world.rest();
    world.server.down = true;
    world.server.cut('1');
    world.server.cut('1');
    await world.clock.pass(100);
    a.drafts.set(conv, 'offline');
    await world.clock.pass(5000);
    assert.ok(a.drafts.pending(conv));
    world.server.down = false;
    await world.rest(() => !a.drafts.pending(conv) && a.link === 'live' && other.client.link === 'live');
    assert.equal(other.client.drafts.get(conv), 'offline');
    other.client.drafts.set(conv, 'from the other one');
    a.drafts.set(conv, 'still writing here');
    other.client.drafts.flush(conv);
    await world.rest(() => !a.drafts.pending(conv));
    assert.equal(a.drafts.get(conv), 'still writing here');
    assert.equal(other.client.drafts.get(conv), 'still writing here');
    await a.stop();
    await other.client.stop();
});
