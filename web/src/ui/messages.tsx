/*
 * The messages of a conversation. The list keeps its place: at the end it follows what comes,
 * elsewhere the message that is being looked at stays where it is, whatever is put before or after
 * it. Only the timeline's window is in the DOM, and of that only what has changed is painted.
 */
import type { Conversation, MessageItem, NoteItem, Timeline } from '@confab/client';
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Message, type MessageActions, OutgoingMessage } from './message.js';
import type { Mode } from './mode.js';
import { CloseIcon, DownIcon, UpIcon } from './parts/icons.js';
import { memo } from './parts/memo.js';
import { listRows } from './rows.js';
import { keep, lastSeen, type Place, placeIn, rowFrom, seqOf } from './scroll.js';
import { dayText, t } from './strings.js';

const NEAR = 800;
const FLASH_MS = 1600;

/* What the list is asked to do from outside. */
export interface ListHandle {
    show: (seq: number) => void;
    toEnd: () => void;
}

interface Props {
    app: AppState;
    c: Conversation | undefined;
    userId: string | undefined;
    timeline: Timeline | undefined;
    setMode: (mode: Mode) => void;
    handle: RefObject<ListHandle | null>;
    /* The message to begin with, instead of the first unread. */
    first: number | undefined;
    /* Messages that are picked; undefined: none are being picked. */
    picked: ReadonlySet<number> | undefined;
    setPicked: (picked: ReadonlySet<number> | undefined) => void;
    onInfo: (item: MessageItem) => void;
}

function List({ app, c, userId, timeline, setMode, handle, first, picked, setPicked, onInfo }: Props) {
    const { client } = app;
    app.seen('outbox');
    app.seen(c ? `timeline:${c.id}` : 'list');
    const box = useRef<HTMLDivElement>(null);
    const list = useRef<HTMLOListElement>(null);
    const place = useRef<Place>('end');
    const placed = useRef(false);
    /* Where the box was scrolled to when the place was read or put back. */
    const top = useRef(0);
    /* On the way to a message, or to the end, which is still to be loaded. */
    const going = useRef<number | 'end' | undefined>(first);
    const [away, setAway] = useState(false);
    const [markAbove, setMarkAbove] = useState(false);
    const [focusSeq, setFocusSeq] = useState<number>();
    /* As it was when the conversation was opened; it stays until the next time. */
    const [newFrom, newCount] = useMemo(
        () => (c && c.unread > 0 ? [c.own.read + 1, c.unread] : [undefined, 0]),
        [c?.id],
    );
    const items = timeline?.items ?? [];
    const byId = useMemo(() => new Map(items.map((i) => [i.id, i])), [items]);
    const atEnd = timeline?.atEnd ?? true;
    const me = client.userId ?? '';
    /* Where the end cannot be loaded, what was written is to be seen all the same. */
    const outgoing = atEnd || timeline?.failed === true ? client.outgoing(c?.id, userId) : [];
    /* Only where the boundary itself is in the window. */
    const mark = newFrom !== undefined && timeline && timeline.bounds()[0] <= newFrom ? newFrom : undefined;
    const rows = listRows(items, outgoing, me, mark);
    const marked = rows.some((r) => r.row === 'new');
    const lowest = c ? client.lowest(c) : undefined;

    const see = () => {
        const el = box.current;
        if (!el || !list.current || !c || !timeline?.opened || document.visibilityState !== 'visible' || !document.hasFocus()) {
            return;
        }
        const seen = place.current === 'end' && timeline.atEnd ? c.head : lastSeen(el, list.current);
        if (seen > 0) {
            client.markRead(c.id, seen);
        }
    };

    /* Where the list is, as long as it is not on the way to somewhere else. */
    const readPlace = (): HTMLElement | undefined => {
        const el = box.current;
        if (!el || !list.current || going.current !== undefined) {
            return undefined;
        }
        place.current = placeIn(el, list.current, timeline?.atEnd ?? true, place.current);
        top.current = el.scrollTop;
        return el;
    };
    /* It may have been scrolled since, and the browser has not said so yet: read it before what is
     * painted now moves it. */
    if (placed.current && box.current && box.current.scrollTop !== top.current) {
        readPlace();
    }

    const remember = () => {
        const el = readPlace();
        if (!el) {
            return;
        }
        setAway(place.current !== 'end');
        const line = el.querySelector('.new-mark');
        setMarkAbove(line !== null && line.getBoundingClientRect().bottom < el.getBoundingClientRect().top);
    };

    const putBack = (to: Place) => {
        if (box.current && list.current) {
            keep(box.current, list.current, to);
            top.current = box.current.scrollTop;
        }
    };

    const loadNear = () => {
        const el = box.current;
        if (!el || !timeline || timeline.busy || !placed.current) {
            return;
        }
        if (el.scrollTop < NEAR && !timeline.atStart) {
            void timeline.older();
        } else if (el.scrollHeight - el.scrollTop - el.clientHeight < NEAR && !timeline.atEnd) {
            void timeline.newer();
        }
    };

    const onScroll = () => {
        if (placed.current) {
            remember();
            see();
            loadNear();
        }
    };

    /* The message in the middle, for a moment in another light. */
    const flash = (row: HTMLElement) => {
        const el = box.current;
        if (el) {
            const rest = Math.max(el.clientHeight - row.offsetHeight, 0) / 2;
            el.scrollTop += row.getBoundingClientRect().top - el.getBoundingClientRect().top - rest;
            row.classList.add('flash');
            setTimeout(() => row.classList.remove('flash'), FLASH_MS);
            row.focus({ preventScroll: true });
            setFocusSeq(seqOf(row));
        }
    };

    /* Arrives where the list is on the way to; false: it is still to be loaded. */
    const arrive = (): boolean => {
        const to = going.current;
        if (to === undefined || !timeline?.opened) {
            return to === undefined;
        }
        if (to === 'end') {
            if (timeline.atEnd) {
                going.current = undefined;
                place.current = 'end';
            }
            return timeline.atEnd;
        }
        const [lo, hi] = timeline.bounds();
        const row = to >= lo && to <= hi && list.current ? rowFrom(list.current, to) : undefined;
        if (row) {
            going.current = undefined;
            flash(row);
            remember();
        }
        return row !== undefined;
    };

    /* A message that goes takes the focus with it, which then belongs to the one next to it. */
    const active = list.current?.contains(document.activeElement) ? document.activeElement : undefined;
    const focused = seqOf(active?.closest<HTMLElement>('li.message') ?? undefined);
    useLayoutEffect(() => {
        if (focused !== undefined && document.activeElement === document.body) {
            const all = [...(list.current?.querySelectorAll<HTMLElement>('li.message') ?? [])];
            const next = all.find((li) => (seqOf(li) ?? 0) > focused) ?? all.at(-1);
            next?.focus({ preventScroll: true });
            setFocusSeq(seqOf(next));
        }
    });

    useLayoutEffect(() => {
        const el = box.current;
        if (!el || !list.current || (timeline && !timeline.opened)) {
            return;
        }
        const fresh = !placed.current;
        placed.current = timeline?.opened === true;
        if (!arrive() && timeline?.failed === true && !timeline.busy) {
            going.current = undefined;
            app.tell(t.loadFailed);
        }
        if (going.current === undefined || going.current === 'end') {
            const line = fresh ? el.querySelector<HTMLElement>('.new-mark') : null;
            if (line && first === undefined && el.scrollHeight > el.clientHeight) {
                el.scrollTop = Math.max(line.offsetTop - 60, 0);
                remember();
            }
            putBack(place.current);
        }
        see();
        if (timeline && !timeline.failed) {
            loadNear();
        }
    });

    const now = useRef({ see, onResize: () => undefined as void });
    now.current = {
        see,
        onResize: () => {
            if (going.current !== undefined || !placed.current) {
                return;
            }
            if (box.current?.scrollTop === top.current) {
                putBack(place.current);
            } else {
                readPlace();
            }
        },
    };
    useEffect(() => {
        const look = () => now.current.see();
        window.addEventListener('focus', look);
        document.addEventListener('visibilitychange', look);
        /* The box changes its height with the composer, the keyboard, the window. */
        const sizes = new ResizeObserver(() => now.current.onResize());
        if (box.current) {
            sizes.observe(box.current);
        }
        return () => {
            window.removeEventListener('focus', look);
            document.removeEventListener('visibilitychange', look);
            sizes.disconnect();
        };
    }, []);

    const toEnd = () => {
        going.current = 'end';
        setAway(false);
        if (timeline && !timeline.atEnd) {
            void timeline.open('end');
        } else if (arrive()) {
            putBack('end');
        }
        see();
    };
    const show = (seq: number) => {
        if (timeline) {
            going.current = seq;
            if (!arrive()) {
                void timeline.open(seq);
            }
        }
    };
    handle.current = { show, toEnd };

    const find = (id: string): MessageItem | 'gone' | undefined => {
        const item = byId.get(id);
        return item?.kind === 'message' ? item : c && client.original(c.id, id);
    };
    /* The same object for every painting, so that messages need not be painted for it. */
    const latest = useRef({ show, find, setMode, setPicked, onInfo, picked });
    latest.current = { show, find, setMode, setPicked, onInfo, picked };
    const actions = useMemo<MessageActions>(
        () => ({
            onReply: (item) => latest.current.setMode({ kind: 'reply', to: item }),
            onEdit: (item) => latest.current.setMode({ kind: 'edit', of: item }),
            onInfo: (item) => latest.current.onInfo(item),
            onPick: (seq) => {
                const next = new Set(latest.current.picked);
                if (!next.delete(seq)) {
                    next.add(seq);
                }
                latest.current.setPicked(next);
            },
            onJump: (id) => {
                const item = latest.current.find(id);
                if (item !== undefined && item !== 'gone') {
                    latest.current.show(item.seq);
                } else if (item === 'gone') {
                    app.tell(t.talk.gone);
                }
            },
        }),
        [],
    );

    /* Arrow keys move from message to message; Enter opens the menu of one. */
    const onKey = (e: KeyboardEvent) => {
        const active = document.activeElement;
        if (!(active instanceof HTMLElement) || e.altKey || e.ctrlKey || e.metaKey) {
            return;
        }
        const all = [...(list.current?.querySelectorAll<HTMLElement>('li.message') ?? [])];
        const at = all.indexOf(active);
        const step: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, Home: -all.length, End: all.length };
        const move = step[e.key];
        if (at >= 0 && move !== undefined) {
            const next = all[Math.min(Math.max(at + move, 0), all.length - 1)];
            next?.focus();
            setFocusSeq(seqOf(next));
            e.preventDefault();
        } else if (at >= 0 && picked && (e.key === ' ' || e.key === 'Enter')) {
            const seq = seqOf(active);
            if (seq !== undefined) {
                actions.onPick(seq);
            }
            e.preventDefault();
        } else if (at >= 0 && (e.key === 'Enter' || e.key === ' ' || e.key === 'ContextMenu')) {
            active.querySelector<HTMLElement>('.message-menu')?.click();
            e.preventDefault();
        } else if (e.key === 'Escape' && picked) {
            setPicked(undefined);
            e.preventDefault();
        }
    };
    const lastMessage = [...rows].reverse().find((r) => r.row === 'message');
    const tabStop =
        focusSeq !== undefined && items.some((i) => i.seq === focusSeq)
            ? focusSeq
            : lastMessage?.row === 'message'
              ? lastMessage.item.seq
              : -1;
    const waiting = c !== undefined && !(timeline?.opened ?? false);
    const loading = timeline?.opened === true && timeline.busy;
    const markHidden = newFrom !== undefined && timeline?.opened && !marked && newFrom < timeline.bounds()[0];
    return (
        <div class="messages-frame">
            <div class="messages" ref={box} onScroll={onScroll} onKeyDown={onKey} data-test="messages"
                role="region" aria-label={t.messages} tabIndex={-1} {...menuByPress}>
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
                <ol class={`items ${picked ? 'items-picking' : ''}`} ref={list}>
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
                                return <Note key={r.key} app={app} note={r.note} />;
                            case 'message': {
                                const { seq, from, replyTo } = r.item;
                                return c ? (
                                    <Message key={r.key} app={app} conv={c.id} kind={c.kind} role={c.role} item={r.item}
                                        first={r.first} last={r.last} actions={actions} focusable={seq === tabStop}
                                        quoted={replyTo === undefined ? undefined : find(replyTo)}
                                        progress={
                                            from !== me || !lowest ? 'sent'
                                                : seq <= lowest.read ? 'read' : seq <= lowest.delivered ? 'delivered' : 'sent'
                                        }
                                        picked={picked?.has(seq)} />
                                ) : null;
                            }
                            case 'outgoing':
                                return (
                                    <OutgoingMessage key={r.key} app={app} entry={r.out.entry} state={r.out.state}
                                        first={r.first} last={r.last}
                                        quoted={r.out.entry.replyTo === undefined ? undefined : find(r.out.entry.replyTo)} />
                                );
                        }
                    })}
                </ol>
            </div>
            {loading && <div class="spinner spinner-over" aria-hidden="true" />}
            {newFrom !== undefined && ((marked && markAbove) || markHidden) && (
                <NewAbove count={newCount} onShow={() => show(newFrom)} />
            )}
            {(away || !atEnd) && timeline?.opened && (
                <button type="button" class="jump" onClick={toEnd} title={t.jumpToLatest}
                    aria-label={c && c.unread > 0 ? `${t.jumpToLatest}, ${t.newMessages(c.unread)}` : t.jumpToLatest}>
                    <DownIcon />
                    {c && c.unread > 0 && <span class="badge" aria-hidden="true">{c.unread}</span>}
                </button>
            )}
        </div>
    );
}

/*
 * The list paints itself, often; the pane around it seldom. What Preact makes of <Messages> stays in
 * the pane's own tree until the pane is painted again. If that were the list, what it had painted then
 * would stay with it, and by way of rows that were left as they were also later paintings, with the
 * nodes of all messages that have left the window since. This component paints nothing itself.
 */
export function Messages(props: Props) {
    return <List {...props} />;
}

function NewAbove({ count, onShow }: { count: number; onShow: () => void }) {
    const [closed, setClosed] = useState(false);
    return closed ? null : (
        <div class="new-above">
            <button type="button" class="new-above-show" onClick={onShow} data-test="new-above">
                <UpIcon />
                {t.talk.jumpToNew(count)}
            </button>
            <button type="button" class="icon-button" aria-label={t.close} title={t.close} onClick={() => setClosed(true)}>
                <CloseIcon size={16} />
            </button>
        </div>
    );
}

const PRESS_MS = 500;

/* A message's menu by the mouse's other button, and by a long press where there is no mouse. Links,
 * and texts that are being selected, keep what the browser does with them. */
function menuFor(target: EventTarget | null): boolean {
    const el = target instanceof Element ? target : undefined;
    const button = el?.closest('li.message')?.querySelector<HTMLElement>('.message-menu');
    if (!button || el?.closest('a, input, .menu') || document.getSelection()?.isCollapsed === false) {
        return false;
    }
    if (button.getAttribute('aria-expanded') !== 'true') {
        button.click();
    }
    return true;
}

let pressing: ReturnType<typeof setTimeout> | undefined;
const endPress = () => clearTimeout(pressing);
const menuByPress = {
    onContextMenu: (e: MouseEvent) => {
        if (menuFor(e.target)) {
            e.preventDefault();
        }
    },
    onTouchStart: (e: TouchEvent) => {
        endPress();
        const { target } = e;
        if (e.touches.length === 1) {
            pressing = setTimeout(() => menuFor(target), PRESS_MS);
        }
    },
    onTouchEnd: endPress,
    onTouchMove: endPress,
    onTouchCancel: endPress,
};

const Note = memo(({ app, note }: { app: AppState; note: NoteItem }) => (
    <li class="note" data-seq={note.seq} data-test="note">
        {noteText(app, note)}
    </li>
));

function noteText(app: AppState, n: NoteItem): string {
    const me = app.client.userId;
    const name = (id: string): string => (id === me ? t.you : app.nameOf(id));
    const who = name(n.from);
    const you = n.from === me;
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
