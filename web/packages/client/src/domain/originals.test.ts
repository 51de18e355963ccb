import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '../mocks/index.js';
import { ApiError } from '../net/auth.js';
import type { Item, MessageItem } from './model.js';
import { Originals } from './originals.js';

function item(seq: number): MessageItem {
    return { kind: 'message', seq, id: String(990 + seq * 5), from: '2', sentAt: seq, content: `m${seq}`, type: 'text', mentions: [] };
}

/* A store that has some messages of a conversation, and a server that has all up to a seq. */
function rig(stored: number[], head = 2000) {
    const state = { asked: [] as string[], offline: false, reads: 0, changed: 0 };
    const originals = new Originals({
        head: () => head,
        read: (_conv, from, to, limit) => {
            state.reads++;
            const items: Item[] = stored.filter((s) => s >= from && s <= to).slice(0, limit).map(item);
            return Promise.resolve({ ranges: [], items });
        },
        ask: (_conv, id) => {
            state.asked.push(id);
            const seq = (Number(id) - 990) / 5;
            return state.offline
                ? Promise.reject(new TypeError('network'))
                : seq <= head
                  ? Promise.resolve(item(seq))
                  : Promise.reject(new ApiError(404, 'not_found', '', undefined, 0));
        },
        changed: () => void state.changed++,
    });
    const get = async (seq: number) => {
        originals.get('c', item(seq).id);
        await settle();
        return originals.get('c', item(seq).id);
    };
    return { originals, state, get };
}

void test('originals: found in the store without asking the server, in a few reads', async () => {
    const { get, state } = rig([1, 2, 3, 500, 501, 1998, 1999, 2000]);
    for (const seq of [1, 3, 500, 501, 2000]) {
        assert.deepEqual(await get(seq), item(seq));
    }
    assert.deepEqual([state.asked, state.changed], [[], 5]);
    assert.ok(state.reads <= 5 * 12, `${state.reads} reads`);
});

void test('originals: asked of the server once, and again when the connection is back', async () => {
    const { originals, get, state } = rig([1, 2000]);
    state.offline = true;
    assert.equal(await get(700), undefined);
    assert.equal(await get(700), undefined);
    assert.equal(state.asked.length, 1);
    state.offline = false;
    originals.retry();
    await settle();
    assert.deepEqual(originals.get('c', item(700).id), item(700));
    assert.equal(await get(3000), 'gone');
    assert.equal(state.asked.length, 3);
});

void test('originals: edits and deletions reach what is kept; what is kept is bounded', async () => {
    const { originals, get, state } = rig([]);
    await get(10);
    originals.patch('c', { seq: 10, edit: { content: 'new', at: 9999 } });
    const edited = originals.get('c', item(10).id);
    assert.equal(edited !== 'gone' && edited?.content, 'new');
    originals.patch('c', { seq: 10, delete: true });
    const deleted = originals.get('c', item(10).id);
    assert.equal(deleted !== 'gone' && deleted?.deleted, true);
    for (let seq = 100; seq < 450; seq++) {
        await get(seq);
    }
    const before = state.asked.length;
    await get(10);
    assert.equal(state.asked.length, before + 1, 'the oldest was let go');
    await get(449);
    assert.equal(state.asked.length, before + 1);
    originals.forget('c');
    await get(449);
    assert.equal(state.asked.length, before + 2);
});
