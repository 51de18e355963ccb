/*
 * Who is there. Subscribed are the people that are looked at: what the page names in watch(), at
 * most SUBSCRIBED_MAX, told to the server a moment after it has settled, since scrolling changes it
 * all the time. The server tells each of them at once and then every change; what was told is good
 * as long as the connection is.
 *
 * The other way round: the server judges by what is done here. Reading alone sends nothing, so what
 * the person does (active) is reported, seldom; a page that nobody looks at reports `away`.
 */
import type { Clock, Timer } from '../platform/platform.js';
import type { ClientFrame, PresenceStatus, PresenceUpdate } from '../wire.js';

export interface Presence {
    status: PresenceStatus;
    /* When they were last there; undefined: now, or it is not told. */
    lastSeen: number | undefined;
}

export interface PresenceHost {
    send(frame: ClientFrame): void;
    live(): boolean;
    changed(): void;
}

const SETTLE_MS = 300;
const FRAME_MAX = 200;
const SUBSCRIBED_MAX = 500;
const VIEWED_MAX = 20;
/* The server takes a device for away after five minutes. */
const REPORT_EVERY_MS = 60_000;
const HIDDEN_MS = 30_000;

export class Presences {
    private wanted: string[] = [];
    private viewed: string[] = [];
    private readonly subscribed = new Set<string>();
    private toldView = '';
    private readonly known = new Map<string, Presence>();
    private settling: Timer | undefined;
    private hiding: Timer | undefined;
    private hidden = false;
    private away = false;
    private reportedAt = 0;

    constructor(
        private readonly clock: Clock,
        private readonly host: PresenceHost,
    ) {}

    /* Undefined: not told, or not looked at. */
    get(userId: string): Presence | undefined {
        return this.known.get(userId);
    }

    onUpdate(u: PresenceUpdate): void {
        if (this.subscribed.has(u.userId)) {
            this.known.set(u.userId, { status: u.status, lastSeen: u.lastSeen });
            this.host.changed();
        }
    }

    /* These people are on the screen, the most important ones first. Replaces what was said before. */
    watch(userIds: readonly string[]): void {
        this.wanted = [...new Set(userIds)].slice(0, SUBSCRIBED_MAX);
        this.settle();
    }

    /* These conversations are on the screen, the open one first: who types there is told. */
    view(conversationIds: readonly string[]): void {
        this.viewed = [...new Set(conversationIds)].slice(0, VIEWED_MAX);
        this.settle();
    }

    /* The person does something: types, clicks, moves. May be called as often as that. */
    active(): void {
        if (this.hidden || !this.host.live()) {
            return;
        }
        if (this.away || this.clock.now() - this.reportedAt >= REPORT_EVERY_MS) {
            this.report('online');
        }
    }

    /* Whether anybody can see the page. */
    visible(yes: boolean): void {
        if (this.hidden === !yes) {
            return;
        }
        this.hidden = !yes;
        this.hiding?.cancel();
        if (yes) {
            this.active();
            this.settle();
        } else {
            this.hiding = this.clock.after(HIDDEN_MS, () => this.leaveScreen());
        }
    }

    /* The connection is up to date: what the server knew of this session is gone. */
    live(): void {
        this.subscribed.clear();
        this.toldView = '';
        this.away = false;
        this.reportedAt = this.clock.now();
        if (this.hidden) {
            this.leaveScreen();
        } else {
            this.tell();
        }
    }

    linkDown(): void {
        this.settling?.cancel();
        this.settling = undefined;
        this.subscribed.clear();
        this.known.clear();
        this.host.changed(); /* also for who was not watched any more, and may still be painted */
    }

    clear(): void {
        this.linkDown();
        this.hiding?.cancel();
        this.wanted = [];
        this.viewed = [];
        this.toldView = '';
    }

    private report(status: 'online' | 'away'): void {
        this.away = status === 'away';
        this.reportedAt = this.clock.now();
        this.host.send({ event: 'presence', status });
    }

    /* `view` counts as something done: `away` has to come after it. */
    private leaveScreen(): void {
        if (this.hidden && this.host.live()) {
            this.tellView([]);
            this.report('away');
        }
    }

    private settle(): void {
        if (!this.settling) {
            this.settling = this.clock.after(SETTLE_MS, () => {
                this.settling = undefined;
                this.tell();
            });
        }
    }

    private tell(): void {
        if (!this.host.live() || this.hidden) {
            return;
        }
        this.tellView(this.viewed);
        const wanted = new Set(this.wanted);
        const gone = [...this.subscribed].filter((u) => !wanted.has(u));
        const fresh = this.wanted.filter((u) => !this.subscribed.has(u));
        for (const u of gone) {
            this.subscribed.delete(u);
            this.known.delete(u);
        }
        for (const ids of chunks(gone)) {
            this.host.send({ event: 'unsubscribe_presence', user_ids: ids });
        }
        for (const u of fresh) {
            this.subscribed.add(u);
        }
        for (const ids of chunks(fresh)) {
            this.host.send({ event: 'subscribe_presence', user_ids: ids });
        }
    }

    private tellView(ids: string[]): void {
        const said = ids.join(' ');
        if (said !== this.toldView) {
            this.toldView = said;
            this.host.send({ event: 'view', conversation_ids: ids });
        }
    }
}

function chunks(ids: string[]): string[][] {
    const out: string[][] = [];
    for (let i = 0; i < ids.length; i += FRAME_MAX) {
        out.push(ids.slice(i, i + FRAME_MAX));
    }
    return out;
}
