/*
 * The store in memory: the reference that the others are tested against, and what is left where a
 * browser has no storage to give (private windows).
 */
import { type Conversation, type Item, newerItem, patched } from '../domain/model.js';
import { addRange, type Ranges } from '../domain/ranges.js';
import type { User } from '../wire.js';
import type { Batch, OutboxEntry, Saved, Slice, Store, StoreOpener, TimelineOp } from './store.js';

interface Kept {
    ranges: Ranges;
    items: Map<number, Item>;
}

export class MemoryStore implements Store {
    constructor(private readonly onWiped: () => void = () => undefined) {}

    private since: string | undefined;
    private readonly conversations = new Map<string, Conversation>();
    private readonly users = new Map<string, User>();
    private readonly outbox = new Map<string, OutboxEntry>();
    private readonly timelines = new Map<string, Kept>();

    load(): Promise<Saved> {
        return Promise.resolve({
            since: this.since,
            conversations: [...this.conversations.values()],
            users: [...this.users.values()],
            outbox: [...this.outbox.values()],
        });
    }

    commit(batch: Batch): Promise<void> {
        if (batch.since !== undefined) {
            this.since = batch.since ?? undefined;
        }
        for (const c of batch.conversations) {
            this.conversations.set(c.id, c);
        }
        for (const u of batch.users) {
            this.users.set(u.userId, u);
        }
        for (const op of batch.timeline) {
            this.apply(op);
        }
        for (const id of batch.outboxRemove) {
            this.outbox.delete(id);
        }
        return Promise.resolve();
    }

    putOutbox(entry: OutboxEntry): Promise<void> {
        this.outbox.set(entry.clientMsgId, entry);
        return Promise.resolve();
    }

    loadOutbox(): Promise<OutboxEntry[]> {
        return Promise.resolve([...this.outbox.values()]);
    }

    read(conv: string, from: number, to: number, limit: number, reverse: boolean): Promise<Slice> {
        const kept = this.timelines.get(conv);
        const all = kept ? [...kept.items.values()] : [];
        const items = all
            .filter((i) => i.seq >= from && i.seq <= to)
            .sort((a, b) => a.seq - b.seq);
        return Promise.resolve({
            ranges: kept?.ranges ?? [],
            items: reverse ? items.slice(-limit) : items.slice(0, limit),
        });
    }

    wipe(): Promise<void> {
        this.since = undefined;
        for (const map of [this.conversations, this.users, this.outbox, this.timelines]) {
            map.clear();
        }
        this.onWiped();
        return Promise.resolve();
    }

    close(): void {
        /* Nothing is held open. */
    }

    private apply(op: TimelineOp): void {
        const kept: Kept = this.timelines.get(op.conv) ?? { ranges: [], items: new Map<number, Item>() };
        switch (op.op) {
            case 'put': {
                const told = new Set(op.items.map((i) => i.seq));
                for (const [seq, item] of kept.items) {
                    if (item.kind === 'message' && seq >= op.from && seq <= op.to && !told.has(seq)) {
                        kept.items.delete(seq);
                    }
                }
                for (const item of op.items) {
                    const old = kept.items.get(item.seq);
                    kept.items.set(item.seq, old ? newerItem(old, item) : item);
                }
                kept.ranges = addRange(kept.ranges, op.from, op.to);
                break;
            }
            case 'patch': {
                const old = kept.items.get(op.patch.seq);
                if (old) {
                    kept.items.set(op.patch.seq, patched(old, op.patch));
                }
                break;
            }
            case 'hide':
                for (const seq of [...kept.items.keys()]) {
                    if (seq >= op.from && seq <= op.to) {
                        kept.items.delete(seq);
                    }
                }
                break;
            case 'stale':
                kept.ranges = [];
                break;
            case 'forget':
                this.timelines.delete(op.conv);
                return;
        }
        this.timelines.set(op.conv, kept);
    }
}

export class MemoryStores implements StoreOpener {
    private readonly stores = new Map<string, MemoryStore>();
    private last: string | undefined;

    open(userId: string): Promise<Store> {
        const store = this.stores.get(userId) ?? new MemoryStore(() => (this.last = undefined));
        this.stores.set(userId, store);
        this.last = userId;
        return Promise.resolve(store);
    }

    lastUser(): string | undefined {
        return this.last;
    }
}
