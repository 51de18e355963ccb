/*
 * The client: one signed-in user's conversations, kept in step with the server over one connection,
 * and everything that a user interface or a bot asks of them.
 *
 *     signed out ──signIn, start──► ready: waiting ⇄ connecting ─hello─► syncing ─caught_up─► live
 *                                                                          ▲                   │
 *                                                                          └─ resync, a conversation
 *                                                                             that is not known ┘
 * Signing in and out, the connection and several tabs are here; keeping in step is in sync.ts, how
 * far everybody has come in cursors.ts, what both work on in state.ts.
 */
import { ApiError, type Auth, type Credentials } from '../net/auth.js';
import { Reconnector } from '../net/reconnector.js';
import { type Registration, Rest } from '../net/rest.js';
import { CLOSE_TOKEN, CLOSE_TOO_MANY, Session } from '../net/session.js';
import type { Platform } from '../platform/platform.js';
import { MemoryStore } from '../store/memory.js';
import type { OutboxEntry, Saved, Slice, Store, StoreOpener } from '../store/store.js';
import type { ClientFrame, Hello, Member, SequencedEvent, ServerFrame, User, WireFailure } from '../wire.js';
import { Counts } from './counts.js';
import { Cursors } from './cursors.js';
import { Drafts } from './drafts.js';
import { Elsewhere } from './elsewhere.js';
import {
    applyReceipt,
    applyStatuses,
    itemOfHistory,
    lowestOf,
    type Conversation,
    type Cursor,
    type MessageItem,
    newConversation,
} from './model.js';
import { Originals } from './originals.js';
import { Outbox } from './outbox.js';
import { People } from './people.js';
import { Persister } from './persister.js';
import { Presences } from './presence.js';
import { type Account, State } from './state.js';
import { Sync } from './sync.js';
import { Timeline } from './timeline.js';
import type { Topic } from './topics.js';
import { Typing } from './typing.js';

const PROBE_MS = 2000;

export type AccountState = 'unknown' | 'out' | 'in';
export type LinkView = 'offline' | 'connecting' | 'syncing' | 'live';

export interface ClientOptions {
    platform: Platform;
    stores: StoreOpener;
    auth: Auth;
    /* A message of somebody else has come live. */
    onIncoming?: (conv: Conversation, item: MessageItem) => void;
}

export class Client {
    readonly rest: Rest;
    readonly people: People;
    readonly presence: Presences;
    readonly typing: Typing;
    readonly drafts: Drafts;
    account: AccountState = 'unknown';
    /* Why the last sign-in ended, when it was not asked for. */
    signedOutBy: 'expired' | undefined;
    me: User | undefined;
    /* For whom it is being asked, and how many changes of it were made here. */
    private asking: Account | undefined;
    private changes = 0;
    storageFailed = false;
    textBytesMax = 16384;
    private readonly state = new State((conv) => this.counts.want(conv), {
        patch: (conv, p) => this.originals.patch(conv, p),
        forget: (conv) => this.originals.forget(conv),
    });
    private readonly originals: Originals;
    private readonly counts: Counts;
    private readonly cursors: Cursors;
    private readonly sync: Sync;
    private readonly reconnector: Reconnector;
    private readonly platform: Platform;
    private readonly auth: Auth;
    private readonly tab: string;
    private session: Session | undefined;

    constructor(private readonly opt: ClientOptions) {
        this.platform = opt.platform;
        this.auth = opt.auth;
        this.tab = opt.platform.random.id();
        this.rest = new Rest(opt.platform.http, opt.auth);
        this.people = new People(
            (id) => this.rest.user(id),
            (user) => {
                this.state.own?.persister.saveUser(user);
                this.state.topics.touch('people');
            },
        );
        this.originals = new Originals({
            head: (conv) => this.state.convs.get(conv)?.head ?? 0,
            read: (conv, ...range) => this.readStored(conv, ...range),
            ask: async (conv, id) => itemOfHistory(await this.rest.message(conv, id)),
            changed: (conv) => this.state.topics.touch(`timeline:${conv}`),
        });
        this.reconnector = new Reconnector(
            opt.platform.clock,
            opt.platform.random,
            () => void this.connect(),
            () => this.state.topics.touch('link'),
        );
        const { clock } = opt.platform;
        const send = (frame: ClientFrame): void => this.session?.send(frame);
        const live = (): boolean => this.sync.phase === 'live';
        this.presence = new Presences(clock, {
            send,
            live,
            changed: () => this.state.topics.touch('presence'),
        });
        this.typing = new Typing(clock, {
            send,
            live,
            me: () => this.userId,
            changed: () => this.state.topics.touch('typing'),
        });
        this.drafts = new Drafts(this.state, clock, {
            live,
            save: (conv, text) => this.rest.saveDraft(conv, text),
        });
        this.counts = new Counts(this.state, clock, this.rest, () => this.sync.phase === 'live');
        this.cursors = new Cursors(this.state, clock, this.rest, {
            send,
            live: () => this.sync.phase === 'live',
        });
        this.sync = new Sync(this.state, this.cursors, clock, {
            send,
            onLive: () => this.onLive(),
            onIncoming: (c, item) => this.opt.onIncoming?.(c, item),
            onApplied: (ev) => this.onApplied(ev),
            membersMoved: (conv) => void this.fetchMembers(conv),
        });
    }

    get userId(): string | undefined {
        return this.state.userId;
    }

    get blocked(): ReadonlySet<string> {
        return this.state.blocked;
    }

    on(topic: Topic, fn: () => void): () => void {
        return this.state.topics.on(topic, fn);
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
            this.state.topics.touch('account');
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

    /* Until all so far is kept, as far as that is possible: before the page is left. */
    async settled(): Promise<void> {
        const own = this.state.own;
        await Promise.all([own?.outbox.saved(), own?.persister.flush()]);
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
        const { store, saved } = await this.openStore(userId);
        const persister = new Persister(store, clock, () => {
            this.storageFailed = true;
            this.state.topics.touch('link');
        });
        const outbox = new Outbox(clock, random, this.tab, {
            send: (frame) => {
                if (this.sync.phase !== 'live') {
                    return false;
                }
                this.session?.send(frame);
                return true;
            },
            save: async (entry) => {
                try {
                    await store.putOutbox(entry);
                } finally {
                    elsewhere.saved(entry);
                }
            },
            remove: (id, ack) => {
                persister.removeOutbox(id);
                elsewhere.removed(id, ack);
            },
            directWith: (user) => this.state.directs.get(user),
            changed: () => this.state.topics.touch('outbox'),
        });
        const { platform, tab } = this;
        const elsewhere = new Elsewhere({ platform, userId, tab, store, outbox, persister }, {
            head: (conv) => this.state.convs.get(conv)?.head ?? 0,
            changed: () => this.state.topics.touch('outbox'),
            failed: () => {
                this.storageFailed = true;
                this.state.topics.touch('link');
            },
        });
        for (const c of saved.conversations) {
            if (c.kind === 'self') {
                this.sync.loadSelf(c);
            } else {
                /* One that an older page has kept lacks what is new; its list may have holes. */
                const fresh = { ...newConversation(c.id, c.kind), unreadFrom: c.head + 1 };
                this.state.put({ ...fresh, ...c }, false);
                if (!c.listed) {
                    this.sync.loadUnlisted(c.id);
                }
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
            elsewhere,
            since: saved.since,
            release: () => undefined,
        };
        this.state.own = own;
        own.release = locks.hold(`confab-writer-${userId}`, () =>
            persister.become(this.state.all(), own.since),
        );
        this.account = 'in';
        this.signedOutBy = undefined;
        this.state.topics.touch('account');
        this.state.topics.touch('list');
        await elsewhere.look();
        this.reconnector.start();
        void this.learnMe();
    }

    /* Where the browser's cannot be had, one that lasts as long as the page. */
    private async openStore(userId: string): Promise<{ store: Store; saved: Saved }> {
        try {
            const store = await this.opt.stores.open(userId);
            return { store, saved: await store.load() };
        } catch {
            this.storageFailed = true;
            const store = new MemoryStore();
            return { store, saved: await store.load() };
        }
    }

    private leave(to: AccountState): Account | undefined {
        const own = this.state.own;
        this.session?.close();
        this.session = undefined;
        this.reconnector.stop();
        own?.outbox.clear();
        own?.elsewhere.close();
        this.sync.clear();
        this.counts.clear();
        this.originals.clear();
        this.cursors.clear();
        this.presence.clear();
        this.typing.linkDown();
        this.drafts.clear();
        this.state.clear();
        this.me = undefined;
        this.storageFailed = false;
        this.account = to;
        this.state.topics.touch('account');
        this.state.topics.touch('list');
        return own;
    }

    /* One's own account as the server has it now. */
    learnOwn(me: User): void {
        if (this.state.own?.userId === me.userId) {
            this.changes++;
            this.me = { ...this.me, ...me };
            this.people.learn(this.me);
            this.state.own.persister.saveUser(this.me);
            this.state.topics.touch('account');
            this.state.topics.touch('people');
        }
    }

    private async learnMe(): Promise<void> {
        const own = this.state.own;
        if (!own) {
            return;
        }
        this.me ??= this.people.get(own.userId);
        if (this.asking === own) {
            return;
        }
        this.asking = own;
        try {
            let before: number;
            let me: User;
            do {
                before = this.changes;
                me = await this.rest.me();
            } while (before !== this.changes); /* it may be of before the change */
            if (this.state.own === own) {
                this.me = me;
                this.people.learn(me);
                own.persister.saveUser(me);
                this.state.topics.touch('account');
            }
        } catch {
            /* Asked again with the next connection. */
        }
        this.asking = this.asking === own ? undefined : this.asking;
    }

    /* ---- The connection ---- */

    get link(): LinkView {
        if (this.sync.phase === 'live') {
            return 'live';
        }
        if (this.sync.phase === 'sync') {
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
        if (this.session?.overdue() === true) {
            this.drop(0); /* asking would take as long as a new connection does */
        }
        if (this.session) {
            this.session.probe(PROBE_MS);
        } else {
            this.reconnector.wake();
        }
    }

    private async connect(): Promise<void> {
        const own = this.state.own;
        let good: boolean;
        try {
            good = await this.auth.ensure();
        } catch (e) {
            if (this.state.own === own) {
                this.reconnector.down(e instanceof ApiError ? e.retryAfterMs : 0);
            }
            return;
        }
        if (this.state.own !== own || !own || this.reconnector.state !== 'connecting') {
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
        session.open(this.platform.sockets, '/ws', this.auth.token);
    }

    /* The sign-in has ended at the server. What is kept here stays for the next one. */
    private expire(): void {
        this.auth.forget();
        void this.settle(this.leave('out'));
        this.signedOutBy = 'expired';
        this.state.topics.touch('account');
    }

    private drop(atLeastMs: number): void {
        this.session?.close();
        this.session = undefined;
        this.sync.linkDown();
        this.counts.linkDown();
        this.cursors.linkDown();
        this.presence.linkDown();
        this.typing.linkDown();
        this.state.own?.outbox.linkDown();
        this.reconnector.down(atLeastMs);
        this.state.topics.touch('link');
    }

    private onEnd(code: number): void {
        this.drop(code === CLOSE_TOO_MANY ? 5000 : 0);
        if (code === CLOSE_TOKEN) {
            this.auth.token = undefined;
            this.reconnector.wake();
        }
    }

    private onHello(hello: Hello): void {
        const own = this.state.own;
        if (!own || hello.userId !== own.userId) {
            this.expire();
            return;
        }
        own.outbox.inflightMax = Math.max(Math.min(hello.inflight - 8, 32), 1);
        this.textBytesMax = hello.textBytes;
        this.sync.resume();
    }

    private onLive(): void {
        this.reconnector.up();
        this.state.topics.touch('link');
        this.state.topics.touch('list');
        this.cursors.all();
        this.counts.live();
        this.presence.live();
        this.drafts.live();
        this.state.own?.outbox.pump();
        this.people.retry();
        this.originals.retry();
        if (!this.me) {
            void this.learnMe();
        }
        for (const { timeline } of this.state.timelines.values()) {
            timeline.resumed();
        }
        void this.cursors.checkStatuses();
        void this.state.own?.elsewhere.look();
    }

    private onFrame(frame: ServerFrame): void {
        switch (frame.event) {
            case 'ack':
                this.sync.onAck(frame);
                break;
            case 'delivery_receipt': {
                const c = this.state.convs.get(frame.conversationId);
                if (c && this.userId !== undefined) {
                    this.state.put(applyReceipt(c, frame, this.userId));
                    this.state.topics.touch(`timeline:${c.id}`);
                }
                break;
            }
            case 'conversations':
                for (const page of frame.conversations) {
                    this.sync.onPage(page);
                }
                break;
            case 'typing':
                this.typing.onEvent(frame);
                break;
            case 'counter':
                this.sync.onCounter(frame);
                break;
            case 'presence_update':
                this.presence.onUpdate(frame);
                break;
            case 'caught_up':
                this.sync.onCaughtUp(frame.since, frame.reset);
                break;
            case 'resync':
                this.sync.resync();
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
                this.sync.onEvent(frame);
        }
    }

    private onError(f: WireFailure): void {
        if (f.clientMsgId !== undefined && this.state.own?.outbox.refused(f)) {
            return;
        }
        if (f.ref === 'resume' && f.code === 'conflict' && this.sync.conflict()) {
            return;
        }
        if (f.ref === 'ack' && f.conversationId !== undefined && f.retryAfterMs !== undefined) {
            this.cursors.refused(f.conversationId, f.retryAfterMs);
        }
        if (this.sync.phase === 'sync' && f.ref === 'resume') {
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

    /* How far all others have come. */
    lowest(c: Conversation): Cursor {
        const others = this.state.memberLists
            .get(c.id)
            ?.map((m) => m.userId)
            .filter((u) => u !== this.userId);
        return lowestOf(c, others);
    }

    status(c: Conversation, seq: number): 'sent' | 'delivered' | 'read' {
        const { delivered, read } = this.lowest(c);
        return seq <= read ? 'read' : seq <= delivered ? 'delivered' : 'sent';
    }

    /* The person has seen everything up to there. */
    markRead(conv: string, seq: number): void {
        this.cursors.markRead(conv, seq);
    }

    /* ---- Reading ---- */

    /* Newest activity first, pinned ones before all others. */
    conversations(): Conversation[] {
        return [...this.state.convs.values()]
            .filter((c) => !c.left)
            .sort((a, b) => Number(b.pinned) - Number(a.pinned) || b.lastAt - a.lastAt);
    }

    conversation(id: string): Conversation | undefined {
        return this.state.convs.get(id);
    }

    directWith(userId: string): Conversation | undefined {
        const id = this.state.directs.get(userId);
        return id === undefined ? undefined : this.state.convs.get(id);
    }

    /* What is waiting to be sent there, in order. */
    outgoing(conv: string | undefined, user: string | undefined): ReturnType<Outbox['entries']> {
        const own = this.state.own;
        const all = own ? [...own.outbox.entries(), ...own.elsewhere.entries()] : [];
        return all
            .filter(({ entry: { target } }) =>
                'conversation' in target ? target.conversation === conv : target.user === user,
            )
            .sort((a, b) => a.entry.order - b.entry.order);
    }

    /* In all tabs. */
    get unsent(): number {
        const own = this.state.own;
        return own ? own.outbox.size() + own.elsewhere.size() : 0;
    }

    /* A timeline is shared by all that have it open; release it when it is not shown any more. */
    openTimeline(conv: string): { timeline: Timeline; release: () => void } {
        const shared = this.state.timelines.get(conv) ?? { timeline: this.newTimeline(conv), users: 0 };
        this.state.timelines.set(conv, shared);
        shared.users++;
        if (this.state.convs.get(conv)?.kind === 'group') {
            void this.fetchMembers(conv);
        }
        if (this.sync.phase === 'live') {
            this.cursors.wantStatus(conv);
            void this.cursors.checkStatuses();
        }
        return {
            timeline: shared.timeline,
            release: () => {
                shared.users--;
                if (shared.users === 0 && this.state.timelines.get(conv) === shared) {
                    shared.timeline.close();
                    this.state.timelines.delete(conv);
                }
            },
        };
    }

    /* The message that another one is an answer to; undefined while it is being looked for. */
    original(conv: string, id: string): MessageItem | 'gone' | undefined {
        return this.originals.get(conv, id);
    }

    private async readStored(
        conv: string,
        from: number,
        to: number,
        limit: number,
        reverse: boolean,
    ): Promise<Slice> {
        const own = this.state.own;
        if (!own) {
            return { ranges: [], items: [] };
        }
        await own.persister.flush();
        return own.store.read(conv, from, to, limit, reverse);
    }

    private newTimeline(conv: string): Timeline {
        return new Timeline({
            head: () => this.state.convs.get(conv)?.head ?? 0,
            read: (from, to, limit, reverse) => this.readStored(conv, from, to, limit, reverse),
            history: async (place, limit) => {
                const page = await this.rest.history(conv, place, limit);
                const c = this.state.convs.get(conv);
                if (c && this.userId !== undefined) {
                    this.state.put(applyStatuses(c, page.messages, this.userId));
                }
                return page;
            },
            keep: (items, from, to) =>
                this.state.own?.persister.saveTimeline({ op: 'put', conv, items, from, to }),
            changed: () => this.state.topics.touch(`timeline:${conv}`),
        });
    }

    /* ---- Writing ---- */

    /* Throws OutboxFull. */
    send(
        target: OutboxEntry['target'],
        content: string,
        more: { replyTo?: string; mentions?: string[] } = {},
    ): OutboxEntry | undefined {
        return this.state.own?.outbox.add({
            target,
            content,
            ...(more.replyTo === undefined ? {} : { replyTo: more.replyTo }),
            mentions: more.mentions ?? [],
        });
    }

    retrySend(clientMsgId: string): void {
        const own = this.state.own;
        if (own && !own.elsewhere.retry(clientMsgId)) {
            own.outbox.retry(clientMsgId);
        }
    }

    dropSend(clientMsgId: string): boolean {
        const own = this.state.own;
        return own !== undefined && (own.elsewhere.drop(clientMsgId) || own.outbox.drop(clientMsgId));
    }

    /* ---- Members ---- */

    members(conv: string): Member[] | undefined {
        return this.state.memberLists.get(conv);
    }

    private async fetchMembers(conv: string): Promise<void> {
        try {
            this.state.memberLists.set(conv, await this.rest.members(conv));
            this.state.topics.touch(`timeline:${conv}`);
        } catch {
            /* Asked for again when it is opened, or moves, the next time. */
        }
    }

    private onApplied(ev: SequencedEvent): void {
        if (ev.event === 'new_message') {
            this.typing.end(ev.conversationId, ev.from);
            if (ev.from === this.userId) {
                this.drafts.sent(ev.conversationId, ev.content);
            }
        }
        this.updateMembers(ev);
    }

    private updateMembers(ev: SequencedEvent): void {
        const list = this.state.memberLists.get(ev.conversationId);
        if (ev.event !== 'membership' || !list) {
            return;
        }
        const named = new Set(ev.members.map((m) => m.userId));
        const others = list.filter((m) => !named.has(m.userId));
        if (ev.action === 'remove' || ev.action === 'leave') {
            this.state.memberLists.set(ev.conversationId, others);
        } else {
            this.state.memberLists.set(ev.conversationId, [...others, ...ev.members]);
        }
    }
}
