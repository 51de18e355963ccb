import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryKeeper, Auth } from '../net/auth.js';
import { Rest } from '../net/rest.js';
import { answer, FakeClock, FakeHttp, refusal } from '../mocks/index.js';
import type { HttpAnswer } from '../platform/platform.js';
import { Counts } from './counts.js';
import { newConversation } from './model.js';
import { State } from './state.js';

function rig(reply: (method: string) => HttpAnswer) {
    const clock = new FakeClock();
    const http = new FakeHttp();
    const asked: string[] = [];
    http.handler = (r) => {
        if (!r.path.includes('/conversations/')) {
            return answer(200, { access_token: 'a', user_id: '1', device_id: '1' });
        }
        asked.push(`${r.method} ${r.path.split('/').slice(4).join('/')}`);
        return reply(r.method);
    };
    const link = { live: true };
    const rest = new Rest(http, new Auth(clock, http, memoryKeeper('cfr'), 'test'));
    const state = new State((conv) => counts.want(conv));
    const counts: Counts = new Counts(state, clock, rest, () => link.live);
    const c = {
        ...newConversation('c', 'group'),
        head: 20,
        unread: 9,
        unsure: true,
        unreadFrom: 21,
        readAhead: undefined,
        own: { delivered: 20, read: 8 },
    };
    return { clock, asked, link, state, counts, c };
}

function count(head: number, read: number, unread: number): HttpAnswer {
    return answer(200, { head, unread, mentions: 0, cursors: { delivered: head, read } });
}

void test('counts: the server is told first, and asked until its cursor is there', async () => {
    let read = 3;
    const { clock, asked, state, c } = rig((m) => (m === 'POST' ? answer(200, {}) : count(20, read, 20 - read)));
    state.put(c);
    await clock.pass(1000);
    assert.deepEqual(asked, ['POST c/read', 'GET c']);
    assert.deepEqual([state.convs.get('c')?.unread, state.convs.get('c')?.unsure], [9, true]);
    read = 8;
    await clock.pass(2000);
    assert.deepEqual([state.convs.get('c')?.unread, state.convs.get('c')?.unsure], [12, false]);
    await clock.pass(600_000);
    assert.equal(asked.length, 4, 'and then no more');
});

void test('counts: an answer that is ahead of the socket waits for it', async () => {
    const { clock, asked, state, c } = rig((m) => (m === 'POST' ? answer(200, {}) : count(22, 8, 14)));
    state.put(c);
    await clock.pass(1000);
    state.put({ ...c, head: 23, unread: 12, unreadSeqs: [21, 22, 23] });
    await clock.pass(2000);
    assert.deepEqual([state.convs.get('c')?.unread, state.convs.get('c')?.unsure], [15, false]);
    assert.equal(asked.length, 2);
});

void test('counts: a busy server is asked ever later, one that refuses no more', async () => {
    let status = 503;
    const { clock, asked, state, c } = rig(() => refusal(status, 'no'));
    state.put(c);
    await clock.pass(600_000);
    const many = asked.length;
    assert.ok(many > 3 && many < 20, `${many} in ten minutes`);
    status = 404;
    await clock.pass(600_000);
    assert.equal(asked.length, many + 1);
});

void test('counts: without a connection nothing is asked, with the next one it is', async () => {
    const { clock, asked, link, state, counts, c } = rig((m) => (m === 'POST' ? answer(200, {}) : count(20, 8, 12)));
    link.live = false;
    state.put(c);
    await clock.pass(60_000);
    assert.deepEqual(asked, []);
    link.live = true;
    counts.live();
    await clock.pass(1000);
    assert.equal(state.convs.get('c')?.unread, 12);
});
