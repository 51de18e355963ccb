/*
 * Messages to send, until the server has stored or refused them.
 *
 *     queued ──pump──► in flight ──ack───────────────────────► done
 *       ▲                │  ├── busy, storage_*, limit, … ───► queued, with a wait (bounded tries)
 *       │                │  └── any other error ─────────────► failed: a person tries again or drops
 *       └─ link down, no ack in ACK_TIMEOUT_MS ─┘
 *
 * Each conversation has a lane of which only the head is in flight: else a message that has to be
 * repeated would be overtaken by the next. An entry is in the store before it is sent, and sent
 * again with the same client_msg_id when its fate is unknown: the server recognises it.
 */
import type { Clock, Random, Timer } from '../platform/platform.js';
import type { OutboxEntry } from '../store/store.js';
import type { SendFrame, SentAck, WireFailure } from '../wire.js';

const ACK_TIMEOUT_MS = 20_000;
const TRIES_MAX = 8;
const ENTRIES_MAX = 1000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

const temporary = new Set([
    'busy',
    'storage_failed',
    'storage_full',
    'limit_reached',
    'again',
    'out_of_memory',
    'timeout',
    'closed',
    'network',
]);

export type EntryState = 'queued' | 'sending' | 'failed';

interface Live {
    entry: OutboxEntry;
    saved: boolean;
    inFlight: boolean;
    /* Refused for good: it is said when it is stored, so that nobody sees it and then it is sent after all. */
    verdict?: NonNullable<OutboxEntry['failed']>;
    sentAt: number;
    retryAt: number;
    tries: number;
}

export interface OutboxHost {
    /* False: there is no session to send on. */
    send(frame: SendFrame): boolean;
    save(entry: OutboxEntry): Promise<void>;
    /* Stored by the server, as `ack` says, or taken back. */
    remove(clientMsgId: string, ack?: SentAck): void;
    /* The conversation with a person, if there is one already. */
    directWith(userId: string): string | undefined;
    changed(): void;
}

export class OutboxFull extends Error {}

export class Outbox {
    private readonly live = new Map<string, Live>();
    private timer: Timer | undefined;
    private order = 0;
    private saving: Promise<unknown> = Promise.resolve();
    inflightMax = 16;

    constructor(
        private readonly clock: Clock,
        private readonly random: Random,
        private readonly owner: string,
        private readonly host: OutboxHost,
    ) {}

    /* From an earlier process, or a tab that is gone. */
    adopt(entry: OutboxEntry): void {
        if (this.live.has(entry.clientMsgId)) {
            return;
        }
        this.order = Math.max(this.order, entry.order);
        const own = { ...entry, owner: this.owner, tried: true };
        this.put(own, true);
        if (entry.owner !== this.owner) {
            void this.save(own);
        }
    }

    /* Throws OutboxFull. */
    add(m: {
        target: OutboxEntry['target'];
        content: string;
        replyTo?: string;
        mentions: string[];
    }): OutboxEntry {
        if (this.live.size >= ENTRIES_MAX) {
            throw new OutboxFull('too many messages are waiting to be sent');
        }
        const entry: OutboxEntry = {
            clientMsgId: this.random.id(),
            target: m.target,
            content: m.content,
            ...(m.replyTo === undefined ? {} : { replyTo: m.replyTo }),
            mentions: m.mentions,
            createdAt: this.clock.now(),
            order: Math.max(this.order + 1, this.clock.now()),
            owner: this.owner,
            tried: false,
        };
        this.order = entry.order;
        const live = this.put(entry, false);
        void this.save(entry).then(() => {
            live.saved = true;
            this.pump();
        });
        return entry;
    }

    /* All, in the order in which they were written. */
    entries(): { entry: OutboxEntry; state: EntryState }[] {
        return [...this.live.values()]
            .sort((a, b) => a.entry.order - b.entry.order)
            .map(({ entry, inFlight, verdict }) => ({
                entry,
                state: entry.failed ? 'failed' : inFlight || verdict ? 'sending' : 'queued',
            }));
    }

    size(): number {
        return this.live.size;
    }

    has(clientMsgId: string): boolean {
        return this.live.has(clientMsgId);
    }

    /* A failed one once more, under the same id. */
    retry(clientMsgId: string): void {
        const live = this.live.get(clientMsgId);
        if (live?.entry.failed) {
            const { failed: _, ...entry } = live.entry;
            live.entry = entry;
            live.tries = 0;
            live.retryAt = 0;
            void this.save(entry);
            this.host.changed();
            this.pump();
        }
    }

    /* Only what has failed, or was never tried, can be taken back. */
    drop(clientMsgId: string): boolean {
        const live = this.live.get(clientMsgId);
        if (!live || (!live.entry.failed && live.entry.tried)) {
            return false;
        }
        this.done(clientMsgId);
        this.pump();
        return true;
    }

    failed(clientMsgId: string): boolean {
        return this.live.get(clientMsgId)?.entry.failed !== undefined;
    }

    /* It is no more for this tab to send; one whose answer is awaited stays until that has come. */
    letGo(clientMsgId: string): OutboxEntry | undefined {
        const live = this.live.get(clientMsgId);
        if (!live || live.inFlight || live.verdict) {
            return undefined;
        }
        this.live.delete(clientMsgId);
        this.pump();
        return live.entry;
    }

    /* Until what was to be saved so far is, or could not be. */
    async saved(): Promise<void> {
        await this.saving;
    }

    /* ---- The connection ---- */

    linkDown(): void {
        for (const live of this.live.values()) {
            live.inFlight = false;
            live.retryAt = 0;
        }
        this.timer?.cancel();
        this.timer = undefined;
        this.host.changed();
    }

    pump(): void {
        const now = this.clock.now();
        const lanes = new Set<string>();
        let next = Infinity;
        let flying = 0;
        for (const live of this.live.values()) {
            flying += live.inFlight && now - live.sentAt < ACK_TIMEOUT_MS ? 1 : 0;
        }
        const inOrder = [...this.live.values()].sort((a, b) => a.entry.order - b.entry.order);
        for (const live of inOrder) {
            if (live.entry.failed) {
                continue;
            }
            const lane = this.lane(live.entry);
            if (lanes.has(lane)) {
                continue;
            }
            lanes.add(lane);
            if (live.verdict) {
                continue;
            }
            if (live.inFlight && now - live.sentAt >= ACK_TIMEOUT_MS) {
                live.inFlight = false;
            }
            if (!live.inFlight && live.saved && live.retryAt <= now && flying < this.inflightMax) {
                if (!this.host.send(this.frame(live.entry))) {
                    break;
                }
                live.inFlight = true;
                live.sentAt = now;
                live.entry = { ...live.entry, tried: true };
                flying++;
                this.host.changed();
            }
            if (live.inFlight) {
                next = Math.min(next, live.sentAt + ACK_TIMEOUT_MS);
            } else if (live.retryAt > now) {
                next = Math.min(next, live.retryAt);
            }
        }
        this.timer?.cancel();
        this.timer =
            next === Infinity ? undefined : this.clock.after(next - now, () => this.pump());
    }

    /* The entry that this answers, taken out. */
    acked(ack: SentAck): OutboxEntry | undefined {
        const live = this.live.get(ack.clientMsgId);
        if (live) {
            this.done(ack.clientMsgId, ack);
        }
        return live?.entry;
    }

    /* False: none of ours. */
    refused(f: WireFailure): boolean {
        const live = f.clientMsgId === undefined ? undefined : this.live.get(f.clientMsgId);
        if (!live) {
            return false;
        }
        live.inFlight = false;
        live.tries++;
        if (temporary.has(f.code) && live.tries < TRIES_MAX) {
            const cap = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (live.tries - 1));
            live.retryAt =
                this.clock.now() + (f.retryAfterMs ?? 0) + Math.floor(this.random.fraction() * cap);
        } else if (!live.verdict) {
            this.fail(live, { code: f.code, message: f.message });
        }
        this.host.changed();
        this.pump();
        return true;
    }

    clear(): void {
        this.timer?.cancel();
        this.timer = undefined;
        this.live.clear();
    }

    /* ---- */

    private put(entry: OutboxEntry, saved: boolean): Live {
        const live: Live = { entry, saved, inFlight: false, sentAt: 0, retryAt: 0, tries: 0 };
        this.live.set(entry.clientMsgId, live);
        this.host.changed();
        return live;
    }

    private fail(live: Live, verdict: NonNullable<OutboxEntry['failed']>): void {
        live.verdict = verdict;
        void this.save({ ...live.entry, failed: verdict }).then(() => {
            delete live.verdict;
            live.entry = { ...live.entry, failed: verdict };
            this.host.changed();
            this.pump();
        });
    }

    /* Without storage it is sent all the same. */
    private save(entry: OutboxEntry): Promise<void> {
        const one = this.host.save(entry).catch(() => undefined);
        this.saving = Promise.all([this.saving, one]);
        return one;
    }

    private done(clientMsgId: string, ack?: SentAck): void {
        this.live.delete(clientMsgId);
        this.host.remove(clientMsgId, ack);
        this.host.changed();
    }

    /* A conversation that began meanwhile takes over the lane of the person. */
    private lane(entry: OutboxEntry): string {
        if ('conversation' in entry.target) {
            return entry.target.conversation;
        }
        return this.host.directWith(entry.target.user) ?? `user:${entry.target.user}`;
    }

    private frame(entry: OutboxEntry): SendFrame {
        return {
            event: 'send_message',
            ...('conversation' in entry.target
                ? { conversation_id: entry.target.conversation }
                : { to: entry.target.user }),
            content: entry.content,
            client_msg_id: entry.clientMsgId,
            ...(entry.replyTo === undefined ? {} : { reply_to: entry.replyTo }),
            ...(entry.mentions.length > 0 ? { mentions: entry.mentions } : {}),
            ...(entry.tried ? {} : { fresh: true as const }),
        };
    }
}
