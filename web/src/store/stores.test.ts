/* One contract for both stores: what is written is what is read, also with random histories. */
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Item, MemoryStores, type OutboxEntry, type Store, type StoreOpener, type TimelineOp } from '@confab/client';
import { SeededRandom } from '@confab/client/mocks';
import { newConversation } from '../../packages/client/src/domain/model.js';
import { IndexedDbStores } from './indexeddb.js';

function opener(kind: 'memory' | 'indexeddb'): StoreOpener {
    let last: string | undefined;
    return kind === 'memory'
        ? new MemoryStores()
        : new IndexedDbStores({ get: () => last, set: (v) => (last = v) });
}

function item(seq: number, content = `m${seq}`): Item {
    return { kind: 'message', seq, id: `e${seq}`, from: '2', sentAt: seq, content, type: 'text', mentions: [] };
}

const nothing = { conversations: [], users: [], timeline: [] as TimelineOp[], outboxRemove: [] };

for (const kind of ['memory', 'indexeddb'] as const) {
    const run = (what: string, work: (stores: StoreOpener, name: string) => Promise<void>): void =>
        void test(`store ${kind}: ${what}`, () => work(opener(kind), `${what} ${kind}`));

    run('a commit is there at the next start, with its token', async (stores, name) => {
        const store = await stores.open(name);
        await store.commit({ ...nothing, since: '1-a', conversations: [newConversation('c', 'group')], users: [{ userId: '2', username: 'u', displayName: 'U' }] });
        await store.commit({ ...nothing, conversations: [{ ...newConversation('c', 'group'), head: 4 }] });
        store.close();
        const again = await (await stores.open(name)).load();
        assert.equal(again.since, '1-a');
        assert.deepEqual(again.conversations.map((c) => [c.id, c.head]), [['c', 4]]);
        assert.equal(again.users[0]?.displayName, 'U');
        assert.equal(stores.lastUser(), name);
    });

    run('reads ranges from both ends', async (stores, name) => {
        const store = await stores.open(name);
        const items = Array.from({ length: 20 }, (_, i) => item(i + 1));
        await store.commit({ ...nothing, timeline: [
            { op: 'put', conv: 'c', items, from: 1, to: 20 },
            { op: 'put', conv: 'b', items: [item(3, 'other')], from: 3, to: 3 },
        ] });
        const low = await store.read('c', 5, 18, 3, false);
        const high = await store.read('c', 5, 18, 3, true);
        assert.deepEqual(low.items.map((i) => i.seq), [5, 6, 7]);
        assert.deepEqual(high.items.map((i) => i.seq), [16, 17, 18]);
        assert.deepEqual(high.ranges, [[1, 20]]);
        assert.deepEqual((await store.read('none', 1, 9, 9, true)), { ranges: [], items: [] });
    });

    run('the outbox outlives a restart and is emptied by a commit', async (stores, name) => {
        const store = await stores.open(name);
        const entry: OutboxEntry = { clientMsgId: 'k', target: { user: '2' }, content: 'x', mentions: [], createdAt: 1, order: 1, owner: 'tab', tried: false };
        await store.putOutbox(entry);
        store.close();
        const again = await stores.open(name);
        assert.deepEqual(await again.loadOutbox(), [entry]);
        await again.commit({ ...nothing, outboxRemove: ['k'] });
        assert.deepEqual(await again.loadOutbox(), []);
    });

    run('wiped, nothing is left', async (stores, name) => {
        const store = await stores.open(name);
        await store.commit({ ...nothing, since: '1-a', timeline: [{ op: 'put', conv: 'c', items: [item(1)], from: 1, to: 1 }] });
        await store.wipe();
        assert.equal(stores.lastUser(), undefined);
        const again = await stores.open(name);
        assert.deepEqual(await again.load(), { since: undefined, conversations: [], users: [], outbox: [] });
        assert.deepEqual(await again.read('c', 1, 9, 9, false), { ranges: [], items: [] });
    });
}

void test('stores: random operations leave both in the same state', async () => {
    for (let seed = 1; seed <= 30; seed++) {
        const random = new SeededRandom(seed);
        const both: Store[] = [await opener('memory').open(`r${seed}`), await opener('indexeddb').open(`r${seed}`)];
        for (let round = 0; round < 12; round++) {
            const timeline: TimelineOp[] = [];
            for (let i = random.below(5); i >= 0; i--) {
                const conv = random.pick(['a', 'b']);
                const from = 1 + random.below(20);
                const to = from + random.below(5) - 1;
                const seqs = Array.from({ length: Math.max(to - from + 1, 0) }, (_, k) => from + k);
                const patch = random.chance(0.5)
                    ? { seq: from, edit: { content: `x${random.below(9)}`, at: random.below(50) } }
                    : ({ seq: from, delete: true } as const);
                timeline.push(
                    random.pick<TimelineOp>([
                        { op: 'put', conv, items: seqs.filter(() => random.chance(0.8)).map((s) => item(s)), from, to },
                        { op: 'put', conv, items: seqs.map((s) => item(s)), from, to },
                        { op: 'patch', conv, patch },
                        { op: 'hide', conv, from, to: from },
                        ...(random.chance(0.2) ? ([{ op: 'stale', conv }, { op: 'forget', conv }] as const) : []),
                    ]),
                );
            }
            for (const store of both) {
                await store.commit({ ...nothing, timeline });
            }
        }
        for (const conv of ['a', 'b']) {
            const [x, y] = await Promise.all(both.map((s) => s.read(conv, 1, 100, 100, false)));
            assert.deepEqual(x, y, `seed ${seed}`);
        }
        both.forEach((s) => s.close());
    }
});
