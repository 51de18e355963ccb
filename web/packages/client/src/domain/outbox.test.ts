import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, SeededRandom, settle } from '../mocks/index.js';
import type { OutboxEntry } from '../store/store.js';
import type { SendFrame, SentAck } from '../wire.js';
import { Outbox, OutboxFull } from './outbox.js';

function rig() {
    const clock = new FakeClock();
    const sent: SendFrame[] = [];
    const stored = new Map<string, OutboxEntry>();
    const directs = new Map<string, string>();
    const state = { up: true, works: true };
    const outbox = new Outbox(clock, new SeededRandom(1), 'tab', {
        send: (f) => state.up && sent.push(f) > 0,
        save: async (e) => {
            await Promise.resolve();
            if (!state.works) {
                throw new Error('quota');
            }
            stored.set(e.clientMsgId, e);
        },
        remove: (id) => void stored.delete(id),
        directWith: (u) => directs.get(u),
        changed: () => undefined,
    });
    const add = (conversation: string, content: string): OutboxEntry =>
        outbox.add({ target: { conversation }, content, mentions: [] });
    return { clock, sent, stored, directs, state, outbox, add };
}

function ack(f: SendFrame, seq = 1): SentAck {
    return {
        event: 'ack',
        clientMsgId: f.client_msg_id,
        messageId: '9',
        conversationId: 'c',
        seq,
        sentAt: 0,
        duplicate: false,
    };
}

const texts = (sent: SendFrame[]): string[] => sent.map((f) => f.content);

void test('outbox: is stored before it is sent, and sent fresh only the first time', async () => {
    const { sent, stored, outbox, add } = rig();
    add('c', 'one');
    assert.deepEqual([sent.length, stored.size], [0, 0]);
    await settle();
    assert.deepEqual([sent.length, stored.size], [1, 1]);
    assert.equal(sent[0]?.fresh, true);
    outbox.linkDown();
    outbox.pump();
    assert.equal(sent[1]?.client_msg_id, sent[0]?.client_msg_id);
    assert.equal(sent[1]?.fresh, undefined);
});

void test('outbox: one conversation keeps its order, others do not wait for it', async () => {
    const { sent, outbox, add } = rig();
    add('c', '1');
    add('c', '2');
    add('d', '3');
    await settle();
    assert.deepEqual(texts(sent), ['1', '3']);
    const [first] = sent;
    assert.ok(first);
    outbox.acked(ack(first));
    outbox.pump();
    assert.deepEqual(texts(sent), ['1', '3', '2']);
});

void test('outbox: busy is tried again with waits, in order, and gives up after a bound', async () => {
    const { clock, sent, outbox, add } = rig();
    const entry = add('c', '1');
    add('c', '2');
    await settle();
    for (let i = 0; i < 20 && outbox.entries()[0]?.state !== 'failed'; i++) {
        const last = sent.at(-1);
        assert.equal(last?.content, '1', 'the second never overtakes');
        outbox.refused({ event: 'error', code: 'busy', message: 'busy', clientMsgId: entry.clientMsgId });
        await clock.pass(60_000);
    }
    assert.equal(outbox.entries()[0]?.entry.failed?.code, 'busy');
    assert.ok(sent.filter((f) => f.content === '1').length >= 8);
    assert.equal(sent.at(-1)?.content, '2', 'one that has failed holds up nobody');
    outbox.retry(entry.clientMsgId);
    assert.equal(outbox.entries()[0]?.state, 'sending');
});

void test('outbox: a refusal for good fails at once; it can be dropped, one under way cannot', async () => {
    const { stored, outbox, add } = rig();
    const entry = add('c', '1');
    const other = add('d', '2');
    await settle();
    assert.equal(outbox.drop(other.clientMsgId), false);
    outbox.refused({ event: 'error', code: 'blocked', message: 'no', clientMsgId: entry.clientMsgId });
    await settle();
    assert.equal(stored.get(entry.clientMsgId)?.failed?.code, 'blocked');
    assert.equal(outbox.drop(entry.clientMsgId), true);
    assert.equal(stored.has(entry.clientMsgId), false);
    assert.equal(outbox.refused({ event: 'error', code: 'blocked', message: '', clientMsgId: 'x' }), false);
});

void test('outbox: a refusal is told when it is stored, not before, and nothing is sent meanwhile', async () => {
    const { sent, stored, outbox, add } = rig();
    const entry = add('c', '1');
    add('c', '2');
    await settle();
    outbox.refused({ event: 'error', code: 'blocked', message: 'no', clientMsgId: entry.clientMsgId });
    assert.equal(stored.get(entry.clientMsgId)?.failed, undefined);
    assert.equal(outbox.entries()[0]?.state, 'sending');
    assert.equal(outbox.letGo(entry.clientMsgId), undefined);
    outbox.linkDown();
    outbox.pump();
    assert.deepEqual(texts(sent), ['1']);
    await settle();
    assert.equal(stored.get(entry.clientMsgId)?.failed?.code, 'blocked');
    assert.equal(outbox.entries()[0]?.state, 'failed');
    assert.deepEqual(texts(sent), ['1', '2']);
});

void test('outbox: without an ack it is sent again after a while', async () => {
    const { clock, sent, add } = rig();
    add('c', '1');
    await clock.pass(19_000);
    assert.equal(sent.length, 1);
    await clock.pass(2000);
    assert.equal(sent.length, 2);
    assert.equal(sent[0]?.client_msg_id, sent[1]?.client_msg_id);
});

void test('outbox: what a gone tab left is sent under its old ids, in its order', async () => {
    const first = rig();
    first.state.up = false;
    for (const n of ['1', '2', '3']) {
        first.add('c', n);
    }
    await settle();
    const second = rig();
    for (const e of [...first.stored.values()].sort((a, b) => a.order - b.order)) {
        second.outbox.adopt({ ...e, owner: 'gone' });
        second.outbox.adopt({ ...e, owner: 'gone' });
    }
    second.outbox.pump();
    for (let i = 0; i < 3; i++) {
        const last = second.sent.at(-1);
        assert.ok(last);
        assert.equal(last.fresh, undefined);
        second.outbox.acked(ack(last));
        second.outbox.pump();
    }
    assert.deepEqual(texts(second.sent), ['1', '2', '3']);
    assert.deepEqual(
        second.sent.map((f) => f.client_msg_id),
        [...first.stored.keys()],
    );
});

void test('outbox: a conversation that begins takes over the lane of the person', async () => {
    const { sent, directs, outbox, add } = rig();
    outbox.add({ target: { user: 'u' }, content: '1', mentions: [] });
    outbox.add({ target: { user: 'u' }, content: '2', mentions: [] });
    await settle();
    assert.deepEqual(texts(sent), ['1']);
    directs.set('u', 'c');
    add('c', '3');
    await settle();
    assert.deepEqual(texts(sent), ['1'], 'it waits for those to the person');
    for (let i = 0; i < 2; i++) {
        const last = sent.at(-1);
        assert.ok(last);
        outbox.acked(ack(last));
        outbox.pump();
    }
    assert.deepEqual(texts(sent), ['1', '2', '3']);
});

void test('outbox: goes on without storage, and is bounded', async () => {
    const { sent, state, add } = rig();
    state.works = false;
    add('c', '1');
    await settle();
    assert.equal(sent.length, 1);
    assert.throws(() => {
        for (let i = 0; i < 2000; i++) {
            add('d', 'x');
        }
    }, OutboxFull);
});

void test('outbox: who leaves waits until all is saved; without storage, too', async () => {
    const { stored, state, outbox, add } = rig();
    state.up = false;
    add('c', '1');
    add('c', '2');
    await outbox.saved();
    assert.equal(stored.size, 2);
    state.works = false;
    add('c', '3');
    await outbox.saved();
    assert.equal(outbox.size(), 3);
});

void test('outbox: what another tab has done with is let go, but not while an answer is awaited', async () => {
    const { sent, outbox, add } = rig();
    const [first, second] = [add('c', '1'), add('c', '2')];
    await settle();
    assert.equal(outbox.letGo(first.clientMsgId), undefined);
    assert.equal(outbox.letGo(second.clientMsgId), second);
    assert.equal(outbox.size(), 1);
    outbox.linkDown();
    assert.equal(outbox.letGo(first.clientMsgId)?.content, '1');
    outbox.pump();
    assert.equal(sent.length, 1);
});
