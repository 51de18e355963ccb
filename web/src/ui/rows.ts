/*
 * The rows of a message list, worked out from items: day separators, the line before what is new,
 * groups of messages by one person. Pure, so that it is tested without a browser.
 */
import type { EntryState, Item, MessageItem, NoteItem, OutboxEntry } from '@confab/client';
import { sameDay } from './strings.js';

const GROUP_MS = 5 * 60_000;

export interface Outgoing {
    entry: OutboxEntry;
    state: EntryState;
}

export type ListRow =
    | { row: 'day'; key: string; at: number }
    | { row: 'new'; key: string }
    | { row: 'note'; key: string; note: NoteItem }
    | { row: 'message'; key: string; item: MessageItem; first: boolean; last: boolean }
    | { row: 'outgoing'; key: string; out: Outgoing; first: boolean; last: boolean };

interface Bubble {
    from: string;
    at: number;
}

function joins(a: Bubble | undefined, b: Bubble | undefined): boolean {
    return a !== undefined && b !== undefined && a.from === b.from && b.at - a.at < GROUP_MS && sameDay(a.at, b.at);
}

/* `newFrom`: the seq of the first message that was unread when the list was opened. */
export function listRows(
    items: readonly Item[],
    waiting: readonly Outgoing[],
    me: string,
    newFrom: number | undefined,
): ListRow[] {
    /* One that was stored before its answer came is here already. */
    const here = new Set(waiting.length === 0 ? [] : items.map((i) => (i.kind === 'message' ? i.clientMsgId : undefined)));
    const outgoing = waiting.filter((o) => !here.has(o.entry.clientMsgId));
    const rows: ListRow[] = [];
    let day: number | undefined;
    /* Whoever has answered has read. */
    const answered =
        newFrom !== undefined && items.some((i) => i.seq >= newFrom && i.kind === 'message' && i.from === me);
    let markDue = newFrom !== undefined && !answered && outgoing.length === 0;
    const bubbles: (Bubble | undefined)[] = [
        ...items.map((i) => (i.kind === 'message' ? { from: i.from, at: i.sentAt } : undefined)),
        ...outgoing.map((o) => ({ from: me, at: o.entry.createdAt })),
    ];
    const separate = (at: number, key: string): void => {
        if (day === undefined || !sameDay(day, at)) {
            rows.push({ row: 'day', key: `day-${key}`, at });
        }
        day = at;
    };
    let broken = false;
    items.forEach((item, i) => {
        separate(item.sentAt, String(item.seq));
        if (markDue && newFrom !== undefined && item.seq >= newFrom) {
            markDue = false;
            rows.push({ row: 'new', key: 'new' });
            broken = true;
        }
        if (item.kind === 'note') {
            rows.push({ row: 'note', key: `note-${item.seq}`, note: item });
        } else {
            const first = broken || !joins(bubbles[i - 1], bubbles[i]);
            const last = !joins(bubbles[i], bubbles[i + 1]);
            rows.push({ row: 'message', key: item.clientMsgId ?? item.id, item, first, last });
        }
        broken = false;
    });
    outgoing.forEach((out, k) => {
        const i = items.length + k;
        separate(out.entry.createdAt, out.entry.clientMsgId);
        const first = !joins(bubbles[i - 1], bubbles[i]);
        const last = !joins(bubbles[i], bubbles[i + 1]);
        rows.push({ row: 'outgoing', key: out.entry.clientMsgId, out, first, last });
    });
    return rows;
}
