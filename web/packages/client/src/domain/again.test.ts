/* When the server has to be asked a second time, frame by frame. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Auth, memoryKeeper } from '../net/auth.js';
import { Rest } from '../net/rest.js';
import { FakeClock, FakeHttp, FakeSockets, SeededRandom } from '../mocks/index.js';
import { noChannels, noLocks } from '../platform/platform.js';
import { MemoryStores } from '../store/memory.js';
import type { ClientFrame, PageConversation, SelfEvent, SequencedEvent } from '../wire.js';
import { Cursors } from './cursors.js';
import { Elsewhere } from './elsewhere.js';
import { Outbox } from './outbox.js';
import { Persister } from './persister.js';
import { State } from './state.js';
import { Sync } from './sync.js';

const CONV = 'c';

async function rig() {
    const clock = new FakeClock();
    const http = new FakeHttp();
    const state = new State();
    const store = await new MemoryStores().open('1');
    const persister = new Persister(store, clock, () => undefined);
    const random = new SeededRandom(1);
    const outbox = new Outbox(clock, random, 'tab', {
        send: () => false,
        save: () => Promise.resolve(),
        remove: () => undefined,
        directWith: () => undefined,
        changed: () => undefined,
    });
    const platform = { clock, random, http, sockets: new FakeSockets(), locks: noLocks, channels: noChannels };
    const elsewhere = new Elsewhere({ platform, userId: '1', tab: 'tab', store, outbox, persister }, {
        head: () => 0,
        changed: () => undefined,
        failed: () => undefined,
    });
    state.own = { userId: '1', store, persister, outbox, elsewhere, since: undefined, release: () => undefined };
    const sent: ClientFrame[] = [];
    const rest = new Rest(http, new Auth(clock, http, memoryKeeper(), 'test'));
    const send = (frame: ClientFrame): void => void sent.push(frame);
    const cursors = new Cursors(state, clock, rest, { send, live: () => false });
    const sync = new Sync(state, cursors, clock, {
        send,
        onLive: () => undefined,
        onIncoming: () => undefined,
        onApplied: () => undefined,
        membersMoved: () => undefined,
    });
    return { clock, state, sync, asked: () => sent.filter((f) => f.event === 'resume').length };
}

function begins(): SequencedEvent {
    const members = [
        { userId: '2', role: 'owner' as const },
        { userId: '1', role: 'member' as const },
    ];
    const at = { conversationId: CONV, seq: 1, eventId: 'e1', sentAt: 1, from: '2' };
    return { event: 'membership', ...at, action: 'create', kind: 'group', name: 'G', members };
}

function joined(): SelfEvent {
    const at = { conversationId: 'self1', seq: 1, eventId: 's1', sentAt: 1, from: '1' };
    return { event: 'self', ...at, action: 'joined', target: CONV };
}

function selfPage(): PageConversation {
    const self = { conversationId: 'self1', kind: 'self' as const, head: 1, headId: 's1', coveredFrom: 1, coveredTo: 1 };
    return { ...page(), ...self, events: [joined()] };
}

function page(): PageConversation {
    return {
        conversationId: CONV,
        kind: 'group',
        left: false,
        name: 'G',
        members: 2,
        head: 2,
        headId: 'e2',
        unread: 1,
        mentions: 0,
        muted: false,
        pinned: false,
        draft: '',
        delivered: 0,
        read: 0,
        coveredFrom: 3,
        coveredTo: 2,
        limited: false,
        reset: false,
        events: [],
    };
}

void test('again: what begins live and joins the list with no resume between is complete', async () => {
    const { clock, sync, asked } = await rig();
    sync.resume();
    sync.onCaughtUp('1-1', false);
    sync.onEvent(begins());
    sync.onEvent(joined());
    await clock.pass(10_000);
    assert.equal(asked(), 1);
});

void test('again: what began live and was in no answer since is asked for when it is joined', async () => {
    const { clock, state, sync, asked } = await rig();
    sync.resume();
    sync.onCaughtUp('1-1', false);
    sync.onEvent(begins());
    sync.resync();
    sync.onCaughtUp('1-2', false);
    assert.equal(asked(), 2);
    sync.onEvent(joined());
    assert.equal(asked(), 3);
    sync.onPage(page());
    sync.onCaughtUp('1-3', false);
    await clock.pass(10_000);
    assert.equal(asked(), 3);
    assert.equal(state.convs.get(CONV)?.head, 2);
});

void test('again: joined while a resume is under way, the page of which is still to come', async () => {
    for (const told of [true, false]) {
        const { clock, sync, asked } = await rig();
        sync.resume();
        sync.onCaughtUp('1-1', false);
        sync.onEvent(begins());
        sync.resync();
        sync.onEvent(joined());
        if (told) {
            sync.onPage(page());
        }
        sync.onCaughtUp('1-2', false);
        await clock.pass(1000);
        assert.equal(asked(), told ? 2 : 3);
    }
});

void test('again: a page of an earlier answer does not say that nothing was missed until it is joined', async () => {
    /* Told by an answer without its page; by one with it, in whichever order; or live. */
    const cases: [(sync: Sync) => void, number][] = [
        [(sync) => sync.onPage(selfPage()), 3],
        [(sync) => [page(), selfPage()].forEach((p) => sync.onPage(p)), 2],
        [(sync) => [selfPage(), page()].forEach((p) => sync.onPage(p)), 2],
        [(sync) => sync.onEvent(joined()), 3],
    ];
    for (const [tell, expected] of cases) {
        const { clock, sync, asked } = await rig();
        sync.resume();
        sync.onPage(page());
        sync.onCaughtUp('1-1', false);
        sync.resync();
        tell(sync);
        sync.onCaughtUp('1-2', false);
        await clock.pass(1000);
        assert.equal(asked(), expected);
    }
});

void test('again: a beginning that is read after a second resume may be from before a gap', async () => {
    const { clock, sync, asked } = await rig();
    sync.resume();
    sync.onCaughtUp('1-1', false);
    sync.resync();
    sync.onEvent(begins());
    sync.onCaughtUp('1-2', false);
    sync.onEvent(joined());
    await clock.pass(1000);
    assert.equal(asked(), 3);
    /* On a new connection there is nothing live before the first. */
    const fresh = await rig();
    fresh.sync.resume();
    fresh.sync.onEvent(begins());
    fresh.sync.onCaughtUp('1-1', false);
    fresh.sync.onEvent(joined());
    await fresh.clock.pass(1000);
    assert.equal(fresh.asked(), 1);
});

void test('again: a resync that crosses a resume costs one resume more, not the connection', async () => {
    const { clock, sync, asked } = await rig();
    sync.resume();
    assert.equal(sync.conflict(), false, 'nothing else is under way');
    sync.resync();
    assert.equal(sync.conflict(), true);
    assert.equal(sync.phase, 'sync');
    sync.onCaughtUp('1-1', false);
    assert.equal(asked(), 2);
    await clock.pass(1000);
    assert.equal(asked(), 3);
    sync.onCaughtUp('1-2', false);
    await clock.pass(10_000);
    assert.deepEqual([asked(), sync.phase], [3, 'live']);
});

void test('again: what no page has after a loss is forgotten, and may begin anew', async () => {
    const { clock, state, sync, asked } = await rig();
    sync.resume();
    sync.onCaughtUp('1-1', false);
    sync.onEvent(begins());
    sync.onEvent(joined());
    assert.equal(state.convs.get(CONV)?.head, 1);
    sync.linkDown();
    sync.resume();
    sync.onCaughtUp('1-2', false); /* a token that counts: nothing has moved */
    assert.equal(state.convs.get(CONV)?.left, false);
    sync.linkDown();
    sync.resume();
    sync.onCaughtUp('1-3', true);
    assert.equal(state.convs.get(CONV)?.left, true);
    assert.equal(state.convs.get(CONV)?.head, 0);
    assert.equal(asked(), 3);
    /* What is told of it while the answer is under way has its page in the next one. */
    sync.linkDown();
    sync.resume();
    sync.onEvent(begins());
    sync.onCaughtUp('1-4', true);
    await clock.pass(1000);
    assert.equal(asked(), 5);
    sync.onPage(page());
    sync.onCaughtUp('1-5', false);
    assert.equal(state.convs.get(CONV)?.left, false);
    assert.equal(state.convs.get(CONV)?.head, 2);
});
