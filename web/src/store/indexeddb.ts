/*
 * The store in IndexedDB: one database for each user, `confab-<user id>`.
 *
 *     meta           key → value          `since`
 *     conversations  id → Conversation
 *     items          [conversation, seq] → Item
 *     ranges         conversation → covered ranges
 *     users          id → User
 *     outbox         client_msg_id → OutboxEntry
 *
 * A commit is one transaction over all of them.
 */
import { addRange, newerItem, patched } from '@confab/client';
import type {
    Batch,
    Conversation,
    Item,
    OutboxEntry,
    Ranges,
    Saved,
    Slice,
    Store,
    StoreOpener,
    TimelineOp,
    User,
} from '@confab/client';
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, deleteDB, openDB } from 'idb';

const VERSION = 1;

interface Row {
    conv: string;
    seq: number;
    item: Item;
}

interface Layout extends DBSchema {
    meta: { key: string; value: string };
    conversations: { key: string; value: Conversation };
    items: { key: [string, number]; value: Row };
    ranges: { key: string; value: Ranges };
    users: { key: string; value: User };
    outbox: { key: string; value: OutboxEntry };
}

type Tables = ('meta' | 'conversations' | 'items' | 'ranges' | 'users' | 'outbox')[];
const tables: Tables = ['meta', 'conversations', 'items', 'ranges', 'users', 'outbox'];
type Writing = IDBPTransaction<Layout, Tables, 'readwrite'>;

/* Where the name of the last user is kept: localStorage, or nothing at all. */
export interface Note {
    get(): string | undefined;
    set(value: string | undefined): void;
}

export class IndexedDbStores implements StoreOpener {
    constructor(private readonly last: Note) {}

    async open(userId: string): Promise<Store> {
        const name = `confab-${userId}`;
        const db = await openDB<Layout>(name, VERSION, {
            upgrade(fresh) {
                fresh.createObjectStore('meta');
                fresh.createObjectStore('conversations', { keyPath: 'id' });
                fresh.createObjectStore('items', { keyPath: ['conv', 'seq'] });
                fresh.createObjectStore('ranges');
                fresh.createObjectStore('users', { keyPath: 'userId' });
                fresh.createObjectStore('outbox', { keyPath: 'clientMsgId' });
            },
            blocking(_from, _to, event) {
                /* Another tab wipes it, or has a newer page: do not stand in its way. */
                (event.target as IDBDatabase).close();
            },
        });
        this.last.set(userId);
        return new IndexedDbStore(db, () => this.last.set(undefined));
    }

    lastUser(): string | undefined {
        return this.last.get();
    }
}

function whole(conv: string, from: number, to: number): IDBKeyRange {
    return IDBKeyRange.bound([conv, from], [conv, to]);
}

export class IndexedDbStore implements Store {
    constructor(
        private readonly db: IDBPDatabase<Layout>,
        private readonly onWiped: () => void,
    ) {}

    async load(): Promise<Saved> {
        const tx = this.db.transaction(['meta', 'conversations', 'users', 'outbox'], 'readonly');
        const [since, conversations, users, outbox] = await Promise.all([
            tx.objectStore('meta').get('since'),
            tx.objectStore('conversations').getAll(),
            tx.objectStore('users').getAll(),
            tx.objectStore('outbox').getAll(),
        ]);
        return { since, conversations, users, outbox };
    }

    async commit(batch: Batch): Promise<void> {
        /* What is sent waits for the outbox: it is in the way only where it has to be. */
        const used = batch.outboxRemove.length > 0 ? tables : tables.filter((t) => t !== 'outbox');
        const tx = this.db.transaction(used, 'readwrite', { durability: 'relaxed' });
        const done = tx.done;
        try {
            for (const op of batch.timeline) {
                await this.apply(tx, op);
            }
            for (const c of batch.conversations) {
                void tx.objectStore('conversations').put(c);
            }
            for (const u of batch.users) {
                void tx.objectStore('users').put(u);
            }
            for (const id of batch.outboxRemove) {
                void tx.objectStore('outbox').delete(id);
            }
            if (batch.since === null) {
                void tx.objectStore('meta').delete('since');
            } else if (batch.since !== undefined) {
                void tx.objectStore('meta').put(batch.since, 'since');
            }
        } catch (e) {
            done.catch(() => undefined);
            throw e;
        }
        tx.commit();
        await done;
    }

    private async apply(tx: Writing, op: TimelineOp): Promise<void> {
        const items = tx.objectStore('items');
        const ranges = tx.objectStore('ranges');
        switch (op.op) {
            case 'put': {
                if (op.to >= op.from) {
                    const old = await items.getAll(whole(op.conv, op.from, op.to));
                    const known = new Map(old.map((r) => [r.seq, r.item]));
                    const told = new Set(op.items.map((i) => i.seq));
                    for (const [seq, item] of known) {
                        if (item.kind === 'message' && !told.has(seq)) {
                            void items.delete([op.conv, seq]);
                        }
                    }
                    for (const item of op.items) {
                        const before = known.get(item.seq);
                        const next = before ? newerItem(before, item) : item;
                        void items.put({ conv: op.conv, seq: item.seq, item: next });
                    }
                    const covered = (await ranges.get(op.conv)) ?? [];
                    void ranges.put(addRange(covered, op.from, op.to), op.conv);
                }
                break;
            }
            case 'patch': {
                const row = await items.get([op.conv, op.patch.seq]);
                if (row) {
                    void items.put({ ...row, item: patched(row.item, op.patch) });
                }
                break;
            }
            case 'hide':
                await items.delete(whole(op.conv, op.from, op.to));
                break;
            case 'stale':
                await ranges.delete(op.conv);
                break;
            case 'forget':
                await ranges.delete(op.conv);
                await items.delete(whole(op.conv, 0, Infinity));
                break;
        }
    }

    async putOutbox(entry: OutboxEntry): Promise<void> {
        /* Committed at once, not when the request has been answered: a page that is left before that
         * (a reload right after Enter) would take it back. */
        const tx = this.db.transaction('outbox', 'readwrite');
        void tx.store.put(entry);
        tx.commit();
        await tx.done;
    }

    loadOutbox(): Promise<OutboxEntry[]> {
        return this.db.getAll('outbox');
    }

    async read(
        conv: string,
        from: number,
        to: number,
        limit: number,
        reverse: boolean,
    ): Promise<Slice> {
        const tx = this.db.transaction(['items', 'ranges'], 'readonly');
        const ranges = (await tx.objectStore('ranges').get(conv)) ?? [];
        const store = tx.objectStore('items');
        if (to < from) {
            return { ranges, items: [] };
        }
        if (!reverse) {
            const rows = await store.getAll(whole(conv, from, to), limit);
            return { ranges, items: rows.map((r) => r.item) };
        }
        const items: Item[] = [];
        let cursor = await store.openCursor(whole(conv, from, to), 'prev');
        while (cursor && items.length < limit) {
            items.push(cursor.value.item);
            cursor = await cursor.continue();
        }
        return { ranges, items: items.reverse() };
    }

    async wipe(): Promise<void> {
        const name = this.db.name;
        this.db.close();
        this.onWiped();
        await deleteDB(name);
    }

    close(): void {
        this.db.close();
    }
}
