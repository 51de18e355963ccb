import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '../mocks/index.js';
import type { HistoryPlace } from '../net/rest.js';
import { MemoryStore } from '../store/memory.js';
import type { HistoryMessage, HistoryPage } from '../wire.js';
import type { Item } from './model.js';
import { Timeline } from './timeline.js';

function item(seq: number): Item {
    return { kind: 'message', seq, id: `e${seq}`, from: '2', sentAt: seq, content: `m${seq}`, type: 'text', mentions: [] };
}

/* A conversation of `head` messages on a server, of which some are stored here. */
function rig(head: number, stored?: [number, number]) {
    const store = new MemoryStore();
    const state = { head, offline: false, asked: [] as HistoryPlace[] };
    const message = (seq: number): HistoryMessage => ({
        conversationId: 'c', seq, eventId: `e${seq}`, sentAt: seq, from: '2', content: `m${seq}`, type: 'text',
        mentions: [], status: 'sent', deleted: false,
    });
    const keep = (items: Item[], from: number, to: number): void =>
        void store.commit({ conversations: [], users: [], outboxRemove: [], timeline: [{ op: 'put', conv: 'c', items, from, to }] });
    if (stored) {
        const [from, to] = stored;
        keep(Array.from({ length: to - from + 1 }, (_, i) => item(from + i)), from, to);
    }
    const timeline = new Timeline({
        head: () => state.head,
        read: (from, to, limit, reverse) => store.read('c', from, to, limit, reverse),
        history: (place, limit): Promise<HistoryPage> => {
            state.asked.push(place);
            if (state.offline) {
                return Promise.reject(new TypeError('network'));
            }
            let from: number;
            let to: number;
            if (place === 'newest') {
                to = state.head;
                from = Math.max(to - limit + 1, 1);
            } else if ('before' in place) {
                to = place.before - 1;
                from = Math.max(to - limit + 1, 1);
            } else if ('after' in place) {
                from = place.after + 1;
                to = Math.min(from + limit - 1, state.head);
                const more = to < state.head;
                return Promise.resolve({ messages: list(from, to), changes: [], hasMore: more, coveredFrom: from, coveredTo: to });
            } else {
                from = Math.max(place.around - limit / 2, 1);
                to = Math.min(place.around + limit / 2, state.head);
            }
            return Promise.resolve({ messages: list(from, to), changes: [], hasMore: from > 1, coveredFrom: from, coveredTo: to });
        },
        keep,
        changed: () => undefined,
    });
    const list = (from: number, to: number): HistoryMessage[] =>
        Array.from({ length: Math.max(to - from + 1, 0) }, (_, i) => message(from + i));
    const seqs = (): number[] => timeline.items.map((i) => i.seq);
    /* The window is what it says: every seq between its ends, once. */
    const whole = (): void => {
        const [lo, hi] = timeline.bounds();
        assert.deepEqual(seqs(), Array.from({ length: hi - lo + 1 }, (_, i) => lo + i));
    };
    return { timeline, state, seqs, whole, keep };
}

void test('timeline: opens from the store without asking the server', async () => {
    const { timeline, state, seqs, whole } = rig(200, [101, 200]);
    state.offline = true;
    await timeline.open('end');
    assert.deepEqual([seqs().at(0), seqs().at(-1), timeline.atEnd, timeline.failed], [151, 200, true, false]);
    await timeline.older();
    assert.deepEqual([seqs().at(0), state.asked.length], [101, 0]);
    await timeline.older();
    assert.equal(timeline.failed, true, 'the rest is not here');
    state.offline = false;
    await timeline.older();
    assert.deepEqual([seqs().at(0), timeline.failed], [51, false]);
    whole();
});

void test('timeline: an edit that comes while the store is read is shown', async () => {
    const { timeline, state } = rig(60, [1, 60]);
    state.offline = true;
    const opening = timeline.open('end');
    timeline.patch({ seq: 60, edit: { content: 'better', at: 100 } });
    await opening;
    const content = (seq: number): string | undefined =>
        timeline.items.flatMap((i) => (i.kind === 'message' && i.seq === seq ? [i.content] : []))[0];
    assert.equal(content(60), 'better');
    const older = timeline.older();
    timeline.patch({ seq: 5, delete: true });
    await older;
    assert.deepEqual([content(5), content(6)], ['', 'm6']);
});

void test('timeline: goes to the beginning and says so', async () => {
    const { timeline, seqs, whole } = rig(120);
    await timeline.open('end');
    for (let i = 0; i < 5; i++) {
        await timeline.older();
    }
    assert.deepEqual([timeline.atStart, seqs().length], [true, 120]);
    whole();
});

void test('timeline: opens around the first unread and goes on to the end', async () => {
    const { timeline, seqs, whole } = rig(1000);
    await timeline.open(500);
    assert.ok(seqs().includes(500) && seqs().includes(499));
    assert.equal(timeline.atEnd, false);
    whole();
    for (let i = 0; i < 20; i++) {
        await timeline.newer();
        whole();
    }
    assert.equal(timeline.atEnd, true);
    assert.ok(seqs().length <= 300, 'the window is bounded');
});

void test('timeline: live events go on at the end, and leave a reader elsewhere alone', async () => {
    const { timeline, state, seqs, whole, keep } = rig(100);
    const live = (seq: number): void => {
        state.head = seq;
        keep([item(seq)], seq, seq);
        timeline.covered([item(seq)], seq, seq);
    };
    await timeline.open('end');
    live(101);
    live(102);
    assert.equal(seqs().at(-1), 102);
    whole();
    const far = rig(1000);
    await far.timeline.open(300);
    const before = far.seqs();
    far.state.head = 1001;
    far.keep([item(1001)], 1001, 1001);
    far.timeline.covered([item(1001)], 1001, 1001);
    await settle();
    assert.deepEqual(far.seqs(), before);
    assert.equal(far.timeline.atEnd, false);
});

void test('timeline: a gap before what comes is filled silently', async () => {
    const { timeline, state, seqs, whole, keep } = rig(100);
    await timeline.open('end');
    state.head = 140;
    const tail = Array.from({ length: 10 }, (_, i) => item(131 + i));
    keep(tail, 131, 140);
    timeline.covered(tail, 131, 140);
    await settle();
    assert.equal(seqs().at(-1), 140);
    whole();
});

void test('timeline: an edit counts though history is asked before and answers after it', async () => {
    const { timeline, seqs } = rig(60);
    const opening = timeline.open('end');
    timeline.patch({ seq: 55, edit: { content: 'edited', at: 1000 } });
    await opening;
    const it = timeline.items.find((i) => i.seq === 55);
    assert.equal(it?.kind === 'message' && it.content, 'edited');
    timeline.hide(56, 57);
    assert.ok(!seqs().includes(56) && !seqs().includes(57));
});
