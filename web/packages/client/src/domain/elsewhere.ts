/*
 * The outbox as all tabs of a browser see it. An entry belongs to one tab, which sends it (outbox.ts);
 * the others show it, too: it is the person who waits for it, not a tab. After a reload it may be
 * another tab's than before, since whichever comes first takes over what a tab that is gone has left.
 *
 *     put      an entry of the one who says it: new, taken over, refused, tried again
 *     sent     stored by the server: shown until this tab has the message itself
 *     dropped  taken back by the person
 *
 * The store has all entries, the words only tell of changes: what is missed is mended with the next
 * look into the store.
 */
import type { Channel, Platform, Timer } from '../platform/platform.js';
import type { OutboxEntry, Store } from '../store/store.js';
import type { SentAck } from '../wire.js';
import type { EntryState, Outbox } from './outbox.js';
import type { Persister } from './persister.js';

const LOOK_EVERY_MS = 30_000;
const DONE_MAX = 1000;

interface Word {
    put?: OutboxEntry;
    sent?: { id: string; conversation: string; seq: number };
    dropped?: string;
}

interface Other {
    entry: OutboxEntry;
    as: { conversation: string; seq: number } | undefined;
}

export interface ElsewhereHost {
    /* Up to which seq a conversation is here. */
    head(conversation: string): number;
    changed(): void;
    /* The store cannot be read. */
    failed(): void;
}

export interface ElsewhereParts {
    platform: Platform;
    userId: string;
    /* The name of this tab. */
    tab: string;
    store: Store;
    outbox: Outbox;
    persister: Persister;
}

export class Elsewhere {
    private readonly others = new Map<string, Other>();
    /* The latest that are done: the store may still have them for a moment. */
    private readonly done = new Set<string>();
    private readonly channel: Channel;
    private readonly releaseTab: () => void;
    private timer: Timer | undefined;
    /* Words of that kind so far. */
    private puts = 0;
    private closed = false;

    constructor(
        private readonly on: ElsewhereParts,
        private readonly host: ElsewhereHost,
    ) {
        const { platform, userId, tab } = on;
        this.channel = platform.channels.open(`confab-outbox-${userId}`, (word) => this.hear(word as Word));
        this.releaseTab = platform.locks.hold(`confab-tab-${tab}`, () => undefined);
        this.schedule();
    }

    close(): void {
        this.closed = true;
        this.timer?.cancel();
        this.channel.close();
        this.releaseTab();
    }

    /* ---- What is shown ---- */

    entries(): { entry: OutboxEntry; state: EntryState }[] {
        return [...this.others.values()]
            .filter((o) => !this.isHere(o))
            .map(({ entry, as }) => ({ entry, state: as ? 'sending' : entry.failed ? 'failed' : 'queued' }));
    }

    /* How many are not at the server. */
    size(): number {
        return [...this.others.values()].filter(({ as }) => !as).length;
    }

    private isHere({ as }: Other): boolean {
        return as !== undefined && this.host.head(as.conversation) >= as.seq;
    }

    /* ---- What this tab says ---- */

    saved(entry: OutboxEntry): void {
        this.say({ put: entry });
    }

    removed(id: string, ack: SentAck | undefined): void {
        this.finish(id);
        this.say(ack ? { sent: { id, conversation: ack.conversationId, seq: ack.seq } } : { dropped: id });
    }

    /* One that failed in another tab becomes this one's. */
    retry(id: string): boolean {
        const entry = this.takeFailed(id);
        if (entry) {
            this.on.outbox.adopt(entry);
            this.on.outbox.retry(id);
        }
        return entry !== undefined;
    }

    drop(id: string): boolean {
        if (!this.takeFailed(id)) {
            return false;
        }
        this.on.persister.removeOutbox(id);
        this.removed(id, undefined);
        this.host.changed();
        return true;
    }

    private takeFailed(id: string): OutboxEntry | undefined {
        const entry = this.others.get(id)?.entry;
        if (!entry?.failed) {
            return undefined;
        }
        this.others.delete(id);
        return entry;
    }

    private say(word: Word): void {
        if (!this.closed) {
            this.channel.say(word);
        }
    }

    private finish(id: string): void {
        this.others.delete(id);
        this.done.add(id);
        for (const old of this.done) {
            if (this.done.size <= DONE_MAX) {
                break;
            }
            this.done.delete(old);
        }
    }

    /* ---- What others say ---- */

    private hear({ put, sent, dropped }: Word): void {
        const { outbox } = this.on;
        if (put && !this.done.has(put.clientMsgId)) {
            this.puts++;
            /* One that failed here may have been taken over, to be tried again. */
            if (!put.failed && outbox.failed(put.clientMsgId)) {
                outbox.letGo(put.clientMsgId);
            }
            this.learn(put);
        }
        if (sent) {
            /* Both may have sent it, after a reload; the one that waits for its answer gets it. */
            const entry = outbox.letGo(sent.id) ?? this.others.get(sent.id)?.entry;
            if (!outbox.has(sent.id)) {
                this.finish(sent.id);
            }
            if (entry) {
                this.others.set(sent.id, { entry, as: sent });
            }
        }
        if (dropped !== undefined) {
            outbox.letGo(dropped);
            this.finish(dropped);
        }
        this.host.changed();
    }

    private learn(entry: OutboxEntry): void {
        const id = entry.clientMsgId;
        if (!this.on.outbox.has(id)) {
            this.others.set(id, { entry, as: this.others.get(id)?.as });
        }
    }

    /* ---- The store ---- */

    /* Takes over what tabs that are gone, or the last time, have left; learns what the others have. */
    async look(): Promise<void> {
        const { platform, tab, store, outbox } = this.on;
        const { puts } = this;
        try {
            const entries = (await store.loadOutbox()).sort((a, b) => a.order - b.order);
            const strangers = new Set(entries.map((e) => e.owner).filter((o) => o !== tab));
            const names = [...strangers].map((o) => `confab-tab-${o}`);
            const free = new Set(names.length > 0 ? await platform.locks.free(names) : []);
            if (this.closed) {
                return;
            }
            for (const entry of entries.filter((e) => !this.done.has(e.clientMsgId))) {
                const ours = entry.owner === tab; /* from before this tab signed in again */
                if (ours || free.has(`confab-tab-${entry.owner}`)) {
                    this.others.delete(entry.clientMsgId);
                    outbox.adopt(entry);
                } else {
                    this.learn(entry);
                }
            }
            const kept = new Set(entries.map((e) => e.clientMsgId));
            for (const [id, other] of this.others) {
                /* What was said meanwhile may have been written after it was read. */
                const over = !other.as && !kept.has(id) && puts === this.puts;
                if (over || this.isHere(other)) {
                    this.others.delete(id);
                }
            }
            this.host.changed();
            outbox.pump();
        } catch {
            this.host.failed();
        }
    }

    private schedule(): void {
        this.timer = this.on.platform.clock.after(LOOK_EVERY_MS, () => {
            void this.look();
            this.schedule();
        });
    }
}
