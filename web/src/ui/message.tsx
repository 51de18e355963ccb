/* One message, or one that is still on its way. */
import type { EntryState, MessageItem, OutboxEntry, Role } from '@confab/client';
import type { AppState } from './app-state.js';
import { plainText } from './markdown.js';
import { Avatar } from './parts/avatar.js';
import { MoreIcon, type Progress, Ticks } from './parts/icons.js';
import { memo } from './parts/memo.js';
import { MenuButton, type MenuItem } from './parts/menu.js';
import { exactText, t, timeText } from './strings.js';
import { MessageText } from './text.js';

/* Stays the same object as long as the list is there. */
export interface MessageActions {
    onReply: (item: MessageItem) => void;
    onEdit: (item: MessageItem) => void;
    onInfo: (item: MessageItem) => void;
    onPick: (seq: number) => void;
    onJump: (id: string) => void;
}

/* The message that is answered: 'gone' when it is not there any more, undefined while it is looked for. */
type Quoted = MessageItem | 'gone' | undefined;

interface Shape {
    mine: boolean;
    first: boolean;
    last: boolean;
}

function classes(s: Shape, extra = ''): string {
    return `message ${s.mine ? 'mine' : 'theirs'} ${s.first ? 'first' : ''} ${s.last ? 'last' : ''} ${extra}`;
}

function Quote({ app, quoted, onJump }: { app: AppState; quoted: Quoted; onJump?: () => void }) {
    const item = quoted === 'gone' ? undefined : quoted;
    const who = item ? (item.from === app.client.userId ? t.you : app.nameOf(item.from)) : '';
    return (
        <button type="button" class="quote" tabIndex={-1} disabled={!onJump} onClick={onJump}>
            {item ? (
                <>
                    <span class="unseen">{t.repliedTo(who)}: </span>
                    <span class="quote-name" dir="auto" aria-hidden="true">{who}</span>
                    <span class="quote-text" dir="auto">{item.deleted ? t.deleted : plainText(item.content.slice(0, 300))}</span>
                </>
            ) : (
                <span class="quote-text">{t.originalMissing}</span>
            )}
        </button>
    );
}

/* Whose username it is, of those whom the message mentions. */
function mentionedBy(app: AppState, item: { mentions: readonly string[] }): (name: string) => string | undefined {
    if (item.mentions.length > 0) {
        app.seen('people');
    }
    return (name) => item.mentions.find((id) => app.client.people.get(id)?.username.toLowerCase() === name);
}

interface Props {
    app: AppState;
    conv: string;
    kind: 'direct' | 'group' | 'self';
    role: Role;
    item: MessageItem;
    first: boolean;
    last: boolean;
    actions: MessageActions;
    focusable: boolean;
    quoted: Quoted;
    progress: Progress;
    /* Undefined: none are being picked. */
    picked: boolean | undefined;
}

function menuOf({ app, conv, kind, role, item, actions }: Props): MenuItem[] {
    const mine = item.from === app.client.userId;
    const doRemove = (whom: 'me' | 'everyone') => void app.attempt(() => app.client.rest.deleteMessage(item.id, whom));
    if (item.deleted) {
        return [{ label: t.deleteForMe, danger: true, onPick: () => doRemove('me') }];
    }
    const remove = (whom: 'me' | 'everyone') => {
        const label = whom === 'me' ? t.deleteForMe : t.deleteForAll;
        const text = whom === 'me' ? t.deleteForMeQuestion(1) : t.deleteForAllQuestion;
        const onPick = () => (app.question.value = { title: label, text, action: label, onYes: () => doRemove(whom) });
        return { label, danger: true, onPick };
    };
    return [
        { label: t.reply, onPick: () => actions.onReply(item) },
        { label: t.copyText, onPick: () => void copyText(app, item.content) },
        ...(mine ? [{ label: t.edit, onPick: () => actions.onEdit(item) }] : []),
        { label: t.talk.copyLink, onPick: () => void copyText(app, linkTo(conv, item.seq)) },
        { label: t.talk.info, onPick: () => actions.onInfo(item) },
        { label: t.talk.select, onPick: () => actions.onPick(item.seq) },
        remove('me'),
        ...(mine || (kind === 'group' && role !== 'member' && role !== 'guest') ? [remove('everyone')] : []),
    ];
}

export const Message = memo((p: Props) => {
    const { app, kind, item, first, last, actions, quoted, progress } = p;
    const me = app.client.userId;
    const mine = item.from === me;
    const name = mine ? t.you : app.nameOf(item.from);
    const grouped = kind === 'group' && !mine;
    const forMe = me !== undefined && item.mentions.includes(me);
    const picking = p.picked !== undefined;
    const extra = `${grouped ? 'grouped' : ''} ${p.picked ? 'picked' : ''} ${forMe ? 'for-me' : ''}`;
    return (
        <li class={classes({ mine, first, last }, extra)} data-seq={item.seq} data-test="message" data-id={item.id}
            tabIndex={p.focusable ? 0 : -1} {...(picking ? { onClick: () => actions.onPick(item.seq) } : {})}>
            {picking && (
                <input type="checkbox" class="pick" tabIndex={-1} checked={p.picked} aria-label={t.talk.selectMessage(name)}
                    onClick={(e) => e.stopPropagation()} onChange={() => actions.onPick(item.seq)} />
            )}
            {grouped && last && <Avatar id={item.from} name={name} size="small" />}
            <div class="bubble">
                {first && grouped ? (
                    <span class="sender" dir="auto">{name}</span>
                ) : (
                    <span class="unseen">{name}: </span>
                )}
                {item.replyTo !== undefined && (
                    <Quote app={app} quoted={quoted} onJump={() => actions.onJump(item.replyTo ?? '')} />
                )}
                <div class="body" dir="auto">
                    <div class={`text ${item.deleted ? 'text-deleted' : ''}`}>
                        {item.deleted ? t.deleted : <MessageText text={item.content} mentioned={mentionedBy(app, item)} me={me} />}
                    </div>
                    <span class="meta">
                        {item.editedAt !== undefined && !item.deleted && (
                            <span class="edited" title={exactText(item.editedAt)}>{t.edited}</span>
                        )}
                        <time dateTime={new Date(item.sentAt).toISOString()} title={exactText(item.sentAt)}>
                            {timeText(item.sentAt)}
                        </time>
                        {mine && !item.deleted && <Ticks progress={progress} label={t.status[progress]} />}
                    </span>
                </div>
            </div>
            {!picking && (
                <MenuButton label={t.messageMenu} items={() => menuOf(p)} class="message-menu" tabIndex={-1}>
                    <MoreIcon size={18} />
                </MenuButton>
            )}
        </li>
    );
});

function discard(app: AppState, entry: OutboxEntry): void {
    app.question.value = {
        title: t.discard,
        text: t.discardQuestion,
        action: t.discard,
        onYes: () => app.client.dropSend(entry.clientMsgId),
    };
}

interface OutgoingProps {
    app: AppState;
    entry: OutboxEntry;
    state: EntryState;
    first: boolean;
    last: boolean;
    quoted: Quoted;
}

export const OutgoingMessage = memo(({ app, entry, state, first, last, quoted }: OutgoingProps) => (
    <li class={classes({ mine: true, first, last }, `waiting-${state}`)} data-test="outgoing" tabIndex={-1}>
        <div class="bubble">
            <span class="unseen">{t.you}: </span>
            {entry.replyTo !== undefined && <Quote app={app} quoted={quoted} />}
            <div class="body" dir="auto">
                <div class="text">
                    <MessageText text={entry.content} mentioned={mentionedBy(app, entry)} me={app.client.userId} />
                </div>
                <span class="meta">
                    <time dateTime={new Date(entry.createdAt).toISOString()}>{timeText(entry.createdAt)}</time>
                    <Ticks progress={state} label={t.status[state]} />
                </span>
            </div>
            {entry.failed && (
                <span class="failed-row">
                    <span class="failed-why">{t.status.failed}: {entry.failed.message}</span>
                    <button type="button" class="link" onClick={() => app.client.retrySend(entry.clientMsgId)}>
                        {t.tryAgain}
                    </button>
                    <button type="button" class="link" onClick={() => discard(app, entry)}>
                        {t.discard}
                    </button>
                </span>
            )}
        </div>
    </li>
));

export function linkTo(conv: string, seq: number): string {
    return `${location.origin}${location.pathname}#/c/${conv}/${seq}`;
}

export async function copyText(app: AppState, text: string): Promise<void> {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        /* Only secure contexts have a clipboard: the old way. */
        const area = document.createElement('textarea');
        area.value = text;
        area.className = 'unseen';
        document.body.append(area);
        area.select();
        document.execCommand('copy');
        area.remove();
    }
    app.tell(t.copied);
}
