/*
 * Writes the state behind what is shown: changes are collected and committed together, a moment
 * later. The order of commits is that of the changes.
 *
 * Of several tabs of one user only one writes, the one that holds the lock. The others keep their
 * latest changes, bounded, and write them when they become the writer; all operations may be
 * applied twice.
 */
import type { Clock, Timer } from '../platform/platform.js';
import type { Store, TimelineOp } from '../store/store.js';
import type { User } from '../wire.js';
import type { Conversation } from './model.js';

const DELAY_MS = 150;
const KEPT_OPS_MAX = 2000;

export class Persister {
    /* The last commit failed: what happens from now on is not kept. */
    failed = false;
    private writer = false;
    private since: string | null | undefined;
    private conversations = new Map<string, Conversation>();
    private users = new Map<string, User>();
    private timeline: TimelineOp[] = [];
    private outboxRemove: string[] = [];
    private timer: Timer | undefined;
    private last: Promise<void> = Promise.resolve();
    private closed = false;

    constructor(
        private readonly store: Store,
        private readonly clock: Clock,
        private readonly onFailed: () => void,
    ) {}

    /* From now on this tab writes. `all`: the state that others have not seen being written. */
    become(all: Iterable<Conversation>, since: string | undefined): void {
        this.writer = true;
        for (const c of all) {
            this.conversations.set(c.id, c);
        }
        this.since = since ?? this.since;
        this.schedule();
    }

    saveConversation(c: Conversation): void {
        this.conversations.set(c.id, c);
        this.schedule();
    }

    saveSince(since: string | null): void {
        this.since = since;
        this.schedule();
    }

    saveUser(user: User): void {
        this.users.set(user.userId, user);
        this.schedule();
    }

    saveTimeline(op: TimelineOp): void {
        this.timeline.push(op);
        if (!this.writer && this.timeline.length > KEPT_OPS_MAX) {
            this.timeline.splice(0, this.timeline.length - KEPT_OPS_MAX);
        }
        this.schedule();
    }

    removeOutbox(clientMsgId: string): void {
        this.outboxRemove.push(clientMsgId);
        this.schedule();
    }

    /* Resolves when everything so far is written, or known not to be. */
    flush(): Promise<void> {
        this.timer?.cancel();
        this.timer = undefined;
        this.last = this.last.then(() => this.commit());
        return this.last;
    }

    close(): void {
        this.closed = true;
        this.timer?.cancel();
    }

    private schedule(): void {
        this.timer ??= this.clock.after(DELAY_MS, () => void this.flush());
    }

    private async commit(): Promise<void> {
        if (this.closed) {
            return;
        }
        const outboxRemove = this.outboxRemove;
        this.outboxRemove = [];
        const batch = { conversations: [], timeline: [], users: [], outboxRemove };
        try {
            if (!this.writer || this.failed) {
                if (outboxRemove.length > 0) {
                    await this.store.commit(batch);
                }
                return;
            }
            const since = this.since;
            const conversations = [...this.conversations.values()];
            const timeline = this.timeline;
            const users = [...this.users.values()];
            this.since = undefined;
            this.conversations = new Map();
            this.timeline = [];
            this.users = new Map();
            if (
                since !== undefined ||
                conversations.length + timeline.length + users.length + outboxRemove.length > 0
            ) {
                await this.store.commit({
                    ...(since === undefined ? {} : { since }),
                    conversations,
                    timeline,
                    users,
                    outboxRemove,
                });
            }
        } catch {
            /* The token is not written any more, so the next start asks from the last good one. */
            this.failed = true;
            this.onFailed();
        }
    }
}
