import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, FakeHttp } from '../mocks/index.js';
import { memoryKeeper, Auth } from '../net/auth.js';
import { Rest } from '../net/rest.js';
import type { ClientFrame } from '../wire.js';
import { Cursors } from './cursors.js';
import { newConversation } from './model.js';
import { State } from './state.js';

function rig() {
    const clock = new FakeClock();
    const http = new FakeHttp();
    const sent: ClientFrame[] = [];
    const link = { live: true };
    const rest = new Rest(http, new Auth(clock, http, memoryKeeper('cfr'), 'test'));
    const state = new State(() => undefined);
    const cursors = new Cursors(state, clock, rest, {
        live: () => link.live,
        send: (f) => sent.push(f),
    });
    for (const id of ['a', 'b']) {
        state.put({ ...newConversation(id, 'group'), head: 9, own: { delivered: 9, read: 9 } });
    }
    return { clock, link, cursors, taken: (): ClientFrame[] => sent.splice(0) };
}

const read = (id: string): ClientFrame => ({ event: 'ack', conversation_id: id, seq: 9, status: 'read' });

void test('cursors: told once, and again when the server refused it for now', async () => {
    const { clock, cursors, taken } = rig();
    cursors.soon('a');
    cursors.soon('b');
    await clock.pass(200);
    assert.deepEqual(taken(), [read('a'), read('b')]);
    cursors.soon('a');
    await clock.pass(200);
    assert.deepEqual(taken(), [], 'it was told');
    cursors.refused('a', 1000);
    await clock.pass(500);
    cursors.refused('a', 1000);
    assert.deepEqual(taken(), []);
    await clock.pass(500);
    assert.deepEqual(taken(), [read('a')]);
    await clock.pass(5000);
    assert.deepEqual(taken(), []);
});

void test('cursors: what was refused waits for a connection, and is gone with the account', async () => {
    const { clock, link, cursors, taken } = rig();
    cursors.soon('a');
    await clock.pass(200);
    taken();
    cursors.refused('a', 1000);
    link.live = false;
    cursors.linkDown();
    await clock.pass(2000);
    assert.deepEqual(taken(), []);
    link.live = true;
    cursors.all();
    assert.deepEqual(taken(), [read('a'), read('b')]);
    cursors.refused('a', 1000);
    cursors.clear();
    await clock.pass(5000);
    assert.deepEqual(taken(), []);
});
