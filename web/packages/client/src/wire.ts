/*
 * The socket's events and the REST objects as the client has them, and their decoding from JSON. What
 * fields there are on the wire is known from docs/api (api.gen.ts): a name that is not in it does not
 * compile. This is the only file that names wire fields of received frames. wire.test.ts holds it to frames that a real server has sent.
 *
 * Ids are opaque strings, seqs are numbers counting from 1, times become milliseconds since 1970.
 */
import type { Events, Objects } from './api.gen.js';

export type Role = 'owner' | 'admin' | 'moderator' | 'member' | 'guest';
export type ConvKind = 'direct' | 'group' | 'self';
export type ReceiptStatus = 'delivered' | 'read';
export type MembershipAction = 'create' | 'add' | 'remove' | 'leave' | 'role';

export interface GroupSettings {
    history: 'all' | 'joined';
    send: 'members' | 'admins';
    invite: 'members' | 'admins';
}

export interface Member {
    userId: string;
    role: Role;
}

/* What every event of a conversation's sequence has. */
interface InSequence {
    conversationId: string;
    seq: number;
    eventId: string;
    sentAt: number;
    from: string;
}

export interface NewMessage extends InSequence {
    event: 'new_message';
    content: string;
    type: string;
    clientMsgId?: string;
    replyTo?: string;
    mentions: string[];
}
export interface MessageEdited extends InSequence {
    event: 'message_edited';
    messageId: string;
    targetSeq: number;
    content: string;
    editedAt: number;
}
export interface MessageDeleted extends InSequence {
    event: 'message_deleted';
    messageId: string;
    targetSeq: number;
}
export interface MembershipEvent extends InSequence {
    event: 'membership';
    action: MembershipAction;
    members: Member[];
    name?: string;
    kind?: ConvKind;
}
export interface ConversationEvent extends InSequence {
    event: 'conversation';
    name?: string;
    settings?: GroupSettings;
}
export interface SelfEvent extends InSequence {
    event: 'self';
    action: 'joined' | 'left' | 'mute' | 'pin' | 'block' | 'hide' | 'draft' | 'unknown';
    target?: string;
    until?: number | null;
    pinned?: boolean;
    userId?: string;
    blocked?: boolean;
    hidden?: [number, number];
    content?: string;
}
/* Of a kind that this client does not know: it still takes its place in the sequence. */
export interface OtherEvent extends InSequence {
    event: 'other';
}
export type SequencedEvent =
    | NewMessage
    | MessageEdited
    | MessageDeleted
    | MembershipEvent
    | ConversationEvent
    | SelfEvent
    | OtherEvent;

export interface Hello {
    event: 'hello';
    protocol: number;
    serverTime: number;
    userId: string;
    deviceId: string;
    heartbeatMs: number;
    inflight: number;
    textBytes: number;
}
export interface SentAck {
    event: 'ack';
    clientMsgId: string;
    messageId: string;
    conversationId: string;
    seq: number;
    sentAt: number;
    duplicate: boolean;
}
export interface DeliveryReceipt {
    event: 'delivery_receipt';
    conversationId: string;
    fromSeq: number;
    seq: number;
    userId: string;
    status: ReceiptStatus;
    at: number;
}
export interface Preview {
    messageId: string;
    from: string;
    content: string;
    type: string;
    sentAt: number;
}
export interface PageConversation {
    conversationId: string;
    kind: ConvKind;
    left: boolean;
    name?: string;
    with?: string;
    role?: Role;
    members: number;
    head: number;
    headId?: string;
    lastMessageAt?: number;
    preview?: Preview;
    /* Of a large one: how many there are. */
    messages?: number;
    unread: number;
    mentions: number;
    muted: boolean;
    pinned: boolean;
    delivered: number;
    read: number;
    /* Empty when `to` is below `from`. */
    coveredFrom: number;
    coveredTo: number;
    draft: string;
    limited: boolean;
    reset: boolean;
    events: SequencedEvent[];
}
/* A large conversation has moved, as those are told who do not look at it. */
export interface Counter {
    event: 'counter';
    conversationId: string;
    seq: number;
    eventId: string;
    sentAt: number;
    messages: number;
    members: number;
    /* A preview that is here holds if it is of this one. */
    lastMessageId?: string;
    preview?: Preview;
}
export interface TypingEvent {
    event: 'typing';
    conversationId: string;
    userId: string;
    active: boolean;
    expiresInMs: number;
}
export type PresenceStatus = 'online' | 'away' | 'offline';
export interface PresenceUpdate {
    event: 'presence_update';
    userId: string;
    status: PresenceStatus;
    lastSeen: number | undefined;
}
/* Of a conversation, asked for by itself: what is unread of the first `head` events. */
export interface UnreadCount {
    head: number;
    read: number;
    unread: number;
    mentions: number;
}
export interface ConversationsPage {
    event: 'conversations';
    conversations: PageConversation[];
}
export interface CaughtUp {
    event: 'caught_up';
    since: string;
    serverTime: number;
    /* The token was of a time that the server has lost: what no page had is gone. */
    reset: boolean;
}
export interface WireFailure {
    event: 'error';
    code: string;
    message: string;
    field?: string;
    ref?: string;
    clientMsgId?: string;
    conversationId?: string;
    retryAfterMs?: number;
}
export interface TokenExpiring {
    event: 'token_expiring';
    expiresAt?: number;
}
export interface PlainFrame {
    event: 'heartbeat' | 'resync' | 'ignored';
}
export interface ReconnectFrame {
    event: 'reconnect';
    delayMs: number;
}
export type ServerFrame =
    | SequencedEvent
    | Hello
    | SentAck
    | DeliveryReceipt
    | ConversationsPage
    | CaughtUp
    | WireFailure
    | TokenExpiring
    | ReconnectFrame
    | TypingEvent
    | Counter
    | PresenceUpdate
    | PlainFrame;

export interface HistoryMessage extends Omit<NewMessage, 'event'> {
    status: 'sent' | ReceiptStatus;
    editedAt?: number;
    deleted: boolean;
}
export interface HistoryPage {
    messages: HistoryMessage[];
    /* What changed the conversation between them. */
    changes: SequencedEvent[];
    hasMore: boolean;
    coveredFrom: number;
    coveredTo: number;
}
export interface Privacy {
    online: boolean;
    lastSeen: boolean;
    readReceipts: boolean;
}
/* Who has got and read a message. */
export interface Reader {
    userId: string;
    deliveredAt: number | undefined;
    readAt: number | undefined;
}
export interface Readers {
    recipients: number;
    delivered: number;
    read: number;
    /* Empty in conversations that are too large for it. */
    readers: Reader[];
    next: string | undefined;
}
export interface User {
    userId: string;
    username: string;
    displayName: string;
    about?: string;
    role?: 'admin' | 'member';
    /* One's own only, of servers that have it. */
    privacy?: Privacy;
}
export interface TokenAnswer {
    token: string;
    /* Absent from servers whose tokens do not run out. */
    expiresIn?: number;
    refreshToken?: string;
    userId: string;
    deviceId: string;
}

/* A frame or an answer that does not fit the protocol; `path` names the field. */
export class WireError extends Error {
    constructor(readonly path: string) {
        super(`not as the protocol has it: ${path}`);
        this.name = 'WireError';
    }
}

/* ---- Reading fields ---- */

const WAIT_MAX_MS = 10 * 60_000;
const HEARTBEAT_MIN_MS = 1000;

/* All that one of them may have. */
type KeysOf<T> = T extends unknown ? keyof T & string : never;
/* An object of which only the kind is known: T, from api.gen.ts, says which fields it may have. */
export type Fields<T = Record<string, unknown>> = { readonly [K in KeysOf<T>]?: unknown };

export function fieldsOf<T = Record<string, unknown>>(value: unknown, path: string): Fields<T> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw new WireError(path);
    }
    return value;
}

export function listOf<F extends object>(o: F, key: keyof F & string): unknown[] {
    const v: unknown = o[key];
    if (!Array.isArray(v)) {
        throw new WireError(key);
    }
    return v;
}

export function text<F extends object>(o: F, key: keyof F & string): string {
    const v: unknown = o[key];
    if (typeof v !== 'string') {
        throw new WireError(key);
    }
    return v;
}

export function textOr<F extends object>(o: F, key: keyof F & string): string | undefined {
    const v: unknown = o[key];
    return typeof v === 'string' ? v : undefined;
}

/* All numbers of the protocol count something: whole, not negative, and exact (1e999 is Infinity in JSON). */
function whole(v: unknown): v is number {
    return typeof v === 'number' && Number.isSafeInteger(v) && v >= 0;
}

function number<F extends object>(o: F, key: keyof F & string, min = 0): number {
    const v: unknown = o[key];
    if (!whole(v) || v < min) {
        throw new WireError(key);
    }
    return v;
}

export function numberOr<F extends object>(o: F, key: keyof F & string, otherwise: number): number {
    return optionalNumber(o, key) ?? otherwise;
}

function optionalNumber<F extends object>(o: F, key: keyof F & string): number | undefined {
    const v: unknown = o[key];
    return whole(v) ? v : undefined;
}

/* How long a server says to wait: no longer than is good for anybody. */
function wait<F extends object>(o: F, key: keyof F & string): number | undefined {
    const ms = optionalNumber(o, key);
    return ms === undefined ? undefined : Math.min(ms, WAIT_MAX_MS);
}

function time<F extends object>(o: F, key: keyof F & string): number {
    const told = text(o, key);
    /* Date.parse alone takes "1" for a time. */
    const ms = /^\d{4}-\d\d-\d\dT/.test(told) ? Date.parse(told) : NaN;
    if (Number.isNaN(ms)) {
        throw new WireError(key);
    }
    return ms;
}

export function timeOr<F extends object>(o: F, key: keyof F & string): number | undefined {
    return typeof o[key] === 'string' ? time(o, key) : undefined;
}

function range<F extends object>(o: F, key: keyof F & string): [number, number] {
    const v = listOf(o, key);
    const [from, to] = v;
    if (!whole(from) || !whole(to)) {
        throw new WireError(key);
    }
    return [from, to];
}

export function strings<F extends object>(o: F, key: keyof F & string): string[] {
    const v: unknown = o[key];
    return Array.isArray(v) ? v.filter((s): s is string => typeof s === 'string') : [];
}

/* exactOptionalPropertyTypes is on: an absent field is absent, not undefined. */
function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
    return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V };
}

function role(value: unknown): Role {
    return value === 'owner' || value === 'admin' || value === 'moderator' || value === 'guest' ? value : 'member';
}

function kind(value: unknown, path: string): ConvKind {
    if (value === 'direct' || value === 'group' || value === 'self') {
        return value;
    }
    throw new WireError(path);
}

/* ---- Events ---- */

function inSequence(o: Fields): InSequence {
    return {
        conversationId: text(o, 'conversation_id'),
        seq: number(o, 'seq', 1),
        eventId: text(o, 'event_id'),
        sentAt: time(o, 'sent_at'),
        from: text(o, 'from'),
    };
}

const membershipActions = new Set<string>(['create', 'add', 'remove', 'leave', 'role']);
const selfActions = new Set<string>(['joined', 'left', 'mute', 'pin', 'block', 'hide', 'draft']);

function decodeMembers(o: Fields): Member[] {
    return listOf(o, 'members').map((m) => {
        const f = fieldsOf(m, 'members');
        return { userId: text(f, 'user_id'), role: role(f['role']) };
    });
}

export function decodeSettings(value: unknown): GroupSettings {
    const o = fieldsOf<Objects['Settings']>(value, 'settings');
    return {
        history: o['history'] === 'joined' ? 'joined' : 'all',
        send: o['send'] === 'admins' ? 'admins' : 'members',
        invite: o['invite'] === 'admins' ? 'admins' : 'members',
    };
}

function decodeSelf(o: Fields<Events['server_self']>, at: InSequence): SelfEvent {
    const action = text(o, 'action');
    return {
        event: 'self',
        ...at,
        action: selfActions.has(action) ? (action as SelfEvent['action']) : 'unknown',
        ...optional('target', textOr(o, 'target')),
        ...(action === 'mute' ? { until: timeOr(o, 'until') ?? null } : {}),
        ...(typeof o['pinned'] === 'boolean' ? { pinned: o['pinned'] } : {}),
        ...optional('userId', textOr(o, 'user_id')),
        ...(typeof o['blocked'] === 'boolean' ? { blocked: o['blocked'] } : {}),
        ...(action === 'hide' ? { hidden: range(o, 'hidden') } : {}),
        ...(action === 'draft' ? { content: textOr(o, 'content') ?? '' } : {}),
    };
}

function decodeSequenced(o: Fields): SequencedEvent {
    const at = inSequence(o);
    switch (o['event']) {
        case 'new_message':
            return {
                event: 'new_message',
                ...at,
                content: text(o, 'content'),
                type: textOr(o, 'type') ?? 'text',
                ...optional('clientMsgId', textOr(o, 'client_msg_id')),
                ...optional('replyTo', textOr(o, 'reply_to')),
                mentions: strings(o, 'mentions'),
            };
        case 'message_edited':
            return {
                event: 'message_edited',
                ...at,
                messageId: text(o, 'message_id'),
                targetSeq: number(o, 'target_seq', 1),
                content: text(o, 'content'),
                editedAt: timeOr(o, 'edited_at') ?? at.sentAt,
            };
        case 'message_deleted':
            return {
                event: 'message_deleted',
                ...at,
                messageId: text(o, 'message_id'),
                targetSeq: number(o, 'target_seq', 1),
            };
        case 'membership': {
            const action = text(o, 'action');
            if (!membershipActions.has(action)) {
                return { event: 'other', ...at };
            }
            return {
                event: 'membership',
                ...at,
                action: action as MembershipAction,
                members: decodeMembers(o),
                ...optional('name', textOr(o, 'name')),
                ...(o['type'] === undefined ? {} : { kind: kind(o['type'], 'type') }),
            };
        }
        case 'conversation':
            return {
                event: 'conversation',
                ...at,
                ...optional('name', textOr(o, 'name')),
                ...(o['settings'] === undefined ? {} : { settings: decodeSettings(o['settings']) }),
            };
        case 'self':
            return decodeSelf(o, at);
        default:
            return { event: 'other', ...at };
    }
}

function decodePreview(value: unknown): Preview {
    const o = fieldsOf<Objects['Preview']>(value, 'preview');
    return {
        messageId: text(o, 'message_id'),
        from: text(o, 'from'),
        content: text(o, 'content'),
        type: textOr(o, 'type') ?? 'text',
        sentAt: time(o, 'sent_at'),
    };
}

function decodePageConversation(value: unknown): PageConversation {
    const o = fieldsOf<Events['server_conversations']['conversations'][number]>(value, 'conversations');
    const left = o['left'] === true;
    const cursors = left ? {} : fieldsOf(o['cursors'], 'cursors');
    const [coveredFrom, coveredTo] = left ? [1, 0] : range(o, 'covered');
    const events = Array.isArray(o['events']) ? o['events'] : [];
    return {
        conversationId: text(o, 'conversation_id'),
        kind: kind(o['type'], 'type'),
        left,
        ...optional('name', textOr(o, 'name')),
        ...optional('with', textOr(o, 'with')),
        ...(o['role'] === undefined ? {} : { role: role(o['role']) }),
        members: numberOr(o, 'members', 0),
        head: left ? 0 : number(o, 'head'),
        ...optional('headId', textOr(o, 'head_id')),
        ...optional('lastMessageAt', timeOr(o, 'last_message_at')),
        ...(o['preview'] === undefined ? {} : { preview: decodePreview(o['preview']) }),
        ...optional('messages', optionalNumber(o, 'messages')),
        unread: numberOr(o, 'unread', 0),
        mentions: numberOr(o, 'mentions', 0),
        muted: o['muted'] === true,
        pinned: o['pinned'] === true,
        delivered: numberOr(cursors, 'delivered', 0),
        read: numberOr(cursors, 'read', 0),
        coveredFrom: coveredFrom === 0 ? 1 : coveredFrom,
        coveredTo,
        draft: textOr(o, 'draft') ?? '',
        limited: o['limited'] === true,
        reset: o['reset'] === true,
        events: events.map((e) => decodeSequenced(fieldsOf(e, 'events'))),
    };
}

export function decodeCount(value: unknown): UnreadCount {
    const o = fieldsOf<Objects['Conversation']>(value, 'conversation');
    return {
        head: number(o, 'head'),
        read: number(fieldsOf(o['cursors'], 'cursors'), 'read'),
        unread: number(o, 'unread'),
        mentions: numberOr(o, 'mentions', 0),
    };
}

function decodeHello(o: Fields<Events['server_hello']>): Hello {
    const limits = fieldsOf<Events['server_hello']['limits']>(o['limits'], 'limits');
    return {
        event: 'hello',
        protocol: number(o, 'protocol'),
        serverTime: time(o, 'server_time'),
        userId: text(o, 'user_id'),
        deviceId: text(o, 'device_id'),
        /* With 0 of either nothing would ever go out, or too much. */
        heartbeatMs: Math.max(numberOr(o, 'heartbeat_ms', 30000), HEARTBEAT_MIN_MS),
        inflight: Math.max(numberOr(limits, 'inflight', 16), 1),
        textBytes: numberOr(limits, 'text_bytes', 16384),
    };
}

function decodeReceipt(o: Fields<Events['server_delivery_receipt']>): DeliveryReceipt {
    return {
        event: 'delivery_receipt',
        conversationId: text(o, 'conversation_id'),
        fromSeq: numberOr(o, 'from_seq', 0),
        seq: number(o, 'seq'),
        userId: text(o, 'user_id'),
        status: o['status'] === 'read' ? 'read' : 'delivered',
        at: timeOr(o, 'at') ?? 0,
    };
}

function decodeFailure(o: Fields<Events['server_error']>): WireFailure {
    return {
        event: 'error',
        code: text(o, 'code'),
        message: textOr(o, 'message') ?? '',
        ...optional('field', textOr(o, 'field')),
        ...optional('ref', textOr(o, 'ref')),
        ...optional('clientMsgId', textOr(o, 'client_msg_id')),
        ...optional('conversationId', textOr(o, 'conversation_id')),
        ...optional('retryAfterMs', wait(o, 'retry_after_ms')),
    };
}

function decodeCounter(o: Fields<Events['server_counter']>): Counter {
    return {
        event: 'counter',
        conversationId: text(o, 'conversation_id'),
        seq: number(o, 'seq', 1),
        eventId: text(o, 'event_id'),
        sentAt: time(o, 'sent_at'),
        messages: number(o, 'messages'),
        members: number(o, 'members'),
        ...optional('lastMessageId', textOr(o, 'last_message_id')),
        ...(o['preview'] === undefined ? {} : { preview: decodePreview(o['preview']) }),
    };
}

export function decodePresence(o: Fields): PresenceUpdate {
    const status = o['status'];
    return {
        event: 'presence_update',
        userId: text(o, 'user_id'),
        status: status === 'online' || status === 'away' ? status : 'offline',
        lastSeen: timeOr(o, 'last_seen'),
    };
}

/* What a frame of the server holds, in its order. Throws WireError, or SyntaxError for what is not JSON. */
export function decodeFrames(frame: string): ServerFrame[] {
    const value: unknown = JSON.parse(frame);
    return Array.isArray(value) && value.length > 0 ? value.map(decodeEvent) : [decodeEvent(value)];
}

/* A frame of one event. */
export function decodeFrame(frame: string): ServerFrame {
    return decodeEvent(JSON.parse(frame));
}

function decodeEvent(value: unknown): ServerFrame {
    const o = fieldsOf(value, 'frame');
    switch (o['event']) {
        case 'new_message':
        case 'message_edited':
        case 'message_deleted':
        case 'membership':
        case 'conversation':
        case 'self':
            return decodeSequenced(o);
        case 'hello':
            return decodeHello(o);
        case 'ack':
            return {
                event: 'ack',
                clientMsgId: text(o, 'client_msg_id'),
                messageId: text(o, 'message_id'),
                conversationId: text(o, 'conversation_id'),
                seq: number(o, 'seq'),
                sentAt: time(o, 'sent_at'),
                duplicate: o['duplicate'] === true,
            };
        case 'delivery_receipt':
            return decodeReceipt(o);
        case 'conversations':
            return {
                event: 'conversations',
                conversations: listOf(o, 'conversations').map(decodePageConversation),
            };
        case 'caught_up':
            return {
                event: 'caught_up',
                since: text(o, 'since'),
                serverTime: time(o, 'server_time'),
                reset: o['reset'] === true,
            };
        case 'typing':
            return {
                event: 'typing',
                conversationId: text(o, 'conversation_id'),
                userId: text(o, 'user_id'),
                active: o['active'] !== false,
                expiresInMs: numberOr(o, 'expires_in_ms', 6000),
            };
        case 'counter':
            return decodeCounter(o);
        case 'presence_update':
            return decodePresence(o);
        case 'error':
            return decodeFailure(o);
        case 'token_expiring':
            return { event: 'token_expiring', ...optional('expiresAt', timeOr(o, 'expires_at')) };
        case 'reconnect':
            return { event: 'reconnect', delayMs: wait(o, 'delay_ms') ?? 1000 };
        case 'heartbeat':
        case 'resync':
            return { event: o['event'] };
        default:
            /* Later events of the sequence take their place in it; others say nothing to us. */
            if (typeof o['seq'] === 'number' && typeof o['conversation_id'] === 'string') {
                return decodeSequenced(o);
            }
            return { event: 'ignored' };
    }
}

/* ---- REST ---- */

export function decodeHistoryMessage(value: unknown): HistoryMessage {
    const o = fieldsOf<Objects['Message']>(value, 'messages');
    const status = o['status'];
    return {
        conversationId: text(o, 'conversation_id'),
        seq: number(o, 'seq', 1),
        eventId: text(o, 'message_id'),
        sentAt: time(o, 'sent_at'),
        from: text(o, 'from'),
        content: text(o, 'content'),
        type: textOr(o, 'type') ?? 'text',
        ...optional('clientMsgId', textOr(o, 'client_msg_id')),
        ...optional('replyTo', textOr(o, 'reply_to')),
        mentions: strings(o, 'mentions'),
        status: status === 'read' || status === 'delivered' ? status : 'sent',
        ...optional('editedAt', timeOr(o, 'edited_at')),
        deleted: o['deleted'] === true,
    };
}

export function decodeHistory(value: unknown): HistoryPage {
    const o = fieldsOf<Objects['MessagePage']>(value, 'history');
    const [coveredFrom, coveredTo] = range(o, 'covered');
    return {
        messages: listOf(o, 'messages').map(decodeHistoryMessage),
        changes: (Array.isArray(o['changes']) ? o['changes'] : []).map((e) =>
            decodeSequenced(fieldsOf(e, 'changes')),
        ),
        hasMore: o['has_more'] === true,
        coveredFrom,
        coveredTo,
    };
}

export function decodeReaders(value: unknown): Readers {
    const o = fieldsOf<Objects['ReceiptPage']>(value, 'receipts');
    return {
        recipients: number(o, 'recipients'),
        delivered: number(o, 'delivered'),
        read: number(o, 'read'),
        readers: listOf(o, 'receipts').map((r) => {
            const f = fieldsOf<Objects['ReceiptPage']['receipts'][number]>(r, 'receipts');
            return { userId: text(f, 'user_id'), deliveredAt: timeOr(f, 'delivered_at'), readAt: timeOr(f, 'read_at') };
        }),
        next: textOr(o, 'next_cursor'),
    };
}

export function decodeUser(value: unknown): User {
    const o = fieldsOf<Objects['User']>(value, 'user');
    const username = text(o, 'username');
    return {
        userId: text(o, 'user_id'),
        username,
        displayName: textOr(o, 'display_name') || username,
        ...optional('about', textOr(o, 'about')),
        ...(o['role'] === 'admin' || o['role'] === 'member' ? { role: o['role'] } : {}),
        ...(o['privacy'] === undefined ? {} : { privacy: decodePrivacy(o['privacy']) }),
    };
}

function decodePrivacy(value: unknown): Privacy {
    const o = fieldsOf(value, 'privacy');
    return {
        online: o['online'] !== false,
        lastSeen: o['last_seen'] !== false,
        readReceipts: o['read_receipts'] !== false,
    };
}

export function decodeUsers(value: unknown): User[] {
    return listOf(fieldsOf<Objects['UserPage']>(value, 'users'), 'users').map(decodeUser);
}

export function decodeGroupMembers(value: unknown): Member[] {
    return decodeMembers(fieldsOf(value, 'members'));
}

/* `access_token` with an end, or the plain `token` of servers that have no refresh tokens yet. */
export function decodeToken(value: unknown): TokenAnswer {
    const o = fieldsOf<Objects['Token']>(value, 'token');
    return {
        token: textOr(o, 'access_token') ?? text(o, 'token'),
        ...optional('expiresIn', optionalNumber(o, 'expires_in')),
        ...optional('refreshToken', textOr(o, 'refresh_token')),
        userId: text(o, 'user_id'),
        deviceId: text(o, 'device_id'),
    };
}

/* ---- Client to server ---- */

export type SendFrame = Events['client_send_message'];
export type AckFrame = Events['client_ack'];
export type ResumeFrame = Events['client_resume'];
export type TypingFrame = Events['client_typing'];
export type ClientFrame =
    | SendFrame
    | TypingFrame
    | Events['client_view']
    | { event: 'presence'; status: PresenceStatus }
    | { event: 'subscribe_presence' | 'unsubscribe_presence'; user_ids: string[] }
    | AckFrame
    | ResumeFrame
    | { event: 'auth'; token: string }
    | { event: 'heartbeat' };
