/*
 * What the client knows of a conversation, and how pages and events change it: pure functions from
 * one state to the next, so that they can be tested with random histories. States are never changed
 * in place; who shows them compares by identity.
 *
 * `head` is the seq up to which everything has been heard of. Whether all of it is also here is a
 * matter of the timeline's covered ranges (timeline.ts).
 */
import type {
    ConvKind,
    Counter,
    DeliveryReceipt,
    GroupSettings,
    HistoryMessage,
    MembershipAction,
    PageConversation,
    Preview,
    Role,
    SequencedEvent,
    UnreadCount,
} from '../wire.js';

export interface Cursor {
    delivered: number;
    read: number;
}

export interface Conversation {
    id: string;
    kind: ConvKind;
    name: string;
    /* The other one of a direct conversation. */
    with: string | undefined;
    role: Role;
    memberCount: number;
    left: boolean;
    head: number;
    headId: string | undefined;
    /* Of the newest message; 0: none. */
    lastSeq: number;
    lastAt: number;
    preview: (Preview & { deleted?: boolean }) | undefined;
    /* Of a large one, of which not every event comes: how many messages there are up to `head`. */
    messages?: number | 'unknown' | undefined;
    unread: number;
    /* What is here does not tell how many are unread: `unread` is a guess, and the server is asked
     * (counts.ts). */
    unsure: boolean;
    /* Where unread ones are, rising, at most UNREAD_SEQS_MAX: all those from unreadFrom on. */
    unreadSeqs: readonly number[];
    unreadFrom: number;
    mentions: number;
    /* How many were read here beyond what the server knows to be read; undefined: who knows. */
    readAhead: number | undefined;
    muted: boolean;
    pinned: boolean;
    /* What the server keeps of what was begun and not sent; '': nothing. */
    draft: string;
    /* Own cursors: what this client wants them to be, and what the server is known to have. */
    own: Cursor;
    confirmed: Cursor;
    /* The lowest cursors of all others as history told them, and each one's as receipts did. */
    lowest: Cursor;
    peers: Readonly<Record<string, Cursor>>;
    /* An answer to a resume had it: the user's list knows it. */
    listed: boolean;
    /* Moved since the last caught_up: belongs into the next resume's `have`. */
    ahead: boolean;
}

export interface MessageItem {
    kind: 'message';
    seq: number;
    id: string;
    from: string;
    sentAt: number;
    content: string;
    type: string;
    replyTo?: string;
    mentions: string[];
    clientMsgId?: string;
    editedAt?: number;
    deleted?: true;
}
/* A line between messages: somebody joined, the name changed. */
export interface NoteItem {
    kind: 'note';
    seq: number;
    id: string;
    from: string;
    sentAt: number;
    note:
        | { what: MembershipAction; users: string[]; role?: Role }
        | { what: 'rename'; name: string }
        | { what: 'settings'; settings: GroupSettings };
}
export type Item = MessageItem | NoteItem;

/* What an event does to messages that are already there. */
export type Patch =
    | { seq: number; edit: { content: string; at: number } }
    | { seq: number; delete: true };

const UNREAD_SEQS_MAX = 200;

export const noCursor: Cursor = { delivered: 0, read: 0 };

type Unread = Pick<Conversation, 'unread' | 'unsure' | 'unreadSeqs' | 'unreadFrom' | 'mentions'>;

export const nothingUnread: Unread = {
    unread: 0,
    unsure: false,
    unreadSeqs: [],
    unreadFrom: 0,
    mentions: 0,
};

export function newConversation(id: string, kind: ConvKind): Conversation {
    return {
        id,
        kind,
        name: '',
        with: undefined,
        role: 'member',
        memberCount: 0,
        left: false,
        head: 0,
        headId: undefined,
        lastSeq: 0,
        lastAt: 0,
        preview: undefined,
        ...nothingUnread,
        readAhead: 0,
        muted: false,
        pinned: false,
        draft: '',
        own: noCursor,
        confirmed: noCursor,
        lowest: noCursor,
        peers: {},
        listed: false,
        ahead: false,
    };
}

function maxCursor(a: Cursor, b: Cursor): Cursor {
    const delivered = Math.max(a.delivered, b.delivered);
    const read = Math.max(a.read, b.read);
    return delivered === a.delivered && read === a.read ? a : { delivered, read };
}

/* ---- Items ---- */

export function itemOf(ev: SequencedEvent): Item | undefined {
    const at = { seq: ev.seq, id: ev.eventId, from: ev.from, sentAt: ev.sentAt };
    switch (ev.event) {
        case 'new_message':
            return {
                kind: 'message',
                ...at,
                content: ev.content,
                type: ev.type,
                ...(ev.replyTo === undefined ? {} : { replyTo: ev.replyTo }),
                mentions: ev.mentions,
                ...(ev.clientMsgId === undefined ? {} : { clientMsgId: ev.clientMsgId }),
            };
        case 'membership': {
            /* A direct conversation's beginning is no news. */
            if (ev.kind === 'direct') {
                return undefined;
            }
            const first = ev.members[0];
            return {
                kind: 'note',
                ...at,
                note: {
                    what: ev.action,
                    users: ev.members.map((m) => m.userId),
                    ...(ev.action === 'role' && first ? { role: first.role } : {}),
                },
            };
        }
        case 'conversation':
            if (ev.name !== undefined) {
                return { kind: 'note', ...at, note: { what: 'rename', name: ev.name } };
            }
            return ev.settings
                ? { kind: 'note', ...at, note: { what: 'settings', settings: ev.settings } }
                : undefined;
        default:
            return undefined;
    }
}

export function itemOfHistory(m: HistoryMessage): MessageItem {
    return {
        kind: 'message',
        seq: m.seq,
        id: m.eventId,
        from: m.from,
        sentAt: m.sentAt,
        content: m.content,
        type: m.type,
        ...(m.replyTo === undefined ? {} : { replyTo: m.replyTo }),
        mentions: m.mentions,
        ...(m.clientMsgId === undefined ? {} : { clientMsgId: m.clientMsgId }),
        ...(m.editedAt === undefined ? {} : { editedAt: m.editedAt }),
        ...(m.deleted ? { deleted: true as const } : {}),
    };
}

export function patchOf(ev: SequencedEvent): Patch | undefined {
    if (ev.event === 'message_edited') {
        return { seq: ev.targetSeq, edit: { content: ev.content, at: ev.editedAt } };
    }
    return ev.event === 'message_deleted' ? { seq: ev.targetSeq, delete: true } : undefined;
}

/*
 * The item after the patch. History tells messages as they are now, events as they were: so an edit
 * that is older than what is there changes nothing, and nothing brings a deleted text back.
 */
export function patched(item: Item, patch: Patch): Item {
    if (item.kind !== 'message' || item.deleted) {
        return item;
    }
    if ('delete' in patch) {
        return { ...item, content: '', deleted: true };
    }
    if (item.editedAt !== undefined && item.editedAt > patch.edit.at) {
        return item;
    }
    return { ...item, content: patch.edit.content, editedAt: patch.edit.at };
}

/* Two accounts of the same message, one of which may be older than the other. */
export function newerItem(a: Item, b: Item): Item {
    if (a.kind !== 'message' || b.kind !== 'message') {
        return b;
    }
    const cmid = b.clientMsgId ?? a.clientMsgId;
    const newer = a.deleted || (a.editedAt ?? 0) > (b.editedAt ?? 0) ? (b.deleted ? b : a) : b;
    return cmid === newer.clientMsgId || cmid === undefined ? newer : { ...newer, clientMsgId: cmid };
}

/* ---- Events ---- */

/* The user's own part in a membership event: what becomes of the user's being a member. */
function ownMembership(c: Conversation, ev: SequencedEvent, me: string): Partial<Conversation> {
    if (ev.event !== 'membership') {
        return {};
    }
    const mine = ev.members.find((m) => m.userId === me);
    switch (ev.action) {
        case 'create':
        case 'add': {
            const added = ev.action === 'create' ? 0 : c.memberCount;
            return {
                memberCount: added + ev.members.length,
                ...(mine ? { role: mine.role, left: false } : {}),
                ...(ev.name === undefined ? {} : { name: ev.name }),
                ...(ev.kind === 'direct'
                    ? { with: ev.members.find((m) => m.userId !== me)?.userId ?? c.with }
                    : {}),
            };
        }
        case 'remove':
        case 'leave':
            return {
                memberCount: Math.max(c.memberCount - ev.members.length, 0),
                ...(mine ? { left: true, ...nothingUnread } : {}),
            };
        case 'role':
            return mine ? { role: mine.role } : {};
    }
}

/* The next event of the sequence, or a later one, when those between will not come. */
export function applyEvent(c: Conversation, ev: SequencedEvent, me: string): Conversation {
    const missed = ev.seq > c.head + 1 && ev.seq > c.own.read + 1;
    const next: Conversation = {
        ...c,
        head: ev.seq,
        headId: ev.eventId,
        ahead: true,
        ...(missed ? { unsure: true, unreadFrom: ev.seq } : {}),
        ...ownMembership(c, ev, me),
    };
    if (c.messages !== undefined && ev.seq > c.head + 1) {
        next.messages = 'unknown';
    } else if (typeof c.messages === 'number' && ev.event === 'new_message') {
        next.messages = c.messages + 1;
    }
    if (c.lastAt === 0) {
        next.lastAt = ev.sentAt; /* a new one stands on top before anybody has said anything */
    }
    if (ev.event === 'conversation' && ev.name !== undefined) {
        next.name = ev.name;
    }
    if (ev.event === 'new_message') {
        next.lastSeq = ev.seq;
        next.lastAt = ev.sentAt;
        next.preview = {
            messageId: ev.eventId,
            from: ev.from,
            content: ev.content.slice(0, 200),
            type: ev.type,
            sentAt: ev.sentAt,
        };
        if (ev.from === me) {
            /* Sending moves one's own cursors, at the server too. A receipt may have come first. */
            const sent: Cursor = { delivered: ev.seq, read: ev.seq };
            next.own = maxCursor(c.own, sent);
            next.confirmed = maxCursor(c.confirmed, sent);
            Object.assign(next, nothingUnread);
            next.draft = '';
            next.readAhead = next.own.read > next.confirmed.read ? undefined : 0;
        } else {
            if (ev.seq > c.own.read) {
                next.unread = c.unread + 1;
                Object.assign(next, listed([...c.unreadSeqs, ev.seq], next.unreadFrom));
                next.mentions = c.mentions + (ev.mentions.includes(me) ? 1 : 0);
            }
            next.own = { ...c.own, delivered: Math.max(c.own.delivered, ev.seq) };
        }
        next.peers = { ...c.peers, [ev.from]: { delivered: ev.seq, read: ev.seq } };
    }
    if (c.preview && ev.event === 'message_edited' && ev.messageId === c.preview.messageId) {
        next.preview = { ...c.preview, content: ev.content.slice(0, 200) };
    }
    if (c.preview && ev.event === 'message_deleted' && ev.messageId === c.preview.messageId) {
        next.preview = { ...c.preview, content: '', deleted: true };
    }
    return next;
}

/*
 * A large conversation has moved, and nothing of what it was is here. How many are unread is the
 * difference to the number known before, or a guess.
 */
export function applyCounter(c: Conversation, k: Counter): Conversation {
    if (k.seq <= c.head) {
        return c;
    }
    const sure = typeof c.messages === 'number' && k.messages >= c.messages;
    const more = sure ? k.messages - Number(c.messages) : 1;
    const next: Conversation = {
        ...c,
        head: k.seq,
        headId: k.eventId,
        ahead: true,
        messages: k.messages,
        memberCount: k.members,
        preview: k.preview ?? (c.preview?.messageId === k.lastMessageId ? c.preview : undefined),
    };
    if (more > 0) {
        next.lastSeq = k.preview?.messageId === k.eventId ? k.seq : 0;
        next.lastAt = k.preview?.sentAt ?? k.sentAt;
        if (k.seq > c.own.read) {
            next.unread = c.unread + more;
            next.unreadFrom = k.seq + 1;
            next.unsure = c.unsure || !sure;
        }
    }
    return next;
}

/* ---- Pages ---- */

/* Does the page show that the server's history is another one than ours? */
export function contradicts(c: Conversation, page: PageConversation): boolean {
    if (page.reset) {
        return true;
    }
    if (c.headId === undefined || c.head === 0) {
        return false;
    }
    if (page.head === c.head && page.headId !== undefined && page.headId !== c.headId) {
        return true;
    }
    return page.events.some((ev) => ev.seq === c.head && ev.eventId !== c.headId);
}

/*
 * The page's account of a conversation. What this client has read and not told yet stays read. `c`
 * is undefined for one that is new, or whose history was forgotten.
 */
export function applyPage(
    c: Conversation | undefined,
    page: PageConversation,
    me: string,
): Conversation {
    const old = c ?? newConversation(page.conversationId, page.kind);
    if (page.left) {
        return { ...old, left: true, ...nothingUnread, ahead: false };
    }
    if (page.head < old.head) {
        return old; /* older than what has come live */
    }
    const told: Cursor = { delivered: page.delivered, read: page.read };
    const next: Conversation = {
        ...old,
        kind: page.kind,
        name: page.name ?? old.name,
        with: page.with ?? old.with,
        role: page.role ?? old.role,
        memberCount: page.members,
        left: false,
        listed: true,
        head: page.head,
        headId: page.headId ?? (page.head === old.head ? old.headId : undefined),
        /* Without a message: when it began, or what happened last. */
        lastAt: page.lastMessageAt ?? page.events.at(-1)?.sentAt ?? old.lastAt,
        preview: page.preview,
        messages: page.messages,
        unread: page.unread,
        unsure: false,
        mentions: page.mentions,
        muted: page.muted,
        pinned: page.pinned,
        draft: page.draft,
        confirmed: told,
        own: maxCursor(told, { delivered: Math.max(old.own.delivered, page.head), read: old.own.read }),
    };
    const peers: Record<string, Cursor> = { ...old.peers };
    const unreadSeqs = new Set(old.unreadSeqs);
    for (const ev of page.events) {
        if (ev.event === 'new_message') {
            next.lastSeq = ev.seq;
            peers[ev.from] = maxCursor(peers[ev.from] ?? noCursor, { delivered: ev.seq, read: ev.seq });
            if (ev.from !== me) {
                unreadSeqs.add(ev.seq);
            }
        }
    }
    next.peers = peers;
    const seqs = [...unreadSeqs].filter((seq) => seq > page.read).sort((x, y) => x - y);
    Object.assign(next, listed(seqs, completeFrom(old, page)));
    if (!page.events.some((ev) => ev.eventId === page.preview?.messageId) &&
        old.preview?.messageId !== page.preview?.messageId) {
        next.lastSeq = 0; /* where it is, is not told */
    }
    if (page.preview && page.preview.content === '') {
        next.preview = { ...page.preview, deleted: true };
    }
    if (next.own.read <= page.read) {
        next.readAhead = 0;
        return next;
    }
    /* Between the server's cursor and ours there may be a gap: then only what was counted as it was
     * read tells how many there are, and only when it was counted from the same cursor. */
    let after = unreadAfter(next, next.own.read);
    if (after.unsure && page.read === old.confirmed.read && old.readAhead !== undefined) {
        const unread = Math.max(page.unread - old.readAhead, 0);
        after = { ...after, unread, unsure: false, mentions: Math.min(after.mentions, unread) };
    }
    const readAhead = after.unsure ? undefined : page.unread - after.unread;
    return { ...next, ...after, readAhead };
}

/* The list of the unread within its bound, and from where on it has all of them. */
function listed(seqs: readonly number[], from: number): Pick<Unread, 'unreadSeqs' | 'unreadFrom'> {
    const unreadSeqs = seqs.slice(-UNREAD_SEQS_MAX);
    const cut = seqs.length > unreadSeqs.length ? (unreadSeqs[0] ?? 0) : 0;
    return { unreadSeqs, unreadFrom: Math.max(from, cut) };
}

/*
 * From where on the messages that were known and those of the page are all there are. What is hidden
 * from this user is covered, counts as unread, and is not told.
 */
function completeFrom(old: Conversation, page: PageConversation): number {
    const told = new Set(page.events.map((ev) => ev.seq));
    for (let seq = page.coveredTo; seq >= page.coveredFrom && seq > old.head; seq--) {
        if (!told.has(seq)) {
            return seq + 1;
        }
    }
    return page.coveredFrom > old.head + 1 ? page.coveredFrom : old.unreadFrom;
}

/* What is left when everything up to seq is read. `remaining`: what the caller has counted. */
function unreadAfter(c: Conversation, seq: number, remaining?: number): Unread {
    if (seq >= c.head || (c.lastSeq > 0 && seq >= c.lastSeq)) {
        return nothingUnread;
    }
    const unreadSeqs = c.unreadSeqs.filter((s) => s > seq);
    const sure = seq + 1 >= c.unreadFrom || (!c.unsure && c.unread <= c.unreadSeqs.length);
    if (sure) {
        const unread = unreadSeqs.length;
        return { ...nothingUnread, unread, unreadSeqs, mentions: Math.min(c.mentions, unread) };
    }
    const unread = Math.max(Math.min(c.unread, remaining ?? c.unread), unreadSeqs.length);
    const { unreadFrom } = c;
    return { unread, unsure: true, unreadSeqs, unreadFrom, mentions: Math.min(c.mentions, unread) };
}

/*
 * The server's count, which was asked for. 'older': more was read since, or what came after it is not
 * known; 'newer': the events up to its head are still to come.
 */
export function applyCount(c: Conversation, count: UnreadCount): Conversation | 'older' | 'newer' {
    if (count.head > c.head) {
        return 'newer';
    }
    const known = count.head === c.head || count.head + 1 >= c.unreadFrom;
    if (count.read < c.own.read || !known) {
        return 'older';
    }
    const next = markRead(c, count.read, undefined);
    const later = next.unreadSeqs.filter((seq) => seq > count.head).length;
    const unread = count.read >= next.head ? 0 : count.unread + later;
    return {
        ...next,
        unread,
        unsure: false,
        mentions: Math.min(Math.max(count.mentions, next.mentions), unread),
        confirmed: maxCursor(c.confirmed, { delivered: count.read, read: count.read }),
        readAhead: 0,
    };
}

/* ---- Cursors ---- */

/* `remaining`: how many messages come after seq, where that is known. */
export function markRead(c: Conversation, seq: number, remaining: number | undefined): Conversation {
    if (seq <= c.own.read) {
        return c;
    }
    const after = unreadAfter(c, seq, remaining);
    const counted = !c.unsure && !after.unsure && c.readAhead !== undefined;
    const ahead = counted ? (c.readAhead ?? 0) + c.unread - after.unread : undefined;
    return {
        ...c,
        own: { delivered: Math.max(c.own.delivered, seq), read: seq },
        ...after,
        readAhead: seq > c.confirmed.read ? ahead : 0,
    };
}

export function applyReceipt(c: Conversation, r: DeliveryReceipt, me: string): Conversation {
    const told: Cursor =
        r.status === 'read' ? { delivered: r.seq, read: r.seq } : { delivered: r.seq, read: 0 };
    if (r.userId === me) {
        const next = { ...c, confirmed: maxCursor(c.confirmed, told) };
        if (next.confirmed.read !== c.confirmed.read) {
            /* What was counted was counted from another place. */
            next.readAhead = c.own.read > next.confirmed.read ? undefined : 0;
        }
        return r.status === 'read' ? markRead(next, r.seq, undefined) : next;
    }
    const known = c.peers[r.userId] ?? noCursor;
    const merged = maxCursor(known, told);
    return merged === known ? c : { ...c, peers: { ...c.peers, [r.userId]: merged } };
}

/* From the statuses of own messages in a page of history: everybody has come that far. */
export function applyStatuses(c: Conversation, messages: HistoryMessage[], me: string): Conversation {
    let lowest = c.lowest;
    for (const m of messages) {
        if (m.from === me && m.status !== 'sent') {
            lowest = maxCursor(lowest, { delivered: m.seq, read: m.status === 'read' ? m.seq : 0 });
        }
    }
    return lowest === c.lowest ? c : { ...c, lowest };
}

/*
 * How far all others have come. `others`: the other members of a group, where they are known;
 * without them only what the server summed up counts.
 */
export function lowestOf(c: Conversation, others: readonly string[] | undefined): Cursor {
    const who = c.kind === 'direct' && c.with !== undefined ? [c.with] : (others ?? []);
    let { delivered, read } = c.lowest;
    if (who.length > 0) {
        const cursors = who.map((u) => c.peers[u] ?? noCursor);
        delivered = Math.max(delivered, cursors.reduce((low, p) => Math.min(low, p.delivered), Infinity));
        read = Math.max(read, cursors.reduce((low, p) => Math.min(low, p.read), Infinity));
    }
    return { delivered, read };
}
