import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Item, MessageItem, OutboxEntry } from '@confab/client';
import { listRows } from './rows.js';

const NOON = new Date(2026, 4, 5, 12, 0).getTime();
const MINUTE = 60_000;

function message(seq: number, from: string, at: number): MessageItem {
    return { kind: 'message', seq, id: `e${seq}`, from, sentAt: at, content: 'x', type: 'text', mentions: [] };
}

function shape(items: Item[], newFrom?: number): string[] {
    return listRows(items, [], '1', newFrom).map((r) =>
        r.row === 'message' ? `${r.item.seq}${r.first ? 'f' : ''}${r.last ? 'l' : ''}` : r.row,
    );
}

void test('rows: messages of one person within five minutes belong together', () => {
    const items = [message(1, '2', NOON), message(2, '2', NOON + MINUTE), message(3, '1', NOON + 2 * MINUTE), message(4, '1', NOON + 20 * MINUTE)];
    assert.deepEqual(shape(items), ['day', '1f', '2l', '3fl', '4fl']);
});

void test('rows: each day begins with its date', () => {
    const items = [message(1, '2', NOON), message(2, '2', NOON + 86_400_000), message(3, '2', NOON + 86_400_000 + MINUTE)];
    assert.deepEqual(shape(items), ['day', '1fl', 'day', '2f', '3l']);
});

void test('rows: the line stands before the first unread, until one has answered', () => {
    const items = [message(1, '2', NOON), message(2, '2', NOON + MINUTE), message(3, '2', NOON + MINUTE)];
    assert.deepEqual(shape(items, 2), ['day', '1f', 'new', '2f', '3l']);
    assert.deepEqual(shape([...items, message(4, '1', NOON + MINUTE)], 2), ['day', '1f', '2', '3l', '4fl']);
    assert.deepEqual(shape(items, 9), ['day', '1f', '2', '3l']);
});

void test('rows: what waits goes on with one\'s own messages, under the key it keeps', () => {
    const entry: OutboxEntry = { clientMsgId: 'k', target: { conversation: 'c' }, content: 'x', mentions: [], createdAt: NOON + MINUTE, order: 1, owner: 't', tried: false };
    const rows = listRows([message(1, '1', NOON)], [{ entry, state: 'queued' }], '1', undefined);
    assert.deepEqual(rows.map((r) => r.key), ['day-1', 'e1', 'k']);
    const sent = listRows([message(1, '1', NOON), { ...message(2, '1', NOON + MINUTE), clientMsgId: 'k' }], [], '1', undefined);
    assert.deepEqual(sent.map((r) => r.key), ['day-1', 'e1', 'k']);
});

void test('rows: one that is stored is not shown as waiting any more, though its answer is still to come', () => {
    const items = [message(1, '2', NOON), { ...message(2, '1', NOON), clientMsgId: 'k' }];
    const entry = (clientMsgId: string): OutboxEntry => ({
        clientMsgId, target: { user: '2' }, content: 'x', mentions: [], createdAt: NOON, order: 1, owner: 'tab', tried: true,
    });
    const rows = listRows(items, [{ entry: entry('k'), state: 'sending' }, { entry: entry('l'), state: 'queued' }], '1', undefined);
    assert.deepEqual(rows.map((r) => r.key), ['day-1', 'e1', 'k', 'l']);
});
