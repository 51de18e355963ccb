/*
 * How far everybody has come: the user's own cursors on their way to the server, and what has become
 * of the user's messages while this client was away.
 */
import type { Rest } from '../net/rest.js';
import type { Clock, Timer } from '../platform/platform.js';
import type { ClientFrame } from '../wire.js';
import { applyStatuses, type Cursor, markRead, noCursor } from './model.js';
import type { State } from './state.js';

const ACK_DELAY_MS = 200;
const STATUS_CHECKS_MAX = 40;

export interface CursorsHost {
    live(): boolean;
    send(frame: ClientFrame): void;
}

export class Cursors {
    /* What was told on this connection; whether it arrived is not known. */
    private readonly sentAcks = new Map<string, Cursor>();
    private readonly ackDue = new Set<string>();
    private ackTimer: Timer | undefined;
    /* Refused by a server that had no time for them. */
    private readonly ackAgain = new Set<string>();
    private againTimer: Timer | undefined;
    private readonly statusDue = new Set<string>();
    private statusRunning = false;

    constructor(
        private readonly state: State,
        private readonly clock: Clock,
        private readonly rest: Rest,
        private readonly host: CursorsHost,
    ) {}

    linkDown(): void {
        this.sentAcks.clear();
    }

    clear(): void {
        this.ackTimer?.cancel();
        this.ackTimer = undefined;
        this.againTimer?.cancel();
        this.againTimer = undefined;
        this.sentAcks.clear();
        this.ackDue.clear();
        this.ackAgain.clear();
        this.statusDue.clear();
    }

    /* Bounded: those beyond it are asked for when they are opened. */
    wantStatus(conv: string): void {
        if (this.statusDue.size < STATUS_CHECKS_MAX) {
            this.statusDue.add(conv);
        }
    }

    soon(conv: string): void {
        this.ackDue.add(conv);
        this.ackTimer ??= this.clock.after(ACK_DELAY_MS, () => {
            this.ackTimer = undefined;
            this.sendAcks();
        });
    }

    /* Told again after that time: all that were refused meanwhile at once. */
    refused(conv: string, afterMs: number): void {
        this.ackAgain.add(conv);
        this.againTimer ??= this.clock.after(afterMs, () => {
            this.againTimer = undefined;
            for (const id of this.ackAgain) {
                this.sentAcks.delete(id);
                this.ackDue.add(id);
            }
            this.ackAgain.clear();
            this.sendAcks();
        });
    }

    all(): void {
        for (const c of this.state.convs.values()) {
            if (c.own.read > c.confirmed.read || c.own.delivered > c.confirmed.delivered) {
                this.ackDue.add(c.id);
            }
        }
        this.sendAcks();
    }

    private sendAcks(): void {
        if (!this.host.live()) {
            return; /* all of them after the next caught_up */
        }
        for (const id of this.ackDue) {
            const c = this.state.convs.get(id);
            if (!c || c.left) {
                continue;
            }
            const sent = this.sentAcks.get(id) ?? noCursor;
            const read = Math.max(sent.read, c.confirmed.read);
            const delivered = Math.max(sent.delivered, c.confirmed.delivered);
            const at = { event: 'ack', conversation_id: id } as const;
            if (c.own.read > read) {
                this.host.send({ ...at, seq: c.own.read, status: 'read' });
            }
            if (c.own.delivered > delivered && c.own.delivered > c.own.read) {
                this.host.send({ ...at, seq: c.own.delivered, status: 'delivered' });
            }
            this.sentAcks.set(id, c.own);
        }
        this.ackDue.clear();
    }

    /* The person has seen everything up to there. */
    markRead(conv: string, seq: number): void {
        const c = this.state.convs.get(conv);
        if (!c || seq <= c.own.read) {
            return;
        }
        const open = this.state.timelines.get(conv)?.timeline;
        const me = this.state.userId;
        const rest =
            open?.atEnd && open.bounds()[0] <= seq + 1
                ? open.items.filter((i) => i.kind === 'message' && i.seq > seq && i.from !== me).length
                : undefined;
        this.state.put(markRead(c, Math.min(seq, c.head), rest));
        this.soon(conv);
    }

    async checkStatuses(): Promise<void> {
        if (this.statusRunning) {
            return;
        }
        this.statusRunning = true;
        try {
            for (const id of this.statusDue) {
                this.statusDue.delete(id);
                await this.checkStatus(id);
            }
        } catch {
            this.statusDue.clear(); /* the next connection asks again */
        }
        this.statusRunning = false;
    }

    private async checkStatus(id: string): Promise<void> {
        if (!this.state.convs.has(id)) {
            return;
        }
        const page = await this.rest.history(id, 'newest', 30);
        const c = this.state.convs.get(id);
        if (c && this.state.userId !== undefined) {
            const last = page.messages.at(-1);
            const next = applyStatuses(c, page.messages, this.state.userId);
            const lastSeq =
                last && last.eventId === c.preview?.messageId ? last.seq : next.lastSeq;
            if (next !== c || lastSeq !== c.lastSeq) {
                this.state.put({ ...next, lastSeq });
                this.state.topics.touch(`timeline:${id}`);
            }
        }
    }
}
