/*
 * The conversations: whom one talks to, the latest of each, what is unread; people to begin one
 * with; and the menu. Only the rows that can be seen are in the page: a thousand conversations cost
 * what twenty do. All rows are equally high, however large texts are: one is measured.
 */
import type { Conversation, User } from '@confab/client';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { loadDraft } from './drafts.js';
import { mainMenu, rowMenu } from './list-menus.js';
import { LinkBanner } from './link.js';
import { Avatar } from './parts/avatar.js';
import { Logo, MoreIcon, MuteIcon, PenIcon, PinIcon, SearchIcon, Ticks } from './parts/icons.js';
import { MenuButton } from './parts/menu.js';
import { usePeople } from './people.js';
import { PresenceDot, presenceOf, rowsAreSeen, typingText } from './presence.js';
import { t, exactText, whenText } from './strings.js';

const OVERSCAN = 6;
const ROW_GUESS = 66;
const PEOPLE_SHOWN = 8;

export function titleOf(app: AppState, c: Conversation): string {
    if (c.kind === 'direct') {
        return c.with === undefined ? t.someone : app.nameOf(c.with);
    }
    return c.name === '' ? t.someone : c.name;
}

function Preview({ app, c, open }: { app: AppState; c: Conversation; open: boolean }) {
    app.seen('outbox');
    const client = app.client;
    const typing = typingText(app, c);
    if (typing !== undefined) {
        return <span class="preview preview-typing" data-test="typing">{typing}</span>;
    }
    /* What is being written there can be seen there. */
    const draft = open ? '' : client.drafts.get(c.id) || loadDraft(client.userId, c.with ?? c.id);
    const waiting = client.outgoing(c.id, c.with).at(-1);
    const p = c.preview;
    if (draft.trim() !== '') {
        return (
            <span class="preview" dir="auto">
                <span class="preview-draft">{t.draft}: </span>
                {draft}
            </span>
        );
    }
    if (waiting) {
        return (
            <span class="preview" dir="auto">
                <Ticks progress={waiting.state} label={t.status[waiting.state]} /> {waiting.entry.content}
            </span>
        );
    }
    if (!p) {
        return <span class="preview preview-empty">{t.noMessages}</span>;
    }
    const mine = p.from === client.userId;
    const status = mine && c.lastSeq > 0 ? client.status(c, c.lastSeq) : 'sent';
    return (
        <span class={`preview ${p.deleted ? 'preview-empty' : ''}`} dir="auto">
            {mine && !p.deleted && <Ticks progress={status} label={t.status[status]} />}
            {mine && !p.deleted && ' '}
            {!mine && c.kind === 'group' && !p.deleted && `${app.nameOf(p.from)}: `}
            {p.deleted ? t.deletedPreview : p.content}
        </span>
    );
}

function Marks({ c }: { c: Conversation }) {
    return (
        <>
            {c.muted && (
                <span class="row-mark" role="img" aria-label={t.muted}>
                    <MuteIcon />
                </span>
            )}
            {c.pinned && (
                <span class="row-mark" role="img" aria-label={t.pinned}>
                    <PinIcon />
                </span>
            )}
            {c.mentions > 0 && (
                <span class="badge" role="img" aria-label={t.mentions(c.mentions)} data-test="mentions">
                    @{c.mentions > 1 ? c.mentions : ''}
                </span>
            )}
            {c.unread > 0 && (
                <span class={`badge ${c.muted ? 'badge-muted' : ''}`} data-test="unread">
                    <span aria-hidden="true">{c.unread > 999 ? '999+' : c.unread}</span>
                    <span class="unseen">{t.unread(c.unread)}</span>
                </span>
            )}
        </>
    );
}

interface RowProps {
    app: AppState;
    c: Conversation;
    open: boolean;
    now: number;
    at: number;
    of: number;
    top: number;
    tabStop: boolean;
}

function Row({ app, c, open, now, at, of, top, tabStop }: RowProps) {
    const title = titleOf(app, c);
    const there = presenceOf(app, c.with);
    return (
        <li class="row-place" style={{ transform: `translateY(${top}px)` }} aria-setsize={of} aria-posinset={at + 1}>
            <a
                class={`row ${open ? 'row-open' : ''} ${c.unread > 0 ? 'row-unread' : ''}`}
                href={`#/c/${c.id}`}
                aria-current={open ? 'page' : undefined}
                data-test="conversation"
                data-at={at}
                tabIndex={tabStop ? 0 : -1}
            >
                <span class="row-picture">
                    <Avatar id={c.with ?? c.id} name={title} />
                    <PresenceDot app={app} userId={c.with} />
                </span>
                <span class="row-text">
                    <span class="row-top">
                        <span class="row-title" dir="auto">{title}</span>
                        {there && there.status !== 'offline' && <span class="unseen">{t.presence[there.status]}</span>}
                        {c.lastAt > 0 && (
                            <time class="row-time" dateTime={new Date(c.lastAt).toISOString()} title={exactText(c.lastAt)}>
                                {whenText(c.lastAt, now)}
                            </time>
                        )}
                    </span>
                    <span class="row-bottom">
                        <Preview app={app} c={c} open={open} />
                        <Marks c={c} />
                    </span>
                </span>
            </a>
            <MenuButton label={t.menuOf(title)} items={rowMenu(app, c)} class="row-menu" tabIndex={-1}>
                <MoreIcon size={18} />
            </MenuButton>
        </li>
    );
}

/* The rows of the list that are to be in the page. */
function Rows({ app, shown, isOpen }: { app: AppState; shown: Conversation[]; isOpen: (c: Conversation) => boolean }) {
    const box = useRef<HTMLUListElement>(null);
    const [height, setHeight] = useState(ROW_GUESS);
    const [view, setView] = useState({ top: 0, size: 800 });
    /* The row that the keys are at; it stays in the page when it is scrolled away. */
    const [focused, setFocused] = useState<string>();
    const wanted = useRef<string | undefined>(undefined);
    const now = Date.now();

    const look = (): void => {
        const el = box.current;
        if (el && (el.scrollTop !== view.top || el.clientHeight !== view.size)) {
            setView({ top: el.scrollTop, size: el.clientHeight });
        }
    };
    useEffect(() => {
        const el = box.current;
        if (!el) {
            return undefined;
        }
        const sizes = new ResizeObserver(look);
        sizes.observe(el);
        return () => sizes.disconnect();
    });
    useLayoutEffect(() => {
        const row = box.current?.querySelector<HTMLElement>('.row');
        const measured = row ? row.offsetHeight : 0;
        if (measured > 0 && Math.abs(measured - height) >= 1) {
            setHeight(measured);
        }
        if (wanted.current !== undefined) {
            const at = shown.findIndex((c) => c.id === wanted.current);
            wanted.current = undefined;
            box.current?.querySelector<HTMLElement>(`a.row[data-at="${at}"]`)?.focus({ preventScroll: true });
        }
    });

    const first = Math.max(Math.floor(view.top / height) - OVERSCAN, 0);
    const last = Math.min(Math.ceil((view.top + view.size) / height) + OVERSCAN, shown.length);
    const open = shown.findIndex(isOpen);
    const kept = shown.findIndex((c) => c.id === focused);
    const tabStop = kept >= 0 ? kept : open >= 0 ? open : 0;
    const places = new Set([tabStop]);
    for (let i = first; i < last; i++) {
        places.add(i);
    }
    const rows = [...places].filter((i) => i < shown.length).sort((a, b) => a - b);

    const onScreen = shown.slice(Math.floor(view.top / height), Math.ceil((view.top + view.size) / height));
    const seen = onScreen.map((c) => c.id).join(' ');
    useEffect(() => rowsAreSeen(onScreen.map((c) => ({ id: c.id, with: c.with }))), [seen]);

    /* Arrow keys move between the conversations, further than what is in the page. */
    const onKey = (e: KeyboardEvent): void => {
        const el = box.current;
        const from = Number(document.activeElement instanceof HTMLElement ? document.activeElement.dataset['at'] : NaN);
        if (!el || Number.isNaN(from)) {
            return;
        }
        if (e.key === 'ContextMenu' || (e.key === 'F10' && e.shiftKey)) {
            openMenu(document.activeElement);
            e.preventDefault();
            return;
        }
        const page = Math.max(Math.floor(view.size / height) - 1, 1);
        const steps: Record<string, number> = {
            ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -shown.length, End: shown.length,
        };
        const step = e.altKey ? undefined : steps[e.key];
        const next = step === undefined ? undefined : shown[Math.min(Math.max(from + step, 0), shown.length - 1)];
        if (next) {
            const top = shown.indexOf(next) * height;
            el.scrollTop = Math.min(Math.max(el.scrollTop, top + height - el.clientHeight), top);
            wanted.current = next.id;
            setFocused(next.id);
            setView({ top: el.scrollTop, size: el.clientHeight });
            e.preventDefault();
        }
    };
    return (
        <ul class="rows" ref={box} style={{ '--rows-height': `${shown.length * height}px` }} onScroll={look} onKeyDown={onKey} aria-label={t.conversations}
            onFocusIn={(e) => {
                const at = e.target instanceof HTMLElement ? e.target.dataset['at'] : undefined;
                setFocused(at === undefined ? focused : shown[Number(at)]?.id);
            }}
            onContextMenu={(e) => {
                if (e.target instanceof Element && e.target.closest('a.row')) {
                    openMenu(e.target.closest('a.row'));
                    e.preventDefault();
                }
            }}>
            {rows.map((i) => {
                const c = shown[i];
                return c && (
                    <Row key={c.id} app={app} c={c} open={isOpen(c)} now={now} at={i} of={shown.length}
                        top={i * height} tabStop={i === tabStop} />
                );
            })}
        </ul>
    );
}

function openMenu(row: Element | null): void {
    row?.parentElement?.querySelector<HTMLElement>('.row-menu')?.click();
}

/* People of the server whom one has no conversation with, while searching. */
function FoundPeople({ users, note }: { users: User[]; note: string | undefined }) {
    return (
        <section class="found" aria-label={t.peopleFound}>
            <h2 class="found-head">{t.peopleFound}</h2>
            {users.length > 0 && (
                <ul>
                    {users.slice(0, PEOPLE_SHOWN).map((u) => (
                        <li key={u.userId}>
                            <a class="row" href={`#/u/${u.userId}`} data-test="person">
                                <Avatar id={u.userId} name={u.displayName} />
                                <span class="person-text">
                                    <span class="person-name" dir="auto">{u.displayName}</span>
                                    <span class="person-user">@{u.username}</span>
                                </span>
                            </a>
                        </li>
                    ))}
                </ul>
            )}
            <p class="found-note" role="status">{note ?? ''}</p>
        </section>
    );
}

export function ConversationList({ app }: { app: AppState }) {
    app.seen('list');
    app.seen('account');
    const { client } = app;
    const [query, setQuery] = useState('');
    const route = app.route.value;
    const all = client.conversations();
    const wanted = query.trim().toLocaleLowerCase();
    const found = usePeople(app, query);
    const shown = wanted === '' ? all : all.filter((c) => matches(app, c, wanted));
    const strangers = found.users.filter((u) => !shown.some((c) => c.with === u.userId));
    const isOpen = (c: Conversation): boolean =>
        (route.at === 'conversation' && route.id === c.id) || (route.at === 'person' && route.userId === c.with);
    const myName = client.me?.displayName ?? '';
    const note =
        found.state === 'searching' && strangers.length === 0
            ? t.searching
            : found.state === 'failed'
              ? found.problem
              : strangers.length === 0
                ? t.nobody
                : undefined;
    return (
        <nav class="sidebar" aria-label={t.conversations}>
            <header class="bar">
                <Logo size={30} />
                <h1 class="bar-title" title={myName}>
                    <span class="bar-app">{t.appName}</span>
                    <span class="bar-me" data-test="me">{myName}</span>
                </h1>
                <button type="button" class="icon-button" aria-label={t.newChat} title={t.newChat}
                    onClick={() => (app.dialog.value = 'new-chat')}>
                    <PenIcon />
                </button>
                <MenuButton label={t.mainMenu} items={mainMenu(app)}>
                    <MoreIcon />
                </MenuButton>
            </header>
            <LinkBanner app={app} />
            {all.length > 0 && (
                <div class="search">
                    <SearchIcon />
                    <input type="search" aria-label={t.searchConversations} placeholder={t.searchHint}
                        id="search" value={query} onInput={(e) => setQuery(e.currentTarget.value)}
                        onKeyDown={(e) => {
                            if (e.key === 'Escape' && query !== '') {
                                setQuery('');
                                e.preventDefault();
                                e.stopPropagation();
                            } else if (e.key === 'ArrowDown' && !e.altKey) {
                                document.querySelector<HTMLElement>('.sidebar a.row[tabindex="0"], .found a.row')?.focus();
                                e.preventDefault();
                            }
                        }} />
                </div>
            )}
            {all.length === 0 ? (
                <div class="empty">
                    <p class="empty-title">{t.noConversations}</p>
                    <p>{t.noConversationsHint}</p>
                    <button type="button" class="primary" onClick={() => (app.dialog.value = 'new-chat')}>
                        {t.newChat}
                    </button>
                </div>
            ) : wanted === '' ? (
                <Rows app={app} shown={shown} isOpen={isOpen} />
            ) : (
                <div class="results">
                    {shown.length === 0 ? (
                        <p class="found-note">{t.noMatch}</p>
                    ) : (
                        <Rows app={app} shown={shown} isOpen={isOpen} />
                    )}
                    <FoundPeople users={strangers} note={note} />
                </div>
            )}
        </nav>
    );
}

/* By title, and of a person also by the username. */
function matches(app: AppState, c: Conversation, wanted: string): boolean {
    const username = c.with === undefined ? undefined : app.client.people.get(c.with)?.username;
    return titleOf(app, c).toLocaleLowerCase().includes(wanted) || (username?.includes(wanted) ?? false);
}
