/*
 * A server in memory that speaks the wire as docs/api/socket.md has it, as far as sync goes: dense
 * sequences, resume with pages and tokens, acks, cursors, history. It is written for being wrong in
 * none of the ways that matter to a client, not for speed: the sync tests hold clients to it.
 *
 * Nothing moves by itself. A test steps connections, cuts them, and lets time pass.
 */
import type { HttpAnswer, HttpRequest, SocketEvents, SocketOpener, Socket } from '../platform/platform.js';
import { answer, refusal } from './net.js';
import type { SeededRandom } from './random.js';

type Frame = Record<string, unknown>;

interface Event {
    seq: number;
    id: string;
    at: number;
    from: string;
    body: Frame;
    /* Of messages: as they are now. */
    message?: { content: string; editedAt?: number; deleted: boolean; cmid: string; replyTo?: string };
}

interface Membership {
    role: string;
    active: boolean;
    from: number;
    to: number;
    delivered: number;
    read: number;
    /* Changed since: a cursor, a hidden message. */
    moved: number;
    /* When the user's list learnt of it, a moment after the first event; 0: not yet. */
    listed: number;
    hidden: Set<number>;
}

export interface FakeConversation {
    id: string;
    kind: 'direct' | 'group';
    name: string;
    events: Event[];
    members: Map<string, Membership>;
}

interface SelfLog {
    events: Event[];
    muted: Map<string, boolean>;
    pinned: Map<string, boolean>;
    drafts: Map<string, string>;
}

interface Connection {
    user: string;
    live: boolean;
    open: boolean;
    events: SocketEvents;
    toServer: string[];
    toClient: Frame[];
    /* It takes several events in one frame. */
    batch: boolean;
    /* Pages of a resume that are still to be made. */
    jobs: (() => Frame)[];
    /* What is on its screen, and whom it watches. */
    viewed: string[];
    watched: Set<string>;
    status: string;
}

function isChange(e: Event): boolean {
    return e.body['event'] === 'membership' || e.body['event'] === 'conversation';
}

function changeOf(e: Event): string {
    const { event, action, name } = e.body;
    return `(${event === 'membership' ? String(action) : name === undefined ? 'settings' : 'rename'})`;
}

export class FakeServer {
    readonly conversations = new Map<string, FakeConversation>();
    readonly users = new Map<string, string>();
    readonly connections: Connection[] = [];
    readonly selfLogs = new Map<string, SelfLog>();
    /* Nobody gets a connection. */
    down = false;
    /* Refuses this many of the next sends as busy. */
    busy = 0;
    /* New messages stored for each client_msg_id: more than one would be a mistake. */
    readonly stored = new Map<string, number>();
    /* Groups are large conversations: their events come as counters, or not, as if somebody looked. */
    large = false;
    eventsMax = 6;
    firstMax = 4;
    /* Reads that are answered and not told yet, as cursors are made durable together. */
    private noted: (() => void)[] = [];
    /* Conversations on their way into the lists of their members. */
    private readonly joining: (() => void)[] = [];
    private time = 1;
    private ids = 1000;

    constructor(private readonly random: SeededRandom) {}

    /* ---- The test's side ---- */

    addUser(id: string): void {
        this.users.set(id, `user${id}`);
        this.selfLogs.set(id, { events: [], muted: new Map(), pinned: new Map(), drafts: new Map() });
    }

    sockets(user: string): SocketOpener {
        return {
            open: (_path, events): Socket => {
                const c: Connection = {
                    user,
                    live: false,
                    open: true,
                    events,
                    toServer: [],
                    toClient: [],
                    batch: false,
                    jobs: [],
                    viewed: [],
                    watched: new Set(),
                    status: 'online',
                };
                this.connections.push(c);
                queueMicrotask(() => {
                    if (this.down) {
                        this.end(c);
                        events.onClose(1006);
                    } else {
                        events.onOpen();
                    }
                });
                return {
                    send: (frame) => void c.toServer.push(frame),
                    close: () => this.end(c),
                };
            },
        };
    }

    private end(c: Connection): void {
        c.open = false;
        c.live = false;
        const i = this.connections.indexOf(c);
        if (i >= 0) {
            this.connections.splice(i, 1);
            this.tellPresence(c.user);
        }
    }

    /* One thing happens on one connection; false when there is nothing to do. */
    step(): boolean {
        const ready = this.connections.filter(
            (c) => c.toServer.length + c.toClient.length + c.jobs.length > 0,
        );
        if (this.joining.length > 0 && (ready.length === 0 || this.random.chance(0.1))) {
            this.joining.shift()?.();
            return true;
        }
        if (ready.length === 0) {
            return false;
        }
        const c = this.random.pick(ready);
        const choices: (() => void)[] = [];
        const frame = c.toServer[0];
        if (frame !== undefined) {
            choices.push(() => {
                c.toServer.shift();
                this.receive(c, JSON.parse(frame) as Frame);
            });
        }
        const job = c.jobs[0];
        if (job) {
            choices.push(() => {
                c.jobs.shift();
                c.toClient.push(job());
            });
        }
        const out = c.toClient[0];
        if (out) {
            choices.push(() => {
                c.toClient.shift();
                c.events.onMessage(JSON.stringify(out));
            });
        }
        const several = c.toClient.slice(0, 2 + this.random.below(4));
        if (c.batch && several.length > 1) {
            choices.push(() => {
                c.toClient.splice(0, several.length);
                c.events.onMessage(JSON.stringify(several));
            });
        }
        this.random.pick(choices)();
        return true;
    }

    /* The server's side is gone, and nobody has told the client. */
    vanish(user: string): void {
        for (const c of this.connections.filter((o) => o.user === user)) {
            this.end(c);
        }
    }

    cut(user?: string): void {
        const open = this.connections.filter((c) => user === undefined || c.user === user);
        if (open.length > 0) {
            const c = this.random.pick(open);
            this.end(c);
            c.events.onClose(1006);
        }
    }

    /* This client reads too slowly: its live frames are dropped. */
    resync(): void {
        const live = this.connections.filter((c) => c.live && c.jobs.length === 0);
        if (live.length > 0) {
            const c = this.random.pick(live);
            c.toClient = c.toClient.filter((f) => typeof f['seq'] !== 'number' || f['event'] === 'ack');
            c.toClient.push({ event: 'resync' });
            c.live = false;
        }
    }

    createGroup(by: string, members: string[], name: string): string {
        const id = this.random.id();
        this.conversations.set(id, { id, kind: 'group', name, events: [], members: new Map() });
        const list = [{ user_id: by, role: 'owner' }, ...members.map((u) => ({ user_id: u, role: 'member' }))];
        this.join(id, list, 1);
        this.append(id, by, { event: 'membership', action: 'create', members: list, name, type: 'group' });
        return id;
    }

    direct(a: string, b: string): FakeConversation {
        const id = [a, b].sort().join('').padStart(32, 'd');
        const known = this.conversations.get(id);
        if (known) {
            return known;
        }
        const c: FakeConversation = { id, kind: 'direct', name: '', events: [], members: new Map() };
        this.conversations.set(id, c);
        const list = [a, b].map((u) => ({ user_id: u, role: 'member' }));
        this.join(id, list, 1);
        this.append(id, a, { event: 'membership', action: 'create', members: list, type: 'direct' });
        return c;
    }

    private join(conv: string, list: { user_id: string; role: string }[], from: number): void {
        const c = this.conv(conv);
        for (const m of list) {
            const base = from - 1;
            c.members.set(m.user_id, {
                role: m.role,
                active: true,
                from,
                to: Infinity,
                delivered: base,
                read: base,
                moved: this.time,
                listed: 0,
                hidden: new Set(),
            });
            this.joining.push(() => {
                this.self(m.user_id, { action: 'joined', target: conv });
                const joined = c.members.get(m.user_id);
                if (joined) {
                    joined.listed = this.time;
                }
            });
        }
    }

    add(conv: string, by: string, user: string): void {
        const c = this.conv(conv);
        const known = c.members.get(user);
        if (known) {
            return;
        }
        const list = [{ user_id: user, role: 'member' }];
        this.join(conv, list, c.events.length + 1);
        this.append(conv, by, {
            event: 'membership',
            action: 'add',
            members: list,
            name: c.name,
            type: 'group',
        });
    }

    leave(conv: string, user: string): void {
        const c = this.conv(conv);
        const m = c.members.get(user);
        if (m?.active) {
            this.append(conv, user, {
                event: 'membership',
                action: 'leave',
                members: [{ user_id: user, role: 'member' }],
            });
            m.active = false;
            m.to = c.events.length;
            m.moved = this.time;
            this.self(user, { action: 'left', target: conv });
        }
    }

    rename(conv: string, by: string, name: string): void {
        this.conv(conv).name = name;
        this.append(conv, by, { event: 'conversation', name });
    }

    pin(conv: string, user: string, pinned: boolean): void {
        this.selfLogs.get(user)?.pinned.set(conv, pinned);
        this.self(user, { action: 'pin', target: conv, pinned });
    }

    hide(conv: string, user: string, seq: number): void {
        const c = this.conv(conv);
        const m = c.members.get(user);
        if (m && c.events[seq - 1]?.message) {
            m.hidden.add(seq);
            this.self(user, { action: 'hide', target: conv, hidden: [seq, seq] });
        }
    }

    edit(conv: string, seq: number, content: string): void {
        const target = this.conv(conv).events[seq - 1];
        if (target?.message && !target.message.deleted) {
            const ev = this.append(conv, target.from, {
                event: 'message_edited',
                message_id: target.id,
                target_seq: seq,
                content,
            });
            ev.body['edited_at'] = iso(ev.at);
            target.message.content = content;
            target.message.editedAt = ev.at;
        }
    }

    remove(conv: string, seq: number): void {
        const target = this.conv(conv).events[seq - 1];
        if (target?.message && !target.message.deleted) {
            this.append(conv, target.from, {
                event: 'message_deleted',
                message_id: target.id,
                target_seq: seq,
            });
            target.message.deleted = true;
            target.message.content = '';
        }
    }

    /* What the user sees of it: [seq, text] of each message, in order. */
    /* Messages, and what the lines between them tell, as Device.read has it. */
    visible(conv: string, user: string): [number, string][] {
        const c = this.conv(conv);
        const m = c.members.get(user);
        return c.events
            .filter((e) => (e.message || (c.kind === 'group' && isChange(e))) && m && sees(m, e.seq))
            .map((e) => [e.seq, e.message ? (e.message.deleted ? '' : e.message.content) : changeOf(e)]);
    }

    unread(conv: string, user: string): number {
        const c = this.conv(conv);
        const m = c.members.get(user);
        return m ? c.events.filter((e) => e.message && e.seq > m.read && e.seq <= m.to).length : 0;
    }

    head(conv: string): number {
        return this.conv(conv).events.length;
    }

    /* ---- REST ---- */

    http(user: string, request: HttpRequest): HttpAnswer {
        const url = new URL(request.path, 'http://server');
        const history = /^\/api\/v1\/conversations\/([^/]+)\/messages$/.exec(url.pathname);
        const single = /^\/api\/v1\/conversations\/([^/]+)(\/read)?$/.exec(url.pathname);
        const members = /^\/api\/v1\/groups\/([^/]+)\/members$/.exec(url.pathname);
        const person = /^\/api\/v1\/users\/([^/]+)$/.exec(url.pathname);
        if (url.pathname === '/api/v1/tokens' && request.method === 'POST') {
            return answer(201, { token: `token-${user}`, user_id: user, device_id: '1' });
        }
        if (history?.[1] !== undefined) {
            return this.history(user, history[1], url.searchParams);
        }
        if (single?.[1] !== undefined) {
            return this.single(user, single[1], request);
        }
        if (members?.[1] !== undefined) {
            const c = this.conversations.get(members[1]);
            const list = [...(c?.members ?? [])]
                .filter(([, m]) => m.active)
                .map(([u, m]) => ({ user_id: u, role: m.role }));
            return c ? answer(200, { members: list }) : refusal(404, 'not_found');
        }
        if (person?.[1] !== undefined) {
            const id = person[1] === 'me' ? user : person[1];
            const name = this.users.get(id);
            return name === undefined
                ? refusal(404, 'not_found')
                : answer(200, { user_id: id, username: name, display_name: name });
        }
        return refusal(404, 'not_found');
    }

    /* Reading it up to a seq, or what it is like now. */
    private single(user: string, conv: string, request: HttpRequest): HttpAnswer {
        const c = this.conversations.get(conv);
        const m = c?.members.get(user);
        if (!c || !m) {
            return refusal(404, 'not_found');
        }
        if (request.method === 'PATCH') {
            const text = (request.body as Frame)['draft'];
            this.draft(user, conv, typeof text === 'string' ? text : '');
            return answer(200, { id: conv });
        }
        if (request.method === 'POST') {
            const seq = Number((request.body as Frame)['seq']);
            if (!(seq > 0) || seq > c.events.length) {
                return refusal(400, 'invalid');
            }
            this.noted.push(() => this.cursor(user, { conversation_id: conv, seq, status: 'read' }));
            return answer(200, { conversation_id: conv, seq });
        }
        const noted = this.noted;
        this.noted = [];
        queueMicrotask(() => {
            for (const read of noted) {
                read();
            }
        });
        return answer(200, {
            id: conv,
            head: c.events.length,
            unread: this.unread(conv, user),
            mentions: 0,
            cursors: { delivered: m.delivered, read: m.read },
        });
    }

    private history(user: string, conv: string, query: URLSearchParams): HttpAnswer {
        const c = this.conversations.get(conv);
        const m = c?.members.get(user);
        if (!c || !m) {
            return refusal(404, 'not_found');
        }
        const limit = Number(query.get('limit') ?? '50');
        const last = Math.min(c.events.length, m.to);
        const changes = query.get('changes') === 'true';
        const all = c.events.filter((e) => (e.message || (changes && isChange(e))) && sees(m, e.seq));
        const after = query.get('after');
        const before = query.get('before');
        const around = query.get('around');
        let chosen: Event[];
        let more: boolean;
        let from: number;
        let to: number;
        if (after !== null) {
            const low = Number(after);
            const rest = all.filter((e) => e.seq > low);
            chosen = rest.slice(0, limit);
            more = rest.length > chosen.length;
            from = low + 1;
            to = more ? (chosen.at(-1)?.seq ?? low) : last;
        } else {
            let high = before === null ? last : Number(before) - 1;
            if (around !== null) {
                high = Math.min(last, Number(around) + Math.floor(limit / 2));
            }
            const rest = all.filter((e) => e.seq <= high);
            chosen = rest.slice(-limit);
            more = rest.length > chosen.length;
            from = more ? (chosen[0]?.seq ?? 1) : Math.max(m.from, 1);
            to = high;
        }
        const others = [...c.members].filter(([u, o]) => u !== user && o.active).map(([, o]) => o);
        const delivered = Math.min(...others.map((o) => o.delivered));
        const read = Math.min(...others.map((o) => o.read));
        return answer(200, {
            messages: chosen.filter((e) => e.message).map((e) => ({
                message_id: e.id,
                conversation_id: conv,
                seq: e.seq,
                from: e.from,
                content: e.message?.content,
                type: 'text',
                sent_at: iso(e.at),
                status: e.seq <= read ? 'read' : e.seq <= delivered ? 'delivered' : 'sent',
                ...(e.from === user ? { client_msg_id: e.message?.cmid } : {}),
                ...(e.message?.editedAt === undefined ? {} : { edited_at: iso(e.message.editedAt) }),
                deleted: e.message?.deleted === true,
            })),
            ...(changes ? { changes: chosen.filter(isChange).map((e) => e.body) } : {}),
            has_more: more,
            covered: [from, to],
        });
    }

    /* ---- The socket ---- */

    private receive(c: Connection, frame: Frame): void {
        if (!c.open) {
            return;
        }
        switch (frame['event']) {
            case 'auth':
                c.toClient.push({
                    event: 'hello',
                    protocol: 1,
                    server_time: iso(this.time),
                    session_id: 's',
                    user_id: c.user,
                    device_id: '1',
                    limits: { text_bytes: 16384, frame_bytes: 65536, inflight: 64 },
                    heartbeat_ms: 30000,
                });
                break;
            case 'resume':
                c.batch = frame['batch'] === true;
                this.resume(c, frame);
                break;
            case 'send_message':
                this.send(c, frame);
                break;
            case 'ack':
                this.cursor(c.user, frame);
                break;
            case 'heartbeat':
                c.toClient.push({ event: 'heartbeat' });
                break;
            case 'view':
                c.viewed = frame['conversation_ids'] as string[];
                this.presence(c, 'online');
                break;
            case 'typing':
                this.typing(c, frame);
                break;
            case 'presence':
                this.presence(c, String(frame['status']));
                break;
            case 'subscribe_presence':
                for (const u of frame['user_ids'] as string[]) {
                    c.watched.add(u);
                    c.toClient.push(this.presenceOf(u));
                }
                break;
            case 'unsubscribe_presence':
                for (const u of (frame['user_ids'] as string[] | undefined) ?? [...c.watched]) {
                    c.watched.delete(u);
                }
                break;
        }
    }

    /* ---- The live half ---- */

    /* What a connection of the user's said last, for tests. */
    viewed(user: string): string[] {
        return this.connections.find((c) => c.user === user)?.viewed ?? [];
    }

    private presenceOf(user: string): Frame {
        const statuses = this.connections.filter((c) => c.user === user).map((c) => c.status);
        const status = statuses.includes('online') ? 'online' : statuses.includes('away') ? 'away' : 'offline';
        const seen = status === 'online' ? null : iso(this.time);
        return { event: 'presence_update', user_id: user, status, last_seen: seen };
    }

    private tellPresence(user: string): void {
        for (const conn of this.connections) {
            if (conn.watched.has(user)) {
                conn.toClient.push(this.presenceOf(user));
            }
        }
    }

    private presence(c: Connection, status: string): void {
        if (c.status !== status) {
            c.status = status;
            this.tellPresence(c.user);
        }
    }

    private typing(c: Connection, frame: Frame): void {
        const to = frame['to'];
        const conv =
            typeof to === 'string' ? this.direct(c.user, to) : this.conversations.get(String(frame['conversation_id']));
        for (const conn of conv ? this.connections : []) {
            if (conv && conn.user !== c.user && conv.members.get(conn.user)?.active && conn.viewed.includes(conv.id)) {
                conn.toClient.push({
                    event: 'typing',
                    conversation_id: conv.id,
                    user_id: c.user,
                    active: frame['active'] !== false,
                    expires_in_ms: 6000,
                });
            }
        }
    }

    private draft(user: string, conv: string, text: string): void {
        const log = this.selfLogs.get(user);
        if (log && (log.drafts.get(conv) ?? '') !== text) {
            log.drafts.set(conv, text);
            this.self(user, { action: 'draft', target: conv, content: text });
        }
    }

    private send(c: Connection, frame: Frame): void {
        const cmid = String(frame['client_msg_id']);
        if (this.busy > 0) {
            this.busy--;
            c.toClient.push({ event: 'error', code: 'busy', message: 'busy', client_msg_id: cmid });
            return;
        }
        const to = frame['to'];
        const conv =
            typeof to === 'string'
                ? this.direct(c.user, to)
                : this.conversations.get(String(frame['conversation_id']));
        if (!conv?.members.get(c.user)?.active) {
            c.toClient.push({
                event: 'error',
                code: 'not_found',
                message: 'no such conversation',
                client_msg_id: cmid,
            });
            return;
        }
        const known = conv.events.find((e) => e.from === c.user && e.message?.cmid === cmid);
        const ev =
            known ??
            this.append(
                conv.id,
                c.user,
                { event: 'new_message', content: frame['content'], type: 'text' },
                { content: String(frame['content']), deleted: false, cmid },
                c,
            );
        if (!known) {
            this.stored.set(cmid, (this.stored.get(cmid) ?? 0) + 1);
            this.draft(c.user, conv.id, '');
        }
        c.toClient.push({
            event: 'ack',
            client_msg_id: cmid,
            message_id: ev.id,
            conversation_id: conv.id,
            seq: ev.seq,
            sent_at: iso(ev.at),
            status: 'sent',
            duplicate: known !== undefined,
        });
    }

    private cursor(user: string, frame: Frame): void {
        const c = this.conversations.get(String(frame['conversation_id']));
        const m = c?.members.get(user);
        const seq = Math.min(Number(frame['seq']), c?.events.length ?? 0);
        if (!c || !m?.active) {
            return;
        }
        const read = frame['status'] === 'read';
        if (seq <= (read ? m.read : m.delivered)) {
            return;
        }
        m.delivered = Math.max(m.delivered, seq);
        m.read = read ? seq : m.read;
        this.time++;
        for (const o of c.members.values()) {
            o.moved = this.time;
        }
        this.publish(c, {
            event: 'delivery_receipt',
            conversation_id: c.id,
            from_seq: 1,
            seq,
            user_id: user,
            status: read ? 'read' : 'delivered',
            at: iso(this.time),
        });
    }

    /* Whom it is about, and the author's own, get the event itself; a new name all do. */
    private counts(ev: Event, conn: Connection): boolean {
        const named = (ev.body['members'] as { user_id: string }[] | undefined) ?? [];
        return (
            ev.body['event'] !== 'conversation' &&
            ev.from !== conn.user &&
            !named.some((m) => m.user_id === conn.user) &&
            this.random.chance(0.7)
        );
    }

    private counter(c: FakeConversation, ev: Event): Frame {
        const messages = c.events.filter((e) => e.message !== undefined);
        const last = messages.at(-1);
        const gone = ev.body['event'] === 'message_deleted' || ev.body['event'] === 'message_edited';
        return {
            event: 'counter',
            conversation_id: c.id,
            seq: ev.seq,
            event_id: ev.id,
            sent_at: iso(ev.at),
            messages: messages.length,
            members: c.members.size,
            ...(last && !gone ? { last_message_id: last.id } : {}),
            ...(ev.message
                ? { preview: { message_id: ev.id, from: ev.from, content: ev.message.content, type: 'text', sent_at: iso(ev.at) } }
                : {}),
        };
    }

    private publish(c: FakeConversation, frame: Frame, but?: Connection, ev?: Event): void {
        for (const conn of this.connections) {
            const m = c.members.get(conn.user);
            if (conn.live && conn !== but && m?.active) {
                conn.toClient.push(ev && this.counts(ev, conn) ? this.counter(c, ev) : frame);
            }
        }
    }

    private append(
        conv: string,
        from: string,
        body: Frame,
        message?: Event['message'],
        origin?: Connection,
    ): Event {
        const c = this.conv(conv);
        const at = ++this.time;
        const id = String(++this.ids);
        const seq = c.events.length + 1;
        const full: Frame = {
            ...body,
            conversation_id: conv,
            seq,
            event_id: id,
            sent_at: iso(at),
            from,
            ...(message ? { message_id: id } : {}),
        };
        const ev: Event = { seq, id, at, from, body: full, ...(message ? { message } : {}) };
        c.events.push(ev);
        for (const m of c.members.values()) {
            m.moved = m.active ? at : m.moved;
        }
        const author = c.members.get(from);
        if (message && author) {
            author.read = seq;
            author.delivered = seq;
        }
        this.publish(c, full, origin, this.large && c.kind === 'group' ? ev : undefined);
        return ev;
    }

    private self(user: string, body: Frame): void {
        const log = this.selfLogs.get(user);
        if (!log) {
            return;
        }
        const at = ++this.time;
        const ev: Event = { seq: log.events.length + 1, id: String(++this.ids), at, from: user, body: {} };
        ev.body = {
            event: 'self',
            conversation_id: `self${user}`,
            seq: ev.seq,
            event_id: ev.id,
            sent_at: iso(at),
            from: user,
            ...body,
        };
        log.events.push(ev);
        for (const conn of this.connections) {
            if (conn.live && conn.user === user) {
                conn.toClient.push(ev.body);
            }
        }
    }

    private resume(c: Connection, frame: Frame): void {
        if (c.jobs.length > 0) {
            c.toClient.push({ event: 'error', code: 'conflict', message: 'a resume is under way', ref: 'resume' });
            return;
        }
        c.live = true;
        const token = this.time;
        const given = typeof frame['since'] === 'string' ? Number(frame['since'].slice(2)) : 0;
        const have = new Map(
            (Array.isArray(frame['have']) ? (frame['have'] as Frame[]) : []).map((h) => [
                String(h['conversation_id']),
                Number(h['seq']),
            ]),
        );
        const pages: (() => Frame)[] = [];
        const log = this.selfLogs.get(c.user);
        if (log && log.events.some((e) => e.at > given)) {
            pages.push(() => this.selfPage(c.user, log, given));
        }
        for (const conv of this.conversations.values()) {
            const m = conv.members.get(c.user);
            if (!m || m.listed === 0) {
                continue;
            }
            if (m.listed > given) {
                pages.push(() => this.page(c.user, conv, m, Math.min(given, 1), have.get(conv.id) ?? 0));
            } else if (m.moved > given || (have.get(conv.id) ?? conv.events.length) < conv.events.length) {
                pages.push(() => this.page(c.user, conv, m, given, have.get(conv.id) ?? 0));
            }
        }
        for (const page of pages) {
            c.jobs.push(() => ({ event: 'conversations', conversations: [page()] }));
        }
        c.jobs.push(() => ({ event: 'caught_up', since: `1-${token}`, server_time: iso(this.time) }));
    }

    private selfPage(user: string, log: SelfLog, since: number): Frame {
        const events = log.events.filter((e) => e.at > since).slice(-this.eventsMax);
        const head = log.events.length;
        const from = events[0]?.seq ?? head + 1;
        return {
            conversation_id: `self${user}`,
            type: 'self',
            members: 1,
            head,
            head_id: log.events.at(-1)?.id,
            unread: 0,
            mentions: 0,
            muted: false,
            pinned: false,
            cursors: { delivered: 0, read: 0 },
            covered: [from, head],
            limited: log.events.filter((e) => e.at > since).length > events.length,
            reset: false,
            events: events.map((e) => e.body),
        };
    }

    private page(user: string, c: FakeConversation, m: Membership, since: number, have: number): Frame {
        if (!m.active) {
            return { conversation_id: c.id, type: c.kind, left: true, events: [] };
        }
        const head = c.events.length;
        const max = since > 0 ? this.eventsMax : this.firstMax;
        const wanted = c.events.filter(
            (e) => e.seq >= m.from && (have > 0 ? e.seq > have : e.at > since),
        );
        const sent = wanted.slice(-max);
        const from = sent[0]?.seq ?? head + 1;
        const last = [...c.events].reverse().find((e) => e.message && e.seq >= m.from);
        const log = this.selfLogs.get(user);
        return {
            conversation_id: c.id,
            type: c.kind,
            ...(c.kind === 'group' ? { name: c.name } : {}),
            ...(c.kind === 'direct' ? { with: [...c.members.keys()].find((u) => u !== user) } : {}),
            role: m.role,
            members: [...c.members.values()].filter((o) => o.active).length,
            head,
            head_id: c.events.at(-1)?.id,
            ...(last
                ? {
                      last_message_at: iso(last.at),
                      preview: {
                          message_id: last.id,
                          from: last.from,
                          content: last.message?.content,
                          type: 'text',
                          sent_at: iso(last.at),
                      },
                  }
                : {}),
            ...(this.large && c.kind === 'group'
                ? { messages: c.events.filter((e) => e.message !== undefined).length }
                : {}),
            unread: this.unread(c.id, user),
            mentions: 0,
            muted: log?.muted.get(c.id) === true,
            pinned: log?.pinned.get(c.id) === true,
            ...(log?.drafts.get(c.id) ? { draft: log.drafts.get(c.id) } : {}),
            cursors: { delivered: m.delivered, read: m.read },
            covered: [from, head],
            limited: wanted.length > sent.length,
            reset: false,
            events: sent.filter((e) => sees(m, e.seq)).map((e) => e.body),
        };
    }

    private conv(id: string): FakeConversation {
        const c = this.conversations.get(id);
        if (!c) {
            throw new Error(`no conversation ${id}`);
        }
        return c;
    }
}

function sees(m: Membership, seq: number): boolean {
    return seq >= m.from && seq <= m.to && !m.hidden.has(seq);
}

function iso(ms: number): string {
    return new Date(ms).toISOString();
}
