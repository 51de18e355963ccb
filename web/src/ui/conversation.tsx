/* One conversation: its head, its messages, the composer or what is done with picked messages. */
import type { Conversation, MessageItem, Timeline } from '@confab/client';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Composer } from './composer.js';
import { PaneLink } from './link.js';
import { titleOf } from './list.js';
import { copyText } from './message.js';
import { type ListHandle, Messages } from './messages.js';
import { useMode } from './mode.js';
import { Avatar } from './parts/avatar.js';
import { BackIcon, CloseIcon, MoreIcon, PeopleIcon } from './parts/icons.js';
import { MenuButton, type MenuItem } from './parts/menu.js';
import { presenceText, typingText } from './presence.js';
import { Readers } from './readers.js';
import { exactText, t } from './strings.js';

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
            return <Pane key={key} app={app} c={c} userId={c.with} seq={route.seq} />;
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
    const note =
        typingText(app, c) ??
        (c?.kind === 'group'
            ? t.membersCount(c.memberCount)
            : (presenceText(app, userId) ?? (username === undefined ? '' : `@${username}`)));
    return (
        <header class="bar">
            <a class="icon-button back" href="#/" aria-label={t.back} title={t.back}>
                <BackIcon />
            </a>
            <Avatar id={userId ?? c?.id ?? ''} name={title} />
            <div class="bar-title">
                <h2 class="bar-name" dir="auto">{title}</h2>
                <p class="bar-note" data-test="head-note">{note}</p>
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

function Pane({ app, c, userId, seq }: { app: AppState; c: Conversation | undefined; userId: string | undefined; seq?: number | undefined }) {
    const { client } = app;
    const title = c ? titleOf(app, c) : userId === undefined ? '' : app.nameOf(userId);
    const draftKey = userId ?? c?.id ?? '';
    const { mode, setMode, resume, version } = useMode(app, c, draftKey);
    const [picked, setPicked] = useState<ReadonlySet<number>>();
    const [info, setInfo] = useState<MessageItem>();
    const [first] = useState(seq);
    const list = useRef<ListHandle>(null);
    const timeline = useTimeline(app, c, first);
    useEffect(() => {
        if (seq !== undefined && seq !== first) {
            list.current?.show(seq);
        }
    }, [seq]);
    const send = (text: string, replyTo: string | undefined, mentions: string[]) => {
        const target = c ? { conversation: c.id } : userId === undefined ? undefined : { user: userId };
        if (target) {
            client.send(target, text, { mentions, ...(replyTo === undefined ? {} : { replyTo }) });
            list.current?.toEnd();
        }
    };
    const editLast = () => {
        const own = timeline?.items.filter((i) => i.kind === 'message' && i.from === client.userId && !i.deleted);
        const last = own?.at(-1);
        if (last?.kind === 'message') {
            setMode({ kind: 'edit', of: last });
        }
    };
    return (
        <main class="pane" aria-label={title}>
            <Header app={app} c={c} userId={userId} title={title} />
            <PaneLink app={app} />
            <Messages key={c ? 'there' : 'new'} app={app} c={c} userId={userId} timeline={timeline} setMode={setMode}
                handle={list} first={first} picked={picked} setPicked={setPicked} onInfo={setInfo} />
            {picked && timeline ? (
                <PickedBar app={app} timeline={timeline} picked={picked} onDone={() => setPicked(undefined)} />
            ) : (
                <Composer key={`${draftKey} ${version}`} app={app} c={c} userId={userId} draftKey={draftKey} title={title} mode={mode}
                    setMode={setMode} resume={resume} onSend={send} onEditLast={editLast} />
            )}
            {info && c && <Readers key={info.id} app={app} conv={c.id} item={info} onClose={() => setInfo(undefined)} />}
        </main>
    );
}

/* What can be done with several messages at once. */
function PickedBar({ app, timeline, picked, onDone }: { app: AppState; timeline: Timeline; picked: ReadonlySet<number>; onDone: () => void }) {
    const { client } = app;
    const items = timeline.items.filter((i): i is MessageItem => i.kind === 'message' && picked.has(i.seq));
    const copy = () => {
        const line = (i: MessageItem) =>
            `[${exactText(i.sentAt)}] ${i.from === client.userId ? t.you : app.nameOf(i.from)}: ${i.deleted ? t.deleted : i.content}`;
        void copyText(app, items.map(line).join('\n')).then(onDone);
    };
    const remove = () =>
        void app
            .attempt(async () => {
                for (const i of items) {
                    await client.rest.deleteMessage(i.id, 'me');
                }
            })
            .then(onDone);
    const askRemove = () =>
        (app.question.value = {
            title: t.deleteForMe,
            text: t.deleteForMeQuestion(items.length),
            action: t.deleteForMe,
            onYes: remove,
        });
    return (
        <div class="picked-bar" role="toolbar" aria-label={t.talk.select}>
            <button type="button" class="icon-button" aria-label={t.cancel} title={t.cancel} onClick={onDone}>
                <CloseIcon />
            </button>
            <span class="picked-count" role="status">{t.talk.selected(items.length)}</span>
            <button type="button" class="plain" disabled={items.length === 0} onClick={copy}>{t.copy}</button>
            <button type="button" class="plain danger" disabled={items.length === 0} onClick={askRemove}>{t.deleteForMe}</button>
        </div>
    );
}

function useTimeline(app: AppState, c: Conversation | undefined, first: number | undefined): Timeline | undefined {
    const [held, setHeld] = useState<{ id: string; timeline: Timeline }>();
    const id = c?.id;
    useEffect(() => {
        if (id === undefined) {
            return undefined;
        }
        const { timeline, release } = app.client.openTimeline(id);
        const now = app.client.conversation(id);
        void timeline.open(first ?? (now && now.unread > 0 ? now.own.read + 1 : 'end'));
        setHeld({ id, timeline });
        return release;
    }, [id]);
    return held?.id === id ? held?.timeline : undefined;
}
