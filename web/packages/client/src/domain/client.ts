/*
 * The client: one signed-in user's conversations, kept in step with the server over one connection,
 * and everything that a user interface or a bot asks of them.
 *
 *     signed out ──signIn, start──► ready: waiting ⇄ connecting ─hello─► syncing ─caught_up─► live
 *                                                                          ▲                   │
 *                                                                          └─ resync, a conversation
 *                                                                             that is not known ┘
 * While syncing, live events are held back: the pages say what a conversation is like at a seq, and
 * what was held goes on from there. Applied by seq, each event counts once, however often it comes.
 */
import { ApiError, type Auth, type Credentials } from '../net/auth.js';
import { Reconnector } from '../net/reconnector.js';
import { type Registration, Rest } from '../net/rest.js';
import { CLOSE_TOKEN, CLOSE_TOO_MANY, Session } from '../net/session.js';
import type { Platform, Timer } from '../platform/platform.js';
import type { OutboxEntry, Store, StoreOpener } from '../store/store.js';
import type {
    Hello,
    Member,
    PageConversation,
    ResumeFrame,
    SelfEvent,
    SentAck,
    SequencedEvent,
    ServerFrame,
    User,
    WireFailure,
} from '../wire.js';
import {
    applyEvent,
    applyPage,
    applyReceipt,
    applyStatuses,
    type Conversation,
    contradicts,
    type Cursor,
    type Item,
    itemOf,
    markRead,
    type MessageItem,
    newConversation,
    noCursor,
    nothingUnread,
    patchOf,
    statusOf,
} from './model.js';
import { Outbox } from './outbox.js';
import { People } from './people.js';
import { Persister } from './persister.js';
import { addRange, rangeAt, type Ranges } from './ranges.js';
import { Timeline } from './timeline.js';
import { type Topic, Topics } from './topics.js';

const HELD_MAX = 20_000;
const HAVE_MAX = 400;
const ACK_DELAY_MS = 200;
const ADOPT_EVERY_MS = 30_000;
const STATUS_CHECKS_MAX = 40;
const PROBE_MS = 5000;
const AGAIN_MS = 50;
const AGAIN_MAX = 6;

export type AccountState = 'unknown' | 'out' | 'in';
export type LinkView = 'offline' | 'connecting' | 'syncing' | 'live';

export interface ClientOptions {
    platform: Platform;
    stores: StoreOpener;
    auth: Auth;
    /* A message of somebody else has come live. */
    onIncoming?: (conv: Conversation, item: MessageItem) => void;
}

/* One signed-in user's things, made anew with every sign-in. */
interface Account {
    userId: string;
    store: Store;
    persister: Persister;
    outbox: Outbox;
    since: string | undefined;
    release: () => void;
}

export class Client {
    readonly rest: Rest;
    readonly people: People;
    account: AccountState = 'unknown';
    /* Why the last sign-in ended, when it was not asked for. */
    signedOutBy: 'expired' | undefined;
    me: User | undefined;
    userId: string | undefined;
    storageFailed = false;
    textBytesMax = 16384;
    readonly blocked = new Set<string>();
    private readonly topics = new Topics();
    private readonly reconnector: Reconnector;
    private readonly platform: Platform;
    private readonly auth: Auth;
    private readonly tab: string;
    private held: SequencedEvent[] = [];
    private own: Account | undefined;
    private session: Session | undefined;
    private phase: 'none' | 'hello' | 'sync' | 'live' = 'none';
    private again = false;
    /* How many resumes in a row have left something unknown. */
    private rounds = 0;
    private againTimer: Timer | undefined;
    private selfHead = 0;
    private selfId = '';
    private selfAhead: { seq: number; id: string } | undefined;
    private readonly convs = new Map<string, Conversation>();
    private readonly directs = new Map<string, string>();
    private readonly timelines = new Map<string, { timeline: Timeline; users: number }>();
    private readonly memberLists = new Map<string, Member[]>();
    private sentAcks = new Map<string, Cursor>();
    private readonly hidden = new Map<string, Ranges>();
    private readonly ackDue = new Set<string>();
    private ackTimer: Timer | undefined;
    private adoptTimer: Timer | undefined;
    private statusDue = new Set<string>();
    private statusRunning = false;
    private releaseTab: () => void = () => undefined;

    constructor(private readonly opt: ClientOptions) {
        this.platform = opt.platform;
        this.auth = opt.auth;
        this.tab = opt.platform.random.id();
        this.rest = new Rest(opt.platform.http, opt.auth);
        this.people = new People(
            (id) => this.rest.user(id),
            (user) => {
                this.own?.persister.saveUser(user);
                this.topics.touch('people');
            },
        );
        this.reconnector = new Reconnector(
            opt.platform.clock,
            opt.platform.random,
            () => void this.connect(),
            () => this.topics.touch('link'),
        );
    }

    on(topic: Topic, fn: () => void): () => void {
        return this.topics.on(topic, fn);
    }

    /* ---- Signing in and out ---- */

    /* Goes on with the user of the last time: at once from what is kept, then with the server. */
    async start(): Promise<void> {
        const last = this.opt.stores.lastUser();
        if (last !== undefined) {
            await this.enter(last);
            return;
        }
        let good = false;
        try {
            good = await this.auth.ensure();
        } catch {
            /* No answer: nobody can be let in, nor out. The sign-in page says the rest. */
        }
        if (good && this.auth.userId !== undefined) {
            await this.enter(this.auth.userId);
        } else {
            this.account = 'out';
            this.topics.touch('account');
        }
    }

    /* Throws ApiError. */
    async signIn(who: Credentials): Promise<void> {
        await this.auth.signIn(who);
        if (this.auth.userId !== undefined) {
            await this.enter(this.auth.userId);
        }
    }

    async register(r: Registration): Promise<void> {
        await this.rest.register(r);
        await this.signIn(r);
    }

    /* The local store goes with it. */
    async signOut(): Promise<void> {
        const own = this.leave('out');
        own?.persister.close();
        try {
            await this.auth.signOut();
        } catch {
            /* Without the server the device stays in its list until it is removed there. */
        }
        await own?.store.wipe();
    }

    /* Another tab has signed out. */
    signedOutElsewhere(): void {
        this.auth.forget();
        const own = this.leave('out');
        own?.persister.close();
        own?.store.close();
    }

    /* Ends without signing out; what is to be kept is written. */
    async stop(): Promise<void> {
        await this.settle(this.leave('unknown'));
    }

    private async settle(own: Account | undefined): Promise<void> {
        await own?.persister.flush();
        own?.persister.close();
        own?.store.close();
        own?.release();
    }

    private async enter(userId: string): Promise<void> {
        await this.settle(this.leave('unknown'));
        const { clock, random, locks } = this.platform;
        const store = await this.opt.stores.open(userId);
        const saved = await store.load();
        const persister = new Persister(store, clock, () => {
            this.storageFailed = true;
            this.topics.touch('link');
        });
        const outbox = new Outbox(clock, random, this.tab, {
            send: (frame) => {
                if (this.phase !== 'live') {
                    return false;
                }
                this.session?.send(frame);
                return true;
            },
            save: (entry) => store.putOutbox(entry),
            remove: (id) => persister.removeOutbox(id),
            directWith: (user) => this.directs.get(user),
            changed: () => this.topics.touch('outbox'),
        });
        this.userId = userId;
        for (const c of saved.conversations) {
            if (c.kind === 'self') {
                this.selfHead = c.head;
                this.selfId = c.id;
                this.selfAhead = c.headId === undefined ? undefined : { seq: c.head, id: c.headId };
            } else {
                this.put(c, false);
            }
        }
        for (const u of saved.users) {
            this.people.learn(u);
        }
        const own: Account = {
            userId,
            store,
            persister,
            outbox,
            since: saved.since,
            release: () => undefined,
        };
        this.own = own;
        own.release = locks.hold(`confab-writer-${userId}`, () =>
            persister.become(this.all(), own.since),
        );
        this.releaseTab = locks.hold(`confab-tab-${this.tab}`, () => undefined);
        this.account = 'in';
        this.signedOutBy = undefined;
        this.topics.touch('account');
        this.topics.touch('list');
        await this.adoptOrphans();
        this.scheduleAdoption();
        this.reconnector.start();
        void this.learnMe();
    }

    private leave(to: AccountState): Account | undefined {
        const own = this.own;
        this.session?.close();
        this.session = undefined;
        this.phase = 'none';
        this.reconnector.stop();
        this.ackTimer?.cancel();
        this.ackTimer = undefined;
        this.adoptTimer?.cancel();
        this.againTimer?.cancel();
        this.againTimer = undefined;
        this.rounds = 0;
        own?.outbox.clear();
        this.releaseTab();
        this.own = undefined;
        for (const { timeline } of this.timelines.values()) {
            timeline.close();
        }
        for (const map of [this.convs, this.directs, this.timelines, this.memberLists]) {
            map.clear();
        }
        this.sentAcks.clear();
        this.hidden.clear();
        this.ackDue.clear();
        this.statusDue.clear();
        this.blocked.clear();
        this.held = [];
        this.again = false;
        this.selfHead = 0;
        this.selfId = '';
        this.selfAhead = undefined;
        this.me = undefined;
        this.userId = undefined;
        this.storageFailed = false;
        this.account = to;
        this.topics.touch('account');
        this.topics.touch('list');
        return own;
    }

    private async learnMe(): Promise<void> {
        const own = this.own;
        const cached = own ? this.people.get(own.userId) : undefined;
        this.me ??= cached;
        try {
            const me = await this.rest.me();
            if (this.own === own && own) {
                this.me = me;
                this.people.learn(me);
                own.persister.saveUser(me);
                this.topics.touch('account');
            }
        } catch {
            /* Asked again with the next connection. */
        }
    }

    /* ---- The connection ---- */

    get link(): LinkView {
        if (this.phase === 'live') {
            return 'live';
        }
        if (this.phase === 'sync') {
            return 'syncing';
        }
        return this.reconnector.state === 'connecting' ? 'connecting' : 'offline';
    }

    /* When the next attempt is due, while offline. */
    get retryAt(): number {
        return this.reconnector.state === 'waiting' ? this.reconnector.retryAt : 0;
    }

    /* The network is back, or the person is. */
    wake(): void {
        const session = this.session;
        if (this.phase === 'none') {
            this.reconnector.wake();
        } else if (session) {
            session.probe(PROBE_MS);
        }
    }

    private async connect(): Promise<void> {
        const own = this.own;
        let good: boolean;
        try {
            good = await this.auth.ensure();
        } catch (e) {
            if (this.own === own) {
                this.reconnector.down(e instanceof ApiError ? e.retryAfterMs : 0);
            }
            return;
        }
        if (this.own !== own || !own || this.reconnector.state !== 'connecting') {
            return;
        }
        if (!good || this.auth.token === undefined || this.auth.userId === undefined) {
            this.expire();
            return;
        }
        if (this.auth.userId !== own.userId) {
            await this.enter(this.auth.userId); /* another tab has signed in as somebody else */
            return;
        }
        const session = new Session(this.platform.clock, {
            onHello: (hello) => this.onHello(hello),
            onFrame: (frame) => this.onFrame(frame),
            onEnd: (code) => this.onEnd(code),
        });
        this.session = session;
        this.phase = 'hello';
        session.open(this.platform.sockets, '/ws', this.auth.token);
    }

    /* The sign-in has ended at the server. What is kept here stays for the next one. */
    private expire(): void {
        this.auth.forget();
        void this.settle(this.leave('out'));
        this.signedOutBy = 'expired';
        this.topics.touch('account');
    }

    private drop(atLeastMs: number): void {
        this.session?.close();
        this.session = undefined;
        this.phase = 'none';
        this.held = [];
        this.again = false;
        this.againTimer?.cancel();
        this.againTimer = undefined;
        this.rounds = 0;
        this.sentAcks.clear();
        this.own?.outbox.linkDown();
        this.reconnector.down(atLeastMs);
        this.topics.touch('link');
    }

    private onEnd(code: number): void {
        this.drop(code === CLOSE_TOO_MANY ? 5000 : 0);
        if (code === CLOSE_TOKEN) {
            this.auth.token = undefined;
            this.reconnector.wake();
        }
    }

    private onHello(hello: Hello): void {
        const own = this.own;
        if (!own || hello.userId !== own.userId) {
            this.expire();
            return;
        }
        own.outbox.inflightMax = Math.max(Math.min(hello.inflight - 8, 32), 1);
        this.textBytesMax = hello.textBytes;
        this.resume();
    }

    private resume(): void {
        const own = this.own;
        if (!own) {
            return;
        }
        const have: NonNullable<ResumeFrame['have']> = [];
        if (own.since !== undefined) {
            if (this.selfAhead) {
                const { seq, id } = this.selfAhead;
                have.push({ conversation_id: this.selfId, seq, event_id: id });
            }
            for (const c of this.convs.values()) {
                if (c.ahead && c.headId !== undefined && have.length < HAVE_MAX) {
                    have.push({ conversation_id: c.id, seq: c.head, event_id: c.headId });
                }
            }
        }
        this.again = false;
        this.phase = 'sync';
        this.topics.touch('link');
        this.session?.send({
            event: 'resume',
            ...(own.since === undefined ? {} : { since: own.since }),
            ...(have.length > 0 ? { have } : {}),
        });
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
        this.againTimer = this.platform.clock.after(AGAIN_MS * 2 ** this.rounds, () => {
            this.againTimer = undefined;
            if (this.phase === 'live') {
                this.resume();
            }
        });
    }

    private onFrame(frame: ServerFrame): void {
        switch (frame.event) {
            case 'ack':
                this.onAck(frame);
                break;
            case 'delivery_receipt': {
                const c = this.convs.get(frame.conversationId);
                if (c && this.userId !== undefined) {
                    this.put(applyReceipt(c, frame, this.userId));
                    this.topics.touch(`timeline:${c.id}`);
                }
                break;
            }
            case 'conversations':
                if (this.phase === 'sync') {
                    for (const page of frame.conversations) {
                        this.onPage(page);
                    }
                }
                break;
            case 'caught_up':
                this.onCaughtUp(frame.since);
                break;
            case 'resync':
                this.held = [];
                this.resume();
                break;
            case 'reconnect':
                this.drop(frame.delayMs);
                break;
            case 'error':
                this.onError(frame);
                break;
            case 'token_expiring':
                void this.renewToken();
                break;
            case 'hello':
            case 'heartbeat':
            case 'ignored':
                break;
            default:
                this.onEvent(frame);
        }
    }

    private onError(f: WireFailure): void {
        if (f.clientMsgId !== undefined && this.own?.outbox.refused(f)) {
            return;
        }
        if (this.phase === 'sync' && f.ref === 'resume') {
            this.drop(f.retryAfterMs ?? 0);
        }
    }

    private async renewToken(): Promise<void> {
        const session = this.session;
        try {
            if ((await this.auth.renew()) && this.auth.token !== undefined) {
                session?.renew(this.auth.token);
            } else if (this.session === session) {
                this.expire();
            }
        } catch {
            /* The socket will be closed with 4401, and the next connection asks again. */
        }
    }

    /* ---- Events ---- */

    private onEvent(ev: SequencedEvent): void {
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
        const own = this.own;
        if (!own) {
            return;
        }
        if (ev.event === 'self' || ev.conversationId === this.selfId) {
            this.applySelf(ev);
            return;
        }
        let c = this.convs.get(ev.conversationId);
        if (!c && beginsForUser(ev, own.userId)) {
            c = { ...newConversation(ev.conversationId, kindOf(ev)), head: ev.seq - 1 };
        }
        if (!c || (strict && ev.seq > c.head + 1)) {
            this.held.push(ev);
            this.resumeAgain();
            return;
        }
        if (ev.seq <= c.head) {
            return;
        }
        if (ev.seq > c.head + 1) {
            this.stale(c.id);
        }
        const next = applyEvent(c, ev, own.userId);
        this.put(next);
        this.place(next, [ev], ev.seq, ev.seq);
        this.updateMembers(ev);
        const item = itemOf(ev);
        if (item?.kind === 'message' && ev.from !== own.userId) {
            this.ackSoon(c.id);
            this.opt.onIncoming?.(next, item);
        }
    }

    /*
     * Events were left out: among them may be edits and deletions of messages that are here. History
     * tells messages as they are now, so it is asked again for all that is looked at.
     */
    private stale(conv: string): void {
        this.own?.persister.saveTimeline({ op: 'stale', conv });
        this.timelines.get(conv)?.timeline.stale();
    }

    /* Puts events where messages are kept and shown; they are complete from `from` to `to`. */
    private place(c: Conversation, events: SequencedEvent[], from: number, to: number): void {
        const hidden = this.hidden.get(c.id) ?? [];
        const items = events
            .map(itemOf)
            .filter((i): i is Item => i !== undefined && !rangeAt(hidden, i.seq));
        const open = this.timelines.get(c.id)?.timeline;
        this.own?.persister.saveTimeline({ op: 'put', conv: c.id, items, from, to });
        open?.covered(items, from, to);
        for (const ev of events) {
            const patch = patchOf(ev);
            if (patch) {
                this.own?.persister.saveTimeline({ op: 'patch', conv: c.id, patch });
                open?.patch(patch);
            }
        }
        this.topics.touch(`timeline:${c.id}`);
    }

    private onAck(ack: SentAck): void {
        const entry = this.own?.outbox.acked(ack);
        if (entry && this.userId !== undefined) {
            if ('user' in entry.target && !this.convs.has(ack.conversationId)) {
                this.beginDirect(ack, entry.target.user);
            }
            const ev: SequencedEvent = {
                event: 'new_message',
                conversationId: ack.conversationId,
                seq: ack.seq,
                eventId: ack.messageId,
                sentAt: ack.sentAt,
                from: this.userId,
                content: entry.content,
                type: 'text',
                clientMsgId: entry.clientMsgId,
                ...(entry.replyTo === undefined ? {} : { replyTo: entry.replyTo }),
                mentions: entry.mentions,
            };
            this.onEvent(ev);
            this.topics.touch(`timeline:${ack.conversationId}`);
        }
        this.own?.outbox.pump();
    }

    /* The first message has made the conversation; its page is still to come. */
    private beginDirect(ack: SentAck, user: string): void {
        if (ack.seq > 2) {
            return;
        }
        const c = newConversation(ack.conversationId, 'direct');
        this.put({ ...c, with: user, memberCount: 2, head: ack.seq - 1 });
    }

    private applySelf(ev: SequencedEvent): void {
        this.selfId = ev.conversationId;
        if (ev.seq <= this.selfHead) {
            return;
        }
        this.selfHead = ev.seq;
        this.selfAhead = { seq: ev.seq, id: ev.eventId };
        this.saveSelf();
        if (ev.event === 'self') {
            this.applyOwn(ev);
        }
    }

    private saveSelf(): void {
        if (this.selfId !== '') {
            const c = newConversation(this.selfId, 'self');
            const headId = this.selfAhead?.id;
            this.own?.persister.saveConversation({ ...c, head: this.selfHead, headId });
        }
    }

    private applyOwn(ev: SelfEvent): void {
        if (ev.action === 'block' && ev.userId !== undefined) {
            if (ev.blocked) {
                this.blocked.add(ev.userId);
            } else {
                this.blocked.delete(ev.userId);
            }
            this.topics.touch('list');
        }
        if (ev.target === undefined) {
            return;
        }
        const c = this.convs.get(ev.target);
        if (!c) {
            if (ev.action === 'joined') {
                this.resumeAgain();
            }
            return;
        }
        if (ev.action === 'mute') {
            const until = ev.until ?? null;
            this.put({ ...c, muted: until !== null && until > this.platform.clock.now() });
        } else if (ev.action === 'pin') {
            this.put({ ...c, pinned: ev.pinned === true });
        } else if (ev.action === 'left') {
            this.put({ ...c, left: true, ...nothingUnread });
        } else if (ev.action === 'hide' && ev.hidden) {
            const [from, to] = ev.hidden;
            /* What is hidden may come after this, among what was held back. */
            this.hidden.set(c.id, addRange(this.hidden.get(c.id) ?? [], from, to));
            this.own?.persister.saveTimeline({ op: 'hide', conv: c.id, from, to });
            this.timelines.get(c.id)?.timeline.hide(from, to);
            this.topics.touch(`timeline:${c.id}`);
        }
    }

    /* ---- Pages ---- */

    private onPage(page: PageConversation): void {
        const own = this.own;
        if (!own) {
            return;
        }
        if (page.kind === 'self') {
            this.onSelfPage(page);
            return;
        }
        let c = this.convs.get(page.conversationId);
        if (page.left) {
            if (c) {
                this.put(applyPage(c, page, own.userId));
            }
            return;
        }
        if (c && contradicts(c, page)) {
            own.persister.saveTimeline({ op: 'forget', conv: c.id });
            c = undefined;
        }
        if (c && page.coveredTo >= page.coveredFrom && page.coveredFrom > c.head + 1) {
            this.stale(c.id);
        }
        const forgotten = !c && this.convs.has(page.conversationId);
        const next = applyPage(c, page, own.userId);
        if (next === c) {
            return;
        }
        this.put(next);
        if (page.coveredTo >= page.coveredFrom) {
            this.place(next, page.events, page.coveredFrom, page.coveredTo);
        }
        const open = this.timelines.get(next.id)?.timeline;
        if (forgotten) {
            open?.forget();
        } else if (open && next.head > page.coveredTo) {
            open.resumed();
        }
        if (open && next.kind === 'group') {
            void this.fetchMembers(next.id);
        }
        if (next.own.delivered > next.confirmed.delivered) {
            this.ackSoon(next.id);
        }
        if ((open || next.preview?.from === own.userId) && this.statusDue.size < STATUS_CHECKS_MAX) {
            this.statusDue.add(next.id);
        }
    }

    private onSelfPage(page: PageConversation): void {
        this.selfId = page.conversationId;
        const missed = page.coveredFrom > this.selfHead + 1 && page.coveredTo >= page.coveredFrom;
        if (page.reset || (missed && page.limited && this.selfHead > 0 && this.own?.since)) {
            /* Some of what was set elsewhere is not told: ask for everything as it is now. */
            if (this.own) {
                this.own.since = undefined;
            }
            this.selfHead = 0;
            this.again = true;
            for (const id of this.convs.keys()) {
                this.stale(id); /* some of it may be hidden by now */
            }
        }
        for (const ev of page.events) {
            if (ev.seq > this.selfHead) {
                this.applySelf(ev);
            } else if (ev.event === 'self' && ev.action === 'hide') {
                this.applyOwn(ev); /* the message may be about to come once more */
            }
        }
        if (page.head >= this.selfHead) {
            this.selfHead = page.head;
            this.selfAhead =
                page.headId === undefined ? undefined : { seq: page.head, id: page.headId };
        }
        this.saveSelf();
    }

    private onCaughtUp(since: string): void {
        const own = this.own;
        if (!own || this.phase !== 'sync') {
            return;
        }
        for (const c of this.convs.values()) {
            if (c.ahead) {
                this.put({ ...c, ahead: false });
            }
        }
        this.selfAhead = undefined;
        const held = this.held;
        this.held = [];
        for (const ev of held) {
            /* Not strict: a gap that the pages did not close is one of history. What belongs to a
             * conversation that is still not known is held again. */
            this.apply(ev, false);
        }
        own.since = since;
        own.persister.saveSince(since);
        this.phase = 'live';
        if (this.again) {
            this.again = false;
            this.resumeLater();
        } else {
            this.rounds = 0;
        }
        this.reconnector.up();
        this.topics.touch('link');
        this.topics.touch('list');
        this.ackAll();
        own.outbox.pump();
        this.people.retry();
        if (!this.me) {
            void this.learnMe();
        }
        for (const { timeline } of this.timelines.values()) {
            timeline.resumed();
        }
        void this.checkStatuses();
        void this.adoptOrphans();
    }

    /* ---- Own cursors ---- */

    private ackSoon(conv: string): void {
        this.ackDue.add(conv);
        this.ackTimer ??= this.platform.clock.after(ACK_DELAY_MS, () => {
            this.ackTimer = undefined;
            this.sendAcks();
        });
    }

    private ackAll(): void {
        for (const c of this.convs.values()) {
            if (c.own.read > c.confirmed.read || c.own.delivered > c.confirmed.delivered) {
                this.ackDue.add(c.id);
            }
        }
        this.sendAcks();
    }

    private sendAcks(): void {
        if (this.phase !== 'live') {
            return; /* all of them after the next caught_up */
        }
        for (const id of this.ackDue) {
            const c = this.convs.get(id);
            if (!c || c.left) {
                continue;
            }
            const sent = this.sentAcks.get(id) ?? noCursor;
            const read = Math.max(sent.read, c.confirmed.read);
            const delivered = Math.max(sent.delivered, c.confirmed.delivered);
            const at = { event: 'ack', conversation_id: id } as const;
            if (c.own.read > read) {
                this.session?.send({ ...at, seq: c.own.read, status: 'read' });
            }
            if (c.own.delivered > delivered && c.own.delivered > c.own.read) {
                this.session?.send({ ...at, seq: c.own.delivered, status: 'delivered' });
            }
            this.sentAcks.set(id, c.own);
        }
        this.ackDue.clear();
    }

    /* The person has seen everything up to there. */
    markRead(conv: string, seq: number): void {
        const c = this.convs.get(conv);
        if (!c || seq <= c.own.read) {
            return;
        }
        const open = this.timelines.get(conv)?.timeline;
        const me = this.userId;
        const rest =
            open?.atEnd && open.bounds()[0] <= seq + 1
                ? open.items.filter((i) => i.kind === 'message' && i.seq > seq && i.from !== me).length
                : undefined;
        this.put(markRead(c, Math.min(seq, c.head), rest));
        this.ackSoon(conv);
    }

    /* ---- Statuses of own messages ---- */

    private async checkStatuses(): Promise<void> {
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
        if (!this.convs.has(id)) {
            return;
        }
        const page = await this.rest.history(id, 'newest', 30);
        const c = this.convs.get(id);
        if (c && this.userId !== undefined) {
            const last = page.messages.at(-1);
            const next = applyStatuses(c, page.messages, this.userId);
            const lastSeq =
                last && last.eventId === c.preview?.messageId ? last.seq : next.lastSeq;
            if (next !== c || lastSeq !== c.lastSeq) {
                this.put({ ...next, lastSeq });
                this.topics.touch(`timeline:${id}`);
            }
        }
    }

    status(c: Conversation, seq: number): 'sent' | 'delivered' | 'read' {
        const others = this.memberLists
            .get(c.id)
            ?.map((m) => m.userId)
            .filter((u) => u !== this.userId);
        return statusOf(c, seq, others);
    }

    /* ---- Reading ---- */

    /* Newest activity first, pinned ones before all others. */
    conversations(): Conversation[] {
        return [...this.convs.values()]
            .filter((c) => !c.left)
            .sort((a, b) => Number(b.pinned) - Number(a.pinned) || b.lastAt - a.lastAt);
    }

    conversation(id: string): Conversation | undefined {
        return this.convs.get(id);
    }

    directWith(userId: string): Conversation | undefined {
        const id = this.directs.get(userId);
        return id === undefined ? undefined : this.convs.get(id);
    }

    /* What is waiting to be sent there, in order. */
    outgoing(conv: string | undefined, user: string | undefined): ReturnType<Outbox['entries']> {
        const all = this.own?.outbox.entries() ?? [];
        return all.filter(({ entry: { target } }) =>
            'conversation' in target ? target.conversation === conv : target.user === user,
        );
    }

    get unsent(): number {
        return this.own?.outbox.size() ?? 0;
    }

    /* A timeline is shared by all that have it open; release it when it is not shown any more. */
    openTimeline(conv: string): { timeline: Timeline; release: () => void } {
        const shared = this.timelines.get(conv) ?? { timeline: this.newTimeline(conv), users: 0 };
        this.timelines.set(conv, shared);
        shared.users++;
        if (this.convs.get(conv)?.kind === 'group') {
            void this.fetchMembers(conv);
        }
        if (this.phase === 'live') {
            this.statusDue.add(conv);
            void this.checkStatuses();
        }
        return {
            timeline: shared.timeline,
            release: () => {
                shared.users--;
                if (shared.users === 0 && this.timelines.get(conv) === shared) {
                    shared.timeline.close();
                    this.timelines.delete(conv);
                }
            },
        };
    }

    private newTimeline(conv: string): Timeline {
        return new Timeline({
            head: () => this.convs.get(conv)?.head ?? 0,
            read: async (from, to, limit, reverse) => {
                const own = this.own;
                if (!own) {
                    return { ranges: [], items: [] };
                }
                await own.persister.flush();
                return own.store.read(conv, from, to, limit, reverse);
            },
            history: async (place, limit) => {
                const page = await this.rest.history(conv, place, limit);
                const c = this.convs.get(conv);
                if (c && this.userId !== undefined) {
                    this.put(applyStatuses(c, page.messages, this.userId));
                }
                return page;
            },
            keep: (items, from, to) =>
                this.own?.persister.saveTimeline({ op: 'put', conv, items, from, to }),
            changed: () => this.topics.touch(`timeline:${conv}`),
        });
    }

    /* ---- Writing ---- */

    /* Throws OutboxFull. */
    send(
        target: OutboxEntry['target'],
        content: string,
        more: { replyTo?: string; mentions?: string[] } = {},
    ): OutboxEntry | undefined {
        return this.own?.outbox.add({
            target,
            content,
            ...(more.replyTo === undefined ? {} : { replyTo: more.replyTo }),
            mentions: more.mentions ?? [],
        });
    }

    retrySend(clientMsgId: string): void {
        this.own?.outbox.retry(clientMsgId);
    }

    dropSend(clientMsgId: string): boolean {
        return this.own?.outbox.drop(clientMsgId) ?? false;
    }

    /* ---- Members ---- */

    members(conv: string): Member[] | undefined {
        return this.memberLists.get(conv);
    }

    private async fetchMembers(conv: string): Promise<void> {
        try {
            this.memberLists.set(conv, await this.rest.members(conv));
            this.topics.touch(`timeline:${conv}`);
        } catch {
            /* Asked for again when it is opened, or moves, the next time. */
        }
    }

    private updateMembers(ev: SequencedEvent): void {
        const list = this.memberLists.get(ev.conversationId);
        if (ev.event !== 'membership' || !list) {
            return;
        }
        const named = new Set(ev.members.map((m) => m.userId));
        const others = list.filter((m) => !named.has(m.userId));
        if (ev.action === 'remove' || ev.action === 'leave') {
            this.memberLists.set(ev.conversationId, others);
        } else {
            this.memberLists.set(ev.conversationId, [...others, ...ev.members]);
        }
    }

    /* ---- Several tabs ---- */

    /* Messages of tabs that are gone, or of the last time, are sent by this one. */
    private async adoptOrphans(): Promise<void> {
        const own = this.own;
        if (!own) {
            return;
        }
        try {
            const entries = await own.store.loadOutbox();
            const strangers = new Set(entries.map((e) => e.owner).filter((o) => o !== this.tab));
            const names = [...strangers].map((o) => `confab-tab-${o}`);
            const free = new Set(names.length > 0 ? await this.platform.locks.free(names) : []);
            for (const entry of entries.sort((a, b) => a.order - b.order)) {
                const ours = entry.owner === this.tab; /* from before this tab signed in again */
                if (this.own === own && (ours || free.has(`confab-tab-${entry.owner}`))) {
                    own.outbox.adopt(entry);
                }
            }
            own.outbox.pump();
        } catch {
            this.storageFailed = true;
            this.topics.touch('link');
        }
    }

    private scheduleAdoption(): void {
        this.adoptTimer = this.platform.clock.after(ADOPT_EVERY_MS, () => {
            void this.adoptOrphans();
            this.scheduleAdoption();
        });
    }

    /* ---- ---- */

    private *all(): Iterable<Conversation> {
        yield* this.convs.values();
    }

    private put(c: Conversation, save = true): void {
        if (this.convs.get(c.id) === c) {
            return;
        }
        this.convs.set(c.id, c);
        if (c.kind === 'direct' && c.with !== undefined) {
            this.directs.set(c.with, c.id);
        }
        if (save) {
            this.own?.persister.saveConversation(c);
            this.topics.touch('list');
        }
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
