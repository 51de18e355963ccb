/*
 * Who is typing, and telling others that one is. Nothing of it is kept: what was told ends after the
 * time that came with it, with the next message of that person, and with the connection.
 */
import type { Clock, Timer } from '../platform/platform.js';
import type { ClientFrame, TypingEvent } from '../wire.js';

export interface TypingHost {
    send(frame: ClientFrame): void;
    live(): boolean;
    me(): string | undefined;
    changed(conv: string): void;
}

const REPEAT_MS = 4000;
/* However long a server says it lasts. */
const LASTS_MAX_MS = 30_000;
/* Of a conversation; more than that nobody reads. */
const TYPERS_MAX = 50;

export class Typing {
    /* By conversation: who, and the timer that ends it. In the order in which they began. */
    private readonly typers = new Map<string, Map<string, Timer>>();
    /* What was told of oneself: by conversation or person, when. */
    private readonly told = new Map<string, number>();

    constructor(
        private readonly clock: Clock,
        private readonly host: TypingHost,
    ) {}

    /* The user ids of those who type there now. */
    in(conv: string): string[] {
        return [...(this.typers.get(conv)?.keys() ?? [])];
    }

    onEvent(ev: TypingEvent): void {
        if (ev.userId === this.host.me()) {
            return; /* another device of one's own */
        }
        if (!ev.active) {
            this.end(ev.conversationId, ev.userId);
            return;
        }
        const there = this.typers.get(ev.conversationId) ?? new Map<string, Timer>();
        const known = there.get(ev.userId);
        if (!known && there.size >= TYPERS_MAX) {
            return;
        }
        known?.cancel();
        const lasts = Math.min(Math.max(ev.expiresInMs, 0), LASTS_MAX_MS);
        there.set(ev.userId, this.clock.after(lasts, () => this.end(ev.conversationId, ev.userId)));
        this.typers.set(ev.conversationId, there);
        if (!known) {
            this.host.changed(ev.conversationId);
        }
    }

    /* A message of theirs has come. */
    end(conv: string, userId: string): void {
        const there = this.typers.get(conv);
        const timer = there?.get(userId);
        if (there && timer) {
            timer.cancel();
            there.delete(userId);
            if (there.size === 0) {
                this.typers.delete(conv);
            }
            this.host.changed(conv);
        }
    }

    /* A key was pressed; `empty`: nothing is left of what was written. Call it with each change. */
    typed(target: { conversation: string } | { user: string }, empty: boolean): void {
        const key = 'conversation' in target ? target.conversation : `to ${target.user}`;
        if (!this.host.live()) {
            return;
        }
        const at = this.told.get(key);
        const frame = {
            event: 'typing' as const,
            ...('conversation' in target ? { conversation_id: target.conversation } : { to: target.user }),
        };
        if (empty) {
            if (at !== undefined) {
                this.told.delete(key);
                this.host.send({ ...frame, active: false });
            }
        } else if (at === undefined || this.clock.now() - at >= REPEAT_MS) {
            this.told.set(key, this.clock.now());
            this.host.send(frame);
        }
    }

    /* It was sent: the message itself says that the typing has ended. */
    sent(target: { conversation: string } | { user: string }): void {
        this.told.delete('conversation' in target ? target.conversation : `to ${target.user}`);
    }

    linkDown(): void {
        this.told.clear();
        const convs = [...this.typers.keys()];
        for (const there of this.typers.values()) {
            for (const timer of there.values()) {
                timer.cancel();
            }
        }
        this.typers.clear();
        convs.forEach((c) => this.host.changed(c));
    }
}
