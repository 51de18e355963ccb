/*
 * Keeping in step: resuming, pages, live events, the user's own log, acknowledged sends.
 *
 *     none ──begin──► sync ──caught_up──► live
 *                      ▲                   │
 *                      └── resync, an event that does not fit ┘
 *
 * While in sync, live events are held back: the pages say what a conversation is like at a seq, and
 * what was held goes on from there. Applied by seq, each event counts once, however often it comes.
 */
import type { Clock, Timer } from '../platform/platform.js';
import type {
    ClientFrame,
    Counter,
    PageConversation,
    ResumeFrame,
    SelfEvent,
    SentAck,
    SequencedEvent,
} from '../wire.js';
import type { Cursors } from './cursors.js';
import {
    applyCounter,
    applyEvent,
    applyPage,
    type Conversation,
    contradicts,
    itemOf,
    type MessageItem,
    newConversation,
    nothingUnread,
} from './model.js';
import { addRange } from './ranges.js';
import type { State } from './state.js';

const HELD_MAX = 20_000;
const HAVE_MAX = 400;
const AGAIN_MS = 50;
const AGAIN_MAX = 6;

export interface SyncHost {
    send(frame: ClientFrame): void;
    /* Caught up, with nothing left to ask for. */
    onLive(): void;
    onIncoming(c: Conversation, item: MessageItem): void;
    onApplied(ev: SequencedEvent): void;
    /* A group that is open has moved while this client was away. */
    membersMoved(conv: string): void;
}

export class Sync {
    phase: 'none' | 'sync' | 'live' = 'none';
    private held: SequencedEvent[] = [];
    /* The latest of each conversation, while in sync. */
    private counters = new Map<string, Counter>();
    private again = false;
    /* How many resumes in a row have left something unknown. */
    private rounds = 0;
    private againTimer: Timer | undefined;
    /* Resumes sent, and of those of this connection how many there were and how many are answered,
     * by caught_up or a conflict. */
    private resumes = 0;
    private asked = 0;
    private answered = 0;
    /* Conversations that began with live frames and were in no answer since: `resumes` then, 0 when
     * it is not sure that nothing was dropped since the first of them. */
    private readonly begun = new Map<string, number>();
    /* While in sync: what the user's own log says was joined. */
    private joined = new Set<string>();
    /* Of answers that have ended, or were cut off; and what that was at the latest resume. */
    private answers = 1;
    private answer = 0;
    /* Conversations that pages have had: `answers` then. */
    private readonly paged = new Map<string, number>();
    private selfHead = 0;
    private selfId = '';
    private selfAhead: { seq: number; id: string } | undefined;

    constructor(
        private readonly state: State,
        private readonly cursors: Cursors,
        private readonly clock: Clock,
        private readonly host: SyncHost,
    ) {}

    /* The position in the user's own log, as it was kept. */
    loadSelf(c: Conversation): void {
        this.selfHead = c.head;
        this.selfId = c.id;
        this.selfAhead = c.headId === undefined ? undefined : { seq: c.head, id: c.headId };
    }

    /* It was kept before an answer had it: what it lacks is asked for when it is joined. */
    loadUnlisted(conv: string): void {
        this.begun.set(conv, 0);
    }

    /* The connection is gone. */
    linkDown(): void {
        this.phase = 'none';
        this.held = [];
        this.counters.clear();
        this.again = false;
        this.againTimer?.cancel();
        this.againTimer = undefined;
        this.rounds = 0;
        this.asked = this.answered = 0;
        this.joined.clear();
        this.answers++;
    }

    clear(): void {
        this.linkDown();
        this.begun.clear();
        this.paged.clear();
        this.selfHead = 0;
        this.selfId = '';
        this.selfAhead = undefined;
    }

    /* Frames were dropped. */
    resync(): void {
        this.held = [];
        this.resume();
    }

    resume(): void {
        const own = this.state.own;
        if (!own) {
            return;
        }
        const have: NonNullable<ResumeFrame['have']> = [];
        if (own.since !== undefined) {
            if (this.selfAhead) {
                const { seq, id } = this.selfAhead;
                have.push({ conversation_id: this.selfId, seq, event_id: id });
            }
            for (const c of this.state.convs.values()) {
                if (c.ahead && c.headId !== undefined && have.length < HAVE_MAX) {
                    have.push({ conversation_id: c.id, seq: c.head, event_id: c.headId });
                }
            }
        }
        this.again = false;
        this.answer = this.answers;
        this.resumes++;
        this.asked++;
        this.phase = 'sync';
        this.state.topics.touch('link');
        this.host.send({
            event: 'resume',
            ...(own.since === undefined ? {} : { since: own.since }),
            ...(have.length > 0 ? { have } : {}),
        });
    }

    /*
     * The server is answering an earlier resume and refuses the latest, as a resync crossed it. What
     * is being answered may be older than the reason for the latest, and does not say which it
     * belongs to: after the next answer it is asked again. False: there is none to wait for.
     */
    conflict(): boolean {
        if (this.phase !== 'sync' || this.asked - this.answered < 2) {
            return false;
        }
        this.answered++;
        this.again = true;
        return true;
    }

    /* It begins with what is read now. A frame that is read after a resume was sent may be from
     * before the server read it, and what followed may have been dropped up to then. */
    private begins(conv: string): void {
        const heard = this.asked === 1 || this.asked === this.answered;
        this.begun.set(conv, heard ? this.resumes : 0);
    }

    /* Has nothing of it been missed? A resume since it began had no answer for it. */
    private isSure(conv: string): boolean {
        const begun = this.begun.get(conv);
        return this.state.convs.has(conv) && (begun === undefined || begun === this.resumes);
    }

    /*
     * The list of the user's conversations has it from now on. No list had it before, unless one
     * whose answer tells both: a page of an earlier one was of a time that a restore has lost, or
     * was told since this client named it, and what came after that page may be missing.
     */
    private onJoined(conv: string, answer: number): void {
        if (!this.begun.has(conv) && this.paged.get(conv) !== answer) {
            this.begun.set(conv, 0);
        }
        const sure = this.isSure(conv);
        if (sure) {
            this.begun.delete(conv);
        }
        if (this.phase === 'sync') {
            this.joined.add(conv); /* its page may be still to come, or take it away */
        } else if (!sure) {
            this.resumeAgain();
        }
    }

    /* Something belongs to a conversation that is not known, or does not follow what is here. */
    private resumeAgain(): void {
        if (this.phase !== 'live') {
            this.again = true;
        } else if (!this.againTimer) {
            this.resume();
        }
    }

    /* The list of conversations learns of a new one a moment after its first events. */
    private resumeLater(): void {
        this.rounds++;
        if (this.rounds > AGAIN_MAX) {
            this.held = []; /* not for this user to see, as far as the server is concerned */
            this.rounds = 0;
            return;
        }
        this.againTimer = this.clock.after(AGAIN_MS * 2 ** this.rounds, () => {
            this.againTimer = undefined;
            if (this.phase === 'live') {
                this.resume();
            }
        });
    }

    onEvent(ev: SequencedEvent): void {
        if (this.phase === 'sync') {
            if (this.held.length < HELD_MAX) {
                this.held.push(ev);
            } else {
                this.again = true;
            }
            return;
        }
        this.apply(ev, true);
    }

    /* `strict`: what does not fit is a reason to ask the server again. */
    private apply(ev: SequencedEvent, strict: boolean): void {
        const own = this.state.own;
        if (!own) {
            return;
        }
        if (ev.event === 'self' || ev.conversationId === this.selfId) {
            this.applySelf(ev, this.answer);
            return;
        }
        let c = this.state.convs.get(ev.conversationId);
        if (!c && beginsForUser(ev, own.userId)) {
            c = { ...newConversation(ev.conversationId, kindOf(ev)), head: ev.seq - 1 };
            this.begins(c.id);
        }
        /* Of a large one what comes between those that are for this user is not missed, but told by
         * counters. */
        if (!c || (strict && ev.seq > c.head + 1 && c.messages === undefined)) {
            this.held.push(ev);
            this.resumeAgain();
            return;
        }
        if (ev.seq <= c.head) {
            return;
        }
        if (ev.seq > c.head + 1) {
            this.state.stale(c.id);
        }
        const next = applyEvent(c, ev, own.userId);
        this.state.put(next);
        this.state.place(next, [ev], ev.seq, ev.seq);
        this.host.onApplied(ev);
        const item = itemOf(ev);
        if (item?.kind === 'message' && ev.from !== own.userId) {
            this.cursors.soon(c.id);
            this.host.onIncoming(next, item);
        }
    }

    /* A large conversation has moved: its row does, and history comes when it is looked at. */
    onCounter(k: Counter): void {
        if (this.phase === 'sync') {
            const kept = this.counters.get(k.conversationId);
            if (!kept || kept.seq < k.seq) {
                this.counters.set(k.conversationId, k);
            }
            return;
        }
        const c = this.state.convs.get(k.conversationId);
        if (!c) {
            this.resumeAgain();
            return;
        }
        const next = applyCounter(c, k);
        if (c.left || next === c) {
            return;
        }
        this.state.stale(c.id);
        this.state.put(next);
        this.state.timelines.get(c.id)?.timeline.resumed();
    }

    onAck(ack: SentAck): void {
        const entry = this.state.own?.outbox.acked(ack);
        if (entry && this.state.userId !== undefined) {
            if ('user' in entry.target && !this.state.convs.has(ack.conversationId)) {
                this.beginDirect(ack, entry.target.user);
            }
            const ev: SequencedEvent = {
                event: 'new_message',
                conversationId: ack.conversationId,
                seq: ack.seq,
                eventId: ack.messageId,
                sentAt: ack.sentAt,
                from: this.state.userId,
                content: entry.content,
                type: 'text',
                clientMsgId: entry.clientMsgId,
                ...(entry.replyTo === undefined ? {} : { replyTo: entry.replyTo }),
                mentions: entry.mentions,
            };
            this.onEvent(ev);
            this.state.topics.touch(`timeline:${ack.conversationId}`);
        }
        this.state.own?.outbox.pump();
    }

    /* The first message has made the conversation; its page is still to come. */
    private beginDirect(ack: SentAck, user: string): void {
        if (ack.seq > 2) {
            return;
        }
        const c = newConversation(ack.conversationId, 'direct');
        this.begins(c.id);
        this.state.put({ ...c, with: user, memberCount: 2, head: ack.seq - 1 });
    }

    /* `answer`: the rows of which answer may be with it; see onJoined. */
    private applySelf(ev: SequencedEvent, answer: number): void {
        this.selfId = ev.conversationId;
        if (ev.seq <= this.selfHead) {
            return;
        }
        this.selfHead = ev.seq;
        this.selfAhead = { seq: ev.seq, id: ev.eventId };
        this.saveSelf();
        if (ev.event === 'self') {
            this.applyOwn(ev, answer);
        }
    }

    private saveSelf(): void {
        if (this.selfId !== '') {
            const c = newConversation(this.selfId, 'self');
            const headId = this.selfAhead?.id;
            this.state.own?.persister.saveConversation({ ...c, head: this.selfHead, headId });
        }
    }

    private applyOwn(ev: SelfEvent, answer: number): void {
        if (ev.action === 'block' && ev.userId !== undefined) {
            if (ev.blocked) {
                this.state.blocked.add(ev.userId);
            } else {
                this.state.blocked.delete(ev.userId);
            }
            this.state.topics.touch('list');
        }
        if (ev.target === undefined) {
            return;
        }
        if (ev.action === 'joined') {
            this.onJoined(ev.target, answer);
        }
        const c = this.state.convs.get(ev.target);
        if (!c) {
            return;
        }
        if (ev.action === 'mute') {
            const until = ev.until ?? null;
            this.state.put({ ...c, muted: until !== null && until > this.clock.now() });
        } else if (ev.action === 'pin') {
            this.state.put({ ...c, pinned: ev.pinned === true });
        } else if (ev.action === 'draft') {
            this.state.put({ ...c, draft: ev.content ?? '' });
        } else if (ev.action === 'left') {
            this.state.put({ ...c, left: true, ...nothingUnread });
        } else if (ev.action === 'hide' && ev.hidden) {
            const [from, to] = ev.hidden;
            /* What is hidden may come after this, among what was held back. */
            this.state.hidden.set(c.id, addRange(this.state.hidden.get(c.id) ?? [], from, to));
            this.state.own?.persister.saveTimeline({ op: 'hide', conv: c.id, from, to });
            this.state.originals?.forget(c.id);
            this.state.timelines.get(c.id)?.timeline.hide(from, to);
            this.state.topics.touch(`timeline:${c.id}`);
        }
    }

    onPage(page: PageConversation): void {
        const own = this.state.own;
        if (!own || this.phase !== 'sync') {
            return;
        }
        if (page.kind === 'self') {
            this.onSelfPage(page);
            return;
        }
        this.begun.delete(page.conversationId);
        this.paged.set(page.conversationId, this.answers);
        let c = this.state.convs.get(page.conversationId);
        if (page.left) {
            if (c && page.reset) {
                this.forgetGone(c);
            } else if (c) {
                this.state.put(applyPage(c, page, own.userId));
            }
            return;
        }
        if (c && contradicts(c, page)) {
            own.persister.saveTimeline({ op: 'forget', conv: c.id });
            c = undefined;
        }
        if (c && page.coveredTo >= page.coveredFrom && page.coveredFrom > c.head + 1) {
            this.state.stale(c.id);
        }
        const forgotten = !c && this.state.convs.has(page.conversationId);
        const next = applyPage(c, page, own.userId);
        if (next === c) {
            return;
        }
        this.state.put(next);
        if (page.coveredTo >= page.coveredFrom) {
            this.state.place(next, page.events, page.coveredFrom, page.coveredTo);
        }
        const open = this.state.timelines.get(next.id)?.timeline;
        if (forgotten) {
            open?.forget();
        } else if (open && next.head > page.coveredTo) {
            open.resumed();
        }
        if (open && next.kind === 'group') {
            this.host.membersMoved(next.id);
        }
        if (next.own.delivered > next.confirmed.delivered) {
            this.cursors.soon(next.id);
        }
        if (open || next.preview?.from === own.userId) {
            this.cursors.wantStatus(next.id);
        }
    }

    /* A restored server knows nothing of it: only that it was there is kept. */
    private forgetGone(c: Conversation): void {
        this.state.own?.persister.saveTimeline({ op: 'forget', conv: c.id });
        this.state.timelines.get(c.id)?.timeline.forget();
        this.state.put({
            ...newConversation(c.id, c.kind),
            name: c.name,
            with: c.with,
            left: true,
        });
        this.begun.set(c.id, 0);
    }

    private onSelfPage(page: PageConversation): void {
        this.selfId = page.conversationId;
        const missed = page.coveredFrom > this.selfHead + 1 && page.coveredTo >= page.coveredFrom;
        if (page.reset || (missed && page.limited && this.selfHead > 0 && this.state.own?.since)) {
            /* Some of what was set elsewhere is not told: ask for everything as it is now. */
            if (this.state.own) {
                this.state.own.since = undefined;
            }
            this.selfHead = 0;
            this.again = true;
            for (const id of this.state.convs.keys()) {
                this.state.stale(id); /* some of it may be hidden by now */
            }
        }
        for (const ev of page.events) {
            if (ev.seq > this.selfHead) {
                this.applySelf(ev, this.answers);
            } else if (ev.event === 'self' && ev.action === 'hide') {
                this.applyOwn(ev, this.answers); /* the message may be about to come once more */
            }
        }
        if (page.head >= this.selfHead) {
            this.selfHead = page.head;
            this.selfAhead =
                page.headId === undefined ? undefined : { seq: page.head, id: page.headId };
        }
        this.saveSelf();
    }

    onCaughtUp(since: string, reset: boolean): void {
        const own = this.state.own;
        if (!own || this.phase !== 'sync') {
            return;
        }
        for (const c of reset ? [...this.state.convs.values()] : []) {
            if (this.paged.get(c.id) !== this.answers) {
                this.forgetGone(c);
                /* If it has begun anew meanwhile, its page tells. */
                this.again = this.again || this.held.some((ev) => ev.conversationId === c.id);
            }
        }
        this.answers++;
        for (const c of this.state.convs.values()) {
            if (c.ahead) {
                this.state.put({ ...c, ahead: false });
            }
        }
        this.selfAhead = undefined;
        const held = this.held;
        this.held = [];
        const counters = [...this.counters.values()];
        this.counters.clear();
        for (const ev of held) {
            /* Not strict: a gap that the pages did not close is one of history. What belongs to a
             * conversation that is still not known is held again. */
            this.apply(ev, false);
        }
        for (const id of this.joined) {
            this.again = this.again || !this.isSure(id);
        }
        this.joined.clear();
        this.answered = Math.min(this.answered + 1, this.asked);
        own.since = since;
        own.persister.saveSince(since);
        this.phase = 'live';
        for (const k of counters) {
            this.onCounter(k);
        }
        if (this.again) {
            this.again = false;
            this.resumeLater();
        } else {
            this.rounds = 0;
        }
        this.host.onLive();
    }
}

/*
 * The event with which a conversation begins. Of one that the user was added to it is not known what
 * it is like: the page tells.
 */
function beginsForUser(ev: SequencedEvent, me: string): boolean {
    return (
        ev.seq === 1 ||
        (ev.event === 'membership' &&
            ev.action === 'create' &&
            ev.members.some((m) => m.userId === me))
    );
}

function kindOf(ev: SequencedEvent): 'direct' | 'group' {
    return ev.event === 'membership' && ev.kind === 'direct' ? 'direct' : 'group';
}
