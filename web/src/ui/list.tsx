/* The conversations: whom one talks to, the latest of each, what is unread; and the menu. */
import type { Conversation } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { loadDraft } from './drafts.js';
import { Avatar } from './parts/avatar.js';
import { Logo, MoreIcon, MuteIcon, PenIcon, PinIcon, SearchIcon, Ticks } from './parts/icons.js';
import { MenuButton, type MenuItem } from './parts/menu.js';
import { t, exactText, whenText } from './strings.js';

export function titleOf(app: AppState, c: Conversation): string {
    if (c.kind === 'direct') {
        return c.with === undefined ? t.someone : app.nameOf(c.with);
    }
    return c.name === '' ? t.someone : c.name;
}

export function LinkBanner({ app }: { app: AppState }) {
    app.seen('link');
    const { link, retryAt, storageFailed } = app.client;
    const [now, setNow] = useState(Date.now());
    useEffect(() => {
        const timer = setInterval(() => setNow(Date.now()), 500);
        return () => clearInterval(timer);
    }, []);
    const seconds = Math.max(Math.ceil((retryAt - now) / 1000), 0);
    const text =
        link === 'offline'
            ? seconds > 1
                ? t.offlineUntil(seconds)
                : t.offline
            : link === 'connecting'
              ? t.connecting
              : link === 'syncing'
                ? t.syncing
                : undefined;
    return (
        <>
            <div class={`link-state link-${link}`} data-test="link" data-link={link}>
                {text !== undefined && (
                    <p class="banner">
                        <span class="banner-dot" aria-hidden="true" />
                        <span class="banner-text">{text}</span>
                        {link === 'offline' && (
                            <button type="button" class="link" onClick={() => app.client.wake()}>
                                {t.tryNow}
                            </button>
                        )}
                    </p>
                )}
                <span class="unseen" role="status">
                    {link === 'offline' ? t.offline : link === 'live' ? t.online : ''}
                </span>
            </div>
            {storageFailed && <p class="banner banner-warning">{t.storageFailed}</p>}
        </>
    );
}

function Preview({ app, c }: { app: AppState; c: Conversation }) {
    app.seen('outbox');
    const client = app.client;
    const draft = loadDraft(client.userId, c.id);
    const waiting = client.outgoing(c.id, c.with).at(-1);
    const p = c.preview;
    if (draft !== '') {
        return (
            <span class="preview">
                <span class="preview-draft">{t.draft}: </span>
                {draft}
            </span>
        );
    }
    if (waiting) {
        return (
            <span class="preview">
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

function Row({ app, c, open, now }: { app: AppState; c: Conversation; open: boolean; now: number }) {
    const title = titleOf(app, c);
    return (
        <li>
            <a
                class={`row ${open ? 'row-open' : ''} ${c.unread > 0 ? 'row-unread' : ''}`}
                href={`#/c/${c.id}`}
                aria-current={open ? 'page' : undefined}
                data-test="conversation"
            >
                <Avatar id={c.with ?? c.id} name={title} />
                <span class="row-text">
                    <span class="row-top">
                        <span class="row-title" dir="auto">{title}</span>
                        {c.lastAt > 0 && (
                            <time class="row-time" dateTime={new Date(c.lastAt).toISOString()} title={exactText(c.lastAt)}>
                                {whenText(c.lastAt, now)}
                            </time>
                        )}
                    </span>
                    <span class="row-bottom">
                        <Preview app={app} c={c} />
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
                            <span class="badge" role="img" aria-label={t.mentioned}>
                                @
                            </span>
                        )}
                        {c.unread > 0 && (
                            <span class={`badge ${c.muted ? 'badge-muted' : ''}`} data-test="unread">
                                <span aria-hidden="true">{c.unread > 999 ? '999+' : c.unread}</span>
                                <span class="unseen">{t.unread(c.unread)}</span>
                            </span>
                        )}
                    </span>
                </span>
            </a>
        </li>
    );
}

/* Arrow keys move between the conversations. */
function moveFocus(e: KeyboardEvent, list: HTMLElement): void {
    const step = e.key === 'ArrowDown' ? 1 : e.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) {
        const rows = [...list.querySelectorAll<HTMLElement>('a.row')];
        const at = rows.findIndex((r) => r === document.activeElement);
        rows[Math.min(Math.max(at + step, 0), rows.length - 1)]?.focus();
        e.preventDefault();
    }
}

export function ConversationList({ app }: { app: AppState }) {
    app.seen('list');
    app.seen('account');
    const { client } = app;
    const [query, setQuery] = useState('');
    const route = app.route.value;
    const now = Date.now();
    const all = client.conversations();
    const wanted = query.trim().toLocaleLowerCase();
    const shown =
        wanted === '' ? all : all.filter((c) => titleOf(app, c).toLocaleLowerCase().includes(wanted));
    const isOpen = (c: Conversation): boolean =>
        (route.at === 'conversation' && route.id === c.id) || (route.at === 'person' && route.userId === c.with);
    const total = all.reduce((n, c) => n + (c.muted ? 0 : c.unread), 0);
    useEffect(() => {
        document.title = total > 0 ? `(${total}) ${t.appName}` : t.appName;
    }, [total]);

    const menu: MenuItem[] = [
        { label: t.newGroup, onPick: () => (app.dialog.value = 'new-group') },
        ...(client.me?.role === 'admin'
            ? [{ label: t.invitePeople, onPick: () => void (app.dialog.value = 'invite') }]
            : []),
        { label: t.signOut, onPick: () => (app.dialog.value = 'sign-out') },
    ];
    const myName = client.me?.displayName ?? '';
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
                <MenuButton label={t.mainMenu} items={menu}>
                    <MoreIcon />
                </MenuButton>
            </header>
            <LinkBanner app={app} />
            {all.length > 0 && (
                <div class="search">
                    <SearchIcon />
                    <input type="search" aria-label={t.searchConversations} placeholder={t.searchConversations}
                        value={query} onInput={(e) => setQuery(e.currentTarget.value)} />
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
            ) : shown.length === 0 ? (
                <p class="empty">{t.noMatch}</p>
            ) : (
                <ul class="rows" onKeyDown={(e) => moveFocus(e, e.currentTarget)}>
                    {shown.map((c) => (
                        <Row key={c.id} app={app} c={c} open={isOpen(c)} now={now} />
                    ))}
                </ul>
            )}
        </nav>
    );
}
