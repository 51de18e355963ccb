/*
 * What is kept between two starts of the client. One commit is one transaction: either all of it is
 * kept or nothing, so that the token of a caught_up never stands there without the state that it
 * closes.
 */
import type { Conversation, Item, Patch } from '../domain/model.js';
import type { Ranges } from '../domain/ranges.js';
import type { User } from '../wire.js';

export interface OutboxEntry {
    clientMsgId: string;
    /* A conversation, or a person with whom there may be none yet. */
    target: { conversation: string } | { user: string };
    content: string;
    replyTo?: string;
    mentions: string[];
    createdAt: number;
    /* Rises with every entry of this device: the order within a lane. */
    order: number;
    /* The tab whose it is to send. */
    owner: string;
    /* It may have reached the server before. */
    tried: boolean;
    /* Refused for good; a person decides. */
    failed?: { code: string; message: string };
}

/*
 * In the order in which they happened. `put` is complete: a message in its range that is not among
 * its items is not to be seen any more. Notes stay, since history does not tell them.
 */
export type TimelineOp =
    | { op: 'put'; conv: string; items: Item[]; from: number; to: number }
    | { op: 'patch'; conv: string; patch: Patch }
    | { op: 'hide'; conv: string; from: number; to: number }
    /* What is there may be out of date: it is covered no more until it comes again. */
    | { op: 'stale'; conv: string }
    | { op: 'forget'; conv: string };

export interface Batch {
    /* Absent: stays as it is; null: none any more. */
    since?: string | null;
    conversations: Conversation[];
    timeline: TimelineOp[];
    users: User[];
    outboxRemove: string[];
}

export interface Saved {
    since: string | undefined;
    conversations: Conversation[];
    users: User[];
    outbox: OutboxEntry[];
}

export interface Slice {
    ranges: Ranges;
    items: Item[];
}

export interface Store {
    load(): Promise<Saved>;
    commit(batch: Batch): Promise<void>;
    putOutbox(entry: OutboxEntry): Promise<void>;
    loadOutbox(): Promise<OutboxEntry[]>;
    /* All covered ranges, and up to `limit` items with from <= seq <= to: the lowest, or with
     * `reverse` the highest; rising in both cases. */
    read(conv: string, from: number, to: number, limit: number, reverse: boolean): Promise<Slice>;
    /* Forgets everything; it cannot be used afterwards. */
    wipe(): Promise<void>;
    close(): void;
}

/* Each user has a store of their own: signing in as somebody else touches nothing of the first. */
export interface StoreOpener {
    open(userId: string): Promise<Store>;
    /* Whose store was opened last and not wiped. */
    lastUser(): string | undefined;
}
