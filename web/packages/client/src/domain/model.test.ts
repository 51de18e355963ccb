import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Counter, HistoryMessage, NewMessage, PageConversation } from '../wire.js';
import {
    applyCount,
    applyCounter,
    applyEvent,
    applyPage,
    applyReceipt,
    applyStatuses,
    contradicts,
    markRead,
    lowestOf,
    newConversation,
    newerItem,
    patched,
    type MessageItem,
} from './model.js';

const ME = '1';

function message(seq: number, from: string, content = `m${seq}`, mentions: string[] = []): NewMessage {
    return { event: 'new_message', conversationId: 'c', seq, eventId: `e${seq}`, sentAt: seq, from, content, type: 'text', mentions };
}

function page(head: number, more: Partial<PageConversation> = {}): PageConversation {
    return {
        conversationId: 'c',
        kind: 'direct',
        left: false,
        with: '2',
        members: 2,
        head,
        headId: `e${head}`,
        unread: 0,
        mentions: 0,
        muted: false,
        pinned: false,
        draft: '',
        delivered: head,
        read: head,
        coveredFrom: head + 1,
        coveredTo: head,
        limited: false,
        reset: false,
        events: [],
        ...more,
    };
}

function statusOf(c: Parameters<typeof lowestOf>[0], seq: number, others: readonly string[] | undefined): string {
    const { delivered, read } = lowestOf(c, others);
    return seq <= read ? 'read' : seq <= delivered ? 'delivered' : 'sent';
}

function counter(seq: number, messages: number, more: Partial<Counter> = {}): Counter {
    return { event: 'counter', conversationId: 'c', seq, eventId: `e${seq}`, sentAt: seq, messages, members: 2000, ...more };
}

void test('model: a counter moves the row, and says how many are unread', () => {
    let c = applyPage(undefined, page(10, { kind: 'group', messages: 7, lastMessageAt: 9 }), ME);
    const said = { messageId: 'e12', from: '2', content: 'two', type: 'text', sentAt: 12 };
    c = applyCounter(c, counter(12, 9, { lastMessageId: 'e12', preview: said }));
    assert.deepEqual([c.head, c.headId, c.unread, c.unsure, c.lastAt, c.memberCount], [12, 'e12', 2, false, 12, 2000]);
    assert.equal(c.preview?.content, 'two');
    /* Somebody joins: the message is the last one still. */
    c = applyCounter(c, counter(13, 9, { lastMessageId: 'e12', members: 2001 }));
    assert.deepEqual([c.head, c.unread, c.lastAt, c.memberCount, c.preview?.content], [13, 2, 12, 2001, 'two']);
    assert.equal(applyCounter(c, counter(13, 9)), c);
    /* It was deleted. */
    c = applyCounter(c, counter(14, 9));
    assert.deepEqual([c.unread, c.preview], [2, undefined]);
    /* One for this user comes itself, behind others that do not: the next counter cannot tell how many. */
    c = applyEvent(c, message(17, '2', 'you', [ME]), ME);
    assert.deepEqual([c.unread, c.mentions, c.unsure], [3, 1, true]);
    c = applyCounter(c, counter(18, 13));
    assert.deepEqual([c.unread, c.unsure], [4, true]);
    const told = applyCount(c, { head: 18, read: 10, unread: 6, mentions: 1 });
    assert.ok(typeof told !== 'string');
    assert.deepEqual([told.unread, told.unsure], [6, false]);
    assert.equal(applyCounter(told, counter(19, 14)).unread, 7);
});

void test('model: unread counts rise with others, and one\'s own message ends them', () => {
    let c = newConversation('c', 'group');
    c = applyEvent(c, message(1, '2'), ME);
    c = applyEvent(c, message(2, '2', 'hi', [ME]), ME);
    assert.deepEqual([c.unread, c.mentions, c.own.read], [2, 1, 0]);
    c = markRead(c, 1, undefined);
    assert.deepEqual([c.unread, c.mentions], [1, 1]);
    c = applyEvent(c, message(3, ME), ME);
    assert.deepEqual([c.unread, c.mentions, c.own.read], [0, 0, 3]);
    c = markRead(c, 2, undefined);
    assert.equal(c.own.read, 3, 'it never goes back');
});

void test('model: a message that was read before it came is not unread', () => {
    let c = newConversation('c', 'direct');
    c = applyReceipt(c, { event: 'delivery_receipt', conversationId: 'c', fromSeq: 1, seq: 5, userId: ME, status: 'read', at: 0 }, ME);
    for (let seq = 1; seq <= 6; seq++) {
        c = applyEvent(c, message(seq, '2'), ME);
    }
    assert.equal(c.unread, 1);
});

void test('model: a page does not undo what was read here and not told yet', () => {
    let c = newConversation('c', 'direct');
    for (let seq = 1; seq <= 4; seq++) {
        c = applyEvent(c, message(seq, '2'), ME);
    }
    c = markRead(c, 3, undefined);
    const next = applyPage(c, page(5, { unread: 5, read: 0, coveredFrom: 5, coveredTo: 5, events: [message(5, '2')] }), ME);
    assert.deepEqual([next.unread, next.own.read, next.confirmed.read], [2, 3, 0]);
});

void test('model: unread is a guess when a gap lies between what was read here and the server\'s cursor', () => {
    /* 5 and 10 were read elsewhere in between, so what was counted here was counted from 0. */
    let c = newConversation('c', 'group');
    for (let seq = 1; seq <= 8; seq++) {
        c = applyEvent(c, message(seq, '2'), ME);
    }
    c = markRead(c, 8, undefined);
    assert.deepEqual([c.unread, c.readAhead], [0, 8]);
    const gap = page(30, { unread: 22, read: 5, coveredFrom: 29, coveredTo: 30, limited: true, events: [message(29, '2'), message(30, '2')] });
    c = applyPage(c, gap, ME);
    assert.deepEqual([c.own.read, c.unread, c.unsure, c.readAhead], [8, 22, true, undefined]);
    /* From the same cursor as it was counted, it is known. */
    const same = applyPage({ ...c, confirmed: { delivered: 0, read: 0 }, readAhead: 8 }, { ...gap, unread: 27, read: 0 }, ME);
    assert.deepEqual([same.unread, same.unsure, same.readAhead], [19, false, 8]);
    /* The server's count, asked for when it knows; a message comes meanwhile. */
    const asked = { head: 30, read: 8, unread: 19, mentions: 0 };
    c = applyEvent(c, message(31, '2'), ME);
    assert.equal(applyCount(c, { ...asked, read: 7 }), 'older');
    assert.equal(applyCount(c, { ...asked, head: 27 }), 'older', 'what came after it is not here');
    assert.equal(applyCount(c, { ...asked, head: 32 }), 'newer');
    const sure = applyCount(c, asked);
    assert.ok(typeof sure === 'object');
    assert.deepEqual([sure.unread, sure.unsure, sure.confirmed.read], [20, false, 8]);
    const read = markRead(sure, 29, undefined);
    assert.deepEqual([read.unread, read.unsure], [2, false]);
    assert.equal(markRead(sure, 20, undefined).unsure, true);
    assert.deepEqual([markRead(sure, 31, undefined).unread, markRead(sure, 31, undefined).unsure], [0, false]);
});

void test('model: unread with what is hidden counts it, as the server does', () => {
    let c = applyPage(undefined, page(0), ME);
    c = applyPage(c, page(4, { unread: 4, read: 0, coveredFrom: 1, coveredTo: 4, events: [message(1, '2'), message(3, '2'), message(4, '2')] }), ME);
    assert.deepEqual([c.unread, c.unreadFrom], [4, 3]);
    assert.deepEqual([markRead(c, 3, undefined).unread, markRead(c, 3, undefined).unsure], [1, false]);
    assert.equal(markRead(c, 1, undefined).unsure, true, 'the second may be one or not');
});

void test('model: what another device has read takes away what was counted from elsewhere', () => {
    let c = newConversation('c', 'direct');
    for (let seq = 1; seq <= 6; seq++) {
        c = applyEvent(c, message(seq, '2'), ME);
    }
    c = markRead(c, 6, undefined);
    const receipt = { event: 'delivery_receipt', conversationId: 'c', fromSeq: 1, userId: ME, status: 'read', at: 0 } as const;
    c = applyReceipt(c, { ...receipt, seq: 4 }, ME);
    assert.equal(c.readAhead, undefined);
    c = applyReceipt(c, { ...receipt, seq: 6 }, ME);
    assert.deepEqual([c.readAhead, c.confirmed.read, c.unsure], [0, 6, false]);
});

void test('model: events that will never come leave a guess; one\'s own message does not go back', () => {
    let c = applyEvent(newConversation('c', 'group'), message(1, '2'), ME);
    c = applyEvent(c, message(5, '2'), ME);
    assert.deepEqual([c.unread, c.unsure, c.unreadFrom], [2, true, 5]);
    const receipt = { event: 'delivery_receipt', conversationId: 'c', fromSeq: 1, seq: 7, userId: ME, status: 'read', at: 0 } as const;
    c = applyReceipt(c, receipt, ME);
    c = applyEvent(c, message(6, ME), ME);
    c = applyEvent(c, message(7, '2'), ME);
    assert.deepEqual([c.unread, c.unsure, c.own.read], [0, false, 7]);
});

void test('model: a page that is older than what came live changes nothing', () => {
    let c = applyPage(undefined, page(3), ME);
    c = applyEvent(c, message(4, '2'), ME);
    assert.equal(applyPage(c, page(3, { unread: 7 }), ME), c);
});

void test('model: another event id at the head contradicts, the same does not', () => {
    const c = applyPage(undefined, page(3), ME);
    assert.equal(contradicts(c, page(3)), false);
    assert.equal(contradicts(c, page(3, { headId: 'other' })), true);
    assert.equal(contradicts(c, page(9, { reset: true })), true);
    assert.equal(contradicts(c, page(4, { events: [{ ...message(3, '2'), eventId: 'x' }, message(4, '2')] })), true);
});

void test('model: ticks of a direct conversation follow the other one', () => {
    let c = applyPage(undefined, page(3), ME);
    assert.equal(statusOf(c, 3, undefined), 'sent');
    const receipt = { event: 'delivery_receipt', conversationId: 'c', fromSeq: 1, seq: 3, userId: '2', at: 0 } as const;
    c = applyReceipt(c, { ...receipt, status: 'delivered' }, ME);
    assert.equal(statusOf(c, 3, undefined), 'delivered');
    c = applyReceipt(c, { ...receipt, status: 'read' }, ME);
    assert.equal(statusOf(c, 3, undefined), 'read');
    c = applyEvent(c, message(4, ME), ME);
    assert.equal(statusOf(c, 4, undefined), 'sent');
    c = applyEvent(c, message(5, '2'), ME);
    assert.equal(statusOf(c, 4, undefined), 'read', 'who answers has read');
});

void test('model: ticks of a group wait for the last of the others', () => {
    let c = { ...newConversation('c', 'group'), head: 4 };
    const receipt = { event: 'delivery_receipt', conversationId: 'c', fromSeq: 1, seq: 4, at: 0, status: 'read' } as const;
    c = applyReceipt(c, { ...receipt, userId: '2' }, ME);
    assert.equal(statusOf(c, 4, ['2', '3']), 'sent');
    assert.equal(statusOf(c, 4, undefined), 'sent', 'members are not known');
    c = applyReceipt(c, { ...receipt, userId: '3' }, ME);
    assert.equal(statusOf(c, 4, ['2', '3']), 'read');
    const told: HistoryMessage = { ...message(4, ME), status: 'delivered', deleted: false };
    const fresh = applyStatuses({ ...newConversation('c', 'group'), head: 4 }, [told], ME);
    assert.equal(statusOf(fresh, 4, undefined), 'delivered', 'history sums it up');
});

void test('model: edits and deletions in any order come to the same', () => {
    const base: MessageItem = { kind: 'message', seq: 1, id: 'e1', from: '2', sentAt: 1, content: 'a', type: 'text', mentions: [] };
    const edits = [
        { seq: 1, edit: { content: 'b', at: 10 } },
        { seq: 1, edit: { content: 'c', at: 20 } },
    ] as const;
    const forward = edits.reduce((i, p) => patched(i, p), base as Parameters<typeof patched>[0]);
    const backward = [...edits].reverse().reduce((i, p) => patched(i, p), base as Parameters<typeof patched>[0]);
    assert.deepEqual(forward, backward);
    const gone = patched(base, { seq: 1, delete: true });
    assert.deepEqual(patched(gone, edits[0]), gone);
    assert.deepEqual(newerItem(gone, base), gone);
    assert.deepEqual(newerItem(base, gone), gone);
    assert.deepEqual(newerItem(forward, { ...base, clientMsgId: 'k' }), { ...forward, clientMsgId: 'k' });
});

void test('model: leaving takes the unread with it, coming back brings the role', () => {
    let c = applyEvent(newConversation('c', 'group'), message(1, '2'), ME);
    const at = { conversationId: 'c', eventId: 'x', sentAt: 9, from: '2' };
    c = applyEvent(c, { event: 'membership', ...at, seq: 2, action: 'remove', members: [{ userId: ME, role: 'member' }] }, ME);
    assert.deepEqual([c.left, c.unread], [true, 0]);
    c = applyEvent(c, { event: 'membership', ...at, seq: 3, action: 'add', members: [{ userId: ME, role: 'admin' }] }, ME);
    assert.deepEqual([c.left, c.role], [false, 'admin']);
});
