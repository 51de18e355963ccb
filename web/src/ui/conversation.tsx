/*
 * One conversation: its head, its messages, the composer. The list keeps its place: at the end it
 * follows what comes, elsewhere the message that is being looked at stays where it is, whatever is
 * put before or after it.
 */
import type { Conversation, MessageItem, NoteItem, Timeline } from '@confab/client';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Composer, type Mode } from './composer.js';
import { titleOf } from './list.js';
import { Message, type MessageActions, OutgoingMessage } from './message.js';
import { Avatar } from './parts/avatar.js';
import { BackIcon, DownIcon, MoreIcon, PeopleIcon } from './parts/icons.js';
import { MenuButton, type MenuItem } from './parts/menu.js';
import { listRows } from './rows.js';
import { dayText, t } from './strings.js';

const NEAR = 600;
const MUTED_FOR_EVER = Date.UTC(9999, 0, 1);

/* Somebody with whom there is no conversation yet, or one that is there. */
export function ConversationPane({ app }: { app: AppState }) {
    app.seen('list');
    const route = app.route.value;
    const { client } = app;
    if (route.at === 'person') {
        const c = client.directWith(route.userId);
        return <Pane key={`u${route.userId}`} app={app} c={c} userId={route.userId} />;
    }
    if (route.at === 'conversation') {
        const c = client.conversation(route.id);
        if (c && !c.left) {
            const key = c.kind === 'direct' && c.with !== undefined ? `u${c.with}` : c.id;
            return <Pane key={key} app={app} c={c} userId={c.with} />;
        }
    }
    return undefined;
}

function Header({ app, c, userId, title }: { app: AppState; c: Conversation | undefined; userId: string | undefined; title: string }) {
    const { client } = app;
    const menu: MenuItem[] = [];
    if (c) {
        menu.push(
            {
                label: c.muted ? t.unmute : t.mute,
                onPick: () => void app.attempt(() => client.rest.mute(c.id, c.muted ? null : MUTED_FOR_EVER)),
            },
            {
                label: c.pinned ? t.unpin : t.pin,
                onPick: () => void app.attempt(() => client.rest.pin(c.id, !c.pinned)),
            },
        );
    }
    const username = userId === undefined ? undefined : client.people.get(userId)?.username;
    return (
        <header class="bar">
            <a class="icon-button back" href="#/" aria-label={t.back} title={t.back}>
                <BackIcon />
            </a>
            <Avatar id={userId ?? c?.id ?? ''} name={title} />
            <div class="bar-title">
                <h2 class="bar-name" dir="auto">{title}</h2>
                <p class="bar-note">
                    {c?.kind === 'group' ? t.membersCount(c.memberCount) : username === undefined ? '' : `@${username}`}
                </p>
            </div>
            {c?.kind === 'group' && (
                <button type="button" class="icon-button" aria-label={t.members} title={t.members}
                    onClick={() => (app.dialog.value = 'members')}>
                    <PeopleIcon />
                </button>
            )}
            {menu.length > 0 && (
                <MenuButton label={t.conversationMenu} items={menu}>
                    <MoreIcon />
                </MenuButton>
            )}
        </header>
    );
}

function Pane({ app, c, userId }: { app: AppState; c: Conversation | undefined; userId: string | undefined }) {
    const { client } = app;
    const title = c ? titleOf(app, c) : userId === undefined ? '' : app.nameOf(userId);
    const [mode, setMode] = useState<Mode>({ kind: 'new' });
    const timeline = useTimeline(app, c);
    const send = (text: string, replyTo: string | undefined) => {
        const target = c ? { conversation: c.id } : userId === undefined ? undefined : { user: userId };
        if (target) {
            client.send(target, text, replyTo === undefined ? {} : { replyTo });
            if (timeline && !timeline.atEnd) {
                void timeline.open('end');
            }
        }
    };
    const editLast = () => {
        const own = timeline?.items.filter((i) => i.kind === 'message' && i.from === client.userId && !i.deleted);
        const last = own?.at(-1);
        if (last?.kind === 'message') {
            setMode({ kind: 'edit', of: last });
        }
    };
    const draftKey = userId ?? c?.id ?? '';
    return (
        <main class="pane" aria-label={title}>
            <Header app={app} c={c} userId={userId} title={title} />
            <Messages key={c ? 'there' : 'new'} app={app} c={c} userId={userId} timeline={timeline} setMode={setMode} />
            <Composer key={draftKey} app={app} draftKey={draftKey} title={title} mode={mode} setMode={setMode}
                onSend={send} onEditLast={editLast} />
        </main>
    );
}

function useTimeline(app: AppState, c: Conversation | undefined): Timeline | undefined {
    const [held, setHeld] = useState<{ id: string; timeline: Timeline }>();
    const id = c?.id;
    useEffect(() => {
        if (id === undefined) {
            return undefined;
        }
        const { timeline, release } = app.client.openTimeline(id);
        const now = app.client.conversation(id);
        void timeline.open(now && now.unread > 0 ? now.own.read + 1 : 'end');
        setHeld({ id, timeline });
        return release;
    }, [id]);
    return held?.id === id ? held?.timeline : undefined;
}

/* Where the list is: at its end, or at a message so many pixels from the top. */
type Place = 'end' | { seq: number; top: number };

function Messages({
    app,
    c,
    userId,
    timeline,
    setMode,
}: {
    app: AppState;
    c: Conversation | undefined;
    userId: string | undefined;
    timeline: Timeline | undefined;
    setMode: (mode: Mode) => void;
}) {
    const { client } = app;
    app.seen('outbox');
    app.seen(c ? `timeline:${c.id}` : 'list');
    const box = useRef<HTMLDivElement>(null);
    const place = useRef<Place>('end');
    const placed = useRef(false);
    /* On the way to the end, which is still to be loaded. */
    const jumping = useRef(false);
    const [away, setAway] = useState(false);
    const [focusSeq, setFocusSeq] = useState<number>();
    /* As it was when the conversation was opened; it stays until the next time. */
    const [newFrom, newCount] = useMemo(
        () => (c && c.unread > 0 ? [c.own.read + 1, c.unread] : [undefined, 0]),
        [c?.id],
    );
    const items = timeline?.items ?? [];
    const atEnd = timeline?.atEnd ?? true;
    const me = client.userId ?? '';
    const outgoing = atEnd ? client.outgoing(c?.id, userId) : [];
    /* Only where the boundary itself is in the window. */
    const mark = newFrom !== undefined && timeline && timeline.bounds()[0] <= newFrom ? newFrom : undefined;
    const rows = listRows(items, outgoing, me, mark);

    const see = () => {
        const el = box.current;
        if (!el || !c || !timeline?.opened || document.visibilityState !== 'visible' || !document.hasFocus()) {
            return;
        }
        if (place.current === 'end' && timeline.atEnd) {
            client.markRead(c.id, c.head);
            return;
        }
        const bottom = el.getBoundingClientRect().bottom;
        let seen = 0;
        for (const li of el.querySelectorAll<HTMLElement>('[data-seq]')) {
            if (li.getBoundingClientRect().bottom <= bottom + 4) {
                seen = Number(li.dataset['seq']);
            }
        }
        if (seen > 0) {
            client.markRead(c.id, seen);
        }
    };

    const remember = () => {
        const el = box.current;
        if (!el || jumping.current) {
            return;
        }
        if (el.scrollHeight - el.scrollTop - el.clientHeight < 40 && (timeline?.atEnd ?? true)) {
            place.current = 'end';
        } else {
            const top = el.getBoundingClientRect().top;
            for (const li of el.querySelectorAll<HTMLElement>('[data-seq]')) {
                const at = li.getBoundingClientRect();
                if (at.bottom > top) {
                    place.current = { seq: Number(li.dataset['seq']), top: at.top - top };
                    break;
                }
            }
        }
        setAway(place.current !== 'end');
    };

    const onScroll = () => {
        const el = box.current;
        if (!el || !timeline || !placed.current) {
            return;
        }
        remember();
        see();
        if (!timeline.busy) {
            if (el.scrollTop < NEAR && !timeline.atStart) {
                void timeline.older();
            } else if (el.scrollHeight - el.scrollTop - el.clientHeight < NEAR && !timeline.atEnd) {
                void timeline.newer();
            }
        }
    };

    useLayoutEffect(() => {
        const el = box.current;
        if (!el || (timeline && !timeline.opened)) {
            return;
        }
        if (!placed.current) {
            placed.current = timeline?.opened === true;
            const mark = el.querySelector<HTMLElement>('.new-mark');
            if (mark && el.scrollHeight > el.clientHeight) {
                el.scrollTop = Math.max(mark.offsetTop - 60, 0);
                remember();
            }
        }
        const at = place.current;
        if (at === 'end') {
            el.scrollTop = el.scrollHeight;
            jumping.current = jumping.current && !atEnd && !timeline?.failed;
        } else {
            const li = el.querySelector<HTMLElement>(`[data-seq="${at.seq}"]`);
            if (li) {
                const moved = li.getBoundingClientRect().top - el.getBoundingClientRect().top - at.top;
                el.scrollTop += Math.round(moved);
            }
        }
        see();
        /* What is shown may be shorter than the box. */
        if (timeline && placed.current && !timeline.busy && !timeline.failed && el.scrollHeight <= el.clientHeight + NEAR) {
            if (!timeline.atStart) {
                void timeline.older();
            } else if (!timeline.atEnd) {
                void timeline.newer();
            }
        }
    });

    useEffect(() => {
        const el = box.current;
        const look = () => see();
        window.addEventListener('focus', look);
        document.addEventListener('visibilitychange', look);
        /* The box changes its height with the composer, the keyboard, the window. */
        const sizes = new ResizeObserver(() => {
            if (el && place.current === 'end') {
                el.scrollTop = el.scrollHeight;
            }
        });
        if (el) {
            sizes.observe(el);
        }
        return () => {
            window.removeEventListener('focus', look);
            document.removeEventListener('visibilitychange', look);
            sizes.disconnect();
        };
    });

    const find = (id: string): MessageItem | undefined => {
        const item = items.find((i) => i.id === id);
        return item?.kind === 'message' ? item : undefined;
    };
    const flash = (seq: number) => {
        const li = box.current?.querySelector<HTMLElement>(`[data-seq="${seq}"]`);
        li?.scrollIntoView({ block: 'center' });
        li?.classList.add('flash');
        setTimeout(() => li?.classList.remove('flash'), 1600);
    };
    const actions: MessageActions = {
        onReply: (item) => setMode({ kind: 'reply', to: item }),
        onEdit: (item) => setMode({ kind: 'edit', of: item }),
        onJump: (id) => {
            const item = find(id);
            if (item) {
                flash(item.seq);
            }
        },
        find,
    };
    const jump = () => {
        place.current = 'end';
        setAway(false);
        if (timeline && !timeline.atEnd) {
            jumping.current = true;
            void timeline.open('end');
        } else if (box.current) {
            box.current.scrollTop = box.current.scrollHeight;
        }
        see();
    };

    /* Arrow keys move from message to message; Enter opens the menu of one. */
    const onKey = (e: KeyboardEvent) => {
        const el = box.current;
        const active = document.activeElement;
        if (!el || !(active instanceof HTMLElement)) {
            return;
        }
        const all = [...el.querySelectorAll<HTMLElement>('li.message[data-seq]')];
        const at = all.indexOf(active);
        const step: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, Home: -all.length, End: all.length };
        const move = step[e.key];
        if (at >= 0 && move !== undefined) {
            const next = all[Math.min(Math.max(at + move, 0), all.length - 1)];
            next?.focus();
            setFocusSeq(Number(next?.dataset['seq']));
            e.preventDefault();
        } else if (at >= 0 && (e.key === 'Enter' || e.key === ' ' || e.key === 'ContextMenu')) {
            active.querySelector<HTMLElement>('.message-menu')?.click();
            e.preventDefault();
        }
    };
    const lastSeq = [...rows].reverse().find((r) => r.row === 'message');
    const tabStop =
        focusSeq !== undefined && items.some((i) => i.seq === focusSeq)
            ? focusSeq
            : lastSeq?.row === 'message'
              ? lastSeq.item.seq
              : -1;
    const waiting = c !== undefined && !(timeline?.opened ?? false);
    return (
        <div class="messages-frame">
            <div class="messages" ref={box} onScroll={onScroll} onKeyDown={onKey} data-test="messages"
                role="region" aria-label={t.messages} tabIndex={-1}>
                {waiting && !timeline?.failed && <p class="list-note" role="status">{t.loading}</p>}
                {timeline?.failed && (
                    <p class="list-note">
                        {t.loadFailed}{' '}
                        <button type="button" class="link"
                            onClick={() => void (timeline.opened ? timeline.older() : timeline.open('end'))}>
                            {t.tryAgain}
                        </button>
                    </p>
                )}
                {!waiting && (timeline?.atStart ?? true) && rows.length === 0 && (
                    <p class="list-note list-first">{t.firstMessage}</p>
                )}
                {timeline?.opened && !timeline.atStart && timeline.busy && <div class="spinner" aria-hidden="true" />}
                <ol class="items">
                    {rows.map((r) => {
                        switch (r.row) {
                            case 'day':
                                return (
                                    <li key={r.key} class="day">
                                        <span>{dayText(r.at, Date.now())}</span>
                                    </li>
                                );
                            case 'new':
                                return (
                                    <li key={r.key} class="new-mark" data-test="new-mark">
                                        <span>{t.newMessages(newCount)}</span>
                                    </li>
                                );
                            case 'note':
                                return (
                                    <li key={r.key} class="note" data-seq={r.note.seq}>
                                        {noteText(app, r.note)}
                                    </li>
                                );
                            case 'message':
                                return c ? (
                                    <Message key={r.key} app={app} c={c} item={r.item} first={r.first} last={r.last}
                                        actions={actions} focusable={r.item.seq === tabStop} />
                                ) : null;
                            case 'outgoing':
                                return (
                                    <OutgoingMessage key={r.key} app={app} out={r.out} first={r.first} last={r.last}
                                        actions={actions} />
                                );
                        }
                    })}
                </ol>
            </div>
            {(away || !atEnd) && timeline?.opened && (
                <button type="button" class="jump" onClick={jump} aria-label={t.jumpToLatest} title={t.jumpToLatest}>
                    <DownIcon />
                    {c && c.unread > 0 && <span class="badge" aria-hidden="true">{c.unread}</span>}
                </button>
            )}
        </div>
    );
}

function noteText(app: AppState, n: NoteItem): string {
    const name = (id: string): string => (id === app.client.userId ? t.you : app.nameOf(id));
    const who = name(n.from);
    const you = n.from === app.client.userId;
    const { note } = n;
    switch (note.what) {
        case 'create':
            return t.note.create(who, you);
        case 'add':
            return t.note.add(who, t.list(note.users.map(name)), you);
        case 'remove':
            return t.note.remove(who, t.list(note.users.map(name)), you);
        case 'leave':
            return t.note.leave(who, you);
        case 'role':
            return t.note.role(who, t.list(note.users.map(name)), note.role ?? 'member', you);
        case 'rename':
            return t.note.rename(who, note.name, you);
        case 'settings':
            return t.note.settings(who, you);
    }
}
